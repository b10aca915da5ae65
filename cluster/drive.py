"""Runs taken to an engine: how far they are, and what comes of each."""

import shutil
import sys
import time
from collections import Counter, deque
from concurrent.futures import FIRST_COMPLETED, wait

from cluster.process import DiedError
from cluster.runs import epochs_done, read_result
from ensemble.common.command import RefusedError, short

LOOK = 1.0  # seconds from one look at how far the runs are to the next
STARTS = 3  # of a run that dies again and again before it has finished another epoch, where an engine retries
LOOKED_AT = 20  # runs, for the line that says how far they are
DELAY = 60.0  # seconds that a record may take to come here through shared storage


def train_all(runs, engine):
    """Train those of the runs that are not finished, by a cluster/engines/ engine.

    Yield each run and its run.json, first of the finished ones and then as they end; of one that did not finish, the
    RefusedError or DiedError instead. A finished run of other settings is refused before any training.
    """
    records = [(run, read_result(run)) for run in runs]
    waiting = deque(run for run, record in records if record is None)
    scripts = " and ".join(dict.fromkeys(run.script.stem for run in runs))
    print(f"{len(runs)} runs of {scripts}, of which {len(runs) - len(waiting)} are finished", flush=True)
    yield from ((run, record) for run, record in records if record)
    line, submitted, starts = StatusLine(), {}, Counter()
    while waiting or submitted:
        while waiting and len(submitted) < engine.parallel:
            run = waiting.popleft()
            before = epochs_done(run)
            submitted[engine.submit(run)] = run, before
        ended, _ = wait(submitted, LOOK, FIRST_COMPLETED)
        for future in ended:
            run, before = submitted.pop(future)
            try:
                error = future.result()
            except Exception as fault:  # the engine's own
                error = DiedError(f"{run.folder} was lost: {short(fault)}")
            line.clear()
            if error is None:
                yield run, finished(run)
                continue
            progressed = epochs_done(run) > before
            starts[run.folder] = 1 if progressed else starts[run.folder] + 1
            if isinstance(error, DiedError) and engine.retries and starts[run.folder] < STARTS:
                print(f"{error}; it goes on from epoch {epochs_done(run) + 1}", flush=True)
                waiting.append(run)
            else:
                yield run, error
        if submitted:
            line.show(len(runs) - len(waiting) - len(submitted), len(runs), [run for run, _ in submitted.values()])


def finished(run):
    """Return the run.json of a run that has just finished, perhaps on another machine, and print its score.

    Return a RefusedError if it does not come, or is that of other settings: another command may have trained the run.
    """
    until = time.monotonic() + DELAY
    try:
        while not (record := read_result(run)):
            if time.monotonic() > until:
                mend = "is runs/ on storage that all machines share?"
                return RefusedError(f"{run.folder} is finished, but has no run.json here: {mend}")
            time.sleep(LOOK)
    except RefusedError as error:
        return error
    scored = f"validation accuracy {record['validation']['accuracy']:.2%}"
    print(f"{run.folder}: {scored}, {record['seconds'] / 60:.1f} minutes", flush=True)
    return record


class StatusLine:
    """The last line on the terminal, if there is one, which says how far the runs are."""

    def __init__(self):
        self.width, self.shown = shutil.get_terminal_size().columns - 1, ""

    def clear(self):
        if self.shown:
            print(f"\r{'':{self.width}}\r", end="", flush=True)
            self.shown = ""

    def show(self, ended, count, runs):
        """Say that so many of `count` runs have ended, and how far the first of those in training are."""
        if not sys.stdout.isatty():
            return
        text = f"{ended} of {count} have ended"
        for run in runs[:LOOKED_AT]:
            if epochs := epochs_done(run):
                text += f"; {run.label}: {epochs} epochs of {run.epochs}"
        if text != self.shown:
            print(f"\r{text:{self.width}.{self.width}}", end="", flush=True)
            self.shown = text
