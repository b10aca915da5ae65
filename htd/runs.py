"""The training runs that are compared: planned, trained by cluster/, read, and put on record.

Shared by compare.py, grid.py and curves.py. A run is the training script itself, in a process of its own: it resumes as
the script resumes, is refused what the script refuses, and when finished it is not trained again.
"""

import datetime
import hashlib
import json
import shlex
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from cluster import drive
from cluster.engines import add_engine_options, whole_number
from cluster.runs import Run
from ensemble.combining.metrics import merit
from ensemble.combining.predictions import PARTS
from ensemble.common.command import RefusedError, new_parser, refuse
from ensemble.common.files import put_in_folder, remove_leftovers, unfinished
from ensemble.common.records import check_alike, git_commit
from ensemble.common.schemas import ComparedRun, read_json
from ensemble.common.scripts import settings_of


@dataclass
class SeededRun(Run):
    """A run of a comparison. variant: what it is a run of."""

    variant: str
    seed: int

    @property
    def label(self):
        return f"{self.variant}, seed {self.seed}"


# Command line
def command_parser(description, script, seeds, parallel):
    """Return a parser of the arguments that both commands take, with these defaults; its errors are one line."""
    parser = new_parser(description)
    parser.add_argument("--script", default=script, help="the training script (default: %(default)s)")
    text = "runs of each, seeds 0, 1, ... (now %(default)s)"
    parser.add_argument("--seeds", type=whole_number, default=seeds, help=text)
    add_engine_options(parser, parallel)
    return parser


def step_rates(script, epochs, steps):
    """Return the learning rate of each step of a run with the script's settings, (epochs * steps,)."""
    return np.array([script.learning_rate(step / steps) for step in range(epochs * steps)])


def plan(script, arguments, variants, seeds):
    """Return the runs of a script with these arguments: of each variant, {name: arguments more}, one for each seed.

    What the script does not take, it refuses here in its own words, before any training.
    """
    taken = {"--seed"} | {argument.split("=")[0] for own in variants.values() for argument in own}
    for argument in arguments:
        if argument.split("=")[0] in taken:
            refuse(f"{argument.split('=')[0]} is what the runs differ in; leave it out")
    _, folder = settings_of(script, arguments)
    runs = []
    for variant, own in variants.items():
        for seed in range(seeds):
            name = f"{folder.name}-{variant}-{seed}"
            command = [*arguments, *own, f"--seed={seed}", f"--run={name}"]
            settings, _ = settings_of(script, command)
            settings = json.loads(json.dumps(settings))
            runs.append(SeededRun(Path(script.__file__), folder.with_name(name), command, settings, variant, seed))
    return runs


# Training
def train_all(runs, engine):
    """Train those of the runs that are not finished; return every run's run.json, in order.

    Whatever ends it early also ends the runs, which the same command resumes. Refuse to go on when a run did not
    finish, or had other images or another precision than the first.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    records = {}  # by folder
    with engine:
        for run, result in drive.train_all(runs, engine):
            if isinstance(result, Exception):
                fail_as(result)
            mend = f"move {run.folder} away, and the run is trained again"
            records[run.folder] = read_json(run.folder / "run.json", ComparedRun, mend)
            check_alike(next(iter(records)), run.folder)
    return [records[run.folder] for run in runs]


def fail_as(error):
    """Exit with the script's own line if it refused, or else with what it said and how it ended."""
    if isinstance(error, RefusedError):
        print(error, file=sys.stderr)
        sys.exit(2)
    print(error.words, file=sys.stderr)
    refuse(f"{error}; the same command goes on from its last finished epoch")


# Figures
def summary(records, parts=PARTS):
    """Return {part: {"mean", "deviation", "median", "best"}} of the accuracies of runs that differ in their seed.

    deviation: the sample's, with n - 1, or None of one run. best is the accuracy of the run that is best on
    validation, whatever the part: nothing is chosen on test images.
    """
    best = max(records, key=merit)
    found = {}
    for part in parts:
        accuracies = np.array([record[part]["accuracy"] for record in records])
        found[part] = {
            "mean": float(accuracies.mean()),
            "deviation": float(accuracies.std(ddof=1)) if len(records) > 1 else None,
            "median": float(np.median(accuracies)),
            "best": best[part]["accuracy"],
        }
    return found


def plus_minus(accuracies):
    """Return mean and deviation in percent, as a text."""
    deviation = accuracies["deviation"]
    return f"{100 * accuracies['mean']:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def paired_difference(records, baseline):
    """Return mean, low and high of the test accuracies less those of the baseline's runs with the same seeds.

    low and high: the 95% interval of Student's t over the seeds; None where they show no spread, as one seed does.
    """
    pairs = zip(records, baseline, strict=True)
    differences = np.array([own["test"]["accuracy"] - other["test"]["accuracy"] for own, other in pairs])
    mean, count = float(differences.mean()), len(differences)
    if np.ptp(differences) < 1e-9:
        return {"mean": mean, "low": None, "high": None}
    reach = float(stats.t.ppf(0.975, count - 1) * differences.std(ddof=1) / np.sqrt(count))
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


# Record and pictures
def describe(program, runs, records, parts=PARTS):
    """Return what a record says of the command, of all runs together, and of each: of its scores, those on `parts`."""
    first = runs[0].settings
    common = {name: value for name, value in first.items() if all(run.settings[name] == value for run in runs)}
    rows = [
        {"variant": run.variant, "seed": run.seed, "path": str(run.folder)}
        | {
            name: record[name]
            for name in ("command", "model", "script_sha256", "git_commit", "date", *parts, "seconds")
        }
        for run, record in zip(runs, records, strict=True)
    ]
    return {
        "script": program,
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "data": first["DATA"],
        "split": records[0]["split"],
        "images": records[0]["images"],
        "training": {"script": records[0]["script"], "parameters": records[0]["parameters"], "settings": common},
        "precision": ", ".join(dict.fromkeys(record["precision"] for record in records)),
        "device": ", ".join(dict.fromkeys(record["device"] for record in records)),
        "runs": rows,
    }


def write_result(record, figures):
    """Write htd.json and figures, {file name: figure}, to a folder in runs/ that is named after the runs."""
    models = [record["script"], *(row["model"] for row in record["runs"])]
    name = f"{Path(record['script']).stem}-{hashlib.sha256(json.dumps(models).encode()).hexdigest()[:8]}"
    folder = Path("runs") / name
    remove_leftovers(folder)
    written = False
    if not (folder / "htd.json").exists():
        with unfinished(folder) as own:
            own.mkdir()
            for file, figure in figures.items():
                figure.savefig(own / file, dpi=120)
            (own / "htd.json").write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
            written = put_in_folder(own, folder, "htd.json")
    if written:
        print(f"\nWritten to {folder}: htd.json, {' and '.join(figures)}.")
    else:
        print(f"\nThis result is already in {folder}, which stays as it was.")
