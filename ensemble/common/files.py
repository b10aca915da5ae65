"""Files and folders: told apart by their hash, and written whole or not at all.

Until it is complete, whatever is written stands in a folder of its command's own, unfinished-NAME-... beside it. A
killed command leaves that folder behind. The next one that writes NAME removes it: by its lock it knows that nobody
writes there now.
"""

import glob
import hashlib
import itertools
import os
import secrets
import shutil
from contextlib import contextmanager, suppress
from pathlib import Path

from ensemble.common.command import RefusedError

try:
    from fcntl import LOCK_EX, LOCK_NB, flock
except ImportError:  # on Windows
    LOCK_EX = LOCK_NB = 0

    def flock(file, how):
        raise OSError("there are no such locks")


def file_hash(path):
    """Return the SHA-256 of a file's bytes, in hex."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from None


# Unfinished
def unfinished_folders(path):
    """Return the folders in which commands write a file or folder now, or did so when they were killed."""
    pattern = f"unfinished-{glob.escape(path.name)}-{'[0-9a-f]' * 8}"
    return [*path.parent.glob(pattern), *path.glob(pattern)]


def remove_leftovers(path):
    """Remove what killed commands left of a file or folder; where locks are unknown, leave it there."""
    for folder in unfinished_folders(path):
        with suppress(OSError), (folder / folder.name).open("r+") as file:
            flock(file, LOCK_EX | LOCK_NB)  # fails while its command runs
            shutil.rmtree(folder)


@contextmanager
def unfinished(path):
    """Give a path to write to, for a file or folder that is to become `path`, in a new folder that goes at the end.

    That folder stands beside `path` or, if there is a folder `path`, in it. An OSError names `path`.
    """
    remove_leftovers(path)
    folder = (path if path.is_dir() else path.parent) / f"unfinished-{path.name}-{secrets.token_hex(4)}"
    unlocked = folder / f"{folder.name}-new"
    try:
        folder.mkdir()
        try:
            with unlocked.open("x") as file:
                with suppress(OSError):  # where locks are unknown, nobody is to take it for a leftover
                    flock(file, LOCK_EX)
                    unlocked.rename(folder / folder.name)
                yield folder / path.name
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def to_disk(path):
    """Wait until a file, or every file in a folder, is on the disk."""
    for each in path.iterdir() if path.is_dir() else [path]:
        with each.open("rb+") as file:
            os.fsync(file.fileno())


# Finished
@contextmanager
def written_whole(path):
    """Give a path beside `path` to write to, which takes its place when it is complete and on the disk.

    Several commands may do so at once: the last one's stays. Where that fails, what was written is removed, and an
    OSError names `path`.
    """
    with unfinished(path) as own:
        yield own
        to_disk(own)
        own.replace(path)


def write_model(model, path):
    """Write a Keras model without its optimizer to an .h5 or .keras file.

    Where there is no room for it, raise OSError at once: HDF5 may crash on a full disk.
    """
    path.write_bytes(bytes(4 * model.count_params() + 2**13 * len(model.weights)))
    model.save(path, include_optimizer=False)


@contextmanager
def written_new(path):
    """As written_whole, for a new file: one that another command has made since then stays, and ours is kept beside it.

    Raises RefusedError then, which says where.
    """
    with unfinished(path) as own:
        yield own
        to_disk(own)
        try:
            take_name(own, path)
        except FileExistsError:
            keep_beside(own, path)


def put_in_folder(own, folder, record):
    """Make the finished folder `own` a new `folder`, or move its files into one that is there; return whether.

    Not if the folder has a file `record` by then, which is the last to be moved.
    """
    to_disk(own)
    with suppress(FileExistsError):
        take_name(own, folder)
        return True
    with alone_in(folder):
        if (folder / record).exists() or not folder.is_dir():
            return False
        for file in sorted(own.iterdir(), key=lambda file: file.name == record):
            file.replace(folder / file.name)
    return True


@contextmanager
def alone_in(folder):
    """Wait until no other command moves files into a folder, and let none; where locks are unknown, do nothing."""
    opened = None
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        flock(opened, LOCK_EX)
    try:
        yield
    finally:
        if opened is not None:
            os.close(opened)


def take_name(own, path):
    """Give a finished file or folder the name `path`, which one command alone can; others get a FileExistsError."""
    if own.is_dir():
        try:
            own.rename(path)  # also onto an empty folder
        except OSError:
            if os.path.lexists(path):
                raise FileExistsError(f"{path} exists") from None
            raise
        return
    try:
        path.hardlink_to(own)
    except FileExistsError:
        raise
    except OSError:  # hard links are unknown on this drive
        path.touch(exist_ok=False)
        own.replace(path)


def keep_beside(own, path):
    """Give a finished file or folder the first free name of NAME-2, NAME-3, ...; raise RefusedError, which says so."""
    stem, suffix = (path.name, "") if own.is_dir() else (path.stem, path.suffix)
    for number in itertools.count(2):
        kept = path.with_name(f"{stem}-{number}{suffix}")
        with suppress(FileExistsError):
            take_name(own, kept)
            raise RefusedError(f"{path} was made by another command meanwhile and stays; this result is in {kept}")
