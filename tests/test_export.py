"""ensemble/export.py: the files it writes against the members' own predictions, combined here in plain NumPy."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
from conftest import ROOT, load_script, run_script

from ensemble import export
from ensemble.combining.rule import rule_of
from ensemble.common.command import refusing
from ensemble.model_files import writing
from ensemble.model_files.writing import LIMITS, predict_file

SUFFIXES = (".keras", ".h5", ".onnx")
FORM = {
    "scale": 1 / 255,
    "mean": [0.49, 0.48, 0.45],
    "std": [0.2, 0.21, 0.27],
    "class_order": [3, 9, 0, 1, 8, 2, 7, 6, 5, 4],
    "outputs": "logits",
}


@pytest.fixture(scope="module")
def digits():
    """Test images of the digits, and Keras, which this imports quietly."""
    return load_script("4.ResNet/resnet.py").load_data("digits", 5000)["test"][0][: export.IMAGES]


@pytest.fixture(scope="module")
def models(digits, tmp_path_factory):
    """The folder of small models, as this collection and as others make them, of probabilities from 1e-8 to 1."""
    import keras
    from keras import layers

    folder = tmp_path_factory.mktemp("models")
    keras.utils.set_random_seed(0)
    pixels = keras.Input((32, 32, 3))
    normalised = layers.Normalization(mean=[120.0] * 3, variance=[3600.0] * 3)(pixels)
    dense = {"kernel_initializer": keras.initializers.RandomNormal(stddev=0.5)}

    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, padding="same")(normalised)))
    x = layers.Add()([x, layers.Conv2D(8, 3, padding="same", groups=4, use_bias=False)(x)])
    x = layers.Flatten()(layers.Dropout(0.5)(layers.AveragePooling2D(4)(x)))
    keras.Model(pixels, layers.Dense(10, "softmax", **dense)(x)).save(folder / "grouped.h5", include_optimizer=False)

    x = layers.Conv2D(10, 5, strides=3, activation="relu", kernel_initializer="he_normal")(normalised)
    x = layers.Rescaling(9.0)(layers.GlobalAveragePooling2D()(x))
    keras.Model(pixels, layers.Softmax()(x)).save(folder / "softmax_layer.h5", include_optimizer=False)

    with_test_flip = load_script("4.ResNet/resnet.py").with_test_flip
    x = layers.Flatten()(layers.AveragePooling2D(8)(normalised))
    sided = keras.Model(pixels, layers.Dense(10, "softmax", **dense)(x))
    with_test_flip(sided).save(folder / "flipped.h5", include_optimizer=False)
    x = layers.Rescaling(9.0)(layers.GlobalMaxPooling2D()(layers.Conv2D(10, 5, strides=3)(normalised)))
    with_test_flip(keras.Model(pixels, layers.Softmax()(x))).save(folder / "flipped_layer.keras")

    adapted = layers.Normalization()
    adapted.adapt(digits)
    inner = keras.Sequential(
        [keras.Input((32, 32, 3)), adapted, layers.AveragePooling2D(8), layers.Flatten(), layers.Dense(10, **dense)]
    )
    inner_pixels = keras.Input((32, 32, 3))
    inner_end = keras.Model([inner_pixels], [layers.Activation("softmax")(inner(inner_pixels))])
    nested = keras.Sequential([keras.Input((32, 32, 3)), layers.Rescaling(1.0), inner_end])
    nested.save(folder / "nested.keras")

    def sequential(activation, dtype="float32"):
        pooled = [keras.Input((32, 32, 3)), layers.AveragePooling2D(4), layers.Flatten()]
        return keras.Sequential([*pooled, layers.Dense(10, activation, dtype=dtype, **dense)])

    keras.utils.set_random_seed(1)
    sequential("softmax").save(folder / "full.h5", include_optimizer=False)
    keras.utils.set_random_seed(1)
    sequential("softmax", "mixed_bfloat16").save(folder / "mixed.h5", include_optimizer=False)

    grey = [keras.Input((32, 32, 1)), layers.MaxPooling2D(8), layers.Flatten(), layers.Dense(10, "softmax")]
    keras.Sequential(grey).save(folder / "grey.h5", include_optimizer=False)
    sequential(None).save(folder / "logits.h5", include_optimizer=False)  # takes what FORM makes of the pixels
    tail = keras.Sequential([sequential("softmax"), layers.Rescaling(1.0)])
    tail.save(folder / "no_softmax_at_its_end.keras")
    return folder


def own_probabilities(path, images, form):
    """What a model makes of images, float64 (n, classes), by the words of the record's form."""
    import keras

    x = images.astype(np.float32)
    if form:
        x = (np.float32(form["scale"]) * x - np.float32(form["mean"])) / np.float32(form["std"])
    if path.stem == "grey":
        x = x[..., :1]
    outputs = keras.models.load_model(path, compile=False).predict(x, verbose=0).astype(np.float64)
    if not form:
        return outputs
    powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    ordered = np.empty_like(powers)
    for number, label in enumerate(form["class_order"]):
        ordered[:, label] = powers[:, number]
    return ordered / ordered.sum(axis=1, keepdims=True)


def write_record(folder, members, methods, data="digits"):
    """A record such as compare.py writes: members are (path, what its row has besides)."""
    rows = [
        {"path": str(path), "model": hashlib.sha256(path.read_bytes()).hexdigest(), **more} for path, more in members
    ]
    scores = {"validation": {"accuracy": 0.5, "loss": 1.0}}
    record = {"data": data, "members": rows, "methods": {name: scores | more for name, more in methods.items()}}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ensemble.json").write_text(json.dumps(record))
    return folder / "ensemble.json"


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["export.py", *map(str, arguments)])
    with refusing(False):
        export.main()


def check(folder, images, expected, temperature=1.0):
    """A temperature below 1 multiplies what float32 makes of the members' logits in batches of another size."""
    for suffix in SUFFIXES:
        found = predict_file(folder / f"ensemble{suffix}", images)
        np.testing.assert_allclose(found, expected, rtol=0, atol=LIMITS[suffix] / min(1, temperature))
    assert not list(folder.glob("unfinished*"))


def flatten(model):
    """All layers of a model, those of models inside it too."""
    return [part for layer in model.layers for part in (layer, *(flatten(layer) if hasattr(layer, "layers") else ()))]


EVERYONE = (
    ("grouped.h5", {}),
    ("softmax_layer.h5", {}),
    ("nested.keras", {}),
    ("logits.h5", {"form": FORM}),
    ("flipped.h5", {}),
    ("flipped_layer.keras", {}),
)


def test_likelihood_weights_at_a_temperature_in_a_fresh_process(models, digits, tmp_path):
    members = [(models / name, more) for name, more in EVERYONE]
    weights = [0.05, 0.2, 0.3, 0.1, 0.15, 0.2]
    record = write_record(tmp_path, members, {"likelihood": {"weights": weights, "temperature": 1.7}})
    outs = [tmp_path / f"ensemble{suffix}" for suffix in SUFFIXES]
    done = run_script("ensemble/export.py", record, "--out", *outs, cwd=tmp_path)
    assert done.stderr == "" and "likelihood is the best on validation of likelihood" in done.stdout
    for out in outs:
        assert f"{out}: " in done.stdout

    parts = [own_probabilities(path, digits, more.get("form")) for path, more in members]
    assert min(part.min() for part in parts) < 1e-7 and max(part.max() for part in parts) > 0.999
    logarithms = np.log(np.maximum(np.average(parts, axis=0, weights=weights), 1e-7)) / 1.7
    powers = np.exp(logarithms)
    np.save(tmp_path / "images.npy", digits)
    code = """
import sys
import keras, numpy as np, onnxruntime
images = np.load("images.npy")
found = [keras.models.load_model(f"ensemble.{it}", compile=False).predict(images, verbose=0) for it in ("keras", "h5")]
session = onnxruntime.InferenceSession("ensemble.onnx", providers=["CPUExecutionProvider"])
found.append(session.run(["probabilities"], {"pixels": images.astype(np.float32)})[0])
np.save("found.npy", found)
"""
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, timeout=120)
    for suffix, found in zip(SUFFIXES, np.load(tmp_path / "found.npy"), strict=True):
        np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), rtol=0, atol=LIMITS[suffix])

    import keras

    layers = flatten(keras.models.load_model(tmp_path / "ensemble.h5", compile=False))
    names = [layer.name for layer in layers]
    assert len(set(names)) == len(names) and {type(layer).__module__.split(".")[0] for layer in layers} == {"keras"}
    assert [layer.groups for layer in layers if "conv2d" in layer.name].count(4) == 1
    nodes = onnx.load(tmp_path / "ensemble.onnx").graph.node
    groups = [it.i for node in nodes if node.op_type == "Conv" for it in node.attribute if it.name == "group"]
    assert groups.count(4) == 1


@pytest.mark.parametrize(("method", "temperature"), [("geometric mean", 0.2), ("soft voting", 5.0)])
def test_methods_without_weights_at_a_temperature(models, digits, tmp_path, monkeypatch, method, temperature):
    members = [(models / name, more) for name, more in EVERYONE]
    record = write_record(tmp_path, members, {method: {"temperature": temperature}})
    parts = np.array([own_probabilities(path, digits, more.get("form")) for path, more in members])
    if method == "geometric mean":
        product = np.exp(np.log(np.maximum(parts, 1e-7)).mean(axis=0))
        pooled = product / product.sum(axis=1, keepdims=True)
    else:
        pooled = parts.mean(axis=0)
    call(monkeypatch, record, "--out", *(tmp_path / f"ensemble{suffix}" for suffix in SUFFIXES))
    powers = np.maximum(pooled, 1e-7) ** (1 / temperature)
    check(tmp_path, digits, powers / powers.sum(axis=1, keepdims=True), temperature)


def test_stacking(models, digits, tmp_path, monkeypatch):
    """Of four members, one with a softmax layer, one with two softmaxes' average, one with other classes' order."""
    random = np.random.default_rng(0)
    members = [(models / name, more) for name, more in EVERYONE if name != "flipped_layer.keras"]
    kernel, bias = random.normal(scale=0.1, size=(10 * len(members), 10)), random.normal(size=10)
    row = {"kernel": kernel.tolist(), "bias": bias.tolist(), "temperature": 1.4}
    record = write_record(tmp_path, members, {"stacking": row})
    parts = [own_probabilities(path, digits, more.get("form")) for path, more in members]
    logits = sum(
        np.log(np.maximum(part, 1e-7)) @ own for part, own in zip(parts, np.split(kernel, len(parts)), strict=True)
    )
    powers = np.exp(logits + bias - (logits + bias).max(axis=1, keepdims=True))
    powers = np.maximum(powers / powers.sum(axis=1, keepdims=True), 1e-7) ** (1 / 1.4)
    outs = [tmp_path / f"ensemble{suffix}" for suffix in (".keras", ".h5")]
    call(monkeypatch, record, "--out", *outs)
    for out in outs:
        expected = powers / powers.sum(axis=1, keepdims=True)
        multiplied = abs(kernel).sum(axis=0).max()  # so many times what float32 makes of the members' logits
        np.testing.assert_allclose(predict_file(out, digits), expected, rtol=0, atol=1e-6 * multiplied)


def test_members_at_their_own_temperatures(models, digits, tmp_path, monkeypatch):
    members = [(models / name, more) for name, more in EVERYONE]
    weights, own = np.array([0.1, 0.0, 0.3, 0.2, 0.15, 0.25]), np.array([2.0, 1.0, 0.8, 1.5, 1.0, 3.0])
    row = {"tempered_weights": weights.tolist(), "temperatures": own.tolist(), "temperature": 1.2}
    record = write_record(tmp_path, members, {"likelihood, tempered": row})
    pooled = 0
    for (path, more), weight, temperature in zip(members, weights, own, strict=True):
        powers = np.maximum(own_probabilities(path, digits, more.get("form")), 1e-7) ** (1 / temperature)
        pooled = pooled + weight * powers / powers.sum(axis=1, keepdims=True)
    call(monkeypatch, record, "--out", *(tmp_path / f"ensemble{suffix}" for suffix in SUFFIXES))
    powers = np.maximum(pooled, 1e-7) ** (1 / 1.2)
    check(tmp_path, digits, powers / powers.sum(axis=1, keepdims=True), 0.8)


def test_a_graph_with_a_shared_layer_a_model_of_two_inputs_and_operations(digits, tmp_path, monkeypatch):
    import keras
    from keras import layers

    left, right = keras.Input((16,)), keras.Input((16,))
    both = keras.Model({"left": left, "right": right}, [layers.Subtract()([left, right]), layers.Add()([left, right])])
    pixels, shared = keras.Input((32, 32, 3)), layers.Dense(16, "tanh")
    features = layers.Flatten()(layers.AveragePooling2D(8)(layers.Rescaling(1 / 255)(pixels)))
    once = shared(features)
    twice = shared(keras.ops.concatenate((once, features[:, 16:]), axis=1))  # the same layer, deeper in the graph
    difference, total = both({"left": once, "right": twice})
    outputs = layers.Dense(10, "softmax")(keras.ops.concatenate((difference, 2 * total, twice), axis=1))
    keras.Model(pixels, outputs).save(tmp_path / "graph.keras")
    record = write_record(tmp_path, [(tmp_path / "graph.keras", {})], {"soft voting": {"temperature": 1.5}})
    call(monkeypatch, record, "--out", tmp_path / "ensemble.keras")
    powers = own_probabilities(tmp_path / "graph.keras", digits, None) ** (1 / 1.5)
    found = predict_file(tmp_path / "ensemble.keras", digits)
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), rtol=0, atol=1e-6)


def test_layers_whose_names_would_meet(digits, tmp_path, monkeypatch):
    """A layer of a model inside and one beside it, and one named as what feeds a member here."""
    import keras
    from keras import layers

    pixels, inner_pixels = keras.Input((32, 32, 3)), keras.Input((32, 32, 3))
    x = layers.Flatten()(layers.AveragePooling2D(8)(inner_pixels))
    body = keras.Model(inner_pixels, layers.Dense(8, name="dense")(x), name="body")
    x = layers.Dense(8, name="body_dense")(body(layers.Rescaling(1.0, name="scale")(pixels)))
    keras.Model(pixels, layers.Dense(10, "softmax")(x)).save(tmp_path / "a.keras")
    form = {
        "scale": 1 / 255,
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
        "class_order": [*range(10)],
        "outputs": "probabilities",
    }
    record = write_record(tmp_path, [(tmp_path / "a.keras", {"form": form})], {"soft voting": {}})
    call(monkeypatch, record, "--out", tmp_path / "ensemble.keras")
    own = keras.models.load_model(tmp_path / "a.keras").predict(digits / np.float32(255), verbose=0)
    np.testing.assert_allclose(predict_file(tmp_path / "ensemble.keras", digits), own, rtol=0, atol=1e-6)
    with pytest.raises(SystemExit):
        call(monkeypatch, record, "--out", tmp_path / "b.keras", tmp_path / "b.keras")
    assert not (tmp_path / "b.keras").exists()


def test_without_a_temperature(models, digits, tmp_path, monkeypatch, capsys):
    """One file twice, a weight of 0, logits found out, an end that is no softmax, and one channel."""
    names = ("grouped.h5", "grouped.h5", "logits.h5", "no_softmax_at_its_end.keras", "softmax_layer.h5", "grey.h5")
    weights = [0.25, 0.2, 0.15, 0.3, 0.0, 0.1]
    members = [(models / name, {"weight": weight}) for name, weight in zip(names, weights, strict=True)]
    record = write_record(tmp_path, members, {"equal weights": {}, "weighted mean": {}})
    outs = [tmp_path / f"ensemble{suffix}" for suffix in SUFFIXES]
    call(monkeypatch, record, "--method", "weighted mean", "--out", *outs)
    assert f"{members[4][0]} is left out: its weight is 0" in capsys.readouterr().out
    form = {"scale": 1, "mean": 0, "std": 1, "class_order": range(10)}
    parts = [own_probabilities(path, digits, form if "logits" in path.name else None) for path, _ in members]
    check(tmp_path, digits, np.average(parts, axis=0, weights=weights))

    import keras

    names = [layer.name for layer in flatten(keras.models.load_model(outs[0], compile=False))]
    assert len(set(names)) == len(names) and sum("conv2d" in name for name in names) == 4


def test_one_member_and_random_pixels(models, tmp_path, monkeypatch, capsys):
    """The member is of mixed precision, and becomes what the same weights in float32 are."""
    members = [(models / name, {}) for name in ("softmax_layer.h5", "mixed.h5")]
    methods = {"greedy": {"weights": [0.0, 1.0], "temperature": 1.3}, "hard voting": {}}
    record = write_record(tmp_path, members, methods, data="lost.npz")
    call(monkeypatch, record, "--out", *(tmp_path / f"ensemble{suffix}" for suffix in SUFFIXES))
    told = capsys.readouterr().out
    assert "lost.npz cannot be loaded here" in told and "it is of mixed precision" in told
    images = np.random.default_rng(1).integers(256, size=(20, 32, 32, 3)).astype(np.uint8)
    powers = np.maximum(own_probabilities(models / "full.h5", images, None), 1e-7) ** (1 / 1.3)
    check(tmp_path, images, powers / powers.sum(axis=1, keepdims=True))


def test_records_of_this_collection():
    found = {}
    for name in ("compare", "voting", "weighted_mean"):
        record = json.loads((ROOT / "results" / f"{name}.json").read_text())
        rules = {method: rule_of(method, row, record["members"]) for method, row in record["methods"].items()}
        found[name] = {method: rule.weights for method, rule in rules.items() if rule}
        assert all(weights.sum() == pytest.approx(1) for weights in found[name].values())
    assert [*found["compare"]] == ["soft voting", "geometric mean", "grid", "ancestor's grid", "likelihood", "greedy"]
    assert [*found["voting"]] == ["soft voting"] and [*found["weighted_mean"]] == ["equal weights", "weighted mean"]
    assert found["weighted_mean"]["weighted mean"].tolist() == [0.2, 0.2, 0.6]


def test_refusals(models, tmp_path, monkeypatch, capsys):
    def refused(*arguments):
        with pytest.raises(SystemExit) as exit_status:
            call(monkeypatch, *arguments)
        assert exit_status.value.code == 2
        (line,) = capsys.readouterr().err.strip().splitlines()
        return line

    out = tmp_path / "ensemble.keras"
    member, other = tmp_path / "a.h5", tmp_path / "b.keras"
    shutil.copy(models / "softmax_layer.h5", member)
    shutil.copy(models / "no_softmax_at_its_end.keras", other)
    methods = {"soft voting": {}, "geometric mean": {"temperature": 1.0}, "hard voting": {}, "stacking": {}}
    record = write_record(tmp_path, [(member, {}), (other, {})], methods)
    for method in ("hard voting", "stacking", "no such"):  # records made before stacking's had its weights
        line = refused(record, "--method", method, "--out", out)
        assert f"--method {method}" in line and "it has soft voting, geometric mean" in line
    assert "b.keras does not end in a softmax" in refused(record, "--method", "geometric mean", "--out", out)
    assert "must end in .keras, .h5, .onnx" in refused(record, "--out", tmp_path / "ensemble.pb")
    (tmp_path / "there.h5").write_text("mine")
    assert "there.h5 exists and stays as it is" in refused(record, "--out", out, tmp_path / "there.h5")
    assert (tmp_path / "there.h5").read_text() == "mine"
    assert "ensemble.keras is not written: " in refused(record, "--out", tmp_path / "there.h5" / "ensemble.keras")
    monkeypatch.setitem(LIMITS, ".keras", -1.0)
    assert "off the members' own" in refused(record, "--out", out)

    member.write_bytes(member.read_bytes() + b" ")
    assert "a.h5 is not the model" in refused(record, "--out", out)
    member.unlink()
    assert "there is no file" in refused(record, "--out", out)
    member.write_bytes(b"no model")
    broken = write_record(tmp_path / "broken", [(member, {}), (other, {})], methods)
    assert "a.h5 cannot be used as a Keras model" in refused(broken, "--out", out)
    record.write_text(json.dumps(json.loads((ROOT / "results/snapshots-resnet20.json").read_text())))
    assert f"give {tmp_path}/cycle-*.h5 to compare.py" in refused(record, "--out", out)
    for text in ("{", "[]", '{"members": []}', "{}"):
        record.write_text(text)
        line = refused(record, "--out", out)
        assert "ensemble.json is damaged: " in line and "give the ensemble.json of compare.py" in line
    assert "ensemble.json" in refused(tmp_path / "nothing" / "ensemble.json", "--out", out)
    assert not out.exists() and not list(tmp_path.rglob("unfinished*"))


def test_a_file_that_another_command_makes_meanwhile_stays(models, digits, tmp_path, monkeypatch, capsys):
    """As when two are given one --out: this one's is kept beside it, and its other file is made all the same."""
    record = write_record(tmp_path, [(models / "softmax_layer.h5", {})] * 2, {"soft voting": {}})
    outs = [tmp_path / "ensemble.keras", tmp_path / "ensemble.h5"]

    def late(file, images):
        outs[0].write_text("the first")
        return predict_file(file, images)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stopped:
        patch.setattr(writing, "predict_file", late)
        call(monkeypatch, record, "--out", *outs)
    kept = tmp_path / "ensemble-2.keras"
    line = f"export.py: {outs[0]} was made by another command meanwhile and stays; this result is in {kept}\n"
    assert stopped.value.code == 2 and capsys.readouterr().err == line
    assert outs[0].read_text() == "the first" and not list(tmp_path.glob("unfinished*"))
    for file in (kept, outs[1]):
        expected = own_probabilities(models / "softmax_layer.h5", digits, None)
        np.testing.assert_allclose(predict_file(file, digits), expected, rtol=0, atol=LIMITS[file.suffix])


def test_without_tensorflow_it_is_one_line(refused, no_keras, tmp_path):
    (tmp_path / "a.h5").write_bytes(b"any")
    record = write_record(tmp_path, [(tmp_path / "a.h5", {})], {"soft voting": {}})
    image = ROOT / "results/minutes.png"
    line = refused("ensemble/export.py", record, "--out", "b.keras")
    assert line == "export.py: TensorFlow or Keras is missing (imported); install requirements.txt"
    line = refused("ensemble/predict.py", "a.h5", "--images", image)
    assert "Keras with KERAS_BACKEND = 'tensorflow' cannot be imported (imported); install requirements.txt" in line
