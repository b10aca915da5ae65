"""Kind 7, streams: readers that leave, outputs that are closed or full, encodings, narrow terminals, strange names."""

import os

import numpy as np
from PIL import Image

from faults.harness import Case, nothing
from faults.htd_script import COMPARE as HTD_COMPARE
from faults.htd_script import GRID, fake_script
from faults.kills import FINISHED
from faults.material import (
    members,
    photo,
    photos,
    picture,
    together,
    trained,
    with_data,
    with_trained,
    write,
)
from faults.races import ADD, COMPARE, EXPORT, IMAGES, LENET_RUN, MEAN, MINUTES, PREDICT, VOTE, place

TRANSFER = (
    *("transfer/transfer.py", "--data", "digits", "--base", "runs/a/model.h5", "--epochs", "1", "--head-epochs", "1"),
    *("--image-size", "32", "--limit", "200", "--run", "r"),
)
SNAPSHOT = (
    *("ensemble/snapshot.py", "--architecture", "lenet", "--data", "digits", "--cycles", "2", "--epochs", "2"),
    *("--limit", "200", "--batch-size", "100", "--precision", "float32", "--run", "r"),
)
WITHOUT_KERAS = {  # name: (command, setup, what it leaves)
    "voting.py": (VOTE, members, ("v/ensemble.json", "v/ensemble.png")),
    "weighted_mean.py": (MEAN, members, ("v/ensemble.json", "v/ensemble.png")),
    "images_to_npz.py": (IMAGES, photos, ("p.npz",)),
    "minutes.py": (MINUTES, members, ("m.png",)),
    "results.py --add": (ADD, place, ("place/results/x.json",)),
    "copies.py": (("tools/copies.py",), nothing, ()),
    "htd/compare.py": (HTD_COMPARE, fake_script, ("runs/compare-*/htd.json",)),
    "htd/grid.py": (GRID, fake_script, ("runs/grid-*/htd.json",)),
}
WITH_KERAS = {
    "compare.py": (COMPARE, trained, ("v/ensemble.json", "v/report.html")),
    "predict.py": (PREDICT, together(trained, photo), ("p.png",)),
    "export.py": ((*EXPORT, "e.h5"), trained, ("e.h5",)),
    "lenet.py": (LENET_RUN, nothing, FINISHED),
    "transfer.py": (TRANSFER, trained, FINISHED),
    "snapshot.py": (SNAPSHOT, nothing, ("runs/r/ensemble.json", "runs/r/swa-2.h5")),
}
STREAMS = {
    "stdin closed": ("stdin closed",),
    "stdout closed": ("stdout closed",),
    "stderr closed": ("stderr closed",),
    "stdout and stderr closed": ("stdout closed", "stderr closed"),
    "all closed": ("stdin closed", "stdout closed", "stderr closed"),
    "| head -n 1": ("head",),
    "a reader that has left": ("gone",),
    "stdout on a full disk": ("stdout full",),
}
FEWER = ("stdout closed", "stderr closed", "| head -n 1", "stdout on a full disk")  # each takes a while
QUICK = [("voting.py", name) for name in ("stdout closed", "stderr closed", "| head -n 1")]


def case(name, command, setup=nothing, quick=False, **options):
    return Case(7, name, command, setup, quick=quick, **options)


CLOSED = [
    case(
        f"{name}, {text}",
        command,
        setup,
        (name, text) in QUICK,
        status=(0,),
        leaves=leaves,
        streams=streams,
    )
    for name, (command, setup, leaves) in (WITHOUT_KERAS | WITH_KERAS).items()
    for text, streams in STREAMS.items()
    if name in WITHOUT_KERAS or text in FEWER
    if name != "snapshot.py" or text == "| head -n 1"
]
REFUSALS = [  # what is refused is refused, whatever is closed
    case(
        f"a refusal of {command[0]} {command[1]}, {text}",
        command,
        quick=command[0] == "ensemble/voting.py" and text == "stderr closed",
        streams=streams,
    )
    for command in (
        ("ensemble/voting.py", "x.h5", "y.h5"),
        ("tools/results.py", "nowhere"),
        ("1.LeNet/lenet.py", "--nothing", "1"),
    )
    for text, streams in STREAMS.items()
]
HELP = [
    case(
        f"{script} --help, {text}",
        (script, "--help"),
        status=(0,),
        lines=0,
        **options,
    )
    for script in (
        *("ensemble/voting.py", "ensemble/weighted_mean.py", "ensemble/compare.py", "ensemble/predict.py"),
        *(
            "ensemble/export.py",
            "ensemble/snapshot.py",
            "tools/images_to_npz.py",
            "tools/minutes.py",
            "tools/results.py",
        ),
        *("htd/compare.py", "htd/grid.py", "1.LeNet/lenet.py", "transfer/transfer.py"),
    )
    for text, options in {
        "| head -n 1": {"streams": ("head",)},
        "a reader that has left": {"streams": ("gone",)},
        "20 columns": {"env": {"COLUMNS": "20"}},
        "ASCII": {"env": {"PYTHONIOENCODING": "ascii"}},
    }.items()
    if text == "20 columns" or not script.startswith(("1.", "transfer"))
]
NARROW = [
    case(f"{name}, {columns} columns", command, setup, status=(0,), leaves=leaves, env={"COLUMNS": str(columns)})
    for name, (command, setup, leaves) in WITHOUT_KERAS.items()
    for columns in (20, 1, 0)
    if columns == 20 or name.startswith(("htd", "vot"))
]

# Encodings
ASCII = {
    "PYTHONIOENCODING=ascii": {"PYTHONIOENCODING": "ascii"},
    "LC_ALL=C without UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "PYTHONIOENCODING=latin-1": {"PYTHONIOENCODING": "latin-1"},
}


def german(folder):
    members(folder, ("Grüße", "b"))


def german_photos(folder):
    photos(folder, ("Bär", "Ωmega"))


def german_data(folder):
    """Data whose classes have names beyond ASCII."""
    with_data(lambda arrays: arrays.update(class_names=np.array(["Bär", "Kätzchen", "Ωmega", "猫"])))(folder)


GERMAN_VOTE = ("ensemble/voting.py", "runs/Grüße/model.h5", "runs/b/model.h5", "--out", "v")
TEN = ",".join(f"Bär{number}" for number in range(10))
WORDS = {
    "voting.py, a name with ü": (GERMAN_VOTE, german, ("v/ensemble.json",)),
    "voting.py, an --out with ü": ((*VOTE[:-1], "Grüße"), members, ("Gr*e/ensemble.json",)),
    "minutes.py, a name with ü": (("tools/minutes.py", "runs/Grüße", "--out", "ü.png"), german, ("*.png",)),
    "images_to_npz.py, classes beyond ASCII": (IMAGES, german_photos, ("p.npz",)),
    "images_to_npz.py, an OUT with ü": (("tools/images_to_npz.py", "photos", "ü.npz"), photos, ("*.npz",)),
    "results.py --add --data-name with ü": ((*ADD, "--data-name", "Bär"), place, ("place/results/x.json",)),
    "htd/compare.py, whose tables have ±": (HTD_COMPARE, fake_script, ("runs/compare-*/htd.json",)),
    "htd/grid.py of two seeds, whose tables have ±": ((*GRID[:-1], "2"), fake_script, ("runs/grid-*/htd.json",)),
    "predict.py, classes with ä": ((*PREDICT, "--classes", TEN), with_trained(photo), ("p.png",)),
    "lenet.py, data with ü": (
        ("1.LeNet/lenet.py", "--data", "ü.npz", "--epochs", "1", "--batch-size", "8", "--run", "r"),
        together(with_data(), lambda folder: (folder / "data.npz").rename(folder / "ü.npz")),
        FINISHED,
    ),
    "lenet.py, a run with ü": ((*LENET_RUN[:-1], "rü"), nothing, ("runs/r*/run.json",)),
}
ENCODINGS = [
    case(
        f"{name}, {text}",
        command,
        setup,
        text == "PYTHONIOENCODING=ascii" and name.startswith(("voting.py, a name", "htd/compare")),
        status=(0, 2) if "LC_ALL" in env else (0,),  # there the name is no text
        leaves=() if "LC_ALL" in env else leaves,
        env=env,
    )
    for name, (command, setup, leaves) in WORDS.items()
    for text, env in ASCII.items()
    if text == "PYTHONIOENCODING=ascii" or not name.startswith(("lenet", "predict"))
]
ENCODINGS += [
    case(f"a refusal that names ü, {text}, {command[0]}", command, env=env)
    for text, env in ASCII.items()
    for command in (
        ("ensemble/voting.py", "ü.h5", "ß.h5"),
        ("tools/images_to_npz.py", "ü", "p.npz"),
        ("1.LeNet/lenet.py", "--data", "ü.npz"),
    )
]

# Names that are no UTF-8
STRANGE = os.fsdecode(b"\xff\xfe")


def strange_members(folder):
    members(folder, (STRANGE, "b"))


def strange_photo(folder):
    picture(folder / f"{STRANGE}.png")


STRANGE_NAMES = [
    case(
        "voting.py, a MODEL whose name is no UTF-8",
        ("ensemble/voting.py", f"runs/{STRANGE}/model.h5", "runs/b/model.h5", "--out", "v"),
        strange_members,
        True,
        status=(0, 2),
        says=("name|UTF-8|print",),
    ),
    case(
        "weighted_mean.py, a MODEL whose name is no UTF-8",
        ("ensemble/weighted_mean.py", f"runs/{STRANGE}/model.h5", "runs/b/model.h5", "--out", "v"),
        strange_members,
        status=(0, 2),
    ),
    case("voting.py, an --out that is no UTF-8", (*VOTE[:-1], STRANGE), members, status=(0, 2)),
    case("voting.py, --data that is no UTF-8", (*VOTE, "--data", f"{STRANGE}.npz"), members),
    case("voting.py, a MODEL that is not there and no UTF-8", ("ensemble/voting.py", f"{STRANGE}.h5", "b.h5")),
    case(
        "minutes.py, a run whose name is no UTF-8",
        ("tools/minutes.py", f"runs/{STRANGE}", "--out", "m.png"),
        strange_members,
        status=(0, 2),
    ),
    case("minutes.py, an --out that is no UTF-8", (*MINUTES[:-1], f"{STRANGE}.png"), members, status=(0, 2)),
    case("images_to_npz.py, an OUT that is no UTF-8", (*IMAGES[:-1], f"{STRANGE}.npz"), photos, status=(0, 2)),
    case(
        "images_to_npz.py, a class whose name is no UTF-8",
        IMAGES,
        lambda folder: photos(folder, (STRANGE, "dog")),
        True,
    ),
    case(
        "images_to_npz.py, an image whose name is no UTF-8",
        IMAGES,
        together(photos, lambda folder: picture(folder / f"photos/train/cat/{STRANGE}.png")),
        status=(0, 2),
    ),
    case(
        "images_to_npz.py, a broken image whose name is no UTF-8",
        IMAGES,
        together(photos, write(f"photos/train/cat/{STRANGE}.png", b"x")),
    ),
    case(
        "images_to_npz.py, an image of one colour whose name is no UTF-8",
        IMAGES,
        together(photos, lambda folder: Image.new("RGB", (40, 40)).save(folder / f"photos/train/cat/{STRANGE}.png")),
        status=(0, 2),
    ),
    case(
        "predict.py, an image whose name is no UTF-8",
        (*PREDICT[:4], f"{STRANGE}.png", *PREDICT[5:]),
        together(trained, strange_photo),
        status=(0, 2),
    ),
    case(
        "predict.py, an --out that is no UTF-8",
        (*PREDICT[:-1], f"{STRANGE}.png"),
        together(trained, photo),
        status=(0, 2),
    ),
    case(
        "predict.py, classes that are no UTF-8",
        (*PREDICT, "--classes", ",".join([STRANGE] * 10)),
        together(trained, photo),
        status=(0, 2),
    ),
    case(
        "export.py, an --out that is no UTF-8",
        ("ensemble/export.py", "compare/ensemble.json", "--out", f"{STRANGE}.h5"),
        trained,
        status=(0, 2),
    ),
    case("export.py, a RECORD that is no UTF-8", ("ensemble/export.py", STRANGE, "--out", "e.h5")),
    case("results.py, a FOLDER that is no UTF-8", ("tools/results.py", STRANGE)),
    case(
        "results.py, a record whose name is no UTF-8", ("tools/results.py", "."), write(f"results/{STRANGE}.json", "[]")
    ),
    case("htd/compare.py, a --script that is no UTF-8", ("htd/compare.py", "--script", f"{STRANGE}.py")),
    case(
        "lenet.py, data whose name is no UTF-8",
        ("1.LeNet/lenet.py", "--data", f"{STRANGE}.npz", "--epochs", "1", "--batch-size", "8", "--run", "r"),
        together(with_data(), lambda folder: (folder / "data.npz").rename(folder / f"{STRANGE}.npz")),
        status=(0, 2),
    ),
    case("lenet.py, data that are not there, no UTF-8", ("1.LeNet/lenet.py", "--data", f"{STRANGE}.npz")),
    case("lenet.py, a RUN that is no UTF-8", (*LENET_RUN[:-1], STRANGE)),
    case(
        "transfer.py, an image whose name is no UTF-8",
        ("transfer/transfer.py", "--data", "photos", *TRANSFER[3:5], *TRANSFER[5:], "--batch-size", "4"),
        together(trained, photos, lambda folder: picture(folder / f"photos/train/cat/{STRANGE}.png")),
        status=(0, 2),
    ),
]

CASES = [*CLOSED, *REFUSALS, *HELP, *NARROW, *ENCODINGS, *STRANGE_NAMES]
