"""A case of a fault: what is set up, which command is run on it, what is expected; and how that is found out."""

import contextlib
import dataclasses
import fnmatch
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
INJECT = Path(__file__).with_name("inject")
GIGABYTE = 2**30
LONGEST_LINE = 10_000  # characters, more than a path may have; nobody reads more
LARGEST = 2**26  # bytes of a file that is hashed; of a larger one, size and time must stay
CRASHES = ("Traceback (most recent call last)", "Exception ignored", "Fatal Python error", "core dumped")


class SkippedError(Exception):
    """Why a case cannot be tried on this machine."""


def nothing(folder):
    """Set nothing up."""


@dataclass(frozen=True)
class Case:
    """A command in a fresh folder, and what may come of it.

    kind: the number of the kind of fault, as in README.md; command: a script, from the root of the repository, and its
    arguments, texts or bytes, "{folder}" being the folder; setup(folder): makes what the command needs.

    status: those that are right; lines: on stderr, at most (two more where argparse shows its usage); says: patterns
    that must be found on stderr, of any case, if the status is 2; leaves: patterns of files that must be there
    afterwards; changes: patterns of the set-up files that may change or go away; clears: patterns of new files that
    must not be there.

    env: of the environment, None takes a variable away; streams: any of "stdin closed", "stdout closed", "stderr
    closed", "stdout full" (a full disk), "head" (a reader that leaves after one line) and "gone" (one that has left);
    seconds: the time limit; address_space, file_size: limits in bytes; peak: of memory, in bytes, at most.

    play(case, folder): in place of running the command once, returns complaints; quick: tried in the test suite too.
    """

    kind: int
    name: str
    command: tuple = ()
    setup: Callable = nothing
    status: tuple = (2,)
    lines: int = 1
    says: tuple = ()
    leaves: tuple = ()
    changes: tuple = ()
    clears: tuple = ("*unfinished-*",)
    env: dict = dataclasses.field(default_factory=dict)
    streams: tuple = ()
    seconds: float = 120
    address_space: int = 6 * GIGABYTE
    file_size: int = 4 * GIGABYTE
    peak: int | None = None
    play: Callable | None = None
    quick: bool = False


@dataclass
class Outcome:
    """How a process ended. status: negative is a signal, None is none within the time limit; peak: memory, in bytes."""

    status: int | None
    out: str
    err: str
    peak: int
    seconds: float


@dataclass
class Started:
    """A process that runs, and the files that take its words."""

    process: subprocess.Popen
    out: Path
    err: Path
    began: float
    reader: subprocess.Popen | None = None


# Running
def environment(case):
    """Return the environment of a case's process: this one's, without what could change its words, and on the CPU."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KERAS_", "TF_", "PYTHON"))}
    # No bytecode: Python keeps what it could write of it, even where the disk is full or a file must be small
    changed = kept | {"CUDA_VISIBLE_DEVICES": "", "COLUMNS": "120", "PYTHONDONTWRITEBYTECODE": "1"} | case.env
    return {name: value for name, value in changed.items() if value is not None}


def start(case, folder, words):
    """Start a case's command in a folder; its words go to files in the folder `words`."""
    out, err = words / "stdout", words / "stderr"
    command = [sys.executable, os.fspath(ROOT / case.command[0])]
    for argument in case.command[1:]:
        command.append(argument if isinstance(argument, bytes) else str(argument).replace("{folder}", str(folder)))
    closed = [number for number, name in enumerate(("stdin", "stdout", "stderr")) if f"{name} closed" in case.streams]

    def before():  # in the new process
        resource.setrlimit(resource.RLIMIT_AS, (case.address_space, case.address_space))
        resource.setrlimit(resource.RLIMIT_FSIZE, (case.file_size, case.file_size))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        for number in closed:
            os.close(number)

    out.touch()
    reader = None
    with contextlib.ExitStack() as stack:
        to = stack.enter_context(Path("/dev/full" if "stdout full" in case.streams else out).open("wb"))
        if "head" in case.streams or "gone" in case.streams:
            end, own = os.pipe()
            if "head" in case.streams:
                reader = subprocess.Popen(["head", "-n", "1"], stdin=end, stdout=to)
            os.close(end)
            to = stack.enter_context(os.fdopen(own, "wb"))
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(case),
            stdin=subprocess.DEVNULL,
            stdout=to,
            stderr=stack.enter_context(err.open("wb")),
            start_new_session=True,  # so that its own children can be ended with it
            preexec_fn=before,
        )
    return Started(process, out, err, time.monotonic(), reader)


def most_memory(pid):
    """Return the bytes of memory that a process has taken at most; not what getrusage says, which begins with those of
    the process that started it."""
    with contextlib.suppress(OSError):
        found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text())
        return int(found[1]) * 1024 if found else 0
    return 0


def finish(started, seconds):
    """Wait until a process ends, or end it and what it started; return its Outcome."""
    pid, status, peak, pause = started.process.pid, None, 0, 0.005
    while time.monotonic() - started.began < seconds:
        peak = max(peak, most_memory(pid))
        ended, code = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(code)
            break
        time.sleep(pause)
        pause = min(0.1, 1.5 * pause)
    took = time.monotonic() - started.began
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
    if status is None:
        os.waitpid(pid, 0)
    started.process.returncode = -9 if status is None else status  # or subprocess would wait for it too
    if started.reader:
        started.reader.wait(10)
    out, err = (file.read_bytes().decode(errors="backslashreplace") for file in (started.out, started.err))
    return Outcome(status, out, err, peak, took)


def run(case, folder):
    """Run a case's command in a folder until it ends or its time is up; return its Outcome."""
    with tempfile.TemporaryDirectory() as words:
        return finish(start(case, folder, Path(words)), case.seconds)


# Judging
def files_in(folder):
    """Return {path from the folder: what tells its content from another} of all that is no folder."""
    found = {}
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            about = path.lstat()
            if not path.is_file() or path.is_symlink():
                content = f"mode {about.st_mode}"
            elif about.st_size > LARGEST:
                content = f"{about.st_size} {about.st_mtime_ns}"
            else:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            found[str(path.relative_to(folder))] = content
    return found


def matches(path, patterns):
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def complaints_of_words(case, outcome):
    """Return what is wrong with how a process ended and with what it said."""
    found = []
    if outcome.status is None:
        found.append(f"no end within {case.seconds:.0f} s")
    elif outcome.status not in case.status:
        found.append(f"status {outcome.status}")
    for sign in CRASHES:
        if sign in outcome.err or sign in outcome.out:
            last = (outcome.err.strip() or outcome.out.strip()).splitlines()[-1]
            found.append(f"a traceback: {last[:150]}")
            break
    lines = [line for line in re.split(r"[\n\r]", outcome.err) if line.strip()]
    limit = case.lines + (2 if lines and lines[0].startswith("usage:") else 0)
    if len(lines) > limit and not any(text.startswith("a traceback") for text in found):
        found.append(f"{len(lines)} lines on stderr: {lines[0][:150]}")
    heard = "stderr closed" not in case.streams and case.file_size > 0  # stderr goes to a file
    if outcome.status == 2 and not lines and heard:
        found.append("status 2 without a word on stderr")
    if lines and max(map(len, lines)) > LONGEST_LINE:
        found.append(f"a line of {max(map(len, lines)):,} characters")
    if outcome.status == 2 and heard:
        for pattern in case.says:
            if not re.search(pattern, outcome.err, re.IGNORECASE):
                found.append(f"stderr does not say {pattern!r}: {outcome.err.strip()[:150]}")
    if case.peak and outcome.peak > case.peak:
        found.append(f"{outcome.peak / GIGABYTE:.1f} GB of memory")
    return found


def refuse_constant(name):
    raise ValueError(name)


def complaints_of_files(case, before, folder):
    """Return what is wrong with the files in a folder, compared with what files_in said before."""
    now, found = files_in(folder), []
    for path, content in before.items():
        if not matches(path, case.changes) and now.get(path) != content:
            found.append(f"{path[:100]} {'was changed' if path in now else 'is gone'}")
    for path in now.keys() - before.keys():
        if matches(path, case.clears):
            found.append(f"{path[:100]} stays")
        try:
            if path.endswith(".json") and Path(folder, path).is_file():
                json.loads(Path(folder, path).read_text(encoding="utf-8"), parse_constant=refuse_constant)
            elif path.endswith(".npz") and Path(folder, path).is_file():
                with np.load(Path(folder, path)) as file:
                    [file[name] for name in file.files]
        except Exception as error:
            found.append(f"{path[:100]} is broken: {error}")
    for pattern in case.leaves:
        if not any(fnmatch.fnmatch(path, pattern) for path in now):
            found.append(f"{pattern} is not there")
    return found


def judge(case, folder):
    """Set a case up in an empty folder and try it; return complaints, none if all is as expected, and the seconds that
    the trial took."""
    case.setup(folder)
    began = time.monotonic()
    if case.play:
        complaints = case.play(case, folder)
    else:
        before = files_in(folder)
        complaints = complaints_of_words(case, run(case, folder)) + complaints_of_files(case, before, folder)
    return complaints, time.monotonic() - began


def try_case(case):
    """Return the outcome of a case as a text, "passed", "skipped: ..." or "FAILED: ...", and the seconds it took."""
    seconds = 0.0
    with tempfile.TemporaryDirectory(prefix="fault-", ignore_cleanup_errors=True) as folder:
        try:
            complaints, seconds = judge(case, Path(folder))
            text = f"FAILED: {'; '.join(dict.fromkeys(complaints))}" if complaints else "passed"
        except SkippedError as reason:
            text = f"skipped: {reason}"
        except Exception as error:  # of the setup, most likely: no reason to try no others
            text = f"FAILED: the case itself: {type(error).__name__}: {error}"
    return text.replace(folder, "FOLDER"), seconds


# Several processes
def with_fault(case, fault):
    """Return a case whose process has a fault as inject/sitecustomize.py describes, none for ""."""
    return dataclasses.replace(case, env=case.env | {"PYTHONPATH": str(INJECT), "FAULT": fault}) if fault else case


def then_again(fault="", until=None, limits=None, first_status=(-9, 2, 0)):
    """Return a play: the command with a fault, or killed after so many seconds, or with limits, {field: value}; then
    the same command without. The second must end as the case says and tidy up what the first one left."""

    def play(case, folder):
        before = files_in(folder)
        broken = dataclasses.replace(with_fault(case, fault), status=first_status, says=(), **(limits or {}))
        if until is None:
            outcome = run(broken, folder)
        else:
            outcome = run(dataclasses.replace(broken, seconds=until), folder)
            outcome.status = -9 if outcome.status is None else outcome.status
        found = [f"first: {text}" for text in complaints_of_words(broken, outcome)]
        found += [f"second: {text}" for text in complaints_of_words(case, run(case, folder))]
        return found + complaints_of_files(case, before, folder)

    return play


def watch(path, seen, over):
    """Note in `seen` every inode that a path comes to have, until the event `over`."""
    while not over.is_set():
        with contextlib.suppress(OSError):
            inode = path.stat().st_ino
            if inode not in seen:
                seen.append(inode)
        time.sleep(0.003)


def race(result, other=None, apart=0.0, slow="", tries=1):
    """Return a play: the case's command, and `other` (default: the same) `apart` seconds later, both writing `result`.

    A result that is there must stay; one process at least must end well. One that ends with status 2 must name the
    result. Two different commands must not both end well without a word.
    slow: functions, with spaces between, whose first call takes two seconds longer in both, so that they meet in it.
    """

    def play(case, folder):
        found = []
        for number in range(tries):
            place = folder / f"try-{number}"
            place.mkdir()
            case.setup(place)
            before = files_in(place)
            slowed = with_fault(case, ";".join(f"slow {function} 1 before" for function in slow.split()))
            cases = slowed, dataclasses.replace(slowed, command=other or case.command)
            seen, over = [], threading.Event()
            watcher = threading.Thread(target=watch, args=(place / result, seen, over))
            watcher.start()
            with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
                first = start(cases[0], place, Path(one))
                time.sleep(apart)
                second = start(cases[1], place, Path(two))
                outcomes = finish(first, case.seconds), finish(second, case.seconds)
            over.set()
            watcher.join()
            named = dataclasses.replace(
                case, status=(0, 2), says=(rf"\b{Path(result).parts[0]}\b|{re.escape(Path(result).name)}",)
            )
            for outcome in outcomes:
                found += complaints_of_words(named, outcome)
            statuses = [outcome.status for outcome in outcomes]
            if 0 not in statuses:
                found.append(f"neither won: statuses {statuses}")
            if other and statuses == [0, 0] and not any(outcome.err.strip() for outcome in outcomes):
                found.append("both say that they won")
            if len(seen) > 1:
                found.append(f"{result} was replaced")
            if not seen:
                found.append(f"{result} is not there")
            found += complaints_of_files(case, before, place)
        return found

    return play


@contextlib.contextmanager
def mounted(place, options):
    """Mount a tmpfs on a new folder and take it away again; SkippedError where this is not allowed."""
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], capture_output=True, check=False
    )
    if done.returncode:
        raise SkippedError("no tmpfs can be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def on_small_disk(size, setup=nothing, again=True):
    """Return a play: the command on a disk of so many bytes, and, once that is larger, the same command again.

    In mid-way it may end with status 2 and a line; at the end as the case says.
    """

    def play(case, folder):
        place = folder / "disk"
        with mounted(place, "size=1g"):
            setup(place)
            used = shutil.disk_usage(place).used
            subprocess.run(["mount", "-o", f"remount,size={used + size}", str(place)], check=True)
            before = files_in(place)
            first = dataclasses.replace(case, status=(2,), says=("space|full|written|disk",))
            found = [f"first: {text}" for text in complaints_of_words(first, run(first, place))]
            subprocess.run(["mount", "-o", "remount,size=1g", str(place)], check=True)
            if again:
                found += [f"second: {text}" for text in complaints_of_words(case, run(case, place))]
            return found + complaints_of_files(case, before, place)

    return play


def on_read_only_disk(setup=nothing):
    """Return a play: the command in a folder of a disk that is read-only; root may write in any other."""

    def play(case, folder):
        place = folder / "disk"
        with mounted(place, "size=1g"):
            setup(place)
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
            before = files_in(place)
            return complaints_of_words(case, run(case, place)) + complaints_of_files(case, before, place)

    return play
