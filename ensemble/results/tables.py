"""The tables of compare.py."""

import pandas as pd

from ensemble.combining.predictions import PARTS
from ensemble.results.comparison import interval, percent, verdicts

SECONDS = "seconds_per_1000_images"


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
    counts = [f"{len(found.predictions[part].labels):,} {part} images" for part in PARTS]
    print(f"{found.data}: {', '.join(counts)}")
    for title, table in tables(found).items():
        print(f"\n{title}\n{table.to_string()}")
    print("\n* the best single member on validation\n", *verdicts(found), sep="\n")
