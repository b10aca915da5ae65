"""The figures of compare.py."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ensemble.combining.metrics import calibration_bins, tempered
from ensemble.combining.predictions import Predictions
from ensemble.combining.weight_grid import correct_counts, weightings
from ensemble.common.command import printable
from ensemble.results.comparison import is_real, percent
from ensemble.results.tables import SECONDS

SHOWN_IMAGES = 24  # in a gallery
TEXT_CLASSES = 20  # a confusion matrix of more has no numbers in it


def draw_gains(axes, found):
    """Draw each method's gain over the best member with its interval."""
    for y, row in enumerate(found.methods.values()):
        gain, low, high = (100 * row["over_best"][part] for part in ("gain", "low", "high"))
        colour = "tab:blue" if is_real(row["over_best"]) else "tab:gray"
        axes.plot([low, high], [y, y], color=colour, linewidth=2)
        axes.plot(gain, y, "o", color=colour)
        accuracy = f"{percent(row['test']['accuracy'])}%"
        axes.annotate(accuracy, (1.02, y), xycoords=axes.get_yaxis_transform(), va="center")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(found.methods)), list(found.methods))
    axes.invert_yaxis()
    axes.set_xlabel("points of accuracy, 95% interval (grey: may be chance)")
    best = percent(found.rows[found.best]["test"]["accuracy"])
    axes.set_title(f"Gain over the best member\n({found.names[found.best]}, {best}%)", fontsize=10)
    axes.grid(axis="x", alpha=0.3)


def draw_numbers(axes, found):
    """Draw the accuracy of soft voting by number of members."""
    axes.plot(range(1, len(found.names) + 1), 100 * np.array(found.between["by_number"]), "o-")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(xlabel="members, the best on validation first", ylabel="accuracy, %")
    axes.set_title("Soft voting", fontsize=10)
    axes.grid(alpha=0.3)


def draw_cost(axes, found, key, label):
    """Draw accuracy against what it costs: each member, and soft voting of the best, the best two, and so on."""
    costs = np.array([row[key] for row in found.rows], float)
    for name, cost, row in zip(found.names, costs, found.rows, strict=True):
        axes.plot(cost, 100 * row["test"]["accuracy"], "o", color="tab:gray")
        axes.annotate(name, (cost, 100 * row["test"]["accuracy"]), (5, -3), textcoords="offset points", fontsize=8)
    together = costs[found.order].cumsum()
    axes.plot(together, 100 * np.array(found.between["by_number"]), "o-", label="soft voting of the best 1, 2, ...")
    axes.set(xscale="log", xlabel=label, ylabel="accuracy, %")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda cost, _: f"{cost:,.10g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", labelsize=8, labelrotation=30)
    axes.margins(x=0.2)
    axes.legend(fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    axes.grid(alpha=0.3)


def draw_reliability(axes, found):
    """Draw accuracy against confidence, of the best member and the chosen method, as they are and at temperature."""
    test = found.predictions["test"]
    best = found.rows[found.best], test.probabilities[found.best]
    chosen = found.methods[found.chosen], found.output.probabilities
    for name, (row, given), colour in (
        (found.names[found.best], best, "tab:gray"),
        (found.chosen, chosen, "tab:blue"),
    ):
        cooled = tempered(given, row["temperature"])
        for probabilities, line, label in (
            (given, "o-", name),
            (cooled, "o:", f"{name}, T = {row['temperature']:.2f}"),
        ):
            counts, confidence, accuracy = calibration_bins(Predictions(probabilities, test.labels))
            shown = counts >= 10  # of fewer, accuracy is chance
            axes.plot(confidence[shown], accuracy[shown], line, color=colour, markersize=4, label=label)
    if not any(len(line.get_xdata()) for line in axes.lines):
        axes.text(0.7, 0.3, "too few images\nfor any bin", ha="center", va="center")
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.8)
    axes.set(xlabel="confidence, in bins of 10 images or more", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    axes.set_aspect("equal")
    axes.set_title("Reliability", fontsize=10)
    axes.legend(fontsize=8)


def draw_matrix(axes, shares, names, title):
    """Draw a matrix of shares, in percent."""
    shares = 100 * np.array(shares)
    top = np.max(shares, where=~np.eye(len(shares), dtype=bool), initial=1e-9)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=top)
    for (i, j), share in np.ndenumerate(shares):
        colour = "white" if share > 0.6 * top else "black"
        axes.text(j, i, f"{share:.1f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_title(title, fontsize=10)


def draw_simplex(axes, found):
    """Draw the validation accuracy of all weights of three members: the three best on validation, if there are more."""
    three = found.order[:3]
    units = weightings(3, 40)
    validation = found.predictions["validation"]
    images = len(validation.labels)
    members = Predictions(validation.probabilities[three], validation.labels)
    accuracies = 100 * correct_counts(members, units, np.zeros(images, np.int64))[:, 0] / images
    corners = np.array([[0, 0], [1, 0], [0.5, np.sqrt(3) / 2]])
    x, y = (units / 40 @ corners).T
    colours = axes.tripcolor(x, y, accuracies, shading="gouraud", cmap="viridis")
    axes.figure.colorbar(colours, ax=axes, label="accuracy on validation, %", shrink=0.8)
    axes.plot(*corners.mean(axis=0), "o", color="white", markeredgecolor="black", label="equal weights")
    best = units[accuracies == accuracies.max()] / 40 @ corners
    axes.plot(*best.T, ".", color="tab:red", markersize=6, label=f"the most accurate, {accuracies.max():.2f}%")
    for (left, up), number in zip(corners, three, strict=True):
        axes.annotate(found.names[number], (left, up), (0, 6 if up else -14), textcoords="offset points", ha="center")
    axes.set_aspect("equal")
    axes.axis("off")
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=2, frameon=False)
    axes.set_title("Weights of " + ("the three best members" if len(found.names) > 3 else "the members"), fontsize=10)


def draw_confusion(axes, found):
    """Draw of each class the share of its test images that the chosen method gives to each class."""
    count = len(found.classes)
    counts = np.bincount(found.output.labels * count + found.output.choices, minlength=count**2)
    counts = counts.reshape(count, count)
    shares = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    mistakes = np.where(np.eye(count, dtype=bool), np.nan, shares)  # what is right would outshine them
    axes.imshow(mistakes, cmap="Reds", vmin=0)
    if count <= TEXT_CLASSES:
        for (i, j), share in np.ndenumerate(shares):
            colour = "white" if mistakes[i, j] > 0.6 * np.nanmax(mistakes) else "black"
            axes.text(j, i, f"{share:.1f}" if share else "", ha="center", va="center", fontsize=8, color=colour)
        axes.set_xticks(range(count), found.classes, rotation=45, ha="right", fontsize=8)
        axes.set_yticks(range(count), found.classes, fontsize=8)
    axes.set(xlabel="given class", ylabel="true class")
    axes.set_title(f"Confusion of {found.chosen}, % of a class", fontsize=10)


def draw_gallery(found, chosen, title):
    """Return a figure of test images, by their numbers in `chosen`, with their class and what the ensemble sees."""
    shown = chosen[:SHOWN_IMAGES]
    columns = 6
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(11, 0.5 + 2.15 * rows), layout="constrained")
    figure.suptitle(f"{title}\n{len(chosen)} of {len(found.output.labels):,}, {len(shown)} shown", fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes in grid:
        axes.axis("off")
    members = found.predictions["test"].choices
    for axes, number in zip(grid, shown, strict=False):
        axes.imshow(found.images[number])
        given = found.output.choices[number]
        others = ", ".join(sorted({found.classes[label] for label in members[:, number]}))
        text = f"{found.classes[found.output.labels[number]]}\nensemble: {found.classes[given]}"
        axes.set_title(f"{text} {found.output.probabilities[number, given]:.0%}\nmembers: {others}", fontsize=7)
    return figure


def galleries(found):
    """Return the figures, by name, of the images that all members miss, and of those that the ensemble then saves."""
    all_miss = ~found.predictions["test"].right.any(axis=0)
    saved = all_miss & found.output.right
    confidence = found.output.probabilities.max(axis=1)
    pictures = {}
    for name, those, title in (
        ("missed", all_miss & ~saved, "Missed by all members and the ensemble, the surest mistakes first"),
        ("saved", saved, f"Right by {found.chosen} alone, missed by every member, the surest first"),
    ):
        chosen = np.flatnonzero(those)
        chosen = chosen[np.argsort(-confidence[chosen], kind="stable")]
        if found.images is not None and len(chosen):
            pictures[name] = draw_gallery(found, chosen, title)
    return pictures


def overview(found):
    """Return the figure of ensemble.png: gains, accuracy by number of members, reliability and disagreement."""
    figure = Figure(figsize=(11, 9), layout="constrained")
    count = len(found.output.labels)
    figure.suptitle(f"{len(found.names)} members on {count:,} test images of {printable(Path(found.data).name)}")
    (gains, numbers), (reliability, disagreement) = figure.subplots(2, 2)
    draw_gains(gains, found)
    draw_numbers(numbers, found)
    draw_reliability(reliability, found)
    draw_matrix(disagreement, found.between["disagreement"], found.names, "Disagreement, % of images")
    return figure


def figures(found):
    """Return the page's figures by the names of their files."""

    def figure(width, height, *draws):
        figure = Figure(figsize=(width, height), layout="constrained")
        for axes, draw in zip(figure.subplots(1, len(draws), squeeze=False)[0], draws, strict=True):
            draw(axes)
        return figure

    costs = {"parameters": "parameters", SECONDS: "seconds for 1,000 images"}
    known = [key for key in costs if all(row[key] for row in found.rows)]
    drawn = {
        "gains": figure(7, 1.5 + 0.35 * len(found.methods), lambda axes: draw_gains(axes, found)),
        "reliability": figure(5.5, 5.5, lambda axes: draw_reliability(axes, found)),
        "members": figure(6, 4, lambda axes: draw_numbers(axes, found)),
    }
    if known:
        draws = [lambda axes, key=key: draw_cost(axes, found, key, costs[key]) for key in known]
        drawn["cost"] = figure(5.5 * len(known), 4.5, *draws)
    if len(found.names) > 2:
        drawn["simplex"] = figure(7, 5, lambda axes: draw_simplex(axes, found))
    drawn["disagreement"] = figure(
        11,
        5,
        lambda axes: draw_matrix(axes, found.between["disagreement"], found.names, "Disagreement, % of images"),
        lambda axes: draw_matrix(axes, found.between["overlap"], found.names, "Overlap of mistakes, %"),
    )
    drawn["confusion"] = figure(7, 6.5, lambda axes: draw_confusion(axes, found))
    return drawn | galleries(found)
