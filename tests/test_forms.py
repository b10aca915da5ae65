"""Members of other inputs, outputs and kinds of file: what each is given and what is read, by NumPy; and the words."""

import json
import sys

import h5py
import numpy as np
import pytest
from conftest import as_files

from ensemble import export, predict, voting
from ensemble.common.command import RefusedError, refusing
from ensemble.members.loading import load_members
from ensemble.members.options import argument_parser
from ensemble.members.speed import seconds_per_thousand
from ensemble.model_files.form_options import read_forms
from ensemble.model_files.forms import Form
from ensemble.model_files.loading import load_model
from ensemble.model_files.writing import predict_file


def save_data(folder, x, y, name="data.npz"):
    """A data file with these images as training and as test images."""
    np.savez(folder / name, x_train=x, y_train=y, x_test=x, y_test=y)
    return str(folder / name)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Data of two classes, dark and bright images, and models of one output for them."""
    import keras
    from keras import layers

    folder = tmp_path_factory.mktemp("two")
    labels = np.arange(120) % 2
    random = np.random.default_rng(0)
    images = (random.integers(0, 60, (120, 32, 32, 3)) + 150 * labels[:, None, None, None]).astype(np.uint8)
    for name, activation, sign in (("second", "sigmoid", 1), ("first", "sigmoid", -1), ("logit", None, 1)):
        model = keras.Sequential(
            [keras.Input((32, 32, 3)), layers.GlobalAveragePooling2D(), layers.Dense(1, activation)]
        )
        model.layers[-1].set_weights([sign * np.full((3, 1), 0.02), np.array([-sign * 6.3])])
        model.save(folder / f"{name}.keras")
    logits = 0.06 * images.mean((1, 2, 3)) - 6.3
    return folder, save_data(folder, images, labels), labels, sigmoid(logits)


def test_one_output_is_of_the_second_class(two):
    folder, data, labels, expected = two
    paths = [folder / f"{name}.keras" for name in ("second", "first", "logit")]
    untold = load_members(paths, data, 20)[1]
    assert (untold.predictions["test"].probabilities.argmax(axis=1) == 1 - labels).all()
    found = load_members(paths, data, 20, {paths[1]: Form(class_order=(1, 0))})
    for member, kind in zip(found, ("sigmoid", "sigmoid", "logits"), strict=True):
        assert member.form["outputs"] == kind
        np.testing.assert_allclose(member.predictions["test"].probabilities[:, 1], expected, atol=1e-5)
        np.testing.assert_allclose(member.predictions["test"].probabilities.sum(axis=1), 1, atol=1e-6)
        assert (member.predictions["test"].probabilities.argmax(axis=1) == labels).all()
    images = as_files([np.full((50, 40, 3), grey, np.uint8) for grey in (20, 230)], folder)
    np.testing.assert_allclose(
        predict.predict(paths[0], images), [[1 - p, p] for p in sigmoid(0.06 * np.array([20, 230]) - 6.3)], atol=1e-5
    )


def test_a_sigmoid_of_each_class():
    outputs = np.array([[0.2, 0.9, 0.4], [0.0, 0.0, 0.0]], np.float32)
    read, kind = Form(outputs="sigmoid").read(outputs, "m.h5")
    np.testing.assert_allclose(read, [[2 / 15, 9 / 15, 4 / 15], [1 / 3] * 3], atol=1e-6)
    assert kind == "sigmoid"
    with pytest.raises(RefusedError, match="give --outputs sigmoid; if logits, --outputs logits"):
        Form().read(outputs, "m.h5")
    with pytest.raises(RefusedError, match="of no sigmoid"):
        Form(outputs="sigmoid").read(outputs + 1, "m.h5")


@pytest.mark.parametrize("name", ["resnet50", "vgg16", "mobilenet_v2", "inception_v3", "densenet", "efficientnet"])
def test_preprocessing_is_that_of_keras_applications(name):
    import keras

    parser = argument_parser("")
    (form,) = read_forms(parser.parse_args(["a.h5", "--preprocess", name])).values()
    pixels = np.random.default_rng(0).integers(256, size=(3, 8, 8, 3)).astype(np.uint8)
    expected = getattr(keras.applications, name).preprocess_input(pixels.astype(np.float32))
    np.testing.assert_allclose(form.feed(pixels), expected, rtol=0, atol=1e-4)


def test_options_that_contradict_each_other(capsys):
    parser = argument_parser("")
    for options, words in (
        (["--preprocess", "vgg16", "--mean", "3"], "a.h5 has --preprocess and --mean"),
        (["--preprocess", "alexnet"], "--preprocess alexnet: give one of caffe, "),
        (["--resize", "stretch"], "--resize stretch: give nearest, bilinear, "),
        (["--channels", "cmyk"], "--channels cmyk: give rgb or bgr"),
    ):
        with pytest.raises(SystemExit):
            read_forms(parser.parse_args(["a.h5", *options]))
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line


# Inputs
@pytest.fixture(scope="module")
def shaped(tmp_path_factory):
    """Four classes of 28x28 grey images, and linear models of them and of their 32x32 copies in colour."""
    import keras
    from keras import layers

    folder = tmp_path_factory.mktemp("shaped")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (160, 28, 28)).astype(np.uint8)
    colours = random.integers(0, 256, (160, 32, 32, 3)).astype(np.uint8)
    data = {
        28: save_data(folder, images, np.arange(160) % 4, "grey.npz"),
        32: save_data(folder, colours, np.arange(160) % 4, "colour.npz"),
    }
    kernels = {}

    def save(name, shape, flat=True):
        inputs = keras.Input(shape)
        x = layers.Flatten()(inputs) if flat else layers.GlobalAveragePooling2D()(inputs)
        dense = layers.Dense(4, "softmax", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3))
        keras.Model(inputs, dense(layers.Rescaling(1 if flat else 99)(x))).save(folder / f"{name}.keras")
        kernels[name] = dense.get_weights()[0].astype(float)

    keras.utils.set_random_seed(0)
    save("grey28", (28, 28, 1))
    save("colour28", (28, 28, 3))
    save("any_size", (None, None, 1), flat=False)
    save("colour32", (32, 32, 3))
    save("colour64", (64, 64, 3))
    save("colour16", (16, 16, 3))
    save("first", (3, 32, 32))
    return folder, data, kernels, images.astype(float), colours.astype(float)


def expect(found, x, kernel):
    logits = x.reshape(len(x), -1) @ kernel
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), atol=1e-5)


def test_models_of_28x28_and_of_one_channel_get_the_images_as_they_are(shaped, tmp_path, monkeypatch):
    folder, data, kernels, images, _ = shaped
    names = "grey28", "colour28", "any_size"
    found = load_members([folder / f"{name}.keras" for name in names], data[28], 40)
    inputs = images, np.repeat(images[..., np.newaxis], 3, axis=3), 99 * images.mean((1, 2))
    for member, name, x in zip(found, names, inputs, strict=True):
        assert member.form["size"] == [28, 28]
        expect(member.predictions["test"].probabilities, x, kernels[name])
    kept = load_members([member.path for member in found], data[28], 40)
    assert [member.form for member in kept] == [member.form for member in found]
    assert min(seconds_per_thousand(kept)) > 0

    command = ["voting.py", *(member.path for member in found), "--data", data[28], "--hold-out", 40, "--out", tmp_path]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    voting.main()
    outs = [tmp_path / f"ensemble{suffix}" for suffix in (".keras", ".h5", ".onnx")]
    monkeypatch.setattr(sys, "argv", ["export.py", str(tmp_path / "ensemble.json"), "--out", *map(str, outs)])
    export.main()
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2)]).astype(np.uint8)
    pixels = np.repeat(padded[..., np.newaxis], 3, axis=3)[: export.IMAGES]
    mean = np.mean([member.predictions["test"].probabilities[: export.IMAGES] for member in found], axis=0)
    for out in outs:
        np.testing.assert_allclose(predict_file(out, pixels), mean, rtol=0, atol=1e-5)


def test_resized_bgr_and_channels_first(shaped, tmp_path, monkeypatch, capsys):
    folder, data, kernels, _, colours = shaped
    paths = [folder / f"{name}.keras" for name in ("colour32", "colour64", "first")]
    given = {
        paths[0]: Form(channels="bgr", mean=(1.0, 2.0, 3.0)),
        paths[1]: Form(resize="nearest"),
        paths[2]: Form(scale=0.5),
    }
    found = load_members(paths, data[32], 40, given)
    (line,) = (line for line in capsys.readouterr().err.splitlines() if "resized" in line)
    assert f"{paths[1]} gets images resized from 32x32 to 64x64, nearest: 4 times the pixels" in line
    inputs = (
        (colours - [1, 2, 3])[..., ::-1],
        colours.repeat(2, axis=1).repeat(2, axis=2),
        0.5 * colours.transpose(0, 3, 1, 2),
    )
    for member, x in zip(found, inputs, strict=True):
        expect(member.predictions["test"].probabilities, x, kernels[member.path.stem])
    pictures = as_files(colours[:5].astype(np.uint8), tmp_path)
    for member in found:
        np.testing.assert_allclose(
            predict.predict(member.path, pictures), member.predictions["test"].probabilities[:5], atol=1e-5
        )

    with pytest.raises(SystemExit):
        load_members([paths[0], folder / "colour16.keras"], data[32], 40)
    assert "takes inputs of shape (None, 16, 16, 3); the images are 32x32: give --resize" in capsys.readouterr().err
    last = folder / "colour16.keras"
    small = load_members([paths[0], last], data[32], 40, {last: Form(resize="bilinear")})[1]
    assert "32x32 to 16x16, bilinear: detail is lost" in capsys.readouterr().err
    expect(
        small.predictions["test"].probabilities, colours.reshape(-1, 16, 2, 16, 2, 3).mean((2, 4)), kernels["colour16"]
    )

    record = {"data": data[32], "members": [], "methods": {"soft voting": {"validation": {"accuracy": 1, "loss": 1}}}}
    for member in (*found, small):
        record["members"].append({"path": str(member.path), "model": member.model, "form": member.form})
    (tmp_path / "ensemble.json").write_text(json.dumps(record))
    outs = [tmp_path / f"ensemble{suffix}" for suffix in (".keras", ".h5", ".onnx")]
    monkeypatch.setattr(sys, "argv", ["export.py", str(tmp_path / "ensemble.json"), "--out", *map(str, outs)])
    export.main()
    mean = np.mean([member.predictions["test"].probabilities[:20] for member in (*found, small)], axis=0)
    for out in outs:
        np.testing.assert_allclose(predict_file(out, colours[:20].astype(np.uint8)), mean, rtol=0, atol=1e-5)


# Outputs
def test_sigmoids_in_one_file(two, tmp_path, monkeypatch):
    """One sigmoid, one logit, and two sigmoids whose sum is made 1; without and with a temperature."""
    import keras
    from keras import layers

    folder, data, _, p = two
    model = keras.Sequential([keras.Input((32, 32, 3)), layers.GlobalAveragePooling2D(), layers.Dense(2, "sigmoid")])
    model.layers[-1].set_weights([np.array([[0.01, -0.02]] * 3), np.array([-1.0, 2.0])])
    model.save(tmp_path / "both.keras")
    paths = [tmp_path / "both.keras", folder / "second.keras", folder / "logit.keras"]
    found = load_members(paths, data, 20, {paths[0]: Form(outputs="sigmoid")})
    with np.load(data) as file:
        images = file["x_test"]
    means = images.mean((1, 2, 3))
    both = np.stack([sigmoid(0.03 * means - 1), sigmoid(-0.06 * means + 2)], axis=1)
    parts = np.array([both / both.sum(axis=1, keepdims=True), np.stack([1 - p, p], 1), np.stack([1 - p, p], 1)])
    for member, expected in zip(found, parts, strict=True):
        np.testing.assert_allclose(member.predictions["test"].probabilities, expected, atol=1e-5)
    scores = {"validation": {"accuracy": 1, "loss": 1}}
    record = {"data": data, "members": []}
    for member in found:
        record["members"].append({"path": str(member.path), "model": member.model, "form": member.form})
    for temperature in (None, 2.0):
        record["methods"] = {"soft voting": scores | ({"temperature": temperature} if temperature else {})}
        (tmp_path / "ensemble.json").write_text(json.dumps(record))
        outs = [tmp_path / f"{temperature}{suffix}" for suffix in (".keras", ".h5")]
        monkeypatch.setattr(sys, "argv", ["export.py", str(tmp_path / "ensemble.json"), "--out", *map(str, outs)])
        export.main()
        powers = np.maximum(parts.mean(axis=0), 1e-7) ** (1 / (temperature or 1))
        expected = powers / powers.sum(axis=1, keepdims=True)
        for out in outs:
            np.testing.assert_allclose(predict_file(out, images), expected, rtol=0, atol=1e-5)


def test_one_of_several_outputs(tmp_path):
    import keras
    from keras import layers

    inputs = keras.Input((32, 32, 3), name="image")
    x = layers.GlobalAveragePooling2D()(layers.Rescaling(1 / 255)(inputs))
    heads = {"label": layers.Dense(4, "softmax", name="a")(x), "colour": layers.Dense(3, name="b")(x)}
    pixels = np.random.default_rng(0).integers(256, size=(5, 32, 32, 3)).astype(np.uint8)
    one = keras.Model({"image": inputs}, {"label": heads["label"]})
    expected = one.predict_on_batch({"image": pixels})["label"]
    for suffix in (".keras", ".h5"):
        one.save(tmp_path / f"one{suffix}")
        keras.Model(inputs, heads).save(tmp_path / f"dictionary{suffix}")
        keras.Model(inputs, [*heads.values()]).save(tmp_path / f"list{suffix}")
        for name, output in (("one", None), ("one", "label"), ("dictionary", "label"), ("list", "a")):
            model = load_model(tmp_path / f"{name}{suffix}", output)
            np.testing.assert_allclose(model.predict_on_batch(pixels), expected, atol=1e-6)
        for name, output, words in (
            ("dictionary", None, "has the outputs label, colour; give --output"),
            ("list", None, "has the outputs a, b; give --output"),
            ("one", "colour", "has no output colour; it has label"),
        ):
            with pytest.raises(RefusedError, match=words):
                load_model(tmp_path / f"{name}{suffix}", output)
    more = keras.Input((32, 32, 3))
    keras.Model([inputs, more], layers.Flatten()(layers.Add()([inputs, more]))).save(tmp_path / "two.keras")
    with pytest.raises(RefusedError, match="takes 2 inputs"):
        load_model(tmp_path / "two.keras")


def test_operations_in_the_graph(two, tmp_path, monkeypatch, capsys):
    import keras
    from keras import layers

    folder, data, _, _ = two
    inputs = keras.Input((32, 32, 3))
    x = layers.GlobalAveragePooling2D()(keras.ops.flip(inputs / 255, axis=3)[:, 2:])
    model = keras.Model(inputs, layers.Dense(2, "softmax")(x))
    path = tmp_path / "operations.keras"
    model.save(path)
    model.save(tmp_path / "operations.h5")
    with pytest.raises(RefusedError, match=r"operations in its graph .*TrueDivide.* save it as \.keras"):
        load_model(tmp_path / "operations.h5")
    found = load_members([path, folder / "second.keras"], data, 20)
    record = {"data": data, "methods": {"soft voting": {"validation": {"accuracy": 1, "loss": 1}}}}
    rows = [{"path": str(it.path), "model": it.model} | ({"form": it.form} if it.form else {}) for it in found]
    (tmp_path / "ensemble.json").write_text(json.dumps(record | {"members": rows}))
    command = ["export.py", str(tmp_path / "ensemble.json"), "--out", str(tmp_path / "both.keras")]
    monkeypatch.setattr(sys, "argv", command)
    export.main()
    with np.load(data) as file:
        found = predict_file(tmp_path / "both.keras", file["x_test"])
        own = model.predict_on_batch(file["x_test"])
    np.testing.assert_allclose(found, (own + np.stack([1 - two[3], two[3]], axis=1)) / 2, rtol=0, atol=1e-5)
    monkeypatch.setattr(export, "predict", None)  # nothing is computed before it is refused
    monkeypatch.setattr(sys, "argv", [*command[:3], str(tmp_path / "both.h5")])
    with pytest.raises(SystemExit), refusing(False):
        export.main()
    line = capsys.readouterr().err.splitlines()[-1]
    assert str(path) in line and "TrueDivide" in line and "leave out the .h5" in line
    assert not (tmp_path / "both.h5").exists()


# State that Keras makes of weights
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_adapted_layers_inside_models(tmp_path, suffix):
    import keras
    from keras import layers

    images = np.random.default_rng(0).uniform(0, 9, (20, 12, 12, 3)).astype(np.float32)
    normalised, binned = layers.Normalization(), layers.Discretization(num_bins=5)
    normalised.adapt(images)
    binned.adapt(images)
    inputs = keras.Input((12, 12, 3))
    x = keras.Sequential([keras.Sequential([normalised]), layers.Conv2D(3, 3)])(inputs)
    y = keras.Sequential([binned, layers.Rescaling(0.2)])(inputs)
    model = keras.Model(inputs, layers.Dense(3)(layers.Concatenate()([layers.Flatten()(x), layers.Flatten()(y)])))
    model.save(tmp_path / f"model{suffix}")
    found = load_model(tmp_path / f"model{suffix}").predict_on_batch(images)
    np.testing.assert_allclose(found, model.predict_on_batch(images), rtol=0, atol=1e-6)


# Files
def test_what_a_file_is(two, tmp_path):
    import keras

    folder, _, _, _ = two
    whole = (folder / "second.keras").read_bytes()
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    (tmp_path / "model.h5").write_bytes(whole)
    (tmp_path / "model.zip").write_bytes(whole)
    (tmp_path / "model.txt").write_text("no model")
    with h5py.File(tmp_path / "table.h5", "w") as file:
        file["numbers"] = np.arange(3)
    for name in ("model.hdf5", "model.H5", "model.keras"):
        (tmp_path / name).write_bytes((tmp_path / "table.h5").read_bytes())
    model = load_model(folder / "second.keras")
    model.save_weights(tmp_path / "a.weights.h5")
    with h5py.File(tmp_path / "keras2.h5", "w") as file:  # as save_weights of Keras 2 wrote it
        file.attrs["layer_names"] = ["dense"]
    unbuilt = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(2)])
    for suffix in (".h5", ".keras"):
        unbuilt.save(tmp_path / f"unbuilt{suffix}")
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["keras_version"] = "1.2.2"
        file.attrs["model_config"] = "{}"
        file.create_group("model_weights")
    for name, words in {
        "saved": "is a SavedModel folder, which Keras 3 does not load",
        "empty": "is a folder; give the model file in it",
        "nothing.h5": "there is no file",
        "model.h5": "is in truth a .keras file; rename it to model.keras",
        "model.keras": "is in truth a .h5 file; rename it to model.h5",
        "model.zip": "rename it to model.keras",
        "model.txt": "its name must end in .h5 or .keras",
        "model.hdf5": "it is an HDF5 file: if it is a model, rename it to model.h5",
        "model.H5": "it is an HDF5 file: if it is a model, rename it to model.h5",
        "table.h5": "is an HDF5 file in which Keras saved no model",
        "a.weights.h5": "holds weights alone, without the network",
        "keras2.h5": "holds weights alone, without the network",
        "unbuilt.h5": "was saved without the shape of its images",
        "unbuilt.keras": "was saved without the shape of its images",
        "old.h5": "was saved by Keras 1.2.2",
    }.items():
        with pytest.raises(RefusedError) as refusal:
            load_model(tmp_path / name)
        line = str(refusal.value)
        assert str(tmp_path / name) in line and words in line and "\n" not in line, line
