"""Compare all ways to combine trained models, on the same images, and say which gains are more than chance.

    python ensemble/compare.py runs/*/model.h5 --out runs/compare

Every method learns on the validation images alone; validation figures of those that learn are cross-validated, so that
they do not flatter. The test images are scored once. Prints tables, and writes ensemble.json, report.html and pictures.

Gains are in accuracy on the test images, in percentage points, over the member that is best on validation and over
soft voting, each with a 95% interval (Tango's score interval for paired proportions) and the p-value of McNemar's
exact test, adjusted for the number of methods (Holm). A gain is called more than chance if that p is below 0.05.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.combining.likelihood import duality_gap
from ensemble.combining.methods import (
    StackedRegression,
    TemperedMean,
    WeightedMean,
    make_folds,
    methods_for,
    refuse_small_classes,
)
from ensemble.combining.metrics import best_temperature, brier_score, calibration_error, merit, score, tempered
from ensemble.combining.predictions import PARTS, Predictions
from ensemble.combining.significance import gains_over
from ensemble.combining.weight_grid import contest_count
from ensemble.common.command import RefusedError, progress, refuse, run_command
from ensemble.members.data import class_names, load_images
from ensemble.members.loading import load_members
from ensemble.members.member import short_names, stack
from ensemble.members.options import argument_parser
from ensemble.members.speed import seconds_per_thousand
from ensemble.model_files.form_options import read_forms
from ensemble.results.comparison import Comparison
from ensemble.results.page import write_files
from ensemble.results.record import result_folder, write_result
from ensemble.results.tables import SECONDS, print_tables

SCRIPT = "ensemble/compare.py"
WITHOUT_PROBABILITIES = ("hard voting",)  # it has classes alone


def measure(predictions):
    """Return accuracy, loss, Brier score and calibration error; on test also loss and calibration error when cooled.

    predictions: {"validation": Predictions, "test": Predictions}; the temperature is chosen on validation.
    """
    temperature = best_temperature(predictions["validation"])
    measured = {"temperature": temperature}
    for part in PARTS:
        measured[part] = score(predictions[part]) | {
            "brier": brier_score(predictions[part]),
            "calibration_error": calibration_error(predictions[part]),
        }
    test = predictions["test"]
    cooled = Predictions(tempered(test.probabilities, temperature), test.labels)
    measured["test"] |= {
        "loss_at_temperature": score(cooled)["loss"],
        "calibration_error_at_temperature": calibration_error(cooled),
    }
    return measured


def describe_members(predictions, order):
    """Return what the members have of each other, for Predictions with probabilities (members, n, classes).

    disagreement: the share of images on which two choose different classes; overlap: of the images that one of two has
    wrong, the share that both have; leave_one_out: what soft voting loses in accuracy without each member; by_number:
    its accuracy with the first member of `order`, the first two, and so on.
    """
    choices, wrong = predictions.choices, ~predictions.right
    either = (wrong[:, np.newaxis] | wrong).sum(axis=2)
    both = (wrong[:, np.newaxis] & wrong).sum(axis=2)

    def accuracy(chosen):
        return Predictions(predictions.probabilities[chosen].mean(axis=0), predictions.labels).right.mean()

    count = len(choices)
    everyone = accuracy(list(range(count)))
    return {
        "disagreement": (choices[:, np.newaxis] != choices).mean(axis=2).tolist(),
        "overlap": (both / np.maximum(either, 1)).tolist(),
        "leave_one_out": [float(everyone - accuracy([i for i in range(count) if i != left])) for left in range(count)],
        "by_number": [float(accuracy(order[:size])) for size in range(1, count + 1)],
    }


def cost(costs, used):
    """Return the sums of the members' costs, {name: list}, over those used, bool (members,); unknown is None."""
    sums = {"members": int(np.count_nonzero(used))}
    for name, values in costs.items():
        values = [value for value, is_used in zip(values, used, strict=True) if is_used]
        sums[name] = None if None in values else sum(values)
    return sums


def try_methods(predictions, costs):
    """Return what the methods give, {name: {"validation": Predictions, "test": Predictions}}, what the record says of
    them, {name: {...}}, and {name: why} of those left out.

    predictions: the members', {"validation": Predictions, "test": Predictions}; costs: see cost.
    """
    validation, test = (predictions[part] for part in PARTS)
    count = len(validation.probabilities)
    folds = make_folds(validation.labels)
    found, left_out = methods_for(count, contest_count(validation))
    outputs, methods = {}, {}
    for name, method in progress(list(found.items()), "methods"):
        combine, on_validation = method(validation, folds)
        outputs[name] = {
            "validation": Predictions(on_validation, validation.labels),
            "test": Predictions(combine(test.probabilities), test.labels),
        }
        methods[name] = measure(outputs[name])
        if name in WITHOUT_PROBABILITIES:
            methods[name] = {part: {"accuracy": methods[name][part]["accuracy"]} for part in PARTS}
        used = np.ones(count)
        if isinstance(combine, WeightedMean):
            used = combine.weights
            methods[name]["weights"] = used.tolist()
        elif isinstance(combine, TemperedMean):  # not "weights", which are a plain mean's
            used = combine.weights
            methods[name] |= {"tempered_weights": used.tolist(), "temperatures": combine.temperatures.tolist()}
        elif isinstance(combine, StackedRegression):
            methods[name] |= {"kernel": combine.kernel.tolist(), "bias": combine.bias.tolist()}
        methods[name] |= cost(costs, used > 0)
    weights = np.array(methods["likelihood"]["weights"])
    methods["likelihood"]["duality_gap"] = duality_gap(weights, validation)
    return outputs, methods, left_out


def compare(members, seconds, classes, images):
    """Return the Comparison of all methods.

    seconds: what each member takes for 1,000 images, or None; classes: their names; images: the test images, or None.
    """
    predictions = {part: stack(members, part) for part in PARTS}
    costs = {"parameters": [member.parameters for member in members], SECONDS: seconds}
    outputs, methods, left_out = try_methods(predictions, costs)
    each = np.eye(len(members), dtype=bool)
    rows = [measure(member.predictions) | cost(costs, own) for member, own in zip(members, each, strict=True)]
    order = sorted(range(len(members)), key=lambda i: merit(rows[i]), reverse=True)
    chosen = max((name for name in methods if name not in WITHOUT_PROBABILITIES), key=lambda name: merit(methods[name]))

    right = {name: output["test"].right for name, output in outputs.items()}
    best_right = predictions["test"].right[order[0]]
    others = {name: own for name, own in right.items() if name != "soft voting"}
    for key, gains in (
        ("over_best", gains_over(best_right, right)),
        ("over_soft_voting", gains_over(right["soft voting"], others)),
    ):
        for name, gain in gains.items():
            methods[name][key] = gain
    return Comparison(
        data=members[0].data,
        names=short_names([member.path for member in members], taken=methods),
        best=order[0],
        order=order,
        rows=rows,
        methods=methods,
        between=describe_members(predictions["test"], order),
        chosen=chosen,
        predictions=predictions,
        output=outputs[chosen]["test"],
        classes=classes,
        images=images,
        left_out=left_out,
    )


def find_test_images(member):
    """Return the test images, uint8 (n, height, width, 3), or None if they are no longer there."""
    try:
        images, labels = load_images(member.data, member.hold_out)[0]["test"]
    except RefusedError as error:
        print(f"Without a gallery of test images: {error}")
        return None
    if np.array_equal(labels, member.predictions["test"].labels):
        return images
    print(f"Without a gallery of test images: {member.data} has others now")
    return None


def main():
    options = argument_parser(__doc__).parse_args()
    members = load_members(options.models, options.data, options.hold_out, read_forms(options), options.skip_refused)
    if members[0].classes < 2:
        refuse(f"{members[0].data} has one class; there is nothing to compare")
    refuse_small_classes(
        members[0].predictions["validation"].labels, members[0].classes, "train with a larger HOLD_OUT"
    )
    folder = result_folder(SCRIPT, members, options.out, {})
    names = class_names(members[0].data, members[0].classes)
    images = find_test_images(members[0])
    seconds = seconds_per_thousand(members)
    started = time.perf_counter()
    found = compare(members, seconds, names, images)
    record = {"methods": found.methods, "between_members": found.between, "chosen": found.chosen}
    record |= {"left_out": found.left_out, "seconds": time.perf_counter() - started}
    print_tables(found)
    write_result(folder, SCRIPT, members, found.rows, record, lambda folder: write_files(folder, found))


if __name__ == "__main__":
    run_command(main)
