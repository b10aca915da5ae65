"""What is written by two commands at once, by one that is killed, and on a full disk, without Keras."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from matplotlib.figure import Figure
from PIL import Image
from test_ensemble import VOTING, WEIGHTED_MEAN, write_members
from test_runs import KILLED_AT

from ensemble import predict, voting
from ensemble.common import files
from ensemble.common.command import RefusedError, refusing
from ensemble.common.files import put_in_folder, unfinished, written_new, written_whole
from ensemble.members.loading import load_members
from ensemble.results.record import write_result
from htd import runs
from tools import images_to_npz, minutes

KILLED = """
import os, signal, sys
from pathlib import Path
from ensemble.common.files import unfinished
with unfinished(Path(sys.argv[1])) as own:
    own.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def leave_unfinished(path):
    """Be killed while writing a file; return the folder that is left."""
    before = set(path.parent.iterdir())
    done = subprocess.run([sys.executable, "-c", KILLED, path], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    (folder,) = set(path.parent.iterdir()) - before
    assert folder.name.startswith(f"unfinished-{path.name}-") and (folder / path.name).read_text() == "half"
    return folder


def no_hard_links(monkeypatch):
    def hardlink_to(path, target):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", hardlink_to)


def tree(folder):
    """{path in a folder: its content} of all files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Files
def test_of_two_commands_at_once_the_last_ones_file_stays_whole(tmp_path):
    path = tmp_path / "kept.json"
    with written_whole(path) as one:
        one.write_text("first, ")
        with written_whole(path) as other:
            other.write_text("second")
        assert path.read_text() == "second"
        one.write_text("first")
    assert path.read_text() == "first" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("hard_links", [True, False])
def test_of_many_commands_at_once_one_makes_a_new_file_and_the_others_keep_theirs(tmp_path, monkeypatch, hard_links):
    if not hard_links:
        no_hard_links(monkeypatch)
    path, lines = tmp_path / "made.npz", []
    together = threading.Barrier(8)

    def write(number):
        try:
            with written_new(path) as own:
                own.write_text(str(number))
                together.wait()
        except RefusedError as error:
            lines.append(str(error))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    kept = [tmp_path / f"made-{number}.npz" for number in range(2, 9)]
    text = f"{path} was made by another command meanwhile and stays; this result is in "
    assert sorted(lines) == [text + str(file) for file in kept]
    assert sorted(tmp_path.iterdir()) == sorted([path, *kept])
    assert sorted(file.read_text() for file in tmp_path.iterdir()) == list("01234567")


def test_what_a_killed_command_left_goes_and_nothing_else(tmp_path):
    path = tmp_path / "v"
    left, others = leave_unfinished(path), leave_unfinished(tmp_path / "v-2")
    mine = tmp_path / "unfinished-v-01234567"  # the user's own
    mine.mkdir()
    (mine / "thesis.txt").write_text("a year of work")
    with written_whole(path) as one:
        assert not left.exists()
        one.write_text("one")
        with written_whole(path) as other:
            assert one.exists() and one != other
            other.write_text("other")
        one.write_text("one")
    assert sorted(tmp_path.iterdir()) == sorted([path, others, mine])
    assert (others / "v-2").read_text() == "half" and list(tree(mine)) == ["thesis.txt"]


def test_where_locks_are_unknown_nothing_is_taken_for_a_leftover(tmp_path, monkeypatch):
    path = tmp_path / "v"
    left = leave_unfinished(path)

    def flock(file, how):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(files, "flock", flock)
    with written_whole(path) as one:
        one.write_text("one")
        monkeypatch.undo()
        with written_whole(path) as other:  # from a machine that knows them
            other.write_text("other")
        one.write_text("one")
    assert path.read_text() == "one" and sorted(tmp_path.iterdir()) == [path]
    assert not left.exists()


# Folders
@pytest.mark.parametrize("there", [(), ("v",), ("v", "v/model.h5")])
def test_a_folder_gets_one_result_all_of_it(tmp_path, there):
    """Where there is no such folder, an empty one, and one that holds other files."""
    folder = tmp_path / "v"
    for name in there:
        (tmp_path / name).touch() if "." in name else (tmp_path / name).mkdir()
    together, written = threading.Barrier(8), []

    def write(number):
        with unfinished(folder) as own:
            own.mkdir()
            for name in ("a.png", "record.json", "z.png"):
                (own / name).write_text(str(number))
            together.wait()
            written.append(put_in_folder(own, folder, "record.json"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(written) == [False] * 7 + [True]
    found = tree(folder)
    assert found.pop("model.h5", None) == (b"" if len(there) == 2 else None)
    assert sorted(found) == ["a.png", "record.json", "z.png"] and len(set(found.values())) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["v"]


HELD = """
import os, runpy, sys, time
from pathlib import Path
script, *sys.argv[1:] = sys.argv[1:]
real = os.fsync
def fsync(file):
    Path(f"held-{os.getpid()}").touch()
    while not Path("go").exists():
        time.sleep(0.001)
    real(file)
os.fsync = fsync
sys.argv[0] = script
sys.path.insert(0, str(Path(script).parent))
runpy.run_path(script, run_name="__main__")
"""


def test_two_votes_into_one_folder(tmp_path):
    """Both are held when their pictures are written, until the other's are too."""
    paths, _, _ = write_members(tmp_path)
    (tmp_path / "held.py").write_text(HELD)
    chosen = [paths[:2], paths[1:]]
    commands = [[sys.executable, "held.py", ROOT / VOTING, *members, "--out", "v"] for members in chosen]
    votes = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) for command in commands]
    while len(list(tmp_path.glob("held-*"))) < 2:
        assert all(vote.poll() is None for vote in votes)
        time.sleep(0.01)
    (tmp_path / "go").touch()
    said = [vote.communicate()[1] for vote in votes]
    first, second = sorted((0, 1), key=lambda number: votes[number].returncode)
    assert [votes[number].returncode for number in (first, second)] == [0, 2]
    assert said[first] == ""
    text = "voting.py: v was made by another command meanwhile and stays; this result is in v-2\n"
    assert said[second] == text
    for name, number in (("v", first), ("v-2", second)):
        assert sorted(tree(tmp_path / name)) == ["ensemble.json", "ensemble.png"]
        record = json.loads((tmp_path / name / "ensemble.json").read_text())
        assert [member["path"] for member in record["members"]] == list(map(str, chosen[number]))
        assert (tmp_path / name / "ensemble.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.rglob("unfinished*"))


@pytest.mark.parametrize("there", [False, True])
def test_after_a_kill_the_same_vote_succeeds_and_tidies_up(run, tmp_path, there):
    """kill -9 when the picture is written, and when all is, into a new folder and into an empty one."""
    paths, _, _ = write_members(tmp_path, count=2)
    (tmp_path / "killed_at.py").write_text(KILLED_AT)
    if there:
        (tmp_path / "v").mkdir()
    for moment in (1, 2):
        run(tmp_path / "killed_at.py", moment, ROOT / VOTING, *paths, "--out", "v", status=-signal.SIGKILL)
        assert len(list(tmp_path.rglob("unfinished-v-*/v"))) == 1 and not (tmp_path / "v/ensemble.json").exists()
    assert "Written to v: ensemble.json, ensemble.png." in run(VOTING, *paths, "--out", "v").stdout
    assert not list(tmp_path.rglob("unfinished*"))


def test_after_a_full_disk_the_same_vote_succeeds(tmp_path, monkeypatch, capsys):
    paths, _, _ = write_members(tmp_path, count=2)
    folder, count = tmp_path / "v", 0
    monkeypatch.setattr(sys, "argv", ["voting.py", *map(str, paths), "--out", str(folder)])

    def fsync(file):
        nonlocal count
        count += 1
        if count == 2:  # the record's
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    before = tree(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        voting.main()
    line = capsys.readouterr().err
    assert stopped.value.code == 2 and line.endswith(f"{folder} cannot be written: No space left on device\n")
    assert tree(tmp_path) == before
    voting.main()
    assert sorted(tree(folder)) == ["ensemble.json", "ensemble.png"] and not list(tmp_path.rglob("unfinished*"))


def test_a_vote_in_the_folder_that_one_stands_in(run, tmp_path):
    paths, _, _ = write_members(tmp_path, count=2)
    (tmp_path / "v").mkdir()
    run(VOTING, *paths, "--out", ".", cwd=tmp_path / "v")
    assert sorted(tree(tmp_path / "v")) == ["ensemble.json", "ensemble.png"]


@pytest.mark.parametrize("settings", [{"step": 0.1}, {"step": 0.05}])
def test_a_result_that_another_command_writes_meanwhile_stays(tmp_path, capsys, settings):
    """Its own is kept beside it, unless it is the same."""
    members = load_members(write_members(tmp_path, count=2)[0])
    folder, own = tmp_path / "v", {"step": 0.05}

    def write(write_files, settings):
        write_result(folder, WEIGHTED_MEAN, members, [{}, {}], settings, write_files, settings)

    def meanwhile(folder):
        (folder / "ensemble.png").write_text("picture")
        write(lambda folder: (folder / "ensemble.png").write_text("first"), settings)
        assert "Written to" in capsys.readouterr().out

    if settings == own:
        write(meanwhile, own)
        assert f"This result is already in {folder}, which stays as it was." in capsys.readouterr().out
    else:
        with pytest.raises(RefusedError, match=r"v was made by another command meanwhile .* this result is in .*v-2$"):
            write(meanwhile, own)
        assert json.loads((tmp_path / "v-2/ensemble.json").read_text())["step"] == 0.05
        assert (tmp_path / "v-2/ensemble.png").read_text() == "picture"
    assert json.loads((folder / "ensemble.json").read_text())["step"] == settings["step"]
    assert (folder / "ensemble.png").read_text() == "first"
    assert (tmp_path / "v-2").exists() == (settings != own) and not list(tmp_path.rglob("unfinished*"))


def test_a_comparison_of_schedules_that_another_command_writes_meanwhile_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    record = {"script": "htd/compare.py", "runs": [{"model": "aa11"}]}
    (tmp_path / "runs").mkdir()

    class Late:
        def savefig(self, path, dpi):
            Figure().savefig(path)
            runs.write_result(record | {"by": "the first"}, {"rates.png": Figure()})

    runs.write_result(record | {"by": "the second"}, {"rates.png": Late()})
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"This result is already in runs/{folder.name}, which stays as it was." in capsys.readouterr().out
    assert json.loads((folder / "htd.json").read_text())["by"] == "the first"


# The commands that write one file
def make_images(folder):
    for part in ("train", "test"):
        for name in ("ant", "zebra"):
            (folder / part / name).mkdir(parents=True)
            Image.new("RGB", (28, 28), "red").save(folder / part / name / "0.png")


def make_run(folder):
    folder.mkdir()
    (folder / "history.csv").write_text("epoch,val_accuracy,seconds\n1,0.25,90\n")
    record = {"validation": {"accuracy": 0.8}, "test": {"accuracy": 0.7}, "device": "a computer"}
    (folder / "run.json").write_text(json.dumps(record))


WRITERS = {  # the command, its arguments, and the function in which another one is quicker
    "images_to_npz": (images_to_npz, ["images", "made.npz"], "read_images"),
    "minutes": (minutes, ["run", "--out", "made.png"], "draw"),
    "predict": (predict, ["a.h5", "--images", "images/test/ant/0.png", "--out", "made.png"], "draw"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_another_command_makes_meanwhile_stays(tmp_path, monkeypatch, capsys, name):
    command, arguments, function = WRITERS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
    make_images(tmp_path / "images")
    make_run(tmp_path / "run")
    monkeypatch.setattr(predict, "predict_all", lambda *_: {0: np.full((1, 10), 0.1)})
    (made,) = (Path(argument) for argument in arguments if argument.startswith("made"))
    kept = made.with_name(f"made-2{made.suffix}")
    real = getattr(command, function)

    def late(*given):
        made.write_text("the first")
        return real(*given)

    left = leave_unfinished(tmp_path / made)
    monkeypatch.setattr(command, function, late)
    with pytest.raises(SystemExit) as stopped, refusing(skip=False):
        command.main()
    assert stopped.value.code == 2
    line = f"{name}.py: {made} was made by another command meanwhile and stays; this result is in {kept}"
    assert capsys.readouterr().err.splitlines()[-1] == line
    assert made.read_text() == "the first" and kept.stat().st_size > 1000
    assert not left.exists() and not list(tmp_path.rglob("unfinished*"))
    left = leave_unfinished(tmp_path / made)
    with pytest.raises(SystemExit):  # it exists
        command.main()
    assert not left.exists() and made.read_text() == "the first"


def test_a_link_to_what_is_not_there_is_refused_at_once(refused, tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    assert "link is a link to what is not there" in refused("ensemble/voting.py", "a.h5", "b.h5", "--out", "link")
    (tmp_path / "p.npz").symlink_to("nowhere")
    assert "p.npz exists" in refused("tools/images_to_npz.py", "photos", "p.npz")
