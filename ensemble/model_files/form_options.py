"""The options of the command line that say how models from elsewhere are fed and read."""

from pathlib import Path

import numpy as np

from ensemble.common.command import refuse
from ensemble.model_files.forms import KINDS, METHODS, Form

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
