"""What compare.py found, and what it says in sentences."""

from dataclasses import dataclass

import numpy as np

from ensemble.combining.predictions import Predictions


@dataclass
class Comparison:
    """What compare.py found.

    data: the DATA setting; names: of the members; best: the number of the one best on validation; order: their
    numbers, the best on validation first. rows, methods: what the record says of members and methods; between: of the
    members together. chosen: the method best on validation, of those with probabilities. predictions: the members',
    {"validation": Predictions, "test": Predictions}, with probabilities (members, n, classes); output: the chosen
    method's Predictions for the test images. classes: their names; images: the test images, uint8 (n, height, width,
    3), or None; left_out: {method: why}.
    """

    data: str
    names: list
    best: int
    order: list
    rows: list
    methods: dict
    between: dict
    chosen: str
    predictions: dict
    output: Predictions
    classes: list
    images: np.ndarray | None
    left_out: dict


def percent(share, signed=False):
    """Return a share as text, in percent with two decimals."""
    return f"{100 * share:+.2f}" if signed else f"{100 * share:.2f}"


def interval(gain):
    """Return the 95% interval of a gain as text, in percentage points."""
    return f"[{percent(gain['low'], True)}, {percent(gain['high'], True)}]"


def is_real(gain):
    """Return whether a gain is more than chance, by McNemar's test, adjusted for the number of methods."""
    return gain["adjusted_p"] < 0.05


def verdict(found):
    """Return one sentence: what the method best on validation gains on the test images, and whether that is real."""
    row, best = found.methods[found.chosen], found.names[found.best]
    gain = row["over_best"]
    method = f"{found.chosen[0].upper()}{found.chosen[1:]}, the method best on validation"
    right = f"has {percent(row['test']['accuracy'])}% of the test images right"
    points = f"{percent(gain['gain'], True)} points {interval(gain)} to the member best there, {best}"
    return f"{method}, {right}: {points}, {'more than chance' if is_real(gain) else 'which may be chance'}."


def verdicts(found):
    """Return sentences that say which gains on the test images are more than chance."""
    sentences = [
        f"The member best on validation is {found.names[found.best]}: "
        f"{percent(found.rows[found.best]['test']['accuracy'])}% on the test images."
    ]
    for key, over in (("over_best", "that member"), ("over_soft_voting", "soft voting")):
        gains = {name: row[key] for name, row in found.methods.items() if key in row}
        kinds = {
            f"Better than {over}, by more than chance": lambda gain: is_real(gain) and gain["gain"] > 0,
            f"Worse than {over}, by more than chance": lambda gain: is_real(gain) and gain["gain"] < 0,
            f"No clear difference to {over}, it may be chance": lambda gain: not is_real(gain),
        }
        for text, holds in kinds.items():
            those = [
                f"{name} {percent(gain['gain'], True)} {interval(gain)}" for name, gain in gains.items() if holds(gain)
            ]
            if those:
                sentences.append(f"{text}: {', '.join(those)}.")
    sentences.append("More than chance: McNemar's p, adjusted by Holm for the number of methods, is below 0.05.")
    gap = found.methods["likelihood"]["duality_gap"]
    sentences.append(f"The likelihood weights are within {gap:.0e} nats per image of the best possible on validation.")
    sentences += [f"{name[0].upper()}{name[1:]} is left out: {why}." for name, why in found.left_out.items()]
    return sentences
