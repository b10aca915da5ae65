"""The records in results/: the fields that they must have, and how they are read or refused."""

import json
import math

from ensemble.common.command import refuse
from ensemble.common.files import file_hash

OF_TRAINING = {
    "script": str,
    "command": str,
    "settings.DATA": str,
    "settings.EPOCHS": int,
    "settings.SEED": int,
    "parameters": int,
    "model": str,
    "validation.accuracy": float,
    "test.accuracy": float,
    "seconds": float,
    "images_per_second": float,
    "precision": str,
    "device": str,
}
OF_ENSEMBLE = {"script": str, "command": str, "data": str, "members": list, "methods": dict, "device": str}
OF_MEMBER = {"path": str, "model": str, "validation.accuracy": float, "test.accuracy": float}
OF_METHOD = {"validation.accuracy": float, "test.accuracy": float}
OF_INTERVAL = {"low": float, "high": float}
OF_GAIN = OF_INTERVAL | {"gain": float, "adjusted_p": float}
OF_COMPARISON = {
    "script": str,
    "command": str,
    "data": str,
    "training.script": str,
    "training.settings.EPOCHS": int,
    "runs": list,
    "precision": str,
    "device": str,
}
OF_SEEDS = {"mean": float, "median": float, "best": float}
OF_PAIR = {"from": float, "to": float, "validation": dict}
KINDS = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "a group of values"}


def read_records(root):
    """Return {name: record} of results/NAME.json, those marked whose weights are there; or fail, naming the file."""
    records = {file.stem: read_record(file) for file in sorted(root.glob("results/*.json"))}
    check_weights(records, root)
    return records


def check_weights(records, root):
    """Fail unless every results/weights/NAME.h5 is the model of results/NAME.json; mark those records."""
    for file in sorted(root.glob("results/weights/*.h5")):
        record = records.get(file.stem, {})
        if record.get("model") != file_hash(file):
            refuse(f"{file} is not the model of results/{file.stem}.json, by its SHA-256; remove it")
        record["weights"] = True


def read_record(file):
    """Return a record as a dictionary, or fail naming the file and what is wrong with it."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        refuse(f"{file} cannot be read as JSON: {error}")
    if not isinstance(record, dict) or not {"settings", "methods", "schedules", "grid"} & record.keys():
        none = "it has none of settings, methods, schedules and grid"
        refuse(f"{file} is no record of a run or an ensemble or of htd/: {none}; remove it")
    if "data_name" in record:
        check_fields(record, {"data_name": str}, file)
    if "settings" in record:
        check_fields(record, OF_TRAINING, file)
    elif "schedules" in record:
        check_schedules(record, file)
    elif "grid" in record:
        check_grid(record, file)
    else:
        check_ensemble(record, file)
    return record


def check_schedules(record, file):
    """Fail unless the record of a comparison of schedules, or one of its rows, has its fields."""
    check_comparison(record, {"schedules": dict}, file)
    for schedule, row in record["schedules"].items():
        check_fields(row, {"validation": dict, "test": dict, "seconds": float}, file, f"schedules[{schedule!r}].")
        for part in ("validation", "test"):
            check_fields(row[part], OF_SEEDS, file, f"schedules[{schedule!r}].{part}.")
        if "difference" in row:
            check_fields(row, {"difference": dict}, file, f"schedules[{schedule!r}].")


def check_grid(record, file):
    """Fail unless the record of a grid of L and U, or one of its pairs, has its fields."""
    check_comparison(record, {"grid.cells": list, "grid.chosen.test": dict}, file)
    check_fields(record["grid"]["chosen"]["test"], OF_SEEDS, file, "grid.chosen.test.")
    for number, pair in enumerate([*record["grid"]["cells"], record["grid"]["chosen"]]):
        check_fields(pair, OF_PAIR, file, f"grid, pair {number}: ")
        check_fields(pair["validation"], OF_SEEDS, file, f"grid, pair {number}: validation.")


def check_comparison(record, fields, file):
    """Fail unless a record of htd/ has what all of them have, and these fields of its kind."""
    check_fields(record, {**OF_COMPARISON, **fields}, file)
    for number, run in enumerate(record["runs"]):
        check_fields(run, {"seed": int}, file, f"runs[{number}].")


def check_ensemble(record, file):
    """Fail unless the record of an ensemble, or one of its members or methods, has its fields."""
    check_fields(record, OF_ENSEMBLE, file)
    if not record["members"]:
        refuse(f"{file} has no members; record a finished ensemble")
    for number, member in enumerate(record["members"]):
        check_fields(member, OF_MEMBER, file, f"members[{number}].")
        if "weight" in member:
            check_fields(member, {"weight": float}, file, f"members[{number}].")
    for method, scores in record["methods"].items():
        check_fields(scores, OF_METHOD, file, f"methods[{method!r}].")
        for gain in ("over_best", "over_single_run"):
            if gain in scores:
                check_fields(scores[gain], OF_GAIN, file, f"methods[{method!r}].{gain}.")


def check_fields(record, fields, file, within=""):
    """Fail unless the record has every field, of its kind: a number from 0 up (but for L and intervals), an accuracy
    at most 1."""
    for field, kind in fields.items():
        value = record
        for name in field.split("."):
            if not isinstance(value, dict) or name not in value:
                refuse(f"{file} lacks {within}{field}; record a finished run")
            value = value[name]
        kinds = (int, float) if kind is float else kind
        if not isinstance(value, kinds) or isinstance(value, bool):
            refuse(f"{file} has {value!r} as {within}{field}, which must be {KINDS[kind]}; record a finished run")
        limit = 1 if field in OF_SEEDS or field.endswith("accuracy") else math.inf
        least = -math.inf if field in ("from", "gain", *OF_INTERVAL) else 0
        if kind in (int, float) and not (least <= value <= limit and math.isfinite(value)):
            refuse(f"{file} has {value!r} as {within}{field}, which cannot be; record a finished run")
