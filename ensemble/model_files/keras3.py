"""Models by earlier versions of Keras 3 in today's: what changed between them, what is mended, and what is refused.

what                               in earlier versions               today                   here
one input or output of a model     a list of one                     itself                  itself
RandomCrop at inference            before 3.8 a resized middle part  leaves its input alone  refused before 3.8
output_padding of Conv2DTranspose  is not in the file                is in the file          refused where it is not
"""

import json
import re
import shutil
import tempfile
import zipfile
from contextlib import contextmanager
from pathlib import Path

import h5py


class Keras3Error(ValueError):
    """Why a model by Keras 3 is refused; the text goes on from the name of its file."""


def read_config(path):
    """Return the configuration of a model by Keras 3 in an .h5 or .keras file."""
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            return json.loads(file.attrs["model_config"])
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("config.json"))


def layers_in(value):
    """Yield the configurations of a model and of all layers and models in it, however deep."""
    if isinstance(value, dict):
        if "class_name" in value and isinstance(value.get("config"), dict):
            yield value
        for each in value.values():
            yield from layers_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from layers_in(each)


def operations_in(config):
    """Return the names of the classes of operations in a model's graph: layers have a dtype."""
    names = set()
    for model in layers_in(config):
        for layer in model["config"].get("layers", ()):
            if not layer["config"].keys() & {"dtype", "layers"}:
                names.add(layer["class_name"])
    return sorted(names)


def check(config, version):
    """Refuse a model with layers that computed something else in the Keras that saved it, or raise Keras3Error."""
    major, minor = (int(number) for number in re.findall(r"\d+", version)[:2])
    for layer in layers_in(config):
        kind, settings = layer["class_name"], layer["config"]
        if kind == "RandomCrop" and (major, minor) < (3, 8):
            raise Keras3Error(
                "has RandomCrop, which before 3.8 resized images in predictions and now leaves them alone; where it "
                "was made, put Resizing in its place"
            )
        moves = settings.get("strides") not in (1, [1], [1, 1], [1, 1, 1])
        if re.fullmatch("Conv[123]DTranspose", kind) and moves and "output_padding" not in settings:
            raise Keras3Error(
                f"has {kind}, whose output_padding is not in the file; build the network and save it in Keras 3.15"
            )


def unwrap(config):
    """Take the one input or output of a model out of its list, in place; return whether there was one to take."""
    changed = False
    for model in layers_in(config):
        for name in ("input_layers", "output_layers"):
            places = model["config"].get(name)
            if isinstance(places, list) and len(places) == 1 and isinstance(places[0], list):
                model["config"][name], changed = places[0], True
    return changed


@contextmanager
def mended(path, version):
    """Give the path of a model by Keras 3 as today's reads it: the file's own, or a changed copy's.

    Raise Keras3Error for a model that would predict something else.
    """
    config = read_config(path)
    check(config, version)
    if not unwrap(config):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        if path.suffix == ".h5":
            shutil.copyfile(path, copy)
            with h5py.File(copy, "r+") as file:
                file.attrs["model_config"] = json.dumps(config)
        else:
            with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as changed:
                for name in archive.namelist():
                    part = archive.read(name) if name != "config.json" else json.dumps(config)
                    changed.writestr(name, part)
        yield copy
