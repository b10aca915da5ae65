"""How compare.py shows what it found: sentences, tables, figures, and one HTML page that holds them all."""

import base64
import html
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from measures import calibration_bins, tempered
from members import PARTS, write_pictures, written_apart
from weighted_mean import correct_counts, weightings

SECONDS = "seconds_per_1000_images"
SHOWN_IMAGES = 24  # in a gallery
TEXT_CLASSES = 20  # a confusion matrix of more has no numbers in it
CAPTIONS = {
    "gains": "Accuracy gained over the best member, with 95% score intervals (Tango). At the right, accuracy.",
    "members": "Accuracy of soft voting, as members join in the order of their validation accuracy.",
    "cost": "Accuracy against cost. Grey: each member alone. Blue: soft voting, as members join in the same order.",
    "simplex": "Validation accuracy of every weighting in steps of 1/40. A corner is a member alone.",
    "reliability": "Accuracy against confidence; on the diagonal a model is as sure as it is right. Dotted: at the "
    "temperature chosen on validation.",
    "disagreement": "Left: how often two members differ. Right: of the images that one of two misses, those that "
    "both miss.",
    "confusion": "Rows are the true classes. Right answers are left white, so that mistakes can be seen.",
    "missed": "Images that nobody gets right: the true class, what the ensemble sees, and what the members see.",
    "saved": "Images that only the ensemble gets right: every member prefers some other class.",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { margin-top: 2.5rem } .table { overflow-x: auto } code { overflow-wrap: anywhere }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th, td { padding: 2px 8px; text-align: right; white-space: nowrap; border: 0 }
tbody th { text-align: left; font-weight: normal } thead th { border-bottom: 1px solid #888 }
tbody tr:hover { background: #eef4fb } img { max-width: 100%; height: auto } figure { margin: 1.5rem 0 }
figcaption { color: #555; font-size: 14px }
"""


@dataclass
class Comparison:
    """What compare.py found.

    data: the DATA setting; names: of the members; best: the number of the one best on validation; order: their
    numbers, the best on validation first. rows, methods: what the record says of members and methods; between: of the
    members together. chosen: the method best on validation, of those with probabilities. probabilities, labels:
    {"validation": float (members, n, classes), "test": ...} and {"validation": int (n,), "test": ...}; output: the
    chosen method's on the test images, float (n, classes). classes: their names; images: the test images, uint8 (n,
    height, width, 3), or None; left_out: {method: why}.
    """

    data: str
    names: list
    best: int
    order: list
    rows: list
    methods: dict
    between: dict
    chosen: str
    probabilities: dict
    labels: dict
    output: np.ndarray
    classes: list
    images: np.ndarray | None
    left_out: dict


# Words
def percent(share, signed=False):
    """Return a share as text, in percent with two decimals."""
    return f"{100 * share:+.2f}" if signed else f"{100 * share:.2f}"


def interval(gain):
    """Return the 95% interval of a gain as text, in percentage points."""
    return f"[{percent(gain['low'], True)}, {percent(gain['high'], True)}]"


def is_real(gain):
    """Return whether a gain is more than chance, by McNemar's test, adjusted for the number of methods."""
    return gain["adjusted_p"] < 0.05


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


# Tables
def tables(found):
    """Return the tables by their titles, each a pandas.DataFrame of texts."""
    starred = [f"{name}{' *' if i == found.best else ''}" for i, name in enumerate(found.names)]
    table = dict(zip(starred, found.rows, strict=True)) | found.methods
    accuracies, qualities, costs, shares = {}, {}, {}, {}
    for name, row in table.items():
        accuracies[name] = {("", f"{part}, %"): percent(row[part]["accuracy"]) for part in PARTS}
        for key, over in (("over_best", "gain over *"), ("over_soft_voting", "gain over soft voting")):
            if key in row:
                p = row[key]["adjusted_p"]
                columns = {"points": percent(row[key]["gain"], True), "95%": interval(row[key])}
                columns["p (Holm)"] = f"{p:.3f}" if p >= 0.001 else "< 0.001"
                accuracies[name] |= {(over, column): text for column, text in columns.items()}
        if "loss" in row["test"]:
            test = row["test"]
            qualities[name] = {
                "loss": f"{test['loss']:.4f}",
                "Brier score": f"{test['brier']:.4f}",
                "ECE, %": percent(test["calibration_error"]),
                "T": f"{row['temperature']:.2f}",
                "loss at T": f"{test['loss_at_temperature']:.4f}",
                "ECE at T, %": percent(test["calibration_error_at_temperature"]),
            }
        costs[name] = {
            "members": f"{row.get('members', 1)}",
            "parameters": "unknown" if row["parameters"] is None else f"{row['parameters']:,}",
            "s / 1,000 images": "unknown" if row[SECONDS] is None else f"{row[SECONDS]:.2f}",
        }
    for i, name in enumerate(starred):
        shares[name] = {"leave one out": percent(found.between["leave_one_out"][i], True)}
        for method, row in found.methods.items():
            weights = row.get("weights", row.get("tempered_weights"))
            if weights:
                shares[name][method] = f"{weights[i]:.3f}"
    between = {}
    for key in ("disagreement", "overlap"):
        rows = [[f"{100 * share:.1f}" for share in row] for row in found.between[key]]
        between[key] = pd.DataFrame(rows, found.names, found.names)
    titled = {
        "Accuracy, and what is gained on the test images, in percentage points": accuracies,
        "Probabilities on the test images, as they are and at temperature T": qualities,
        "Cost": costs,
        "What soft voting loses without a member, in percentage points, and the methods' weights": shares,
    }
    return {title: pd.DataFrame.from_dict(rows, "index").fillna("") for title, rows in titled.items()} | {
        "Disagreement: images to which two members give different classes, %": between["disagreement"],
        "Overlap: of the images that one of two members has wrong, those that both have, %": between["overlap"],
    }


def print_tables(found):
    """Print tables and verdicts."""
    counts = [f"{len(found.labels[part]):,} {part} images" for part in PARTS]
    print(f"{found.data}: {', '.join(counts)}")
    for title, table in tables(found).items():
        print(f"\n{title}\n{table.to_string()}")
    print("\n* the best single member on validation\n", *verdicts(found), sep="\n")


# Figures
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
    best = found.rows[found.best], found.probabilities["test"][found.best]
    chosen = found.methods[found.chosen], found.output
    for name, (row, given), colour in (
        (found.names[found.best], best, "tab:gray"),
        (found.chosen, chosen, "tab:blue"),
    ):
        cooled = tempered(given, row["temperature"])
        for probabilities, line, label in (
            (given, "o-", name),
            (cooled, "o:", f"{name}, T = {row['temperature']:.2f}"),
        ):
            counts, confidence, accuracy = calibration_bins(probabilities, found.labels["test"])
            shown = counts >= 10  # of fewer, accuracy is chance
            axes.plot(confidence[shown], accuracy[shown], line, color=colour, markersize=4, label=label)
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
    labels = found.labels["validation"]
    probabilities = found.probabilities["validation"][three]
    accuracies = 100 * correct_counts(probabilities, labels, units, np.zeros_like(labels))[:, 0] / len(labels)
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
    axes.legend(fontsize=8, loc="upper left")
    axes.set_title("Weights of " + ("the three best members" if len(found.names) > 3 else "the members"), fontsize=10)


def draw_confusion(axes, found):
    """Draw of each class the share of its test images that the chosen method gives to each class."""
    count = len(found.classes)
    counts = np.bincount(found.labels["test"] * count + found.output.argmax(axis=1), minlength=count**2)
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
    figure.suptitle(f"{title}\n{len(chosen)} of {len(found.output):,}, {len(shown)} shown", fontsize=11)
    grid = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for axes in grid:
        axes.axis("off")
    members = found.probabilities["test"].argmax(axis=2)
    for axes, number in zip(grid, shown, strict=False):
        axes.imshow(found.images[number])
        given = found.output[number].argmax()
        others = ", ".join(sorted({found.classes[label] for label in members[:, number]}))
        text = f"{found.classes[found.labels['test'][number]]}\nensemble: {found.classes[given]}"
        axes.set_title(f"{text} {found.output[number, given]:.0%}\nmembers: {others}", fontsize=7)
    return figure


def galleries(found):
    """Return the figures, by name, of the images that all members miss, and of those that the ensemble then saves."""
    labels = found.labels["test"]
    all_miss = (found.probabilities["test"].argmax(axis=2) != labels).all(axis=0)
    saved = all_miss & (found.output.argmax(axis=1) == labels)
    confidence = found.output.max(axis=1)
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
    count = len(found.labels["test"])
    figure.suptitle(f"{len(found.names)} members on {count:,} test images of {Path(found.data).name}")
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


# The page
def write_files(folder, found):
    """Write ensemble.png, each figure as a PNG file, and report.html, which holds them all, to a folder."""
    drawn = {"ensemble": overview(found)} | figures(found)
    write_pictures(folder, drawn)
    pictures = {name: (folder / f"{name}.png").read_bytes() for name in CAPTIONS if name in drawn}
    with written_apart(folder / "report.html") as path:
        path.write_text(page(found, pictures), encoding="utf-8")


def page(found, pictures):
    """Return the HTML page, with the tables and the pictures, {name: bytes of a PNG file}, inside."""
    counts = " and ".join(f"{len(found.labels[part]):,} {part} images" for part in PARTS)
    title = html.escape(f"{len(found.names)} members on {Path(found.data).name}")
    command = html.escape(shlex.join(["python", *sys.argv]))
    parts = [
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>',
        f'<meta name="viewport" content="width=device-width">\n<style>{STYLE}</style>\n<h1>{title}</h1>',
        f"<p>{counts}. Made by <code>{command}</code>.</p>\n<h2>Which gains are real</h2>\n<ul>",
        *(f"<li>{html.escape(sentence)}" for sentence in verdicts(found)),
        "</ul>",
    ]
    for heading, table in tables(found).items():
        parts.append(f'<h2>{html.escape(heading)}</h2>\n<div class="table">{table.to_html(border=0)}</div>')
    parts.append("<p>* the best single member on validation</p>\n<h2>Figures</h2>")
    for name, picture in pictures.items():
        image = f'<img src="data:image/png;base64,{base64.b64encode(picture).decode()}" alt="{name}">'
        parts.append(f"<figure>{image}<figcaption>{CAPTIONS[name]}</figcaption></figure>")
    return "\n".join([*parts, "</html>\n"])
