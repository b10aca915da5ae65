"""The members of an ensemble."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensemble.combining.metrics import merit, score
from ensemble.combining.predictions import PARTS, Predictions
from ensemble.common.command import RefusedError, printable


@dataclass
class Member:
    """A trained model and what it predicts.

    model: the SHA-256 of its file; data: the DATA setting its images came from; split: their hash; predictions:
    {"validation": Predictions, "test": Predictions}, with probabilities (n, classes); form: how it is fed and read, as
    in ensemble.json, or None for raw pixels and probabilities; hold_out: the HOLD_OUT setting of the split, where it is
    known.
    """

    path: Path
    model: str
    parameters: int | None
    data: str
    split: str
    predictions: dict
    form: dict | None = None
    hold_out: int | None = None

    @property
    def classes(self):
        return self.predictions["test"].probabilities.shape[1]


def warn_of_chance(member):
    """Warn of a member that has hardly more validation images right than the commonest class would.

    Hardly more: less than a tenth of the way from there to 1.
    """
    validation = member.predictions["validation"]
    chance = np.bincount(validation.labels).max() / len(validation.labels)
    accuracy = validation.right.mean()
    if accuracy < chance + 0.1 * (1 - chance):
        print(
            f"{Path(sys.argv[0]).name}: {member.path} has {accuracy:.1%} of the validation images right, and chance "
            f"{chance:.1%}: its inputs may need --scale or --mean and --std, or its classes --class-order",
            file=sys.stderr,
        )


def refuse_difference(first, second):
    """Refuse two members that differ in classes, data set or split, and say how."""
    differences = []
    if first.classes != second.classes:
        differences.append(f"classes ({first.classes}, {second.classes})")
    if first.split != second.split:  # the same split is the same data, under whatever name
        if first.data != second.data:
            differences.append(f"data set ({first.data}, {second.data})")
        differences.append(f"split ({first.split}, {second.split})")
    elif any(not np.array_equal(first.predictions[part].labels, second.predictions[part].labels) for part in PARTS):
        differences.append("labels (of the same split: one file of predictions is damaged)")
    if differences:
        raise RefusedError(f"{first.path} and {second.path} differ in {', '.join(differences)}: they are no ensemble")


def stack(members, part):
    """Return the Predictions of all members on "validation" or "test", with probabilities (members, n, classes)."""
    each = [member.predictions[part] for member in members]
    return Predictions(np.stack([predictions.probabilities for predictions in each]), each[0].labels)


def score_members(members):
    """Return the score of each member on both parts, [{"validation": {...}, "test": {...}}], and the best one's number.

    The best is the most accurate on validation, and of equally accurate ones the one of the least loss.
    """
    scores = [{part: score(member.predictions[part]) for part in PARTS} for member in members]
    return scores, max(range(len(members)), key=lambda i: merit(scores[i]))


def short_names(paths, taken=()):
    """Return a name for each model: its run's folder, or its file's stem.

    If two were alike, or one were `taken` by something else, the whole paths.
    """
    names = [printable(path.resolve().parent.name if path.stem == "model" else path.stem) for path in paths]
    clash = len(set(names)) < len(set(paths)) or set(names) & set(taken)
    return [printable(path) for path in paths] if clash else names
