"""The images that members are scored on, and the names of their classes."""

import functools
import hashlib
from pathlib import Path

from ensemble.combining.predictions import PARTS
from ensemble.common.checks import open_npz
from ensemble.common.command import RefusedError, printable
from ensemble.common.files import file_hash
from ensemble.common.scripts import import_script
from ensemble.model_files.forms import taken_by

NAMES = {
    "cifar10": "airplane automobile bird cat deer dog frog horse ship truck",
    "fashion_mnist": "T-shirt/top trouser pullover dress coat sandal shirt sneaker bag ankle-boot",
}
KERAS_OR_SKLEARN = ("cifar10", "cifar100", "mnist", "fashion_mnist", "digits")  # has them
LONGEST_NAME = 255  # letters of a class: a folder's has no more
SIZE = 96  # of the images of a folder that are only looked at


@functools.lru_cache(maxsize=1)
def load_images(data, hold_out, size=None):
    """Return what 4.ResNet/resnet.py makes of DATA and HOLD_OUT (None: its own): the images of its split.

    size: height and width in which the images of a folder are read, by transfer/transfer.py (None: SIZE).
    Returns {"validation": (x, y), "test": (x, y)}, the number of classes, and the strings and numbers that
    identify them in a file of predictions.
    """
    resnet = start_keras()
    hold_out = resnet.HOLD_OUT if hold_out is None else hold_out
    script = import_script("transfer/transfer.py") if is_folder(data) else resnet
    try:
        if is_folder(data):
            images = script.load_folder(data, hold_out, size or SIZE)
        else:
            images = script.load_data(data, hold_out)
        known = {"data": data, "split": resnet.split_hash(images), "hold_out": hold_out, "data_sha256": data_hash(data)}
        parts = {part: (images[part][0][:], images[part][1]) for part in PARTS}  # files are read now
    except script.InputError as error:
        raise RefusedError(str(error)) from None
    classes = 1 + max(int(labels.max()) for _, labels in images.values())
    return parts, classes, known


@functools.cache
def start_keras():
    """Import Keras and its backend, quietly and as for training, and return 4.ResNet/resnet.py."""
    print("Loading Keras and the images ...", flush=True)
    resnet = import_script("4.ResNet/resnet.py")
    resnet.quick_on_cpu()
    return resnet


def is_folder(data):
    """Return whether a DATA setting is a folder, and not a data set by name, which a folder may have too."""
    return data not in ("", *KERAS_OR_SKLEARN) and Path(data).is_dir()


def data_hash(data):
    """Return the SHA-256 of a file of data; of a folder, that of its files' names, sizes and times; else ""."""
    if not is_folder(data):
        return file_hash(data) if Path(data).is_file() else ""
    files = sorted(file for file in Path(data).rglob("*") if file.is_file())
    about = [(str(file.relative_to(data)), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(repr(about).encode()).hexdigest()


def size_for(data, model, path):
    """Return the height in which the images of a folder are read for a model; None for other data, or any height."""
    return taken_by(model, path).height if is_folder(data) else None


def original_size(data):
    """Return height and width of the images of DATA before 4.ResNet/resnet.py gave them black borders, or None."""
    if data in ("mnist", "fashion_mnist"):
        return 28, 28
    try:
        with open_npz(data) as file:
            return file["x_test"].shape[1:3]
    except Exception:  # a data set of scikit-learn or Keras, or a file that is no longer there
        return None


def class_names(data, count):
    """Return the names of the `count` classes of a DATA setting: its file's or folder's, a known set's, or numbers."""
    try:
        if is_folder(data):
            script = import_script("transfer/transfer.py")
            names = [printable(name) for name in script.files_by_class(script.parts_of(data)[0])]
        else:
            with open_npz(data) as file:
                names = [printable(name) for name in file["class_names"]]
    except Exception:  # no file, or none with names: it can be broken in many ways
        names = []
    if len(names) == count:
        if max(map(len, names)) > LONGEST_NAME:
            raise RefusedError(f"{data} has a class name of {max(map(len, names)):,} letters; give it shorter names")
        return names
    names = NAMES.get(Path(data).stem, "").split()
    return names if len(names) == count else [str(number) for number in range(count)]
