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

import logging
import os
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.combining.metrics import merit
from ensemble.combining.rule import rule_of
from ensemble.common.command import RefusedError, new_parser, refuse, run_command, short
from ensemble.common.files import file_hash, remove_leftovers
from ensemble.common.schemas import Ensemble, read_json
from ensemble.members.data import is_folder, load_images, size_for, start_keras
from ensemble.members.predicting import batch_for
from ensemble.model_files.assemble import add_member, in_float32, operations, pool, read_outputs
from ensemble.model_files.forms import PADDED, Form, model_inputs, taken_by
from ensemble.model_files.loading import load_model, usable
from ensemble.model_files.writing import LIMITS, write

IMAGES = 100  # that it is measured on


# The record
def read_record(file, chosen):
    """Return what a record says of the method, of that name or the best on validation, or refuse it.

    Returns its name, its Rule, the members of weight above 0 as rows of the record, and the DATA that they were scored
    on.
    """
    record = read_json(file, Ensemble, "give the ensemble.json of compare.py, weighted_mean.py or voting.py")
    if record.get("script") == "ensemble/snapshot.py":
        refuse(f"{file} is of snapshot.py; give {file.parent}/cycle-*.h5 to compare.py, and its record to this")
    methods, members, rules = record["methods"], record["members"], {}
    for name, method in methods.items():
        try:
            rule = rule_of(name, method, members)
        except ValueError as error:
            refuse(f"{file} is damaged: {name}: {error}; give one that compare.py, weighted_mean.py or voting.py wrote")
        if rule and "loss" in method["validation"]:
            rules[name] = rule
    name = chosen or max(rules, key=lambda name: merit(methods[name]), default="")
    if name not in rules:
        has = ", ".join(rules) or "none"
        refuse(f"--method {name}: {file} has no such method that can be one model; it has {has}")
    if not chosen:
        print(f"{name} is the best on validation of {', '.join(rules)}")
    rule = rules[name]
    for member, weight in zip(members, rule.weights, strict=True):
        if weight == 0:
            print(f"{member['path']} is left out: its weight is 0")
        elif not Path(member["path"]).is_file():
            refuse(f"there is no file {member['path']}; run this where {file} was made")
        elif file_hash(member["path"]) != member["model"]:
            refuse(f"{member['path']} is not the model that {file} was made of; its SHA-256 is another")
    used = rule.weights > 0
    rule.weights = rule.weights[used]
    if rule.temperatures is not None:
        rule.temperatures = rule.temperatures[used]
    return name, rule, [member for member, is_used in zip(members, used, strict=True) if is_used], record["data"]


# The members as they are
def test_images(data, size=None):
    """Return IMAGES test images of data, uint8 (n, height, width, 3), or None where this computer lacks them.

    size: as in load_images.
    """
    try:
        return load_images(data, None, size)[0]["test"][0][:IMAGES]
    except RefusedError:
        return None


def predict(model, member, images):
    """Return a member's probabilities for uint8 images, float64 (n, classes), and what its outputs are."""
    form = Form.of_record(member.get("form"))
    outputs = model.predict_on_batch(model_inputs(model, member["path"], images, form))
    probabilities, kind = form.read(outputs, member["path"])
    return probabilities.astype(np.float64), kind


def random_images(model, member):
    """Return IMAGES uint8 images of random pixels, (n, height, width, 3), of the size that a member is given."""
    taken, form = taken_by(model, member["path"]), Form.of_record(member.get("form"))
    size = (PADDED, PADDED) if form.resize or form.size else (taken.height or PADDED, taken.width or PADDED)
    return np.random.default_rng(0).integers(256, size=(IMAGES, *size, 3)).astype(np.uint8)


# The ensemble as a model
def open_members(members, formats):
    """Return the models of rows of the record; refuse one that a format of `formats`, such as .h5, cannot hold."""
    models = []
    for number, member in enumerate(members, start=1):
        print(f"member {number} of {len(members)}: {member['path']}", flush=True)
        models.append(load_model(Path(member["path"]), Form.of_record(member.get("form")).output))
        found = operations(models[-1])
        if found and ".h5" in formats:
            raise RefusedError(
                f"{member['path']} has operations in its graph ({', '.join(found)}), which Keras cannot read back from "
                "an .h5 file: leave out the .h5"
            )
    return models


def refuse_sizes(models, members):
    """Refuse members that take images of different sizes, unless they are resized for them."""
    sizes = {}
    for model, member in zip(models, members, strict=True):
        taken, form = taken_by(model, member["path"]), Form.of_record(member.get("form"))
        if not (form.resize or form.size or None in (taken.height, taken.width)):
            sizes.setdefault(f"{taken.height}x{taken.width}", member["path"])
    if len(sizes) > 1:
        (one, first), (other, second), *_ = sizes.items()
        refuse(
            f"{first} takes images of {one} pixels, {second} of {other}; only models of one size, or with --resize, "
            "become one model"
        )


def join(pixels, models, members, images):
    """Return the members' outputs as Keras tensors made from that of the pixels, with what they are, and the members'
    own probabilities for the images, float64 (members, n, classes)."""
    outputs, parts = [], []
    for number, (model, member) in enumerate(zip(models, members, strict=True), start=1):
        with usable(member["path"]):
            plain = in_float32(model)
            probabilities, kind = predict(plain, member, images)
            if plain is not model:
                change = abs(predict(model, member, images)[0] - probabilities).max()
                print(
                    f"{member['path']}: it is of mixed precision; float32, which it gets here, changes its "
                    f"probabilities by {change:.1g}"
                )
            outputs.append((*add_member(pixels, plain, member, f"member_{number}"), member, kind))
        parts.append(probabilities)
    return outputs, np.stack(parts)


# Command line
def read_options():
    """Return the arguments of the command line, or refuse them."""
    parser = new_parser(__doc__)
    parser.add_argument("record", type=Path, metavar="ensemble.json", help="what compare.py or another wrote")
    parser.add_argument("--method", metavar="NAME", help="of those in the record (default: the best on validation)")
    parser.add_argument(
        "--out", nargs="+", type=Path, required=True, metavar="FILE", help="one or more of .keras, .h5 and .onnx"
    )
    options = parser.parse_args()
    for out in options.out:
        if out.suffix not in LIMITS:
            refuse(f"--out {out}: its name must end in {', '.join(LIMITS)}")
        remove_leftovers(out)
        if os.path.lexists(out):
            refuse(f"{out} exists and stays as it is; give another --out")
    if len(set(options.out)) < len(options.out):
        refuse(f"--out names {options.out[0]} or another file twice; give each once")
    return options


def start_tensorflow():
    """Import TensorFlow, for the CPU alone."""
    try:
        import tensorflow as tf
    except ImportError as error:
        refuse(f"TensorFlow or Keras is missing ({short(error)}); install requirements.txt")

    tf.config.set_visible_devices([], "GPU")  # which rounds more coarsely than LIMITS
    for name in ("root", "tensorflow", "tf2onnx"):  # tf2onnx warns in the name of root, too
        logging.getLogger(name).setLevel(logging.ERROR)


def main():
    options = read_options()
    if os.environ.setdefault("KERAS_BACKEND", "tensorflow") != "tensorflow":
        refuse("only TensorFlow computes in float64 and writes .onnx; leave KERAS_BACKEND out, any member will do")
    method, rule, members, data = read_record(options.record, options.method)
    if is_folder(data):
        start_keras()
    else:
        images = test_images(data)
    start_tensorflow()
    models = open_members(members, {out.suffix for out in options.out})
    refuse_sizes(models, members)
    if is_folder(data):
        images = test_images(data, size_for(data, models[0], members[0]["path"]))
    if images is None:
        print(f"{data} cannot be loaded here; images of random pixels take its place")
        images = random_images(models[0], members[0])
    batches = []
    for model, member in zip(models, members, strict=True):
        with usable(member["path"]):
            batches.append(batch_for(model, member["path"], images.shape[1:3], Form.of_record(member.get("form"))))
    images = images[: min(batches)]

    import keras

    pixels = keras.Input(images.shape[1:], name="pixels")
    outputs, parts = join(pixels, models, members, images)
    if rule.bias is not None and len(rule.bias) != parts.shape[2]:
        refuse(
            f"{options.record} is damaged: {method} is for {len(rule.bias)} classes, the members have {parts.shape[2]}"
        )
    outputs = [read_outputs(*output, as_logarithms=rule.takes_logarithms) for output in outputs]
    ensemble = keras.Model(pixels, pool(outputs, rule), name="ensemble")
    cooled = "" if rule.temperature is None else f" at temperature {rule.temperature:.3f}"
    print(f"{method} of {len(members)} members{cooled}: {ensemble.count_params():,} parameters, {len(images)} images")
    kept_beside = []
    for out in options.out:
        try:
            write(ensemble, out, images, rule(parts))
        except RefusedError as error:  # the other files are made all the same
            kept_beside.append(str(error))
    if kept_beside:
        refuse("; ".join(kept_beside))


if __name__ == "__main__":
    run_command(main)
