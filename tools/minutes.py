"""Draw the accuracy of training runs against the minutes that they took.

    python tools/minutes.py runs/fast-86 runs/fast-89 --out minutes.png

Shows each finished run's accuracy on the validation images after every epoch, from its history.csv, against the minutes
until then; and, at the end, that of the saved model on validation and test images, from its run.json. The saved model
can be better than the network was in the last epoch: by the average of an image and its mirror image, for one.
"""

import os
import sys
from pathlib import Path

from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.command import RefusedError, new_parser, printable, refuse, run_command
from ensemble.common.files import remove_leftovers, written_new
from ensemble.common.history import read_history
from ensemble.common.schemas import ScoredRun, read_json


def read_run(folder):
    """Return a finished run's history as a table, with a column `minutes`, and its record; or refuse the folder."""
    try:
        history = read_history(folder / "history.csv", "seconds", "val_accuracy")
        record = read_json(folder / "run.json", ScoredRun, "give another run")
    except RefusedError as error:
        refuse(f"{folder} is no finished run: {error}")
    history["minutes"] = history["seconds"].cumsum() / 60
    scores = {part: record[part]["accuracy"] for part in ("validation", "test")}
    return history[["minutes", "val_accuracy"]], scores | {"device": record["device"]}


def draw(runs):
    """Return the figure of {name: (history, record)}."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for name, (history, record) in runs.items():
        end = history["minutes"].iloc[-1]
        label = f"{name}: {100 * record['test']:.2f}% on test after {end:.1f} minutes"
        (line,) = axes.plot(history["minutes"], 100 * history["val_accuracy"], ".-", label=label)
        axes.plot(end, 100 * record["validation"], "o", color=line.get_color(), markerfacecolor="none", markersize=8)
        axes.plot(end, 100 * record["test"], "*", color=line.get_color(), markersize=12)
    axes.set(xlabel="minutes of training", ylabel="accuracy, %")
    title = "Validation accuracy by epoch; of the saved model, circle: validation, star: test"
    axes.set_title(f"{title}\n{', '.join(devices(runs))}", fontsize=10)
    axes.legend(loc="lower right", fontsize=8)
    axes.grid(alpha=0.3)
    return figure


def devices(runs):
    """Return the devices of the runs, each once."""
    return list(dict.fromkeys(record["device"] for _, record in runs.values()))


def read_options():
    """Return the options of the command line, or refuse folders of one name and a picture that is no new .png file."""
    parser = new_parser(__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="FOLDER", help="finished runs")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="the picture")
    options = parser.parse_args()
    remove_leftovers(options.out)
    if options.out.suffix != ".png" or os.path.lexists(options.out):
        refuse(f"--out {options.out}: give the name of a .png file that does not exist yet")
    names = [folder.resolve().name for folder in options.runs]
    if len(set(names)) < len(names):
        refuse(f"two of the folders have one name: {', '.join(names)}; give each once")
    return options


def main():
    options = read_options()
    figure = draw({printable(folder.resolve().name): read_run(folder) for folder in options.runs})
    with written_new(options.out) as path:
        figure.savefig(path, dpi=110)


if __name__ == "__main__":
    run_command(main)
