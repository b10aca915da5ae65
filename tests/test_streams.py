"""What a program says and to whom: streams that are closed, gone, full or of few letters; names; a library's words."""

import errno
import os
import pty
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, load_script, write_small_script
from PIL import Image
from test_ensemble import write_members

from ensemble.common import scripts
from ensemble.common.command import short
from ensemble.common.files import write_model

COMMAND = f"""
import sys, time, warnings
sys.path.insert(0, {str(ROOT)!r})
from ensemble.common.command import progress, run_command

def main():
    for number in range(3):
        print("± \\udcff", number)
    for _ in progress([1, 2], "a text that is too long"):
        time.sleep(1.1)
    warnings.warn("a library's")
    exec(sys.argv[1])
    print("the end", file=sys.stderr)
    open("finished", "w").close()

run_command(main, "the same command goes on")
"""


@pytest.fixture
def command(tmp_path):
    """Run COMMAND with a statement in it, by a shell that gives it other streams; return what it wrote."""
    (tmp_path / "command.py").write_text(COMMAND)

    def run(streams, statement="pass", **environment):
        line = f'{sys.executable} command.py "{statement}" {streams}'
        environment = os.environ | {"PYTHONIOENCODING": ""} | environment
        return subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, check=False)

    return run


@pytest.mark.parametrize(
    "streams", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-", "| true", "2>&1 | true", ">/dev/full", "2>/dev/full"]
)
def test_a_command_finishes_whatever_its_streams_are(command, tmp_path, streams):
    done = command(f"{streams}; exit ${{PIPESTATUS[0]}}")
    assert done.returncode == 0 and (tmp_path / "finished").exists()
    assert done.stderr in (b"", b"the end\n")


def test_no_progress_without_a_terminal_and_letters_that_cannot_be_shown(command):
    assert command("").stdout.decode() == "± ? 0\n± ? 1\n± ? 2\n"
    assert command("", PYTHONIOENCODING="ascii").stdout == b"? ? 0\n? ? 1\n? ? 2\n"


def test_progress_stays_in_the_line_of_a_narrow_terminal(tmp_path):
    (tmp_path / "command.py").write_text(COMMAND)
    ours, its = pty.openpty()
    environment = os.environ | {"COLUMNS": "20"}
    subprocess.run([sys.executable, "command.py", "pass"], cwd=tmp_path, stdout=its, env=environment, check=True)
    os.close(its)
    pieces = os.read(ours, 10_000).decode().split("\n")[-1].split("\r")
    assert "at is too long:  50%" not in pieces and "t is too long:  50%" in pieces
    assert max(map(len, pieces)) == 19


@pytest.mark.parametrize(
    ("statement", "status", "line"),
    [
        ("bytearray(10**15)", 2, "this needs more memory than there is: MemoryError"),
        ("import numpy; numpy.zeros(10**14)", 2, "this needs more memory than there is: Unable to allocate 728. TiB"),
        ("open('a' * 300)", 2, f"{'a' * 300} cannot be read or written: File name too long; when that is mended"),
        ("raise OSError(28, 'time = now\\n, buf = 0x7f69bca32810')", 2, "No space left on device; when that is mended"),
    ],
)
def test_a_fault_of_memory_or_disk_is_one_line_and_one_of_the_program_is_not(command, statement, status, line):
    done = command("", statement)
    (told,) = done.stderr.decode().splitlines()
    assert (done.returncode, told[: len(line) + 12]) == (status, f"command.py: {line}")
    done = command("", "1 / 0")
    assert done.returncode == 1 and done.stderr.startswith(b"Traceback")


def test_words_of_a_library_are_one_line_and_not_long():
    assert short(ValueError("a\n\tb " + 300 * "c")) == "a b " + 196 * "c"


# Names
def test_names_that_are_no_utf8_are_shown_in_tables_pictures_and_pages(run, tmp_path, no_keras):
    folder = tmp_path / "no utf8 \udcff"
    write_members(folder, data="\udcfe.npz")
    paths = []
    for path in sorted(folder.glob("*/model.h5")):
        own = path.parent.rename(f"{path.parent} \udcff")
        paths.append((own / "model.h5").relative_to(tmp_path))
    assert "no utf8 ?/m0 ?/model.h5" in run("ensemble/voting.py", *paths, "--out", "voting").stdout
    assert r"m0 \udcff" in run("ensemble/compare.py", *paths, "--out", "compare").stdout
    assert r"m0 \udcff" in (tmp_path / "compare/report.html").read_text()


# Training scripts
@pytest.mark.parametrize("streams", ["0<&- 2>&- | true", "1>&-"])
def test_a_script_trains_to_its_end_whoever_listens(tmp_path, streams):
    script = write_small_script(tmp_path / "small.py")
    command = (
        f"{sys.executable} {script} --data digits --epochs 2 --limit 128 --run a {streams}; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"run.json", "model.h5"} <= {path.name for path in (tmp_path / "runs/a").iterdir()}
    assert not (tmp_path / "runs/a/backup.npz").exists()


def test_ctrl_c_while_keras_is_imported_is_quiet(tmp_path, monkeypatch):
    (tmp_path / "keras.py").write_text("raise KeyboardInterrupt")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    command = [sys.executable, ROOT / "1.LeNet/lenet.py", "--data", "digits"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def tensorflows(name, text):
    import tensorflow as tf

    return getattr(tf.errors, name)(None, None, text)


EVENTS = "{{function_node __wrapped__CreateSummaryFileWriter_device_/job:localhost}} runs/a/events; "
SHAPE = "{{function_node __wrapped__Mul}} OOM when allocating tensor with shape[3,3] [Op:Mul]"
LOWER = "; that is more memory than there is: lower BATCH_SIZE, or the depth or width of the network"
GOES_ON = "; when that is mended, the same command goes on"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (tensorflows("ResourceExhaustedError", f"{EVENTS}No space\n\tFlushing."), f"runs/a/events; No space{GOES_ON}"),
        (tensorflows("PermissionDeniedError", f"{EVENTS}Read-only"), f"runs/a/events; Read-only{GOES_ON}"),
        (
            RuntimeError("Can't decrement (errno = 27, 'File too large')\n, buf = 0x7f"),
            f"Can't decrement (errno = 27, 'File too large'){GOES_ON}",
        ),
        (OSError(28, "time = now\n, buf = 0x7f69bca32810"), f"[Errno 28] time = now{GOES_ON}"),
        (tensorflows("ResourceExhaustedError", f"Graph execution error:\n\n{SHAPE}\n"), SHAPE.split("} ")[1] + LOWER),
        (
            RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes."),
            f"RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.{LOWER}",
        ),
        (
            RuntimeError("can't allocate memory: you tried to allocate 9 bytes."),
            f"can't allocate memory: you tried to allocate 9 bytes.{LOWER}",
        ),
        (MemoryError(), f"MemoryError{LOWER}"),
        (ValueError("an error\nof the ROOM"), None),
        (tensorflows("InvalidArgumentError", "Incompatible shapes: [1] vs. [2]"), None),
    ],
)
def test_a_script_tells_faults_of_disk_and_memory_in_a_line_and_its_own_by_a_traceback(
    error, line, capsys, monkeypatch
):
    script = load_script("4.ResNet/resnet.py")
    monkeypatch.setattr(sys, "argv", ["folder/resnet.py"])
    with pytest.raises(type(error) if line is None else SystemExit) as ended, script.refusing():
        raise error
    if line is None:
        assert ended.value is error
    else:
        assert ended.value.code == 2 and capsys.readouterr().err == f"resnet.py: {line}\n"


def test_a_bad_input_is_told_whole_and_in_one_line(capsys):
    script = load_script("4.ResNet/resnet.py")
    with pytest.raises(SystemExit), script.refusing():
        raise script.InputError("out of memory  \n" + 300 * "a")
    assert capsys.readouterr().err.endswith(f": out of memory   {300 * 'a'}\n")


def test_names_of_runs_fit_into_a_folder(capsys):
    script = load_script("4.ResNet/resnet.py")
    with pytest.raises(script.InputError, match=r"RUN = 'a+' is not a plain name, of up to 255 letters"):
        script.read_settings(["--run", 256 * "a"])
    assert script.read_settings(["--run", 255 * "a"])[1].name == 255 * "a"
    _, folder = load_script("4.ResNet/resnet.py").read_settings(["--data", f"{250 * 'b'}.npz", "--epochs", "3"])
    assert folder.name == f"resnet-{193 * 'b'}"


def test_sizes_that_no_memory_has_are_refused():
    script = load_script("5.WideResNet/wide_resnet.py")
    for option, most in (("width", 10**6), ("depth", 10**4), ("batch-size", 10**6)):
        with pytest.raises(script.InputError, match=f"is not a whole number from 1 to {most}"):
            script.read_settings([f"--{option}", str(most + 1)])
    script.LEARNING_RATE = 10**400  # no float
    with pytest.raises(script.InputError, match="LEARNING_RATE = "):
        script.read_settings([])


def test_a_data_file_that_numpy_says_much_of_is_one_line(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=np.zeros(1, [(f"field {number}", "u1") for number in range(2000)]))
    script = load_script("4.ResNet/resnet.py")
    with pytest.raises(script.InputError) as refused:
        script.load_data(str(tmp_path / "a.npz"), 10)
    (reason,) = re.findall(r"cannot be loaded \((Header info.*)\); give cifar10", str(refused.value))
    assert len(reason) == 200


@pytest.fixture
def full_disk():
    """No file may become longer than 64 KB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_model_for_which_there_is_no_room_is_an_oserror(tmp_path, full_disk):
    script = load_script("1.LeNet/lenet.py")
    model = script.build_model((32, 32, 3), 10, [0.0] * 3, [1.0] * 3)
    with pytest.raises(OSError) as raised:
        script.write_results(tmp_path, model, {}, [], {})
    assert raised.value.errno == errno.EFBIG
    with pytest.raises(OSError) as raised:
        write_model(model, tmp_path / "a.h5")
    assert raised.value.errno == errno.EFBIG


# Images
@pytest.fixture
def postscript(tmp_path, monkeypatch):
    """An image in PostScript, called a .png; who runs it leaves a file `ran`."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    (tmp_path / "bin/gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    Image.new("RGB", (40, 40)).save(tmp_path / "a.eps")
    return (tmp_path / "a.eps").rename(tmp_path / "a.png")


def test_no_image_is_run_as_a_program(postscript, refused, tmp_path):
    none = "a.png cannot be read as an image: it is none of PNG, JPEG, WEBP, GIF, BMP, TIFF"
    assert none in refused("ensemble/predict.py", "m.h5", "--images", postscript)
    for part in ("train", "test"):
        (tmp_path / part / "cat").mkdir(parents=True)
        Path(tmp_path / part / "cat/a.png").write_bytes(postscript.read_bytes())
    assert none in refused("tools/images_to_npz.py", tmp_path, "out.npz")
    script = load_script("transfer/transfer.py")
    assert "a.png cannot be read as an image" in script.ImageFiles([postscript], 32).problem(postscript)
    assert not (tmp_path / "ran").exists()


def test_images_of_every_format_that_is_read(tmp_path):
    script = load_script("transfer/transfer.py")
    for form in script.FORMATS:
        file = tmp_path / "a.png"
        Image.new("RGB", (40, 40)).save(file, form)
        assert script.ImageFiles([file], 32).problem(file) is None


# Schedules
@pytest.mark.parametrize("name", scripts.TAKEN)
def test_a_script_that_lacks_what_is_taken_from_it_is_refused(name, tmp_path, capsys):
    text = (ROOT / "1.LeNet/lenet.py").read_text()
    (tmp_path / "own.py").write_text(re.sub(rf"^((?:def |class )?){name}\b", r"\1other", text, flags=re.MULTILINE))
    with pytest.raises(SystemExit):
        scripts.read_script(tmp_path / "own.py")
    assert f"own.py has no {name}, as the training scripts have" in capsys.readouterr().err
