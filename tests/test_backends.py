"""Training on TensorFlow and on JAX, on one device and on two: rates, batches, resumes, files, and warnings."""

import json
import os
import signal
from contextlib import nullcontext

import numpy as np
import pytest
from conftest import ROOT, load_script, run_script, write_small_script
from test_runs import KILLED_AT, QUICK, history, same_weights, weights

SCHEDULES = ("step", "cosine", "tanh", "plateau")
TWO_DEVICES = {  # lines that make two logical devices of the CPU
    "tensorflow": """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
""",
    "jax": """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
""",
}


@pytest.fixture(params=["tensorflow", "jax"])
def backend(request, monkeypatch):
    """The backend of the scripts that the test runs, which find conftest.py."""
    if request.param == "jax":
        by_jax_quickly(monkeypatch)
    return request.param


def by_jax_quickly(monkeypatch):
    """Have the scripts that the test runs train on JAX, of which compiling takes the most time."""
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))


@pytest.fixture(scope="module")
def by_jax(tmp_path_factory):
    """The folder of a finished run on JAX, where an import of TensorFlow or of TensorBoard fails."""
    folder = tmp_path_factory.mktemp("by_jax")
    for name in ("tensorflow", "tensorboard"):
        (folder / f"{name}.py").write_text("raise ImportError('imported')\n")
    with pytest.MonkeyPatch.context() as patch:
        by_jax_quickly(patch)
        patch.setenv("PYTHONPATH", str(folder))
        small = write_small_script(folder / "small.py", dropout=0.3)
        run_script(small, *QUICK, "--test-flip", "yes", "--run", "a", cwd=folder)
        done = run_script("1.LeNet/lenet.py", *QUICK, "--run", "b", cwd=folder)
    assert done.stderr == ""
    return folder


@pytest.mark.xdist_group("by_jax")
def test_a_run_on_jax_needs_no_tensorflow(by_jax):
    folder = by_jax / "runs/b"
    names = {"model.h5", "run.json", "history.csv", "curves.png", "predictions.npz"}
    assert {path.name for path in folder.iterdir()} == names
    record = json.loads((folder / "run.json").read_text())
    assert record["backend"] == "jax" and set(record["versions"]) == {"python", "jax", "keras", "numpy"}


@pytest.mark.xdist_group("by_jax")
def test_a_model_of_jax_predicts_the_same_on_tensorflow(by_jax):
    import keras

    assert keras.backend.backend() == "tensorflow"
    data = load_script("4.ResNet/resnet.py").load_data("digits", 5000)
    for name in ("a", "b"):
        model = keras.models.load_model(by_jax / f"runs/{name}/model.h5", compile=False)
        with np.load(by_jax / f"runs/{name}/predictions.npz") as predictions:
            for part in ("validation", "test"):
                found = model.predict(data[part][0], verbose=0)
                np.testing.assert_allclose(found, predictions[f"{part}_probabilities"], atol=1e-5)


@pytest.fixture(scope="module")
def by_tensorflow(tmp_path_factory):
    """The folder of a finished run on TensorFlow."""
    folder = tmp_path_factory.mktemp("by_tensorflow")
    run_script("1.LeNet/lenet.py", *QUICK, "--run", "c", cwd=folder)
    return folder


@pytest.mark.xdist_group("by_jax")
def test_models_of_both_backends_are_members_on_either(by_jax, by_tensorflow, backend, run, tmp_path):
    """Predicted anew on this backend, from copies without what was kept beside them."""
    models = {"a": by_jax / "runs/a", "b": by_jax / "runs/b", "c": by_tensorflow / "runs/c"}
    for name, folder in models.items():
        (tmp_path / f"{name}.h5").write_bytes((folder / "model.h5").read_bytes())
    run("ensemble/voting.py", *(f"{name}.h5" for name in models), "--data", "digits", "--out", "voting")
    for name, folder in models.items():
        with np.load(folder / "predictions.npz") as there, np.load(tmp_path / f"{name}.h5.predictions.npz") as here:
            for part in ("validation", "test"):
                field = f"{part}_probabilities"
                np.testing.assert_allclose(here[field], there[field], atol=1e-5)


@pytest.mark.xdist_group("by_jax")
def test_what_needs_tensorflow_says_so(by_tensorflow, refused, run, tmp_path, monkeypatch):
    models = ("a.h5", "b.h5")
    for name in models:
        (tmp_path / name).write_bytes((by_tensorflow / "runs/c/model.h5").read_bytes())
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    run("ensemble/voting.py", *models, "--data", "digits", "--out", "voting")
    line = refused("ensemble/snapshot.py", "--data", "digits")
    assert line == "snapshot.py: KERAS_BACKEND = 'jax': only TensorFlow lets a run average its weights at every step"
    line = refused("ensemble/export.py", "voting/ensemble.json", "--method", "soft voting", "--out", "e.keras")
    assert line.startswith("export.py: only TensorFlow computes in float64 and writes .onnx")


def test_two_devices_train_as_one_does_with_every_schedule(backend, run, tmp_path):
    """With batch normalisation, a plateau that drops in every epoch, and numbers of images that do not divide: 200 by
    the batch, and the 287 of validation, or the 33 of its last batch, by the devices."""
    every = f"""
import sys
from conftest import load_script
for schedule in {SCHEDULES}:
    script = load_script("small.py")
    own = ["--schedule", schedule, "--run", f"{{sys.argv[1]}}-{{schedule}}"]
    script.train(*script.read_settings([*sys.argv[2:], *own]))
"""
    every = every.replace("small.py", str(write_small_script(tmp_path / "small.py")))
    (tmp_path / "one.py").write_text(every)
    (tmp_path / "two.py").write_text(TWO_DEVICES[backend] + every)
    few = ("--limit", 200, "--batch-size", 64, "--precision", "float32", "--learning-rate", 0.01)
    own = ("--data", "digits", *few, "--epochs", 3, "--patience", 1, "--milestones", 0.5, "--label-smoothing", 0.1)
    for name in ("one", "two"):
        run(tmp_path / f"{name}.py", name, *own)
    for schedule in SCHEDULES:
        one, two = (tmp_path / f"runs/{name}-{schedule}" for name in ("one", "two"))
        for first, second in zip(history(one), history(two), strict=True):
            for name, value in first.items():
                assert float(value) == pytest.approx(float(second[name]), rel=1e-4, abs=1e-6), (schedule, name)
        first, second = (weights(folder / "model.h5") for folder in (one, two))
        for name in first:
            np.testing.assert_allclose(first[name], second[name], rtol=1e-4, atol=1e-4, err_msg=f"{schedule} {name}")


def test_a_batch_that_two_devices_cannot_share_is_refused(tmp_path, monkeypatch):
    script = load_script("1.LeNet/lenet.py")
    settings, _ = script.read_settings(["--data", "digits", "--batch-size", "33"])
    monkeypatch.setattr(script, "all_devices", lambda: (nullcontext(), 2))
    with pytest.raises(script.InputError, match="BATCH_SIZE = 33 is no multiple of 2, the number of devices"):
        script.train(settings, tmp_path / "a")


@pytest.mark.parametrize(("backend", "devices"), [("tensorflow", 2), ("jax", 1), ("jax", 2)], indirect=["backend"])
def test_a_run_killed_and_resumed_ends_as_an_unbroken_one(backend, devices, run, tmp_path, monkeypatch):
    if devices == 1:  # once with all that JAX does
        monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS")
    killed = KILLED_AT if devices == 1 else TWO_DEVICES[backend] + KILLED_AT
    (tmp_path / "killed_at.py").write_text(killed)
    script = write_small_script(tmp_path / "small.py", dropout=0.3)
    command = (*QUICK, "--limit", 200, "--precision", "float32", "--schedule", "plateau", "--select", "best")
    never = 10**6
    run(tmp_path / "killed_at.py", never, script, *command, "--run", "unbroken")
    run(tmp_path / "killed_at.py", 3, script, *command, "--run", "broken", status=-signal.SIGKILL)
    printed = run(tmp_path / "killed_at.py", never, script, *command, "--run", "broken").stdout
    assert "from epoch 2" in printed
    assert history(tmp_path / "runs/broken") == history(tmp_path / "runs/unbroken")
    assert same_weights(tmp_path / "runs/broken/model.h5", tmp_path / "runs/unbroken/model.h5")


RATES = """
import json, sys
import keras, numpy as np
from conftest import load_script

def values(model):
    return np.concatenate([variable.numpy().ravel() for variable in model.trainable_variables])

class Watch(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self.keep()

    def keep(self):
        twin.set_weights(self.model.get_weights())
        self.now = values(twin)

    def on_train_batch_end(self, batch, logs=None):
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # during an epoch the weights are elsewhere
        before = self.now
        twin.train_on_batch(*seen[self.epoch, batch])  # at a rate of 1 the weights change by the gradient
        gradient = before - values(twin)
        self.keep()
        change = before - self.now
        rate = float(change @ gradient / (gradient @ gradient))
        found.append([rate, float(np.linalg.norm(change - rate * gradient) / np.linalg.norm(rate * gradient + 1e-12))])

for schedule in ("step", "cosine", "tanh", "plateau"):
    script = load_script(sys.argv[1])
    settings, folder = script.read_settings([*sys.argv[2:], "--schedule", schedule, "--run", schedule])

    class Recorded(script.Batches):
        def __getitem__(self, step):
            seen[self.epoch, step] = super().__getitem__(step)
            return seen[self.epoch, step]

    data = script.load_data("digits", 5000)
    x, y = (array[: script.LIMIT] for array in data["train"])
    mean, variance = script.colour_moments(x)
    seen, found = {}, []
    batches = Recorded(x, np.eye(10, dtype=np.float32)[y], np.uint8(np.round(mean)))
    twin = script.build_model((32, 32, 3), 10, mean, variance)
    twin.compile(keras.optimizers.SGD(1.0), "categorical_crossentropy", jit_compile=False)
    script.train(settings, folder, data, callbacks=[Watch()], batches=batches)
    print(json.dumps(found))
"""


def test_the_batches_and_rates_that_moved_the_weights_are_the_planned_ones(backend, run, tmp_path):
    """Without momentum and decay a step is the rate times the gradient, which is taken here from the batch planned."""
    (tmp_path / "rates.py").write_text(RATES)
    few = ("--limit", 128, "--batch-size", 32, "--epochs", 4, "--momentum", 0, "--weight-decay", 0)
    own = ("--warmup", 1, "--patience", 1, "--milestones", 0.5, "--drop", 0.5)
    own += ("--learning-rate", 0.01, "--precision", "float32")
    small = write_small_script(tmp_path / "small.py")
    printed = run(tmp_path / "rates.py", small, "--data", "digits", *few, *own).stdout
    found = dict(zip(SCHEDULES, (json.loads(line) for line in printed.splitlines() if line[0] == "["), strict=True))
    after = {
        "step": lambda t: 0.5 if t >= 0.5 else 1.0,
        "cosine": lambda t: (1 + np.cos(np.pi * t)) / 2,
        "tanh": lambda t: (1 - np.tanh(-6 + 9 * t)) / 2,
    }
    expected = {
        name: [0.01 * (step / 4 if step < 4 else formula((step - 4) / 12)) for step in range(16)]
        for name, formula in after.items()
    }
    losses = [float(row["val_crossentropy"]) for row in history(tmp_path / "runs/plateau")]
    drops = [sum(losses[past] >= min(losses[:past]) for past in range(1, epoch)) for epoch in range(4)]
    expected["plateau"] = [0.01 * 0.5 ** drops[step // 4] for step in range(16)]
    for name, rates in expected.items():
        rate, rest = np.transpose(found[name])
        np.testing.assert_allclose(rate, rates, rtol=1e-2, atol=1e-6, err_msg=name)
        assert max(rest[np.array(rates) > 1e-4]) < 0.02, name  # of another batch it would be about 1
        rows = history(tmp_path / "runs" / name)
        np.testing.assert_allclose([float(row["learning_rate"]) for row in rows], rates[3::4], rtol=1e-5)


def test_a_backend_that_is_none_or_is_not_installed_is_one_line(refused, tmp_path, monkeypatch):
    for name in ("numpy", "jaxx", ""):
        monkeypatch.setenv("KERAS_BACKEND", name)
        line = refused("1.LeNet/lenet.py", *QUICK)
        assert line == f"KERAS_BACKEND = {name!r}: give one of tensorflow, jax, torch that is installed"
    monkeypatch.setenv("KERAS_BACKEND", "jaxx")
    assert "Keras with KERAS_BACKEND = 'jaxx' cannot be imported" in refused("htd/compare.py", "--epochs", 1)


@pytest.fixture
def nvidia_smi(tmp_path, monkeypatch):
    """A function that puts a stand-in for the driver's nvidia-smi first in the PATH, with this exit status."""

    def with_status(status):
        stand_in = tmp_path / "bin/nvidia-smi"
        stand_in.parent.mkdir(exist_ok=True)
        stand_in.write_text(f"#!/bin/sh\necho a GPU\nexit {status}\n")
        stand_in.chmod(0o755)
        monkeypatch.setenv("PATH", f"{stand_in.parent}{os.pathsep}{os.environ['PATH']}")

    return with_status


IDLE = "nvidia-smi finds a GPU, but {} does not: this run goes on on the CPU; for the next, pip install {}\n"


def test_a_gpu_that_the_backend_does_not_see_is_told(nvidia_smi, run, tmp_path, capfd, monkeypatch):
    nvidia_smi(0)
    done = run("1.LeNet/lenet.py", *QUICK, "--run", "a")
    assert done.stderr == IDLE.format("tensorflow", '"tensorflow[and-cuda]"')
    assert (tmp_path / "runs/a/run.json").exists()
    script = load_script("1.LeNet/lenet.py", BACKEND="jax", gpus=lambda: [])
    script.warn_of_idle_gpu()
    assert capfd.readouterr().err == IDLE.format("jax", '"jax[cuda13]"')


@pytest.mark.parametrize("hidden", ["CUDA_VISIBLE_DEVICES=", "CUDA_VISIBLE_DEVICES=-1", "JAX_PLATFORMS=cpu"])
def test_nobody_is_told_of_a_gpu_that_is_hidden_or_is_not_there(hidden, nvidia_smi, capfd, monkeypatch):
    script = load_script("1.LeNet/lenet.py")
    nvidia_smi(9)
    script.warn_of_idle_gpu()
    nvidia_smi(0)
    with monkeypatch.context() as patch:
        patch.setenv(*hidden.split("="))
        script.warn_of_idle_gpu()
    assert capfd.readouterr() == ("", "")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # as a cluster sets it
    script.warn_of_idle_gpu()
    assert "nvidia-smi finds a GPU" in capfd.readouterr().err
