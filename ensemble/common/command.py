"""The frame of a command: how it refuses what it is given, shows its progress, and ends."""

import argparse
import io
import os
import re
import shutil
import sys
import time
import warnings
from contextlib import contextmanager
from pathlib import Path


class RefusedError(Exception):
    """Why something that a command is given cannot be used: one line, which names it and the mend."""


class LeftPipe(io.FileIO):
    """A pipe whose reader may go away, or a file whose disk may be full: what is written then is lost, and no fault."""

    def write(self, data):
        try:
            return super().write(data)
        except OSError:
            return len(data)


def printable(name):
    """Return the name of a file, or a text, as one that any picture or page can show: not all names are UTF-8."""
    return str(name).encode("utf-8", "backslashreplace").decode("utf-8")


def short(error):
    """Return what a library says as one line that is not too long."""
    return " ".join(str(error).split())[:200]


def refuse(message):
    """Print one line on stderr and exit with status 2."""
    message = re.sub(r"(\S{200})\S{4000,}(\S{200})", r"\1...\2", str(message))  # longer than any path may be
    print(f"{Path(sys.argv[0]).name}: {' '.join(message.splitlines())}", file=sys.stderr)
    sys.exit(2)


def new_parser(description):
    """Return a parser of the command line, which shows this text as it is and whose errors are one line."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=form, allow_abbrev=False)
    parser.error = refuse
    return parser


@contextmanager
def refusing(skip):
    """Show a refusal as one line on stderr and, unless it is to be skipped, exit with status 2."""
    try:
        yield
    except RefusedError as error:
        if not skip:
            refuse(error)
        print(f"{Path(sys.argv[0]).name}: left out: {error}", file=sys.stderr)


def stream_like(stream, number, errors):
    """Return a text stream in the place of stdout or stderr, None if it is closed, whose file descriptor is `number`.

    It says what it can to whoever listens, and never fails; errors: as in str.encode, for letters that it cannot show.
    """
    pipe = io.BufferedWriter(LeftPipe(os.dup(stream.fileno() if stream else number), "w"))
    return io.TextIOWrapper(pipe, stream.encoding if stream else None, errors, line_buffering=True)


def run_command(main, goes_on=""):
    """Run a command's main(); a refusal or a fault of disk or memory is one line and status 2, Ctrl-C status 130.

    Where the reader of its words goes away, as with `| head`, or their disk is full, it still finishes its work.
    goes_on: what giving the command again does after an interruption, such as "the same command goes on from the last
    finished epoch".
    """
    while (null := os.open(os.devnull, os.O_RDWR)) < 3:  # in the place of stdin, stdout and stderr, if they are closed
        pass
    os.close(null)
    sys.stdout = stream_like(sys.stdout, 1, "replace")
    sys.stderr = stream_like(sys.stderr, 2, "backslashreplace")
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # Pillow's, NumPy's and others', which a user cannot mend
    try:
        with refusing(skip=False):
            main()
    except KeyboardInterrupt:
        if goes_on:
            print(f"\nInterrupted. {goes_on[0].upper()}{goes_on[1:]}.", file=sys.stderr)
        sys.exit(130)
    except MemoryError as error:
        refuse(f"this needs more memory than there is: {short(error) or 'MemoryError'}")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else short(error)  # not a library's, which is long
        fault = f"{error.filename} cannot be read or written: {reason}" if error.filename else reason
        refuse(f"{fault}; when that is mended, {goes_on}" if goes_on else fault)


def progress(items, text):
    """Yield the items of a list; if stdout is a terminal, show `text` and the share done every second."""
    width = max(1, shutil.get_terminal_size().columns - 1)
    shown, line = time.perf_counter(), ""
    for number, item in enumerate(items, start=1):
        yield item
        if sys.stdout.isatty() and time.perf_counter() - shown > 1:
            shown, line = time.perf_counter(), f"{text}: {number / len(items):4.0%}"[-width:]
            print(f"\r{line}", end="", flush=True)
    if line:
        print(f"\r{' ' * len(line)}\r", end="", flush=True)
