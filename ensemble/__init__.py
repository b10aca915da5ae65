"""Ensembles of trained models.

What stands where; nothing imports from what is above it:

voting.py, weighted_mean.py, compare.py, predict.py, export.py, snapshot.py
                the commands; each one's docstring says what it does
snapshots/      what snapshot.py keeps, compares and shows
results/        what the commands show and leave: the record, tables, figures and the page
members/        trained models as members of an ensemble: their predictions, made once and kept, and their speed
model_files/    a model's file, whoever saved it: opened, fed and read; and several models joined to one
combining/      predictions: how they are combined, how good they are, and whether a gain is more than chance
common/         what every command needs, those of cluster/, htd/, tools/ and benchmarks/ too: how it refuses and ends,
                files, images, pictures, the training scripts, records
"""
