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

import numpy as np
from forms import read_forms
from measures import (
    best_temperature,
    brier_score,
    calibration_error,
    gain_interval,
    holm,
    mcnemar,
    tempered,
)
from members import (
    PARTS,
    argument_parser,
    load_images,
    load_members,
    progress,
    refuse,
    result_folder,
    score,
    score_members,
    seconds_per_thousand,
    short_names,
    stack,
    write_result,
)
from methods import FOLDS, TemperedMean, WeightedMean, duality_gap, make_folds, methods_for
from models import RefusedError
from predict import class_names
from report import Comparison, print_tables, write_files
from weighted_mean import contest_count

SCRIPT = "ensemble/compare.py"
WITHOUT_PROBABILITIES = ("hard voting",)  # it has classes alone


def measure(probabilities, labels):
    """Return accuracy, loss, Brier score and calibration error; on test also the latter and the loss at a temperature.

    probabilities, labels: {"validation": float (n, classes), "test": ...}, {"validation": int (n,), "test": ...}; the
    temperature is chosen on validation.
    """
    temperature = best_temperature(probabilities["validation"], labels["validation"])
    measured = {"temperature": temperature}
    for part in PARTS:
        measured[part] = score(probabilities[part], labels[part]) | {
            "brier": brier_score(probabilities[part], labels[part]),
            "calibration_error": calibration_error(probabilities[part], labels[part]),
        }
    cooled = tempered(probabilities["test"], temperature)
    measured["test"] |= {
        "loss_at_temperature": score(cooled, labels["test"])["loss"],
        "calibration_error_at_temperature": calibration_error(cooled, labels["test"]),
    }
    return measured


def compare_right(right, baseline):
    """Return the gain of bool (n,) over a baseline: accuracy, its 95% interval, and McNemar's p-value."""
    low, high = gain_interval(right, baseline)
    return {"gain": float(right.mean() - baseline.mean()), "low": low, "high": high, "p": mcnemar(right, baseline)}


def describe_members(probabilities, labels, order):
    """Return what the members have of each other, for float64 (members, n, classes) and int64 (n,).

    disagreement: the share of images on which two choose different classes; overlap: of the images that one of two has
    wrong, the share that both have; leave_one_out: what soft voting loses in accuracy without each member; by_number:
    its accuracy with the first member of `order`, the first two, and so on.
    """
    choices = probabilities.argmax(axis=2)
    wrong = choices != labels
    either = (wrong[:, np.newaxis] | wrong).sum(axis=2)
    both = (wrong[:, np.newaxis] & wrong).sum(axis=2)

    def accuracy(chosen):
        return (probabilities[chosen].mean(axis=0).argmax(axis=1) == labels).mean()

    count = len(probabilities)
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


def compare(members, seconds, classes, images):
    """Return the Comparison of all methods.

    seconds: what each member takes for 1,000 images, or None; classes: their names; images: the test images, or None.
    """
    labels = members[0].labels
    costs = {"parameters": [member.parameters for member in members], "seconds_per_1000_images": seconds}
    probabilities = {part: stack(members, part) for part in PARTS}
    folds = make_folds(labels["validation"])
    contests = contest_count(probabilities["validation"], labels["validation"])
    found, left_out = methods_for(len(members), contests)
    outputs, methods = {}, {}
    for name, method in progress(list(found.items()), "methods"):
        combine, validation = method(probabilities["validation"], labels["validation"], folds)
        outputs[name] = {"validation": validation, "test": combine(probabilities["test"])}
        methods[name] = measure(outputs[name], labels)
        if name in WITHOUT_PROBABILITIES:
            methods[name] = {part: {"accuracy": methods[name][part]["accuracy"]} for part in PARTS}
        used = np.ones(len(members))
        if isinstance(combine, WeightedMean):
            used = combine.weights
            methods[name]["weights"] = used.tolist()
        elif isinstance(combine, TemperedMean):  # not "weights": export.py would take those for a plain mean's
            used = combine.weights
            methods[name] |= {"tempered_weights": used.tolist(), "temperatures": combine.temperatures.tolist()}
        methods[name] |= cost(costs, used > 0)
    weights = np.array(methods["likelihood"]["weights"])
    methods["likelihood"]["duality_gap"] = duality_gap(weights, probabilities["validation"], labels["validation"])

    _, best = score_members(members)
    right = {name: output["test"].argmax(axis=1) == labels["test"] for name, output in outputs.items()}
    best_right = members[best].probabilities["test"].argmax(axis=1) == labels["test"]
    for key, baseline in (("over_best", best_right), ("over_soft_voting", right["soft voting"])):
        gains = {name: compare_right(own, baseline) for name, own in right.items() if own is not baseline}
        adjusted = holm([gain["p"] for gain in gains.values()])
        for (name, gain), p in zip(gains.items(), adjusted, strict=True):
            methods[name][key] = gain | {"adjusted_p": float(p)}
    each = np.eye(len(members), dtype=bool)
    rows = [measure(member.probabilities, labels) | cost(costs, own) for member, own in zip(members, each, strict=True)]

    def merit(row):
        return row["validation"]["accuracy"], -row["validation"]["loss"]

    order = sorted(range(len(members)), key=lambda i: merit(rows[i]), reverse=True)
    chosen = max((name for name in methods if name not in WITHOUT_PROBABILITIES), key=lambda name: merit(methods[name]))
    return Comparison(
        data=members[0].data,
        names=short_names([member.path for member in members], taken=methods),
        best=best,
        order=order,
        rows=rows,
        methods=methods,
        between=describe_members(probabilities["test"], labels["test"], order),
        chosen=chosen,
        probabilities=probabilities,
        labels=labels,
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
    if np.array_equal(labels, member.labels["test"]):
        return images
    print(f"Without a gallery of test images: {member.data} has others now")
    return None


def main():
    options = argument_parser(__doc__).parse_args()
    members = load_members(options.models, options.data, options.hold_out, read_forms(options), options.skip_refused)
    classes = members[0].probabilities["test"].shape[1]
    if classes < 2:
        refuse(f"{members[0].data} has one class; there is nothing to compare")
    fewest = np.bincount(members[0].labels["validation"], minlength=classes).min()
    if fewest < FOLDS:
        refuse(
            f"a class has {fewest} validation images; cross-validation needs {FOLDS} of each: train with a larger "
            "HOLD_OUT"
        )
    folder = result_folder(SCRIPT, members, options.out, {})
    names = class_names(members[0].data, classes)
    images = find_test_images(members[0])
    seconds = seconds_per_thousand(members)
    started = time.perf_counter()
    found = compare(members, seconds, names, images)
    record = {"methods": found.methods, "between_members": found.between, "chosen": found.chosen}
    record |= {"left_out": found.left_out, "seconds": time.perf_counter() - started}
    print_tables(found)
    write_result(folder, SCRIPT, members, found.rows, record, lambda folder: write_files(folder, found))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
