"""The frame of a command: how it refuses what it is given, shows its progress, and ends."""

import argparse
import io
import os
import sys
import time
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


def refuse(message):
    """Print one line on stderr and exit with status 2."""
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
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


def run_command(main, goes_on=""):
    """Run a command's main(); a refusal or a fault of the disk is one line and status 2, Ctrl-C status 130.

    Where the reader of its words goes away, as with `| head`, or their disk is full, it still finishes its work.
    goes_on: what giving the command again does after an interruption, such as "the same command goes on from the last
    finished epoch".
    """
    if sys.stdout is not None:
        pipe = io.BufferedWriter(LeftPipe(os.dup(sys.stdout.fileno()), "w"))
        sys.stdout = io.TextIOWrapper(pipe, sys.stdout.encoding, sys.stdout.errors, line_buffering=True)
    try:
        with refusing(skip=False):
            main()
    except KeyboardInterrupt:
        if goes_on:
            print(f"\nInterrupted. {goes_on[0].upper()}{goes_on[1:]}.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        fault = f"{error.filename} cannot be read or written: {error.strerror}" if error.filename else str(error)
        refuse(f"{fault}; when that is mended, {goes_on}" if goes_on else fault)


def progress(items, text):
    """Yield the items of a list; show `text` and the share done every second, on stdout."""
    shown, lines = time.perf_counter(), 0
    for number, item in enumerate(items, start=1):
        yield item
        if time.perf_counter() - shown > 1:
            print(f"\r{text}: {number / len(items):4.0%}", end="", flush=True)
            shown, lines = time.perf_counter(), 1
    print("\r" + " " * (len(text) + 6) + "\r" if lines else "", end="", flush=True)
