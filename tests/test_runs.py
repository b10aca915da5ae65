"""Whole runs of the training scripts, on the bundled digits: what they write, refuse, and resume."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from conftest import ROOT, SCRIPTS, load_script, run_script, write_small_script
from sklearn.metrics import accuracy_score

FEW = ("--limit", 128, "--batch-size", 64)
TINY = {  # what makes a network, or its training, small enough for a test
    "nin.py": FEW,
    "vgg.py": ("--depth", 11, *FEW),
    "resnet.py": ("--depth", 8),
    "wide_resnet.py": ("--depth", 10, "--width", 1, *FEW),
    "resnext.py": ("--cardinality", 2, "--group-width", 4, *FEW),
    "densenet.py": ("--depth", 10, "--growth-rate", 4, *FEW),
    "senet.py": ("--base", "resnet", "--depth", 8, *FEW),
    "alexnet.py": ("--limit", 32, "--batch-size", 32),
    "inception.py": ("--data", "few.npz", "--limit", 16, "--batch-size", 8),  # a few digits, see write_few_digits
}
QUICK = ("--data", "digits", "--epochs", 2)


def weights(path):
    """Every array of a model file, by name."""
    found = {}
    with h5py.File(path) as file:
        file.visititems(lambda name, node: found.update({name: node[()]}) if isinstance(node, h5py.Dataset) else None)
    assert found
    return found


def same_weights(first, second):
    first, second = weights(first), weights(second)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def history(folder):
    """The rows of history.csv, without what depends on the clock."""
    with (folder / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{name: value for name, value in row.items() if "second" not in name} for row in rows]


def write_few_digits(path):
    """Write of each class 5 digits to train on, of which one is held out, and 2 to test."""
    data = load_script("4.ResNet/resnet.py").load_data("digits", 5000)
    arrays = {}
    for part, count in (("train", 5), ("test", 2)):
        x, y = data[part]
        chosen = np.concatenate([np.flatnonzero(y == label)[:count] for label in range(10)])
        arrays |= {f"x_{part}": x[chosen], f"y_{part}": y[chosen]}
    np.savez(path, **arrays)


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in SCRIPTS])
def finished(request, tmp_path_factory):
    """A script copied alone into an empty folder and run there: the folder, the run's folder, what it printed."""
    alone = tmp_path_factory.mktemp("alone")
    shutil.copy(ROOT / request.param, alone)
    name = Path(request.param).name
    if "--data" in TINY.get(name, ()):
        write_few_digits(alone / "few.npz")
    done = run_script(alone / name, *QUICK, "--schedule", "cosine", *TINY.get(name, ()), "--run", "quick", cwd=alone)
    assert done.stderr == ""
    return alone / name, alone / "runs" / "quick", done.stdout


def test_a_script_alone_leaves_a_whole_run(finished):
    _, folder, _ = finished
    names = {"model.h5", "run.json", "history.csv", "curves.png", "predictions.npz", "tensorboard"}
    assert {path.name for path in folder.iterdir()} == names
    assert list(folder.glob("tensorboard/*/events*"))


def test_the_record_holds_every_setting_and_true_figures(finished):
    import keras

    script, folder, printed = finished
    record = json.loads((folder / "run.json").read_text())
    module = load_script(script)
    settings = set(re.findall(r"^([A-Z_]+) =", script.read_text().split("# Settings")[1].split("# Network")[0], re.M))
    assert set(record["settings"]) == settings
    tiny = TINY.get(script.name, ())
    given = dict(zip(tiny[::2], tiny[1::2], strict=True))
    assert record["settings"]["EPOCHS"] == 2
    assert record["settings"]["BATCH_SIZE"] == given.get("--batch-size", module.BATCH_SIZE)
    with np.load(folder / "predictions.npz") as predictions:
        for part in ("validation", "test"):
            probabilities, labels = predictions[f"{part}_probabilities"], predictions[f"{part}_labels"]
            assert record[part]["accuracy"] == pytest.approx(accuracy_score(labels, probabilities.argmax(axis=1)))
            loss = keras.losses.SparseCategoricalCrossentropy()(labels, probabilities)
            assert record[part]["loss"] == pytest.approx(float(loss), rel=1e-4)
            assert f"accuracy {record[part]['accuracy']:.2%}" in printed
        assert str(predictions["split"]) == record["split"] and str(predictions["model"]) == record["model"]
    held_out, test = (10, 20) if "--data" in given else (287, 360)
    assert record["images"] == {"train": given.get("--limit", 1150), "validation": held_out, "test": test}
    assert record["classes"] == 10
    assert record["seconds"] > 0 and record["images_per_second"] > 0
    assert record["precision"] == module.precision()


def test_the_model_file_gives_the_predictions_kept_beside_it(finished):
    import keras

    script, folder, _ = finished
    few = "--data" in TINY.get(script.name, ())
    data = load_script("4.ResNet/resnet.py").load_data(script.with_name("few.npz") if few else "digits", 5000)
    model = keras.models.load_model(folder / "model.h5", compile=False)
    with np.load(folder / "predictions.npz") as predictions:
        for part in ("validation", "test"):
            found = model.predict(data[part][0], verbose=0)
            np.testing.assert_allclose(found, predictions[f"{part}_probabilities"], atol=1e-5)
            assert np.array_equal(data[part][1], predictions[f"{part}_labels"])
    with h5py.File(folder / "model.h5") as file:
        assert "optimizer_weights" not in file and "training_config" not in file.attrs
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}  # whatever the training's precision


def test_the_history_has_a_row_an_epoch(finished):
    _, folder, _ = finished
    rows = history(folder)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    names = ("accuracy", "crossentropy", "loss")
    assert set(rows[0]) == {"epoch", "learning_rate", *names, *(f"val_{name}" for name in names)}


def test_the_history_has_the_loss_with_and_without_weight_decay(finished):
    """On validation: the recorded loss of the saved model, of SELECT last, is the last row's cross-entropy."""
    _, folder, _ = finished
    record, last = json.loads((folder / "run.json").read_text()), history(folder)[-1]
    if record["validation"]["loss"] < 3:  # else a network of two epochs gives labels less than the record's 1e-7
        assert float(last["val_crossentropy"]) == pytest.approx(record["validation"]["loss"], rel=2e-2)
        assert float(last["val_loss"]) > float(last["val_crossentropy"]) + 1e-3


def test_a_finished_run_is_left_as_it_is(finished, refused):
    script, folder, _ = finished
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    line = refused(script, *QUICK, "--run", "quick", cwd=script.parent)
    assert "runs/quick is finished" in line and "--run" in line
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_help_shows_every_comment(finished):
    script, _, _ = finished
    shown = " ".join(run_script(script, "--help", cwd=script.parent).stdout.split())
    section = script.read_text().split("# Settings\n")[1].split("# Network\n")[0]
    comments = re.findall(r"^([A-Z_]+) = .*?  # (.+)$", section, re.MULTILINE)
    assert len(comments) > 20
    for name, comment in comments:
        assert "--" + name.lower().replace("_", "-") in shown and comment in shown


@pytest.mark.parametrize("arguments", [("--epocs", 3), ("--epoch", 3), ("--epochs",), ("3",)])
def test_what_is_no_setting_is_argparses_two_lines(arguments, run):
    done = run("1.LeNet/lenet.py", *arguments, status=2)
    usage, line = done.stderr.splitlines()
    assert usage == "usage: lenet.py [--help] [--name value ...]"
    assert line.startswith("lenet.py: error: ") and str(arguments[0]) in line


BAD = [
    ("--epochs", "2.5", "EPOCHS = '2.5' is not a whole number from 1 to 10000"),
    ("--epochs", "0", "EPOCHS = '0' is not a whole number from 1 to 10000"),
    ("--epochs", "9999999999", "is not a whole number from 1 to 10000"),
    ("--batch-size", "many", "BATCH_SIZE = 'many' is not a whole number from 1"),
    ("--batch-size", "-1", "BATCH_SIZE = '-1' is not a whole number from 1"),
    ("--patience", "0", "PATIENCE = '0' is not a whole number from 1"),
    ("--warmup", "-1", "WARMUP = '-1' is not a whole number from 0"),
    ("--seed", "-1", "SEED = '-1' is not a whole number from 0"),
    ("--schedule", "linear", "SCHEDULE = 'linear' is not one of step, cosine, tanh, plateau"),
    ("--schedule", "", "SCHEDULE = '' is not one of"),
    (
        "--augment",
        "flip,shuffle",
        "is not any of flip, shift, rotate, zoom, shear, cutout, erase, mixup, cutmix, trivial,",
    ),
    ("--augment", "", "AUGMENT = .* is not any of"),
    ("--milestones", "0.5,2", "MILESTONES = '0.5,2' is not a number from 0"),
    ("--milestones", "a", "MILESTONES = 'a' is not a number from"),
    ("--momentum", "-0.1", "MOMENTUM = '-0.1' is not a number from 0"),
    ("--momentum", "1", "MOMENTUM = '1' is not a number from 0.0 to 0.999"),
    ("--label-smoothing", "nan", "LABEL_SMOOTHING = 'nan' is not a number from 0"),
    ("--weight-decay", "inf", "WEIGHT_DECAY = 'inf' is not a number from 0"),
    ("--learning-rate", "nan", "LEARNING_RATE = 'nan' is not a number from"),
    ("--learning-rate", "0", "LEARNING_RATE = '0' is not a number from"),
    ("--precision", "float64", "mixed_bfloat16"),
    ("--version", "3", "VERSION = '3' is not one of 1, 2"),
    ("--run", "../elsewhere", "plain name"),
    ("--run", "..", "plain name"),
]


@pytest.mark.parametrize(("option", "text", "message"), BAD)
def test_a_bad_value_is_one_line_that_says_what_is_allowed(option, text, message):
    script = load_script("4.ResNet/resnet.py")
    with pytest.raises(script.InputError) as refused:
        script.read_settings([f"{option}={text}"])
    line = str(refused.value)
    assert "\n" not in line and re.search(message.replace("(", r"\(").replace(")", r"\)"), line), line
    assert option.strip("-").upper().replace("-", "_") in line


def test_a_bad_value_ends_the_script_with_one_line_and_status_2(refused, tmp_path):
    line = refused("7.DenseNet/densenet.py", "--data", "digits", "--compression", 1.5)
    assert line == "densenet.py: COMPRESSION = '1.5' is not a number from 0.001 to 1.0"
    assert refused("4.ResNet/resnet.py", *QUICK, "--depth", 21).startswith("resnet.py: DEPTH = 21 is not 6n + 2")


EDITED = [("EPOCHS", "ten"), ("EPOCHS", None), ("EPOCHS", 0.5), ("EPOCHS", (2,)), ("BATCH_SIZE", 64.0), ("AUGMENT", 3)]
EDITED += [("SCHEDULE", None), ("SCHEDULE", ("step",)), ("MOMENTUM", "high"), ("MOMENTUM", (0.9,)), ("VERSION", 3)]
EDITED += [("MILESTONES", (0.5, "late")), ("DATA", None), ("RUN", 5), ("RUN", None), ("LEARNING_RATE", [0.1])]


@pytest.mark.parametrize(("name", "value"), EDITED)
def test_a_constant_edited_wrongly_is_one_line(name, value):
    script = load_script("4.ResNet/resnet.py", **{name: value})
    with pytest.raises(script.InputError, match=f"^{name} = .* is not "):
        script.read_settings([])


@pytest.mark.parametrize("line", ["SEED = 7 # of the weights", "SEED=7  # of the weights", "SEED = 7"])
def test_a_setting_that_no_option_could_be_made_of_is_one_line(line, refused, tmp_path):
    text = (ROOT / "1.LeNet/lenet.py").read_text()
    (tmp_path / "lenet.py").write_text(re.sub("^SEED = .+$", line, text, flags=re.MULTILINE))
    assert f"the line {line} needs the form NAME = value  # comment" in refused(tmp_path / "lenet.py", *QUICK)


def test_a_model_whose_record_is_gone_is_not_overwritten(refused, tmp_path):
    folder = tmp_path / "runs/a"
    folder.mkdir(parents=True)
    (folder / "model.h5").write_text("a model")
    assert "runs/a holds a model without its run.json" in refused("1.LeNet/lenet.py", *QUICK, "--run", "a")
    assert (folder / "model.h5").read_text() == "a model"


def test_overrides_take_the_type_of_their_setting():
    arguments = ["--augment=none", "--milestones=0.3,0.6,0.8", "--learning-rate=1", "--data=a/b.npz"]
    script = load_script("4.ResNet/resnet.py")
    settings, folder = script.read_settings(arguments)
    assert settings["AUGMENT"] == () and settings["MILESTONES"] == (0.3, 0.6, 0.8)
    assert type(settings["LEARNING_RATE"]) is float and settings["LEARNING_RATE"] == script.LEARNING_RATE == 1
    assert str(folder) == "runs/resnet-b-learning_rate-1-milestones-0.3_0.6_0.8-augment-none"
    vars(script).update(LEARNING_RATE=1, MOMENTUM=0, MILESTONES=0.5, VERSION="2", AUGMENT="flip", EPOCHS="3")
    settings, _ = script.read_settings([])  # as one may write them
    assert type(settings["MOMENTUM"]) is float and settings["MILESTONES"] == (0.5,) and settings["VERSION"] == 2
    assert settings["AUGMENT"] == ("flip",) and settings["EPOCHS"] == 3
    settings, _ = script.read_settings(["--learning-rate=0.5", "--milestones=none"])
    assert settings["LEARNING_RATE"] == 0.5 and settings["MILESTONES"] == ()
    settings, _ = script.read_settings(["--augment=flip,cutout"])  # of what is now an empty tuple
    assert settings["AUGMENT"] == ("flip", "cutout")


def test_a_batch_larger_than_the_data_is_refused(refused):
    assert "BATCH_SIZE = 2000" in refused("1.LeNet/lenet.py", *QUICK, "--batch-size", 2000)


def test_a_loss_that_is_not_a_number_stops_the_run_with_one_line(refused, tmp_path):
    line = refused("1.LeNet/lenet.py", *QUICK, "--learning-rate", 900, "--run", "wild")
    assert re.search("loss is (nan|inf) in epoch 1; lower the learning rate, or warm up", line)
    assert not list((tmp_path / "runs" / "wild").glob("[!t]*"))  # nothing but TensorBoard's log


KILLED_AT = """
import os, runpy, signal, sys
moment, script, *sys.argv[1:] = sys.argv[1:]
real, count = os.fsync, 0
def fsync(file):
    global count
    count += 1
    if count == int(moment):
        os.kill(os.getpid(), signal.SIGKILL)
    real(file)
os.fsync = fsync
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""


def test_a_run_killed_again_and_again_ends_as_an_unbroken_one(run, tmp_path):
    """fsync comes between writing beside and renaming: kill -9 there, in backups, histories and results."""
    every = ("--augment", "flip,shift,rotate,cutout,mixup,cutmix", "--select", "best")
    command = ("--data", "digits", "--epochs", 3, *every, "--schedule", "plateau", "--patience", 1)
    script = write_small_script(tmp_path / "small.py", dropout=0.3)
    run(script, *command, "--run", "unbroken")
    (tmp_path / "killed_at.py").write_text(KILLED_AT)
    folder = tmp_path / "runs" / "broken"
    # the first history; the second; the second backup; the model (after the last epoch's two files); the record
    for moment, epochs_kept in ((1, None), (3, 1), (2, 1), (5, 3), (4, 3)):
        run(tmp_path / "killed_at.py", moment, script, *command, "--run", "broken", status=-signal.SIGKILL)
        assert not (folder / "run.json").exists()
        if epochs_kept is None:
            assert not (folder / "backup.npz").exists()
        else:
            with np.load(folder / "backup.npz") as backup:
                assert len(json.loads(str(backup["past"]))["epochs"]) == epochs_kept
    run(script, *command, "--run", "broken")
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "runs/unbroken").iterdir()}
    assert same_weights(folder / "model.h5", tmp_path / "runs/unbroken/model.h5")
    assert history(folder) == history(tmp_path / "runs/unbroken")


def test_ctrl_c_then_the_same_command_goes_on_and_another_is_refused(run, refused, tmp_path):
    command = ("--data", "digits", "--epochs", 30, "--schedule", "tanh", "--warmup", 1, "--run", "stopped")
    process = subprocess.Popen(
        [sys.executable, ROOT / "1.LeNet/lenet.py", *map(str, command)],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
    )
    folder = tmp_path / "runs/stopped"
    while not (folder / "backup.npz").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, message = process.communicate()
    assert process.returncode == 130 and "goes on" in message and "Traceback" not in message
    stopped_at = len(history(folder))
    assert 1 <= stopped_at < 30
    line = refused("1.LeNet/lenet.py", *command, "--learning-rate", 0.02, "--seed", 1)
    assert "LEARNING_RATE was 0.01, is 0.02" in line and "SEED was 0, is 1" in line and "EPOCHS" not in line
    printed = run("1.LeNet/lenet.py", *command).stdout
    assert f"from epoch {stopped_at + 1}" in printed
    run("1.LeNet/lenet.py", *command[:-1], "unbroken")
    assert same_weights(folder / "model.h5", tmp_path / "runs/unbroken/model.h5")
    assert history(folder) == history(tmp_path / "runs/unbroken")


def test_what_a_run_killed_right_after_its_record_left_goes_and_nothing_else(refused, tmp_path):
    folder = tmp_path / "runs/a"
    folder.mkdir(parents=True)
    for name in ("run.json", "model.h5", "backup.npz", "features.npz", "notes.txt"):
        (folder / name).write_text(name)
    assert "runs/a is finished and stays as it is" in refused("1.LeNet/lenet.py", *QUICK, "--run", "a")
    left = {path.name: path.read_text() for path in folder.iterdir()}
    assert left == {name: name for name in ("run.json", "model.h5", "notes.txt")}


def test_a_folder_is_trained_in_by_one_process_at_a_time(refused, tmp_path):
    command = ("1.LeNet/lenet.py", "--data", "digits", "--epochs", "9999", "--run", "a")
    process = subprocess.Popen(
        [sys.executable, ROOT / command[0], *command[1:]], cwd=tmp_path, stdout=subprocess.DEVNULL
    )
    folder = tmp_path / "runs/a"
    while not (folder / "backup.npz").exists():
        assert process.poll() is None
        time.sleep(0.02)
    assert "runs/a is in training by another process" in refused(*command)
    assert process.poll() is None
    process.kill()
    process.wait()
    assert "EPOCHS was 9999, is 3" in refused(*command, "--epochs", 3)  # no lock is left


def test_a_backup_that_cannot_be_used_and_a_folder_that_cannot_be_made_are_one_line(run, refused, tmp_path):
    command = ("--data", "digits", "--epochs", 2, "--run", "a")
    (tmp_path / "killed_at.py").write_text(KILLED_AT)
    script, backup = write_small_script(tmp_path / "small.py"), tmp_path / "runs/a/backup.npz"
    run(tmp_path / "killed_at.py", 3, script, *command, status=-signal.SIGKILL)
    whole = backup.read_bytes()
    edited = tmp_path / "edited.py"
    edited.write_text(script.read_text().replace("Conv2D(8,", "Conv2D(9,"))
    for content, with_script in ((whole[:-100], script), (b"", script), (whole, edited)):
        backup.write_bytes(content)
        line = refused(with_script, *command)
        assert "runs/a/backup.npz is damaged or of another network; remove it" in line
        assert backup.read_bytes() == content
    with np.load(backup) as arrays:
        kept = dict(arrays)
    past = json.loads(str(kept["past"]))
    others = ("CYCLES", 5, "CYCLES was 5, is None"), ("precision", "x", "precision was x, is ")
    for name, value, message in (*others, ("backend", "jax", "backend was jax, is tensorflow")):
        changed = past | {"settings": past["settings"] | {name: value}}
        np.savez(backup, **kept | {"past": json.dumps(changed)})
        assert message in refused(script, *command)
    shutil.rmtree(tmp_path / "runs")
    (tmp_path / "runs").write_text("")
    line = refused(script, *command)
    assert "runs" in line and "when that is mended, the same command goes on" in line


def test_limit_takes_that_many_training_images_and_leaves_the_others(run, tmp_path):
    for name, limit in (("few", 64), ("all", 0)):
        run("1.LeNet/lenet.py", *QUICK, "--limit", limit, "--batch-size", 64, "--run", name)
    few, whole = (json.loads((tmp_path / f"runs/{name}/run.json").read_text()) for name in ("few", "all"))
    assert few["images"] == {"train": 64, "validation": 287, "test": 360} and whole["images"]["train"] == 1150
    assert few["split"] == whole["split"]


def test_without_git_a_run_has_no_commit(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    run("1.LeNet/lenet.py", *QUICK, "--run", "a")
    assert json.loads((tmp_path / "runs/a/run.json").read_text())["git_commit"] is None


ONE_STEP = """
import json, sys
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras, numpy as np
from conftest import load_script
keras.utils.set_random_seed(0)
draw = np.random.default_rng(0)
x, y = draw.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8), np.eye(10, dtype=np.float32)[draw.integers(0, 10, 8)]
strategies = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
results = {}
for script, settings in json.loads(sys.argv[1]):
    module, start, losses, ends = load_script(script, **settings), None, [], []
    for strategy in strategies:
        with strategy.scope():
            model = module.build_model((32, 32, 3), 10, [125.0] * 3, [4000.0] * 3)
            for layer in model.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = strategy is strategies[1]  # as train does
            optimizer = keras.optimizers.SGD(0.01, 0.9, nesterov=True)
            model.compile(optimizer, "categorical_crossentropy", run_eagerly=True)
        start = start or model.get_weights()
        model.set_weights(start)
        losses += model.fit(tf.data.Dataset.from_tensors((x, y)), shuffle=False, verbose=0).history["loss"]
        ends.append(model.get_weights())
    difference, change = (
        [float(np.linalg.norm(a - b)) for a, b in zip(ends[0], other, strict=True)] for other in (ends[1], start)
    )
    results[script] = losses, difference, change
print(json.dumps(results))
"""


def test_one_step_of_every_network_is_the_same_on_two_devices(tmp_path):
    """The loss, and each weight's change: that of a bias before batch normalisation is rounding, so not relative."""
    networks = {
        "1.LeNet/lenet.py": {},
        "2.NIN/nin.py": {"DROPOUT": 0.0},
        "3.VGG/vgg.py": {"DEPTH": 11, "DROPOUT": 0.0},
        "4.ResNet/resnet.py": {"DEPTH": 8, "VERSION": 1},
        "5.WideResNet/wide_resnet.py": {"DEPTH": 10, "WIDTH": 1},
        "6.ResNeXt/resnext.py": {"CARDINALITY": 2, "GROUP_WIDTH": 4},
        "7.DenseNet/densenet.py": {"DEPTH": 10, "GROWTH_RATE": 8},
        "8.SENet/senet.py": {"CARDINALITY": 2, "GROUP_WIDTH": 4},
        "9.AlexNet/alexnet.py": {"DROPOUT": 0.0},
        "10.Inception/inception.py": {"DROPOUT": 0.0},
    }
    assert list(networks) == SCRIPTS
    command = [sys.executable, "-c", ONE_STEP, json.dumps(list(networks.items()))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    assert list(results) == SCRIPTS
    for script, ((one, two), differences, changes) in results.items():
        assert one == pytest.approx(two, rel=1e-4), script
        assert max(changes) > 0.01, script
        for difference, change in zip(differences, changes, strict=True):
            assert difference < 0.05 * change + 1e-4, (script, differences, changes)


def test_select_best_keeps_the_weights_of_the_best_epoch(run, tmp_path):
    command = ("--data", "digits", "--epochs", 6, "--learning-rate", 0.1, "--precision", "float32", "--select", "best")
    run("1.LeNet/lenet.py", *command, "--run", "a")
    record = json.loads((tmp_path / "runs/a/run.json").read_text())
    best = max(float(row["val_accuracy"]) for row in history(tmp_path / "runs/a"))
    assert record["validation"]["accuracy"] == pytest.approx(best, abs=1e-6)


def test_a_test_flip_averages_an_image_and_its_mirror_image(run, tmp_path):
    import keras

    command = ("1.LeNet/lenet.py", *QUICK, "--precision", "float32", "--run")
    run(*command, "plain")
    run(*command, "flip", "--test-flip", "yes")
    plain, flip = (keras.models.load_model(tmp_path / f"runs/{it}/model.h5", compile=False) for it in ("plain", "flip"))
    x, _ = load_script("1.LeNet/lenet.py").load_data("digits", 5000)["test"]
    expected = (plain.predict(x, verbose=0) + plain.predict(x[:, :, ::-1].copy(), verbose=0)) / 2
    np.testing.assert_allclose(flip.predict(x, verbose=0), expected, atol=1e-6)
    np.testing.assert_allclose(
        np.load(tmp_path / "runs/flip/predictions.npz")["test_probabilities"], expected, atol=1e-6
    )
    records = [json.loads((tmp_path / f"runs/{it}/run.json").read_text()) for it in ("plain", "flip")]
    assert records[0]["parameters"] == records[1]["parameters"] == plain.count_params()


def test_a_small_network_learns_the_digits(run, tmp_path):
    run("1.LeNet/lenet.py", "--data", "digits", "--epochs", 15, "--augment", "shift", "--run", "a")
    assert json.loads((tmp_path / "runs/a/run.json").read_text())["test"]["accuracy"] > 0.85
