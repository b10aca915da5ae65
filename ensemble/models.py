"""Model files of any origin: how a model is fed and read, opened, and refused.

What members.py, predict.py and export.py share. Neither TensorFlow nor Keras is imported before the first model is
loaded.
"""

import dataclasses
import json
import logging
import re
import shutil
import sys
import tempfile
import warnings
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from common import refuse


class RefusedError(Exception):
    """Why a model cannot be a member, in one line."""


@contextmanager
def refusing(skip):
    """Show a refusal as one line on stderr and, unless it is to be skipped, exit with status 2."""
    try:
        yield
    except RefusedError as error:
        if not skip:
            refuse(error)
        print(f"{Path(sys.argv[0]).name}: left out: {error}", file=sys.stderr)


# How a model is fed and read
@dataclass(frozen=True)
class Form:
    """How a model is fed and read: it takes (scale * x - mean) / std for pixels x from 0 to 255.

    mean, std: of the three colours; class_order: the model's classes, as numbers of the data's (None: the same);
    outputs: "probabilities" or "logits" (None: found out).
    """

    scale: float = 1.0
    mean: tuple = (0.0, 0.0, 0.0)
    std: tuple = (1.0, 1.0, 1.0)
    class_order: tuple | None = None
    outputs: str | None = None

    @classmethod
    def from_json(cls, text):
        """Return the form that to_json wrote."""
        fields = json.loads(text)
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})

    def to_json(self):
        return json.dumps(dataclasses.asdict(self))

    def feed(self, pixels):
        """Return uint8 (n, height, width, 3) as the model takes them: as they are, or float32."""
        if (self.scale, self.mean, self.std) == (Form.scale, Form.mean, Form.std):
            return pixels
        scale, mean, std = (np.float32(value) for value in (self.scale, self.mean, self.std))
        return (scale * pixels - mean) / std

    def read(self, outputs, path):
        """Return a model's outputs, float (n, classes), as probabilities of the data's classes, float32.

        Returns as well what they were, "probabilities" or "logits".
        """
        outputs = outputs.astype(np.float32)  # from bfloat16, for one
        kind = self.outputs or ("probabilities" if are_probabilities(outputs) else "logits")
        if self.outputs is None and kind == "logits" and 0 <= outputs.min() <= outputs.max() <= 1:
            raise RefusedError(
                f"{path} gives numbers from 0 to 1 that do not sum to 1; if logits, give --outputs logits"
            )
        if kind == "probabilities" and not are_probabilities(outputs) and np.isfinite(outputs).all():
            raise RefusedError(
                f"{path} gives no probabilities: a row is negative or does not sum to 1; give --outputs logits"
            )
        order = range(outputs.shape[1]) if self.class_order is None else self.class_order
        if len(order) != outputs.shape[1]:
            raise RefusedError(f"{path} has {outputs.shape[1]} classes; its --class-order names {len(order)}")
        return as_probabilities(outputs, path, kind)[:, np.argsort(order)], kind

    def record(self, kind, classes):
        """Return what ensemble.json says of the form, for outputs of that kind; None if it is that of a run here."""
        order = tuple(range(classes))
        form = dataclasses.replace(self, class_order=self.class_order or order, outputs=kind)
        usual = Form(class_order=order, outputs="probabilities")
        return None if form == usual else json.loads(form.to_json())


def are_probabilities(outputs):
    """Return whether no row of float (n, classes) is negative and all sum to 1, within 1%: bfloat16 is no nearer."""
    return bool((outputs >= 0).all() and (abs(outputs.sum(axis=1) - 1) <= 0.01).all())


def as_probabilities(outputs, path, kind=None):
    """Return a model's outputs, logits or probabilities, float (n, classes), as probabilities, float32.

    kind: "probabilities" or "logits", which get a softmax; None: found out by are_probabilities.
    """
    if not np.isfinite(outputs).all():
        raise RefusedError(f"{path} predicts NaN or infinity; its weights are damaged, or its training diverged")
    if kind == "logits" or (kind is None and not are_probabilities(outputs)):
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True), dtype=np.float64)
        outputs = powers / powers.sum(axis=1, keepdims=True)
    return outputs.astype(np.float32)


def model_inputs(model, path, pixels, form):
    """Return uint8 images (n, height, width, 3) as a model takes them, of one channel if it takes that."""
    fed = form.feed(pixels)
    if model.input_shape[-1] != 1:
        return fed
    if (fed != fed[..., :1]).any():
        raise RefusedError(f"{path} takes images of one channel; the three of these differ")
    return fed[..., :1]


# Command line
def numbers(text, count):
    """Return the numbers in a text such as 1/255 or 0.5,0.5,0.5: `count` floats, all alike if it has but one."""
    parts = [part.partition("/") for part in text.split(",")]
    values = [float(number) / float(divisor or 1) for number, _, divisor in parts]
    if len(values) not in (1, count) or not np.isfinite(values).all():
        raise ValueError
    return tuple(values * (count // len(values)))


def positive(values):
    """Return the numbers, or raise ValueError if one is not above 0."""
    if min(values) <= 0:
        raise ValueError
    return values


def permutation(text):
    """Return the numbers from 0 up in a text such as 2,0,1, or raise ValueError if one is missing."""
    order = tuple(int(number) for number in text.split(","))
    if sorted(order) != list(range(len(order))):
        raise ValueError
    return order


def output_kind(text):
    """Return the text if it is probabilities or logits, or else raise ValueError."""
    if text not in ("probabilities", "logits"):
        raise ValueError
    return text


FORM_OPTIONS = {  # what reads a value, and what the value must be
    "scale": (lambda text: positive(numbers(text, 1))[0], "a number above 0, such as 1/255"),
    "mean": (lambda text: numbers(text, 3), "a number, or three: red,green,blue"),
    "std": (lambda text: positive(numbers(text, 3)), "a number above 0, or three: red,green,blue"),
    "class_order": (permutation, "each class once, from 0 up, such as 2,0,1"),
    "outputs": (output_kind, "probabilities or logits"),
}


def add_form_options(parser):
    """Add to a parser the options that say how models from elsewhere are fed and read."""
    group = parser.add_argument_group(
        "models from elsewhere",
        """\
A model is given (scale * x - mean) / std for pixels x from 0 to 255. So
  x / 255                             is  --scale 1/255
  x / 127.5 - 1                       is  --scale 1/127.5 --mean 1
  mean and deviation of 0-255 pixels  is  --mean 125,123,114 --std 63,62,67
  mean and deviation of 0-1 pixels    is  --scale 1/255 --mean 0.491,0.482,0.447 --std 0.247,0.243,0.262
Each option may be repeated. VALUE is for every model without a run.json beside it (this collection's take raw
pixels), FILE=VALUE for that one. How a model was fed is kept with its predictions, and holds until one of these options
is given; then those not given have their defaults.""",
    )
    for name, metavar, text in (
        ("scale", "VALUE", "default: 1"),
        ("mean", "VALUE", "default: 0"),
        ("std", "VALUE", "default: 1"),
        (
            "class-order",
            "A,B",
            "the model's classes in its order, as numbers of the data's: 2,0,1 if its first is the third",
        ),
        ("outputs", "KIND", "probabilities or logits (default: found out; probabilities if all rows sum to 1)"),
    ):
        group.add_argument(f"--{name}", action="append", default=[], metavar=f"[FILE=]{metavar}", help=text)
    group.add_argument(
        "--skip-refused", action="store_true", help="leave out models that are refused, and go on with the rest"
    )


def read_forms(options):
    """Return {path: Form} of the models that the options of add_form_options are for, or refuse a value."""
    given = {Path(path): {} for path in options.models}
    for name, (read, rule) in FORM_OPTIONS.items():
        for text in sorted(getattr(options, name), key=lambda text: "=" in text):  # what is for one model comes last
            file, one, value = text.rpartition("=")
            option = f"--{name.replace('_', '-')} {text}"
            if one and Path(file) not in given:
                refuse(f"{option}: {file} is none of the models")
            try:
                value = read(value)
            except (ValueError, ZeroDivisionError):
                refuse(f"{option}: give {rule}")
            paths = [Path(file)] if one else [path for path in given if not (path.parent / "run.json").exists()]
            if not paths:
                refuse(f"{option}: the models of this collection take raw pixels; if one does not, give FILE=VALUE")
            for path in paths:
                given[path][name] = value
    return {path: Form(**values) for path, values in given.items() if values}


# Model files
# What Keras 2 writes of a layer and Keras 3 does not take; none of it changes a prediction.
OBSOLETE = {
    "Conv2DTranspose": ("groups",),
    "DepthwiseConv2D": ("groups",),
    "SeparableConv2D": ("groups", "kernel_initializer", "kernel_regularizer", "kernel_constraint"),
    "SpatialDropout2D": ("noise_shape", "trainable"),
}


def mend(config):
    """Change the configuration of a Keras 2 model or layer, in place, to what Keras 3 reads."""
    if isinstance(config["config"], list):  # a Sequential before Keras 2.2.3
        config["config"] = {"name": "sequential", "layers": config["config"]}
    settings = config["config"]
    if config["class_name"] == "SyncBatchNormalization":
        config["class_name"] = "BatchNormalization"
    for name in OBSOLETE.get(config["class_name"], ()):
        settings.pop(name, None)
    if isinstance(settings.get("dtype"), dict):  # a policy of mixed precision
        settings["dtype"] = settings["dtype"]["config"]["name"]
    if config["class_name"] != "InputLayer" and "batch_input_shape" in settings:
        settings["input_shape"] = settings.pop("batch_input_shape")[1:]
    layers = settings.get("layers", [])
    for layer in layers:
        mend(layer)
    # In Keras 2 the first use of a model inside another has number 1; in Keras 3, that of a Sequential has 0.
    sequential = {layer["config"]["name"] for layer in layers if layer["class_name"] == "Sequential"}
    tensors = [tensor for layer in layers for node in layer.get("inbound_nodes", ()) for tensor in node]
    for tensor in [*tensors, *settings.get("output_layers", ())]:
        if isinstance(tensor, list) and tensor[0] in sequential:
            tensor[1] -= 1


def stored_bytes(path, file):
    """Return the bytes of all data in an open HDF5 file, or refuse links and data that lies elsewhere."""
    sizes = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            sizes.append(item.size * item.dtype.itemsize)
            strange = item.external or item.is_virtual
        else:
            strange = any(not isinstance(item.get(part, getlink=True), h5py.HardLink) for part in item)
        if strange:
            raise RefusedError(f"{path} has an HDF5 link or data of another file in {name}; no model has that")

    visit("/", file)
    file.visititems(visit)
    return sum(sizes)


def describe_file(path):
    """Return the version of Keras that saved a model, and in an .h5 file its configuration (else None).

    Refuse a file whose parts are said to be far larger than it is: Keras, which does not compress, never made it.
    """
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            size = stored_bytes(path, file)
            version, config = (file.attrs.get(name) for name in ("keras_version", "model_config"))
        version = version.decode() if isinstance(version, bytes) else version
    else:
        with zipfile.ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
            with archive.open("model.weights.h5") as weights, h5py.File(weights) as file:
                size += stored_bytes(path, file)
            version, config = json.loads(archive.read("metadata.json"))["keras_version"], None
    if size > 10 * path.stat().st_size + 2**20:
        raise RefusedError(f"{path} is said to hold {size:,} bytes, and has {path.stat().st_size:,}")
    return str(version), config


@contextmanager
def mended(path, version, config):
    """Give the path of a model that Keras 3 can read: the file's own or, of an .h5 file by Keras 2, a mended copy's."""
    if path.suffix != ".h5" or not version.startswith("2.") or config is None:
        yield path
        return
    config = json.loads(config)
    mend(config)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(shutil.copy(path, folder))
        with h5py.File(copy, "r+") as file:
            file.attrs["model_config"] = json.dumps(config)
        yield copy


def load_model(path):
    """Return the Keras model in a file, or refuse the file: one with code in it, or one that says to be far larger.

    Keras itself refuses Lambda layers and functions that are not its own; HDF5 links only from 3.15 on, so
    stored_bytes does.
    """
    import keras

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its advice on many models in one process
    version = ""
    try:
        version, config = describe_file(path)
        with mended(path, version, config) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on settings that have new names
            try:  # first without making the variables, which only compares their shapes with those in the file
                with keras.StatelessScope(initialize_variables=False):
                    keras.models.load_model(file, compile=False)
            finally:
                keras.backend.clear_session()
            return keras.models.load_model(file, compile=False)
    except RefusedError:
        raise
    except Exception as error:  # whatever a damaged or foreign file makes Keras raise
        raise unusable(path, error, version) from None


def unusable(path, error, version=""):
    """Return the refusal of a file for the error that Keras raised on it; version: the Keras that saved it."""
    reason = " ".join(str(error).split()) or type(error).__name__
    reason = re.split("Exception encountered: |Example error message for object ", reason)[-1]  # the cause comes last
    reason = re.split(r"\.? (?:Please ensure|Make sure|If you trust|Full object|List of objects)", reason)[0]  # advice
    advice = "; in Keras 2, build it of keras.layers alone and save it as .h5" if version.startswith("2.") else ""
    return RefusedError(f"{path} cannot be used as a Keras model: {reason[:200]}{advice}")


@contextmanager
def usable(path):
    """Refuse a model for whatever Keras raises on it."""
    try:
        yield
    except RefusedError:
        raise
    except Exception as error:  # it asks for too much memory, or was never built, or ...
        raise unusable(path, error) from None
