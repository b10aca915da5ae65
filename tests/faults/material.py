"""What the cases work on: members of ensembles, records, data and images; good ones, to be spoilt in one thing."""

import functools
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from faults.harness import ROOT

DEEP = "[" * 100_000 + "]" * 100_000  # JSON that takes more recursion than Python allows
CLASSES, SPLIT = 4, "0123456789abcdef"
COUNTS = {"validation": 20, "test": 30}
SETTINGS = {"DATA": "digits", "HOLD_OUT": 5000, "LIMIT": 0, "EPOCHS": 1, "BATCH_SIZE": 32, "SEED": 0, "RUN": ""}
LENET = ("1.LeNet/lenet.py", "--data", "digits", "--epochs", "1", "--limit", "300", "--batch-size", "100")
QUICKLY = (*LENET[1:], "--precision", "float32")


def together(*setups):
    """Return a setup that does several, one after the other."""

    def setup(folder):
        for each in setups:
            each(folder)

    return setup


def write(path, content):
    """Return a setup that writes a text, bytes or JSON to a file."""

    def setup(folder):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")

    return setup


def fifo(path):
    """Return a setup that puts a FIFO, which nobody writes to, in a file's place."""

    def setup(folder):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        os.mkfifo(file)

    return setup


def directory(path):
    """Return a setup that puts a folder in a file's place."""

    def setup(folder):
        (folder / path).unlink(missing_ok=True)
        (folder / path).mkdir(parents=True)

    return setup


def sparse(path, size):
    """Return a setup that makes a file of so many bytes, zeros that take no room on the disk."""

    def setup(folder):
        with (folder / path).open("ab") as file:
            file.truncate(size)

    return setup


# Members without Keras
def run_record(name, model):
    """Return the run.json of a finished run."""
    scores = {"accuracy": 0.5, "loss": 1.2}
    return {
        "script": "1.LeNet/lenet.py",
        "script_sha256": "ab" * 32,
        "git_commit": None,
        "command": f"python 1.LeNet/lenet.py --data digits --run {name}",
        "settings": SETTINGS | {"RUN": name},
        "precision": "float32",
        "backend": "tensorflow",
        "device": "a CPU, 2 cores",
        "versions": {"python": "3.11.7", "tensorflow": "2.21.0", "keras": "3.15.1", "numpy": "2.4.6"},
        "parameters": 62006,
        "date": "2026-11-26T20:25:41+00:00",
        "model": model,
        "classes": CLASSES,
        "images": {"train": 300, **COUNTS},
        "split": SPLIT,
        "seconds": 3.2,
        "images_per_second": 119.6,
        "train": scores,
        "validation": scores,
        "test": scores,
    }


def predictions(seed, model):
    """Return what a predictions.npz has, a dictionary."""
    random, labels = np.random.default_rng(seed), np.random.default_rng(0)
    arrays = {"model": model, "split": SPLIT, "data": "digits"}
    for part, count in COUNTS.items():
        arrays[f"{part}_labels"] = labels.integers(CLASSES, size=count)
        scores = random.random((count, CLASSES)) + np.eye(CLASSES)[arrays[f"{part}_labels"]]
        arrays[f"{part}_probabilities"] = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    return arrays


def member(folder, seed):
    """Make a finished run in a folder, of which nothing but the model itself is true: no Keras can load it."""
    folder.mkdir(parents=True)
    content = b"\x89HDF\r\n\x1a\n" + folder.name.encode(errors="replace")
    (folder / "model.h5").write_bytes(content)
    model = hashlib.sha256(content).hexdigest()
    (folder / "run.json").write_text(json.dumps(run_record(folder.name, model), indent=2))
    np.savez(folder / "predictions.npz", **predictions(seed, model))
    columns = "epoch,accuracy,crossentropy,loss,val_accuracy,val_crossentropy,val_loss,learning_rate"
    row = "1,0.4,1.5,1.6,0.5,1.2,1.3,0.005,119.6,3.2"
    (folder / "history.csv").write_text(f"{columns},images_per_second,seconds\n{row}\n")


def members(folder, names=("a", "b")):
    """Make runs/a and runs/b."""
    for seed, name in enumerate(names):
        member(folder / "runs" / name, seed)


def with_run(**changes):
    """Return a setup: two members, and the fields of the first one's run.json changed; settings__DATA is one in it."""

    def setup(folder):
        members(folder)
        file = folder / "runs/a/run.json"
        record = json.loads(file.read_text())
        for name, value in changes.items():
            *groups, field = name.split("__")
            place = record
            for group in groups:
                place = place[group]
            place[field] = value
        file.write_text(as_json(record))

    return setup


class Raw(str):
    """A text that stands in JSON as it is, such as 1e400."""


def as_json(value):
    """Return JSON with every Raw as it is."""
    raws = {}

    def marked(value):
        if isinstance(value, Raw):
            mark = f"raw-{len(raws)}"
            raws[f'"{mark}"'] = str(value)
            return mark
        if isinstance(value, dict):
            return {key: marked(item) for key, item in value.items()}
        return [marked(item) for item in value] if isinstance(value, list) else value

    text = json.dumps(marked(value))
    for mark, raw in raws.items():
        text = text.replace(mark, raw)
    return text


def with_file(path, content):
    """Return a setup: two members, and a file with this content."""
    return together(members, write(path, content))


def with_predictions(change):
    """Return a setup: two members, and `change` made to the dictionary of the first one's predictions.npz."""

    def setup(folder):
        members(folder)
        file = folder / "runs/a/predictions.npz"
        with np.load(file) as arrays:
            kept = dict(arrays)
        change(kept)
        np.savez(file, **kept)

    return setup


# The record of an ensemble of members without Keras
def ensemble_record(folder, change=lambda record: None):
    """Write ensemble.json, as compare.py does, of the two members in runs/, changed by `change`."""
    members(folder)
    scores = {part: {"accuracy": 0.5, "loss": 1.2} for part in COUNTS}
    record = {
        "script": "ensemble/compare.py",
        "command": "python ensemble/compare.py runs/a/model.h5 runs/b/model.h5 --out .",
        "date": "2026-11-26T20:25:41+00:00",
        "git_commit": None,
        "data": "digits",
        "split": SPLIT,
        "classes": CLASSES,
        "members": [
            {
                "path": f"runs/{name}/model.h5",
                "model": hashlib.sha256((folder / f"runs/{name}/model.h5").read_bytes()).hexdigest(),
                "parameters": 62006,
                "weight": 0.5,
                "temperature": 1.0,
                **scores,
            }
            for name in ("a", "b")
        ],
        "methods": {
            "soft voting": {"temperature": 1.0, **scores},
            "likelihood": {"temperature": 1.0, "weights": [0.5, 0.5], **scores},
            "likelihood, tempered": {
                "temperature": 1.0,
                "tempered_weights": [0.5, 0.5],
                "temperatures": [1.0, 1.0],
                **scores,
            },
            "stacking": {
                "temperature": 1.0,
                "kernel": np.tile(np.eye(CLASSES), (2, 1)).tolist(),
                "bias": [0.0] * CLASSES,
                **scores,
            },
        },
        "chosen": "likelihood",
        "seconds": 0.1,
        "device": "a CPU, 2 cores",
        "versions": {"python": "3.11.7", "numpy": "2.4.6"},
    }
    change(record)
    (folder / "ensemble.json").write_text(as_json(record))


def with_record(change):
    """Return a setup: two members and their record, changed by `change`."""
    return lambda folder: ensemble_record(folder, change)


# Members by Keras
TRAINING = threading.Lock()  # cases are tried side by side


def trained_runs():
    """Return the folder of two trained networks and their comparison, made once and kept until this program ends."""
    with TRAINING:
        return train_runs()


@functools.cache
def train_runs():
    """Train two small networks, vote and compare; return the folder, which stays until this program ends."""
    folder = tempfile.TemporaryDirectory(prefix="faults-trained-")
    commands = [
        [*LENET, "--precision", "float32", "--seed", str(seed), "--run", name] for seed, name in enumerate("ab")
    ]
    commands.append(["ensemble/compare.py", "runs/a/model.h5", "runs/b/model.h5", "--out", "compare"])
    for script, *arguments in commands:
        command = [sys.executable, ROOT / script, *arguments]
        environment = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
        subprocess.run(command, cwd=folder.name, env=environment, stdout=subprocess.DEVNULL, check=True)
    trained_runs.kept = folder  # or it would be removed
    return Path(folder.name)


def trained(folder):
    """Copy two real runs, with the seconds that they take, to runs/a and runs/b, and the ensemble to compare/."""
    shutil.copytree(trained_runs(), folder, dirs_exist_ok=True)


def with_trained(change):
    """Return a setup: two real runs, and change(folder)."""
    return together(trained, change)


def trained_record(change):
    """Return a setup: two real runs, and their compare/ensemble.json changed by `change`."""

    def setup(folder):
        trained(folder)
        file = folder / "compare/ensemble.json"
        record = json.loads(file.read_text())
        change(record)
        file.write_text(as_json(record))

    return setup


def with_seconds(content):
    """Return a setup: two real runs, and in the first one's seconds.json other seconds, or another content."""

    def setup(folder):
        trained(folder)
        file = folder / "runs/a/model.h5.seconds.json"
        if content == DEEP:
            file.write_text(DEEP)
        else:
            file.write_text(as_json(json.loads(file.read_text()) | {"seconds": content}))

    return setup


# Data and images
def data(classes=4, size=32):
    """Return what a .npz file of data has, a dictionary."""
    random = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 40), ("test", 20)):
        arrays[f"x_{part}"] = random.integers(256, size=(count, size, size, 3)).astype(np.uint8)
        arrays[f"y_{part}"] = np.arange(count) % classes
    return arrays


def with_data(change=lambda arrays: None):
    """Return a setup: data.npz, changed by `change`."""

    def setup(folder):
        arrays = data()
        change(arrays)
        np.savez(folder / "data.npz", **arrays)

    return setup


def picture(path, size=40, seed=0):
    """Save an image of random pixels, of size x size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(256, size=(size, size, 3)).astype(np.uint8)).save(path)


def photos(folder, classes=("cat", "dog"), count=5):
    """Make photos/train/cat/0.png and so on."""
    for part in ("train", "test"):
        for label in classes:
            for number in range(count):
                picture(folder / "photos" / part / label / f"{number}.png", seed=hash((part, label, number)) % 1000)


def photo(folder):
    picture(folder / "photo.png")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n0 0 40 40 rectfill\nshowpage\n%%EOF\n"
DOS_EPS = struct.pack("<4sIIIIIIH", b"\xc5\xd0\xd3\xc6", 32, len(POSTSCRIPT), 0, 0, 0, 0, 0xFFFF) + b"\0\0" + POSTSCRIPT


def ghostscript(folder):
    """Put a stand-in for Ghostscript into bin/, which leaves a file if it is run; see HAS_GHOSTSCRIPT."""
    write("bin/gs", f'#!/bin/sh\n[ "$1" = --version ] && echo 10.0 && exit 0\ntouch {folder}/gs-was-run\nexit 1\n')(
        folder
    )
    (folder / "bin/gs").chmod(0o755)


# Bombs
def npy_header(shape, dtype="|u1", padding=0):
    """Return the head of a .npy file that claims an array of this shape; padding: spaces more in it."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}" + " " * padding + "\n"
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(text)) + text.encode()


def zeros(count):
    """Return `count` million zeros, deflated: a megabyte again and again, which is quick to make."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(10**6)
    first = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    return first + again * (count - 1) + packer.flush()


def write_zip(path, parts):
    """Write a zip file of {name: bytes, or (bytes of a head, millions of zeros that follow)}."""
    body, directory_, count = io.BytesIO(), io.BytesIO(), 0
    for name, content in parts.items():
        head, millions = content if isinstance(content, tuple) else (content, 0)
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed, crc, size = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH), zlib.crc32(head), len(head)
        if millions:
            for _ in range(millions):
                crc = zlib.crc32(bytes(10**6), crc)
            packed, size = packed + zeros(millions), size + millions * 10**6
        else:
            packed += packer.flush()
        about = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 33, crc, len(packed), size, len(name), 0)
        start = body.tell()
        body.write(b"PK\x03\x04" + about + name.encode() + packed)
        entry = b"PK\x01\x02\x14\x00" + about + struct.pack("<HHHII", 0, 0, 0, 0, start) + name.encode()
        directory_.write(entry)
        count += 1
    start, listing = body.tell(), directory_.getvalue()
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(listing), start, 0)
    path.write_bytes(body.getvalue() + listing + end)


def npy(array):
    """Return a .npy file's bytes."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz_bomb(path, arrays, name, shape, dtype="|u1", millions=0, padding=0):
    """Write arrays to a .npz file, with the one of that name as said: of a shape that only its head claims, or also of
    so many millions of zeros."""
    parts = {f"{key}.npy": npy(np.asarray(value)) for key, value in arrays.items() if key != name}
    parts[f"{name}.npy"] = (npy_header(shape, dtype, padding), millions)
    write_zip(path, parts)


def png_bomb(path, width, height):
    """Write a PNG file that claims so many pixels and has none of them."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def keras_archive(path, **parts):
    """Write a .keras file's parts: config, metadata (bytes, or as in write_zip); the weights are an empty HDF5 file."""
    import h5py

    file = io.BytesIO()
    with h5py.File(file, "w"):
        pass
    usual = {"config": b"{}", "metadata": json.dumps({"keras_version": "3.15.1"}).encode()} | parts
    write_zip(
        path, {f"{name}.json": content for name, content in usual.items()} | {"model.weights.h5": file.getvalue()}
    )
