"""Many training runs, on this machine or on a cluster.

What stands where; nothing imports from what is above it:

train_all.py    the command; its docstring says what it does
together.py     another command: one run on several machines
plan.py         from a table of members to runs, all refused before any is trained
drive.py        takes runs to an engine, shows how far they are, and gives their results as they come
engines/        where a run is trained: here, on a Ray cluster or by SLURM; each has submit(run), which gives a Future
process.py      the training script in a process of its own, for every engine
runs.py         a run, its record and its lock
"""
