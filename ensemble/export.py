"""Make one model of an ensemble: the members, their weights and the temperature in one .keras, .h5 or ONNX file.

    python ensemble/export.py runs/compare/ensemble.json --out ensemble.keras
    python ensemble/export.py runs/compare/ensemble.json --method likelihood --out ensemble.h5 ensemble.onnx

Reads the ensemble.json that compare.py, weighted_mean.py or voting.py wrote. The model takes raw 0-255 pixels, (n,
height, width, 3), and gives class probabilities, (n, classes); the ONNX takes them as float32, under the name "pixels".
A .keras or .h5 file needs nothing but Keras to load. Members of mixed precision compute in float32 in it. Each file is
loaded again and compared with the members' own predictions before it takes its place.

A temperature, which compare.py's methods have, needs the members' logits: they end in a softmax, or in the average of
several, as with TEST_FLIP.
"""

import argparse
import functools
import json
import logging
import math
import os
import re
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
from measures import LEAST, tempered
from members import file_hash, load_images, refuse, written_whole
from methods import WeightedMean, geometric_mean
from models import Form, RefusedError, load_model, refusing, unusable

LIMITS = {".keras": 1e-6, ".h5": 1e-6, ".onnx": 1e-5}  # of the difference to the members' own predictions
IMAGES = 100  # that it is measured on
EXACT = {"dtype": "float64"}  # what combines the members: float32 would round too much, and TF32 more


# The record
def exportable(record):
    """Return {method: weights} of the methods in a record that layers can compute; weights float64 (members,)."""
    members, found = record["members"], {}
    for name, method in record["methods"].items():
        if name in ("soft voting", "equal weights", "geometric mean"):
            found[name] = np.full(len(members), 1 / len(members))
        elif name == "weighted mean":
            found[name] = np.array([member["weight"] for member in members])
        elif "weights" in method:
            found[name] = np.array(method["weights"])
    return found


def read_record(file, chosen):
    """Return what a record says of the method, of that name or the best on validation, or refuse it.

    Returns its name, its temperature or None, the members of weight above 0 as rows of the record, their weights,
    float64 (members,), and the DATA that they were scored on.
    """
    if not file.is_file():
        refuse(f"there is no file {file}; give the ensemble.json of compare.py, weighted_mean.py or voting.py")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        if record.get("script") == "ensemble/snapshot.py":
            refuse(f"{file} is of snapshot.py; give {file.parent}/cycle-*.h5 to compare.py, and its record to this")
        methods, found = record["methods"], exportable(record)
        best = max(
            found, key=lambda name: (methods[name]["validation"]["accuracy"], -methods[name]["validation"]["loss"])
        )
        name = chosen or best
        if name not in found:
            refuse(f"--method {name}: {file} has no such method that can be one model; it has {', '.join(found)}")
        if not chosen:
            print(f"{name} is the best on validation of {', '.join(found)}")
        for member, weight in zip(record["members"], found[name], strict=True):
            if weight == 0:
                print(f"{member['path']} is left out: its weight is 0")
            elif not Path(member["path"]).is_file():
                refuse(f"there is no file {member['path']}; run this where {file} was made")
            elif file_hash(member["path"]) != member["model"]:
                refuse(f"{member['path']} is not the model that {file} was made of; its SHA-256 is another")
        used = found[name] > 0
        members = [member for member, weight in zip(record["members"], used, strict=True) if weight]
        return name, methods[name].get("temperature"), members, found[name][used], record["data"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        refuse(f"{file} is no record that compare.py, weighted_mean.py or voting.py wrote")


# The members as they are
def test_images(data):
    """Return IMAGES test images of data, uint8 (n, height, width, 3), or None where this computer lacks them."""
    try:
        return load_images(data, None)[0]["test"][0][:IMAGES]
    except RefusedError:
        return None


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
    if hasattr(layer, "finalize_state"):
        layer.finalize_state()


def form_of(member):
    """Return how a member of a record is fed and read, as a Form."""
    return Form.from_json(json.dumps(member.get("form", {})))


def predict(model, member, images):
    """Return a member's probabilities for uint8 images, float64 (n, classes), and whether its outputs are logits."""
    form = form_of(member)
    outputs = model.predict_on_batch(form.feed(images)[..., : model.input_shape[-1]])
    probabilities, kind = form.read(outputs, member["path"])
    return probabilities.astype(np.float64), kind == "logits"


def combine(method, parts, weights, temperature):
    """Return what a method makes of the members' probabilities, float64 (members, n, classes): float64 (n, classes)."""
    pooled = geometric_mean(parts) if method == "geometric mean" else WeightedMean(weights)(parts)
    return pooled if temperature is None else tempered(pooled, temperature)


# The members in one model
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

    form, x, copies = form_of(member), pixels, {}
    if form.scale != Form.scale:
        x = layers.Rescaling(form.scale, name=f"{name}_scale")(x)
    if (form.mean, form.std) != (Form.mean, Form.std):
        variance = np.array(form.std, np.float32).astype(np.float64) ** 2  # whose root is exactly std again
        x = layers.Normalization(mean=form.mean, variance=variance.tolist(), name=f"{name}_colours")(x)
    if model.input_shape[-1] == 1:
        x = take(x, [0], f"{name}_one_channel")
    x = copy_onto(x, model, name, copies)
    for layer, copy in copies.values():
        if layer.weights:
            copy.set_weights(layer.get_weights())
        finalize(copy)
    return x


def read_outputs(x, member, logits, as_logarithms):
    """Return a member's probabilities, or their logarithms, as a Keras tensor made from that of its outputs."""
    from keras import layers

    if as_logarithms:
        x = log_softmax(x) if logits else logarithms(x, member["path"], set())
    elif logits:
        x = layers.Softmax(**EXACT)(x)
    order = form_of(member).class_order
    return x if order in (None, tuple(range(x.shape[-1]))) else take(x, np.argsort(order))


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


# The file
def write_onnx(model, file):
    """Write a model as ONNX: float32 "pixels" (n, height, width, 3), float32 "probabilities" (n, classes)."""
    import onnx
    import tensorflow as tf
    import tf2onnx
    from keras import layers
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    for layer in model.layers:  # Keras gives grouped convolutions to XLA, of which tf2onnx knows nothing
        if isinstance(layer, layers.Conv2D) and layer.groups > 1:
            given = {"strides": layer.strides, "padding": layer.padding.upper(), "dilations": layer.dilation_rate}
            layer.convolution_op = functools.partial(tf.nn.conv2d, **given)
    pixels = tf.TensorSpec(model.input_shape, tf.float32, "pixels")
    function = tf.function(lambda pixels: model(pixels, training=False)).get_concrete_function(pixels)
    function = convert_variables_to_constants_v2(function)
    (output,) = function.outputs
    names = {"pixels:0": "pixels", output.name: "probabilities"}
    converted, _ = tf2onnx.convert.from_graph_def(
        function.graph.as_graph_def(), input_names=["pixels:0"], output_names=[output.name], tensors_to_rename=names
    )
    for tensor in (converted.graph.input[0], converted.graph.output[0]):
        tensor.type.tensor_type.shape.dim[0].dim_param = "n"
    onnx.save(converted, file)


def predict_file(file, images):
    """Return the probabilities that a written model gives for uint8 images, float32 (n, classes)."""
    if file.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return session.run(None, {"pixels": images.astype(np.float32)})[0]
    import keras

    return keras.models.load_model(file, compile=False).predict_on_batch(images)


def write(model, out, images, expected):
    """Write a model to a file and say how far its probabilities are from the expected ones; refuse it if too far."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(out) as file:
            write_onnx(model, file) if out.suffix == ".onnx" else model.save(file)
            difference = abs(predict_file(file, images) - expected).max()
            if not difference <= LIMITS[out.suffix]:
                raise ValueError(f"its probabilities are {difference:.1g} off the members' own")
    except Exception as error:  # of the disk, or of a layer that the format does not know
        with suppress(OSError):
            out.with_name(f"unfinished-{out.name}").unlink()
        refuse(f"{out} is not written: {' '.join(str(error).split())[:200]}")
    print(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB, at most {difference:.1g} off the members' own probabilities",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.error = refuse
    parser.add_argument("record", type=Path, metavar="ensemble.json", help="what compare.py or another wrote")
    parser.add_argument("--method", metavar="NAME", help="of those in the record (default: the best on validation)")
    parser.add_argument(
        "--out", nargs="+", type=Path, required=True, metavar="FILE", help="one or more of .keras, .h5 and .onnx"
    )
    options = parser.parse_args()
    for out in options.out:
        if out.suffix not in LIMITS:
            refuse(f"--out {out}: its name must end in {', '.join(LIMITS)}")
        if out.exists():
            refuse(f"{out} exists and stays as it is; give another --out")
    method, temperature, members, weights, data = read_record(options.record, options.method)

    if os.environ.setdefault("KERAS_BACKEND", "tensorflow") != "tensorflow":
        refuse("only TensorFlow computes in float64 and writes .onnx; leave KERAS_BACKEND out, any member will do")
    images = test_images(data)
    try:
        import keras
        import tensorflow as tf
    except ImportError as error:
        refuse(f"TensorFlow or Keras is missing ({error}); install requirements.txt")

    tf.config.set_visible_devices([], "GPU")  # which rounds more coarsely than LIMITS
    for name in ("root", "tensorflow", "tf2onnx"):  # tf2onnx warns in the name of root, too
        logging.getLogger(name).setLevel(logging.ERROR)
    pixels, parts, outputs = None, [], []
    for number, member in enumerate(members, start=1):
        print(f"member {number} of {len(members)}: {member['path']}", flush=True)
        try:
            model = load_model(Path(member["path"]))
            if images is None:
                print(f"{data} cannot be loaded here; images of random pixels take its place")
                shape = (IMAGES, *(size or 32 for size in model.input_shape[1:3]), 3)
                images = np.random.default_rng(0).integers(256, size=shape).astype(np.uint8)
            if pixels is None:
                pixels = keras.Input(images.shape[1:], name="pixels")
            plain = in_float32(model)
            probabilities, logits = predict(plain, member, images)
            if plain is not model:
                change = abs(predict(model, member, images)[0] - probabilities).max()
                print(
                    f"it is of mixed precision; float32, which it gets here, changes its probabilities by {change:.1g}"
                )
            outputs.append((add_member(pixels, plain, member, f"member_{number}"), member, logits))
        except RefusedError:
            raise
        except Exception as error:  # whatever a foreign file makes Keras raise
            raise unusable(member["path"], error) from None
        parts.append(probabilities)
    outputs = [read_outputs(*output, as_logarithms=temperature is not None) for output in outputs]
    ensemble = keras.Model(pixels, pool(outputs, method, weights, temperature), name="ensemble")
    expected = combine(method, np.stack(parts), weights, temperature)
    cooled = "" if temperature is None else f" at temperature {temperature:.3f}"
    print(f"{method} of {len(members)} members{cooled}: {ensemble.count_params():,} parameters, {len(images)} images")
    for out in options.out:
        write(ensemble, out, images, expected)


if __name__ == "__main__":
    try:
        with refusing(False):
            main()
    except KeyboardInterrupt:
        sys.exit(130)
