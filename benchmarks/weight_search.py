"""Time ensemble/weighted_mean.py's search of weights against the plain loop over all of them, side by side.

    python benchmarks/weight_search.py

Members are drawn at random, but like trained networks: about 90% right on 10,000 images of 10 classes, often
wrong on the same images. Both ways must find the same best accuracy, and the search's weights must reach it in
the plain loop as well. Prints a Markdown table.
"""

import datetime
import shlex
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.combining.predictions import Predictions
from ensemble.combining.weight_grid import STEP, search, steps_in_one, weightings
from ensemble.common.command import new_parser, run_command
from ensemble.common.records import describe_computer

REPEATS = 3  # the fastest of so many runs, taken in turns, counts


def draw_members(count, images, classes, seed=0):
    """Return the Predictions of made-up members, with probabilities float64 (count, images, classes).

    A member's logits favour the label, with noise that all members share, because hard images are hard for all
    of them, and noise of its own.
    """
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=images)
    logits = 8 * np.eye(classes)[labels] + random.normal(scale=2.4, size=(images, classes))
    logits = logits + random.normal(scale=1.1, size=(count, images, classes))
    powers = np.exp(logits)
    return Predictions(powers / powers.sum(axis=2, keepdims=True), labels)


def plain_loop(predictions, units):
    """Return the accuracy of every weighting in units (ways, members), float64 (ways,), one after the other."""
    accuracies = []
    for weighting in units:
        mean = np.zeros(predictions.probabilities.shape[1:])
        for share, member in zip(weighting / weighting.sum(), predictions.probabilities, strict=True):
            mean += share * member
        accuracies.append((mean.argmax(axis=1) == predictions.labels).mean())
    return np.array(accuracies)


def compare(count, images=10_000, classes=10, step=STEP):
    """Return a row of the table for `count` members, or stop if the two ways do not agree."""
    predictions = draw_members(count, images, classes)
    units = weightings(count, steps_in_one(step))
    plain_seconds, search_seconds = [], []
    for _ in range(REPEATS):
        started = time.perf_counter()
        accuracies = plain_loop(predictions, units)
        plain_seconds.append(time.perf_counter() - started)
        started = time.perf_counter()
        winner, accuracy = search(predictions, step)
        search_seconds.append(time.perf_counter() - started)
    reached = accuracies[(units == winner).all(axis=1).argmax()]
    if not reached == accuracy == accuracies.max():
        sys.exit(f"{count} members: the search says {accuracy}, the plain loop {accuracies.max()} and {reached}")
    single = predictions.right.mean(axis=1)
    plain, fast = min(plain_seconds), min(search_seconds)
    return (
        f"| {count} | {single.min():.2%} to {single.max():.2%} | {len(units):,} | {plain:.3f} | {fast:.3f} | "
        f"{plain / fast:.0f} | {accuracy:.2%} |"
    )


def print_heading(description):
    """Take a command line without arguments, and print the machine, the date and the command."""
    parser = new_parser(description)
    parser.parse_args()
    today = datetime.datetime.now(datetime.UTC).date()
    print(f"{describe_computer()}; {today}; `{shlex.join(['python', *sys.argv])}`\n")


def main():
    print_heading(__doc__)
    print("| members | accuracy of each | weightings | plain loop, s | search, s | times faster | best accuracy |")
    print("|---:|:---:|---:|---:|---:|---:|---:|")
    for count in (2, 3, 4):
        print(compare(count), flush=True)


if __name__ == "__main__":
    run_command(main)
