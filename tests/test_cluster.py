"""cluster/: many runs by one command, on this machine; mostly of a script that counts, and leaves what others do."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT
from test_htd import processes_with

from cluster import drive, process
from cluster.engines import here, open_engine, slurm
from cluster.engines.here import Here
from cluster.plan import read_members
from cluster.process import DiedError, Watcher, new_task, train
from cluster.runs import is_locked
from ensemble.common.command import RefusedError

COMMAND = "cluster/train_all.py"

# Trains by counting; --way says how an epoch goes wrong, as long as there is no file of that name
STAND_IN = """
import argparse, fcntl, json, os, signal, sys, time
from pathlib import Path

DATA = "none"
EPOCHS = 3
BATCH_SIZE = 32
SCHEDULE = "step"
LEARNING_RATE = 0.1
SEED = 0
RUN = ""

class InputError(Exception):
    pass

def learning_rate(epoch):
    return 0.0

def read_settings(arguments):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in ("run", "epochs", "seconds", "seed", "way"):
        parser.add_argument("--" + name)
    given = vars(parser.parse_args(arguments))
    if given["epochs"] == "0":
        raise InputError("EPOCHS = 0 is not from 1 up")
    return {"EPOCHS": int(given["epochs"] or EPOCHS), "SEED": given["seed"]}, Path("runs") / given["run"]

def train(settings, folder, way, seconds):
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{folder} is in training by another process; wait until it is over") from None
    (folder / f"start-{time.time()}").touch()
    print("images are here", flush=True)
    history = folder / "history.csv"
    rows = history.read_text().splitlines() if history.exists() else ["epoch"]
    for epoch in range(len(rows), settings["EPOCHS"] + 1):
        time.sleep(seconds)
        if way and not Path(way).exists():
            if "kill" in way and epoch > 1:
                if "once" in way:
                    Path(way).touch()
                os.kill(os.getpid(), signal.SIGKILL)
            if "refuse" in way:
                raise InputError("the loss is nan")
            if "early" in way:
                sys.exit("an accident")
        rows.append(str(epoch))
        history.write_text("\\n".join(rows) + "\\n")
    (folder / "model.h5").write_text(str(settings))
    script = Path(__file__).resolve()
    record = {"settings": settings, "script": f"{script.parent.name}/{script.name}", "seconds": 60.0}
    record["validation"] = {"accuracy": 0.5}
    (folder / "run.json").write_text(json.dumps(record))

if __name__ == "__main__":
    arguments = sys.argv[1:]
    given = dict(argument[2:].split("=") for argument in arguments)
    try:
        train(*read_settings(arguments), given.get("way"), float(given.get("seconds", 0)))
    except InputError as error:
        print(f"stand_in.py: {error}", file=sys.stderr)
        sys.exit(2)
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """The script above, in a current folder of its own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / f"stand_in_{os.getpid()}.py"
    path.write_text(STAND_IN)
    return path


@pytest.fixture
def members(stand_in, tmp_path):
    """`members(*settings)`: write members.csv with a run of that script for each, a, b, c, ...; return its path."""

    def write(*settings):
        rows = [(stand_in.name, "abcdefgh"[number], text) for number, text in enumerate(settings)]
        with (tmp_path / "members.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("script", "run", "settings"), *rows])
        return "members.csv"

    return write


@pytest.fixture
def command(stand_in, tmp_path):
    """`command(path, *options, status=0)`: give the command, in a process without Keras; return what it left."""

    def give(path, *options, status=0):
        given = [sys.executable, ROOT / COMMAND, path, *options]
        done = subprocess.run(given, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return give


def starts(tmp_path, run):
    return len(list((tmp_path / "runs" / run).glob("start-*")))


class Retrying(Here):
    """Retries as engines on a cluster do."""

    retries = True


# Runs
def test_runs_are_trained_named_and_not_trained_again(members, command, tmp_path):
    path = members("--seed=1", "--seed=2 --epochs=5")
    printed = command(path, "--parallel", "2").stdout
    assert f"2 runs of stand_in_{os.getpid()}, of which 0 are finished" in printed
    assert "runs/a: validation accuracy 50.00%, 1.0 minutes" in printed
    table = printed[printed.index("\nrun ") :].splitlines()
    assert table[2].split() == ["runs/a", f"stand_in_{os.getpid()}", "3", "50.00", "1.0"]
    assert table[3].split()[2] == "5"
    compare = os.path.relpath(ROOT / "ensemble/compare.py", tmp_path)
    assert table[-1] == f"python {compare} runs/a/model.h5 runs/b/model.h5"
    assert "of which 2 are finished" in command(path).stdout
    assert starts(tmp_path, "a") == starts(tmp_path, "b") == 1


def test_a_run_that_fails_is_named_and_the_others_go_on(members, command, tmp_path):
    path = members("--way=refuse", "--way=kill", "--seed=1", "--way=early")
    done = command(path, status=2)
    assert done.stderr == (
        "train_all.py: 3 of 4 runs did not finish: runs/a, runs/b, runs/d; the same command goes on\n"
    )
    assert [starts(tmp_path, run) for run in "abcd"] == [1, 1, 1, 1]
    for reason in ("stand_in.py: the loss is nan", "runs/b was ended by SIGKILL", "runs/d ended with status 1"):
        assert f"not finished: {reason}" in done.stdout
    assert "To combine them" not in done.stdout  # one is no ensemble
    (tmp_path / "kill").touch()  # which mends b
    done = command(path, status=2)
    assert "2 of 4 runs did not finish: runs/a, runs/d" in done.stderr
    assert (tmp_path / "runs/b/history.csv").read_text() == "epoch\n1\n2\n3\n"


def test_two_commands_at_once_train_no_run_twice(members, tmp_path):
    path = members(*["--seconds=0.1"] * 4)
    both = [
        subprocess.Popen(
            [sys.executable, ROOT / COMMAND, path], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for one in both:
        _, errors = one.communicate(timeout=120)
        assert (one.returncode, errors) == (0, b"")
    assert [starts(tmp_path, run) for run in "abcd"] == [1, 1, 1, 1]


@pytest.mark.parametrize("known", [True, False])
def test_a_run_that_another_process_trains_is_waited_for(members, tmp_path, monkeypatch, known):
    """Whether its lock is seen, or only what the script says of it; when that process has ended without a run.json, the
    run goes on."""
    fcntl = pytest.importorskip("fcntl")
    [run] = read_members(members("--seed=1"))
    run.folder.mkdir(parents=True)
    lock = os.open(run.folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    assert is_locked(run.folder)
    if not known:
        monkeypatch.setattr(process, "is_locked", lambda folder: False)
    waits = []

    class Patient(Watcher):
        def wait(self):
            waits.append(len(list(run.folder.iterdir())))
            if len(waits) == 3:
                os.close(lock)
            return False

    assert train(new_task(run), Patient()) is None
    assert waits == [0, 0, 0] and starts(tmp_path, "a") == 1 and not is_locked(run.folder)


def test_a_run_that_is_waited_for_keeps_no_other_from_starting(members, tmp_path, monkeypatch):
    """Though its own script ended without a word on stdout; and it can start again itself."""
    fcntl = pytest.importorskip("fcntl")
    runs = read_members(members("--seed=1", "--seed=2"))
    runs[0].folder.mkdir(parents=True)
    lock = os.open(runs[0].folder, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    monkeypatch.setattr(process, "is_locked", lambda folder: False)
    monkeypatch.setattr(here, "WAIT", 0.2)
    ended = []
    with Here(2) as engine:
        for run, record in drive.train_all(runs, engine):
            ended.append(run.label)
            assert record["settings"]["EPOCHS"] == 3
            if run.label == "b":
                os.close(lock)
    assert ended == ["b", "a"]


def test_a_run_that_another_finished_with_other_settings_is_named_and_the_others_go_on(members, tmp_path, monkeypatch):
    runs = read_members(members("--seed=1", "--seed=2"))
    first, trained = runs[0], process.call

    def with_other_settings(task, watcher):
        done = trained(task, watcher)
        if task.folder == str(first.folder):
            file = first.folder / "run.json"
            record = json.loads(file.read_text())
            file.write_text(json.dumps(record | {"settings": record["settings"] | {"SEED": "7"}}))
        return done

    monkeypatch.setattr(process, "call", with_other_settings)
    with Here(1) as engine:
        results = {run.label: result for run, result in drive.train_all(runs, engine)}
    assert isinstance(results["a"], RefusedError) and "SEED was 7, is 1" in str(results["a"])
    assert results["b"]["settings"]["EPOCHS"] == 3


# What dies
@pytest.mark.parametrize(
    ("status", "last", "kind"),
    [
        (2, "lenet.py: [Errno 28] No space left on device; when that is mended, the same command goes on", DiedError),
        (2, "lenet.py: OOM when allocating; that is more memory than there is: lower BATCH_SIZE", DiedError),
        (2, "lenet.py: EPOCHS = 0 is not a whole number from 1 to 10000", RefusedError),
        (-9, "", DiedError),
        (1, "ValueError: no", DiedError),
    ],
)
def test_what_may_pass_is_no_refusal(members, status, last, kind):
    [run] = read_members(members("--seed=1"))
    assert type(process.failure(new_task(run), status, last)) is kind


def test_a_run_that_died_is_started_again_where_an_engine_retries(members, tmp_path, capsys):
    runs = read_members(members("--way=kill-once", "--seed=1", "--way=refuse"))
    with Retrying(2) as engine:
        results = {run.label: result for run, result in drive.train_all(runs, engine)}
    assert results["a"]["settings"]["EPOCHS"] == results["b"]["settings"]["EPOCHS"] == 3
    assert (
        starts(tmp_path, "a") == 2 and "runs/a was ended by SIGKILL; it goes on from epoch 2" in capsys.readouterr().out
    )
    assert isinstance(results["c"], RefusedError) and starts(tmp_path, "c") == 1  # it would say the same again


def test_a_run_that_dies_without_an_epoch_is_given_up(members, tmp_path):
    runs = read_members(members("--way=early"))
    with Retrying(1) as engine:
        [(_, error)] = drive.train_all(runs, engine)
    assert isinstance(error, DiedError) and error.words == "an accident" and starts(tmp_path, "a") == drive.STARTS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_run_outlives_the_command_and_the_same_command_goes_on(members, command, stand_in, tmp_path, number):
    path = members("--seconds=0.3", "--seconds=0.3")
    one = subprocess.Popen(
        [sys.executable, ROOT / COMMAND, path, "--parallel", "2"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # a background job ignores it
    )
    while not all((tmp_path / "runs" / run / "history.csv").exists() for run in "ab"):
        assert one.poll() is None
        time.sleep(0.02)
    one.send_signal(number)
    assert one.wait(timeout=30) == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    until = time.monotonic() + 10
    while processes_with(f"{stand_in.name} --seconds"):
        assert time.monotonic() < until
        time.sleep(0.02)
    assert not list((tmp_path / "runs").glob("*/run.json"))
    command(path)
    assert [starts(tmp_path, run) for run in "ab"] == [2, 2]


def test_a_run_dies_with_a_parent_that_is_killed_though_it_writes_nothing(stand_in, tmp_path):
    code = "import sys; from cluster.process import *; "
    code += f"train(Task(['{stand_in.name}', '--run=a', '--seconds=30'], 'runs/a', '.', {{}}), Watcher())"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)})
    while not list((tmp_path / "runs/a").glob("start-*")):
        assert parent.poll() is None
        time.sleep(0.02)
    parent.kill()
    parent.wait()
    until = time.monotonic() + 5
    while processes_with(f"{stand_in.name} --run=a"):
        assert time.monotonic() < until
        time.sleep(0.02)


# SLURM
SBATCH = """#!/bin/sh
# Runs the tasks of an array one after the other, in the background; the fourth is lost on the way
echo "$*" >> sbatch.log
for last; do :; done
(
    for number in 0 1 2 3; do
        export SLURM_ARRAY_TASK_ID=$number
        case "$*" in *--array=0-3*) [ $number = 3 ] && exit ;; *--array=0-0*) [ $number = 1 ] && exit ;; esac
        sh -c "$last"
    done
) > tasks.log 2>&1 &
echo "7;a-cluster"
"""


def test_slurm_takes_one_array_and_what_died_goes_into_another(members, tmp_path, monkeypatch, capsys):
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, text in (("sbatch", SBATCH), ("squeue", "#!/bin/sh\n"), ("scancel", "#!/bin/sh\necho $* > cancelled\n")):
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "LOOK", 0.2)
    monkeypatch.setattr(slurm, "GRACE", 15)
    runs = read_members(members("--seed=1", "--way=kill-once", "--way=refuse", "--seed=2"))
    with open_engine(options(engine="slurm", parallel=2)) as engine:
        results = {run.label: result for run, result in drive.train_all(runs, engine)}
    assert all(results[run]["settings"]["EPOCHS"] == 3 for run in "abd")
    assert isinstance(results["c"], RefusedError) and str(results["c"]) == "stand_in.py: the loss is nan"
    assert [starts(tmp_path, run) for run in "abcd"] == [1, 2, 1, 1]
    printed = capsys.readouterr().out
    assert "runs/b was ended by SIGKILL; it goes on from epoch 2" in printed
    assert "task 3 of SLURM's job 7 ended without a word; it goes on from epoch 1" in printed
    first, *others = (tmp_path / "sbatch.log").read_text().splitlines()
    assert "--requeue" in first and "--array=0-3%2" in first and len(others) == 2
    assert not list((tmp_path / "runs").glob("slurm-*")) and not (tmp_path / "cancelled").exists()


# Refusals
BAD = [
    ("", "begins with ''; its first line must be script,run,settings"),
    ("script,name,settings\n", "begins with 'script,name,settings'"),
    ("script,run,settings\n", "has no runs"),
    ("script,run,settings\nSCRIPT,a,\n\nSCRIPT,b\n", "line 4 has 2 fields, not 3; settings with a comma need"),
    ("script,run,settings\nSCRIPT,a,--seed 1,2\n", "line 2 has 4 fields"),
    ("script,run,settings\nSCRIPT,,\n", "line 2 has no run"),
    ("script,run,settings\nSCRIPT,a,\nSCRIPT,b,\nSCRIPT,a,--seed=2\n", "line 4 has the run a, as line 2 has"),
    ("script,run,settings\nno.py,a,\n", "line 2: there is no script no.py"),
    ("script,run,settings\nmembers.csv,a,\n", "line 2: members.csv has no learning_rate"),
    ("script,run,settings\nSCRIPT,a,--way 'x\n", 'line 2: the settings "--way \'x" cannot be read: No closing'),
    ("script,run,settings\nSCRIPT,a,--run=b\n", "line 2: --run is what the column run is for"),
    ("script,run,settings\nSCRIPT,a,\nSCRIPT,b,--epocs 3\n", "line 3: unrecognized arguments: --epocs 3"),
    ("script,run,settings\nSCRIPT,a,--help\n", "line 2: --help is no setting"),
    ("script,run,settings\nSCRIPT,a,--epochs=0\n", "line 2: EPOCHS = 0 is not from 1 up"),
    ('script,run,settings\n"SCRIPT,a,\n', "line 2: unexpected end of data"),
    ("script,run,settings\nSCRIPT,\xe4,\n", "is no text in UTF-8"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_line_is_named_before_any_training(stand_in, tmp_path, capsys, text, message):
    (tmp_path / "members.csv").write_bytes(text.replace("SCRIPT", stand_in.name).encode("latin-1"))
    with pytest.raises(SystemExit) as end:
        read_members("members.csv")
    line = capsys.readouterr().err
    assert end.value.code == 2 and line.count("\n") == 1 and "members.csv" in line and message in line, line
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def (", "SyntaxError"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_script_that_cannot_be_run_is_one_line_that_names_it(stand_in, members, capsys, text, words):
    stand_in.write_text(f"{STAND_IN}\n{text}\n")
    with pytest.raises(SystemExit) as stopped:
        read_members(members("--seed=1"))
    line = capsys.readouterr().err
    assert stopped.value.code == 2 and line.count("\n") == 1
    assert f"members.csv, line 2: {stand_in} cannot be run: {words}" in line


def test_columns_in_any_order_and_settings_as_for_a_shell(stand_in, tmp_path):
    text = f"run, settings ,script\na,\"--way 'x y' --seed=1,2\",{stand_in.name}\nb,,{stand_in.name}\n"
    (tmp_path / "members.csv").write_text("\ufeff" + text, encoding="utf-8")
    first, second = read_members("members.csv")
    assert first.arguments == ["--way", "x y", "--seed=1,2", "--run=a"] and first.settings["SEED"] == "1,2"
    assert second.arguments == ["--run=b"] and second.settings["SEED"] is None


def test_a_finished_run_of_others_is_refused_before_any_training(members, command, stand_in, tmp_path):
    command(members("--seed=1"))
    line = command(members("--seed=2", "--seed=3"), status=2).stderr
    assert "runs/a is finished, but SEED was 1, is 2" in line and line.count("\n") == 1
    record = json.loads((tmp_path / "runs/a/run.json").read_text())
    (tmp_path / "runs/a/run.json").write_text(json.dumps(record | {"script": "1.LeNet/lenet.py"}))
    assert "runs/a is finished, but by 1.LeNet/lenet.py" in command(members("--seed=1", ""), status=2).stderr
    assert not (tmp_path / "runs/b").exists()


def options(**given):
    return type("Options", (), {"engine": "here", "address": None, "parallel": None, "parallel_here": 1} | given)


def test_an_engine_that_is_not_there_is_one_line(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # importing it fails
    monkeypatch.setenv("PATH", "")
    for given, message in (
        ({"engine": "ray"}, "Ray is not installed: pip install -r requirements-cluster.txt"),
        ({"engine": "slurm"}, "there is no sbatch on this machine"),
        ({"address": "host:6379"}, "--address host:6379 is a Ray cluster's: give --engine ray too"),
    ):
        with pytest.raises(SystemExit) as end:
            open_engine(options(**given))
        line = capsys.readouterr().err
        assert end.value.code == 2 and line.count("\n") == 1 and message in line


# The real thing
def test_networks_are_those_of_the_scripts_alone(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = "--data digits --limit 200 --epochs 2 --precision float32"
    (tmp_path / "members.csv").write_text(
        f"script,run,settings\n1.LeNet/lenet.py,a,{settings}\n1.LeNet/lenet.py,b,{settings} --seed 1\n"
    )
    for name, seed in (("a", 0), ("b", 1)):
        run("1.LeNet/lenet.py", *settings.split(), "--seed", seed, "--run", name)
    alone = [(tmp_path / "runs" / name).rename(tmp_path / name) for name in "ab"]
    run(COMMAND, "members.csv", "--parallel", 2)
    for folder in alone:
        again = tmp_path / "runs" / folder.name
        assert (again / "model.h5").read_bytes() == (folder / "model.h5").read_bytes()
        assert {path.name for path in again.iterdir()} == {path.name for path in folder.iterdir()}
