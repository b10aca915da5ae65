"""A training run: the script itself with its arguments, its folder, and what stands there."""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ensemble.common.command import RefusedError
from ensemble.common.records import epochs, refuse_changes, remove_backup
from ensemble.common.schemas import FinishedRun, read_json


@dataclass
class Run:
    """A training run. script: its path; folder: runs/NAME; arguments: those of the script's command, --run among them;
    settings: all of the script's, by name, as run.json has them."""

    script: Path
    folder: Path
    arguments: list
    settings: dict

    @property
    def label(self):
        """What the run is called while it trains."""
        return self.folder.name

    @property
    def epochs(self):
        """The number of its epochs."""
        return epochs(self.settings)


def read_result(run):
    """Return a run's run.json, or None if it is not finished; refuse one of another script or other settings."""
    file = run.folder / "run.json"
    if not file.exists():
        return None
    record = read_json(file, FinishedRun, f"move {run.folder} away, and the run is trained again")
    refuse_changes(run.folder, record["settings"], run.settings)
    if record["script"] != f"{run.script.parent.name}/{run.script.name}":
        raise RefusedError(
            f"{run.folder} is finished, but by {record['script']}. Undo that, or give another --run NAME"
        )
    remove_backup(run.folder)
    return record


def epochs_done(run):
    """Return the number of epochs that a run has finished."""
    try:
        return len((run.folder / "history.csv").read_text(encoding="utf-8").splitlines()) - 1
    except OSError:  # there is none, or another machine replaces it just now
        return 0


def is_locked(folder):
    """Return whether a process trains in a run's folder, as far as locks are known here."""
    with suppress(ImportError, OSError):
        import fcntl  # not on Windows

        lock = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
    return False
