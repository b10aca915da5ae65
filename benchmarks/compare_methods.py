"""Time compare.py's methods and measures, of each on its own, on made-up members.

    python benchmarks/compare_methods.py

The members are those of weight_search.py: 8, on 5,000 validation and 10,000 test images of 10 classes. Prints a
Markdown table of the seconds that each method takes, its cross-validation included, that all of compare.py takes, with
temperatures and intervals, without loading files and drawing, and the search of weighted_mean.py on 10,000 images.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from benchmarks.weight_search import draw_members, print_heading
from ensemble.combining.methods import make_folds, methods_for
from ensemble.combining.predictions import Predictions
from ensemble.combining.weight_grid import search
from ensemble.common.command import run_command
from ensemble.compare import compare
from ensemble.members.member import Member, stack


def make_members(count, validation=5000, test=10_000):
    """Return `count` made-up members as a list of Member."""
    drawn = draw_members(count, validation + test, classes=10)
    parts = {"validation": slice(validation), "test": slice(validation, None)}
    members = []
    for number, probabilities in enumerate(drawn.probabilities):
        own = Predictions(probabilities, drawn.labels)
        predictions = {part: own.of(images) for part, images in parts.items()}
        members.append(Member(Path(f"m{number}.h5"), str(number), None, "made up", "", predictions))
    return members


def measure(members):
    """Return {what: seconds}."""
    predictions = stack(members, "validation")
    folds = make_folds(predictions.labels)
    seconds = {}
    for name, method in methods_for(len(members))[0].items():
        started = time.perf_counter()
        method(predictions, folds)
        seconds[name] = time.perf_counter() - started
    started = time.perf_counter()
    compare(members, [None] * len(members), [str(label) for label in range(10)], None)
    seconds["all of compare.py"] = time.perf_counter() - started
    started = time.perf_counter()
    search(stack(members, "test"))
    return seconds | {"weighted_mean.py's search, 10,000 images": time.perf_counter() - started}


def main():
    print_heading(__doc__)
    print("| 8 members | seconds |\n|:---|---:|")
    for name, seconds in measure(make_members(8)).items():
        print(f"| {name} | {seconds:.3f} |")


if __name__ == "__main__":
    run_command(main)
