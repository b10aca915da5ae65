"""The members of an ensemble: their predictions, their scores, and the record, table and picture of the whole.

Shared by the commands of ensemble/. A member's predictions are kept beside its model, so that voting.py and
weighted_mean.py need Keras and the images only once; this file imports neither Keras nor its backend until then.
"""

import argparse
import dataclasses
import datetime
import functools
import hashlib
import importlib.util
import json
import math
import os
import platform
import re
import shlex
import subprocess
import sys
import tempfile
import textwrap
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

from common import refuse, written_whole
from forms import Form, add_form_options, are_probabilities, finite, fit_images, model_inputs, softmax, taken_by
from models import RefusedError, check_name, load_model, refusing, usable

matplotlib.rcParams["text.parse_math"] = False  # a name may have a $ in it

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("validation", "test")
BATCH = 250  # images that a model is given at a time
ROUNDS = 3  # in which its speed is measured


@dataclass
class Member:
    """A trained model and what it predicts.

    model: the SHA-256 of its file; data: the DATA setting its images came from; split: their hash;
    probabilities and labels: {"validation": ..., "test": ...}, float64 (n, classes) and int64 (n,);
    form: how it is fed and read, as in ensemble.json, or None for raw pixels and probabilities; hold_out: the HOLD_OUT
    setting of the split, where it is known.
    """

    path: Path
    model: str
    parameters: int | None
    data: str
    split: str
    probabilities: dict
    labels: dict
    form: dict | None = None
    hold_out: int | None = None


def progress(items, text):
    """Yield the items of a list; show `text` and the share done every second, on stdout."""
    shown, lines = time.perf_counter(), 0
    for number, item in enumerate(items, start=1):
        yield item
        if time.perf_counter() - shown > 1:
            print(f"\r{text}: {number / len(items):4.0%}", end="", flush=True)
            shown, lines = time.perf_counter(), 1
    print("\r" + " " * (len(text) + 6) + "\r" if lines else "", end="", flush=True)


# Predictions
def file_hash(path):
    """Return the SHA-256 of a file's bytes, in hex."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from None


def read_run(path):
    """Return model, parameters and settings from the run.json beside a model; without one, they are empty."""
    file = path.with_name("run.json")
    if not file.exists():
        return {"model": None, "parameters": None, "settings": {}}
    try:
        run = json.loads(file.read_text(encoding="utf-8"))
        return {"model": run["model"], "parameters": run["parameters"], "settings": dict(run["settings"])}
    except (OSError, ValueError, TypeError, KeyError):
        raise RefusedError(f"{file} is damaged; move it away and give --data") from None


def check_alike(one, other):
    """Refuse to compare two finished runs, whose folders are given, that had other images, another precision or another
    number of parameters; warn, on stderr, if only their script was edited between them."""
    first, second = (json.loads((folder / "run.json").read_text(encoding="utf-8")) for folder in (one, other))
    for field, what in (("split", "images"), ("precision", "precision"), ("parameters", "parameters")):
        values = first.get(field), second.get(field)
        if values[0] != values[1]:
            refuse(
                f"{one} and {other} differ in their {what} ({values[0]}, {values[1]}): move one away, and it is "
                "trained again"
            )
    if first.get("script_sha256") != second.get("script_sha256"):
        print(f"warning: the script was edited between {one} and {other}; they may differ in that too", file=sys.stderr)


def kept_predictions(path, model, data, hold_out, form=None):
    """Return the predictions kept beside a model, a dictionary as in predictions.npz, or None.

    They must be of this very model, by its hash, and of these images: of data, hold_out and form where they are not
    None, and of the data file as it is now.
    """
    for name in ("predictions.npz", f"{path.name}.predictions.npz"):
        file = path.with_name(name)
        if not file.exists():
            continue
        own = name == "predictions.npz"  # a finished run's, of the images it was trained with
        if own and not path.with_name("run.json").exists():
            continue  # somebody's file of the same name
        try:
            with np.load(file) as arrays:
                kept = {key: arrays[key] for key in arrays.files}
            kept |= {key: str(kept[key]) for key in ("model", "data", "split")}
            if own:
                kept |= {"form": Form(), "outputs": "probabilities", "parameters": None, "size": ()}
            else:
                kept |= {"form": Form.from_json(str(kept["form"])), "outputs": str(kept["outputs"])}
                kept["parameters"] = int(kept["parameters"])
                kept["size"] = tuple(kept["size"].tolist()) if "size" in kept else ()
            for part in PARTS:
                outputs, labels = kept[f"{part}_probabilities"], kept[f"{part}_labels"]
                if labels.shape != outputs.shape[:1] or not 0 <= labels.min() <= labels.max() < outputs.shape[1]:
                    raise ValueError
        except Exception:  # a file can be broken in many ways
            raise RefusedError(f"{file} is damaged; delete it, and it is made anew from the model") from None
        if own:
            kept["hold_out"] = read_run(path)["settings"].get("HOLD_OUT")
        elif Path(kept["data"]).is_file() and file_hash(kept["data"]) != str(kept["data_sha256"]):
            continue
        if (
            kept["model"] == model
            and data in (None, kept["data"])
            and (hold_out is None or hold_out == kept["hold_out"])
            and form in (None, kept["form"])
        ):
            for part in PARTS:
                outputs = finite(kept[f"{part}_probabilities"], file)
                kept[f"{part}_probabilities"] = outputs if are_probabilities(outputs) else softmax(outputs)
            return kept
    return None


def kept_form(path, model):
    """Return how a model, by its hash, was fed and read when its predictions were last kept, or None."""
    try:
        with np.load(path.with_name(f"{path.name}.predictions.npz")) as kept:
            if str(kept["model"]) == model:
                return dataclasses.replace(Form.from_json(str(kept["form"])), outputs=str(kept["outputs"]))
    except Exception:  # a file can be broken in many ways
        pass
    return None


@contextmanager
def written_apart(path):
    """As written_whole, but several commands may write the same file at once: each whole, and the last one stays."""
    with tempfile.TemporaryDirectory(prefix="unfinished-", dir=path.parent) as folder:
        apart = Path(folder) / path.name
        with written_whole(apart) as file:
            yield file
        apart.replace(path)


def import_script(path):
    """Return a training script of this collection as a module; importing it imports Keras and its backend, quietly."""
    specification = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    script = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(script)
    except (ImportError, ValueError) as error:  # Keras has the latter for a backend that it does not know
        backend = f"KERAS_BACKEND = {os.environ['KERAS_BACKEND']!r}"
        mend = "install requirements.txt, or give one of tensorflow, jax, torch that is installed"
        raise RefusedError(f"Keras with {backend} cannot be imported ({error}); {mend}") from None
    return script


@functools.lru_cache(maxsize=1)
def load_images(data, hold_out):
    """Return what 4.ResNet/resnet.py makes of DATA and HOLD_OUT (None: its own): the images of its split.

    Returns {"validation": (x, y), "test": (x, y)}, the number of classes, and the strings and numbers that
    identify them in a file of predictions.
    """
    print("Loading Keras and the images ...", flush=True)
    resnet = import_script("4.ResNet/resnet.py")
    resnet.quick_on_cpu()
    hold_out = resnet.HOLD_OUT if hold_out is None else hold_out
    try:
        images = resnet.load_data(data, hold_out)
    except resnet.InputError as error:
        raise RefusedError(str(error)) from None
    classes = 1 + max(int(labels.max()) for _, labels in images.values())
    known = {
        "data": data,
        "split": resnet.split_hash(images),
        "hold_out": hold_out,
        "data_sha256": file_hash(data) if Path(data).is_file() else "",
    }
    return {part: images[part] for part in PARTS}, classes, known


def predict(path, model_hash, data, hold_out, form):
    """Predict the validation and test images with one model; keep the result beside it, in FILE.predictions.npz."""
    images, classes, known = load_images(data, hold_out)
    import keras

    x = np.concatenate([images[part][0] for part in PARTS])
    model = load_model(path, form.output)
    with usable(path):
        form = fit_images(model, path, x, form, original_size(data))
        given = model.output_shape
        if given != (None, classes) and (given, classes) != ((None, 1), 2):
            needed = f"{(None, classes)}{' or (None, 1)' if classes == 2 else ''}"
            raise RefusedError(f"{path} gives outputs of shape {given}; {data}, of {classes} classes, needs {needed}")
        warn_of_resizing(path, model, x.shape[1:3], form)
        batch = batch_for(model, path, x.shape[1:3], form)
        starts = progress(range(0, len(x), batch), f"{path}: predicting")
        outputs = [
            model.predict_on_batch(model_inputs(model, path, x[start : start + batch], form)) for start in starts
        ]
    parameters = model.count_params()
    del model
    keras.backend.clear_session()  # frees the memory before the next member
    probabilities, kind = form.read(np.concatenate(outputs), path)
    count = len(images["validation"][0])
    predictions = {
        "validation_probabilities": probabilities[:count],
        "test_probabilities": probabilities[count:],
        **{f"{part}_labels": images[part][1] for part in PARTS},
        "model": model_hash,
        "outputs": kind,
        "size": form.size or (),
        "parameters": parameters,
        **known,
    }
    try:
        with written_apart(path.with_name(f"{path.name}.predictions.npz")) as file:
            np.savez(file, form=dataclasses.replace(form, size=None).to_json(), **predictions)
    except OSError as error:
        print(f"{path}: its predictions are not kept beside it: {error.strerror}")
    return predictions | {"form": form}


def original_size(data):
    """Return height and width of the images of DATA before 4.ResNet/resnet.py gave them black borders, or None."""
    if data in ("mnist", "fashion_mnist"):
        return 28, 28
    try:
        with np.load(data) as file:
            return file["x_test"].shape[1:3]
    except Exception:  # a data set of scikit-learn or Keras, or a file that is no longer there
        return None


def times_the_pixels(model, path, size, form):
    """Return how many times the pixels of images of this height and width a model gets, if its form resizes them."""
    taken = taken_by(model, path)
    return taken.height * taken.width / math.prod(size) if form.resize else 1


def batch_for(model, path, size, form):
    """Return how many images a model is given at a time: fewer where they are enlarged."""
    return max(1, int(BATCH / max(1, times_the_pixels(model, path, size, form))))


def warn_of_resizing(path, model, size, form):
    """Say on stderr what it costs to resize images of this height and width for a model."""
    more, taken = times_the_pixels(model, path, size, form), taken_by(model, path)
    if more != 1:
        cost = f"{more:.0f} times the pixels to compute with, and no more detail" if more > 1 else "detail is lost"
        print(
            f"{Path(sys.argv[0]).name}: {path} gets images resized from {size[0]}x{size[1]} to "
            f"{taken.height}x{taken.width}, {form.resize}: {cost}",
            file=sys.stderr,
        )


def load_members(paths, data=None, hold_out=None, forms=None, skip_refused=False):
    """Return the models as a list of Member, in the order given; refuse members that do not belong together.

    paths: two or more .h5 or .keras files; data, hold_out: what to predict, instead of the DATA and HOLD_OUT in
    the run.json beside each model; forms: {path: Form}, where it is not that of the predictions kept, or else raw
    pixels; skip_refused: leave out the models that are refused, each with its line on stderr, while two are left.
    Models are loaded one at a time, and only where no predictions are kept.

    The probabilities are rounded to multiples of 2**-40, about 1e-12: float32 has no finer ones near a maximum.
    So sums of up to 4096 of them are exact in float64, and a tie is a tie in whatever order one adds.
    """
    if len(paths) < 2:
        refuse("an ensemble needs at least two models")
    paths = [Path(path) for path in paths]
    found = {}
    for path in paths:  # all of them before the first prediction, which may take minutes
        with refusing(skip_refused):
            found[path] = find_predictions(path, data, hold_out, (forms or {}).get(path))
    first, members = None, {}
    for path, (kept, model, source, run) in found.items():
        with refusing(skip_refused):
            predictions = kept or predict(path, model, **source)
            probabilities = {
                part: np.rint(predictions[f"{part}_probabilities"].astype(np.float64) * 2**40) / 2**40 for part in PARTS
            }
            labels = {part: predictions[f"{part}_labels"] for part in PARTS}
            parameters = run["parameters"] if run["model"] == model else predictions["parameters"]
            form = dataclasses.replace(predictions["form"], size=tuple(predictions["size"]) or None)
            form = form.record(predictions["outputs"], probabilities["test"].shape[1])
            member = Member(
                path,
                model,
                parameters,
                predictions["data"],
                predictions["split"],
                probabilities,
                labels,
                form,
                None if predictions["hold_out"] is None else int(predictions["hold_out"]),
            )
            first = first or member
            refuse_difference(first, member)
            members[path] = member
            if run["model"] is None:
                warn_of_chance(member)
    left = [members[path] for path in paths if path in members]
    if len(left) < 2:
        refuse(f"of {len(paths)} models, {len(left)} could be used; an ensemble needs at least two")
    return left


def find_predictions(path, data, hold_out, form):
    """Return the predictions kept beside a model or None, its hash, what to predict it with, and its run."""
    check_name(path)
    run = read_run(path)
    source = {
        "data": run["settings"].get("DATA") if data is None else data,
        "hold_out": run["settings"].get("HOLD_OUT") if hold_out is None else hold_out,
    }
    trained = run["settings"].get("HOLD_OUT", math.inf)
    if hold_out is not None and hold_out > trained:
        raise RefusedError(
            f"{path} was trained with HOLD_OUT = {trained}: with --hold-out {hold_out}, validation would be on images "
            "that it was trained on"
        )
    model = file_hash(path)
    kept = kept_predictions(path, model, **source, form=form)
    if kept is None and source["data"] is None:
        raise RefusedError(f"{path} has no run.json and no up-to-date predictions beside it; give its --data")
    return kept, model, source | {"form": form or kept_form(path, model) or Form()}, run


def warn_of_chance(member):
    """Warn of a member that has hardly more validation images right than the commonest class would.

    Hardly more: less than a tenth of the way from there to 1.
    """
    labels = member.labels["validation"]
    chance = np.bincount(labels).max() / len(labels)
    accuracy = (member.probabilities["validation"].argmax(axis=1) == labels).mean()
    if accuracy < chance + 0.1 * (1 - chance):
        print(
            f"{Path(sys.argv[0]).name}: {member.path} has {accuracy:.1%} of the validation images right, and chance "
            f"{chance:.1%}: its inputs may need --scale or --mean and --std, or its classes --class-order",
            file=sys.stderr,
        )


def seconds_per_thousand(members):
    """Return the seconds that each model takes for 1,000 of the data's images on this machine, a list of floats.

    In the precision that the model was saved in and batches of 250, or fewer if images are enlarged for it, one model
    in memory at a time; the median of ROUNDS after a batch to warm up. Kept beside the model, in FILE.seconds.json, so
    that it is measured once. All None if the images can no longer be loaded.
    """
    seconds = []
    for member in members:
        file = member.path.with_name(f"{member.path.name}.seconds.json")
        about = {"model": member.model, "device": describe_computer()}
        try:
            kept = json.loads(file.read_text(encoding="utf-8"))
            if kept | about != kept or not kept["seconds"] > 0:
                raise ValueError
        except (OSError, ValueError, TypeError, KeyError):  # none, or of another model or machine
            try:
                kept = about | {"seconds": measure_seconds(member)}
            except RefusedError as error:
                print(f"Seconds per 1,000 images are not measured: {error}")
                return [None] * len(members)
            try:
                with written_apart(file) as beside:
                    beside.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
            except OSError as error:
                print(f"{member.path}: its seconds are not kept beside it: {error.strerror}")
        seconds.append(kept["seconds"])
    return seconds


def measure_seconds(member):
    """Return the seconds that a model takes for 1,000 images, as seconds_per_thousand says."""
    images, _, _ = load_images(member.data, member.hold_out)
    import keras

    x = np.resize(images["test"][0], (1000, *images["test"][0].shape[1:]))  # fewer are repeated
    form = Form.from_json(json.dumps(member.form or {}))
    model = load_model(member.path, form.output)
    rounds = []
    with usable(member.path):
        size = batch_for(model, member.path, x.shape[1:3], form)
        x = model_inputs(model, member.path, x, form).astype(np.float32)
        batches = [x[start : start + size] for start in range(0, len(x), size)]
        model.predict_on_batch(batches[0])
        for _ in progress(range(ROUNDS), f"{member.path}: measuring its speed"):
            started = time.perf_counter()
            for batch in batches:
                model.predict_on_batch(batch)
            rounds.append(time.perf_counter() - started)
    del model
    keras.backend.clear_session()
    return float(np.median(rounds))


def refuse_difference(first, second):
    """Refuse two members that differ in classes, data set or split, and say how."""
    differences = []
    classes = [member.probabilities["test"].shape[1] for member in (first, second)]
    if classes[0] != classes[1]:
        differences.append(f"classes ({classes[0]}, {classes[1]})")
    if first.split != second.split:  # the same split is the same data, under whatever name
        if first.data != second.data:
            differences.append(f"data set ({first.data}, {second.data})")
        differences.append(f"split ({first.split}, {second.split})")
    elif any(not np.array_equal(first.labels[part], second.labels[part]) for part in PARTS):
        differences.append("labels (of the same split: one file of predictions is damaged)")
    if differences:
        raise RefusedError(f"{first.path} and {second.path} differ in {', '.join(differences)}: they are no ensemble")


def stack(members, part):
    """Return the members' probabilities on "validation" or "test", float64 (members, n, classes)."""
    return np.stack([member.probabilities[part] for member in members])


def score(probabilities, labels):
    """Return accuracy and cross-entropy in nats of float (n, classes) on int labels (n,)."""
    likelihood = np.maximum(probabilities[np.arange(len(labels)), labels], 1e-7)
    accuracy = (probabilities.argmax(axis=1) == labels).mean()
    return {"accuracy": float(accuracy), "loss": float(-np.log(likelihood, dtype=np.float64).mean())}


# Command line, record, table and picture
def result_path(text):
    """Return the path of a folder for a result: a new or empty one, or one that has a result already."""
    folder = Path(text)
    if folder.exists() and not (folder / "ensemble.json").exists() and (folder.is_file() or any(folder.iterdir())):
        raise argparse.ArgumentTypeError(f"{folder} holds other files, which stay as they are; give a new folder")
    return folder


def argument_parser(description):
    """Return a parser of the arguments that all commands on ensembles take, whose errors are one line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.error = refuse
    parser.add_argument("models", nargs="+", metavar="MODEL", help="two or more trained models, .h5 or .keras")
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="images to score the members on: cifar10, cifar100, mnist, fashion_mnist, digits or a .npz file, as in "
        "4.ResNet/resnet.py; needed only for a model with neither run.json nor predictions beside it",
    )
    parser.add_argument(
        "--hold-out",
        type=int,
        metavar="N",
        help="training images kept for validation, HOLD_OUT in 4.ResNet/resnet.py (default: that of run.json, or "
        "5000); a model that was trained on some of them looks better than it is",
    )
    add_form_options(parser)
    parser.add_argument(
        "--out",
        type=result_path,
        metavar="FOLDER",
        help="folder for ensemble.json and what goes with it (default: one in runs/, named after command and members)",
    )
    return parser


def describe_computer():
    """Return the names of GPUs, of NVIDIA's driver on Linux, and of the processor, and its number of cores."""
    gpus = [file.read_text() for file in Path("/proc/driver/nvidia/gpus").glob("*/information")]
    gpus = [re.search(r"Model:\s*(.+)", text)[1] for text in gpus]
    information = Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.+)", information.read_text()) if information.exists() else None
    return ", ".join([*gpus, name[1] if name else platform.machine(), f"{os.cpu_count()} cores"])


def git_commit():
    """Return the hash of the commit that this file stands in, or None."""
    try:
        command = ["git", "rev-parse", "--verify", "HEAD"]
        git = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:  # no git here
        return None
    return git.stdout.strip() or None


def result_folder(script, members, out, settings):
    """Return the folder of the result: out or, without it, one named after members, split and settings.

    Refuse a folder that holds the result of something else.
    """
    same = {
        "script": script,
        "members": [identity(member.model, member.form) for member in members],
        "split": members[0].split,
        **settings,
    }
    name = f"{Path(script).stem}-{hashlib.sha256(json.dumps(same).encode()).hexdigest()[:8]}"
    folder = out or Path("runs") / name
    file = folder / "ensemble.json"
    if file.exists():
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            there = {key: record[key] for key in same}
            there["members"] = [identity(row["model"], row.get("form")) for row in record["members"]]
        except (OSError, ValueError, TypeError, KeyError):
            there = None
        if there != same:
            refuse(f"{file} is the result of another ensemble and stays as it is; give another --out")
    return folder


def identity(model, form):
    """Return what tells a member from others: its hash and, unless None, how it is fed and read."""
    return model if form is None else [model, form]


def score_members(members):
    """Return the score of each member on both parts, [{"validation": {...}, "test": {...}}], and the best one's number.

    The best is the most accurate on validation, and of equally accurate ones the one of the least loss.
    """
    scores = [{part: score(member.probabilities[part], member.labels[part]) for part in PARTS} for member in members]
    best = max(
        range(len(members)),
        key=lambda i: (scores[i]["validation"]["accuracy"], -scores[i]["validation"]["loss"]),
    )
    return scores, best


def report(script, members, methods, out, seconds, settings=None, weights=None):
    """Write the record and the picture of an ensemble, unless they are there, and print its table.

    methods: {name: {"validation": {"accuracy": ...}, "test": ...}}; seconds: what they took; settings: more of
    the command for the record, a dictionary; weights: one number a member.
    """
    scores, best = score_members(members)
    print_table(members, scores, methods, weights, best)
    rows = scores
    if weights is not None:
        rows = [row | {"weight": float(weight)} for row, weight in zip(scores, weights, strict=True)]
    record = {"methods": methods, **(settings or {}), "seconds": seconds}
    folder = result_folder(script, members, out, settings or {})
    pictures = {"ensemble": draw(members, scores, methods, weights, best)}
    write_result(folder, script, members, rows, record, lambda folder: write_pictures(folder, pictures))


def write_pictures(folder, figures):
    """Write figures, {name: figure}, to PNG files in a folder."""
    for name, figure in figures.items():
        with written_apart(folder / f"{name}.png") as path:
            figure.savefig(path, dpi=110)


def write_result(folder, script, members, rows, record, write_files):
    """Write ensemble.json and what goes with it to a folder, unless it is there, and say so.

    rows: what the record says of each member, dictionaries; record: what it says besides of the ensemble;
    write_files(folder): writes the rest, pictures.
    """
    result_folder(script, members, folder, {})  # another command may have filled it since
    if (folder / "ensemble.json").exists():
        print(f"\nThis result is already in {folder}, which stays as it was.")
        return
    record = {
        "script": script,
        "command": shlex.join(["python", *sys.argv]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "git_commit": git_commit(),
        "data": members[0].data,
        "split": members[0].split,
        "classes": members[0].probabilities["test"].shape[1],
        "members": [
            {"path": str(member.path), "model": member.model, "parameters": member.parameters}
            | ({} if member.form is None else {"form": member.form})
            | row
            for member, row in zip(members, rows, strict=True)
        ],
        **record,
        "device": describe_computer(),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_files(folder)
        with written_apart(folder / "ensemble.json") as path:
            path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        refuse(f"{folder} cannot be written: {error.strerror}")
    print(f"\nWritten to {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}.")


def print_table(members, scores, methods, weights, best):
    """Print accuracy on validation and test, in %, of the members and the methods, with the methods' gain."""
    counts = [len(members[0].labels[part]) for part in PARTS]
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


def short_names(paths, taken=()):
    """Return a name for each model: its run's folder, or its file's stem.

    If two were alike, or one were `taken` by something else, the whole paths.
    """
    names = [path.resolve().parent.name if path.stem == "model" else path.stem for path in paths]
    clash = len(set(names)) < len(set(paths)) or set(names) & set(taken)
    return [str(path) for path in paths] if clash else names


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
    counts = ", ".join(f"{len(members[0].labels[part]):,} {part} images" for part in PARTS)
    figure.suptitle(f"{' and '.join(methods).capitalize()} on {Path(members[0].data).name}\n{counts}", fontsize=11)
    axes.plot([], [], "o", color="black", label="test (number at the right)")
    axes.plot([], [], "o", color="black", markerfacecolor="white", label="validation")
    axes.plot([], [], ":", color="tab:gray", label="test of the member best on validation")
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure
