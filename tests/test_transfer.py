"""transfer/transfer.py: the bases, both phases, and folders of images."""

import hashlib
import json
import re
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import ROOT, load_script, run_script, write_small_script
from keras.src.applications.convnext import ConvNeXt  # not public
from PIL import Image
from test_backends import TWO_DEVICES, by_jax_quickly
from test_runs import history, same_weights, weights

from ensemble.members import data

SCRIPT = "transfer/transfer.py"
BASES = sorted(name for name in dir(keras.applications) if name[0].isupper())
QUICK = ("--data", "digits", "--head-epochs", 2, "--epochs", 2, "--batch-size", 64, "--precision", "float32")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The file of a small network with batch normalisation, as it was drawn."""
    folder = tmp_path_factory.mktemp("small")
    keras.utils.set_random_seed(0)
    script = load_script(write_small_script(folder / "small.py"))
    script.build_model((32, 32, 3), 10, [100.0] * 3, [10_000.0] * 3).save(folder / "small.h5")
    return folder / "small.h5"


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """The script copied alone into an empty folder and run there on the small model: the run, and what it said."""
    alone = tmp_path_factory.mktemp("alone")
    shutil.copy(ROOT / SCRIPT, alone)
    done = run_script(alone / "transfer.py", *QUICK, "--base", small, "--head", 16, "--run", "a", cwd=alone)
    assert done.stderr == ""
    return alone / "runs/a", done.stdout


def transfer_script(**settings):
    """Return the script as a module, with these settings."""
    script = load_script(SCRIPT)
    vars(script).update(settings)
    return script


# The bases
@pytest.mark.parametrize("name", BASES)
def test_the_convolution_in_front_does_what_preprocess_input_does(name):
    """At every colour, alone: 1e-4 of values up to 255, or of up to about 2.6."""
    function = sys.modules[getattr(keras.applications, name).__module__].preprocess_input
    kernel, bias = load_script(SCRIPT).preprocessing(function)
    layer = keras.layers.Conv2D(3, 1, dtype="float32")
    layer.build((None, None, None, 3))
    layer.set_weights([kernel, bias])
    x = np.random.default_rng(0).integers(256, size=(4, 32, 32, 3)).astype(np.float32)
    expected = function(x.copy())
    np.testing.assert_allclose(layer(x), expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max() / 10))


@pytest.mark.parametrize("name", ["VGG16", "MobileNetV2"])
def test_the_base_sees_enlarged_and_preprocessed_images(name, tmp_path):
    """Against Keras Applications used as its own documentation says, after .h5 and back."""
    script = transfer_script(BASE=name, WEIGHTS="none", IMAGE_SIZE=48)
    model = script.build_model((32, 32, 3), 5)
    model.save(tmp_path / "model.h5", include_optimizer=False)
    model = keras.models.load_model(tmp_path / "model.h5", compile=False)
    make = getattr(keras.applications, name)
    base = make(include_top=False, weights=None, input_shape=(48, 48, 3), pooling="avg")
    base.set_weights(model.get_layer("base").get_weights())
    x = np.random.default_rng(0).integers(256, size=(4, 32, 32, 3), dtype=np.uint8)
    larger = keras.layers.Resizing(48, 48)(x.astype(np.float32))
    features = base.predict(sys.modules[make.__module__].preprocess_input(np.array(larger)), verbose=0)
    found = keras.Model(model.input, model.get_layer("normalised_features").input).predict(x, verbose=0)
    np.testing.assert_allclose(found, features, rtol=1e-4, atol=1e-4 * np.abs(features).max())
    assert model.output_shape == (None, 5)


@pytest.mark.parametrize("name", ["MobileNetV3Small", "InceptionResNetV2", "ConvNeXt"])
def test_what_an_h5_file_cannot_hold_becomes_layers_that_compute_the_same(name, tmp_path):
    size = 75 if name == "InceptionResNetV2" else 32
    options = {"include_top": False, "weights": None, "input_shape": (size, size, 3)}
    if name == "ConvNeXt":  # smaller than any that Keras has by name
        network = ConvNeXt([1, 1, 2, 1], [8, 16, 24, 32], name="convnext", **options)
    else:
        network = getattr(keras.applications, name)(**options)
    keras.utils.set_random_seed(0)
    network.set_weights([np.random.uniform(0.1, 0.3, weight.shape) for weight in network.get_weights()])
    script = load_script(SCRIPT)
    script.of_layers_only(network).save(tmp_path / "base.h5")
    x = np.random.default_rng(0).uniform(0, 1, (2, size, size, 3)).astype(np.float32)
    expected = network.predict(x, verbose=0)
    found = keras.models.load_model(tmp_path / "base.h5", compile=False).predict(x, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())


def classifiers():
    """Yield a name, a classifier, and what is said of it as a BASE; "" if it will do."""
    layers = keras.layers
    first = [keras.Input((32, 32, 3)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()]
    yield "Sequential", keras.Sequential([*first, layers.Dense(5)]), ""
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(4, 3)(inputs * 2.0 + 1.0)
    yield "operations", keras.Model(inputs, layers.Dense(5)(layers.Flatten()(x))), ""
    yield "others", keras.Model(inputs, layers.Dense(5)(layers.Flatten()(keras.ops.sin(x)))), "does not survive an .h5"
    inner = keras.Sequential([*first, layers.Dense(5)])
    yield "nested", keras.Model(inputs, inner(layers.Conv2D(3, 1)(inputs))), "its classes are made in a model inside it"
    grey = keras.Input((32, 32, 1))
    yield "grey", keras.Model(grey, layers.Dense(5)(layers.Flatten()(grey))), "give a classifier of colour images"
    two = keras.Input((32, 32, 3))
    both = layers.Dense(5)(layers.Flatten()(layers.Add()([inputs, two])))
    yield "two inputs", keras.Model([inputs, two], both), "give a classifier of colour images of one size"
    any_size = keras.Input((None, None, 3))
    yield "any size", keras.Model(any_size, layers.Dense(5)(layers.GlobalAveragePooling2D()(any_size))), "of one size"
    yield "no classes", keras.Model(inputs, layers.Flatten()(inputs)), "gives no features"


@pytest.mark.parametrize("name", [name for name, *_ in classifiers()])
def test_classifiers_of_every_kind_as_bases(name, tmp_path):
    model, said = next((model, said) for its_name, model, said in classifiers() if its_name == name)
    model.save(tmp_path / "base.keras")
    script = transfer_script(BASE=str(tmp_path / "base.keras"))

    def build():
        script.refuse_unsavable(script.build_model((32, 32, 3), 7), tmp_path)

    if said:
        with pytest.raises(script.InputError, match=said):
            build()
    else:
        build()
    assert [path.name for path in tmp_path.iterdir()] == ["base.keras"]


def test_the_parameters_of_vgg16_with_a_new_head():
    convolutions, features = 14_714_688, 512  # of Keras' documentation; of its last convolution
    script = transfer_script(BASE="VGG16", WEIGHTS="none", IMAGE_SIZE=32, HEAD=100)
    model = script.build_model((32, 32, 3), 7)
    head = 4 * features + (features + 1) * 100 + 101 * 7
    assert model.count_params() == convolutions + (3 * 3 + 3) + head


@pytest.mark.parametrize("form", ["arrays.npz", "vgg.weights.h5", "vgg.h5"])
def test_weights_from_a_file(form, tmp_path):
    keras.utils.set_random_seed(1)
    network = keras.applications.VGG16(include_top=False, weights=None)
    arrays = network.get_weights()
    if form.endswith(".npz"):
        np.savez(tmp_path / form, **{f"{number:02}": array.astype(np.float16) for number, array in enumerate(arrays)})
    elif form == "vgg.h5":
        network.save(tmp_path / form)
    else:
        network.save_weights(tmp_path / form)
    script = transfer_script(BASE="VGG16", WEIGHTS=str(tmp_path / form), IMAGE_SIZE=32)
    for found, array in zip(script.load_base()[0].get_weights(), arrays, strict=True):
        np.testing.assert_allclose(found, array, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("share", "layers"),
    [(0.0, []), (0.01, ["block5_conv3"]), (0.25, [f"block5_conv{i}" for i in (1, 2, 3)] + ["block4_conv3"])],
)
def test_the_last_layers_are_unfrozen(share, layers):
    script = transfer_script(BASE="VGG16", WEIGHTS="none", IMAGE_SIZE=32)
    base = script.build_model((32, 32, 3), 5).get_layer("base")
    script.unfreeze(base, 1.0)
    script.unfreeze(base, share)
    assert {layer.name for layer in base.layers if layer.trainable_weights} == set(layers)


def test_batch_normalisation_of_the_base_stays_frozen():
    script = transfer_script(BASE="MobileNetV2", WEIGHTS="none", IMAGE_SIZE=32)
    base = script.build_model((32, 32, 3), 5).get_layer("base")
    script.unfreeze(base, 1.0)
    kinds = {type(layer).__name__ for layer in base.layers if layer.trainable_weights}
    assert kinds == {"Conv2D", "DepthwiseConv2D"}


def test_a_layer_of_the_base_by_name():
    script = transfer_script(BASE="VGG16", WEIGHTS="none", IMAGE_SIZE=32, LAYER="block3_pool")
    assert script.build_model((32, 32, 3), 5).get_layer("base").output_shape == (None, 256)


# Both phases
def test_a_run_leaves_what_every_run_leaves(finished, small):
    folder, printed = finished
    names = {"model.h5", "run.json", "history.csv", "curves.png", "predictions.npz", "tensorboard"}
    assert {path.name for path in folder.iterdir()} == names
    record = json.loads((folder / "run.json").read_text())
    assert record["feature_seconds"] > 0 and record["settings"]["HEAD"] == 16
    assert record["files_sha256"] == {str(small): hashlib.sha256(small.read_bytes()).hexdigest()}
    assert "features of 1,150 of 1,150 train images" in printed
    model = keras.models.load_model(folder / "model.h5", compile=False)
    data = load_script("4.ResNet/resnet.py").load_data("digits", 5000)
    with np.load(folder / "predictions.npz") as kept:
        for part in ("validation", "test"):
            found = model.predict(data[part][0], verbose=0)
            np.testing.assert_allclose(found, kept[f"{part}_probabilities"], atol=1e-5)
            right = np.mean(found.argmax(1) == data[part][1])
            assert record[part]["accuracy"] == pytest.approx(right) and right > 0.5


def test_each_phase_runs_through_the_schedule(finished):
    """The cosine from 0.01 and from 0.001, at the last of 17 steps of each of two epochs."""
    rates = [float(row["learning_rate"]) for row in history(finished[0])]
    place = np.array([17 - 1, 34 - 1]) / 34
    expected = (1 + np.cos(np.pi * place)) / 2
    np.testing.assert_allclose(rates, [*(0.01 * expected), *(0.001 * expected)], rtol=1e-5)


def test_only_the_head_learns_without_a_second_phase(small, run, tmp_path):
    run(SCRIPT, *QUICK, "--base", small, "--unfreeze", 0, "--run", "a")
    before, after = weights(small), keras.models.load_model(tmp_path / "runs/a/model.h5", compile=False)
    assert len(history(tmp_path / "runs/a")) == 2
    own = sorted(before.values(), key=lambda array: array.size)
    for array in after.get_layer("base").get_weights():
        assert any(np.array_equal(array, other) for other in own)


def test_the_second_phase_changes_the_end_of_the_base_and_no_averages(small, finished):
    before = keras.models.load_model(small, compile=False)
    after = keras.models.load_model(finished[0] / "model.h5", compile=False).get_layer("base")
    changed = [
        layer.name
        for layer in after.layers
        if any(
            not np.array_equal(old, new)
            for old, new in zip(before.get_layer(layer.name).get_weights(), layer.get_weights(), strict=True)
        )
    ]
    assert [type(after.get_layer(name)).__name__ for name in changed] == ["Conv2D"]


def test_features_and_images_train_the_same_head(small, run, tmp_path):
    """Without augmentation: computing the base's features once, or in every step anew."""
    own = ("--base", small, "--unfreeze", 0, "--augment", "none")
    run(SCRIPT, *QUICK, *own, "--run", "once")
    run(SCRIPT, *QUICK, *own, "--head-augment", "yes", "--run", "anew")
    once, anew = (weights(tmp_path / f"runs/{name}/model.h5") for name in ("once", "anew"))
    for (name, first), second in zip(once.items(), anew.values(), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4, err_msg=name)


RUNS = """
import sys
from conftest import load_script

def train(*settings, end=None):
    script = load_script("transfer/transfer.py")
    script.keras.backend.clear_session()  # for layers to have the names that they have in a new process
    written = script.Checkpoint.on_epoch_end

    def on_epoch_end(self, epoch, logs=None):
        written(self, epoch, logs)
        if epoch == end:
            raise InterruptedError
    script.Checkpoint.on_epoch_end = on_epoch_end
    try:
        script.train(*script.read_settings([*sys.argv[1:], *settings]))
    except InterruptedError:
        pass
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_resumed_runs_and_runs_on_two_devices_end_as_others_do(backend, small, run, tmp_path, monkeypatch):
    """Interrupted in each phase and between them, with dropout in the head; and without it on two devices, to 1e-4."""
    if backend == "jax":
        by_jax_quickly(monkeypatch)
    resumed = """
own = "--head", "16", "--schedule", "plateau", "--patience", "1", "--select", "best"
train(*own, "--run", "whole")
for end in (0, 1, 2, None):
    train(*own, "--run", "broken", end=end)
train("--run", "one")
"""
    (tmp_path / "one.py").write_text(RUNS + resumed)
    (tmp_path / "two.py").write_text(TWO_DEVICES[backend] + RUNS + 'train("--run", "two")')
    for program in ("one.py", "two.py"):
        run(tmp_path / program, *QUICK, "--base", small, "--limit", 200, "--head-learning-rate", 0.01)
    whole, broken, one, two = (tmp_path / "runs" / name for name in ("whole", "broken", "one", "two"))
    assert same_weights(whole / "model.h5", broken / "model.h5")
    assert history(whole) == history(broken) and len(history(whole)) == 4
    assert {path.name for path in whole.iterdir()} == {path.name for path in broken.iterdir()}
    first, second = weights(one / "model.h5"), weights(two / "model.h5")
    for name in first:
        np.testing.assert_allclose(first[name], second[name], rtol=1e-4, atol=1e-4, err_msg=name)


def test_its_models_are_members_and_bases(finished, small, run, tmp_path):
    other = tmp_path / "runs/b"
    run(SCRIPT, *QUICK, "--base", finished[0] / "model.h5", "--seed", 1, "--run", "b")
    done = run("ensemble/voting.py", finished[0] / "model.h5", other / "model.h5", "--out", "voting")
    assert "soft voting" in done.stdout
    run("ensemble/export.py", "voting/ensemble.json", "--out", "e.keras", "e.h5")


# Folders of images
@pytest.fixture
def photos(tmp_path):
    """Write images of two classes, light and dark, of many sizes and kinds; return the folder."""
    generator = np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 6)):
        for name, low in (("dark", 0), ("light", 156)):
            folder = tmp_path / "photos" / part / name / "more"
            folder.mkdir(parents=True)
            for number in range(count):
                height, width = generator.integers(40, 250, 2)  # some are decoded at a half or a quarter
                image = Image.fromarray(generator.integers(low, low + 100, (height, width, 3), dtype=np.uint8))
                exif = Image.Exif()
                exif[0x0112] = int(1 + number % 8)
                kind = ("jpg", "PNG", "jpeg")[number % 3]
                place = folder if number % 2 else folder.parent
                (image.convert("LA") if kind == "PNG" and number % 4 == 0 else image).save(
                    place / f"{number}.{kind}", exif=exif
                )
    return tmp_path / "photos"


def test_files_are_read_as_images_to_npz_reads_them(photos, run, tmp_path):
    run("tools/images_to_npz.py", "photos", "made.npz", "--size", 48)
    script = load_script(SCRIPT)
    folder = script.load_folder(photos, 5000, 48)
    data = script.load_data(str(tmp_path / "made.npz"), 5000)
    for part, (x, y) in data.items():
        files, labels = folder[part]
        assert np.array_equal(files[:], x) and np.array_equal(labels, y)
        chosen = np.array([3, 0, 3])
        assert np.array_equal(files[chosen], x[chosen]) and files.shape == x.shape


def test_the_next_images_are_read_while_a_batch_is_used(photos, monkeypatch):
    script = load_script(SCRIPT)
    script.BATCH_SIZE, script.AUGMENT = 4, ("flip", "shift")
    (files, labels), read = script.load_folder(photos, 5000, 48)["train"], []
    one_hot = np.eye(2, dtype=np.float32)[labels]
    plain = script.Batches(files[:], one_hot, np.zeros(3, np.uint8))
    count, reads_one, files.kept, files.most_kept = len(plain) - 1, script.ImageFiles.read, {}, 0
    monkeypatch.setattr(script.ImageFiles, "read", lambda images, file: [read.append(file), reads_one(images, file)][1])
    ahead = script.ReadAhead(script.Batches(files, one_hot, np.zeros(3, np.uint8)))
    for epoch in (0, 1, 0):
        plain.begin_epoch(epoch)
        ahead.begin_epoch(epoch)
        for step in (0, 1, count):
            for ours, expected in zip(ahead[step], plain[step], strict=True):
                assert np.array_equal(ours, expected)
        read.clear()
        ahead[0]
        begun = list(files.ahead)
        assert begun == list(files.files[plain.order[4:8]])
        for waiting in files.ahead.values():
            waiting.result()
        ahead[1]
        assert sorted(read[:8]) == sorted(files.files[plain.order[:8]])  # each of them once
    files[:]  # until nothing is read ahead any more
    files.pool, files.most_kept = ThreadPoolExecutor(1), len(files) - 1  # one of them has no room
    pixels = files[:]
    read.clear()
    assert np.array_equal(files[:], pixels) and np.array_equal(pixels, plain.x)
    assert len(read) == 1 and files.most_kept == len(files.kept)


def test_a_file_that_changes_is_noticed_and_an_eighth_of_the_memory_is_used(photos, monkeypatch):
    script, page = load_script(SCRIPT), 4096
    values = {"SC_PAGE_SIZE": page, "SC_PHYS_PAGES": 8 * 48 * 48 * 3 * 50 // page}  # an eighth of it has 50 images
    monkeypatch.setattr(script.os, "sysconf", values.get)
    parts = [x for x, _ in script.load_folder(photos, 5000, 48).values()]
    assert 45 < sum(x.most_kept for x in parts) <= 50 and all(x.most_kept < len(x) for x in parts)
    first, file = parts[0].tobytes(), Path(parts[0].files[3])
    whole = file.read_bytes()
    file.write_bytes(whole + b"more")
    with pytest.raises(script.InputError, match=re.escape(f"{file} has changed since training began")):
        parts[0].tobytes()
    file.write_bytes(whole)
    assert parts[0].tobytes() == first


def test_a_folder_with_the_name_of_a_data_set_is_not_taken_for_it(photos, monkeypatch):
    shutil.copytree(photos, photos.parent / "digits")
    monkeypatch.chdir(photos.parent)
    script = load_script(SCRIPT)
    assert script.is_folder("photos") and data.is_folder("photos")
    for name in ("digits", ""):
        assert not script.is_folder(name) and not data.is_folder(name)


def test_a_split_is_the_same_at_every_size_and_another_of_other_files(photos):
    script = load_script(SCRIPT)
    first = script.split_hash(script.load_folder(photos, 5000, 48))
    assert script.split_hash(script.load_folder(photos, 5000, 32)) == first
    with (photos / "test/dark/0.jpg").open("ab") as file:
        file.write(b" ")
    assert script.split_hash(script.load_folder(photos, 5000, 48)) != first


def test_a_folder_of_classes_alone_loses_a_fifth_to_the_test(photos):
    script = load_script(SCRIPT)
    data = script.load_folder(photos / "train", 5000, 32)
    counts = {part: np.bincount(y).tolist() for part, (_, y) in data.items()}
    assert counts == {"train": [26, 26], "validation": [6, 6], "test": [8, 8]}
    files = [file for x, _ in data.values() for file in x.files]
    assert len(set(files)) == len(files) == 80
    for x, y in data.values():
        assert all(("dark", "light")[label] in file for file, label in zip(x.files, y, strict=True))


def test_a_folder_trains_members_of_several_sizes(photos, small, run, tmp_path):
    own = ("--data", "photos", "--head-epochs", 3, "--epochs", 1, "--batch-size", 16, "--base", small)
    for name, size in (("a", 32), ("b", 48)):
        done = run(SCRIPT, *own, "--image-size", size, "--run", name)
        assert done.stderr == ""
    models = ("runs/a/model.h5", "runs/b/model.h5")
    record = json.loads((tmp_path / "runs/a/run.json").read_text())
    assert record["test"]["accuracy"] > 0.9 and record["images"] == {"train": 64, "validation": 16, "test": 12}
    run("ensemble/compare.py", *models, "--out", "compare")
    assert (tmp_path / "compare/ensemble.png").exists()
    shown = run("ensemble/predict.py", *models, "--images", "photos/test/light/0.jpg").stdout
    assert "light" in shown
    for name in ("a", "b"):  # predicted anew, as models from elsewhere
        shutil.copy(tmp_path / f"runs/{name}/model.h5", tmp_path / f"{name}.h5")
    run("ensemble/voting.py", "a.h5", "b.h5", "--data", "photos", "--out", "anew")
    (line,) = run("ensemble/export.py", "anew/ensemble.json", "--out", "e.h5", status=2).stderr.splitlines()
    assert line.startswith("export.py: a.h5 takes images of 32x32 pixels, b.h5 of 48x48")
    for name in ("a", "b"):
        there, here = (
            np.load(tmp_path / file) for file in (f"runs/{name}/predictions.npz", f"{name}.h5.predictions.npz")
        )
        np.testing.assert_allclose(here["test_probabilities"], there["test_probabilities"], atol=1e-5)


def test_a_broken_file_is_named(photos, small, refused, tmp_path):
    own = ("--data", "photos", "--epochs", 1, "--batch-size", 16, "--base", small)
    broken = photos / "train/dark/0.jpg"
    broken.write_bytes(broken.read_bytes()[:500])
    (photos / "test/light/2.jpeg").write_bytes(b"nothing")
    line = refused(SCRIPT, *own, "--head-epochs", 1)
    assert "of 92 image files 2 cannot be read" in line and line.endswith("replace or remove them")
    for name in ("train/dark/0.jpg", "test/light/2.jpeg"):
        assert f"photos/{name} cannot be read as an image" in line
    assert not (tmp_path / "runs").exists()


def test_a_file_that_breaks_in_training_is_named(photos, small, tmp_path):
    """TensorFlow hides what is raised in its dataset."""
    script = load_script(SCRIPT)
    command = ["--data", str(photos), "--head-epochs", "0", "--epochs", "1", "--batch-size", "16", "--base", str(small)]
    settings, _ = script.read_settings(command)
    script.refuse_broken = lambda parts: (photos / "train/dark/0.jpg").write_bytes(b"nothing")
    with pytest.raises(script.InputError, match=r"dark/0\.jpg cannot be read as an image"):
        script.train(settings, tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda root: shutil.rmtree(root / "test"), "has train/ without test/; make test/CLASS/ too"),
        (lambda root: shutil.rmtree(root / "test/dark"), "has the classes dark, light and light; needed are"),
        (lambda root: [shutil.rmtree(root / part / "dark") for part in ("train", "test")], "has the classes light and"),
        (
            lambda root: [file.unlink() for file in list((root / "train/light").rglob("*.*"))[4:]],
            "few images of class light",
        ),
    ],
)
def test_a_folder_of_another_layout(photos, change, said):
    change(photos)
    script = load_script(SCRIPT)
    with pytest.raises(script.InputError, match=re.escape(said)):
        script.load_folder(photos, 5000, 32)


def test_an_unfinished_run_refuses_another_base_or_other_images(photos, run, refused, tmp_path):
    def save_base(seed):
        inputs = keras.Input((32, 32, 3))
        x = keras.layers.GlobalAveragePooling2D()(
            keras.layers.Conv2D(4, 3, kernel_initializer=keras.initializers.GlorotUniform(seed))(inputs)
        )
        keras.Model(inputs, keras.layers.Dense(2)(x)).save(tmp_path / "base.h5")

    save_base(0)
    program = RUNS + 'train("--run", "a", end=0)'
    (tmp_path / "broken.py").write_text(program)
    own = ("--data", "photos", "--head-epochs", 2, "--epochs", 1, "--batch-size", 16, "--base", "base.h5")
    run(tmp_path / "broken.py", *own)
    save_base(1)
    assert "runs/a is unfinished, but SHA-256 of base.h5 was" in refused(SCRIPT, *own, "--run", "a")
    save_base(0)
    (photos / "train/dark/0.jpg").write_bytes((photos / "train/light/0.jpg").read_bytes())
    assert "runs/a is unfinished, but" in refused(SCRIPT, *own, "--run", "a")


# What is refused
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--base", "VGG15"), "BASE = VGG15 is neither a file nor one of "),
        (("--base", "InceptionV3", "--weights", "none", "--image-size", 32), "IMAGE_SIZE = 32 (Input size must be"),
        (("--weights", "missing.h5"), "BASE = VGG16 cannot be had with WEIGHTS = missing.h5"),
        (("--weights", "none", "--layer", "block9"), "LAYER = 'block9' gives no features"),
        (("--head-epochs", 0, "--unfreeze", 0), "leave nothing to train"),
        (("--unfreeze", 2), "UNFREEZE = '2' is not a number from 0.0 to 1.0"),
        (("--data", "nothing"), "DATA = 'nothing' is no folder of images, and none of cifar10"),
        (("--data", "nothing.npz"), "DATA = 'nothing.npz' cannot be loaded"),
        (("--data", "."), "DATA = . has the classes none; needed are two or more"),
        (("--base", "broken.h5"), "BASE = broken.h5 cannot be loaded as a model"),
    ],
)
def test_bad_settings(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("broken.h5").write_bytes(b"nothing")
    script = load_script(SCRIPT)
    with pytest.raises(script.InputError, match=re.escape(said)):
        script.train(*script.read_settings(["--data", "digits", *map(str, arguments)]))


def test_imagenet_without_a_network_is_one_line(refused, monkeypatch, tmp_path):
    for name in ("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    line = refused(SCRIPT, "--data", "digits", "--image-size", 32)
    assert "BASE = VGG16 cannot be had with WEIGHTS = imagenet" in line and "URL fetch failure" in line
    assert line.endswith("without a network, give WEIGHTS the path of a file, or BASE that of a model that is here")
