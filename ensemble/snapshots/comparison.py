"""What the snapshots of a run are worth: combined, averaged, and beside a single run."""

from dataclasses import dataclass

from ensemble.combining.likelihood import likelihood_weights
from ensemble.combining.methods import WeightedMean, fixed, make_folds, weighted
from ensemble.combining.metrics import merit, score
from ensemble.combining.predictions import PARTS, Predictions
from ensemble.combining.significance import gains_over
from ensemble.combining.votes import soft_voting
from ensemble.members.member import stack

WAYS = {
    "equal weights": fixed(soft_voting),
    "likelihood weights": weighted(likelihood_weights),
}


@dataclass
class SnapshotComparison:
    """What snapshot.py found.

    rows: the scores of each snapshot; methods: what the record says of everything compared, by name; weights: those
    learnt, {name: float64 (k,)}, the oldest snapshot first; best: the name of the best on validation; best_by_way: the
    best on validation of each way.
    """

    rows: list
    methods: dict
    weights: dict
    best: str
    best_by_way: dict


def names_by_number(way, cycles):
    """Return the names in the table of the last snapshot, the last two this way, the last three, ..."""
    return ["last snapshot", *(f"last {count}, {way}" for count in range(2, cycles + 1))]


def combine(snapshots, averages, folds):
    """Return the predictions of everything compared, {name: {"validation": Predictions, "test": ...}}, and weights.

    snapshots, averages: lists of Member, the averages of the last two snapshots, the last three and so on; folds: see
    combining/methods.py. The weights are {name: float64 (k,)} where they were learnt.
    """
    outputs, weights = {"last snapshot": snapshots[-1].predictions}, {}
    for count, average in enumerate(averages, start=2):
        validation, test = (stack(snapshots[-count:], part) for part in PARTS)
        for way, method in WAYS.items():
            name = f"last {count}, {way}"
            mean, on_validation = method(validation, folds)
            outputs[name] = {
                "validation": Predictions(on_validation, validation.labels),
                "test": Predictions(mean(test.probabilities), test.labels),
            }
            if isinstance(mean, WeightedMean):
                weights[name] = mean.weights
        outputs[f"last {count}, SWA"] = average.predictions
    return outputs, weights


def compare_snapshots(snapshots, averages, ema, alone):
    """Return the SnapshotComparison of snapshots and averages, lists of Member as in combine, of the exponential moving
    average, and of the single run."""
    outputs, weights = combine(snapshots, averages, make_folds(alone.predictions["validation"].labels))
    outputs |= {"EMA": ema.predictions, "single run": alone.predictions}
    methods = {name: {part: score(output[part]) for part in PARTS} for name, output in outputs.items()}
    for name, learnt in weights.items():
        methods[name]["weights"] = learnt.tolist()
    right = {name: output["test"].right for name, output in outputs.items()}
    for name, gain in gains_over(right.pop("single run"), right).items():
        methods[name]["over_single_run"] = gain

    def merit_of(name):
        return merit(methods[name])

    return SnapshotComparison(
        rows=[{part: score(snapshot.predictions[part]) for part in PARTS} for snapshot in snapshots],
        methods=methods,
        weights=weights,
        best=max(methods, key=merit_of),
        best_by_way={way: max(names_by_number(way, len(snapshots)), key=merit_of) for way in (*WAYS, "SWA")},
    )
