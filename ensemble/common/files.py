"""Files: told apart by their hash, and written whole or not at all."""

import hashlib
import os
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

from ensemble.common.command import RefusedError


def file_hash(path):
    """Return the SHA-256 of a file's bytes, in hex."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from None


@contextmanager
def written_whole(path):
    """Give a path beside `path` to write to, which takes its place when it is complete and on the disk.

    Where that fails, what was written is removed, and an OSError names `path`.
    """
    beside = path.with_name(f"unfinished-{path.name}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            beside.unlink()  # if it is still there


def write_model(model, path):
    """Write a Keras model without its optimizer to an .h5 or .keras file.

    Where there is no room for it, raise OSError at once: HDF5 may crash on a full disk.
    """
    path.write_bytes(bytes(4 * model.count_params() + 2**13 * len(model.weights)))
    model.save(path, include_optimizer=False)


@contextmanager
def written_apart(path):
    """As written_whole, but several commands may write the same file at once: each whole, and the last one stays."""
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=path.parent) as folder:
        apart = Path(folder) / path.name
        with written_whole(apart) as file:
            yield file
        apart.replace(path)
