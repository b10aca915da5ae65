"""What voting.py and weighted_mean.py show: a table, a picture, and the record of both."""

import textwrap
from pathlib import Path

from matplotlib.figure import Figure

from ensemble.combining.predictions import PARTS
from ensemble.common.command import printable
from ensemble.common.pictures import write_pictures
from ensemble.members.member import score_members, short_names
from ensemble.results.record import write_result


def report(script, members, methods, folder, seconds, settings=None, weights=None):
    """Write the record and the picture of an ensemble, unless they are there, and print its table.

    methods: {name: {"validation": {"accuracy": ...}, "test": ...}}; folder: what result_folder returned; seconds: what
    they took; settings: more of the command for the record, a dictionary; weights: one number a member.
    """
    scores, best = score_members(members)
    print_table(members, scores, methods, weights, best)
    rows = scores
    if weights is not None:
        rows = [row | {"weight": float(weight)} for row, weight in zip(scores, weights, strict=True)]
    record = {"methods": methods, **(settings or {}), "seconds": seconds}
    pictures = {"ensemble": draw(members, scores, methods, weights, best)}
    write_result(folder, script, members, rows, record, lambda folder: write_pictures(folder, pictures), settings)


def print_table(members, scores, methods, weights, best):
    """Print accuracy on validation and test, in %, of the members and the methods, with the methods' gain."""
    counts = [len(members[0].predictions[part].labels) for part in PARTS]
    print(f"{members[0].data}: {counts[0]:,} validation images, {counts[1]:,} test images\n")
    names = [f"{member.path}{' *' if i == best else ''}" for i, member in enumerate(members)]
    width = max(map(len, [*names, *methods]))
    column = "" if weights is None else f"{'weight':>8}"
    print(f"{'accuracy, %':{width}}{column}{'validation':>12}{'gain':>7}{'test':>9}{'gain':>7}")
    for i, name in enumerate(names):
        validation, test = (100 * scores[i][part]["accuracy"] for part in PARTS)
        weight = "" if weights is None else f"{weights[i]:8.3f}"
        print(f"{name:{width}}{weight}{validation:12.2f}{'':7}{test:9.2f}")
    for name, method in methods.items():
        accuracies = [100 * method[part]["accuracy"] for part in PARTS]
        gains = [
            accuracy - 100 * scores[best][part]["accuracy"] for accuracy, part in zip(accuracies, PARTS, strict=True)
        ]
        columns = f"{accuracies[0]:12.2f}{gains[0]:+7.2f}{accuracies[1]:9.2f}{gains[1]:+7.2f}"
        print(f"{name:{width}}{'' if weights is None else ' ' * 8}{columns}")
    print("\n* the best single member on validation; gains are over it, in percentage points")


def draw(members, scores, methods, weights, best):
    """Return a figure of the accuracies: a row for each member and method, test beside validation."""
    labels = [textwrap.fill(name, 36) for name in short_names([member.path for member in members])]
    if weights is not None:
        labels = [f"{label}\nweight {weight:.3f}" for label, weight in zip(labels, weights, strict=True)]
    rows = [*zip(labels, scores, strict=True), *methods.items()]
    lines = max(label.count("\n") + 1 for label, _ in rows)
    figure = Figure(figsize=(8, 1.8 + (0.2 + 0.16 * lines) * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    for i, (_, row) in enumerate(rows):
        colour = "tab:gray" if i < len(members) else "tab:blue"
        validation, test = (100 * row[part]["accuracy"] for part in PARTS)
        axes.plot([validation, test], [i, i], color=colour, linewidth=1)
        axes.plot(validation, i, "o", color=colour, markerfacecolor="white", markersize=7)
        axes.plot(test, i, "o", color=colour, markersize=7)
        axes.annotate(f"{test:.2f}", (1.01, i), xycoords=axes.get_yaxis_transform(), va="center", color=colour)
    axes.axhline(len(members) - 0.5, color="black", linewidth=0.8)
    axes.axvline(100 * scores[best]["test"]["accuracy"], color="tab:gray", linestyle=":", linewidth=1)
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.set_xlabel("accuracy, %")
    counts = ", ".join(f"{len(members[0].predictions[part].labels):,} {part} images" for part in PARTS)
    data = printable(Path(members[0].data).name)
    figure.suptitle(f"{' and '.join(methods).capitalize()} on {data}\n{counts}", fontsize=11)
    axes.plot([], [], "o", color="black", label="test (number at the right)")
    axes.plot([], [], "o", color="black", markerfacecolor="white", label="validation")
    axes.plot([], [], ":", color="tab:gray", label="test of the member best on validation")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure
