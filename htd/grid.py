"""Try hyperbolic-tangent decay with every pair of L and U of a grid, on a small network.

    python htd/grid.py --epochs 30                              # LeNet on CIFAR-10, 16 pairs
    python htd/grid.py --data digits --epochs 10 --seeds 1      # offline, a few minutes
    python htd/grid.py --tanh-from=-6,-4 --tanh-to=2,3 --script 4.ResNet/resnet.py --epochs 30

Whatever is not an option of this command goes to the training script, which has its own --help. Runs are as in
compare.py: an interrupted command goes on where it was, and a finished run is not trained again. The pair with the
highest mean accuracy on validation images is chosen, and the test accuracy of that pair alone is given. Prints a
table, and writes htd.json and grid.png to a folder in runs/.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from cluster.engines import open_engine
from ensemble.common.command import run_command
from ensemble.common.scripts import read_script
from htd.runs import command_parser, describe, plan, plus_minus, summary, train_all, write_result

SCRIPT = "1.LeNet/lenet.py"  # the training script
TANH_FROM = (-8.0, -6.0, -4.0, -2.0)  # L
TANH_TO = (1.0, 2.0, 3.0, 4.0)  # U
SEEDS = 2  # runs of each pair
PARALLEL = 1  # runs side by side; of more, each is slower

PROGRAM = "htd/grid.py"


def numbers(text):
    return [float(part) for part in text.split(",")]


def half_at(lower, upper):
    """Return the part of the run after which the learning rate is half its highest value, the paper's R."""
    return -lower / (upper - lower) if upper > lower else 0.0


def print_table(record):
    """Print the mean validation accuracy of every pair, and what was chosen."""
    grid = record["grid"]
    lowers, uppers = (sorted({cell[end] for cell in grid["cells"]}) for end in ("from", "to"))
    means = {(cell["from"], cell["to"]): plus_minus(cell["validation"]) for cell in grid["cells"]}
    print(f"\n{'validation, %':14}" + "".join(f"{f'U = {upper:g}':>16}" for upper in uppers))
    for lower in lowers:
        print(f"{f'L = {lower:g}':14}" + "".join(f"{means[lower, upper]:>16}" for upper in uppers))
    chosen = grid["chosen"]
    print(
        f"\nchosen on validation: L = {chosen['from']:g}, U = {chosen['to']:g} (half the rate after "
        f"{half_at(chosen['from'], chosen['to']):.0%} of the run); test {plus_minus(chosen['test'])}"
    )
    print(f"As the best of {len(grid['cells'])} on validation images, it owes some of its accuracy on them to chance.")


def draw(record):
    """Return a figure of the grid: the mean validation accuracy of every pair, the chosen one framed."""
    grid, training = record["grid"], record["training"]
    lowers, uppers = (sorted({cell[end] for cell in grid["cells"]}) for end in ("from", "to"))
    means = np.full((len(lowers), len(uppers)), np.nan)
    figure = Figure(figsize=(2.5 + 1.3 * len(uppers), 1.8 + 0.8 * len(lowers)), layout="constrained")
    axes = figure.add_subplot()
    for cell in grid["cells"]:
        means[lowers.index(cell["from"]), uppers.index(cell["to"])] = 100 * cell["validation"]["mean"]
    image = axes.imshow(means, cmap="viridis", aspect="auto")
    for cell in grid["cells"]:
        row, column = lowers.index(cell["from"]), uppers.index(cell["to"])
        text = plus_minus(cell["validation"]).replace(" ", "\n", 1)
        light = means[row, column] > (means.min() + means.max()) / 2
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="black" if light else "white")
        if (cell["from"], cell["to"]) == (grid["chosen"]["from"], grid["chosen"]["to"]):
            axes.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, fill=False, color="tab:red", linewidth=3))
    axes.set_xticks(range(len(uppers)), [f"{upper:g}" for upper in uppers])
    axes.set_yticks(range(len(lowers)), [f"{lower:g}" for lower in lowers])
    axes.set(xlabel="U: the higher, the lower the last rate", ylabel="L: the lower, the longer it stays high")
    figure.colorbar(image, label="validation accuracy, %")
    epochs, seeds = training["settings"]["EPOCHS"], len({row["seed"] for row in record["runs"]})
    axes.set_title(f"{training['script']}, {epochs} epochs, {seeds} of each pair", fontsize=10)
    return figure


def main():
    parser = command_parser(__doc__, SCRIPT, SEEDS, PARALLEL)
    for option, values, name in (("--tanh-from", TANH_FROM, "L"), ("--tanh-to", TANH_TO, "U")):
        text = f"{name}, with commas between (now {','.join(f'{value:g}' for value in values)})"
        parser.add_argument(option, type=numbers, default=values, metavar="N,N,...", help=text)
    options, arguments = parser.parse_known_args()
    script = read_script(options.script)
    variants = {
        f"tanh{lower:+g}{upper:+g}": ["--schedule=tanh", f"--tanh-from={lower}", f"--tanh-to={upper}"]
        for lower in options.tanh_from
        for upper in options.tanh_to
    }
    runs = plan(script, arguments, variants, options.seeds)
    records = train_all(runs, open_engine(options))

    cells, own = [], {}
    for run, record in zip(runs, records, strict=True):
        own.setdefault((run.settings["TANH_FROM"], run.settings["TANH_TO"]), []).append(record)
    for (lower, upper), of_cell in own.items():
        cells.append({"from": lower, "to": upper, **summary(of_cell, ["validation"])})
    chosen = max(cells, key=lambda cell: cell["validation"]["mean"])
    chosen = {"from": chosen["from"], "to": chosen["to"], **summary(own[chosen["from"], chosen["to"]])}
    record = describe(PROGRAM, runs, records, ["validation"]) | {"grid": {"cells": cells, "chosen": chosen}}
    print_table(record)
    write_result(record, {"grid.png": draw(record)})


if __name__ == "__main__":
    run_command(main, "the same command goes on from the last finished epochs")
