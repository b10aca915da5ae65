"""What a model predicts for the validation and test images of a data set."""

import dataclasses
import math
import sys
from pathlib import Path

import numpy as np

from ensemble.combining.predictions import PARTS
from ensemble.common.checks import check_memory
from ensemble.common.command import RefusedError, progress
from ensemble.common.files import written_whole
from ensemble.members.data import is_folder, load_images, original_size, size_for, start_keras
from ensemble.model_files.forms import fit_images, model_inputs, refuse_any_size, taken_by
from ensemble.model_files.loading import all_layers, load_model, usable

BATCH = 250  # images that a model is given at a time
LARGEST = 2**29  # bytes of a layer's output for a batch: fewer images at a time where it would be more


def predict(path, model_hash, data, hold_out, form):
    """Predict the validation and test images with one model; keep the result beside it, in FILE.predictions.npz."""
    if is_folder(data):
        start_keras()
    else:
        load_images(data, hold_out)  # before the model, which may take long: there may be none
    import keras

    model = load_model(path, form.output)
    with usable(path):
        images, classes, known = load_images(data, hold_out, size_for(data, model, path))
        x = np.concatenate([images[part][0] for part in PARTS])
        form = fit_images(model, path, x, form, original_size(data))
        given = model.output_shape
        if given != (None, classes) and (given, classes) != ((None, 1), 2):
            needed = f"{(None, classes)}{' or (None, 1)' if classes == 2 else ''}"
            raise RefusedError(f"{path} gives outputs of shape {given}; {data}, of {classes} classes, needs {needed}")
        warn_of_resizing(path, model, x.shape[1:3], form)
        batch = batch_for(model, path, x.shape[1:3], form)
        starts = progress(range(0, len(x), batch), f"{path}: predicting")
        outputs = [
            model.predict_on_batch(model_inputs(model, path, x[start : start + batch], form)) for start in starts
        ]
    parameters = model.count_params()
    del model
    keras.backend.clear_session()  # frees the memory before the next member
    probabilities, kind = form.read(np.concatenate(outputs), path)
    count = len(images["validation"][0])
    predictions = {
        "validation_probabilities": probabilities[:count],
        "test_probabilities": probabilities[count:],
        **{f"{part}_labels": images[part][1] for part in PARTS},
        "model": model_hash,
        "outputs": kind,
        "size": form.size or (),
        "parameters": parameters,
        **known,
    }
    try:
        with written_whole(path.with_name(f"{path.name}.predictions.npz")) as file:
            np.savez(file, form=dataclasses.replace(form, size=None).to_json(), **predictions)
    except OSError as error:
        print(f"{path}: its predictions are not kept beside it: {error.strerror}")
    return predictions | {"form": form}


def times_the_pixels(model, path, size, form):
    """Return how many times the pixels of images of this height and width a model gets, if its form resizes them."""
    taken = taken_by(model, path)
    if form.resize:
        refuse_any_size(taken, path)
    return taken.height * taken.width / math.prod(size) if form.resize else 1


def batch_for(model, path, size, form):
    """Return how many images of this height and width a model is given at a time: fewer where they are enlarged, by
    the form or by a layer. Refuse a model that needs more memory for one image than there is."""
    images = BATCH / max(1, times_the_pixels(model, path, size, form))
    largest = 4 * largest_output(model, path, size)
    check_memory(3 * largest, f"one image in {path}")  # a layer's inputs and outputs, and a copy
    return max(1, int(min(images, LARGEST / largest)))


def largest_output(model, path, size):
    """Return how many numbers the largest output of a layer has for an image of this height and width.

    Not known are those inside a model in it that takes images of any size.
    """
    import keras

    taken = taken_by(model, path)
    height, width = taken.height or size[0], taken.width or size[1]
    shape = (taken.channels, height, width) if taken.first else (height, width, taken.channels)
    tensors = [getattr(layer, "output", []) for layer in all_layers(model)]
    if None in model.input_shape[1:]:
        every = keras.Model(model.inputs, [layer.output for layer in model.layers])
        tensors.append(every.compute_output_spec(keras.KerasTensor((1, *shape))))
    shapes = [tuple(tensor.shape[1:]) for tensor in keras.tree.flatten(tensors)]
    return max(math.prod(each) for each in [shape, *shapes] if None not in each)


def warn_of_resizing(path, model, size, form):
    """Say on stderr what it costs to resize images of this height and width for a model."""
    more, taken = times_the_pixels(model, path, size, form), taken_by(model, path)
    if more != 1:
        cost = f"{more:.0f} times the pixels to compute with, and no more detail" if more > 1 else "detail is lost"
        print(
            f"{Path(sys.argv[0]).name}: {path} gets images resized from {size[0]}x{size[1]} to "
            f"{taken.height}x{taken.width}, {form.resize}: {cost}",
            file=sys.stderr,
        )
