"""How a model from elsewhere is fed and read: its pixels, its outputs, and the options of the command line for them."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from models import RefusedError, refuse

PADDED = 32  # smaller images have black borders up to here, as in 4.ResNet/resnet.py
METHODS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")  # of keras.layers.Resizing
KINDS = ("probabilities", "logits", "sigmoid")

# What Keras Applications' preprocess_input does, and which networks have it.
CAFFE = {"mean": (123.68, 116.779, 103.939), "channels": "bgr"}
TENSORFLOW = {"scale": 1 / 127.5, "mean": (1.0,) * 3}
TORCH = {"scale": 1 / 255, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
NOTHING = {}  # their first layers do it
PREPROCESSING = {
    **dict.fromkeys(("caffe", "resnet", "resnet50", "resnet101", "resnet152", "vgg16", "vgg19"), CAFFE),
    **dict.fromkeys(("tf", "resnet_v2", "resnet50v2", "resnet101v2", "resnet152v2", "mobilenet"), TENSORFLOW),
    **dict.fromkeys(("mobilenet_v2", "inception_v3", "inception_resnet_v2", "xception", "nasnet"), TENSORFLOW),
    **dict.fromkeys(("torch", "densenet", "densenet121", "densenet169", "densenet201"), TORCH),
    **dict.fromkeys(("mobilenet_v3", "efficientnet", "efficientnet_v2", "convnext"), NOTHING),
}


@dataclass(frozen=True)
class Form:
    """How a model is fed and read: it takes (scale * x - mean) / std for pixels x from 0 to 255.

    mean, std: of red, green and blue; class_order: the model's classes, as numbers of the data's (None: the same);
    outputs: "probabilities", "logits" or "sigmoid" (None: found out); output: the name of its output, if it has
    several; channels: "rgb" or "bgr"; resize: the method that brings images to its size, of METHODS; size: height and
    width of the middle that it is given of images with black borders (None: the whole; found out).
    """

    scale: float = 1.0
    mean: tuple = (0.0, 0.0, 0.0)
    std: tuple = (1.0, 1.0, 1.0)
    class_order: tuple | None = None
    outputs: str | None = None
    output: str | None = None
    channels: str = "rgb"
    resize: str | None = None
    size: tuple | None = None

    @classmethod
    def from_json(cls, text):
        """Return the form that to_json wrote."""
        fields = json.loads(text)
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})

    def to_json(self):
        """Return the form as text: the first five fields, and the others where they are not as usual."""
        fields = dataclasses.asdict(self)
        for name in ("output", "channels", "resize", "size"):
            if fields[name] == getattr(Form, name):
                del fields[name]
        return json.dumps(fields)

    def feed(self, pixels):
        """Return pixels from 0 to 255, (n, height, width, 3), as the model takes them: as they are, or float32."""
        if (self.scale, self.mean, self.std) != (Form.scale, Form.mean, Form.std):
            scale, mean, std = (np.float32(value) for value in (self.scale, self.mean, self.std))
            pixels = (scale * pixels - mean) / std
        return pixels[..., ::-1] if self.channels == "bgr" else pixels

    def read(self, outputs, path):
        """Return a model's outputs, float (n, classes), as probabilities of the data's classes, float32.

        One output is of the second of two classes. Returns as well what they were, one of KINDS.
        """
        outputs = finite(outputs, path).astype(np.float32)  # from bfloat16, for one
        kind = self.kind(outputs, path)
        if kind == "logits" and outputs.shape[1] == 1:
            outputs = np.hstack([np.zeros_like(outputs), outputs])
        make = {"probabilities": np.asarray, "logits": softmax, "sigmoid": from_sigmoids}
        probabilities = make[kind](outputs)
        order = range(probabilities.shape[1]) if self.class_order is None else self.class_order
        if len(order) != probabilities.shape[1]:
            raise RefusedError(f"{path} has {probabilities.shape[1]} classes; its --class-order names {len(order)}")
        return probabilities[:, np.argsort(order)], kind

    def kind(self, outputs, path):
        """Return what outputs are, one of KINDS, or refuse those that are not what the form says."""
        within = bool(0 <= outputs.min() <= outputs.max() <= 1)
        kind = self.outputs
        if outputs.shape[1] == 1:
            kind = {None: "sigmoid" if within else "logits", "probabilities": "sigmoid"}.get(kind, kind)
        elif kind is None and within and not are_probabilities(outputs):
            raise RefusedError(
                f"{path} gives numbers from 0 to 1 that do not sum to 1; if they are of a sigmoid, give --outputs "
                "sigmoid; if logits, --outputs logits"
            )
        elif kind is None:
            kind = "probabilities" if are_probabilities(outputs) else "logits"
        if kind == "sigmoid" and not within:
            raise RefusedError(f"{path} gives numbers outside 0 to 1, which are of no sigmoid; give --outputs logits")
        if kind == "probabilities" and not are_probabilities(outputs):
            mend = "sigmoid or logits, as they are" if within else "logits"
            raise RefusedError(
                f"{path} gives no probabilities: a row is negative or does not sum to 1; give --outputs {mend}"
            )
        return kind

    def record(self, kind, classes):
        """Return what ensemble.json says of the form, for outputs of that kind; None if it is that of a run here."""
        order = tuple(range(classes))
        form = dataclasses.replace(self, class_order=self.class_order or order, outputs=kind)
        usual = Form(class_order=order, outputs="probabilities")
        return None if form == usual else json.loads(form.to_json())


# Outputs
def finite(outputs, path):
    """Return a model's outputs, or refuse the model if they are not all finite."""
    if not np.isfinite(outputs).all():
        raise RefusedError(f"{path} predicts NaN or infinity; its weights are damaged, or its training diverged")
    return outputs


def are_probabilities(outputs):
    """Return whether no row of float (n, classes) is negative and all sum to 1, within 1%: bfloat16 is no nearer."""
    return bool((outputs >= 0).all() and (abs(outputs.sum(axis=1) - 1) <= 0.01).all())


def softmax(logits):
    """Return the softmax of float (n, classes), float32."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)


def from_sigmoids(outputs):
    """Return probabilities, float32: 1 - p and p for one column p, else shares of the row's sum (all alike if it is 0).

    outputs: float32 (n, 1) or (n, classes), from 0 to 1.
    """
    if outputs.shape[1] == 1:
        return np.hstack([1 - outputs, outputs])
    sums = outputs.sum(axis=1, keepdims=True, dtype=np.float64)
    shares = np.full(outputs.shape, 1 / outputs.shape[1])
    return np.divide(outputs, sums, out=shares, where=sums > 0).astype(np.float32)


# Images
@dataclass(frozen=True)
class Taken:
    """What images a model takes: height and width (None: any), channels, and whether the channels come first."""

    height: int | None
    width: int | None
    channels: int
    first: bool


def taken_by(model, path):
    """Return what a model takes, or refuse one that takes no images."""
    shape = model.input_shape
    if isinstance(shape, tuple) and len(shape) == 4:
        first = shape[3] not in (1, 3) and shape[1] in (1, 3)
        height, width, channels = shape[2:] + shape[1:2] if first else shape[1:]
        if channels in (None, 1, 3):
            return Taken(height, width, channels or 3, first)
    raise RefusedError(f"{path} takes inputs of shape {shape}; images of one or three channels are given")


def middle(shape, size):
    """Return the slices of height and width that cut black borders off images of this shape, (n, height, width, 3)."""
    starts = [(PADDED + 1 - own) // 2 if own < whole else 0 for own, whole in zip(size, shape[1:3], strict=True)]
    return tuple(slice(start, start + own) for start, own in zip(starts, size, strict=True))


def fit_images(model, path, images, form, original=None):
    """Return the form with its size found out for uint8 images, (n, height, width, 3), or refuse a model of another.

    original: height and width of the images before they got black borders; None: not known.
    """
    taken, (height, width) = taken_by(model, path), images.shape[1:3]
    wanted = (taken.height or height, taken.width or width)
    if form.resize:
        if None in (taken.height, taken.width):
            raise RefusedError(f"{path} takes images of any size; --resize is for models of a fixed one")
        return dataclasses.replace(form, size=None)
    if taken.channels == 1 and (taken.height, taken.width) == (None, None) and original:
        wanted = original
    if wanted == (height, width):
        return dataclasses.replace(form, size=None)
    borders = images.copy()
    borders[(slice(None), *middle(images.shape, wanted))] = 0
    if max(wanted) > PADDED or (height, width) != (PADDED, PADDED) or min(wanted) < 28 or borders.any():
        raise RefusedError(
            f"{path} takes inputs of shape {model.input_shape}; the images are {height}x{width}: give --resize and the "
            f"method that it was trained with, such as bilinear"
        )
    return dataclasses.replace(form, size=wanted)


def model_inputs(model, path, pixels, form):
    """Return uint8 images (n, height, width, 3) as a model takes them, of one channel or channels first if it does."""
    taken = taken_by(model, path)
    if form.size:
        pixels = pixels[(slice(None), *middle(pixels.shape, form.size))]
    if form.resize and pixels.shape[1:3] != (taken.height, taken.width):
        import keras

        size = {"size": (taken.height, taken.width), "interpolation": form.resize}
        pixels = np.asarray(keras.ops.image.resize(pixels.astype(np.float32), **size, data_format="channels_last"))
    if taken.channels == 1 and (pixels != pixels[..., :1]).any():
        raise RefusedError(f"{path} takes images of one channel; the three of these differ")
    fed = form.feed(pixels)[..., : taken.channels]
    return fed.transpose(0, 3, 1, 2) if taken.first else fed


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


def one_of(words):
    """Return the function that returns a text if it is one of the words, or else raises ValueError."""

    def check(text):
        if text not in words:
            raise ValueError
        return text

    return check


FORM_OPTIONS = {  # what reads a value, and what the value must be
    "scale": (lambda text: positive(numbers(text, 1))[0], "a number above 0, such as 1/255"),
    "mean": (lambda text: numbers(text, 3), "a number, or three: red,green,blue"),
    "std": (lambda text: positive(numbers(text, 3)), "a number above 0, or three: red,green,blue"),
    "class_order": (permutation, "each class once, from 0 up, such as 2,0,1"),
    "outputs": (one_of(KINDS), ", ".join(KINDS[:-1]) + f" or {KINDS[-1]}"),
    "output": (str, "the name of an output"),
    "channels": (one_of(("rgb", "bgr")), "rgb or bgr"),
    "resize": (one_of(METHODS), ", ".join(METHODS[:-1]) + f" or {METHODS[-1]}"),
    "preprocess": (lambda text: PREPROCESSING[text], f"one of {', '.join(PREPROCESSING)}"),
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
  preprocess_input of a network       is  --preprocess and its name: resnet50 or vgg16 (caffe), mobilenet_v2, xception,
                                          inception_v3 or resnet_v2 (tf), densenet (torch), efficientnet (nothing)
  images read by OpenCV               is  --channels bgr
One sigmoid is the probability of the second of two classes; --class-order 1,0 if it is that of the first. A model of
28x28 images gets those of MNIST without their borders, one that takes one channel gets grey images.
Each option may be repeated. VALUE is for every model without a run.json beside it (this collection's take raw
pixels), FILE=VALUE for that one. How a model was fed is kept with its predictions, and holds until one of these options
is given; then those not given have their defaults.""",
    )
    for name, metavar, text in (
        ("scale", "VALUE", "default: 1"),
        ("mean", "VALUE", "default: 0"),
        ("std", "VALUE", "default: 1"),
        ("preprocess", "NAME", "scale, mean, std and channels of a network of Keras Applications"),
        ("channels", "ORDER", "rgb or bgr (default: rgb)"),
        ("resize", "METHOD", f"how images are brought to a model's fixed size: {', '.join(METHODS)}"),
        (
            "class-order",
            "A,B",
            "the model's classes in its order, as numbers of the data's: 2,0,1 if its first is the third",
        ),
        (
            "outputs",
            "KIND",
            "probabilities, logits, or sigmoid for a sigmoid of each class, whose sum is made 1 (default: found out; "
            "probabilities if all rows sum to 1)",
        ),
        ("output", "NAME", "of a model with several outputs, the one with the classes"),
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
            except (ValueError, ZeroDivisionError, KeyError):
                refuse(f"{option}: give {rule}")
            paths = [Path(file)] if one else [path for path in given if not (path.parent / "run.json").exists()]
            if not paths:
                refuse(f"{option}: the models of this collection take raw pixels; if one does not, give FILE=VALUE")
            for path in paths:
                given[path][name] = value
    forms = {}
    for path, values in given.items():
        if values:
            preprocessing = values.pop("preprocess", {})
            both = sorted(preprocessing.keys() & values.keys())
            if both:
                refuse(f"{path} has --preprocess and --{both[0]}: give one of them")
            forms[path] = Form(**values, **preprocessing)
    return forms
