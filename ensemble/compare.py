"""Compare all ways to combine trained models, on the same images, and say which gains are more than chance.

    python ensemble/compare.py runs/*/model.h5

Every method learns on the validation images alone; validation figures of those that learn are cross-validated, so that
they do not flatter. The test images are scored once. Prints tables, and writes ensemble.json and ensemble.png.

Gains are in accuracy on the test images, in percentage points, over the member that is best on validation and over
soft voting, each with a 95% interval (paired bootstrap) and the p-value of McNemar's exact test. A gain whose interval
holds 0 may be chance. With many methods compared, so may one in twenty of the others.
"""

import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from measures import (
    best_temperature,
    brier_score,
    calibration_bins,
    calibration_error,
    gain_interval,
    mcnemar,
    tempered,
)
from members import (
    PARTS,
    argument_parser,
    load_members,
    progress,
    read_forms,
    refuse,
    result_folder,
    score,
    score_members,
    short_names,
    stack,
    write_result,
)
from methods import FOLDS, WeightedMean, make_folds, methods_for

SCRIPT = "ensemble/compare.py"
WITHOUT_PROBABILITIES = ("hard voting",)  # it has classes alone


def measure(probabilities, labels):
    """Return accuracy, loss, Brier score and calibration error, and the latter two losses at the best temperature.

    probabilities, labels: {"validation": float (n, classes), "test": ...}, {"validation": int (n,), "test": ...}; the
    temperature is chosen on validation.
    """
    temperature = best_temperature(probabilities["validation"], labels["validation"])
    measured = {"temperature": temperature}
    for part in PARTS:
        cooled = tempered(probabilities[part], temperature)
        measured[part] = score(probabilities[part], labels[part]) | {
            "brier": brier_score(probabilities[part], labels[part]),
            "calibration_error": calibration_error(probabilities[part], labels[part]),
            "loss_at_temperature": score(cooled, labels[part])["loss"],
            "calibration_error_at_temperature": calibration_error(cooled, labels[part]),
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


def print_tables(members, best, rows, methods, between):
    """Print accuracies and gains, then the quality of probabilities, then what the members have of each other."""
    counts = [len(members[0].labels[part]) for part in PARTS]
    print(f"{members[0].data}: {counts[0]:,} validation images, {counts[1]:,} test images\n")
    names = [f"{name}{' *' if i == best else ''}" for i, name in enumerate(short_names([it.path for it in members]))]
    table = dict(zip(names, rows, strict=True)) | methods
    width = max(map(len, table))
    over = "gain over * [95%]      p     gain over soft voting      p"
    print(f"{'accuracy, %':{width}}{'validation':>12}{'test':>8}   {over}")
    for name, row in table.items():
        line = f"{name:{width}}" + "".join(
            f"{100 * row[part]['accuracy']:{w}.2f}" for part, w in zip(PARTS, (12, 8), strict=True)
        )
        for key in ("over_best", "over_soft_voting"):
            if key in row:
                gain = [100 * row[key][part] for part in ("gain", "low", "high")]
                line += f"   {gain[0]:+5.2f} [{gain[1]:+5.2f}, {gain[2]:+5.2f}] {row[key]['p']:6.3f}"
        print(line)
    print("\n* the best single member on validation; gains are in percentage points, on the test images\n")

    print(f"{'test images':{width}}{'loss':>9}{'Brier':>9}{'ECE, %':>9}{'at T =':>9}{'loss':>9}{'ECE, %':>9}")
    for name, row in table.items():
        if name not in WITHOUT_PROBABILITIES:
            test = row["test"]
            before = f"{test['loss']:9.4f}{test['brier']:9.4f}{100 * test['calibration_error']:9.2f}"
            after = f"{test['loss_at_temperature']:9.4f}{100 * test['calibration_error_at_temperature']:9.2f}"
            print(f"{name:{width}}{before}{row['temperature']:9.2f}{after}")

    print(f"\n{'members, test images':{width}}{'leave one out':>15}   disagreement with each, %")
    for i, name in enumerate(names):
        shares = "".join(f"{100 * share:7.2f}" for share in between["disagreement"][i])
        print(f"{name:{max(width, 20)}}{100 * between['leave_one_out'][i]:+15.2f}{shares}")
    print("soft voting of the members best on validation, the first, the first two, ...: ", end="")
    print(", ".join(f"{100 * accuracy:.2f}" for accuracy in between["by_number"]))

    by_weights = {name: method for name, method in methods.items() if "weights" in method}
    print(f"\n{'weights':{width}}" + "".join(f"{name:>17}" for name in by_weights))
    for i, name in enumerate(names):
        print(f"{name:{width}}" + "".join(f"{method['weights'][i]:17.3f}" for method in by_weights.values()))


def draw(members, best, rows, methods, between, ensemble):
    """Return the figure: gains with their intervals, accuracy by number of members, reliability, disagreement.

    ensemble: name and test probabilities of the method whose reliability is drawn.
    """
    names = short_names([member.path for member in members])
    figure = Figure(figsize=(11, 9), layout="constrained")
    (gains, numbers), (reliability, disagreement) = figure.subplots(2, 2)
    figure.suptitle(
        f"{len(members)} members on {len(members[0].labels['test']):,} test images of {Path(members[0].data).name}"
    )

    for y, row in enumerate(methods.values()):
        gain, low, high = (100 * row["over_best"][part] for part in ("gain", "low", "high"))
        real = low > 0 or high < 0
        gains.plot([low, high], [y, y], color="tab:blue" if real else "tab:gray", linewidth=2)
        gains.plot(gain, y, "o", color="tab:blue" if real else "tab:gray")
        gains.annotate(
            f"{100 * row['test']['accuracy']:.2f}%", (1.02, y), xycoords=gains.get_yaxis_transform(), va="center"
        )
    gains.axvline(0, color="black", linewidth=0.8)
    gains.set_yticks(range(len(methods)), list(methods))
    gains.invert_yaxis()
    gains.set_xlabel("points of accuracy, 95% interval (gray: holds 0)")
    gains.set_title(
        f"Gain over the best member\n({names[best]}, {100 * rows[best]['test']['accuracy']:.2f}%)", fontsize=10
    )
    gains.grid(axis="x", alpha=0.3)

    accuracies = 100 * np.array(between["by_number"])
    numbers.plot(range(1, len(names) + 1), accuracies, "o-")
    numbers.xaxis.get_major_locator().set_params(integer=True)
    numbers.set(xlabel="members, the best on validation first", ylabel="accuracy, %")
    numbers.set_title("Soft voting", fontsize=10)
    numbers.grid(alpha=0.3)

    labels = members[0].labels["test"]
    for name, probabilities in ((names[best], members[best].probabilities["test"]), ensemble):
        counts, confidence, accuracy = calibration_bins(probabilities, labels)
        shown = counts >= 10  # of fewer, accuracy is chance
        reliability.plot(confidence[shown], accuracy[shown], "o-", markersize=4, label=name)
    reliability.plot([0, 1], [0, 1], ":", color="black")
    reliability.set(
        xlabel="confidence, in bins of 10 images or more", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), aspect="equal"
    )
    reliability.set_title("Reliability", fontsize=10)
    reliability.legend(fontsize=8)

    shares = 100 * np.array(between["disagreement"])
    disagreement.imshow(shares, cmap="Blues", vmin=0)
    for i, row in enumerate(shares):
        for j, share in enumerate(row):
            dark = share > 0.6 * shares.max()
            disagreement.text(
                j, i, f"{share:.1f}", ha="center", va="center", fontsize=8, color="white" if dark else "black"
            )
    disagreement.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    disagreement.set_yticks(range(len(names)), names, fontsize=8)
    disagreement.set_title("Disagreement, % of images", fontsize=10)
    return figure


def main():
    options = argument_parser(__doc__).parse_args()
    members = load_members(options.models, options.data, options.hold_out, read_forms(options), options.skip_refused)
    labels = members[0].labels
    fewest = np.bincount(labels["validation"], minlength=members[0].probabilities["test"].shape[1]).min()
    if fewest < FOLDS:
        refuse(
            f"a class has {fewest} validation images; cross-validation needs {FOLDS} of each: give a larger --hold-out"
        )
    folder = result_folder(SCRIPT, members, options.out, {})
    started = time.perf_counter()
    probabilities = {part: stack(members, part) for part in PARTS}
    folds = make_folds(labels["validation"])
    found, left_out = methods_for(len(members))
    outputs, weights = {}, {}
    for name, method in progress(list(found.items()), "methods"):
        combine, validation = method(probabilities["validation"], labels["validation"], folds)
        outputs[name] = {"validation": validation, "test": combine(probabilities["test"])}
        if isinstance(combine, WeightedMean):
            weights[name] = combine.weights.tolist()

    _, best = score_members(members)
    right = {name: output["test"].argmax(axis=1) == labels["test"] for name, output in outputs.items()}
    best_right = members[best].probabilities["test"].argmax(axis=1) == labels["test"]
    rows = [measure(member.probabilities, labels) for member in members]
    methods = {}
    for name, output in outputs.items():
        methods[name] = measure(output, labels)
        if name in WITHOUT_PROBABILITIES:
            methods[name] = {part: {"accuracy": methods[name][part]["accuracy"]} for part in PARTS}
        if name in weights:
            methods[name]["weights"] = weights[name]
        methods[name]["over_best"] = compare_right(right[name], best_right)
        if name != "soft voting":
            methods[name]["over_soft_voting"] = compare_right(right[name], right["soft voting"])
    order = sorted(
        range(len(members)), key=lambda i: (-rows[i]["validation"]["accuracy"], rows[i]["validation"]["loss"])
    )
    between = describe_members(probabilities["test"], labels["test"], order)
    seconds = time.perf_counter() - started

    print_tables(members, best, rows, methods, between)
    for name, why in left_out.items():
        print(f"{name} is left out: {why}")
    shown = max(
        (name for name in methods if name not in WITHOUT_PROBABILITIES),
        key=lambda name: (methods[name]["validation"]["accuracy"], -methods[name]["validation"]["loss"]),
    )
    record = {"methods": methods, "between_members": between, "left_out": left_out, "seconds": seconds}
    ensemble = shown, outputs[shown]["test"]
    write_result(folder, SCRIPT, members, rows, record, lambda: draw(members, best, rows, methods, between, ensemble))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
