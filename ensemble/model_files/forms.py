"""How a model from elsewhere is fed and read: its pixels and its outputs."""

import dataclasses
import json
from dataclasses import dataclass

import numpy as np

from ensemble.common.command import RefusedError
from ensemble.common.schemas import FormFields, check, parse_json

PADDED = 32  # smaller images have black borders up to here, as in 4.ResNet/resnet.py
METHODS = ("nearest", "bilinear", "bicubic", "lanczos3", "lanczos5")  # of keras.layers.Resizing
KINDS = ("probabilities", "logits", "sigmoid")


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
        """Return the form that to_json wrote; ValueError if it did not."""
        fields = parse_json(text)
        check(fields, FormFields)
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})

    @classmethod
    def of_record(cls, fields):
        """Return the form of a member, from what `record` returned for it."""
        return cls.from_json(json.dumps(fields or {}))

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


def refuse_any_size(taken, path):
    """Refuse a model of images of any size, which has none to resize them to."""
    if None in (taken.height, taken.width):
        raise RefusedError(f"{path} takes images of any size; --resize is for models of a fixed one")


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
        refuse_any_size(taken, path)
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
    if form.resize:
        refuse_any_size(taken, path)
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
