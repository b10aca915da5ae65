"""Members from elsewhere: how they are fed and read, files by Keras 2, hostile files, and how fast they are.

tests/data/keras2-*.h5 were made by TensorFlow 2.15 (Keras 2.15) from the training images of digits, HOLD_OUT = 100:
keras2-softmax.h5 is a Sequential of Conv2D (with input_shape), BatchNormalization, ReLU, MaxPooling2D, Dropout, Flatten
and Dense, for pixels / 255; keras2-logits.h5 has Rescaling, Conv2D, LeakyReLU, a Sequential inside (SeparableConv2D,
BatchNormalization, SpatialDropout2D), Add, Concatenate, MaxPooling2D, Flatten and Dense, for raw pixels. Both were
saved compiled, with SGD. keras2.npz holds what Keras 2's predict gave of both for the first 40 test images.
"""

import io
import json
import resource
import shutil
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import as_files
from PIL import Image
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from ensemble import predict
from ensemble.combining.predictions import PARTS, Predictions
from ensemble.common.command import RefusedError
from ensemble.common.files import file_hash
from ensemble.common.records import describe_computer
from ensemble.members import loading, speed
from ensemble.members.data import load_images
from ensemble.members.kept import kept_form, kept_predictions
from ensemble.members.loading import find_predictions, load_members
from ensemble.members.member import Member, short_names, warn_of_chance
from ensemble.members.options import argument_parser
from ensemble.members.speed import seconds_per_thousand
from ensemble.model_files.form_options import read_forms
from ensemble.model_files.forms import Form, model_inputs
from ensemble.model_files.loading import load_model
from ensemble.results.record import result_folder, write_result

ROOT = Path(__file__).resolve().parent.parent


DATA = ROOT / "tests" / "data"
DIGITS = {"data": "digits", "hold_out": 100}
ORDER = (3, 1, 4, 0, 5, 9, 2, 6, 8, 7)
MEAN, STD = (10.0, 70.0, 120.0), (40.0, 50.0, 60.0)
FORMS = {  # of models that all compute the same
    "raw.h5": None,
    "raw.keras": None,
    "scaled.h5": Form(scale=1 / 255),
    "standard.h5": Form(mean=MEAN, std=STD),
    "centred.h5": Form(scale=1 / 127.5, mean=(1.0,) * 3),
    "ordered.h5": Form(class_order=ORDER),
    "logits.h5": None,
    "told.h5": Form(outputs="logits"),
    "grey.h5": Form(scale=1 / 255),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with the models of FORMS: a logistic regression of the 8x8 digits, some 95% right, in many clothes."""
    folder = tmp_path_factory.mktemp("models")
    images, _, _ = load_images("digits", 100)
    import keras
    from keras import layers

    x, y = images["test"]
    fitted = LogisticRegression(max_iter=200).fit(x[:, ::4, ::4, 0].reshape(-1, 64) / 255, y)
    kernel = np.repeat(fitted.coef_.T, 3, axis=0) / 3  # for the 8x8 pixels and 3 colours of x / 255

    def save(name, first=(), channels=3, activation="softmax", order=range(10)):
        pooled = [layers.AveragePooling2D(4), layers.Flatten()]
        model = keras.Sequential(
            [keras.Input((32, 32, channels)), *first, *pooled, layers.Dense(10, activation, name="dense")]
        )
        weights = kernel if channels == 3 else kernel[::3] * 3
        model.layers[-1].set_weights([weights[:, list(order)], fitted.intercept_[list(order)]])
        model.save(folder / name, **({"include_optimizer": False} if name.endswith(".h5") else {}))

    inside = layers.Rescaling(1 / 255)
    save("raw.h5", [inside])
    save("raw.keras", [inside])
    save("scaled.h5")
    scales = np.array(STD, np.float32), np.array(MEAN, np.float32)
    save("standard.h5", [layers.Rescaling((scales[0] / 255).tolist(), (scales[1] / 255).tolist())])
    save("centred.h5", [layers.Rescaling(0.5, 0.5)])
    save("ordered.h5", [inside], order=ORDER)
    save("logits.h5", [inside], activation=None)
    save("told.h5", [layers.Rescaling(1 / 255)], activation=None)
    save("grey.h5", channels=1)
    return folder


def load(paths, forms=None, **options):
    return load_members(list(paths), **DIGITS, forms=forms, **options)


def test_all_ways_to_feed_and_read_give_the_same(models, capsys, monkeypatch):
    forms = {models / name: form for name, form in FORMS.items() if form}
    same = load([models / name for name in FORMS], forms)
    assert capsys.readouterr().err == ""
    assert same[0].predictions["validation"].right.mean() > 0.9
    for member in same[1:]:
        for part in PARTS:
            np.testing.assert_allclose(
                member.predictions[part].probabilities, same[0].predictions[part].probabilities, atol=1e-5
            )
    found = {member.path.name: member.form for member in same}
    assert found["raw.h5"] is None and found["raw.keras"] is None
    usual = {
        "scale": 1,
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
        "class_order": list(range(10)),
        "outputs": "probabilities",
    }
    assert found["scaled.h5"] == usual | {"scale": 1 / 255}
    assert found["standard.h5"] == usual | {"mean": list(MEAN), "std": list(STD)}
    assert found["centred.h5"] == usual | {"scale": 1 / 127.5, "mean": [1, 1, 1]}
    assert found["ordered.h5"] == usual | {"class_order": list(ORDER)}
    assert found["logits.h5"] == found["told.h5"] == usual | {"outputs": "logits"}

    # Own images are fed as the kept predictions were, unless told otherwise.
    images, _, _ = load_images("digits", 100)
    pictures = as_files(images["test"][0][:5], models)
    for name in ("scaled.h5", "ordered.h5", "grey.h5"):
        np.testing.assert_allclose(
            predict.predict(models / name, pictures), same[0].predictions["test"].probabilities[:5], atol=1e-5
        )
    raw = predict.predict(models / "scaled.h5", pictures, Form())
    assert abs(raw - same[0].predictions["test"].probabilities[:5]).max() > 0.1

    # What is kept is used: without options, and with the same; with others it is made anew.
    made = []
    monkeypatch.setattr(loading, "predict", lambda path, *_, form, **__: made.append((path.name, form)) or 1 / 0)
    again = load([models / name for name in FORMS])
    assert [member.form for member in again] == list(found.values())
    load([models / name for name in FORMS], forms)
    assert made == []
    other = Form(scale=1 / 127.5)
    with pytest.raises(ZeroDivisionError):
        load([models / "raw.h5", models / "scaled.h5"], {models / "scaled.h5": other})
    assert made == [("scaled.h5", other)]


def test_a_form_holds_for_other_images_too(models, tmp_path, monkeypatch):
    scaled = tmp_path / "scaled.h5"
    scaled.write_bytes((models / "scaled.h5").read_bytes())
    form = Form(scale=1 / 255, outputs="probabilities")
    load([models / "raw.h5", scaled], {scaled: form})
    made = []
    monkeypatch.setattr(loading, "predict", lambda path, *_, form, **__: made.append(form) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        load_members([scaled, models / "raw.h5"], "digits", 50)
    assert made == [form]
    scaled.write_bytes((models / "raw.h5").read_bytes())  # another model
    assert kept_form(scaled, file_hash(scaled)) is None


def test_validation_images_are_none_that_a_model_was_trained_on(models, tmp_path):
    path = tmp_path / "model.h5"
    path.write_bytes((models / "raw.h5").read_bytes())
    settings = {"DATA": "digits", "HOLD_OUT": 100}
    (tmp_path / "run.json").write_text(json.dumps({"model": "", "parameters": 1, "settings": settings}))
    for other in (99, 101):  # of fewer images some are others
        with pytest.raises(RefusedError, match="trained with HOLD_OUT = 100"):
            find_predictions(path, None, other, None)
    assert find_predictions(path, None, 100, None)[2]["hold_out"] == 100


@pytest.mark.parametrize("missing", ["data_sha256", "hold_out", "test_labels"])
def test_kept_predictions_that_lack_something_are_damaged(models, tmp_path, missing):
    path = tmp_path / "m.h5"
    path.write_bytes((models / "raw.h5").read_bytes())
    load_members([path, models / "raw.keras"], "digits", 100)
    beside = tmp_path / "m.h5.predictions.npz"
    with np.load(beside) as kept:
        np.savez(beside, **{name: kept[name] for name in kept.files if name != missing})
    with pytest.raises(RefusedError, match=r"m\.h5\.predictions\.npz is damaged; delete it"):
        kept_predictions(path, file_hash(path), "digits", 100)


def test_images_for_models_that_take_no_squares_and_for_those_of_any_size(tmp_path):
    """The middle in the model's proportions, bilinear; and no size to resize to."""
    import keras

    image = Image.fromarray(np.random.default_rng(0).integers(256, size=(90, 100, 3), dtype=np.uint8))
    middle = image.resize((50, 20), Image.Resampling.BILINEAR, (0, 25, 100, 65))
    np.testing.assert_array_equal(predict.prepared(image, (50, 20), None), middle)
    pixels = keras.Input((None, None, 3))
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    keras.Model(pixels, keras.layers.Dense(2, "softmax")(features)).save(tmp_path / "any.keras")
    with pytest.raises(RefusedError, match=r"any\.keras takes images of any size; --resize is"):
        predict.predict(tmp_path / "any.keras", as_files([np.asarray(image)], tmp_path), Form(resize="bilinear"))


def test_a_file_of_the_same_name_as_predictions_is_let_be(models, tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes((models / "raw.h5").read_bytes())
    (tmp_path / "predictions.npz").write_text("somebody's")
    assert kept_predictions(path, file_hash(path), "digits", 100) is None


def test_names_do_not_clash_with_those_of_methods():
    paths = [Path("runs/greedy/model.h5"), Path("b.h5")]
    assert short_names(paths) == ["greedy", "b"]
    assert short_names(paths, taken={"greedy": 1}) == ["runs/greedy/model.h5", "b.h5"]


def test_a_folder_with_other_files_takes_no_result(tmp_path):
    parser = argument_parser("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "report.html").write_text("mine")
    assert parser.parse_args(["a.h5", "--out", str(tmp_path / "empty")]).out == tmp_path / "empty"
    with pytest.raises(SystemExit):
        parser.parse_args(["a.h5", "--out", str(tmp_path)])
    (tmp_path / "ensemble.json").write_text("{}")
    assert parser.parse_args(["a.h5", "--out", str(tmp_path)]).out == tmp_path


def test_a_form_is_part_of_the_result(models, tmp_path, capsys):
    same = load([models / "raw.h5", models / "scaled.h5"], {models / "scaled.h5": FORMS["scaled.h5"]})
    capsys.readouterr()
    folder = tmp_path / "result"
    write_result(folder, "s.py", same, [{}, {}], {}, lambda folder: None)
    rows = json.loads((folder / "ensemble.json").read_text())["members"]
    assert "form" not in rows[0] and rows[1]["form"] == same[1].form
    assert result_folder("s.py", same, folder, {}) == folder
    named = result_folder("s.py", same, None, {})
    same[1].form = same[1].form | {"scale": 0.5}
    assert result_folder("s.py", same, None, {}) != named
    with pytest.raises(SystemExit):
        result_folder("s.py", same, folder, {})
    assert str(folder) in capsys.readouterr().err
    with pytest.raises(RefusedError, match=r"this result is in .*result-2"):  # another command made it meanwhile
        write_result(folder, "s.py", same, [{}, {}], {}, lambda folder: None)
    assert json.loads((folder / "ensemble.json").read_text())["members"] == rows


def test_options_say_which_models_they_are_for(tmp_path, capsys):
    run = tmp_path / "run" / "model.h5"
    run.parent.mkdir()
    run.with_name("run.json").write_text("{}")
    parser = argument_parser("")

    def read(*options):
        return read_forms(parser.parse_args(["a.h5", "b=c.keras", str(run), *options]))

    a, b = Path("a.h5"), Path("b=c.keras")
    assert read() == {}
    assert read("--scale", "1/255") == dict.fromkeys((a, b), Form(scale=1 / 255))
    assert read("--std", "./a.h5=2", "--mean", "0.5,1,1e1", "--mean", "b=c.keras=3") == {
        a: Form(mean=(0.5, 1, 10), std=(2, 2, 2)),
        b: Form(mean=(3, 3, 3)),
    }
    assert read("--class-order", f"{run}=1,0", "--outputs", "a.h5=logits") == {
        run: Form(class_order=(1, 0)),
        a: Form(outputs="logits"),
    }
    for option, value in (
        ("--scale", "0"),
        ("--scale", "1/0"),
        ("--scale", "1,2,3"),
        ("--scale", "nan"),
        ("--mean", "1,2"),
        ("--mean", "a.h5="),
        ("--std", "1,0,1"),
        ("--class-order", "1,2,3"),
        ("--class-order", "0,0"),
        ("--outputs", "softmax"),
        ("--scale", "c.h5=1"),
    ):
        with pytest.raises(SystemExit) as stop:
            read(option, value)
        line = capsys.readouterr().err
        assert stop.value.code == 2 and line.count("\n") == 1 and f"{option} {value}: " in line

    with pytest.raises(SystemExit):
        read_forms(parser.parse_args([str(run), str(run), "--scale", "2"]))
    assert "take raw pixels" in capsys.readouterr().err


def test_what_does_not_fit_a_form(models):
    outputs = np.array([[0.2, 1.9], [0.5, 0.5]])
    with pytest.raises(RefusedError, match="no probabilities"):
        Form(outputs="probabilities").read(outputs, "m.h5")
    with pytest.raises(RefusedError, match="2 classes; its --class-order names 3"):
        Form(class_order=(0, 2, 1)).read(outputs, "m.h5")
    expected = softmax(outputs, axis=1)
    np.testing.assert_allclose(Form().read(outputs, "m.h5")[0], expected, atol=1e-6)
    with pytest.raises(RefusedError, match="from 0 to 1 that do not sum to 1"):  # of a sigmoid
        Form().read(np.array([[0.2, 0.9], [0.5, 0.5]]), "m.h5")
    coarse = np.array([[0.3, 0.7]], np.float16) + np.float16(0.002)  # as rounded as bfloat16
    assert Form().read(coarse, "m.h5")[1] == "probabilities"
    grey = load_model(models / "grey.h5")
    pixels = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(1, 32, 32, 3)
    with pytest.raises(RefusedError, match="one channel"):
        model_inputs(grey, "grey.h5", pixels, Form())


def test_a_member_no_better_than_chance_is_named(models, tmp_path, capsys):
    shutil.copy(models / "ordered.h5", tmp_path / "ordered.h5")
    load([models / "raw.h5", tmp_path / "ordered.h5"])
    (line,) = capsys.readouterr().err.splitlines()
    assert str(tmp_path / "ordered.h5") in line and "--class-order" in line
    labels = np.arange(100) % 4
    for right, warned in ((32, True), (33, False)):  # chance is 25%, and a tenth of the way to 100% is 32.5%
        choices = np.where(np.arange(100) < right, labels, (labels + 1) % 4)
        warn_of_chance(Member(Path("m.h5"), "", None, "", "", {"validation": Predictions(np.eye(4)[choices], labels)}))
        assert bool(capsys.readouterr().err) == warned


def test_models_by_keras_2_predict_as_in_keras_2(models, tmp_path, capsys):
    paths = [Path(shutil.copy(DATA / f"keras2-{name}.h5", tmp_path)) for name in ("softmax", "logits")]
    found = load([*paths, models / "raw.h5"], {paths[0]: Form(scale=1 / 255)})
    assert capsys.readouterr().err == ""
    with np.load(DATA / "keras2.npz") as keras2:
        expected = keras2["softmax"], softmax(keras2["logits"].astype(float), axis=1)
    for member, own in zip(found, expected, strict=False):
        np.testing.assert_allclose(member.predictions["test"].probabilities[:40], own, atol=2e-6)
        assert member.predictions["test"].right.mean() > 0.9
    assert found[1].form["outputs"] == "logits"


def test_a_sequential_before_keras_2_2_3(tmp_path):
    """It had a list of layers, none of them an InputLayer."""
    path = Path(shutil.copy(DATA / "keras2-softmax.h5", tmp_path))
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"] = config["config"]["layers"][1:]
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = np.bytes_("2.1.6")
    images, _, _ = load_images("digits", 100)
    model = load_model(path)
    with np.load(DATA / "keras2.npz") as keras2:
        np.testing.assert_allclose(
            model.predict_on_batch(images["test"][0][:40] / np.float32(255)), keras2["softmax"], atol=2e-6
        )


# Hostile files
KERNEL = {".h5": "model_weights/dense/sequential/dense/kernel", ".keras": "layers/dense/vars/0"}


def change_weights(change):
    """Return a function that makes a hostile copy of a model, by change(HDF5 file, name of a kernel, its value)."""

    def make(source, path):
        with source.open("rb") as file:
            whole = file.read()
        if path.suffix == ".keras":
            with zipfile.ZipFile(io.BytesIO(whole)) as archive:
                parts = {name: archive.read(name) for name in archive.namelist()}
            whole = parts["model.weights.h5"]
        inside = io.BytesIO(whole)
        with h5py.File(inside, "r+") as file:
            names = []
            file.visit(names.append)
            name = next(name for name in names if name.endswith("kernel") or name == KERNEL[".keras"])
            value = file[name][()]
            del file[name]
            change(file, name, value)
        whole = inside.getvalue()
        if path.suffix == ".keras":
            with zipfile.ZipFile(path, "w") as archive:
                for name, part in (parts | {"model.weights.h5": whole}).items():
                    archive.writestr(name, part)
        else:
            path.write_bytes(whole)

    return make


def change_config(change):
    """Return a function that makes a hostile copy of a model, by change(configuration of its last layer)."""

    def make(source, path):
        if path.suffix == ".keras":
            with zipfile.ZipFile(source) as archive, zipfile.ZipFile(path, "w") as copy:
                for name in archive.namelist():
                    part = archive.read(name)
                    if name == "config.json":
                        config = json.loads(part)
                        change(config["config"]["layers"][-1])
                        part = json.dumps(config)
                    copy.writestr(name, part)
            return
        shutil.copy(source, path)
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config["config"]["layers"][-1])
            file.attrs["model_config"] = json.dumps(config)

    return make


def external_link(file, name, value):
    file[name] = h5py.ExternalLink("raw.h5", f"/{name}")


def soft_link(file, name, value):
    file["elsewhere"] = value
    file[name] = h5py.SoftLink("/elsewhere")


def external_storage(file, name, value):
    file.create_dataset(name, value.shape, value.dtype, external=[("/etc/passwd", 0, h5py.h5f.UNLIMITED)])


def virtual_data(file, name, value):
    layout = h5py.VirtualLayout(value.shape, value.dtype)
    layout[:] = h5py.VirtualSource("raw.h5", f"/{name}", shape=value.shape)
    file.create_virtual_dataset(name, layout)


def huge_data(file, name, value):  # 2 GB said, nothing stored
    file.create_dataset(name, (512, 2**20), "float32", chunks=(1, 2**18))


def not_numbers(file, name, value):
    file[name] = value * np.nan


SYSTEM = {"class_name": "function", "config": "system", "module": "os", "registered_name": "system"}
HOSTILE = {
    "external_link": (change_weights(external_link), "HDF5 link or data of another file in "),
    "soft_link": (change_weights(soft_link), "HDF5 link or data of another file in "),
    "external_storage": (change_weights(external_storage), "HDF5 link or data of another file in "),
    "virtual_data": (change_weights(virtual_data), "HDF5 link or data of another file in "),
    "huge_data": (change_weights(huge_data), "is said to hold 2,14"),
    "huge_layer": (change_config(lambda layer: layer["config"].update(units=10**8)), "100000000"),
    "function": (change_config(lambda layer: layer["config"].update(activation=SYSTEM)), "function 'system'"),
    "name": (change_config(lambda layer: layer["config"].update(activation="os.system")), "os.system"),
    "class": (change_config(lambda layer: layer.update(class_name="Popen", module="subprocess")), "Popen"),
    "text": (lambda source, path: path.write_text("not a model"), "cannot be used as a Keras model"),
    "empty": (lambda source, path: path.write_bytes(b""), "cannot be used as a Keras model"),
    "truncated": (
        lambda source, path: path.write_bytes(source.read_bytes()[:-2000]),
        "cannot be used as a Keras model",
    ),
}


def one_part_zip(source, path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("junk", "junk")


def code_in_a_lambda(source, path):
    """A model with a Lambda layer whose code, run at loading or after, makes the file `ran`."""
    import keras

    ran = str(path.with_name("ran"))
    layer = keras.layers.Lambda(lambda x: open(ran, "w") and x, output_shape=(32, 32, 3))  # noqa: PTH123, SIM115
    model = keras.Sequential([keras.Input((32, 32, 3)), layer])
    model.save(path)
    Path(ran).unlink(missing_ok=True)


def code_in_a_keras_2_lambda(source, path):
    code_in_a_lambda(source, path)
    with h5py.File(path, "r+") as file:
        file.attrs["keras_version"] = "2.15.0"


def test_hostile_files_are_refused(models, tmp_path):
    files = {
        f"{name}{suffix}": (*made, models / f"raw{suffix}")
        for name, made in HOSTILE.items()
        for suffix in (".h5", ".keras")
    }
    files["junk.keras"] = one_part_zip, "cannot be used as a Keras model", None
    files["code.h5"] = files["code.keras"] = code_in_a_lambda, "`function` is a Python lambda", None
    files["code_2.h5"] = code_in_a_keras_2_lambda, "has Lambda, which is code of its own", None
    assert load_model(models / "raw.h5") and load_model(models / "raw.keras")  # the same, unharmed
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, (make, words, source) in files.items():
        path = tmp_path / name
        make(source, path)
        with pytest.raises(RefusedError) as refusal:
            load_model(path)
        line = str(refusal.value)
        assert line.startswith(str(path)) and words in line and "\n" not in line, line
    assert not (tmp_path / "ran").exists()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # kB


def test_refused_models_are_left_out_if_asked(models, run, tmp_path, capsys):
    for name in ("raw.h5", "scaled.h5", "grey.h5"):
        shutil.copy(models / name, tmp_path)
    for suffix in (".h5", ".keras"):
        for name in ("text", "external_link", "huge_layer"):
            HOSTILE[name][0](models / f"raw{suffix}", tmp_path / f"{name}{suffix}")
    change_weights(not_numbers)(models / "raw.h5", tmp_path / "nan.h5")
    other = tmp_path / "other" / "model.h5"  # with predictions of another split
    other.parent.mkdir()
    shutil.copy(models / "raw.h5", other)
    labels = np.arange(30) % 10
    kept = {
        f"{part}_{what}": value
        for part in PARTS
        for what, value in (("probabilities", np.eye(10)[labels]), ("labels", labels))
    }
    np.savez(other.with_name("predictions.npz"), **kept, model=file_hash(other), data="digits", split="0" * 16)
    other.with_name("run.json").write_text(json.dumps({"model": "", "parameters": 1, "settings": {"HOLD_OUT": 100}}))

    bad = [*(f"{name}{suffix}" for suffix in (".h5", ".keras") for name in ("text", "external_link", "huge_layer"))]
    bad = ["missing.h5", *bad, "nan.h5", "other/model.h5"]
    options = ["--data", "digits", "--hold-out", 100, "--scale", "1/255", "--scale", "raw.h5=1", "--skip-refused"]
    done = run("ensemble/voting.py", "raw.h5", *bad, "scaled.h5", "grey.h5", *options, "--out", "out")
    lines = done.stderr.splitlines()
    assert len(lines) == len(bad)
    for name, line in zip(bad, lines, strict=True):
        assert line.startswith("voting.py: left out: ") and name in line
    record = json.loads((tmp_path / "out" / "ensemble.json").read_text())
    assert [member["path"] for member in record["members"]] == ["raw.h5", "scaled.h5", "grey.h5"]
    assert ["form" in member for member in record["members"]] == [False, True, True]
    accuracies = [member["test"]["accuracy"] for member in record["members"]]
    assert accuracies[0] > 0.9 and accuracies == [accuracies[0]] * 3

    gone = tmp_path / "gone.h5"
    for skip, words in ((False, ["there is no file"]), (True, ["left out: there is no file", "of 2 models, 1 could"])):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            load([models / "raw.h5", gone], skip_refused=skip)
        lines = capsys.readouterr().err.splitlines()
        assert stop.value.code == 2
        assert all(word in line for word, line in zip(words, lines, strict=True))


def test_own_images_with_refused_models(models, tmp_path, monkeypatch, capsys):
    images, _, _ = load_images("digits", 100)
    Image.fromarray(images["test"][0][0]).save(tmp_path / "0.png")
    (tmp_path / "text.h5").write_text("not a model")
    command = ["predict.py", "text.h5", models / "raw.h5", models / "ordered.h5", "no.h5", "--images", "0.png"]
    order = f"{models / 'ordered.h5'}={','.join(map(str, ORDER))}"
    command += ["--skip-refused", "--class-order", order, "--weights", "4,1,3,2"]
    monkeypatch.setattr(sys, "argv", list(map(str, command)))
    monkeypatch.chdir(tmp_path)
    predict.main()
    printed = capsys.readouterr()
    assert [line.split(":")[1] for line in printed.err.splitlines()] == [" left out"] * 2
    rows = [line.split() for line in printed.out.splitlines() if line.startswith("  ")]
    assert [row[0] for row in rows] == ["raw", "ordered", "ensemble"]
    assert rows[0][1:] == rows[1][1:] == rows[2][1:]


# What is kept beside a model
def test_seconds_are_measured_once(models, monkeypatch, capsys):
    names = "raw.h5", "raw.keras"
    found = load([models / name for name in names])
    seconds = seconds_per_thousand(found)
    assert len(seconds) == 2 and all(0 < value < 60 for value in seconds)
    for name, member, value in zip(names, found, seconds, strict=True):
        kept = json.loads((models / f"{name}.seconds.json").read_text())
        about = {"model": member.model, "split": member.split, "form": member.form, "backend": "tensorflow"}
        assert kept == about | {"device": describe_computer(), "seconds": value}
    measured = []
    monkeypatch.setattr(speed, "measure_seconds", lambda member: measured.append(member) or 7.5)
    assert seconds_per_thousand(found) == seconds and measured == []
    (models / "raw.keras.seconds.json").write_text("[]")
    assert seconds_per_thousand(found) == [seconds[0], 7.5] and measured == [found[1]]
    found[0].split = "of larger images"
    assert seconds_per_thousand(found) == [7.5, 7.5]
    monkeypatch.undo()
    capsys.readouterr()
    found[0].model, found[0].data = "one more", str(models / "gone.npz")
    assert seconds_per_thousand(found) == [None, None]
    printed = capsys.readouterr()
    assert len([line for line in printed.out.splitlines() if "not measured" in line and "gone.npz" in line]) == 1
