"""One run on several machines: two processes on this one, with JAX, and the command that starts and watches them.

Two such processes take half a minute of a CPU: `make machines-test` has more of them than `make test`.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, load_script, run_script, write_small_script
from test_runs import history, same_weights, weights

ALL = "MACHINES_TEST" in os.environ
SCHEDULES = ("plateau", "step", "cosine", "tanh") if ALL else ("plateau",)  # plateau first, as in a process of its own
TOGETHER = "cluster/together.py"
TWO = ("--hosts", "localhost,localhost")
# 200 images do not divide by the batch, nor the 287 of validation by the devices; the plateau drops in every epoch
FEW = ("--data", "digits", "--limit", 200, "--batch-size", 64, "--precision", "float32", "--learning-rate", 0.01)
OWN = (*FEW, "--epochs", 3, "--patience", 1, "--milestones", 0.5, "--label-smoothing", 0.1, "--select", "best")
EVERY_SCHEDULE = f"""
import sys
import jax
from conftest import load_script
shutdown, jax.distributed.shutdown = jax.distributed.shutdown, lambda: None
for schedule in {SCHEDULES}:
    script = load_script("small.py")
    if schedule != "{SCHEDULES[0]}":
        script.join_processes = lambda *_: None  # they have met, and part after the last run
    own = ["--schedule", schedule, "--run", f"{{sys.argv[1]}}-{{schedule}}"]
    script.train(*script.read_settings([*sys.argv[2:], *own]))
if script.processes()[0] > 1:
    shutdown()
"""
KILLED_IN = """
import os, runpy, signal, sys
import numpy
number, epoch, script, *sys.argv[1:] = sys.argv[1:]
draw = numpy.random.default_rng
def default_rng(seed):
    if seed == (0, int(epoch), 1) and os.environ["KERAS_DISTRIBUTION_PROCESS_ID"] == number:
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(seed)
numpy.random.default_rng = default_rng
sys.argv[0] = script
runpy.run_path(script, run_name="__main__")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with small.py, and scripts that run it."""
    folder = tmp_path_factory.mktemp("machines")
    for name in ("tensorflow", "tensorboard"):
        (folder / f"{name}.py").write_text("raise ImportError('imported')\n")
    write_small_script(folder / "small.py", dropout=0.3)
    (folder / "every.py").write_text(EVERY_SCHEDULE.replace("small.py", str(folder / "small.py")))
    (folder / "killed_in.py").write_text(KILLED_IN)
    return folder


def run_on_jax(folder, script, *arguments, status=0):
    """Run a script in that folder, on JAX: quickly compiled, and without TensorFlow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_BACKEND", "jax")
        patch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT / 'tests'}")
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        return run_script(script, *arguments, cwd=folder, status=status)


@pytest.fixture(scope="module")
def trained(folder):
    """The same folder with runs of each schedule, by one process and by two."""
    run_on_jax(folder, folder / "every.py", "one", *OWN)
    done = run_on_jax(folder, TOGETHER, *TWO, folder / "every.py", "two", *OWN)
    assert done.stderr == ""
    assert done.stdout.count("runs/two-plateau: ") == 1  # the first process speaks for both
    return folder


@pytest.mark.xdist_group("machines")
def test_two_processes_train_as_one_does_with_every_schedule(trained):
    """With dropout, and with batch normalisation, whose averages are among the weights."""
    for schedule in SCHEDULES:
        one, two = (trained / f"runs/{name}-{schedule}" for name in ("one", "two"))
        assert {path.name for path in one.iterdir()} == {path.name for path in two.iterdir()}
        for first, second in zip(history(one), history(two), strict=True):
            for name, value in first.items():
                assert float(value) == pytest.approx(float(second[name]), rel=1e-4, abs=1e-6), (schedule, name)
        first, second = (weights(folder / "model.h5") for folder in (one, two))
        for name in first:
            np.testing.assert_allclose(first[name], second[name], rtol=1e-4, atol=1e-4, err_msg=f"{schedule} {name}")


@pytest.mark.xdist_group("machines")
def test_a_lost_process_ends_the_other_and_the_same_command_goes_on(trained):
    """To the same weights bit for bit. Without the first, JAX aborts the others; without another, the first refuses."""
    for number, epoch in ((0, 1), (1, 2)) if ALL else ((0, 1),):
        killed = (trained / "killed_in.py", number, epoch)
        command = (trained / "small.py", *OWN, "--schedule", "plateau", "--run", "broken")
        done = run_on_jax(trained, TOGETHER, *TWO, *killed, *command, status=2)
        line = f"together.py: process {number} on localhost is lost (signal SIGKILL); the same command goes on from the"
        assert done.stderr == f"{line} last finished epoch\n"
        assert len(history(trained / "runs/broken")) == epoch
    printed = run_on_jax(trained, TOGETHER, *TWO, *command).stdout
    assert f"from epoch {epoch + 1}" in printed
    assert history(trained / "runs/broken") == history(trained / "runs/two-plateau")
    assert same_weights(trained / "runs/broken/model.h5", trained / "runs/two-plateau/model.h5")


@pytest.mark.skipif(not ALL, reason="make machines-test")
@pytest.mark.xdist_group("machines")
def test_processes_that_would_train_different_runs_refuse(folder):
    """As one step of SLURM may start four runs, which differ in their seeds."""
    differ = """
import os, runpy, sys
sys.argv = ["small.py", *sys.argv[1:], "--seed", os.environ["KERAS_DISTRIBUTION_PROCESS_ID"]]
runpy.run_path("small.py", run_name="__main__")
"""
    (folder / "differ.py").write_text(differ)
    done = run_on_jax(folder, TOGETHER, *TWO, folder / "differ.py", *OWN, "--run", "differ", status=2)
    assert done.stderr.startswith("small.py: 2 processes are to train one run, but differ in settings, images, ")
    assert done.stderr.count("\n") == 1


NO_STARTER = ("KERAS_DISTRIBUTION_NUM_PROCESSES", "OMPI_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


@pytest.fixture
def started_by(monkeypatch):
    """`started_by(**variables)`: sets those of what started this process, and no others."""
    for name in NO_STARTER:
        monkeypatch.delenv(name, raising=False)

    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_variables


SLURM = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "3"}
MPIRUN = {"OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_RANK": "2"}
KERAS = {"KERAS_DISTRIBUTION_NUM_PROCESSES": "2", "KERAS_DISTRIBUTION_PROCESS_ID": "1"}
ALONE = {"KERAS_DISTRIBUTION_NUM_PROCESSES": "1"}


@pytest.mark.parametrize(
    ("variables", "count_and_number"),
    [
        ({}, (1, 0)),
        (SLURM, (4, 3)),
        (MPIRUN, (3, 2)),
        (KERAS, (2, 1)),
        (SLURM | MPIRUN, (3, 2)),  # mpirun starts its own by a step of SLURM
        (SLURM | KERAS, (2, 1)),
        (SLURM | ALONE, (1, 0)),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, (1, 0)),  # a job for four tasks, in whose script this is one
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, (1, 0)),  # srun --ntasks=1 in it
        ({"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "9", "SLURM_PROCID": "0"}, (1, 0)),
    ],
)
def test_the_processes_of_a_run_are_those_of_the_step(variables, count_and_number, started_by):
    started_by(**variables)
    assert load_script("1.LeNet/lenet.py").processes() == count_and_number


@pytest.mark.parametrize(
    "variables", [{"KERAS_DISTRIBUTION_NUM_PROCESSES": "two"}, KERAS | {"KERAS_DISTRIBUTION_PROCESS_ID": "2"}]
)
def test_numbers_that_do_not_fit_are_refused(variables, started_by):
    started_by(**variables)
    script = load_script("1.LeNet/lenet.py")
    with pytest.raises(script.InputError, match="is no number below KERAS_DISTRIBUTION_NUM_PROCESSES = '"):
        script.processes()


def test_the_parts_of_a_batch_are_the_batch(started_by):
    augmented = ("flip", "shift", "cutout", "mixup")
    script = load_script("1.LeNet/lenet.py", AUGMENT=augmented, BATCH_SIZE=12)
    random = np.random.default_rng(0)
    x, y = random.integers(256, size=(50, 32, 32, 3), dtype=np.uint8), np.eye(10, dtype=np.float32)[np.arange(50) % 10]
    whole = script.Batches(x, y, np.uint8([1, 2, 3]))[2]
    parts = []
    for number in "012":
        started_by(KERAS_DISTRIBUTION_NUM_PROCESSES="3", KERAS_DISTRIBUTION_PROCESS_ID=number)
        parts.append(script.Batches(x, y, np.uint8([1, 2, 3]))[2])
    for of_whole, of_parts in zip(whole, zip(*parts, strict=True), strict=True):
        assert [len(part) for part in of_parts] == [4, 4, 4]
        np.testing.assert_array_equal(np.concatenate(of_parts), of_whole)


def test_only_jax_trains_a_run_on_several_processes(started_by, tmp_path):
    started_by(**SLURM)
    script = load_script("1.LeNet/lenet.py")
    settings, _ = script.read_settings(["--data", "digits", "--batch-size", "32"])
    mend = "give KERAS_BACKEND=jax, or KERAS_DISTRIBUTION_NUM_PROCESSES=1 if each is a run of its own"
    with pytest.raises(script.InputError, match=f"^4 processes are to train one run, which tensorflow cannot; {mend}$"):
        script.train(settings, tmp_path / "a")


def test_transfer_learning_has_one_process(started_by, tmp_path):
    started_by(**KERAS)
    script = load_script("transfer/transfer.py")
    with pytest.raises(script.InputError, match="2 processes are to train one run, which only the other"):
        script.train({}, tmp_path / "a")


SCRIPTS = {  # in the place of a training script, to be watched
    "refuses": "print('refuses.py: no, and why', file=sys.stderr); sys.exit(2)",
    "one_refuses": "print('one.py: no', file=sys.stderr) if number == '1' else time.sleep(60); sys.exit(2)",
    "one_breaks": "None.x if number == '1' else time.sleep(60)",
    "waits": "print(os.getpid(), file=sys.stderr, flush=True); time.sleep(60)",
    "tells": "print(number, os.environ['KERAS_DISTRIBUTION_JOB_ADDRESSES'], sys.argv[1:])",
}


@pytest.fixture
def watched(tmp_path):
    """`watched(name, *arguments, hosts)`: what starts one of SCRIPTS together, as a command to run in tmp_path."""
    for name, text in SCRIPTS.items():
        number = "import os, sys, time\nnumber = os.environ['KERAS_DISTRIBUTION_PROCESS_ID']\n"
        (tmp_path / f"{name}.py").write_text(number + text)
    return lambda name, *arguments, hosts=TWO[1]: (TOGETHER, "--hosts", hosts, f"{name}.py", *arguments)


@pytest.mark.parametrize(
    ("script", "line"),
    [
        ("refuses", "refuses.py: no, and why"),
        ("one_refuses", "one.py: no"),
        (
            "one_breaks",
            "together.py: process 1 on localhost is lost (status 1: AttributeError: 'NoneType' object has no attribute"
            " 'x'); the same command goes on from the last finished epoch",
        ),
        ("missing", "together.py: missing.py is no training script; give one, such as 4.ResNet/resnet.py"),
    ],
)
def test_a_fault_is_one_line(script, line, watched, refused):
    began = time.monotonic()
    assert refused(*watched(script)) == line
    assert time.monotonic() - began < 30  # not when the other process ends


@pytest.mark.parametrize(("by", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)])
def test_processes_end_with_the_command_that_started_them(by, status, watched, tmp_path):
    command, *arguments = watched("waits", hosts="localhost")
    process = subprocess.Popen(
        [sys.executable, ROOT / command, *arguments],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
    )
    child = int(process.stderr.readline())
    process.send_signal(by)
    assert process.wait(30) == status
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and is_running(child):
        time.sleep(0.05)
    assert not is_running(child)
    process.stderr.close()


def is_running(process):
    """Whether there is a process of that number, which is no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().split(") ")[1][0] != "Z"
    except FileNotFoundError:
        return False


def test_other_hosts_are_reached_by_ssh(watched, run, tmp_path, monkeypatch):
    """A stand-in for ssh, which runs the command here."""
    (tmp_path / "bin").mkdir()
    ssh = tmp_path / "bin" / "ssh"
    ssh.write_text('#!/bin/sh\nfor last; do :; done\ncd /\necho "$5" >> "$LOG"\nexec sh -c "$last"\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    printed = run(*watched("tells", "--run", "a b", hosts="node1,node2")).stdout
    assert printed == "0 node1:29400 ['--run', 'a b']\n"
    assert sorted((tmp_path / "log").read_text().split()) == ["node1", "node2"]
