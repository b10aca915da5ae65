"""Train one network in several cycles, and let the snapshots from the cycles' ends vote: Snapshot Ensembles.

    python ensemble/snapshot.py                                      # ResNet-20 on CIFAR-10, 5 cycles of 40 epochs
    python ensemble/snapshot.py --architecture lenet --data digits --cycles 4 --epochs 20 --learning-rate 0.05
    python ensemble/snapshot.py --architecture densenet --depth 40 --bottleneck no --run densenet-cycles

Huang, Li, Pleiss, Liu, Hopcroft and Weinberger (arXiv 1704.00109): CYCLES times over, the learning rate falls from
LEARNING_RATE to 0 along a cosine, moving at every step. For every k the last k snapshots are combined, by equal
weights and by those of greatest likelihood, and set beside averages of the same run's weights, over the last k
snapshots (SWA, arXiv 1803.05407) and over all steps, exponentially (EMA); and beside a single run of the same
script, settings, seed and epochs, under one cosine. Everything is chosen and learnt on the validation images; what
is learnt is cross-validated there. Gains over the single run have a 95% interval (Tango's score interval for
paired proportions) and the p of McNemar's test, adjusted by Holm for the number of rows. The batch-normalisation
statistics of averages are taken anew, from training images augmented as in training, as the snapshots' own were.

Any setting of the training script may be given too (see its --help), except SCHEDULE, WARMUP, SELECT and TEST_FLIP.
Writes to runs/NAME/ what every run leaves, cycle-1.h5, ..., swa-2.h5, ..., ema.h5, ensemble.json and ensemble.png;
and to runs/NAME-single/ the single run. An interrupted run goes on from its last finished epoch when the same
command is given again.
"""

import argparse
import json
import logging
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from compare import compare_right
from matplotlib.figure import Figure
from measures import holm
from members import (
    PARTS,
    ROOT,
    check_alike,
    import_script,
    load_members,
    progress,
    read_run,
    refuse,
    result_folder,
    score,
    stack,
    write_pictures,
    write_result,
    written_whole,
)
from methods import FOLDS, WeightedMean, fixed, likelihood_weights, make_folds, weighted
from models import refusing
from voting import soft_voting

# Settings
ARCHITECTURE = "resnet"  # the training script: its path or its name without .py
CYCLES = 5  # cycles of the learning rate, each ending in a snapshot
EPOCHS = 200  # epochs of all cycles together, a multiple of CYCLES
LEARNING_RATE = 0.2  # the rate at which every cycle, and the single run, starts
EMA_DECAY = 0.999  # what the moving average keeps of itself at a step, less in the first steps
BN_IMAGES = 10_000  # augmented training images that give an average its batch-normalisation statistics
RUN = ""  # name of the run's folder in runs/; if empty, made from the settings on the command line

SCRIPT = "ensemble/snapshot.py"
LIMITS = {  # the lowest and highest value
    "CYCLES": (2, 10**6),
    "EPOCHS": (1, 10**9),
    "LEARNING_RATE": (1e-9, 999),
    "EMA_DECAY": (0, 0.999999),
    "BN_IMAGES": (1, 10**9),
}
FIXED_SETTINGS = {"SCHEDULE": "cosine", "WARMUP": 0, "SELECT": "last", "TEST_FLIP": "no"}  # of both runs
WAYS = {
    "equal weights": fixed(soft_voting),
    "likelihood weights": weighted(likelihood_weights),
}


# Command line
def read_own_settings(arguments):
    """Return the settings above by name, the texts of those given as `--name value`, and the arguments not for them."""
    section = Path(__file__).read_text(encoding="utf-8").split("\n# Settings\n")[1].split("\n\n")[0]
    comments = dict(re.findall(r"^([A-Z_]+) = .*?  # (.+)$", section, re.MULTILINE))
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form, allow_abbrev=False)
    parser.error = refuse
    for name, comment in comments.items():
        option = "--" + name.lower().replace("_", "-")
        parser.add_argument(option, dest=name, metavar="", help=f"{comment} (now {globals()[name]!r})")
    given, rest = parser.parse_known_args(arguments)
    given = {name: text for name, text in vars(given).items() if text is not None}
    own = {name: given.get(name, globals()[name]) for name in comments}
    for name, (least, most) in LIMITS.items():
        try:
            own[name] = type(globals()[name])(own[name])
        except ValueError:
            refuse(f"{name} = {own[name]!r} is not of the kind {type(globals()[name]).__name__}: {comments[name]}")
        if not least <= own[name] <= most:
            refuse(f"{name} = {own[name]} is not from {least} to {most}")
    return own, given, rest


def find_script(architecture):
    """Return the path of the training script of this name, or of this path from here or the root; or refuse it."""
    scripts = {path.stem: path for path in sorted(ROOT.glob("[1-8].*/*.py"))}
    for name, path in scripts.items():
        if architecture == name or path in (Path(architecture).resolve(), (ROOT / architecture).resolve()):
            return path
    refuse(f"ARCHITECTURE = {architecture!r} is no training script of this collection: {', '.join(scripts)}")


def set_up(script, own, arguments):
    """Set a script's settings to `own`, {name: value}, and to the arguments; return its own and its run's folder."""
    vars(script).update(FIXED_SETTINGS | own)
    try:
        settings, folder = script.read_settings(arguments)
    except script.InputError as error:
        refuse(str(error))
    for name, value in FIXED_SETTINGS.items():
        if settings[name] != value:
            refuse(f"{name} = {settings[name]!r} is not for snapshots, which need {value!r}; leave it out")
    return settings, folder


def open_script(path):
    """Return a training script as a module."""
    with refusing(skip=False):
        script = import_script(path)
    if script.BACKEND != "tensorflow":
        refuse(f"KERAS_BACKEND = {script.BACKEND!r}: only TensorFlow lets a run average its weights at every step")
    logging.getLogger("tensorflow").setLevel("ERROR")  # no note that predicting with every model is compiled anew
    return script


# Training
def cyclic_rate(time, cycle, highest):
    """Return the learning rate at a time, in the unit of `cycle`, a cycle's length: cosines from `highest` to 0.

    highest / 2 * (cos(pi * mod(time, cycle) / cycle) + 1), formula 2 of arXiv 1704.00109, where time is t - 1.
    """
    return highest / 2 * (np.cos(np.pi * (time % cycle) / cycle) + 1)


def new_model(script, data):
    """Return the script's network for the images of load_data, in float32 and always with the same first weights."""
    x, _ = data["train"]
    script.keras.config.set_dtype_policy("float32")
    script.keras.utils.set_random_seed(script.SEED)  # also of dropout in refresh_statistics
    return script.build_model(x.shape[1:], 1 + max(int(y.max()) for _, y in data.values()), *script.colour_moments(x))


def save_model(model, weights, path):
    """Write the model with these weights, a list of arrays, to an .h5 file."""
    model.set_weights(weights)
    with written_whole(path) as beside:
        model.save(beside, include_optimizer=False)


def refresh_statistics(model, batches):
    """Set a model's batch-normalisation statistics to the means of those of batches of images, uint8 (n, h, w, 3).

    No training step has seen averaged weights, so their statistics are unknown (arXiv 1803.05407, 3.2).
    """
    import keras

    normalisations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    if not normalisations:
        return
    momenta = [layer.momentum for layer in normalisations]
    for number, images in enumerate(batches):
        for layer in normalisations:
            layer.momentum = number / (number + 1)  # makes the moving average the mean of all batches so far
        model(images, training=True)
    for layer, momentum in zip(normalisations, momenta, strict=True):
        layer.momentum = momentum


def save_average(script, data, weights, path):
    """Write the script's network with averaged weights, a list of arrays, and their own statistics to an .h5 file."""
    x, y = data["train"]
    model = new_model(script, data)
    model.set_weights(weights)
    one_hot = script.keras.utils.to_categorical(y, model.output_shape[1])
    batches = script.Batches(x, one_hot, np.uint8(np.round(script.colour_moments(x)[0])))
    batches.begin_epoch(script.EPOCHS)  # the one after the last
    count = max(1, min(len(x), script.BN_IMAGES) // script.BATCH_SIZE)
    refresh_statistics(model, (batches[step][0] for step in progress(range(count), f"{path}: statistics")))
    save_model(model, model.get_weights(), path)


def snapshots_of(script, data, folder):
    """Return the callback for train() that writes cycle-1.h5, ... and ema.h5 to the run's folder."""
    model = new_model(script, data)
    keras = script.keras
    import tensorflow as tf

    class Snapshots(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.variables = []  # the moving averages of the weights, which train() keeps for a resume

        def set_model(self, model):
            super().set_model(model)
            if not self.variables:
                self.weights = model.trainable_variables
                self.variables = [keras.Variable(weight.numpy(), trainable=False) for weight in self.weights]
                self.update = tf.function(self.move_averages)

        def move_averages(self):
            """Move the averages towards the weights, in the first steps faster, or the start would stay in them."""
            step = tf.cast(self.model.optimizer.iterations.value, tf.float32)
            share = 1 - tf.minimum(script.EMA_DECAY, (1 + step) / (10 + step))
            for average, weight in zip(self.variables, self.weights, strict=True):
                average.assign(average.value + share * (weight.value - average.value))

        def on_train_batch_end(self, batch, logs=None):
            self.update()

        def on_epoch_end(self, epoch, logs=None):
            cycle, rest = divmod(epoch + 1, script.EPOCHS // script.CYCLES)
            if rest == 0 and np.isfinite(logs["loss"]):  # before the backup: a kill between them repeats the epoch
                save_model(model, self.model.get_weights(), folder / f"cycle-{cycle}.h5")

        def on_train_end(self, logs=None):  # comes also where a resume finds no epoch left
            averages = {id(weight): average for weight, average in zip(self.weights, self.variables, strict=True)}
            arrays = [averages.get(id(weight), weight).numpy() for weight in self.model.weights]
            save_average(script, data, arrays, folder / "ema.h5")

    return Snapshots()


def is_finished(folder, settings):
    """Return whether the folder holds a finished run; refuse one of other settings."""
    if not (folder / "run.json").exists():
        return False
    with refusing(skip=False):
        was = read_run(folder / "model.h5")["settings"]
    settings = json.loads(json.dumps(settings))
    changes = [f"{name} was {was.get(name)}, is {value}" for name, value in settings.items() if was.get(name) != value]
    if changes:
        refuse(f"{folder} is finished, but {'; '.join(changes)}. Undo that, or give another --run NAME")
    return True


def train_unless_finished(script, settings, folder, **options):
    """Train by the script's train(), which has these options, unless the run is finished."""
    if is_finished(folder, settings):
        print(f"{folder} is finished and taken as it is")
        return
    try:
        script.train(settings, folder, **options)
    except script.InputError as error:
        refuse(str(error))


def train_cycles(script, settings, folder, data):
    """Train the snapshots, unless they are, and write the averages that are not there yet."""

    def rates(epoch):
        return cyclic_rate(epoch, script.EPOCHS // script.CYCLES, script.LEARNING_RATE)

    callbacks = [snapshots_of(script, data, folder)]
    train_unless_finished(script, settings, folder, data=data, rates=rates, callbacks=callbacks)
    for count in range(2, script.CYCLES + 1):
        path = folder / f"swa-{count}.h5"
        if not path.exists():
            files = [folder / f"cycle-{cycle}.h5" for cycle in range(script.CYCLES - count + 1, script.CYCLES + 1)]
            for file in files:
                if not file.is_file():
                    refuse(
                        f"{file} is gone, though its run is finished; give another --run NAME, or move {folder} away"
                    )
            snapshots = [script.keras.models.load_model(file, compile=False).get_weights() for file in files]
            means = [np.mean(arrays, axis=0, dtype=np.float64) for arrays in zip(*snapshots, strict=True)]
            save_average(script, data, means, path)
    script.keras.backend.clear_session()


# Comparison
def names_by_number(way, cycles):
    """Return the names in the table of the last snapshot, the last two this way, the last three, ..."""
    return ["last snapshot", *(f"last {count}, {way}" for count in range(2, cycles + 1))]


def combine(snapshots, averages, folds):
    """Return the probabilities of everything compared, {name: {"validation": (n, classes), "test": ...}}, and weights.

    snapshots, averages: lists of Member, the averages of the last two snapshots, the last three and so on; folds: see
    methods.py. The weights are {name: float64 (k,)} where they were learnt.
    """
    labels = snapshots[0].labels["validation"]
    outputs, weights = {"last snapshot": snapshots[-1].probabilities}, {}
    for count, average in enumerate(averages, start=2):
        last = {part: stack(snapshots[-count:], part) for part in PARTS}
        for way, method in WAYS.items():
            name = f"last {count}, {way}"
            mean, validation = method(last["validation"], labels, folds)
            outputs[name] = {"validation": validation, "test": mean(last["test"])}
            if isinstance(mean, WeightedMean):
                weights[name] = mean.weights
        outputs[f"last {count}, SWA"] = average.probabilities
    return outputs, weights


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


def compare_all(script, steps, folder, single):
    """Print, record and draw what the snapshots, their ensembles, the averages and the single run are worth.

    steps: of each of the two runs, whose folders are given.
    """
    cycles = range(1, script.CYCLES + 1)
    names = [*(f"cycle-{cycle}" for cycle in cycles), *(f"swa-{count}" for count in cycles[1:]), "ema"]
    found = load_members([*(folder / f"{name}.h5" for name in names), single / "model.h5"])
    snapshots, averages, (ema, alone) = found[: len(cycles)], found[len(cycles) : -2], found[-2:]
    outputs, weights = combine(snapshots, averages, make_folds(alone.labels["validation"]))
    outputs |= {"EMA": ema.probabilities, "single run": alone.probabilities}

    labels = alone.labels
    right = {name: output["test"].argmax(axis=1) == labels["test"] for name, output in outputs.items()}
    methods = {name: {part: score(output[part], labels[part]) for part in PARTS} for name, output in outputs.items()}
    for name, row in methods.items():
        if name in weights:
            row["weights"] = weights[name].tolist()
    others = {name: compare_right(right[name], right["single run"]) for name in methods if name != "single run"}
    for (name, gain), p in zip(others.items(), holm([gain["p"] for gain in others.values()]), strict=True):
        methods[name]["over_single_run"] = gain | {"adjusted_p": float(p)}

    def merit(name):
        return methods[name]["validation"]["accuracy"], -methods[name]["validation"]["loss"]

    best = max(methods, key=merit)
    best_by_way = {way: max(names_by_number(way, script.CYCLES), key=merit) for way in (*WAYS, "SWA")}
    rows = [{part: score(snapshot.probabilities[part], labels[part]) for part in PARTS} for snapshot in snapshots]
    before = {f"snapshot {number}": row for number, row in enumerate(rows[:-1], start=1)}
    print_table(before | methods, best, alone.data, [len(labels[part]) for part in PARTS])
    print("\n* the best on validation\n\nbest on validation of each way, and its accuracy on test:")
    for way, name in best_by_way.items():
        print(f"  {way}: {name.removesuffix(f', {way}')}, {100 * methods[name]['test']['accuracy']:.2f}%")
    print("weights, the oldest snapshot first:")
    for name, learnt in weights.items():
        print(f"  {name}: {', '.join(f'{weight:.3f}' for weight in learnt)}")

    title = f"{script.CYCLES} snapshots of {Path(script.__file__).stem} on {Path(alone.data).name}"
    runs = {}
    for name, run, count in (("in cycles", folder, script.CYCLES), ("single run", single, 1)):
        rates = cyclic_rate(np.arange(steps), steps / count, script.LEARNING_RATE)
        runs[name] = count, rates, pd.read_csv(run / "history.csv")
    record = {
        "methods": methods,
        "best_on_validation": best,
        "best_of_each_way": best_by_way,
        "seconds": {name: history["seconds"].sum() for name, (_, _, history) in runs.items()},
    }
    write_result(
        result_folder(SCRIPT, snapshots, folder, {}),
        SCRIPT,
        snapshots,
        [row | {"parameters": alone.parameters} for row in rows],
        record,
        lambda folder: write_pictures(folder, {"ensemble": draw(title, methods, runs)}),
    )


def main():
    own, given, rest = read_own_settings(sys.argv[1:])
    path = find_script(own["ARCHITECTURE"])
    print("Loading Keras and the images ...", flush=True)
    script = open_script(path)
    if own["EPOCHS"] % own["CYCLES"]:
        refuse(f"EPOCHS = {own['EPOCHS']} is no multiple of CYCLES = {own['CYCLES']}: a cycle has whole epochs")
    settings, folder = set_up(script, own, rest)
    if not own["RUN"]:
        parts = [f"{name}-{text}" for name, text in given.items() if name not in ("ARCHITECTURE", "RUN")]
        folder = Path("runs") / re.sub(r"[^a-z0-9.-]", "_", "-".join(["snapshot", *parts, folder.name]).lower())
    try:
        data = script.load_data(script.DATA, script.HOLD_OUT)
    except script.InputError as error:
        refuse(str(error))
    data["train"] = tuple(array[: script.LIMIT or None] for array in data["train"])
    fewest = np.bincount(data["validation"][1], minlength=1 + data["train"][1].max()).min()
    if fewest < FOLDS:
        refuse(
            f"a class has {fewest} validation images; cross-validation needs {FOLDS} of each: give a larger --hold-out"
        )
    settings |= {name: own[name] for name in ("CYCLES", "EMA_DECAY", "BN_IMAGES")}
    alone = open_script(path)  # afresh: the other one gets another learning rate and checkpoint
    single = folder.with_name(f"{folder.name}-single")
    settings_alone, _ = set_up(alone, own | {"RUN": single.name}, rest)
    for place, its_settings in ((folder, settings), (single, settings_alone)):
        is_finished(place, its_settings)  # refuses other settings before any training

    train_cycles(script, settings, folder, data)
    train_unless_finished(alone, settings_alone, single)
    alone.keras.backend.clear_session()
    check_alike(folder, single)
    steps = script.EPOCHS * (len(data["train"][1]) // script.BATCH_SIZE)
    compare_all(script, steps, folder, single)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from the last finished epoch.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        refuse(f"{error}; when that is mended, the same command goes on from the last finished epoch")
