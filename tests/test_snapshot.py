"""ensemble/snapshot.py on the bundled digits: schedule, snapshots, averages, statistics, table, resume, refusals."""

import json
import math
import os
import shutil
import signal
import sys

import numpy as np
import pytest
from conftest import ROOT, load_script, run_script
from test_runs import KILLED_AT, history

from ensemble import snapshot
from ensemble.combining.likelihood import likelihood_weights
from ensemble.combining.methods import FOLDS, make_folds
from ensemble.combining.predictions import Predictions
from ensemble.combining.significance import mcnemar
from ensemble.common.command import refusing
from ensemble.snapshots.averages import new_model, refresh_statistics, snapshots_of

pytestmark = pytest.mark.xdist_group("snapshot")

SCRIPT = "ensemble/snapshot.py"
CYCLES, EPOCHS, STEPS, RATE = 2, 4, 5, 0.05
NETWORK = ("--data", "digits", "--depth", 8, "--precision", "float32")
FEW = ("--limit", 160, "--batch-size", 32, "--weight-decay", 0)
OWN = ("--cycles", CYCLES, "--epochs", EPOCHS, "--learning-rate", RATE, "--bn-images", 100, "--ema-decay", 0.9)
COMMAND = (*OWN, *NETWORK, *FEW, "--run", "a")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An unbroken run: its folder in runs/, and what it printed."""
    folder = tmp_path_factory.mktemp("snapshot")
    done = run_script(SCRIPT, *COMMAND, cwd=folder)
    assert done.stderr == ""
    return folder / "runs" / "a", done.stdout


@pytest.fixture(scope="module")
def models(finished):
    """Every model of that run by name."""
    import keras

    paths = [*finished[0].glob("*.h5"), finished[0].with_name("a-single") / "model.h5"]
    return {
        "single" if path.parent.name == "a-single" else path.stem: keras.models.load_model(path, compile=False)
        for path in paths
    }


@pytest.fixture(scope="module")
def images():
    data = load_script("4.ResNet/resnet.py").load_data("digits", 5000)
    return data | {"train": tuple(array[:160] for array in data["train"])}


@pytest.fixture
def lines(monkeypatch, capsys, tmp_path):
    """Run the command here, in a folder; return its exit status, and what it wrote to stdout and stderr."""

    def run_here(*arguments, cwd=tmp_path):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", [SCRIPT, *map(str, arguments)])
        status = 0
        try:
            with refusing(skip=False):  # as run_command shows it
                snapshot.main()
        except SystemExit as stopped:
            status = stopped.code
        return status, *capsys.readouterr()

    return run_here


def keras_weights(path):
    """The arrays of a model, whatever its layers are called."""
    import keras

    return keras.models.load_model(path, compile=False).get_weights()


def paper_rate(step, steps, cycles, highest):
    """The paper's formula 2, for step 1, 2, ... of all steps."""
    length = math.ceil(steps / cycles)
    return highest / 2 * (math.cos(math.pi * ((step - 1) % length) / length) + 1)


# Schedule and snapshots
@pytest.mark.parametrize(("steps", "cycles"), [(12, 3), (10, 3), (1000, 5), (2, 2)])
def test_the_learning_rate_is_the_papers(steps, cycles):
    rates = snapshot.cyclic_rate(np.arange(steps), math.ceil(steps / cycles), 0.2)
    expected = [paper_rate(step, steps, cycles, 0.2) for step in range(1, steps + 1)]
    np.testing.assert_allclose(rates, expected, rtol=1e-6, atol=1e-9)
    assert (rates == 0.2).sum() == cycles


def test_both_runs_moved_along_their_cosines(finished):
    for folder, cycles in ((finished[0], CYCLES), (finished[0].with_name("a-single"), 1)):
        for epoch, row in enumerate(history(folder), start=1):  # each row has the rate of the epoch's last step
            expected = paper_rate(epoch * STEPS, EPOCHS * STEPS, cycles, RATE)
            assert float(row["learning_rate"]) == pytest.approx(expected, rel=1e-5)


def test_the_two_runs_differ_in_the_schedule_alone(finished):
    cyclic, single = (json.loads((finished[0].with_name(name) / "run.json").read_text()) for name in ("a", "a-single"))
    own = {"CYCLES": CYCLES, "EMA_DECAY": 0.9, "BN_IMAGES": 100, "RUN": "a"}
    assert cyclic["settings"] == single["settings"] | own
    assert single["settings"]["SCHEDULE"] == "cosine" and single["settings"]["SEED"] == 0
    assert cyclic["parameters"] == single["parameters"] and cyclic["split"] == single["split"]


def test_a_snapshot_is_the_network_at_the_end_of_its_cycle(finished, models, images):
    folder, _ = finished
    names = {"model.h5", "run.json", "history.csv", "curves.png", "predictions.npz", "tensorboard"}
    names |= {"ensemble.json", "ensemble.png"}
    names |= {
        f"{name}{end}" for name in ("cycle-1", "cycle-2", "swa-2", "ema") for end in (".h5", ".h5.predictions.npz")
    }
    assert {path.name for path in folder.iterdir()} == names
    last, result = models["cycle-2"].get_weights(), models["model"].get_weights()
    assert all(np.array_equal(first, second) for first, second in zip(last, result, strict=True))
    x, y = images["validation"]
    losses = [float(row["val_loss"]) for row in history(folder)]  # without weight decay in them
    for cycle in (1, 2):
        given = np.asarray(models[f"cycle-{cycle}"](x))[np.arange(len(y)), y]
        assert -np.log(np.maximum(given, 1e-7)).mean() == pytest.approx(losses[EPOCHS // CYCLES * cycle - 1], rel=1e-4)
    assert np.diff(sorted(losses)).min() > 1e-3  # so that no other epoch would do


# Averages
def test_swa_is_the_mean_of_the_weights(models):
    trained = zip(*(models[name].trainable_variables for name in ("swa-2", "cycle-1", "cycle-2")), strict=True)
    for average, first, second in trained:
        mean = (first.numpy().astype(np.float64) + second.numpy()) / 2
        np.testing.assert_allclose(average.numpy(), mean, rtol=1e-6, atol=1e-9)
        assert not np.array_equal(first.numpy(), second.numpy())


@pytest.mark.parametrize("name", ["swa-2", "ema"])
def test_statistics_of_averages_are_those_of_augmented_training_images(name, models, images):
    import keras

    model = keras.models.clone_model(models[name])
    model.set_weights(models[name].get_weights())
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    kept = [(layer.moving_mean.numpy(), layer.moving_variance.numpy()) for layer in norms]
    inputs = keras.Model(model.input, [layer.input for layer in norms])
    (x, y), script = images["train"], load_script("4.ResNet/resnet.py", BATCH_SIZE=32)
    colour = np.uint8(np.round(x.mean(axis=(0, 1, 2))))
    batches = script.Batches(x, np.eye(10, dtype=np.float32)[y], colour)
    batches.begin_epoch(EPOCHS)
    found = [[array.numpy() for array in inputs(batches[step][0], training=True)] for step in range(100 // 32)]
    assert len(norms) == 7 and len(found) == 3
    for number, (mean, variance) in enumerate(kept):
        arrays = [batch[number].astype(np.float64) for batch in found]
        expected = np.mean([array.mean(axis=(0, 1, 2)) for array in arrays], axis=0)
        np.testing.assert_allclose(mean, expected, rtol=1e-3, atol=1e-4)
        expected = np.mean([array.var(axis=(0, 1, 2)) for array in arrays], axis=0)
        np.testing.assert_allclose(variance, expected, rtol=1e-3, atol=1e-5)
    assert {layer.momentum for layer in norms} == {0.9}  # as in the other files


def test_without_batch_normalisation_nothing_is_refreshed():
    model = load_script("1.LeNet/lenet.py").build_model((32, 32, 3), 10, [0.0] * 3, [1.0] * 3)
    before = model.get_weights()
    refresh_statistics(model, iter([None]))  # no batch is looked at
    assert all(np.array_equal(first, second) for first, second in zip(before, model.get_weights(), strict=True))


def test_the_moving_average_follows_the_weights(images, tmp_path, monkeypatch):
    import keras

    script = load_script("1.LeNet/lenet.py", EPOCHS=2)
    monkeypatch.setattr(script, "CYCLES", 2, raising=False)
    monkeypatch.setattr(script, "EMA_DECAY", 0.3, raising=False)
    model = new_model(script, images)
    model.compile(keras.optimizers.SGD())
    model.optimizer.build(model.trainable_variables)
    callback = snapshots_of(script, images, tmp_path)
    for _ in range(2):  # by train(), and by Keras' fit
        callback.set_model(model)
    assert len(callback.variables) == len(model.trainable_variables)
    random = np.random.default_rng(0)
    expected = [variable.numpy() for variable in model.trainable_variables]
    for step in range(1, 6):
        model.optimizer.iterations.assign(step)
        decay = min(0.3, (1 + step) / (10 + step))
        for number, variable in enumerate(model.trainable_variables):
            variable.assign(random.normal(size=variable.shape))
            expected[number] = decay * expected[number] + (1 - decay) * variable.numpy()
        callback.on_train_batch_end(step)
    for average, array in zip(callback.variables, expected, strict=True):
        np.testing.assert_allclose(average.numpy(), array, rtol=1e-5, atol=1e-6)
    script.BN_IMAGES = 1
    callback.on_train_end()
    saved = keras_weights(tmp_path / "ema.h5")
    assert all(np.array_equal(first, a.numpy()) for first, a in zip(saved, callback.variables, strict=True))


# Comparison
def test_the_table_is_what_the_files_give(finished, models, images, run, tmp_path):
    folder, printed = finished
    record = json.loads((folder / "ensemble.json").read_text())
    predictions = {
        part: {name: np.asarray(model(images[part][0]), float) for name, model in models.items()}
        for part in ("validation", "test")
    }
    labels = {part: y for part, (_, y) in images.items()}
    last = {part: np.stack([found["cycle-1"], found["cycle-2"]]) for part, found in predictions.items()}
    weights = likelihood_weights(Predictions(last["validation"], labels["validation"]))
    folds = make_folds(labels["validation"])
    unseen = np.empty(last["validation"].shape[1:])
    for fold in range(FOLDS):
        own = folds == fold
        learnt = likelihood_weights(Predictions(last["validation"][:, ~own], labels["validation"][~own]))
        unseen[own] = np.tensordot(learnt, last["validation"][:, own], axes=1)
    expected = {
        "last snapshot": {part: found["cycle-2"] for part, found in predictions.items()},
        "last 2, equal weights": {part: stacked.mean(axis=0) for part, stacked in last.items()},
        "last 2, likelihood weights": {"validation": unseen, "test": np.tensordot(weights, last["test"], axes=1)},
        "last 2, SWA": {part: found["swa-2"] for part, found in predictions.items()},
        "EMA": {part: found["ema"] for part, found in predictions.items()},
        "single run": {part: found["single"] for part, found in predictions.items()},
    }
    assert list(record["methods"]) == list(expected)
    alone, p_values = expected["single run"]["test"].argmax(axis=1) == labels["test"], {}
    for name, outputs in expected.items():
        row = record["methods"][name]
        for part, output in outputs.items():
            right = output.argmax(axis=1) == labels[part]
            assert row[part]["accuracy"] == pytest.approx(right.mean(), abs=1e-9)
            given = output[np.arange(len(right)), labels[part]]
            assert row[part]["loss"] == pytest.approx(-np.log(np.maximum(given, 1e-7)).mean(), rel=1e-4)
        if name != "single run":
            right = outputs["test"].argmax(axis=1) == labels["test"]
            assert row["over_single_run"]["gain"] == pytest.approx(right.mean() - alone.mean())
            assert row["over_single_run"]["p"] == pytest.approx(mcnemar(right, alone))
            p_values[name] = row["over_single_run"]["p"]
        shown = next(line for line in printed.splitlines() if line.startswith((f"{name}  ", f"{name} *")))
        for part in ("validation", "test"):
            assert f"{100 * row[part]['accuracy']:.2f}" in shown and f"{row[part]['loss']:.4f}" in shown
    np.testing.assert_allclose(record["methods"]["last 2, likelihood weights"]["weights"], weights, atol=1e-4)
    highest = 0.0  # Holm: the smallest p times the number of rows, the next times one less, ...; never falling
    for left, name in zip(range(len(p_values), 0, -1), sorted(p_values, key=p_values.get), strict=True):
        highest = max(highest, min(1.0, left * p_values[name]))
        assert record["methods"][name]["over_single_run"]["adjusted_p"] == pytest.approx(highest)
    merits = {
        name: (row["validation"]["accuracy"], -row["validation"]["loss"]) for name, row in record["methods"].items()
    }
    assert merits[record["best_on_validation"]] == max(merits.values())
    assert f"\n{record['best_on_validation']} *" in printed
    assert (folder / "ensemble.png").read_bytes().startswith(b"\x89PNG")

    run("tools/results.py", tmp_path, "--add", folder / "ensemble.json", "--name", "snapshot")
    run("ensemble/voting.py", folder / "cycle-1.h5", folder / "cycle-2.h5", "--out", "voting")
    voting = json.loads((tmp_path / "voting" / "ensemble.json").read_text())["methods"]["soft voting"]
    assert voting["test"] == record["methods"]["last 2, equal weights"]["test"]


# Resume, and what is refused
class Killed(BaseException):
    pass


def test_a_run_killed_again_and_again_ends_as_an_unbroken_one(finished, run, lines, tmp_path, monkeypatch):
    """fsync comes between writing beside and renaming: stopped there, in a backup right after a snapshot; in ema.h5."""
    (tmp_path / "killed_at.py").write_text(KILLED_AT)
    folder, unbroken = tmp_path / "runs" / "a", finished[0]

    def is_left(snapshots, epochs):
        assert sorted(path.name for path in folder.glob("[!u]*.h5")) == snapshots
        with np.load(folder / "backup.npz") as backup:
            assert len(json.loads(str(backup["past"]))["epochs"]) == epochs

    # the first epoch's history and backup, the second's snapshot and history
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "ensemble"))
        run(tmp_path / "killed_at.py", 4, ROOT / SCRIPT, *COMMAND, status=-signal.SIGKILL)
    is_left(["cycle-1.h5"], 1)

    # a snapshot, three histories and backups, a snapshot, ema.h5
    written = []

    def fsync(file):
        written.append(file)
        if len(written) == 9:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(os, "fsync", fsync)
        lines(*COMMAND)
    is_left(["cycle-1.h5", "cycle-2.h5"], EPOCHS)

    assert lines(*COMMAND)[0] == 0
    assert {path.name for path in folder.iterdir()} == {path.name for path in unbroken.iterdir()}
    files = [path.relative_to(unbroken.parent) for path in unbroken.parent.rglob("*.h5")]
    assert len(files) == 6
    for file in files:
        arrays = zip(keras_weights(folder.parent / file), keras_weights(unbroken.parent / file), strict=True)
        assert all(np.array_equal(first, second) for first, second in arrays), file
    assert (folder / "swa-2.h5").read_bytes() == (unbroken / "swa-2.h5").read_bytes()
    for name in ("a", "a-single"):
        assert history(folder.with_name(name)) == history(unbroken.with_name(name))
    records = [json.loads((path / "ensemble.json").read_text()) for path in (folder, unbroken)]
    assert records[0]["methods"] == records[1]["methods"]


def test_averages_made_by_another_process_are_the_same_files(finished, lines, tmp_path):
    """After a kill right behind run.json, when the backup is still there."""
    unbroken = finished[0]
    for name in ("a", "a-single"):
        shutil.copytree(unbroken.with_name(name), tmp_path / "runs" / name)
        (tmp_path / "runs" / name / "backup.npz").touch()
    folder = tmp_path / "runs/a"
    for name in ("swa-2.h5", "ensemble.json", "ensemble.png"):
        (folder / name).unlink()
    assert lines(*COMMAND)[0] == 0
    assert {path.name for path in folder.iterdir()} == {path.name for path in unbroken.iterdir()}
    assert not (tmp_path / "runs/a-single/backup.npz").exists()
    assert (folder / "swa-2.h5").read_bytes() == (unbroken / "swa-2.h5").read_bytes()


def test_a_finished_run_stays_and_another_of_its_name_is_refused(finished, lines):
    folder, printed = finished
    cwd = folder.parent.parent
    before = {path: path.stat().st_mtime_ns for path in cwd.rglob("*") if path.is_file()}
    status, again, _ = lines(*COMMAND, cwd=cwd)
    assert status == 0 and "stays as it was" in again
    table = printed[printed.index("digits: 287") : printed.index("\nWritten to")]
    assert table in again
    status, _, line = lines(*COMMAND, "--ema-decay", 0.5, "--seed", 1, cwd=cwd)
    assert status == 2 and line.count("\n") == 1
    assert "runs/a is finished, but" in line and "EMA_DECAY was 0.9, is 0.5" in line and "SEED was 0, is 1" in line
    assert {path: path.stat().st_mtime_ns for path in cwd.rglob("*") if path.is_file()} == before


def test_a_finished_single_run_of_other_settings_is_refused_before_the_cycles(finished, lines, tmp_path):
    shutil.copytree(finished[0].with_name("a-single"), tmp_path / "runs/a-single")
    status, _, line = lines(*COMMAND, "--seed", 1)
    assert status == 2 and "runs/a-single is finished, but SEED was 0, is 1" in line
    assert not (tmp_path / "runs/a").exists()


def test_a_single_run_in_another_precision_is_not_compared_with_the_cycles(finished, lines, tmp_path):
    for name in ("a", "a-single"):
        shutil.copytree(finished[0].with_name(name), tmp_path / "runs" / name)
    (tmp_path / "runs/a/ensemble.json").unlink()
    file = tmp_path / "runs/a-single/run.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"precision": "mixed_float16"}))
    status, _, line = lines(*COMMAND)
    assert status == 2 and f"in their precision ({record['precision']}, mixed_float16): move one away" in line
    assert not (tmp_path / "runs/a/ensemble.json").exists()


BAD = [
    (("--architecture", "perceptron"), "ARCHITECTURE = 'perceptron' is no training script"),
    (("--cycles", 1), "CYCLES = 1 is not from 2 to 1000000"),
    (("--cycles", 3, "--epochs", 7), "EPOCHS = 7 is no multiple of CYCLES = 3"),
    (("--epochs", "ten"), "EPOCHS = 'ten' is not of the kind int"),
    (("--learning-rate", "nan"), "LEARNING_RATE = nan is not from"),
    (("--ema-decay", 1), "EMA_DECAY = 1.0 is not from 0 to 0.999999"),
    (("--bn-images", 0), "BN_IMAGES = 0 is not from 1"),
    (("--run", "../a"), "RUN = '../a' is not a plain name"),
    (("--schedule", "step"), "SCHEDULE = 'step' is not for snapshots"),
    (("--warmup", 2), "WARMUP = 2 is not for snapshots"),
    (("--test-flip", "yes"), "TEST_FLIP = 'yes' is not for snapshots"),
    (("--select", "best"), "SELECT = 'best'"),
    (("--architecture", "lenet", "--preprocess", "best"), "PREPROCESS = 'best' is not one of scale, standardise"),
    (("--hold-out", 30), "cross-validation needs 5 of each: give a larger --hold-out"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_settings_are_one_line(arguments, message, lines, tmp_path):
    status, _, line = lines("--data", "digits", *arguments)
    assert status == 2 and line.count("\n") == 1 and message in line, line
    assert line.startswith("snapshot.py: ") and not list(tmp_path.iterdir())


def test_a_setting_that_neither_has_is_argparses_two_lines(lines):
    status, _, message = lines("--data", "digits", "--cycels", 3)
    assert status == 2 and message.count("\n") == 2 and "unrecognized arguments: --cycels 3" in message


def test_a_script_is_found_by_name_and_by_path(tmp_path, monkeypatch):
    expected = ROOT / "4.ResNet/resnet.py"
    monkeypatch.chdir(tmp_path)
    for name in ("resnet", "4.ResNet/resnet.py", str(expected), os.path.relpath(expected)):
        assert snapshot.find_script(name) == expected


def test_help_shows_the_settings_and_where_the_others_are(lines):
    status, shown, _ = lines("--help")
    shown = " ".join(shown.split())
    assert status == 0
    for name in ("architecture", "cycles", "epochs", "learning-rate", "ema-decay", "bn-images", "run"):
        assert f"--{name}" in shown
    assert "Any setting of the training script may be given too (see its --help)" in shown
