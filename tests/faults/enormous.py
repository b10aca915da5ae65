"""Kind 6, what is no regular file, or enormous: looked at before it is read."""

import json

import numpy as np
from PIL import Image

from faults.harness import GIGABYTE, Case
from faults.htd_script import COMPARE as HTD_COMPARE
from faults.htd_script import fake_script
from faults.material import (
    LENET,
    data,
    directory,
    fifo,
    keras_archive,
    members,
    npz_bomb,
    photo,
    photos,
    png_bomb,
    predictions,
    sparse,
    together,
    trained,
    with_data,
    with_record,
    with_trained,
    write,
    write_zip,
)
from faults.races import COMPARE, IMAGES, LENET_RUN, MEAN, MINUTES, PREDICT, VOTE

RUN_JSON, KEPT = "runs/a/run.json", "runs/a/predictions.npz"
ADD_RUN = ("tools/results.py", ".", "--add", RUN_JSON, "--name", "x")
EXPORT_RECORD = ("ensemble/export.py", "ensemble.json", "--out", "e.h5")
TRANSFER = ("transfer/transfer.py", "--epochs", "1", "--head-epochs", "1", "--image-size", "32", "--batch-size", "4")


def case(name, command, setup=lambda folder: None, quick=False, **options):
    return Case(6, name, command, setup, quick=quick, **options)


def record(folder):
    with_record(lambda record: None)(folder)


# Files that are none: (command, path, what is set up besides, words, quick)
PLACES = {
    "voting.py, MODEL": (VOTE, "runs/a/model.h5", members, "runs/a", False),
    "voting.py, run.json": (VOTE, RUN_JSON, members, "run.json", True),
    "voting.py, predictions.npz": (VOTE, KEPT, members, "predictions.npz", True),
    "voting.py, model.h5.predictions.npz": (
        VOTE,
        "runs/a/model.h5.predictions.npz",
        lambda folder: (members(folder), (folder / KEPT).unlink()),
        "predictions.npz",
        False,
    ),
    "voting.py, --out": (VOTE, "v", members, "v", False),
    "voting.py, --out's ensemble.json": (VOTE, "v/ensemble.json", members, "v", False),
    "voting.py, --data": ((*VOTE, "--data", "data.npz"), "data.npz", trained, "data.npz", False),
    "weighted_mean.py, MODEL": (MEAN, "runs/a/model.h5", members, "runs/a", False),
    "weighted_mean.py, run.json": (MEAN, RUN_JSON, members, "run.json", False),
    "compare.py, MODEL": (COMPARE, "runs/a/model.h5", members, "runs/a", False),
    "compare.py, run.json": (COMPARE, RUN_JSON, members, "run.json", False),
    "compare.py, predictions.npz": (COMPARE, KEPT, members, "predictions.npz", False),
    "predict.py, MODEL": (PREDICT, "runs/a/model.h5", together(members, photo), "runs/a", False),
    "predict.py, --images": (PREDICT, "photo.png", together(members, photo), "photo.png", True),
    "predict.py, --out": (PREDICT, "p.png", together(members, photo), "p.png", False),
    "predict.py, run.json": (PREDICT, RUN_JSON, together(trained, photo), "run.json", False),
    "export.py, RECORD": (EXPORT_RECORD, "ensemble.json", record, "ensemble.json", True),
    "export.py, a member": (EXPORT_RECORD, "runs/a/model.h5", record, "runs/a", False),
    "export.py, --out": (EXPORT_RECORD, "e.h5", record, "e.h5", False),
    "minutes.py, run.json": (MINUTES, RUN_JSON, members, "run", False),
    "minutes.py, history.csv": (MINUTES, "runs/a/history.csv", members, "run", False),
    "minutes.py, --out": (MINUTES, "m.png", members, "m.png", False),
    "results.py, --add": (ADD_RUN, RUN_JSON, members, "run.json", False),
    "results.py, a record": (("tools/results.py", "."), "results/x.json", lambda folder: None, "x.json", False),
    "results.py, weights": (("tools/results.py", "."), "results/weights/x.h5", lambda folder: None, "x.h5", False),
    "copies.py, a script": (("tools/copies.py", "."), "4.ResNet/resnet.py", lambda folder: None, "resnet.py", False),
    "images_to_npz.py, OUT": (IMAGES, "p.npz", photos, "p.npz", False),
    "htd/compare.py, --script": (
        ("htd/compare.py", "--script", "other.py"),
        "other.py",
        lambda folder: None,
        "other.py",
        False,
    ),
    "htd/compare.py, run.json": (HTD_COMPARE, "runs/fake-step-0/run.json", fake_script, "run.json", False),
    "lenet.py, --data": ((LENET[0], "--data", "data.npz"), "data.npz", lambda folder: None, "data.npz", False),
    "lenet.py, backup.npz": (LENET_RUN, "runs/r/backup.npz", lambda folder: None, "backup.npz", False),
    "transfer.py, --data": ((*TRANSFER, "--data", "data.npz"), "data.npz", lambda folder: None, "data.npz", False),
    "transfer.py, --base": (
        (*TRANSFER, "--data", "digits", "--base", "base.h5"),
        "base.h5",
        lambda folder: None,
        "base.h5",
        False,
    ),
    "transfer.py, --weights": (
        (*TRANSFER, "--data", "digits", "--weights", "w.h5"),
        "w.h5",
        lambda folder: None,
        "w.h5",
        False,
    ),
    "transfer.py, an image": (
        (*TRANSFER, "--data", "photos", "--base", "runs/a/model.h5"),
        "photos/train/cat/0.png",
        together(trained, photos),
        "0.png",
        False,
    ),
}


def time_for(command):
    """Return a time limit, longer for training."""
    return 90 if command[0] in (LENET[0], TRANSFER[0]) else 45


NO_FILES = [
    *(
        case(f"a FIFO, {name}", command, together(setup, fifo(path)), quick, says=(words,), seconds=time_for(command))
        for name, (command, path, setup, words, quick) in PLACES.items()
    ),
    *(
        case(f"a folder, {name}", command, together(setup, directory(path)), says=(words,), seconds=time_for(command))
        for name, (command, path, setup, words, _) in PLACES.items()
        if name != "voting.py, --out"
    ),
    *(
        case(f"/dev/zero, {name}", command, members, seconds=30, address_space=3 * GIGABYTE)
        for name, command in {
            "voting.py, MODEL": ("ensemble/voting.py", "/dev/zero", "runs/b/model.h5"),
            "predict.py, --images": (*PREDICT[:4], "/dev/zero", "--out", "p.png"),
            "export.py, RECORD": ("ensemble/export.py", "/dev/zero", "--out", "e.h5"),
            "results.py, --add": ("tools/results.py", ".", "--add", "/dev/zero", "--name", "x"),
        }.items()
    ),
    case("/dev/zero, lenet.py, --data", (LENET[0], "--data", "/dev/zero")),
    case(
        "/dev/zero as run.json, voting.py",
        VOTE,
        together(members, lambda folder: ((folder / RUN_JSON).unlink(), (folder / RUN_JSON).symlink_to("/dev/zero"))),
        address_space=3 * GIGABYTE,
        says=("run.json",),
    ),
    case(
        "a FIFO beside images, images_to_npz.py",
        IMAGES,
        together(photos, fifo("photos/train/cat/x.png")),
        status=(0, 2),
    ),
    case(
        "a link to a FIFO beside images, images_to_npz.py",
        IMAGES,
        together(photos, fifo("x"), lambda folder: (folder / "photos/train/cat/x.png").symlink_to(folder / "x")),
        status=(0, 2),
    ),
    case(
        "a FIFO as seconds.json, compare.py",
        COMPARE,
        together(trained, fifo("runs/a/model.h5.seconds.json")),
        status=(0, 2),
        changes=("runs/a/*.seconds.json",),
        seconds=90,
    ),
    case(
        "a FIFO as predictions of predict.py's model",
        PREDICT,
        together(trained, photo, fifo("runs/a/model.h5.predictions.npz")),
        status=(0, 2),
        seconds=90,
    ),
    case(
        "folders in a circle of links, images_to_npz.py",
        IMAGES,
        together(photos, lambda folder: (folder / "photos/train/cat/x").symlink_to("..")),
        status=(0, 2),
    ),
]


# Files that are enormous
def bomb(name, shape, dtype, millions=0):
    """Return a setup: two members, and in predictions.npz an array that claims to be, or is, enormous."""

    def setup(folder):
        members(folder)
        model = json.loads((folder / RUN_JSON).read_text())["model"]
        npz_bomb(folder / KEPT, predictions(0, model), name, shape, dtype, millions)

    return setup


def data_bomb(name, shape, dtype="|u1", millions=0):
    return lambda folder: npz_bomb(folder / "data.npz", data(), name, shape, dtype, millions)


def keras_bomb(part):
    """Return a setup: a .keras file of which one part unpacks to 3 GB."""
    return lambda folder: keras_archive(folder / "bomb.keras", **{part: (b'{"keras_version": "3.15.1", "x": "', 3000)})


def claiming_model(folder):
    """An HDF5 file that says to hold a terabyte of weights."""
    import h5py

    with h5py.File(folder / "huge.h5", "w") as file:
        file.create_group("model_weights").create_dataset("x", (10**6, 10**6), "f4", chunks=(1000, 1000))
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": []}})
        file.attrs["keras_version"] = "3.15.1"


def enlarging_model(factor):
    """Return a setup: a model that enlarges its images, and then does a little with them."""

    def setup(folder):
        import subprocess
        import sys

        text = f"""
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
inputs = keras.Input((32, 32, 3))
x = keras.layers.UpSampling2D({factor})(inputs)
outputs = keras.layers.Dense(10, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
keras.Model(inputs, outputs).save("large.h5")
"""
        subprocess.run([sys.executable, "-c", text], cwd=folder, check=True, capture_output=True)
        trained(folder)

    return setup


def large_picture(folder):
    Image.new("L", (13_000, 13_000)).save(folder / "photo.png")


def long_classes(count):
    """Return a setup: two real members and the data that they know, whose classes have names of so many letters."""

    def setup(folder):
        with_data(lambda arrays: arrays.update(class_names=np.array([letter * count for letter in "abcd"])))(folder)
        members(folder)
        for name in "ab":
            file = folder / f"runs/{name}/run.json"
            run = json.loads(file.read_text())
            run["settings"]["DATA"] = "data.npz"
            file.write_text(json.dumps(run))
            with np.load(folder / f"runs/{name}/predictions.npz") as kept:
                arrays = dict(kept) | {"data": "data.npz"}
            np.savez(folder / f"runs/{name}/predictions.npz", **arrays)

    return setup


FEW = {"peak": GIGABYTE, "address_space": 3 * GIGABYTE, "seconds": 45}
LARGE_VOTE = ("ensemble/voting.py", "large.h5", "runs/b/model.h5", "--out", "v", "--data", "digits")
ENORMOUS = [
    case(
        "predictions.npz claims 100 TB",
        VOTE,
        bomb("test_probabilities", (10**13, 4), "<f4"),
        True,
        says=("predictions.npz",),
        **FEW,
    ),
    case(
        "predictions.npz claims 10**30 images",
        VOTE,
        bomb("test_probabilities", (10**30, 4), "<f4"),
        says=("predictions.npz",),
        **FEW,
    ),
    case(
        "predictions.npz claims a negative shape",
        VOTE,
        bomb("test_probabilities", (-1, 4), "<f4"),
        says=("predictions.npz",),
        **FEW,
    ),
    case(
        "predictions.npz unpacks to 3 GB of probabilities, voting.py",
        VOTE,
        bomb("test_probabilities", (375 * 10**6, 2), "<f4", 3000),
        says=("predictions.npz|runs/a",),
        **FEW,
    ),
    case(
        "predictions.npz unpacks to 3 GB of another array, voting.py",
        VOTE,
        bomb("other", (3 * 10**9,), "|u1", 3000),
        status=(0, 2),
        **FEW,
    ),
    case(
        "predictions.npz unpacks to 3 GB, weighted_mean.py",
        MEAN,
        bomb("validation_labels", (375 * 10**6,), "<i8", 3000),
        says=("predictions.npz|runs/a",),
        **FEW,
    ),
    case(
        "predictions.npz unpacks to 3 GB, compare.py",
        COMPARE,
        bomb("test_labels", (375 * 10**6,), "<i8", 3000),
        says=("predictions.npz|runs/a",),
        **FEW,
    ),
    case(
        "predictions.npz with a text of 3 GB, voting.py",
        VOTE,
        bomb("model", (), "<U750000000", 3000),
        says=("predictions.npz|runs/a",),
        **FEW,
    ),
    case(
        "data claim 100 TB, lenet.py",
        (LENET[0], "--data", "data.npz"),
        data_bomb("x_train", (10**13, 32, 32, 3)),
        says=("data.npz",),
        peak=GIGABYTE,
    ),
    case(
        "data unpack to 3 GB of images, lenet.py",
        (LENET[0], "--data", "data.npz"),
        data_bomb("x_train", (10**6, 32, 32, 3), millions=3072),
        says=("data.npz",),
        address_space=5 * GIGABYTE,
        seconds=90,
    ),
    case(
        "data unpack to 3 GB of labels, lenet.py",
        (LENET[0], "--data", "data.npz"),
        data_bomb("y_train", (375 * 10**6,), "<i8", 3000),
        says=("data.npz",),
        address_space=5 * GIGABYTE,
        seconds=90,
    ),
    case(
        "data unpack to 3 GB, transfer.py",
        (*TRANSFER, "--data", "data.npz"),
        data_bomb("y_test", (375 * 10**6,), "<i8", 3000),
        says=("data.npz",),
        address_space=5 * GIGABYTE,
        seconds=90,
    ),
    *(
        case(
            f"{part}.json of 3 GB in a .keras file, voting.py",
            ("ensemble/voting.py", "bomb.keras", "runs/b/model.h5", "--data", "digits"),
            together(members, keras_bomb(part)),
            says=("bomb.keras",),
            address_space=5 * GIGABYTE,
        )
        for part in ("metadata", "config")
    ),
    case(
        "model.h5 claims 4 TB, voting.py",
        ("ensemble/voting.py", "huge.h5", "runs/b/model.h5", "--data", "digits"),
        together(members, claiming_model),
        says=("huge.h5",),
    ),
    case(
        "model.h5 of 100 GB of zeros, voting.py",
        VOTE,
        together(members, sparse("runs/a/model.h5", 100 * 10**9)),
        status=(0, 2),
        seconds=45,
    ),
    case(
        "run.json of 10 GB, voting.py",
        VOTE,
        together(members, sparse(RUN_JSON, 10 * 10**9)),
        True,
        says=("run.json",),
        **FEW,
    ),
    case(
        "run.json of 2 GB, voting.py", VOTE, together(members, sparse(RUN_JSON, 2 * 10**9)), says=("run.json",), **FEW
    ),
    case(
        "run.json of 10 GB, minutes.py", MINUTES, together(members, sparse(RUN_JSON, 10 * 10**9)), says=("run",), **FEW
    ),
    case(
        "history.csv of 10 GB, minutes.py",
        MINUTES,
        together(members, sparse("runs/a/history.csv", 10 * 10**9)),
        says=("run|history",),
        **FEW,
    ),
    case(
        "ensemble.json of 10 GB, export.py",
        EXPORT_RECORD,
        together(record, sparse("ensemble.json", 10 * 10**9)),
        says=("ensemble.json",),
        **FEW,
    ),
    case(
        "ensemble.json of 10 GB in voting.py's --out",
        VOTE,
        together(members, write("v/ensemble.json", "{}"), sparse("v/ensemble.json", 10 * 10**9)),
        says=("v",),
        **FEW,
    ),
    case(
        "run.json of 10 GB, results.py --add",
        ADD_RUN,
        together(members, sparse(RUN_JSON, 10 * 10**9)),
        says=("run.json",),
        **FEW,
    ),
    case(
        "a record of 10 GB, results.py",
        ("tools/results.py", "."),
        together(write("results/x.json", "{}"), sparse("results/x.json", 10 * 10**9)),
        says=("x.json",),
        **FEW,
    ),
    case(
        "a script of 10 GB, htd/compare.py",
        ("htd/compare.py", "--script", "other.py"),
        together(write("other.py", ""), sparse("other.py", 10 * 10**9)),
        says=("other.py",),
        **FEW,
    ),
    case(
        "a PNG that claims 100,000x100,000 pixels, predict.py",
        PREDICT,
        together(members, lambda folder: png_bomb(folder / "photo.png", 100_000, 100_000)),
        says=("photo.png",),
        **FEW,
    ),
    case(
        "a PNG that claims 100,000x100,000 pixels, images_to_npz.py",
        IMAGES,
        together(photos, lambda folder: png_bomb(folder / "photos/train/cat/0.png", 100_000, 100_000)),
        True,
        says=("0.png",),
        **FEW,
    ),
    case(
        "a PNG that claims 13,000x13,000 pixels, images_to_npz.py",
        (*IMAGES, "--size", "32"),
        together(photos, lambda folder: png_bomb(folder / "photos/train/cat/0.png", 13_000, 13_000)),
        says=("0.png",),
        seconds=45,
        address_space=3 * GIGABYTE,
    ),
    case(
        "a PNG of 13,000x13,000 pixels, predict.py",
        PREDICT,
        together(trained, large_picture),
        status=(0, 2),
    ),
    case("images_to_npz.py --size 20000", (*IMAGES, "--size", "20000"), photos, address_space=4 * GIGABYTE, seconds=60),
    *(
        case(
            f"a model that enlarges images {factor} times, voting.py",
            LARGE_VOTE,
            enlarging_model(factor),
            status=(0, 2),
            address_space=10 * GIGABYTE,
            peak=3 * GIGABYTE,
            changes=("large.h5.*",),
            seconds=240,
        )
        for factor in (20, 60)
    ),
    case(
        "classes with names of a million letters, compare.py", COMPARE, long_classes(10**6), status=(0, 2), seconds=60
    ),
    case(
        "classes with names of 100,000 letters, predict.py",
        (*PREDICT, "--classes", ",".join(letter * 10_000 for letter in "abcdefghij")),
        with_trained(photo),
        status=(0, 2),
        seconds=60,
    ),
    case(
        "a zip file of 100,000 parts as predictions.npz",
        VOTE,
        together(members, lambda folder: write_zip(folder / KEPT, {f"{number}.npy": b"" for number in range(60_000)})),
        says=("predictions.npz",),
        seconds=45,
    ),
]

CASES = [*NO_FILES, *ENORMOUS]
