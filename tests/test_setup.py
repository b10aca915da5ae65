"""`make setup`, with stand-ins for Python, pip and nvidia-smi: nothing is downloaded."""

import shutil
import subprocess
import sys

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

PIP = """#!/bin/sh
echo "$@" >> pip.log
"""
# Takes itself for Python 3.{minor}; its virtual environment has the pip above only
PYTHON = """#!/bin/sh
case "$1 $2" in
"-c "*) exec {python} -c 'import sys; sys.version_info = (3, {minor}, 1); exec(sys.argv[1])' "$2" ;;
"-m venv") mkdir -p "$3/bin" && cp pip "$3/bin" ;;
*) exit 99 ;;
esac
"""
PLAIN = "install --quiet --disable-pip-version-check -r requirements.txt"
DEV = "install --quiet --disable-pip-version-check -r requirements-dev.txt"


def program(path, text):
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def make(tmp_path):
    """`make(*arguments, minor=11)`: run make with Python 3.`minor` in a copy of the Makefile and the requirements."""
    for name in ("Makefile", "requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, tmp_path)
    program(tmp_path / "pip", PIP)
    commands = tmp_path / "commands"  # all that is on the PATH: a real nvidia-smi is not
    commands.mkdir()
    for name in ("cp", "mkdir", "sed", "touch"):
        (commands / name).symlink_to(shutil.which(name))

    def run_make(*arguments, minor=11):
        program(tmp_path / "python", PYTHON.format(python=sys.executable, minor=minor))
        return subprocess.run(
            [shutil.which("make"), *arguments, f"PYTHON={tmp_path / 'python'}"],
            cwd=tmp_path,
            env={"PATH": str(commands)},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run_make


@pytest.fixture
def pip_log(tmp_path):
    """`pip_log()`: what pip was called with, a line for each call."""

    def lines():
        log = tmp_path / "pip.log"
        return log.read_text().splitlines() if log.exists() else []

    return lines


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_python_that_is_taken(make, pip_log, minor):
    done = make("setup", minor=minor)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Installing TensorFlow, Keras and the rest into .venv, a minute or two ...\n"
    assert pip_log() == [PLAIN]


@pytest.mark.parametrize("minor", [10, 14])
@pytest.mark.parametrize("target", ["setup", "demo", "test", "cluster-test", "lint"])
def test_python_that_is_refused(make, tmp_path, minor, target):
    done = make(target, minor=minor)
    assert done.returncode == 2 and done.stdout == ""
    error, makes_own = done.stderr.splitlines()
    assert error == (
        f"error: {tmp_path / 'python'} is Python 3.{minor}; 3.11, 3.12 or 3.13 is needed: make ... PYTHON=python3.13"
    )
    assert makes_own.startswith("make: ***")
    assert not (tmp_path / ".venv").exists()


def test_tensorflow_for_nvidia_where_nvidia_smi_answers(make, pip_log, tmp_path):
    program(tmp_path / "commands" / "nvidia-smi", "#!/bin/sh\necho a GPU\n")
    done = make("setup")
    assert (done.returncode, done.stderr) == (0, "")
    (line,) = done.stdout.splitlines()
    assert line.startswith("nvidia-smi answers: installing TensorFlow for NVIDIA GPUs")
    (call,) = pip_log()
    assert call.startswith(f"{PLAIN} tensorflow[and-cuda]")
    asked = Requirement(call.removeprefix(PLAIN))
    (ours,) = [
        Requirement(line)
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line.startswith("tensorflow")
    ]
    assert ours.specifier and asked.specifier == ours.specifier


def test_plain_tensorflow_where_nvidia_smi_finds_no_gpu(make, pip_log, tmp_path):
    program(tmp_path / "commands" / "nvidia-smi", "#!/bin/sh\necho no driver\necho no driver >&2\nexit 9\n")
    done = make("setup")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Installing TensorFlow, Keras and the rest into .venv, a minute or two ...\n"
    assert pip_log() == [PLAIN]


def test_each_is_installed_once_and_what_only_tests_need_only_for_them(make, pip_log):
    assert "requirements-dev.txt" not in make("--dry-run", "demo").stdout
    for target in ("test", "cluster-test", "lint"):
        assert make("--dry-run", target).stdout.count(f"/pip {DEV}\n") == 1
    for target in ("setup", "setup", ".venv/installed-dev", ".venv/installed-dev", "setup"):
        assert make(target).returncode == 0
    assert pip_log() == [PLAIN, DEV]


@pytest.mark.parametrize("target", ["setup", ".venv/installed-dev"])
def test_an_installation_that_failed_is_tried_again(make, pip_log, tmp_path, target):
    wanted = {"setup": "requirements.txt", ".venv/installed-dev": "requirements-dev.txt"}[target]
    program(tmp_path / "pip", PIP + f'case "$*" in *{wanted}) exit 1 ;; esac\n')
    assert make(target).returncode == 2
    first = pip_log()
    assert first[-1].endswith(wanted)
    program(tmp_path / ".venv" / "bin" / "pip", PIP)
    program(tmp_path / "pip", PIP)
    assert make(target).returncode == 0
    assert pip_log() == [*first, first[-1]]
