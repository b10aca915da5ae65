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

The single run comes first; --engine, --address and --parallel say where it is trained, as for cluster/train_all.py.
The cycles are trained here.

Any setting of the training script may be given too (see its --help), except SCHEDULE, WARMUP, SELECT and TEST_FLIP.
Writes to runs/NAME/ what every run leaves, cycle-1.h5, ..., swa-2.h5, ..., ema.h5, ensemble.json and ensemble.png;
and to runs/NAME-single/ the single run. An interrupted run goes on from its last finished epoch when the same
command is given again.
"""

import json
import logging
import re
import signal
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from cluster.drive import train_all
from cluster.engines import add_engine_options, open_engine
from cluster.runs import Run
from ensemble.combining.methods import refuse_small_classes
from ensemble.common.command import new_parser, printable, refuse, refusing, run_command
from ensemble.common.history import read_history
from ensemble.common.pictures import write_pictures
from ensemble.common.records import check_alike, read_run, refuse_changes, remove_backup
from ensemble.common.scripts import ROOT, import_script, training_scripts
from ensemble.members.loading import load_members
from ensemble.results.record import result_folder, write_result
from ensemble.snapshots.averages import save_average, snapshots_of
from ensemble.snapshots.comparison import compare_snapshots
from ensemble.snapshots.display import draw, print_tables

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


# Command line
def read_own_settings(arguments):
    """Return the settings above by name, the texts of those given as `--name value`, the options that say where the
    single run is trained, and the arguments for neither."""
    section = Path(__file__).read_text(encoding="utf-8").split("\n# Settings\n")[1].split("\n\n")[0]
    comments = dict(re.findall(r"^([A-Z_]+) = .*?  # (.+)$", section, re.MULTILINE))
    parser = new_parser(__doc__)
    for name, comment in comments.items():
        option = "--" + name.lower().replace("_", "-")
        parser.add_argument(option, dest=name, metavar="", help=f"{comment} (now {globals()[name]!r})")
    add_engine_options(parser)
    options, rest = parser.parse_known_args(arguments)
    given = {name: text for name in comments if (text := vars(options)[name]) is not None}
    own = {name: given.get(name, globals()[name]) for name in comments}
    for name, (least, most) in LIMITS.items():
        try:
            own[name] = type(globals()[name])(own[name])
        except ValueError:
            refuse(f"{name} = {own[name]!r} is not of the kind {type(globals()[name]).__name__}: {comments[name]}")
        if not least <= own[name] <= most:
            refuse(f"{name} = {own[name]} is not from {least} to {most}")
    return own, given, options, rest


def find_script(architecture):
    """Return the path of the training script of this name, or of this path from here or the root; or refuse it."""
    scripts = {path.stem: path for path in training_scripts()}
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


def own_folder(folder, given):
    """Return the run's folder in runs/, from that of the script's and the texts given for the settings above."""
    parts = [f"{name}-{text}" for name, text in given.items() if name not in ("ARCHITECTURE", "RUN")]
    return Path("runs") / re.sub(r"[^a-z0-9.-]", "_", "-".join(["snapshot", *parts, folder.name]).lower())


def load_data(script):
    """Return the images of the script's load_data, no more for training than its LIMIT, or refuse them."""
    try:
        data = script.load_data(script.DATA, script.HOLD_OUT)
    except script.InputError as error:
        refuse(str(error))
    data["train"] = tuple(array[: script.LIMIT or None] for array in data["train"])
    refuse_small_classes(data["validation"][1], 1 + data["train"][1].max(), "give a larger --hold-out")
    return data


# Training
def cyclic_rate(time, cycle, highest):
    """Return the learning rate at a time, in the unit of `cycle`, a cycle's length: cosines from `highest` to 0.

    highest / 2 * (cos(pi * mod(time, cycle) / cycle) + 1), formula 2 of arXiv 1704.00109, where time is t - 1.
    """
    return highest / 2 * (np.cos(np.pi * (time % cycle) / cycle) + 1)


def is_finished(folder, settings):
    """Return whether the folder holds a finished run; refuse one of other settings."""
    if not (folder / "run.json").exists():
        return False
    with refusing(skip=False):
        was = read_run(folder / "model.h5")["settings"]
    refuse_changes(folder, was, json.loads(json.dumps(settings)))
    remove_backup(folder)
    return True


def train_cycles(script, settings, folder, data):
    """Train the snapshots, unless they are, and write the averages that are not there yet."""

    def rates(epoch):
        return cyclic_rate(epoch, script.EPOCHS // script.CYCLES, script.LEARNING_RATE)

    callbacks = [snapshots_of(script, data, folder)]
    if is_finished(folder, settings):
        print(f"{folder} is finished and taken as it is")
    else:
        with script.refusing():
            script.train(settings, folder, data=data, rates=rates, callbacks=callbacks)
    for count in range(2, script.CYCLES + 1):
        path = folder / f"swa-{count}.h5"
        if not path.exists():
            files = [folder / f"cycle-{cycle}.h5" for cycle in range(script.CYCLES - count + 1, script.CYCLES + 1)]
            for file in files:
                if not file.is_file():
                    refuse(
                        f"{file} is gone, though its run is finished; give another --run NAME, or move {folder} away"
                    )
            script.keras.backend.clear_session()  # names its layers alike, whatever this process made before
            snapshots = [script.keras.models.load_model(file, compile=False).get_weights() for file in files]
            means = [np.mean(arrays, axis=0, dtype=np.float64) for arrays in zip(*snapshots, strict=True)]
            save_average(script, data, means, path)
    script.keras.backend.clear_session()


def single_run(path, folder, settings, arguments):
    """Return the single run that goes with the snapshots in a folder, of the script at a path with these settings, of
    which the arguments are those that the command line has for the script."""
    name = f"{folder.name}-single"
    own = FIXED_SETTINGS | {name: settings[name] for name in ("EPOCHS", "LEARNING_RATE")} | {"RUN": name}
    more = [f"--{setting.lower().replace('_', '-')}={value}" for setting, value in own.items()]
    its_settings = json.loads(json.dumps(settings | own))
    return Run(path, folder.with_name(name), [*arguments, *more], its_settings)


def train_single(single, options):
    """Train the single run, unless it is finished, where the options say."""
    with open_engine(options) as engine:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        for _, result in train_all([single], engine):
            if isinstance(result, Exception):
                refuse(result)


# Comparison
def compare_all(script, steps, folder, single):
    """Print, record and draw what the snapshots, their ensembles, the averages and the single run are worth.

    steps: of each of the two runs, whose folders are given.
    """
    cycles = range(1, script.CYCLES + 1)
    names = [*(f"cycle-{cycle}" for cycle in cycles), *(f"swa-{count}" for count in cycles[1:]), "ema"]
    found = load_members([*(folder / f"{name}.h5" for name in names), single / "model.h5"])
    snapshots, averages, (ema, alone) = found[: len(cycles)], found[len(cycles) : -2], found[-2:]
    compared = compare_snapshots(snapshots, averages, ema, alone)
    print_tables(compared, alone)

    runs = {}
    for name, place, count in (("in cycles", folder, script.CYCLES), ("single run", single, 1)):
        rates = cyclic_rate(np.arange(steps), steps / count, script.LEARNING_RATE)
        runs[name] = count, rates, read_history(place / "history.csv", "epoch", "seconds", "val_accuracy")
    title = f"{script.CYCLES} snapshots of {Path(script.__file__).stem} on {printable(Path(alone.data).name)}"
    record = {
        "methods": compared.methods,
        "best_on_validation": compared.best,
        "best_of_each_way": compared.best_by_way,
        "seconds": {name: history["seconds"].sum() for name, (_, _, history) in runs.items()},
    }
    write_result(
        result_folder(SCRIPT, snapshots, folder, {}),
        SCRIPT,
        snapshots,
        [row | {"parameters": alone.parameters} for row in compared.rows],
        record,
        lambda folder: write_pictures(folder, {"ensemble": draw(title, compared.methods, runs)}),
    )


def main():
    own, given, options, rest = read_own_settings(sys.argv[1:])
    path = find_script(own["ARCHITECTURE"])
    print("Loading Keras and the images ...", flush=True)
    script = open_script(path)
    if own["EPOCHS"] % own["CYCLES"]:
        refuse(f"EPOCHS = {own['EPOCHS']} is no multiple of CYCLES = {own['CYCLES']}: a cycle has whole epochs")
    settings, folder = set_up(script, own, rest)
    folder = folder if own["RUN"] else own_folder(folder, given)
    data = load_data(script)
    single = single_run(path, folder, settings, rest)
    settings |= {name: own[name] for name in ("CYCLES", "EMA_DECAY", "BN_IMAGES")}
    is_finished(folder, settings)  # refuses other settings before any training

    train_single(single, options)
    train_cycles(script, settings, folder, data)
    check_alike(folder, single.folder)
    steps = script.EPOCHS * (len(data["train"][1]) // script.BATCH_SIZE)
    compare_all(script, steps, folder, single.folder)


if __name__ == "__main__":
    run_command(main, "the same command goes on from the last finished epoch")
