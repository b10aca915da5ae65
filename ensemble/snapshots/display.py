"""What snapshot.py shows: a table and a picture."""

import numpy as np
from matplotlib.figure import Figure

from ensemble.combining.predictions import PARTS
from ensemble.snapshots.comparison import WAYS, names_by_number


def print_table(rows, best, data, counts):
    """Print the scores of rows, {name: ...}, of `best` with a star; counts: of validation and test images."""
    print(f"\n{data}: {counts[0]:,} validation images, {counts[1]:,} test images\n")
    width = max(map(len, rows)) + 2
    print(f"{'':{width}}{'accuracy, %':>20}{'loss':>21}   test accuracy over the single run,")
    print(f"{'':{width}}{'validation':>12}{'test':>8}{'validation':>13}{'test':>8}   points [95%]        p, Holm")
    for name, row in rows.items():
        line = f"{name + (' *' if name == best else ''):{width}}"
        line += f"{100 * row['validation']['accuracy']:12.2f}{100 * row['test']['accuracy']:8.2f}"
        line += f"{row['validation']['loss']:13.4f}{row['test']['loss']:8.4f}"
        if "over_single_run" in row:
            gain, low, high = (100 * row["over_single_run"][part] for part in ("gain", "low", "high"))
            line += f"   {gain:+5.2f} [{low:+5.2f}, {high:+5.2f}] {row['over_single_run']['adjusted_p']:6.3f}"
        print(line)


def print_tables(compared, alone):
    """Print what a SnapshotComparison found, the best of each way, and the weights. alone: the single run, a Member."""
    before = {f"snapshot {number}": row for number, row in enumerate(compared.rows[:-1], start=1)}
    counts = [len(alone.predictions[part].labels) for part in PARTS]
    print_table(before | compared.methods, compared.best, alone.data, counts)
    print("\n* the best on validation\n\nbest on validation of each way, and its accuracy on test:")
    for way, name in compared.best_by_way.items():
        accuracy = compared.methods[name]["test"]["accuracy"]
        print(f"  {way}: {name.removesuffix(f', {way}')}, {100 * accuracy:.2f}%")
    print("weights, the oldest snapshot first:")
    for name, learnt in compared.weights.items():
        print(f"  {name}: {', '.join(f'{weight:.3f}' for weight in learnt)}")


def draw(title, methods, runs):
    """Return the figure: accuracy by number of snapshots, then validation accuracy and learning rate by epoch.

    methods: {name: {"validation": {"accuracy": ...}, "test": ...}}; runs: {name: (number of cycles, learning rate of
    each step, table like history.csv)}, the run in cycles first.
    """
    cycles = next(iter(runs.values()))[0]
    figure = Figure(figsize=(10, 10), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplot_mosaic(
        [["validation", "test"], ["history", "history"], ["rate", "rate"]], height_ratios=[3, 2, 1]
    )
    axes["test"].sharey(axes["validation"])
    for part in PARTS:
        shown = axes[part]
        for way, style in zip([*WAYS, "SWA"], ("o-", "s--", "^-."), strict=True):
            accuracies = [100 * methods[name][part]["accuracy"] for name in names_by_number(way, cycles)]
            shown.plot(range(1, cycles + 1), accuracies, style, label=way)
        for name, colour in (("EMA", "tab:purple"), ("single run", "black")):
            shown.axhline(100 * methods[name][part]["accuracy"], color=colour, linestyle=":", label=name)
        shown.set(xlabel="last snapshots taken", ylabel="accuracy, %", title=f"{part} images")
        shown.xaxis.get_major_locator().set_params(integer=True)
        shown.grid(alpha=0.3)
    axes["validation"].legend()

    for (name, (count, rates, history)), colour in zip(runs.items(), ("tab:blue", "black"), strict=True):
        epochs, accuracies = len(history), 100 * history["val_accuracy"]
        axes["history"].plot(history["epoch"], accuracies, ".-", color=colour, label=name)
        axes["rate"].plot(np.arange(len(rates)) * epochs / len(rates), rates, color=colour)
        if count > 1:
            ends = np.arange(1, count + 1) * epochs // count
            axes["history"].plot(ends, accuracies[ends - 1], "o", color="tab:red", zorder=3, label="snapshots")
            axes["rate"].plot(ends, np.zeros(count), "o", color="tab:red", zorder=3, clip_on=False)
    axes["history"].set_ylabel("validation accuracy, %")
    axes["history"].legend()
    axes["rate"].set(xlabel="epoch", ylabel="learning rate")
    for name in ("history", "rate"):
        axes[name].set_xlim(0, epochs * 1.01)
        axes[name].grid(alpha=0.3)
    return figure
