"""The training runs that are compared: planned, trained or resumed, read, and put on record.

Shared by compare.py, grid.py and curves.py. A run is the training script itself, in a process of its own: it resumes as
the script resumes, is refused what the script refuses, and when finished it is not trained again.
"""

import argparse
import datetime
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import stats

from ensemble.combining.metrics import merit
from ensemble.combining.predictions import PARTS
from ensemble.common.command import new_parser, refuse
from ensemble.common.files import put_in_folder, remove_leftovers, unfinished
from ensemble.common.records import check_alike, git_commit, refuse_changes, remove_backup
from ensemble.common.schemas import ComparedRun, read_json
from ensemble.common.scripts import ROOT, import_script


@dataclass
class Run:
    """A training run. variant: what it is a run of; folder: runs/NAME; arguments: those of the script's command;
    settings: all of the script's, by name, as run.json has them."""

    variant: str
    seed: int
    folder: Path
    arguments: list
    settings: dict


# Command line
def command_parser(description, script, seeds, parallel):
    """Return a parser of the arguments that both commands take, with these defaults; its errors are one line."""

    def count(text):
        if not text.isdecimal() or int(text) < 1:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")
        return int(text)

    parser = new_parser(description)
    parser.add_argument("--script", default=script, help="the training script (default: %(default)s)")
    parser.add_argument("--seeds", type=count, default=seeds, help="runs of each, seeds 0, 1, ... (now %(default)s)")
    parser.add_argument("--parallel", type=count, default=parallel, help="runs side by side (now %(default)s)")
    return parser


TAKEN = ("learning_rate", "read_settings", "InputError")  # of a training script, and these settings
TAKEN += ("DATA", "EPOCHS", "BATCH_SIZE", "SCHEDULE", "LEARNING_RATE", "SEED", "RUN")


def read_script(path):
    """Return a training script as a module; refuse what is none. Without a file in the current folder, path is
    taken from the top folder of the repository."""
    file = Path(path).resolve() if Path(path).is_file() else ROOT / path
    if not file.is_file():
        refuse(f"there is no script {path}; give one such as --script 4.ResNet/resnet.py")
    text = file.read_text(encoding="utf-8", errors="replace")
    for name in TAKEN:
        if not re.search(rf"^(def {name}\(|class {name}\(|{name} = )", text, re.MULTILINE):
            mend = "give --script 4.ResNet/resnet.py or the like"
            refuse(f"{path} has no {name}, as the training scripts have; {mend}")
    return import_script(file)


def settings_of(script, arguments):
    """Return a script's settings by name and the folder for its run, or refuse what the script refuses."""
    try:
        return script.read_settings(arguments)
    except script.InputError as error:
        refuse(str(error))


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
            runs.append(Run(variant, seed, folder.with_name(name), command, json.loads(json.dumps(settings))))
    return runs


# Training
def read_result(run):
    """Return a run's run.json, or None if it is not finished; refuse one that had other settings."""
    file = run.folder / "run.json"
    if not file.exists():
        return None
    record = read_json(file, ComparedRun, f"move {run.folder} away, and the run is trained again")
    refuse_changes(run.folder, record["settings"], run.settings)
    remove_backup(run.folder)
    return record


def epochs_done(run):
    file = run.folder / "history.csv"
    return len(file.read_text(encoding="utf-8").splitlines()) - 1 if file.is_file() else 0


def start(script, run):
    """Start or resume a run. Its outputs are pipes, so that it ends at its next word if this program is killed."""
    command = [sys.executable, os.path.relpath(script.__file__), *run.arguments]
    environment = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", **os.environ}  # so that runs can share a GPU
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    os.set_blocking(process.stdout.fileno(), False)
    os.set_blocking(process.stderr.fileno(), False)
    return process


def fail_as(run, process, errors):
    """Exit with the script's own line if it refused, or else with what it said and how it ended."""
    lines = errors.decode(errors="replace").strip().splitlines()
    if process.returncode == 2 and lines:
        print(lines[-1], file=sys.stderr)
        sys.exit(2)
    print(*lines, sep="\n", file=sys.stderr)
    refuse(
        f"{run.folder} ended with status {process.returncode}; the same command goes on from its last finished epoch"
    )


def train_all(script, runs, parallel):
    """Train those of the runs that are not finished, `parallel` at a time; return every run's run.json, in order.

    Whatever ends it early also ends the runs, which the same command resumes.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    width = shutil.get_terminal_size().columns - 1
    records = {}  # by folder

    def take(run, record):
        records[run.folder] = record
        check_alike(next(iter(records)), run.folder)

    for run in runs:
        if record := read_result(run):
            take(run, record)
    waiting = [run for run in runs if run.folder not in records]
    print(f"{len(runs)} runs of {script.__name__}, of which {len(records)} are finished", flush=True)
    running, shown = [], ""  # running: [run, process, what it wrote on stderr, whether it has its images]
    try:
        while waiting or running:
            # one after the other: Keras unpacks a data set each time that it is loaded
            while waiting and len(running) < parallel and all(entry[3] for entry in running):
                running.append([waiting[0], start(script, waiting.pop(0)), b"", False])
            time.sleep(0.2)
            for entry in list(running):
                run, process, *_ = entry
                ended = process.poll() is not None
                entry[3] |= bool(process.stdout.read())  # its first words come later than its images
                entry[2] += process.stderr.read() or b""
                if ended:
                    running.remove(entry)
                    print(f"\r{'':{width}}\r", end="", flush=True)
                    if process.returncode:
                        fail_as(run, process, entry[2])
                    record = read_result(run)
                    take(run, record)
                    scored = f"validation accuracy {record['validation']['accuracy']:.2%}"
                    print(f"{run.folder}: {scored}, {record['seconds'] / 60:.1f} minutes", flush=True)
            states = [
                f"{run.variant}, seed {run.seed}: {epochs_done(run)} epochs of {run.settings['EPOCHS']}"
                for run, *_ in running
            ]
            state = f"{'; '.join(states)}; {len(waiting)} runs wait"
            if running and state != shown:
                print(f"\r{state:{width}.{width}}", end="", flush=True)
                shown = state
    finally:
        for _, process, *_ in running:
            process.terminate()
        for _, process, *_ in running:
            process.wait()
    return [records[run.folder] for run in runs]


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
