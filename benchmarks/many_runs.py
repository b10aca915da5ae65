"""Measure what cluster/train_all.py's driver costs: a thousand made-up runs on a hundred made-up GPUs.

    python benchmarks/many_runs.py                       # a minute and 500 MB are what it may take
    python benchmarks/many_runs.py --runs 100 --gpus 10

A run's "training" is a thread that sleeps and writes, epoch by epoch, the files that a script leaves; one of twenty is
killed once and submitted again, one of a hundred refuses. Planning, submitting, progress, records and the table are the
command's own. Prints seconds, the driver's share of them, and the peak of its memory.
"""

import argparse
import csv
import json
import os
import random
import resource
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from cluster import drive, plan, train_all
from cluster.process import DiedError
from ensemble.common.command import RefusedError
from ensemble.common.records import describe_computer

EPOCHS = 5  # of a made-up run
SECONDS = 2.0  # that it takes, on average
SCRIPT = """
import argparse
from pathlib import Path

DATA = "none"
EPOCHS = 5
BATCH_SIZE = 1
SCHEDULE = "step"
LEARNING_RATE = 0.1
SEED = 0
RUN = ""

class InputError(Exception):
    pass

def learning_rate(epoch):
    return 0.0

def read_settings(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed")
    parser.add_argument("--run")
    given = parser.parse_args(arguments)
    return {"EPOCHS": EPOCHS, "SEED": int(given.seed)}, Path("runs") / given.run
"""


class MadeUp:
    """An engine whose runs sleep. gpus: how many do so at once."""

    parallel, retries = float("inf"), True

    def __init__(self, gpus):
        self.pool = ThreadPoolExecutor(gpus)

    def submit(self, run):
        return self.pool.submit(self.train, run)

    def train(self, run):
        chance = random.Random(run.folder.name)
        run.folder.mkdir(parents=True, exist_ok=True)
        history = run.folder / "history.csv"
        rows = history.read_text().splitlines() if history.exists() else ["epoch"]
        dies, refuses = chance.random() < 0.05 and len(rows) == 1, chance.random() < 0.01
        for epoch in range(len(rows), EPOCHS + 1):
            time.sleep(chance.expovariate(EPOCHS / SECONDS))
            rows.append(str(epoch))
            history.write_text("\n".join(rows) + "\n")
            if dies and epoch == 2:
                return DiedError(f"{run.folder} was ended by SIGKILL")
            if refuses:
                return RefusedError("made_up.py: the loss is nan")
        record = {"settings": run.settings, "script": f"{run.script.parent.name}/{run.script.name}", "seconds": 60}
        record["validation"] = {"accuracy": chance.random()}
        (run.folder / "unfinished-run.json").write_text(json.dumps(record))
        (run.folder / "unfinished-run.json").replace(run.folder / "run.json")
        return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--gpus", type=int, default=100, help="how many train at once (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("made_up.py").write_text(SCRIPT)
        with Path("members.csv").open("w", newline="") as file:
            rows = [("made_up.py", f"run-{number}", f"--seed {number}") for number in range(options.runs)]
            csv.writer(file).writerows([("script", "run", "settings"), *rows])
        began = time.perf_counter()
        runs = plan.read_members("members.csv")
        planned = time.perf_counter()
        results = {run.folder: result for run, result in drive.train_all(runs, MadeUp(options.gpus))}
        trained = time.perf_counter()
        train_all.print_table(runs, results)
        ended = time.perf_counter()
        os.chdir("/")
    finished = sum(not isinstance(result, Exception) for result in results.values())
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\n{describe_computer()}; {options.runs} runs, {options.gpus} at once, {finished} finished")
    print(f"planning {planned - began:.1f} s, training {trained - planned:.1f} s, table {ended - trained:.1f} s")
    least = options.runs * SECONDS / options.gpus
    cpu = sum(os.times()[:2])
    print(f"the sleeping alone: about {least:.0f} s; the driver's CPU time {cpu:.1f} s; its memory {memory:.0f} MB")


if __name__ == "__main__":
    main()
