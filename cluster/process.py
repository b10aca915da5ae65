"""A training run in a process of its own, as every engine has it trained, on whatever machine.

Imported on the nodes of a cluster: nothing here needs Keras or its backend.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from cluster.runs import is_locked
from ensemble.common.command import RefusedError

BOUND = Path(__file__).with_name("bound.py")
IN_TRAINING = "is in training by another process"  # what a script says of a folder with a lock
MAY_PASS = re.compile("the same command goes on|more memory than there is")  # and of a full disk or memory
WAIT = 2.0  # seconds from one look at a lock to the next
KEPT = 20  # of what a script writes on stderr, the last lines


class DiedError(Exception):
    """How a run ended that neither finished nor was refused: one line, and `words`, the script's own on stderr."""

    def __init__(self, message, words=""):
        super().__init__(message, words)
        self.words = words

    def __str__(self):
        return self.args[0]


@dataclass
class Task:
    """A run as it goes to another machine: command, the script's path and its arguments; folder, runs/NAME; cwd, the
    folder on the shared storage from which both count; environment, what is set beyond that machine's own."""

    command: list
    folder: str
    cwd: str
    environment: dict


def new_task(run):
    """Return the task of a run that is planned in the current folder."""
    own = ("KERAS_", "TF_", "JAX_", "XLA_")
    environment = {name: value for name, value in os.environ.items() if name.startswith(own)}
    environment.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # so that runs can share a GPU
    command = [os.path.relpath(run.script), *run.arguments]
    return Task(command, str(run.folder), str(Path.cwd()), environment)


class Watcher:
    """What an engine does as a run goes on; this one lets it."""

    def begin(self):
        """The script is about to start."""

    def started(self, process):
        """It has started, as this subprocess.Popen."""

    def wrote(self):
        """It has written something on stdout, or ended."""

    def wait(self):
        """Another process trains the run: sleep until the next look; return whether to give up."""
        time.sleep(WAIT)
        return False


def train(task, watcher):
    """Train or resume a run until its run.json is there; do nothing if it is. While another process trains it, wait.

    Return None when it is finished; RefusedError with the script's own line if it refuses, which it would again; or
    DiedError however else it ends, and then it goes on from its last finished epoch when it is trained again.
    """
    folder = Path(task.cwd, task.folder)
    while not (folder / "run.json").exists():
        if not is_locked(folder):
            status, words = call(task, watcher)
            last = words.splitlines()[-1] if words else ""
            if (folder / "run.json").exists():
                break
            if not (status == 2 and IN_TRAINING in last):
                return failure(task, status, words)
        if watcher.wait():
            return DiedError(f"{task.folder} was ended with the command")
    return None


def failure(task, status, words):
    """Return why a run did not finish, from its status, as subprocess has it, and the end of its stderr."""
    last = words.splitlines()[-1] if words else ""
    if status == 2 and MAY_PASS.search(last):
        return DiedError(last, words)
    if status == 2 and words:
        return RefusedError(last)
    if status == 0:
        return RefusedError(f"{task.command[0]} has ended and left no run.json in {task.folder}")
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"
    return DiedError(f"{task.folder} {how}", words)


def call(task, watcher):
    """Run the script; return its status, as subprocess has it, and the last lines of its stderr.

    Its stdout is a pipe, so that where bound.py is not for, it ends at its next word if this process is killed.
    """
    command = [sys.executable, *task.command]
    if sys.platform == "linux":
        command = [sys.executable, "-I", "-S", str(BOUND), str(os.getpid()), *task.command]
    environment = {**os.environ, **task.environment}
    watcher.begin()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, cwd=task.cwd, env=environment
        )
        try:
            watcher.started(process)
            while process.stdout.read1(2**16):
                watcher.wrote()
            status = process.wait()
        finally:
            process.kill()
            process.wait()
            watcher.wrote()
        errors.seek(0)
        lines = errors.read().decode(errors="replace").strip().splitlines()
    return status, "\n".join(lines[-KEPT:])
