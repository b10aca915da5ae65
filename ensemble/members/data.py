"""The images that members are scored on, and the names of their classes."""

import functools
from pathlib import Path

import numpy as np

from ensemble.combining.predictions import PARTS
from ensemble.common.command import RefusedError
from ensemble.common.files import file_hash
from ensemble.common.scripts import import_script

NAMES = {
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
    "fashion_mnist": "T-shirt/top trouser pullover dress coat sandal shirt sneaker bag ankle-boot",
}


@functools.lru_cache(maxsize=1)
def load_images(data, hold_out):
    """Return what 4.ResNet/resnet.py makes of DATA and HOLD_OUT (None: its own): the images of its split.

    Returns {"validation": (x, y), "test": (x, y)}, the number of classes, and the strings and numbers that
    identify them in a file of predictions.
    """
    print("Loading Keras and the images ...", flush=True)
    resnet = import_script("4.ResNet/resnet.py")
    resnet.quick_on_cpu()
    hold_out = resnet.HOLD_OUT if hold_out is None else hold_out
    try:
        images = resnet.load_data(data, hold_out)
    except resnet.InputError as error:
        raise RefusedError(str(error)) from None
    classes = 1 + max(int(labels.max()) for _, labels in images.values())
    known = {
        "data": data,
        "split": resnet.split_hash(images),
        "hold_out": hold_out,
        "data_sha256": file_hash(data) if Path(data).is_file() else "",
    }
    return {part: images[part] for part in PARTS}, classes, known


def original_size(data):
    """Return height and width of the images of DATA before 4.ResNet/resnet.py gave them black borders, or None."""
    if data in ("mnist", "fashion_mnist"):
        return 28, 28
    try:
        with np.load(data) as file:
            return file["x_test"].shape[1:3]
    except Exception:  # a data set of scikit-learn or Keras, or a file that is no longer there
        return None


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
