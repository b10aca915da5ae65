"""One model of several: copies of the members' layers, and layers that combine what they give.

What export.py writes to a file. It has layers of Keras alone, and the operations that a member has in its graph.
"""

import functools
import json
import math
import re

import numpy as np

from ensemble.combining.metrics import LEAST
from ensemble.common.command import RefusedError
from ensemble.model_files.forms import Form, middle, taken_by

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
    for layer in same._flatten_layers():
        finalize(layer)
    return same


def finalize(layer):
    """Let a Normalization that was adapted take its new weights."""
    import keras

    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()


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


def form_of(member):
    """Return how a member of a record is fed and read, as a Form."""
    return Form.from_json(json.dumps(member.get("form", {})))


def copy_onto(x, model, name, copies):
    """Return the output of copies of a model's layers on the Keras tensor x; their names begin with `name`.

    copies: where each layer and its copy are kept, {id: (layer, copy)}. Models inside the model are taken apart, so
    that every layer is one of the whole.
    """
    import keras

    def copy(layer):
        if isinstance(layer, keras.Model):
            return lambda inputs, **_: copy_onto(inputs, layer, f"{name}_{layer.name}", copies)
        if id(layer) not in copies:
            config = layer.get_config() | {"name": f"{name}_{layer.name}"}
            copies[id(layer)] = layer, type(layer).from_config(config)
        return copies[id(layer)][1]

    if isinstance(model, keras.Sequential):
        return functools.reduce(lambda inputs, layer: copy(layer)(inputs), model.layers, x)
    inputs = keras.tree.map_structure(lambda _: x, model.input)
    return keras.tree.flatten(model._run_through_graph(inputs, copy))[0]


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


def logarithms(output, path, cut):
    """Return the logarithms of a model's probabilities, this output, as a Keras tensor, or refuse the model.

    They are taken from the logits of the softmax at its end, or of the softmaxes whose average it gives, as with
    TEST_FLIP. cut: the layers, by id, whose softmax is off already, as it is in a layer with two outputs.
    """
    import keras

    last, node, _ = output._keras_history
    inputs = last._inbound_nodes[node].input_tensors
    if isinstance(last, keras.layers.Average):
        terms = [logarithms(each, path, cut) for each in inputs]
        return scale(functools.reduce(log_of_sum, terms), 1.0, -math.log(len(terms)))
    if isinstance(last, keras.layers.Softmax):
        return log_softmax(inputs[0])
    if getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
        cut.add(id(last))
    if id(last) in cut:
        return log_softmax(output)
    raise RefusedError(
        f"{path} does not end in a softmax: a temperature or a geometric mean needs its logits. Leave it out, or take "
        "the record of voting.py or weighted_mean.py, which have no temperature"
    )


def take(x, places, name=None):
    """Return these places of the last axis of a Keras tensor, in this order, as one."""
    from keras import layers

    layer = layers.Dense(len(places), use_bias=False, name=name, **EXACT)
    taken = layer(x)
    layer.set_weights([np.eye(x.shape[-1])[:, places]])
    return taken


def add_member(pixels, model, member, name):
    """Return a member's outputs as a Keras tensor made from that of the pixels.

    Its layers have names that begin with `name`: those that Keras gives start anew with every model that is loaded.
    """
    from keras import layers

    path, form, x, copies = member["path"], form_of(member), pixels, {}
    taken = taken_by(model, path)
    if form.size:
        cut = middle((None, *pixels.shape[1:]), form.size)
        borders = [(own.start, whole - own.stop) for own, whole in zip(cut, pixels.shape[1:3], strict=True)]
        x = layers.Cropping2D(borders, name=f"{name}_middle")(x)
    if form.resize and x.shape[1:3] != (taken.height, taken.width):
        x = layers.Resizing(taken.height, taken.width, form.resize, name=f"{name}_size")(x)
    if form.scale != Form.scale:
        x = layers.Rescaling(form.scale, name=f"{name}_scale")(x)
    if (form.mean, form.std) != (Form.mean, Form.std):
        variance = np.array(form.std, np.float32).astype(np.float64) ** 2  # whose root is exactly std again
        x = layers.Normalization(mean=form.mean, variance=variance.tolist(), name=f"{name}_colours")(x)
    if form.channels == "bgr":
        x = take(x, [2, 1, 0], f"{name}_bgr")
    if taken.channels == 1:
        x = take(x, [0], f"{name}_one_channel")
    if taken.first:
        x = layers.Permute((3, 1, 2), name=f"{name}_channels_first")(x)
    x = copy_onto(x, model, name, copies)
    for layer, copy in copies.values():
        if getattr(layer, "weights", ()):  # an operation has none
            copy.set_weights(layer.get_weights())
        finalize(copy)
    return x


def read_outputs(x, member, kind, as_logarithms):
    """Return a member's probabilities, or their logarithms, as a Keras tensor made from that of its outputs.

    kind: "probabilities", "logits" or "sigmoid".
    """
    from keras import layers

    if kind == "sigmoid":
        x = sigmoid_logits(x, member["path"])
    elif kind == "logits" and x.shape[-1] == 1:
        x = beside_zero(x)
    if kind in ("sigmoid", "logits"):
        x = log_softmax(x) if as_logarithms else layers.Softmax(**EXACT)(x)
    elif as_logarithms:
        x = logarithms(x, member["path"], set())
    order = form_of(member).class_order
    return x if order in (None, tuple(range(x.shape[-1]))) else take(x, np.argsort(order))


def beside_zero(x):
    """Return 0 and the logit of the second of two classes, a Keras tensor (n, 1): logits of both, (n, 2)."""
    from keras import layers

    layer = layers.Dense(2, use_bias=False, **EXACT)
    both = layer(x)
    layer.set_weights([np.array([[0.0, 1.0]])])
    return both


def sigmoid_logits(output, path):
    """Return logits, a Keras tensor, whose softmax is 1 - p and p for a sigmoid p, or sigmoids divided by their sum.

    The logarithm of sigmoid(z) is -softplus(-z).
    """
    import keras
    from keras import layers

    last = output._keras_history.operation
    if getattr(last, "activation", None) is not keras.activations.sigmoid:
        raise RefusedError(f"{path} has a sigmoid that is not of its last layer; it cannot be part of one model")
    last.activation = keras.activations.linear
    if output.shape[-1] == 1:
        return beside_zero(output)
    return scale(layers.Activation("softplus", **EXACT)(scale(output, -1.0)), -1.0)


def pool(outputs, method, weights, temperature):
    """Return the ensemble's probabilities as a Keras tensor, from the members' or, at a temperature, their logarithms.

    Keras has no layer for a logarithm, so they are taken from the logits, and stay logarithms.
    """
    from keras import layers

    def surprise(logarithm):
        """-log(max(p, LEAST))"""
        return layers.ReLU(max_value=-math.log(LEAST), **EXACT)(scale(logarithm, -1.0))

    if temperature is None:
        x = add([scale(output, weight) for output, weight in zip(outputs, weights, strict=True)])
    else:
        if method == "geometric mean":
            means = add([scale(surprise(output), -weight) for output, weight in zip(outputs, weights, strict=True)])
            x = log_softmax(means)
        else:
            terms = [scale(output, 1.0, math.log(weight)) for output, weight in zip(outputs, weights, strict=True)]
            x = functools.reduce(log_of_sum, terms)
        x = layers.Softmax(**EXACT)(scale(surprise(x), -1 / temperature))
    return layers.Activation("linear", name="probabilities", dtype="float32")(x)
