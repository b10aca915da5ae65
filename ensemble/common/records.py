"""What records say of runs and machines, read and written by all commands."""

import os
import platform
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from ensemble.common.command import RefusedError, refuse
from ensemble.common.schemas import Run, read_json
from ensemble.common.scripts import ROOT


def read_run(path):
    """Return model, parameters and settings from the run.json beside a model; without one, they are empty."""
    file = path.with_name("run.json")
    if not file.exists():
        return {"model": None, "parameters": None, "settings": {}}
    run = read_json(file, Run, "move it away (a member of an ensemble then needs --data)")
    return {name: run[name] for name in ("model", "parameters", "settings")}


def check_alike(one, other):
    """Refuse to compare two finished runs, whose folders are given, that had other images, another precision or another
    number of parameters; warn, on stderr, if only their script was edited between them."""
    mend = "move its folder away, and it is trained again"
    first, second = (read_json(folder / "run.json", Run, mend) for folder in (one, other))
    for field, what in (("split", "images"), ("precision", "precision"), ("parameters", "parameters")):
        values = first.get(field), second.get(field)
        if values[0] != values[1]:
            refuse(
                f"{one} and {other} differ in their {what} ({values[0]}, {values[1]}): move one away, and it is "
                "trained again"
            )
    if first.get("script_sha256") != second.get("script_sha256"):
        print(f"warning: the script was edited between {one} and {other}; they may differ in that too", file=sys.stderr)


def refuse_changes(folder, was, settings):
    """Refuse to go on with a finished run whose settings, {name: value} as run.json has them, were others."""
    changes = [f"{name} was {was.get(name)}, is {value}" for name, value in settings.items() if was.get(name) != value]
    if changes:
        raise RefusedError(f"{folder} is finished, but {'; '.join(changes)}. Undo that, or give another --run NAME")


def epochs(settings):
    """Return the number of epochs of a run, over both phases of transfer/transfer.py, the second of which may lack."""
    return settings.get("HEAD_EPOCHS", 0) + (settings["EPOCHS"] if settings.get("UNFREEZE", 1) else 0)


def remove_backup(folder):
    """Remove what a finished run resumed from, which is still there if it was killed right after its record."""
    for name in ("backup.npz", "features.npz"):
        with suppress(OSError):  # it is not there, or not ours to change
            (folder / name).unlink()


def describe_computer():
    """Return the names of GPUs, of NVIDIA's driver on Linux, and of the processor, and its number of cores."""
    gpus = [file.read_text() for file in Path("/proc/driver/nvidia/gpus").glob("*/information")]
    gpus = [re.search(r"Model:\s*(.+)", text)[1] for text in gpus]
    information = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.+)", information.read_text()) if information.exists() else None
    return ", ".join([*gpus, name[1] if name else platform.machine(), f"{os.cpu_count()} cores"])


def git_commit():
    """Return the hash of the commit that this file stands in, or None."""
    try:
        command = ["git", "rev-parse", "--verify", "HEAD"]
        git = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return None
    return git.stdout.strip() or None
