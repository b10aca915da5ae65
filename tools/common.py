"""What the tools, ensemble/ and htd/ share: how they refuse, and how they write."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path


def refuse(message):
    """Print one line on stderr and exit with status 2."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
    sys.exit(2)


@contextmanager
def written_whole(path):
    """Give a path beside `path` to write to, which takes its place when it is complete and on the disk."""
    beside = path.with_name(f"unfinished-{path.name}")
    yield beside
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(path)
