"""Find the best weights for the mean of trained models' probabilities.

    python ensemble/weighted_mean.py runs/*/model.h5
    python ensemble/weighted_mean.py runs/*/model.h5 --step 0.1

Tries all weights that are multiples of the step, are not negative and sum to 1. Those with the highest accuracy on
the validation images win; of equal winners, the nearest to equal weights. The winner is scored once on the test
images; its accuracy on validation flatters it, for there it was chosen (compare.py cross-validates). Prints a table,
and writes ensemble.json and ensemble.png.
"""

import math
import sys
import time

import numpy as np
from forms import read_forms
from members import PARTS, argument_parser, load_members, progress, refuse, report, result_folder, score, stack

STEP = 0.05  # between neighbouring weights; 1 must be a multiple of it

SCRIPT = "ensemble/weighted_mean.py"
MOST_WEIGHTINGS = 1_000_000
MOST_CONTESTS = 5_000_000_000  # of all weightings together: see contest_count; more would take many minutes


def steps_in_one(step):
    """Return how many steps make 1, or refuse a step that does not divide it."""
    steps = round(1 / step) if 1e-6 <= step <= 1 else 0
    if not steps or abs(steps * step - 1) > 1e-9:
        refuse(f"--step {step:g} does not divide 1; give 0.05, 0.1 or the like")
    return steps


def weightings(members, steps):
    """Return all ways to share `steps` units among members, int64 (ways, members), in lexicographic order."""
    units, left = np.zeros((1, 0), np.int64), np.array([steps])
    for _ in range(members - 1):
        choices = left + 1  # a row goes on as `choices` rows, with 0, 1, ..., left units for the next member
        row = np.repeat(np.arange(len(left)), choices)
        taken = np.arange(len(row)) - np.repeat(choices.cumsum() - choices, choices)
        units, left = np.column_stack([units[row], taken]), left[row] - taken
    return np.column_stack([units, left])


def find_rivals(probabilities, labels):
    """Return what decides whether means are right: leads, what is needed, rivals, and the images that are always right.

    probabilities: float64 (members, n, classes); labels: int64 (n,). A mean is right on an image if the label's lead
    over every other class, weighted and summed, is at least what is needed: 0, but over classes before the label more,
    because argmax takes the first of equal classes. Leads are float64 (members, n, classes), needed (n, classes).

    What all members have, their convex mean has too: if the label leads a class in all of them, it does in every mean,
    and if it leads in none, it never does. So of all images only those on which the members disagree can change, and
    of their classes only the rivals, bool (n, classes): those that lead the label in some members and not in all.
    """
    images, classes = probabilities.shape[1:]
    leads = probabilities[:, np.arange(images), labels][:, :, np.newaxis] - probabilities
    needed = np.where(np.arange(classes) < labels[:, np.newaxis], np.finfo(np.float64).smallest_subnormal, 0)
    lost = leads < needed
    rivals = lost.any(axis=0)
    always_right = ~rivals.any(axis=1)
    rivals[lost.all(axis=0).any(axis=1)] = False  # these images are always wrong
    return leads, needed, rivals, always_right


def contest_count(probabilities, labels):
    """Return how many pairs of an image and a rival each weighting decides."""
    return int(find_rivals(probabilities, labels)[2].sum())


def correct_counts(probabilities, labels, units, groups):
    """Return how many images of each group the mean of each weighting has right, int64 (ways, groups).

    probabilities: float64 (members, n, classes); labels and groups: int64 (n,), groups from 0 up; units: int64 (ways,
    members), from 0 up.
    """
    leads, needed, rivals, always_right = find_rivals(probabilities, labels)
    always_right = np.bincount(groups[always_right], minlength=groups.max() + 1)
    rival_count = rivals.sum(axis=1)
    open_images = np.argsort(-rival_count, kind="stable")[: np.count_nonzero(rival_count)]
    ranked = np.argsort(~rivals[open_images], axis=1, kind="stable")  # rivals before other classes
    contests = []  # the label against the first rival of every open image, against the second where there is one, ...
    for rank in range(rival_count.max()):
        image = open_images[rival_count[open_images] > rank]
        rival = ranked[: len(image), rank]
        contests.append((leads[:, image, rival], needed[image, rival]))

    in_group = np.eye(groups.max() + 1, dtype=np.float32)[groups[open_images]]
    correct = np.empty((len(units), groups.max() + 1), np.int64)
    rows = max(1, 2_000_000 // max(1, len(open_images)))  # 16 MB of sums at a time
    for start in progress(range(0, len(units), rows), f"{len(units):,} weightings"):
        some = units[start : start + rows].astype(np.float64)
        right = np.ones((len(some), len(open_images)), bool)
        for lead, least in contests:
            right[:, : len(least)] &= some @ lead >= least
        correct[start : start + rows] = always_right + np.rint(right.astype(np.float32) @ in_group)
    return correct


def most_equal(units):
    """Return the first of the weightings that are nearest to equal weights, int64 (members,)."""
    distances = ((units.shape[1] * units - units.sum(axis=1, keepdims=True)) ** 2).sum(axis=1)  # exact: whole numbers
    return units[distances.argmin()]


def search(probabilities, labels, step=STEP):
    """Return the best weighting in units of `step`, int64 (members,), and its accuracy.

    probabilities: float64 (members, n, classes); labels: int64 (n,). Every weighting is tried. Best is the
    highest accuracy, then the smallest squared distance to equal weights, then the first in lexicographic order.
    """
    count = len(probabilities)
    steps = steps_in_one(step)
    ways = math.comb(steps + count - 1, count - 1)
    if ways > MOST_WEIGHTINGS or ways * contest_count(probabilities, labels) > MOST_CONTESTS:
        refuse(
            f"{count} members and --step {step:g} make {ways:,} weightings; take a coarser step, or the likelihood "
            "weights of compare.py"
        )
    units = weightings(count, steps)
    correct = correct_counts(probabilities, labels, units, np.zeros_like(labels))[:, 0]
    return most_equal(units[correct == correct.max()]), float(correct.max() / len(labels))


def weighted_mean(probabilities, units):
    """Return the mean of float64 (members, n, classes) weighted by int64 units (members,), float64 (n, classes)."""
    return np.tensordot(units.astype(np.float64), probabilities, axes=1) / units.sum()


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--step", type=float, default=STEP, help="between neighbouring weights (default: %(default)s)")
    options = parser.parse_args()
    steps = steps_in_one(options.step)
    settings = {"step": 1 / steps}
    members = load_members(options.models, options.data, options.hold_out, read_forms(options), options.skip_refused)
    result_folder(SCRIPT, members, options.out, settings)
    started = time.perf_counter()
    units, _ = search(stack(members, "validation"), members[0].labels["validation"], options.step)
    seconds = time.perf_counter() - started
    methods = {
        name: {part: score(weighted_mean(stack(members, part), weights), members[0].labels[part]) for part in PARTS}
        for name, weights in (("equal weights", np.ones_like(units)), ("weighted mean", units))
    }
    report(SCRIPT, members, methods, options.out, seconds, settings, units / steps)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
