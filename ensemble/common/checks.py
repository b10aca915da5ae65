"""What a file is, and how much memory it asks for: looked at before it is opened or unpacked."""

import stat
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil

from ensemble.common.command import RefusedError

KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def check_file(path, most=None):
    """Refuse what is no regular file, for which a program may wait for ever, or one of more than `most` bytes."""
    try:
        status = Path(path).stat()
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise RefusedError(f"{path} is {KINDS.get(stat.S_IFMT(status.st_mode), 'a device')}; give a file")
    if most is not None and status.st_size > most:
        raise RefusedError(f"{path} has {status.st_size:,} bytes; such a file has at most {most:,}")


def check_memory(size, what):
    """Refuse what takes more memory than there is; size: in bytes; what: what takes it, and which file is to blame."""
    available = psutil.virtual_memory().available
    if size > available:
        raise RefusedError(f"{what} would take {size / 2**30:,.1f} GiB of memory; {available / 2**30:,.1f} are free")


@contextmanager
def open_npz(path):
    """Give an open .npz file, as numpy.load does; refuse what is no file, or whose arrays do not fit into memory."""
    check_file(path)
    with np.load(path) as arrays:
        check_memory(sum(part.file_size for part in arrays.zip.infolist()), f"unpacking {path}")
        yield arrays
