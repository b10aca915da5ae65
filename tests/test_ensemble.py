"""ensemble/ and benchmarks/weight_search.py against brute force in exact fractions, and what they refuse."""

import hashlib
import itertools
import json
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from conftest import as_files, load_script
from PIL import Image
from scipy.special import softmax

from benchmarks import weight_search
from ensemble import predict
from ensemble.combining.predictions import Predictions
from ensemble.combining.votes import hard_voting, soft_voting
from ensemble.combining.weight_grid import STEP, search, steps_in_one, weighted_mean, weightings
from ensemble.common.files import file_hash
from ensemble.members.data import class_names
from ensemble.members.kept import kept_predictions
from ensemble.model_files.forms import Form

ROOT = Path(__file__).resolve().parent.parent


VOTING, WEIGHTED_MEAN, PREDICT = "ensemble/voting.py", "ensemble/weighted_mean.py", "ensemble/predict.py"


# Brute force, in plain Python and exact fractions
def first_of_largest(values):
    return max(range(len(values)), key=lambda i: (values[i], -i))


def mean_choices(probabilities, units):
    """The classes with the largest weighted sums, one an image."""
    return [
        first_of_largest(
            [sum(u * Fraction(p) for u, p in zip(units, column, strict=True)) for column in zip(*image, strict=True)]
        )
        for image in zip(*probabilities.tolist(), strict=True)
    ]


def hard_choices(probabilities):
    chosen = []
    for image in zip(*probabilities.tolist(), strict=True):
        votes = [first_of_largest(row) for row in image]
        most = max(votes.count(c) for c in votes)
        sums = [sum(map(Fraction, column)) for column in zip(*image, strict=True)]
        tied = [c for c in range(len(sums)) if votes.count(c) == most]
        chosen.append(max(tied, key=lambda c: (sums[c], -c)))
    return chosen


def best_weighting(probabilities, labels, steps):
    """The winner and its number of right images, by trying everything."""
    count = len(probabilities)
    ways = [units for units in itertools.product(range(steps + 1), repeat=count) if sum(units) == steps]
    scored = []
    for units in ways:
        right = sum(c == label for c, label in zip(mean_choices(probabilities, units), labels.tolist(), strict=True))
        distance = sum((Fraction(u, steps) - Fraction(1, count)) ** 2 for u in units)
        scored.append((-right, distance, units))
    right, _, units = min(scored)
    return list(units), -right


def draw(kind, count, images, classes, seed):
    """Made-up probabilities (count, images, classes) and labels (images,) of the kind named."""
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=images)
    if kind == "coarse":  # few distinct values: ties within members, of votes and of sums
        return random.integers(0, 3, (count, images, classes)) / 8.0, labels
    if kind == "zeros and ones":
        return np.eye(classes)[random.integers(classes, size=(count, images))], labels
    probabilities = softmax(3 * random.normal(size=(count, images, classes)), axis=2)
    if kind == "identical":
        probabilities[:] = probabilities[0]
    if kind == "one always right":
        probabilities[-1] = np.eye(classes)[labels]
    return probabilities, labels


KINDS = ["random", "coarse", "zeros and ones", "identical", "one always right"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_votes_against_brute_force(kind, count):
    probabilities, _ = draw(kind, count, 200, 4, seed=count)
    assert hard_voting(probabilities).tolist() == hard_choices(probabilities)
    soft = soft_voting(probabilities)
    np.testing.assert_allclose(soft, sum(probabilities) / count, atol=1e-12)
    assert soft.argmax(axis=1).tolist() == mean_choices(probabilities, [1] * count)


def test_tied_votes_go_to_the_largest_sum_not_the_lowest_class():
    probabilities = np.array([[[0.5, 0.1, 0.4]], [[0.1, 0.0, 0.9]]])
    assert hard_voting(probabilities).tolist() == [2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("count", "steps"), [(2, 20), (2, 3), (3, 7), (4, 5), (5, 4)])
def test_search_against_brute_force(kind, count, steps):
    for seed, classes in ((0, 3), (1, 2), (2, 5)):
        probabilities, labels = draw(kind, count, 12, classes, seed)
        units, accuracy = search(Predictions(probabilities, labels), 1 / steps)
        expected, right = best_weighting(probabilities, labels, steps)
        assert units.tolist() == expected
        assert accuracy == right / 12
        chosen = weighted_mean(probabilities, units).argmax(axis=1)
        assert (chosen == labels).sum() == right


def test_equal_winners():
    same = np.array([[[0.8, 0.2]]] * 4)
    labels = np.array([0])
    assert search(Predictions(same, labels), 0.25)[0].tolist() == [1, 1, 1, 1]
    # Six units over four members: six ways are equally near; the first in lexicographic order has its ones first.
    assert search(Predictions(same, labels), 1 / 6)[0].tolist() == [1, 1, 2, 2]


def test_search_against_the_plain_loop():
    """On more weightings than one chunk of the search holds."""
    predictions = weight_search.draw_members(4, 4000, 6)
    units = weightings(4, 20)
    accuracies = weight_search.plain_loop(predictions, units)
    winner, accuracy = search(predictions, 0.05)
    assert accuracy == accuracies.max()
    nearest = ((units - 5) ** 2).sum(axis=1).astype(float)
    nearest[accuracies < accuracies.max()] = np.inf
    assert winner.tolist() == units[nearest.argmin()].tolist()


@pytest.mark.parametrize(("count", "steps"), [(1, 4), (2, 4), (3, 5), (5, 3)])
def test_weightings_are_all_in_lexicographic_order(count, steps):
    ways = [units for units in itertools.product(range(steps + 1), repeat=count) if sum(units) == steps]
    assert weightings(count, steps).tolist() == [list(units) for units in ways]


def test_outputs_become_probabilities():
    random = np.random.default_rng(0)
    logits = random.normal(scale=20, size=(50, 7)).astype(np.float32)

    def read(outputs):
        return Form().read(outputs, "m.h5")[0]

    np.testing.assert_allclose(read(logits), softmax(logits.astype(float), 1), atol=1e-7)
    probabilities = softmax(logits, axis=1)
    np.testing.assert_array_equal(read(probabilities), probabilities)
    assert np.isfinite(read(logits * 1000)).all()


# The commands, on predictions that the test makes up
def write_member(path, validation, test, labels, *, data="digits", split="0123456789abcdef", hold_out=300, record=True):
    """A stand-in for a run's model.h5 with the predictions and the record beside it; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"not a model, but {path.parent.name}".encode())
    model = hashlib.sha256(path.read_bytes()).hexdigest()
    np.savez(
        path.with_name("predictions.npz"),
        validation_probabilities=validation.astype(np.float32),
        validation_labels=labels[0],
        test_probabilities=test.astype(np.float32),
        test_labels=labels[1],
        model=model,
        data=data,
        split=split,
    )
    if record:
        run = {"model": model, "parameters": 12345, "settings": {"DATA": data, "HOLD_OUT": hold_out}}
        path.with_name("run.json").write_text(json.dumps(run))
    return path


def write_members(folder, count=3, classes=4, seed=0, **options):
    """`count` made-up members with 60 validation and 80 test images; returns paths, probabilities and labels."""
    drawn = weight_search.draw_members(count, 140, classes, seed)
    probabilities, labels = drawn.probabilities, drawn.labels
    parts = probabilities[:, :60].astype(np.float32), probabilities[:, 60:].astype(np.float32)
    labels = labels[:60], labels[60:]
    paths = [
        write_member(folder / f"m{i}" / "model.h5", parts[0][i], parts[1][i], labels, **options) for i in range(count)
    ]
    return paths, parts, labels


def right_share(choices, labels):
    return np.mean(np.array(choices) == labels)


def test_voting_record_and_table(run, tmp_path, no_keras):
    paths, parts, labels = write_members(tmp_path)
    paths = [paths[2], paths[0], paths[1]]
    parts = [part[[2, 0, 1]] for part in parts]
    done = run(VOTING, *[path.relative_to(tmp_path) for path in paths])
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("voting-")
    assert (folder / "ensemble.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.rglob("unfinished*"))
    record = json.loads((folder / "ensemble.json").read_text())
    assert [member["path"] for member in record["members"]] == [f"m{i}/model.h5" for i in (2, 0, 1)]
    assert [member["model"] for member in record["members"]] == [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    ]
    assert {member["parameters"] for member in record["members"]} == {12345}
    assert (record["script"], record["data"], record["classes"]) == (VOTING, "digits", 4)
    assert record["split"] == "0123456789abcdef"
    assert record["command"].endswith("voting.py m2/model.h5 m0/model.h5 m1/model.h5")
    for part, probabilities, truth in zip(("validation", "test"), parts, labels, strict=True):
        for member, own in zip(record["members"], probabilities, strict=True):
            assert member[part]["accuracy"] == pytest.approx(right_share(own.argmax(axis=1), truth))
            expected = -np.log(own.astype(float)[np.arange(len(truth)), truth]).mean()
            assert member[part]["loss"] == pytest.approx(expected, abs=1e-6)
        hard, soft = record["methods"]["hard voting"][part], record["methods"]["soft voting"][part]
        assert hard == {"accuracy": pytest.approx(right_share(hard_choices(probabilities), truth))}
        assert soft["accuracy"] == pytest.approx(right_share(mean_choices(probabilities, [1, 1, 1]), truth))

    best = max(record["members"], key=lambda member: (member["validation"]["accuracy"], -member["validation"]["loss"]))
    rows = {line.split("  ")[0]: line.split() for line in done.stdout.splitlines()}
    assert f"{best['path']} *" in rows
    for name, method in record["methods"].items():
        figures = [
            f"{100 * figure:{sign}.2f}"
            for part in ("validation", "test")
            for figure, sign in (
                (method[part]["accuracy"], ""),
                (method[part]["accuracy"] - best[part]["accuracy"], "+"),
            )
        ]
        assert rows[name][2:] == figures
    assert "60 validation images, 80 test images" in done.stdout


def test_weighted_mean_record(run, tmp_path, no_keras):
    paths, parts, labels = write_members(tmp_path, seed=3)
    done = run(WEIGHTED_MEAN, *paths, "--step", "0.125", "--out", "here")
    record = json.loads((tmp_path / "here" / "ensemble.json").read_text())
    units, right = best_weighting(parts[0], labels[0], 8)
    assert [member["weight"] for member in record["members"]] == [u / 8 for u in units]
    assert record["step"] == 0.125
    methods = record["methods"]
    assert methods["weighted mean"]["validation"]["accuracy"] == right / 60
    for part, probabilities, truth in zip(("validation", "test"), parts, labels, strict=True):
        for name, weights in (("weighted mean", units), ("equal weights", [1, 1, 1])):
            expected = right_share(mean_choices(probabilities, weights), truth)
            assert methods[name][part]["accuracy"] == pytest.approx(expected)
            mean = np.average(probabilities.astype(float), axis=0, weights=weights)
            loss = -np.log(mean[np.arange(len(truth)), truth]).mean()
            assert methods[name][part]["loss"] == pytest.approx(loss, abs=1e-6)
    for u in units:
        assert f"{u / 8:.3f}" in done.stdout
    assert (tmp_path / "here" / "ensemble.png").read_bytes().startswith(b"\x89PNG")


def test_finished_results_are_left_alone(run, refused, tmp_path):
    paths, _, _ = write_members(tmp_path)
    run(WEIGHTED_MEAN, *paths)
    (folder,) = (tmp_path / "runs").iterdir()
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()}
    assert folder.name in run(WEIGHTED_MEAN, *paths, "--step", "0.05").stdout
    assert "stays as it was" in run(WEIGHTED_MEAN, *paths, "--out", folder).stdout
    for arguments in ([*paths, "--step", "0.1"], paths[::-1], paths[:2]):
        assert str(folder) in refused(WEIGHTED_MEAN, *arguments, "--out", folder)
    assert str(folder) in refused(VOTING, *paths, "--out", folder)
    run(WEIGHTED_MEAN, *paths, "--step", "0.1")
    run(WEIGHTED_MEAN, *paths[::-1])
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir()} == before
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_the_same_model_twice(run, tmp_path):
    paths, parts, labels = write_members(tmp_path, count=2)
    run(VOTING, paths[0], paths[0], "--out", "twice")
    record = json.loads((tmp_path / "twice" / "ensemble.json").read_text())
    alone = right_share(parts[1][0].argmax(axis=1), labels[1])
    assert [member["test"]["accuracy"] for member in record["members"]] == [alone, alone]
    assert {method["test"]["accuracy"] for method in record["methods"].values()} == {alone}
    run(WEIGHTED_MEAN, paths[1], paths[1], paths[0], "--step", "0.25", "--out", "thrice")
    record = json.loads((tmp_path / "thrice" / "ensemble.json").read_text())
    units, _ = best_weighting(parts[0][[1, 1, 0]], labels[0], 4)
    assert [member["weight"] for member in record["members"]] == [u / 4 for u in units]


@pytest.mark.parametrize(
    ("script", "options", "classes", "words"),
    [
        (VOTING, {"data": "mnist", "split": "f" * 16}, 4, "data set (digits, mnist)"),
        (VOTING, {"split": "f" * 16}, 4, "split (0123456789abcdef, ffffffffffffffff)"),
        (WEIGHTED_MEAN, {}, 5, "classes (4, 5)"),
    ],
)
def test_members_that_disagree(refused, tmp_path, script, options, classes, words):
    paths, _, _ = write_members(tmp_path / "a")
    others, _, _ = write_members(tmp_path / "b", classes=classes, **options)
    line = refused(script, paths[0], paths[1], others[0])
    for word in (str(paths[0]), str(others[0]), words):
        assert word in line
    assert str(paths[1]) not in line
    assert not (tmp_path / "runs").exists()


def test_the_same_split_under_another_name_of_the_data(run, tmp_path):
    paths, _, _ = write_members(tmp_path / "a", data="cifar10.npz")
    others, _, _ = write_members(tmp_path / "b", data="./cifar10.npz")
    run(VOTING, paths[0], others[1])


def test_bad_arguments(refused, tmp_path, capsys):
    paths, _, _ = write_members(tmp_path, count=4)
    assert "at least two" in refused(VOTING, paths[0])
    assert "MODEL" in refused(VOTING)
    assert "--stp" in refused(WEIGHTED_MEAN, *paths, "--stp", "0.1")
    assert "does not divide 1" in refused(WEIGHTED_MEAN, *paths, "--step", "0.3")
    for step in (0.0, -0.5, 2.0, 1e-9, 0.051, float("nan"), float("inf")):
        with pytest.raises(SystemExit):
            steps_in_one(step)
        assert f"--step {step:g} does not divide 1" in capsys.readouterr().err
    line = refused(WEIGHTED_MEAN, *paths, "--step", "0.001")
    assert "167,668,501 weightings" in line and "coarser step" in line
    assert "nothing.h5" in refused(VOTING, *paths, "nothing.h5")
    (tmp_path / "notes.txt").write_text("hello")
    assert "notes.txt" in refused(VOTING, *paths, "notes.txt")
    assert "notes.txt" in refused(VOTING, *paths, "--out", "notes.txt")
    assert not (tmp_path / "runs").exists()


def test_bad_files_beside_a_model(refused, tmp_path):
    paths, parts, labels = write_members(tmp_path)
    kept = paths[1].with_name("predictions.npz")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    assert str(kept) in refused(VOTING, *paths)
    for value, word in ((np.nan, "NaN"), (np.inf, "infinity")):
        broken = parts[1][1].copy()
        broken[3, 2] = value
        write_member(paths[1], parts[0][1], broken, labels)
        line = refused(VOTING, *paths)
        assert str(kept) in line and word in line
    write_member(paths[1], parts[0][1][:, :1], parts[1][1][:, :1], labels)  # one column for all classes
    assert str(kept) in refused(VOTING, *paths)
    kept.write_bytes(whole)
    paths[1].with_name("run.json").write_text('{"settings": ')
    assert "run.json" in refused(VOTING, *paths)
    paths[1].with_name("run.json").unlink()
    kept.unlink()
    line = refused(VOTING, *paths)
    assert str(paths[1]) in line and "--data" in line


def test_kept_predictions_are_of_this_model_and_these_images(tmp_path):
    (path, *_), _, _ = write_members(tmp_path)
    model = file_hash(path)
    assert kept_predictions(path, model, None, None)["split"] == "0123456789abcdef"
    assert kept_predictions(path, model, "digits", 300)
    assert kept_predictions(path, model, "mnist", None) is None
    assert kept_predictions(path, model, None, 200) is None
    assert kept_predictions(path, "0" * 64, None, None) is None

    images = tmp_path / "images.npz"
    images.write_bytes(b"some images")
    with np.load(path.with_name("predictions.npz")) as file:
        arrays = dict(file)
    path.with_name("predictions.npz").unlink()
    beside = path.with_name("model.h5.predictions.npz")
    arrays |= {"data": str(images), "hold_out": 100, "data_sha256": file_hash(images)}
    np.savez(beside, **arrays, form=Form().to_json(), outputs="probabilities", parameters=7)
    assert kept_predictions(path, model, str(images), 100)
    assert kept_predictions(path, model, None, 300) is None
    images.write_bytes(b"other images")
    assert kept_predictions(path, model, str(images), 100) is None


def test_help(run):
    for script in (VOTING, WEIGHTED_MEAN):
        text = run(script, "--help").stdout
        assert "neither run.json nor predictions" in " ".join(text.split())
    assert f"(default: {STEP})" in " ".join(text.split())


# Real models
MAKE_MODELS = """
import importlib.util, io, json, os, sys
from contextlib import redirect_stderr
sys.path.insert(0, sys.argv[1])
from ensemble.members.data import load_images
from ensemble.members.loading import load_members

images, classes, known = load_images("digits", 100)
import keras
import numpy as np
from keras import layers

def dense(outputs, activation, shape=(32, 32, 3), extra=()):
    return keras.Sequential(
        [keras.Input(shape), layers.Rescaling(1 / 255), layers.AveragePooling2D(4), *extra, layers.Flatten(),
         layers.Dense(outputs, activation)]
    )

keras.utils.set_random_seed(0)
soft, logits = dense(10, "softmax"), dense(10, None)
soft.save("soft.h5", include_optimizer=False)
logits.save("logits.keras")
np.savez("direct.npz", soft=soft.predict(images["test"][0], verbose=0),
         logits=logits.predict(images["test"][0], verbose=0), labels=images["test"][1],
         validation=len(images["validation"][0]), pixels=images["test"][0][:2])

dense(7, "softmax").save("seven.h5", include_optimizer=False)
dense(1, "sigmoid").save("column.h5", include_optimizer=False)
dense(10, "softmax", (28, 28, 1)).save("small.h5", include_optimizer=False)
strange = dense(10, "softmax", extra=[layers.Lambda(lambda x: x * 2)])
strange.save("lambda.h5", include_optimizer=False)
strange.save("lambda.keras")
soft.layers[-1].set_weights([weights * np.nan for weights in soft.layers[-1].get_weights()])
soft.save("nan.h5", include_optimizer=False)
for name in ("soft.h5", "logits.keras"):
    whole = open(name, "rb").read()
    open("truncated" + os.path.splitext(name)[1], "wb").write(whole[: len(whole) // 2])
    open("text" + os.path.splitext(name)[1], "w").write("not a model")
soft.save_weights("only.weights.h5")

lines = {}
for name in ("seven.h5", "column.h5", "small.h5", "lambda.h5", "lambda.keras", "nan.h5", "truncated.h5",
             "truncated.keras", "text.h5", "text.keras", "only.weights.h5"):
    with redirect_stderr(io.StringIO()) as error:
        try:
            load_members([name, "soft.h5"], "digits", 100)
            lines[name] = [0, ""]
        except SystemExit as stop:
            lines[name] = [stop.code, error.getvalue()]
print(json.dumps(lines))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A folder with soft.h5, logits.keras and their outputs (direct.npz); and how load_members took bad files."""
    folder = tmp_path_factory.mktemp("models")
    done = subprocess.run(
        [sys.executable, "-c", MAKE_MODELS, str(ROOT)],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("seven.h5", "(None, 7)"),
        ("column.h5", "(None, 1)"),
        ("small.h5", "(None, 28, 28, 1)"),
        ("lambda.h5", "Lambda"),
        ("lambda.keras", "Lambda"),
        ("nan.h5", "NaN"),
        ("truncated.h5", "cannot be used as a Keras model"),
        ("truncated.keras", "cannot be used as a Keras model"),
        ("text.h5", "cannot be used as a Keras model"),
        ("text.keras", "cannot be used as a Keras model"),
        ("only.weights.h5", "holds weights alone"),
    ],
)
def test_bad_models(models, name, words):
    status, line = models[1][name]
    assert status == 2
    assert line.count("\n") == 1
    assert name in line and words in line


def test_real_models_from_end_to_end(models, run, request):
    folder, _ = models
    done = run(VOTING, "soft.h5", "logits.keras", "--data", "digits", "--hold-out", 100, cwd=folder)
    for name, line in zip(("soft.h5", "logits.keras"), done.stderr.splitlines(), strict=True):  # they are untrained
        assert name in line and "chance" in line
    direct = np.load(folder / "direct.npz")
    outputs = np.stack([direct["soft"], softmax(direct["logits"].astype(float), axis=1)])
    for name, expected in zip(("soft.h5", "logits.keras"), outputs, strict=True):
        with np.load(folder / f"{name}.predictions.npz") as kept:
            np.testing.assert_allclose(kept["test_probabilities"], expected, atol=1e-6)
            assert kept["test_probabilities"].dtype == np.float32
            assert kept["validation_probabilities"].shape == (direct["validation"], 10)
            np.testing.assert_array_equal(kept["test_labels"], direct["labels"])
            assert str(kept["data"]) == "digits"
    (record,) = (json.loads(path.read_text()) for path in folder.glob("runs/voting-*/ensemble.json"))
    accuracy = right_share(outputs.mean(axis=0).argmax(axis=1), direct["labels"])
    assert record["methods"]["soft voting"]["test"]["accuracy"] == pytest.approx(accuracy)
    assert [member["parameters"] for member in record["members"]] == [8 * 8 * 3 * 10 + 10] * 2

    request.getfixturevalue("no_keras")  # from here on, predictions must come from the files beside the models
    run(VOTING, "soft.h5", "logits.keras", "--data", "digits", "--hold-out", 100, cwd=folder)
    run(WEIGHTED_MEAN, "soft.h5", "logits.keras", cwd=folder)
    assert len(list(folder.glob("runs/*/ensemble.json"))) == 2


# The benchmark
def test_own_images_are_shown_to_every_model(models, run, refused, tmp_path):
    folder, _ = models
    direct = np.load(folder / "direct.npz")
    for number, pixels in enumerate(direct["pixels"]):
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    command = [PREDICT, folder / "soft.h5", folder / "logits.keras", "--images", "0.png", "1.png"]
    done = run(*command, "--weights", "1,3", "--classes", ",".join("abcdefghij"))
    outputs = [direct["soft"][:2], softmax(direct["logits"][:2].astype(float), axis=1)]
    rows = {"soft": outputs[0], "logits": outputs[1], "ensemble": (outputs[0] + 3 * outputs[1]) / 4}
    expected = [
        [name, *(word for label in np.argsort(-row[i])[:3] for word in (f"{row[i][label]:.1%}", "abcdefghij"[label]))]
        for i in range(2)
        for name, row in rows.items()
    ]
    printed = [line.split() for line in done.stdout.splitlines() if line.startswith("  ")]
    assert printed == expected
    with Image.open(tmp_path / "predictions.png") as picture:
        assert picture.width > 600 and len(picture.convert("L").getcolors()) > 20

    assert "does not exist yet" in refused(*command)  # the picture is there
    (tmp_path / "text.png").write_text("not an image")
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "damaged.png")
    whole = (tmp_path / "damaged.png").read_bytes()
    second = whole.index(b"IDAT", whole.index(b"IDAT") + 4)
    (tmp_path / "damaged.png").write_bytes(whole[:second] + b"\0\1\2\3" + whole[second + 4 :])
    out = ["--out", "other.png"]
    assert "damaged.png cannot be read as an image" in refused(*command, "damaged.png", *out)
    assert "text.png cannot be read as an image" in refused(*command, "text.png", *out)
    assert "missing.png cannot be read as an image" in refused(*command, "missing.png", *out)
    assert "--weights 1: give 2 numbers" in refused(*command, *out, "--weights", "1")
    assert "--weights 0,x: give 2 numbers" in refused(*command, *out, "--weights", "0,x")
    assert "--classes names 2 classes; the models have 10" in refused(*command, *out, "--classes", "x,y")
    assert "there is no file no.h5" in refused(PREDICT, "no.h5", "--images", "0.png", *out)
    assert not (tmp_path / "other.png").exists()


def test_classes_have_the_names_of_their_data(tmp_path):
    np.savez(tmp_path / "own.npz", class_names=np.array(["cat", "dog"]))
    assert class_names("cifar10", 10)[3] == "cat"
    assert class_names("../some/fashion_mnist.npz", 10)[-1] == "ankle-boot"
    assert class_names("digits", 3) == ["0", "1", "2"]
    assert class_names(str(tmp_path / "own.npz"), 2) == ["cat", "dog"]
    assert class_names(str(tmp_path / "gone.npz"), 2) == ["0", "1"]
    assert class_names("cifar10", 3) == ["0", "1", "2"]
    (tmp_path / "broken.npz").write_text("no archive")
    assert class_names(str(tmp_path / "broken.npz"), 2) == ["0", "1"]


def test_benchmark(run, monkeypatch):
    row = weight_search.compare(3, images=500, step=0.1)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "3" and cells[2] == "66"
    assert float(cells[3]) > 0
    monkeypatch.setattr(weight_search, "search", lambda *_: (np.array([10, 0, 0]), 0.5))
    with pytest.raises(SystemExit, match="the search says"):
        weight_search.compare(3, images=500, step=0.1)
    assert "plain loop" in run("benchmarks/weight_search.py", "--help").stdout


def test_an_image_is_prepared_as_in_training(tmp_path):
    """Of 28x30 pixels, saved as a file, beside what a script makes of the same pixels; and on white, if transparent."""
    import keras
    from PIL import Image

    x = np.random.default_rng(0).integers(0, 256, (8, 28, 30, 3), dtype=np.uint8)
    y = np.arange(8) % 2
    np.savez(tmp_path / "own.npz", x_train=np.concatenate([x] * 4), y_train=np.tile(y, 4), x_test=x, y_test=y)
    images, _ = load_script("4.ResNet/resnet.py").load_data(str(tmp_path / "own.npz"), 4)["test"]
    pixels = keras.Input((32, 32, 3))
    features = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(2, "softmax")(features))
    model.save(tmp_path / "a.h5")
    found = predict.predict(tmp_path / "a.h5", as_files(x, tmp_path))
    np.testing.assert_allclose(found, model.predict(images, verbose=0), atol=1e-6)
    glyph = np.zeros((32, 32, 4), np.uint8)
    glyph[8:24, 8:24, 3] = 255  # black on a transparent ground
    Image.fromarray(glyph).save(tmp_path / "glyph.png")
    expected = np.full((1, 32, 32, 3), 255, np.uint8)
    expected[:, 8:24, 8:24] = 0
    found = predict.predict(tmp_path / "a.h5", [tmp_path / "glyph.png"])
    np.testing.assert_allclose(found, model.predict(expected, verbose=0), atol=1e-6)
