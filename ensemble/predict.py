"""Show what trained models, and their weighted mean, see in image files of your own.

    python ensemble/predict.py runs/*/model.h5 --images cat.png dog.jpg
    python ensemble/predict.py a.h5 b.h5 --images photos/*.png --weights 0.7,0.3 --classes cat,dog

An image is prepared as it would be for training: what is transparent becomes white; where a model takes 32x32 pixels,
an image of 28 to 31 gets a black border; of any other the middle square is taken, and brought to the size that the
model takes, as tools/images_to_npz.py --size does (where a model takes no squares, the middle in its proportions).
Prints the three likeliest classes of every member and of the ensemble, and draws them beside the images.
"""

import dataclasses
import math
import os
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.command import RefusedError, new_parser, printable, refuse, refusing, run_command
from ensemble.common.files import file_hash, remove_leftovers, written_new
from ensemble.common.images import FORMATS, read_image, resized
from ensemble.common.records import read_run
from ensemble.common.scripts import import_script
from ensemble.members.data import LONGEST_NAME, class_names
from ensemble.members.kept import kept_form
from ensemble.members.member import short_names
from ensemble.members.predicting import batch_for
from ensemble.model_files.form_options import add_form_options, read_forms
from ensemble.model_files.forms import PADDED, Form, model_inputs, taken_by
from ensemble.model_files.loading import check_name, load_model, usable

SHOWN = 3


def prepared(image, size, method):
    """Return a Pillow image as training would have it, of this size, (width, height).

    method: how the model's form resizes images, if it does; then the image has the size's proportions, and its own
    pixels.
    """
    if method:
        factor = min(own / needed for own, needed in zip(image.size, size, strict=True))
        size = tuple(max(1, round(factor * needed)) for needed in size)
    elif size == (PADDED, PADDED) and min(image.size) >= 28 and max(image.size) <= PADDED:
        before, after = ([(PADDED + more - own) // 2 for own in image.size] for more in (1, 0))
        return ImageOps.expand(image, (*before, *after))
    return (
        resized(image, size[0], "crop") if size[0] == size[1] else ImageOps.fit(image, size, Image.Resampling.BILINEAR)
    )


def predict(path, files, form=None):
    """Return a model's probabilities for image files, float32 (n, classes), or refuse the model.

    form: how it is fed and read; None: as its predictions, which are kept beside it, were made.
    """
    import keras

    form = dataclasses.replace(form or kept_form(path, file_hash(path)) or Form(), size=None)
    model = load_model(path, form.output)
    with usable(path):
        taken = taken_by(model, path)
        if len(model.output_shape) != 2:
            raise RefusedError(f"{path} gives outputs of shape {model.output_shape}; (None, classes) is needed")
        size = taken.width or PADDED, taken.height or PADDED
        batch = batch_for(model, path, size[::-1], form)
        least = None if form.resize else max(size)
        squares = [prepared(read_image(file, least), size, form.resize) for file in files]
        if taken.channels == 1:
            squares = [square.convert("L").convert("RGB") for square in squares]
        inputs = [model_inputs(model, path, np.asarray(square)[np.newaxis], form) for square in squares]
        starts = range(0, len(inputs), batch)
        outputs = [model.predict_on_batch(np.concatenate(inputs[start : start + batch])) for start in starts]
    keras.backend.clear_session()
    return form.read(np.concatenate(outputs), path)[0]


def draw(files, images, rows, classes):
    """Return a figure with a line for each image: the image, and the likeliest classes of each row of rows.

    rows: {name: probabilities (n, classes)}.
    """
    figure = Figure(figsize=(2 + 2.2 * len(rows), 1.7 * len(images) + 0.4), layout="constrained")
    grid = figure.subplots(len(images), 1 + len(rows), squeeze=False)
    for number, (file, image) in enumerate(zip(files, images, strict=True)):
        left = grid[number, 0]
        left.imshow(ImageOps.fit(image, (128, 128)))
        left.set_title(printable(file.name)[:24], fontsize=8)
        left.axis("off")
        for axes, (name, probabilities) in zip(grid[number, 1:], rows.items(), strict=True):
            best = np.argsort(-probabilities[number], kind="stable")[:SHOWN]
            axes.barh(
                range(len(best)),
                probabilities[number, best],
                color="lightgray" if name != "ensemble" else "lightskyblue",
            )
            for place, label in enumerate(best):
                axes.text(0.02, place, f"{classes[label]} {probabilities[number, label]:.0%}", va="center", fontsize=8)
            axes.set(xlim=(0, 1), ylim=(SHOWN - 0.5, -0.5), yticks=[], xticks=[0, 0.5, 1])
            axes.tick_params(labelsize=6)
            axes.set_title(name[:24] if number == 0 else "", fontsize=8)
    return figure


def read_options():
    """Return the arguments of the command line, weights as an array and forms as {path: Form}, or refuse them."""
    parser = new_parser(__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="trained models, .h5 or .keras")
    parser.add_argument("--images", nargs="+", type=Path, required=True, metavar="FILE", help=f"{', '.join(FORMATS)}")
    parser.add_argument("--weights", metavar="A,B", help="one for each model, such as weighted_mean.py found (equal)")
    parser.add_argument("--classes", metavar="A,B", help="their names (default: those of the data, or numbers)")
    parser.add_argument("--out", type=Path, default=Path("predictions.png"), metavar="FILE.png", help="the picture")
    add_form_options(parser)
    options = parser.parse_args()
    options.forms = read_forms(options)
    try:
        weights = np.array((options.weights or ",".join("1" * len(options.models))).split(","), np.float64)
    except ValueError:
        weights = np.array([])
    if len(weights) != len(options.models) or not (weights >= 0).all() or not 0 < sum(map(float, weights)) < math.inf:
        refuse(f"--weights {options.weights}: give {len(options.models)} numbers from 0 up, not all 0, of a finite sum")
    options.weights = weights / sum(map(float, weights))
    remove_leftovers(options.out)
    if options.out.suffix != ".png" or os.path.lexists(options.out):
        refuse(f"--out {options.out}: give the name of a .png file that does not exist yet")
    return options


def read_images(files):
    """Return the images of files, or refuse one."""
    try:
        return [read_image(file) for file in files]
    except ValueError as error:
        refuse(str(error))


def predict_all(models, files, forms, skip_refused):
    """Return the probabilities of models for image files, {the model's number: float32 (n, classes)}.

    skip_refused: leave out the models that are refused, each with its line on stderr.
    """
    there = []
    for number, path in enumerate(models):  # all of them before Keras is loaded
        with refusing(skip_refused):
            check_name(path)
            there.append(number)
    print("Loading Keras ...", flush=True)
    import_script("4.ResNet/resnet.py").quick_on_cpu()
    outputs = {}
    for number in there:
        path = models[number]
        with refusing(skip_refused):
            output = predict(path, files, forms.get(path))
            first, classes = next(iter(outputs.items()), (number, output))
            if output.shape != classes.shape:
                raise RefusedError(f"{path} has {output.shape[1]} classes, {models[first]} {classes.shape[1]}")
            outputs[number] = output
    return outputs


def name_classes(given, model, count):
    """Return the names of the classes: those given, A,B, or else those of the data that a model was trained on."""
    names = printable(given).split(",") if given else class_names(read_run(model)["settings"].get("DATA", ""), count)
    if len(names) != count:
        refuse(f"--classes names {len(names)} classes; the models have {count}")
    if max(map(len, names)) > LONGEST_NAME:
        refuse(f"--classes has a name of {max(map(len, names)):,} letters; give names of at most {LONGEST_NAME}")
    return names


def print_rows(files, rows, classes):
    """Print for each file the likeliest classes of each row of rows, {name: probabilities (n, classes)}."""
    width = max(map(len, rows))
    for number, file in enumerate(files):
        print(f"\n{file}")
        for name, probabilities in rows.items():
            best = np.argsort(-probabilities[number], kind="stable")[:SHOWN]
            shares = "   ".join(f"{probabilities[number, label]:6.1%} {classes[label]}" for label in best)
            print(f"  {name:{width}}  {shares}")


def main():
    options = read_options()
    images = read_images(options.images)
    outputs = predict_all(options.models, options.images, options.forms, options.skip_refused)
    weights = options.weights[list(outputs)]
    if weights.sum() == 0:
        refuse("no model with a weight is left")
    models, outputs = [options.models[number] for number in outputs], list(outputs.values())
    rows = dict(zip(short_names(models, taken=["ensemble"]), outputs, strict=True))
    if len(outputs) > 1:
        rows["ensemble"] = np.average(outputs, axis=0, weights=weights)
    classes = name_classes(options.classes, models[0], outputs[0].shape[1])
    print_rows(options.images, rows, classes)
    with written_new(options.out) as beside:
        draw(options.images, images, rows, classes).savefig(beside, dpi=120)
    print(f"\nDrawn in {options.out}.")


if __name__ == "__main__":
    run_command(main)
