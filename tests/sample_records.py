"""Records for the tests of tools/results.py, and trees of files that have them."""

import copy
import json

RUN = {
    "script": "4.ResNet/resnet.py",
    "command": "python 4.ResNet/resnet.py --data cifar10 --schedule cosine",
    "settings": {"DATA": "cifar10", "HOLD_OUT": 5000, "LIMIT": 0, "DEPTH": 20, "EPOCHS": 25, "SEED": 7},
    "parameters": 273658,
    "model": "aa11",
    "train": {"accuracy": 0.95, "loss": 0.1},
    "validation": {"accuracy": 0.87654, "loss": 0.4},
    "test": {"accuracy": 0.86789, "loss": 0.5},
    "seconds": 2671.4,
    "images_per_second": 1490.6,
    "precision": "float32",
    "device": "AMD EPYC, 2 cores",
}


def changed(record, **changes):
    """Return a copy of a record with changes such as test__accuracy=0.5; None takes the field away."""
    record = copy.deepcopy(record)
    for name, value in changes.items():
        *groups, field = name.split("__")
        place = record
        for group in groups:
            place = place[group]
        if value is None:
            del place[field]
        else:
            place[field] = value
    return record


RUNS = {
    "resnet": RUN,
    "deeper": changed(RUN, settings__DEPTH=110, parameters=1731418, test__accuracy=0.9, model="bb22"),
    "lenet": changed(
        RUN,
        script="1.LeNet/lenet.py",
        command="python 1.LeNet/lenet.py --data 'a b.npz'",
        settings={"DATA": "/data/a b.npz", "LIMIT": 900, "VARIANT": "dp_da", "WIDTH": 2, "EPOCHS": 60, "SEED": 0},
        parameters=62006,
        test__accuracy=0.7,
        model="cc33",
    ),
    "copy": changed(RUN, test__accuracy=0.5, data_name="CIFAR-10 (JPEG | copy)"),
}
MEMBER = {"path": "runs/x/model.h5", "model": "aa11", "parameters": None, "weight": 0.25}
SCORES = [(0.80, 0.91), (0.85, 0.75), (0.70, 0.95)]  # the member best on validation is the worst on test
ENSEMBLE = {
    "script": "ensemble/voting.py",
    "command": "python ensemble/voting.py a.h5 b.h5 c.h5",
    "data": "cifar10",
    "members": [
        {
            **MEMBER,
            "model": model,
            "path": f"runs/{model}/model.h5",
            "validation": {"accuracy": validation, "loss": 1.0},
            "test": {"accuracy": test, "loss": 1.0},
        }
        for model, (validation, test) in zip(("bb22", "cc33", "dd44"), SCORES, strict=True)
    ],
    "methods": {
        "hard voting": {"validation": {"accuracy": 0.861}, "test": {"accuracy": 0.7432}},
        "soft voting": {"validation": {"accuracy": 0.88}, "test": {"accuracy": 0.7777, "loss": 0.3}},
    },
    "device": "AMD EPYC, 2 cores",
}
COMPARISON = {
    "script": "htd/compare.py",
    "command": "python htd/compare.py --seeds 2",
    "data": "cifar10",
    "training": {"script": "1.LeNet/lenet.py", "settings": {"DATA": "cifar10", "VARIANT": "dp", "EPOCHS": 30}},
    "runs": [{"seed": 0}, {"seed": 1}, {"seed": 0}, {"seed": 1}],
    "precision": "float32",
    "device": "AMD EPYC, 2 cores",
}
OVER_SEEDS = {"mean": 0.81234, "deviation": 0.0123, "median": 0.8, "best": 0.82}
OF_ONE = OVER_SEEDS | {"deviation": None, "mean": 0.7}
SCHEDULES = COMPARISON | {
    "schedules": {
        "step": {"validation": OVER_SEEDS, "test": OVER_SEEDS, "seconds": 90.0},
        "tanh": {
            "validation": OF_ONE,
            "test": OVER_SEEDS | {"mean": 0.85},
            "seconds": 120.0,
            "difference": {"mean": 0.03766, "low": -0.01, "high": 0.08532},
        },
        "cosine": {
            "validation": OF_ONE,
            "test": OF_ONE,
            "seconds": 60.0,
            "difference": {"mean": -0.011, "low": None, "high": None},
        },
    }
}
GRID = COMPARISON | {
    "grid": {
        "cells": [
            {"from": -6.0, "to": 3.0, "validation": OF_ONE},
            {"from": -2.5, "to": 3.0, "validation": OVER_SEEDS},
        ],
        "chosen": {"from": -2.5, "to": 3.0, "validation": OVER_SEEDS, "test": OVER_SEEDS | {"mean": 0.79}},
    }
}
END = "<!-- end of results -->"


def write_tree(root, records, readmes):
    """Write records {name: record} and README files {path: text} to a folder; return it."""
    (root / "results").mkdir(exist_ok=True)
    for name, record in records.items():
        (root / "results" / f"{name}.json").write_text(json.dumps(record))
    for path, text in readmes.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def rows_of(text):
    """Return the rows of the only table in a text as dictionaries by title."""
    lines = [line.replace("\\|", "¦") for line in text.splitlines() if line.startswith("|")]
    titles, dashes, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(set(dash) <= {":", "-"} for dash in dashes)
    return [dict(zip(titles, row, strict=True)) for row in rows]
