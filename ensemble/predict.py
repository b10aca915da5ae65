"""Show what trained models, and their weighted mean, see in image files of your own.

    python ensemble/predict.py runs/*/model.h5 --images cat.png dog.jpg
    python ensemble/predict.py a.h5 b.h5 --images photos/*.png --weights 0.7,0.3 --classes cat,dog

An image is prepared as it would be for training: what is transparent becomes white; where a model takes 32x32 pixels,
an image of 28 to 31 gets a black border; of any other the middle square is taken, and brought to the size that the
model takes, as tools/images_to_npz.py --size does. Prints the three likeliest classes of every member and of the
ensemble, and draws them beside the images.
"""

import argparse
import dataclasses
import sys
from pathlib import Path

import numpy as np
from forms import PADDED, Form, add_form_options, model_inputs, read_forms, taken_by
from images_to_npz import read_image, resized
from matplotlib.figure import Figure
from members import file_hash, import_script, kept_form, read_run, refuse, short_names, written_whole
from models import RefusedError, check_name, load_model, refusing, usable
from PIL import ImageOps

SHOWN = 3
NAMES = {
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
    "fashion_mnist": "T-shirt/top trouser pullover dress coat sandal shirt sneaker bag ankle-boot",
}


def prepared(image, size, method):
    """Return a Pillow image as training would have it, (width, height) in size or, if a method will resize it, in
    shape: see above."""
    if method:
        factor = min(own / needed for own, needed in zip(image.size, size, strict=True))
        size = tuple(max(1, round(factor * needed)) for needed in size)
    elif size == (PADDED, PADDED) and min(image.size) >= 28 and max(image.size) <= PADDED:
        before, after = ([(PADDED + more - own) // 2 for own in image.size] for more in (1, 0))
        return ImageOps.expand(image, (*before, *after))
    return resized(image, size[0], "crop") if size[0] == size[1] else ImageOps.fit(image, size)


def predict(path, images, form=None):
    """Return a model's probabilities for Pillow images, float32 (n, classes), or refuse the model.

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
        squares = [prepared(image, size, form.resize) for image in images]
        if taken.channels == 1:
            squares = [square.convert("L").convert("RGB") for square in squares]
        inputs = [model_inputs(model, path, np.asarray(square)[np.newaxis], form) for square in squares]
        outputs = model.predict_on_batch(np.concatenate(inputs))
    keras.backend.clear_session()
    return form.read(outputs, path)[0]


def class_names(data, count):
    """Return the names of the `count` classes of a DATA setting: its file's, those of a known data set, or numbers."""
    try:
        with np.load(data) as file:
            names = [str(name) for name in file["class_names"]]
    except Exception:  # no file, or none with names: it can be broken in many ways
        names = []
    if len(names) == count:
        return names
    names = NAMES.get(Path(data).stem, "").split()
    return names if len(names) == count else [str(number) for number in range(count)]


def draw(files, images, rows, classes):
    """Return a figure with a line for each image: the image, and the likeliest classes of each row of rows.

    rows: {name: probabilities (n, classes)}.
    """
    figure = Figure(figsize=(2 + 2.2 * len(rows), 1.7 * len(images) + 0.4), layout="constrained")
    grid = figure.subplots(len(images), 1 + len(rows), squeeze=False)
    for number, (file, image) in enumerate(zip(files, images, strict=True)):
        left = grid[number, 0]
        left.imshow(ImageOps.fit(image, (128, 128)))
        left.set_title(file.name[:24], fontsize=8)
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


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.error = refuse
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help="trained models, .h5 or .keras")
    parser.add_argument("--images", nargs="+", type=Path, required=True, metavar="FILE", help="what Pillow can read")
    parser.add_argument("--weights", metavar="A,B", help="one for each model, such as weighted_mean.py found (equal)")
    parser.add_argument("--classes", metavar="A,B", help="their names (default: those of the data, or numbers)")
    parser.add_argument("--out", type=Path, default=Path("predictions.png"), metavar="FILE.png", help="the picture")
    add_form_options(parser)
    options = parser.parse_args()
    forms = read_forms(options)
    try:
        weights = np.array((options.weights or ",".join("1" * len(options.models))).split(","), np.float64)
    except ValueError:
        weights = np.array([])
    if len(weights) != len(options.models) or not np.isfinite(weights).all() or weights.min() < 0 or weights.sum() == 0:
        refuse(f"--weights {options.weights}: give {len(options.models)} numbers from 0 up, not all 0")
    if options.out.suffix != ".png" or options.out.exists():
        refuse(f"--out {options.out}: give the name of a .png file that does not exist yet")
    there = []
    for number, path in enumerate(options.models):
        with refusing(options.skip_refused):
            check_name(path)
            there.append(number)
    try:
        images = [read_image(file) for file in options.images]
    except ValueError as error:
        refuse(str(error))

    print("Loading Keras ...", flush=True)
    with refusing(skip=False):
        import_script("4.ResNet/resnet.py").quick_on_cpu()
    outputs = {}
    for number in there:
        path = options.models[number]
        with refusing(options.skip_refused):
            output = predict(path, images, forms.get(path))
            first, classes = next(iter(outputs.items()), (number, output))
            if output.shape != classes.shape:
                raise RefusedError(f"{path} has {output.shape[1]} classes, {options.models[first]} {classes.shape[1]}")
            outputs[number] = output
    weights = weights[list(outputs)]
    if weights.sum() == 0:
        refuse("no model with a weight is left")
    models, outputs = [options.models[number] for number in outputs], list(outputs.values())
    rows = dict(zip(short_names(models, taken=["ensemble"]), outputs, strict=True))
    if len(outputs) > 1:
        rows["ensemble"] = np.average(outputs, axis=0, weights=weights)
    count = outputs[0].shape[1]
    with refusing(skip=False):
        data = read_run(models[0])["settings"].get("DATA", "")
    classes = options.classes.split(",") if options.classes else class_names(data, count)
    if len(classes) != count:
        refuse(f"--classes names {len(classes)} classes; the models have {count}")
    width = max(map(len, rows))
    for number, file in enumerate(options.images):
        print(f"\n{file}")
        for name, probabilities in rows.items():
            best = np.argsort(-probabilities[number], kind="stable")[:SHOWN]
            shares = "   ".join(f"{probabilities[number, label]:6.1%} {classes[label]}" for label in best)
            print(f"  {name:{width}}  {shares}")
    try:
        with written_whole(options.out) as beside:
            draw(options.images, images, rows, classes).savefig(beside, dpi=120)
    except OSError as error:
        refuse(f"{options.out} cannot be written: {error.strerror}")
    print(f"\nDrawn in {options.out}.")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
