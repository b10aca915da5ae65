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
from ensemble.common.files import keep_beside, put_in_folder, remove_leftovers, unfinished
from ensemble.common.records import describe_computer, git_commit
from ensemble.common.schemas import Ensemble, read_json

RECORD = "ensemble.json"


def result_folder(script, members, out, settings):
    """Return the folder of the result: out or, without it, one named after members, split and settings.

    Refuse a folder that holds the result of something else; remove what killed commands left there.
    """
    same = tell_apart(script, members, settings)
    name = f"{Path(script).stem}-{hashlib.sha256(json.dumps(same).encode()).hexdigest()[:8]}"
    folder = out or Path("runs") / name
    remove_leftovers(folder)
    file = folder / RECORD
    if file.exists() and not holds(folder, same):
        refuse(f"{file} is the result of another ensemble and stays as it is; give another --out")
    return folder


def tell_apart(script, members, settings):
    """Return what a record has that tells a result from others, a dictionary."""
    same = {"script": script, "members": [identity(member.model, member.form) for member in members]}
    return same | {"split": members[0].split, **settings}


def identity(model, form):
    """Return what tells a member from others: its hash and, unless None, how it is fed and read."""
    return model if form is None else [model, form]


def holds(folder, same):
    """Return whether a folder has the result that tell_apart describes."""
    try:
        record = read_json(folder / RECORD, Ensemble, "")
    except RefusedError:  # none, or a damaged one
        return False
    there = {key: record.get(key) for key in same}
    there["members"] = [identity(row["model"], row.get("form")) for row in record["members"]]
    return there == same


def write_result(folder, script, members, rows, record, write_files, settings=None):
    """Write ensemble.json and what goes with it to a folder, unless it is there, and say so.

    rows: what the record says of each member, dictionaries; record: what it says besides of the ensemble;
    write_files(folder): writes the rest, pictures; settings: as in result_folder. Raises RefusedError if the folder has
    the result of something else by then; this one is in a folder beside it.
    """
    same = tell_apart(script, members, settings or {})
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
    written = False
    try:
        if not holds(folder, same):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with unfinished(folder) as own:
                own.mkdir()
                write_files(own)
                (own / RECORD).write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
                written = put_in_folder(own, folder, RECORD)
                if not written and not holds(folder, same):
                    keep_beside(own, folder)
    except OSError as error:
        refuse(f"{folder} cannot be written: {error.strerror}")
    if written:
        print(f"\nWritten to {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}.")
    else:
        print(f"\nThis result is already in {folder}, which stays as it was.")
