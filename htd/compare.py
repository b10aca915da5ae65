"""Compare schedules of the learning rate: train one network with each, several seeds, all else alike.

    python htd/compare.py --epochs 30                                                    # ResNet-20 on CIFAR-10
    python htd/compare.py --data digits --depth 8 --batch-size 32 --epochs 5 --seeds 2   # offline, a few minutes
    python htd/compare.py --script 1.LeNet/lenet.py --schedules step,tanh --parallel 2

Whatever is not an option of this command goes to the training script, which has its own --help. Each run is an
ordinary one, in runs/; an interrupted command goes on where it was when it is given again, and a finished run is
not trained again. Prints a table, and writes htd.json, rates.png and accuracy.png to a folder in runs/.

Nothing is chosen on the test images: each run scores them once, when it is over. A difference between schedules is
the mean over seeds of the pairs' differences, with its 95% interval (Student's t); if that includes 0, it may be
chance. Each interval stands alone: with more schedules it is likelier that one of them is beyond 0 by chance.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from cluster.engines import open_engine
from ensemble.combining.predictions import PARTS
from ensemble.common.command import run_command
from ensemble.common.history import read_history
from ensemble.common.scripts import read_script, settings_of
from htd.runs import (
    command_parser,
    describe,
    paired_difference,
    plan,
    plus_minus,
    step_rates,
    summary,
    train_all,
    write_result,
)

SCRIPT = "4.ResNet/resnet.py"  # the training script
SCHEDULES = ("step", "cosine", "tanh", "plateau")  # the others are compared with the first
SEEDS = 3  # runs of each
PARALLEL = 1  # runs side by side; of more, each is slower

PROGRAM = "htd/compare.py"


def print_tables(record):
    """Print the accuracies of each schedule, and its differences to the first."""
    counts = ", ".join(f"{count:,} {part}" for part, count in record["images"].items())
    training = record["training"]
    print(f"\n{record['data']}, images: {counts}; {training['script']}, {training['settings']['EPOCHS']} epochs\n")
    print(
        f"{'accuracy, %':12}" + "".join(f"{part:>13}{'median':>12}{'best *':>8}" for part in PARTS) + f"{'minutes':>10}"
    )
    for name, row in record["schedules"].items():
        line = f"{name:12}"
        for part in PARTS:
            line += f"{plus_minus(row[part]):>15}{100 * row[part]['median']:10.2f}{100 * row[part]['best']:8.2f}"
        print(f"{line}{row['seconds'] / 60:10.1f}")
    print("\n± the standard deviation over seeds; * of the seed that is best on validation\n")
    first = next(iter(record["schedules"]))
    for name, row in record["schedules"].items():
        if name != first:
            print(f"{name} less {first}, test, percentage points, by seed: {verdict(row['difference'])}")


def verdict(difference):
    """Return a difference in words: whether its interval includes 0."""
    mean, low, high = (None if value is None else 100 * value for value in difference.values())
    if low is None:
        return f"{mean:+.2f}; without a spread over seeds, so it may be chance"
    beyond = (
        "beyond the spread of the seeds" if low > 0 or high < 0 else "within the spread of the seeds: may be chance"
    )
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}], {beyond}"


def learning_rates_of(script, run, record):
    """Return a run's learning rates, of every step, or with plateau of every epoch, the rates that it came to."""
    settings, _ = settings_of(script, run.arguments)
    if settings["SCHEDULE"] == "plateau":
        return read_history(run.folder / "history.csv", "learning_rate")["learning_rate"].to_numpy()
    return step_rates(script, settings["EPOCHS"], record["images"]["train"] // settings["BATCH_SIZE"])


def draw_rates(script, runs, records):
    """Return a figure of the learning rates by epoch, plain and logarithmic; of plateau, those of every seed."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    plain, logarithmic = figure.subplots(1, 2)
    colours = {name: f"C{i}" for i, name in enumerate(dict.fromkeys(run.variant for run in runs))}
    for run, record in zip(runs, records, strict=True):
        if run.seed == 0 or run.variant == "plateau":
            rates = learning_rates_of(script, run, record)
            epochs = np.linspace(0, run.settings["EPOCHS"], len(rates) + 1)
            label = run.variant if run.seed == 0 else None
            for axes in (plain, logarithmic):
                axes.stairs(rates, epochs, baseline=None, color=colours[run.variant], label=label)
    highest = run.settings["LEARNING_RATE"]
    logarithmic.set(yscale="log", ylim=(highest / 1e4, 1.5 * highest))
    logarithmic.yaxis.set_major_formatter(lambda rate, _: f"{rate:g}")
    for axes in (plain, logarithmic):
        axes.set(xlabel="epochs", ylabel="learning rate")
        axes.grid(alpha=0.3)
    plain.legend()
    return figure


def draw_accuracy(runs, records):
    """Return a figure of validation accuracy by epoch, with a band from the worst to the best seed, and of the test
    accuracy of every run when it was over."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    by_epoch, at_end = figure.subplots(1, 2, width_ratios=(3, 1))
    names = list(dict.fromkeys(run.variant for run in runs))
    lowest = []
    for i, name in enumerate(names):
        own = [(run, record) for run, record in zip(runs, records, strict=True) if run.variant == name]
        histories = [read_history(run.folder / "history.csv", "val_accuracy")["val_accuracy"] for run, _ in own]
        validation = 100 * np.array(histories)
        epochs = np.arange(1, validation.shape[1] + 1)
        by_epoch.fill_between(
            epochs, validation.min(axis=0), validation.max(axis=0), color=f"C{i}", alpha=0.2, linewidth=0
        )
        by_epoch.plot(epochs, validation.mean(axis=0), ".-", color=f"C{i}", label=name)
        lowest.append(validation.min(axis=0))
        test = 100 * np.array([record["test"]["accuracy"] for _, record in own])
        at_end.plot(np.full(len(test), i), test, "o", color=f"C{i}", alpha=0.6)
        at_end.plot([i - 0.3, i + 0.3], [test.mean()] * 2, color=f"C{i}")
    by_epoch.set_ylim(bottom=np.quantile(lowest, 0.1) - 1)  # the first epochs lie far below all others
    by_epoch.xaxis.get_major_locator().set_params(integer=True)
    by_epoch.set(xlabel="epoch", ylabel="validation accuracy, %")
    by_epoch.set_title(f"Mean over seeds ({len(own)} of each), and from the worst to the best", fontsize=10)
    by_epoch.legend(loc="lower right")
    at_end.set_xticks(range(len(names)), names, rotation=45)
    at_end.set(xlim=(-0.6, len(names) - 0.4), ylabel="test accuracy, %")
    at_end.set_title("When it is over:\neach seed, and the mean", fontsize=10)
    for axes in (by_epoch, at_end):
        axes.grid(alpha=0.3)
    return figure


def main():
    parser = command_parser(__doc__, SCRIPT, SEEDS, PARALLEL)
    text = "which to compare, with commas between; the first is what the others are compared with (now %(default)s)"
    parser.add_argument("--schedules", default=",".join(SCHEDULES), help=text)
    options, arguments = parser.parse_known_args()
    script = read_script(options.script)
    variants = {name: [f"--schedule={name}"] for name in options.schedules.split(",")}
    runs = plan(script, arguments, variants, options.seeds)
    records = train_all(runs, open_engine(options))

    by_schedule = {
        name: [record for run, record in zip(runs, records, strict=True) if run.variant == name] for name in variants
    }
    baseline = next(iter(by_schedule.values()))
    schedules = {}
    for name, own in by_schedule.items():
        schedules[name] = summary(own) | {"seconds": sum(record["seconds"] for record in own) / len(own)}
        if own is not baseline:
            schedules[name]["difference"] = paired_difference(own, baseline)
    record = describe(PROGRAM, runs, records) | {"schedules": schedules}
    print_tables(record)
    write_result(record, {"rates.png": draw_rates(script, runs, records), "accuracy.png": draw_accuracy(runs, records)})


if __name__ == "__main__":
    run_command(main, "the same command goes on from the last finished epochs")
