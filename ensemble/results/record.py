"""The record of an ensemble, ensemble.json, and the folder that it stands in."""

import datetime
import hashlib
import json
import platform
import shlex
import sys
from pathlib import Path

import numpy as np

from ensemble.common.command import RefusedError, refuse
from ensemble.common.files import written_apart
from ensemble.common.records import describe_computer, git_commit
from ensemble.common.schemas import Ensemble, read_json


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
            record = read_json(file, Ensemble, "")
            there = {key: record.get(key) for key in same}
            there["members"] = [identity(row["model"], row.get("form")) for row in record["members"]]
        except RefusedError:
            there = None
        if there != same:
            refuse(f"{file} is the result of another ensemble and stays as it is; give another --out")
    return folder


def identity(model, form):
    """Return what tells a member from others: its hash and, unless None, how it is fed and read."""
    return model if form is None else [model, form]


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
        "classes": members[0].classes,
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
            path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        refuse(f"{folder} cannot be written: {error.strerror}")
    print(f"\nWritten to {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}.")
