"""One model of several: copies of the members' layers, and layers that combine what they give.

What export.py writes to a file. It has layers of Keras alone, and the operations that a member has in its graph.
"""

import functools
import math
import re

import numpy as np

from ensemble.combining.metrics import LEAST
from ensemble.common.command import RefusedError
from ensemble.model_files.copies import Copies
from ensemble.model_files.forms import Form, middle, taken_by
from ensemble.model_files.loading import all_layers, finalize

EXACT = {"dtype": "float64"}  # what combines the members: float32 would round too much, and TF32 more


def in_float32(model):
    """Return a model of mixed precision as one that computes in float32, as ONNX and all devices can; others as is."""
    import keras

    config = model.to_json()
    changed = re.sub(r'"(mixed_)?b?float16"', '"float32"', config)
    if changed == config:
        return model
    same = keras.models.model_from_json(changed)
    same.set_weights(model.get_weights())
    for layer in all_layers(same):
        finalize(layer)
    return same


def operations(model):
    """Return the names of the classes of operations in a model's graph, of models inside it too: they are no layers."""
    import keras

    found = set()
    for part in getattr(model, "operations", model.layers):
        if isinstance(part, keras.Model):
            found |= set(operations(part))
        elif not isinstance(part, keras.Layer):
            found.add(type(part).__name__)
    return sorted(found)


def scale(x, factor, offset=0.0):
    from keras import layers

    return layers.Rescaling(factor, offset, **EXACT)(x)


def add(terms):
    from keras import layers

    return layers.Add(**EXACT)(terms) if len(terms) > 1 else terms[0]


def log_of_sum(a, b):
    """Return log(exp(a) + exp(b)) = max + log(1 + exp(min - max)) of Keras tensors, as one."""
    from keras import layers

    most, least = layers.Maximum(**EXACT)([a, b]), layers.Minimum(**EXACT)([a, b])
    rest = layers.Activation("softplus", dtype="float32")  # from 0 to log 2; onnxruntime has no other
    return add([most, rest(layers.Subtract(**EXACT)([least, most]))])


def log_softmax(logits):
    from keras import layers

    return layers.Activation("log_softmax", **EXACT)(logits)


def logarithms(output, copies, path, cut):
    """Return the logarithms of a model's probabilities, this output, as a Keras tensor, or refuse the model.

    They are taken from the logits of the softmax at its end, or of the softmaxes whose average it gives, as with
    TEST_FLIP. copies: of its layers; cut: those, by id, whose softmax is off already, as it is in a layer with two
    outputs.
    """
    import keras

    last, inputs = copies.origin(output)
    if isinstance(last, keras.layers.Average):
        terms = [logarithms(each, copies, path, cut) for each in inputs]
        return scale(functools.reduce(log_of_sum, terms), 1.0, -math.log(len(terms)))
    if type(last).__name__ == "Softmax":  # Keras' layer or its operation
        return log_softmax(inputs[0])
    if getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
        cut.add(id(last))
    if id(last) in cut:
        return log_softmax(output)
    raise RefusedError(
        f"{path} does not end in a softmax: a temperature, a geometric mean and stacking need its logits. Leave it "
        "out, or take the record of voting.py or weighted_mean.py, which have no temperature"
    )


def take(x, places, name=None):
    """Return these places of the last axis of a Keras tensor, in this order, as one."""
    from keras import layers

    layer = layers.Dense(len(places), use_bias=False, name=name, **EXACT)
    taken = layer(x)
    layer.set_weights([np.eye(x.shape[-1])[:, places]])
    return taken


def add_member(pixels, model, member, name):
    """Return a member's outputs as a Keras tensor made from that of the pixels, and the Copies of its layers.

    Its layers have names that begin with `name`: those that Keras gives start anew with every model that is loaded.
    What feeds them has names that begin with feed_.
    """
    from keras import layers

    path, form, x, copies = member["path"], Form.of_record(member.get("form")), pixels, Copies()
    taken = taken_by(model, path)
    if form.size:
        cut = middle((None, *pixels.shape[1:]), form.size)
        borders = [(own.start, whole - own.stop) for own, whole in zip(cut, pixels.shape[1:3], strict=True)]
        x = layers.Cropping2D(borders, name=f"feed_{name}_middle")(x)
    if form.resize and x.shape[1:3] != (taken.height, taken.width):
        x = layers.Resizing(taken.height, taken.width, form.resize, name=f"feed_{name}_size")(x)
    if form.scale != Form.scale:
        x = layers.Rescaling(form.scale, name=f"feed_{name}_scale")(x)
    if (form.mean, form.std) != (Form.mean, Form.std):
        variance = np.array(form.std, np.float32).astype(np.float64) ** 2  # whose root is exactly std again
        x = layers.Normalization(mean=form.mean, variance=variance.tolist(), name=f"feed_{name}_colours")(x)
    if form.channels == "bgr":
        x = take(x, [2, 1, 0], f"feed_{name}_bgr")
    if taken.channels == 1:
        x = take(x, [0], f"feed_{name}_one_channel")
    if taken.first:
        x = layers.Permute((3, 1, 2), name=f"feed_{name}_channels_first")(x)
    (x,) = copies.run(model, [x], name)
    for layer, copy in copies.layers.values():
        if getattr(layer, "weights", ()):  # an operation has none
            copy.set_weights(layer.get_weights())
        finalize(copy)
    return x, copies


def read_outputs(x, copies, member, kind, as_logarithms):
    """Return a member's probabilities, or their logarithms, as a Keras tensor made from that of its outputs.

    copies: of its layers; kind: "probabilities", "logits" or "sigmoid".
    """
    from keras import layers

    if kind == "sigmoid":
        x = sigmoid_logits(x, copies, member["path"])
    elif kind == "logits" and x.shape[-1] == 1:
        x = beside_zero(x)
    if kind in ("sigmoid", "logits"):
        x = log_softmax(x) if as_logarithms else layers.Softmax(**EXACT)(x)
    elif as_logarithms:
        x = logarithms(x, copies, member["path"], set())
    order = Form.of_record(member.get("form")).class_order
    return x if order in (None, tuple(range(x.shape[-1]))) else take(x, np.argsort(order))


def beside_zero(x):
    """Return 0 and the logit of the second of two classes, a Keras tensor (n, 1): logits of both, (n, 2)."""
    from keras import layers

    layer = layers.Dense(2, use_bias=False, **EXACT)
    both = layer(x)
    layer.set_weights([np.array([[0.0, 1.0]])])
    return both


def sigmoid_logits(output, copies, path):
    """Return logits, a Keras tensor, whose softmax is 1 - p and p for a sigmoid p, or sigmoids divided by their sum.

    The logarithm of sigmoid(z) is -softplus(-z).
    """
    import keras
    from keras import layers

    last, _ = copies.origin(output)
    if getattr(last, "activation", None) is not keras.activations.sigmoid:
        raise RefusedError(f"{path} has a sigmoid that is not of its last layer; it cannot be part of one model")
    last.activation = keras.activations.linear
    if output.shape[-1] == 1:
        return beside_zero(output)
    return scale(layers.Activation("softplus", **EXACT)(scale(output, -1.0)), -1.0)


def surprise(logarithm):
    """Return -log(max(p, LEAST)) as a Keras tensor, from that of log(p)."""
    from keras import layers

    return layers.ReLU(max_value=-math.log(LEAST), **EXACT)(scale(logarithm, -1.0))


def stack(logarithms, kernel, bias):
    """Return the logarithms of stacking's probabilities as a Keras tensor, from the members'."""
    from keras import layers

    x = [scale(surprise(logarithm), -1.0) for logarithm in logarithms]
    x = layers.Concatenate(**EXACT)(x) if len(x) > 1 else x[0]
    layer = layers.Dense(kernel.shape[1], **EXACT)
    logits = layer(x)
    layer.set_weights([kernel, bias])
    return log_softmax(logits)


def pool(outputs, rule):
    """Return the ensemble's probabilities as a Keras tensor, from the members', combined by a Rule.

    If it takes logarithms, outputs are the logarithms of the members' probabilities: Keras has no layer for them, so
    they come from the logits, and are kept as long as they can.
    """
    from keras import layers

    weighted = list(zip(outputs, rule.weights / rule.weights.sum(), strict=True))
    if not rule.takes_logarithms:
        x = add([scale(output, weight) for output, weight in weighted])
        return layers.Activation("linear", name="probabilities", dtype="float32")(x)
    if rule.kernel is not None:
        x = stack(outputs, rule.kernel, rule.bias)
    elif rule.geometric:
        x = log_softmax(add([scale(surprise(output), -weight) for output, weight in weighted]))
    else:
        if rule.temperatures is not None:
            cooled = [
                log_softmax(scale(surprise(output), -1 / temperature))
                for output, temperature in zip(outputs, rule.temperatures, strict=True)
            ]
            weighted = list(zip(cooled, rule.weights / rule.weights.sum(), strict=True))
        x = functools.reduce(log_of_sum, [scale(output, 1.0, math.log(weight)) for output, weight in weighted])
    if rule.temperature is not None:
        x = scale(surprise(x), -1 / rule.temperature)
    x = layers.Softmax(**EXACT)(x)
    return layers.Activation("linear", name="probabilities", dtype="float32")(x)
