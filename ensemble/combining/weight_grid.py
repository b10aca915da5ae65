"""Weights of a mean that are multiples of a step: all of them, and those that are right on most images.

Predictions are of several members, with probabilities (members, n, classes).
"""

import math

import numpy as np

from ensemble.common.command import progress, refuse

STEP = 0.05  # between neighbouring weights; 1 must be a multiple of it
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


def find_rivals(predictions):
    """Return what decides whether means are right: leads, what is needed, rivals, and the images that are always right.

    A mean is right on an image if the label's lead over every other class, weighted and summed, is at least what is
    needed: 0, but over classes before the label more, because argmax takes the first of equal classes. Leads are
    float64 (members, n, classes), needed (n, classes).

    What all members have, their convex mean has too: if the label leads a class in all of them, it does in every mean,
    and if it leads in none, it never does. So of all images only those on which the members disagree can change, and
    of their classes only the rivals, bool (n, classes): those that lead the label in some members and not in all.
    """
    leads = predictions.given[:, :, np.newaxis] - predictions.probabilities
    before = np.arange(leads.shape[2]) < predictions.labels[:, np.newaxis]
    needed = np.where(before, np.finfo(np.float64).smallest_subnormal, 0)
    lost = leads < needed
    rivals = lost.any(axis=0)
    always_right = ~rivals.any(axis=1)
    rivals[lost.all(axis=0).any(axis=1)] = False  # these images are always wrong
    return leads, needed, rivals, always_right


def contest_count(predictions):
    """Return how many pairs of an image and a rival each weighting decides."""
    return int(find_rivals(predictions)[2].sum())


def correct_counts(predictions, units, groups):
    """Return how many images of each group the mean of each weighting has right, int64 (ways, groups).

    units: int64 (ways, members), from 0 up; groups: int64 (n,), from 0 up.
    """
    leads, needed, rivals, always_right = find_rivals(predictions)
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


def search(predictions, step=STEP):
    """Return the best weighting in units of `step`, int64 (members,), and its accuracy.

    Every weighting is tried. Best is the highest accuracy, then the smallest squared distance to equal weights, then
    the first in lexicographic order.
    """
    count, images = predictions.given.shape
    steps = steps_in_one(step)
    ways = math.comb(steps + count - 1, count - 1)
    if ways > MOST_WEIGHTINGS or ways * contest_count(predictions) > MOST_CONTESTS:
        refuse(
            f"{count} members and --step {step:g} make {ways:,} weightings; take a coarser step, or the likelihood "
            "weights of compare.py"
        )
    units = weightings(count, steps)
    correct = correct_counts(predictions, units, np.zeros(images, np.int64))[:, 0]
    return most_equal(units[correct == correct.max()]), float(correct.max() / images)


def weighted_mean(probabilities, units):
    """Return the mean of float64 (members, n, classes) weighted by int64 units (members,), float64 (n, classes)."""
    return np.tensordot(units.astype(np.float64), probabilities, axes=1) / units.sum()
