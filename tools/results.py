"""Fill the tables of results in every README.md from the records in results/.

    python tools/results.py           # check that the tables say what the records say
    python tools/results.py --fix     # rewrite those that do not
    python tools/results.py FOLDER    # the same for another tree
    python tools/results.py --add runs/NAME/run.json --name resnet20 --data-name "CIFAR-10 (JPEG copy)"

A record is the run.json of a training run, the ensemble.json of an ensemble or the htd.json of a comparison in htd/.
--add copies one to results/resnet20.json; its only change is `data_name`, what the tables call the data set. Without
it they call the data as the run did: cifar10, or for a path the file's name, cifar10.npz. With --weights the model
goes to results/weights/resnet20.h5; what is there must have the SHA-256 that its record says.

A table stands in README.md, or in the README.md of a top-level folder, between a pair of lines of their own:

    <!-- results: training -->              every training run; or those of a folder or script only:
    <!-- results: training 4.ResNet -->
    <!-- results: networks -->              the papers', an ancestor's and our test accuracy on CIFAR-10, by network
    <!-- results: fast -->                  the training runs whose names begin with fast-, with their commands
    <!-- results: ensembles -->             every ensemble, a row for each of its methods
    <!-- results: snapshots -->             every run of ensemble/snapshot.py, and what is made of its snapshots
    <!-- results: schedules -->             every comparison of htd/compare.py, a row for each of its schedules
    <!-- results: grids -->                 every grid of htd/grid.py, a row for each pair of L and U
    <!-- end of results -->

Accuracies are in percent, of the images kept for validation and of the test images. An ensemble's gain is its
test accuracy less that of its best member, in percentage points; the best member is the one best on validation. Of
several runs of a network, the table of networks has the one best on validation.
Schedules have mean and standard deviation over seeds, and the difference to the first of the table in test accuracy,
paired by seed, with its 95% interval. Of a grid, only the pair chosen on validation has a test accuracy.

If all is true, prints one line and exits with status 0; if not, one line a stale table and status 1. A record or
table that cannot be read, and bad usage, is one line and status 2.
"""

import argparse
import hashlib
import json
import math
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.command import refuse, run_command
from ensemble.common.files import written_whole
from tools.multiply_adds import VARIANTS

START = re.compile(r"<!-- results: *(.*?) *-->")
END = "<!-- end of results -->"
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
TEXTS = ("Network", "Ensemble", "Made of", "Schedule", "Data", "Data of ours", "Run", "Command", "Device", "Record")
KINDS = {str: "a text", int: "a whole number", float: "a number", list: "a list", dict: "a group of values"}
SNAPSHOT = "ensemble/snapshot.py"
CIFAR_10_CNN = "[cifar-10-cnn](https://github.com/BIGBALLON/cifar-10-cnn)"
NETWORKS = [  # name, as in VARIANTS where it has a paper's error; script, settings, test accuracy in CIFAR_10_CNN
    ("LeNet-5, plain", "1.LeNet/lenet.py", {"VARIANT": "plain"}, "58.48"),
    ("LeNet-5, data preprocessing", "1.LeNet/lenet.py", {"VARIANT": "dp"}, "60.41"),
    ("LeNet-5, with augmentation too", "1.LeNet/lenet.py", {"VARIANT": "dp_da"}, "75.06"),
    ("LeNet-5, with weight decay too", "1.LeNet/lenet.py", {"VARIANT": "dp_da_wd"}, "76.23"),
    ("NIN", "2.NIN/nin.py", {"BATCH_NORMALISATION": "no"}, ""),
    ("NIN with batch normalisation", "2.NIN/nin.py", {"BATCH_NORMALISATION": "yes"}, "91.63"),
    ("VGG-8", "3.VGG/vgg.py", {"DEPTH": 8}, ""),
    ("VGG-11", "3.VGG/vgg.py", {"DEPTH": 11}, ""),
    ("VGG-19", "3.VGG/vgg.py", {"DEPTH": 19}, "93.53"),
    ("ResNet-20, pre-activation", "4.ResNet/resnet.py", {"VERSION": 2, "DEPTH": 20}, "91.82"),
    ("ResNet-32, pre-activation", "4.ResNet/resnet.py", {"VERSION": 2, "DEPTH": 32}, "92.68"),
    ("ResNet-110, pre-activation", "4.ResNet/resnet.py", {"VERSION": 2, "DEPTH": 110}, "93.93"),
    ("WRN-16-2", "5.WideResNet/wide_resnet.py", {"DEPTH": 16, "WIDTH": 2}, ""),
    ("WRN-16-4", "5.WideResNet/wide_resnet.py", {"DEPTH": 16, "WIDTH": 4}, ""),
    ("WRN-16-8", "5.WideResNet/wide_resnet.py", {"DEPTH": 16, "WIDTH": 8}, "95.13"),
    ("WRN-28-10", "5.WideResNet/wide_resnet.py", {"DEPTH": 28, "WIDTH": 10}, "95.78"),
    ("ResNeXt-29 4x8d", "6.ResNeXt/resnext.py", {"CARDINALITY": 4, "GROUP_WIDTH": 8}, ""),
    ("ResNeXt-29 4x64d", "6.ResNeXt/resnext.py", {"CARDINALITY": 4, "GROUP_WIDTH": 64}, "95.19"),
    ("ResNeXt-29 8x64d", "6.ResNeXt/resnext.py", {"CARDINALITY": 8, "GROUP_WIDTH": 64}, ""),
    ("DenseNet-40-12", "7.DenseNet/densenet.py", {"DEPTH": 40, "GROWTH_RATE": 12, "BOTTLENECK": "no"}, ""),
    ("DenseNet-BC-100-12", "7.DenseNet/densenet.py", {"DEPTH": 100, "GROWTH_RATE": 12}, "94.91"),
    ("DenseNet-BC-160-24", "7.DenseNet/densenet.py", {"DEPTH": 160, "GROWTH_RATE": 24}, "95.90"),
    ("SE-ResNet-20", "8.SENet/senet.py", {"BASE": "resnet", "DEPTH": 20}, ""),
    ("SE-ResNet-110", "8.SENet/senet.py", {"BASE": "resnet", "DEPTH": 110}, ""),
    ("SE-ResNeXt-29 4x64d", "8.SENet/senet.py", {"BASE": "resnext", "CARDINALITY": 4, "GROUP_WIDTH": 64}, "95.60"),
]


# Records
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
        check_fields(record, {**OF_COMPARISON, "schedules": dict}, file)
        for schedule, row in record["schedules"].items():
            check_fields(row, {"validation": dict, "test": dict, "seconds": float}, file, f"schedules[{schedule!r}].")
            for part in ("validation", "test"):
                check_fields(row[part], OF_SEEDS, file, f"schedules[{schedule!r}].{part}.")
            if "difference" in row:
                check_fields(row, {"difference": dict}, file, f"schedules[{schedule!r}].")
    elif "grid" in record:
        check_fields(record, {**OF_COMPARISON, "grid.cells": list, "grid.chosen.test": dict}, file)
        check_fields(record["grid"]["chosen"]["test"], OF_SEEDS, file, "grid.chosen.test.")
        for number, pair in enumerate([*record["grid"]["cells"], record["grid"]["chosen"]]):
            check_fields(pair, OF_PAIR, file, f"grid, pair {number}: ")
            check_fields(pair["validation"], OF_SEEDS, file, f"grid, pair {number}: validation.")
    else:
        check_fields(record, OF_ENSEMBLE, file)
        if not record["members"]:
            refuse(f"{file} has no members; record a finished ensemble")
        for number, member in enumerate(record["members"]):
            check_fields(member, OF_MEMBER, file, f"members[{number}].")
            if "weight" in member:
                check_fields(member, {"weight": float}, file, f"members[{number}].")
        for method, scores in record["methods"].items():
            check_fields(scores, OF_METHOD, file, f"methods[{method!r}].")
            if "over_best" in scores:
                check_fields(scores["over_best"], OF_GAIN, file, f"methods[{method!r}].over_best.")
            if "over_single_run" in scores:
                check_fields(scores["over_single_run"], OF_GAIN, file, f"methods[{method!r}].over_single_run.")
    if "schedules" in record or "grid" in record:
        for number, run in enumerate(record["runs"]):
            check_fields(run, {"seed": int}, file, f"runs[{number}].")
    return record


def add_record(file, name, data_name, weights, root):
    """Copy a record to results/NAME.json, with data_name if it is given; never over another.

    weights: copy the model beside it too.
    """
    record = read_record(file)
    if data_name:
        record["data_name"] = data_name
    if not re.fullmatch(r"\w[\w.-]*", name):
        refuse(f"--name {name!r} cannot be a file's name; use letters, digits, '.', '-' and '_'")
    target = root / "results" / f"{name}.json"
    if target.exists():
        refuse(f"{target} exists; give another --name")
    target.parent.mkdir(exist_ok=True)
    if weights:
        model, copy = file.with_name("model.h5"), target.parent / "weights" / f"{name}.h5"
        if record.get("model") != hashlib.sha256(model.read_bytes()).hexdigest():
            refuse(f"{model} is not the model of {file}; record a finished run")
        copy.parent.mkdir(exist_ok=True)
        with written_whole(copy) as beside:
            shutil.copyfile(model, beside)
    with written_whole(target) as beside:
        beside.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{target}: recorded; tools/results.py --fix puts it in the tables")


def check_weights(records, root):
    """Fail unless every results/weights/NAME.h5 is the model of results/NAME.json; mark those records."""
    for file in sorted(root.glob("results/weights/*.h5")):
        record = records.get(file.stem, {})
        if record.get("model") != hashlib.sha256(file.read_bytes()).hexdigest():
            refuse(f"{file} is not the model of results/{file.stem}.json, by its SHA-256; remove it")
        record["weights"] = True


# Tables
def name_of_data(record):
    data = record["settings"]["DATA"] if "settings" in record else record["data"]
    return record.get("data_name") or Path(data).name


def percent(scores):
    return f"{100 * scores['accuracy']:.2f}"


def p_value(p):
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def link(text, path, up):
    return f"[{text}]({up}{path})"


def links(name, record, up):
    """Return the link of a training run's record, and of its weights if they are there."""
    weights = f", {link('weights', f'results/weights/{name}.h5', up)}" if "weights" in record else ""
    return link(name, f"results/{name}.json", up) + weights


def markdown(titles, rows, notes):
    """Return the lines of a table, its first columns of text, and of the list below it; "|" in cells escaped."""
    texts = [title for title in titles if title in TEXTS]
    cells = [titles, [":--" if title in texts else "--:" for title in titles]]
    cells += [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    notes = [*(f"- {note}" for note in notes), ""] if notes else []
    return ["", *(f"| {' | '.join(row)} |" for row in cells), "", *notes]


def network(settings):
    """Return the settings that make a script's network: all before EPOCHS but those of the data, in words.

    A run limited to fewer training images says so.
    """
    names = list(settings)
    own = [name for name in names[: names.index("EPOCHS")] if name not in ("DATA", "HOLD_OUT", "LIMIT")]
    words = [f"{name.lower().replace('_', ' ')} {settings[name]}" for name in own]
    if settings.get("LIMIT"):
        words.append(f"only {settings['LIMIT']} training images")
    return ", ".join(words)


def training_table(records, up, part):
    """Return the lines of the table of training runs, of the scripts in `part` if it is not empty.

    records: {name: record}; up: how to get from the README.md's folder to the root.
    """
    chosen = {
        name: record
        for name, record in records.items()
        if "settings" in record and f"{record['script']}/".startswith(f"{part}/" if part else "")
    }
    rows, notes = [], []
    for name in sorted(chosen, key=lambda name: (name_of_data(chosen[name]), chosen[name]["test"]["accuracy"], name)):
        record = chosen[name]
        settings, script = record["settings"], record["script"]
        rows.append(
            [
                f"{link(Path(script).stem, script, up)} {network(settings)}",
                name_of_data(record),
                f"{record['parameters']:,}",
                str(settings["EPOCHS"]),
                percent(record["validation"]),
                percent(record["test"]),
                f"{record['seconds'] / 60:.1f}",
                links(name, record, up),
            ]
        )
        speed = f"{record['images_per_second']:,.0f} images/s in {record['precision']} on {record['device']}"
        notes.append(f"{name}: `{record['command']}`, seed {settings['SEED']}; {speed}")
    titles = ["Network", "Data", "Parameters", "Epochs", "Validation %", "Test %", "Minutes", "Record"]
    return markdown(titles, rows, notes) if rows else ["", "not measured", ""]


def with_variant(settings):
    """Return a run's settings, LeNet's with the VARIANT that older records have, made from what took its place."""
    if "PREPROCESS" not in settings:
        return settings
    dp, da, wd = settings["PREPROCESS"] == "standardise", settings.get("AUGMENT"), settings.get("WEIGHT_DECAY")
    parts = [part for part, is_on in (("dp", dp), ("da", da), ("wd", wd)) if is_on]
    return settings | {"VARIANT": "_".join(parts) or "plain"}


def networks_table(records, up):
    """Return the lines of the table of networks. records and up: see training_table."""
    papers = {name: (error, source) for variants in VARIANTS.values() for name, _, error, source in variants if error}
    rows = []
    for network_name, script, settings, ancestor in NETWORKS:
        own = {  # those with these settings, or older than them
            name: record
            for name, record in records.items()
            if record.get("script") == script
            and re.match("cifar-?10(?!0)", name_of_data(record), re.IGNORECASE)
            and all(with_variant(record["settings"]).get(key, value) == value for key, value in settings.items())
        }
        paper, ours, about = "", "not measured", [""] * 4
        if network_name in papers:
            error, source = papers[network_name]
            paper = f"{100 - float(error):.2f} ({source})"
        if own:
            name = max(own, key=lambda name: own[name]["validation"]["accuracy"])
            record = own[name]
            ours = percent(record["test"])
            run = f"{record['settings']['EPOCHS']} epochs, seed {record['settings']['SEED']}"
            about = [name_of_data(record), run, record["device"], links(name, record, up)]
        rows.append([network_name, paper, f"{ancestor} ({CIFAR_10_CNN})" if ancestor else "", ours, *about])
    titles = ["Network", "Paper %", "Ancestor %", "Ours %", "Data of ours", "Run", "Device", "Record"]
    return markdown(titles, rows, [])


def fast_table(records, up):
    """Return the lines of the table of fast runs, the shortest first. records and up: see training_table."""
    chosen = {name: record for name, record in records.items() if "settings" in record and name.startswith("fast-")}
    rows = [
        [
            f"{record['seconds'] / 60:.1f}",
            percent(record["validation"]),
            percent(record["test"]),
            name_of_data(record),
            f"`{record['command']}`",
            record["device"],
            links(name, record, up),
        ]
        for name, record in sorted(chosen.items(), key=lambda item: item[1]["seconds"])
    ]
    titles = ["Minutes", "Validation %", "Test %", "Data", "Command", "Device", "Record"]
    return markdown(titles, rows, []) if rows else ["", "not measured", ""]


def ensembles_table(records, up):
    """Return the lines of the table of ensembles, a row for each method. records and up: see training_table."""
    chosen = {name: record for name, record in records.items() if "methods" in record and record["script"] != SNAPSHOT}
    runs = {record["model"]: name for name, record in records.items() if "settings" in record}
    rows, notes = [], []
    for name in sorted(chosen, key=lambda name: (name_of_data(chosen[name]), name)):
        record = chosen[name]
        members = record["members"]
        best = max(members, key=lambda member: (member["validation"]["accuracy"], -member["validation"].get("loss", 0)))
        names = [
            link(runs[member["model"]], f"results/{runs[member['model']]}.json", up)
            if member["model"] in runs
            else member["path"]
            for member in members
        ]
        for method, scores in record["methods"].items():
            over = scores.get("over_best", {})
            rows.append(
                [
                    method,
                    name_of_data(record),
                    percent(scores["validation"]),
                    percent(scores["test"]),
                    f"{100 * (scores['test']['accuracy'] - best['test']['accuracy']):+.2f}",
                    f"{100 * over['low']:+.2f} to {100 * over['high']:+.2f}" if over else "",
                    p_value(over["adjusted_p"]) if over else "",
                    link(name, f"results/{name}.json", up),
                ]
            )
        weights = [f"{member['weight']:.4g}" for member in members if "weight" in member]
        in_order = f", weights {', '.join(weights)} in the members' order" if weights else ""
        notes.append(f"{name}, of {', '.join(names)}: `{record['command']}`{in_order}; on {record['device']}")
    gain = ["Gain over best member", "95% interval", "p, Holm"]
    titles = ["Ensemble", "Data", "Validation %", "Test %", *gain, "Record"]
    return markdown(titles, rows, notes) if rows else ["", "not measured", ""]


def snapshots_table(records, up):
    """Return the lines of the table of snapshots and what is made of them. records and up: see training_table."""
    rows, notes = [], []
    for name in sorted(name for name, record in records.items() if record["script"] == SNAPSHOT):
        record = records[name]
        members = {f"snapshot {number}": member for number, member in enumerate(record["members"][:-1], start=1)}
        for made, scores in (members | record["methods"]).items():
            over = scores.get("over_single_run")
            gain, low, high = (100 * over[field] for field in ("gain", "low", "high")) if over else (0, 0, 0)
            rows.append(
                [
                    f"{made}, best on validation" if made == record.get("best_on_validation") else made,
                    name_of_data(record),
                    percent(scores["validation"]),
                    percent(scores["test"]),
                    f"{gain:+.2f} [{low:+.2f}, {high:+.2f}]" if over else "",
                    p_value(over["adjusted_p"]) if over else "",
                    link(name, f"results/{name}.json", up),
                ]
            )
        notes.append(f"{name}: `{record['command']}`; on {record['device']}")
    titles = ["Made of", "Data", "Validation %", "Test %", "Test, less the single run's", "p, Holm", "Record"]
    return markdown(titles, rows, notes) if rows else ["", "not measured", ""]


def over_seeds(scores):
    """Return mean and standard deviation in percent, as a text; of one seed there is no deviation."""
    deviation = scores.get("deviation")
    return f"{100 * scores['mean']:.2f}" + ("" if deviation is None else f" ± {100 * deviation:.2f}")


def describe_comparison(name, record, up):
    """Return what the rows of a comparison in htd/ have in common, its link, and the note below the table."""
    training = record["training"]
    common = [
        f"{link(Path(training['script']).stem, training['script'], up)} {network(training['settings'])}",
        name_of_data(record),
        str(training["settings"]["EPOCHS"]),
        str(len({run["seed"] for run in record["runs"]})),
    ]
    note = f"{name}: `{record['command']}`; {record['precision']} on {record['device']}"
    return common, link(name, f"results/{name}.json", up), note


def schedules_table(records, up):
    """Return the lines of the table of schedules, a row for each. records and up: see training_table."""
    rows, notes = [], []
    for name in sorted(name for name, record in records.items() if "schedules" in record):
        common, own_link, note = describe_comparison(name, records[name], up)
        notes.append(note)
        for schedule, row in records[name]["schedules"].items():
            less = [f"{100 * value:+.2f}" for value in row.get("difference", {}).values() if value is not None]
            rows.append(
                [
                    schedule,
                    *common,
                    over_seeds(row["validation"]),
                    over_seeds(row["test"]),
                    f"{100 * row['test']['median']:.2f}",
                    f"{100 * row['test']['best']:.2f}",
                    f"{less[0]} [{less[1]}, {less[2]}]" if len(less) == 3 else "".join(less),
                    f"{row['seconds'] / 60:.1f}",
                    own_link,
                ]
            )
    figures = ["Validation %", "Test %", "Test, median", "Test, best on validation", "Test, less the first's"]
    titles = ["Schedule", "Network", "Data", "Epochs", "Seeds", *figures, "Minutes a run", "Record"]
    return markdown(titles, rows, notes) if rows else ["", "not measured", ""]


def grids_table(records, up):
    """Return the lines of the table of grids, the best pair on validation first. records and up: see training_table."""
    rows, notes = [], []
    for name in sorted(name for name, record in records.items() if "grid" in record):
        common, own_link, note = describe_comparison(name, records[name], up)
        notes.append(note)
        chosen = records[name]["grid"]["chosen"]
        for pair in sorted(records[name]["grid"]["cells"], key=lambda pair: -pair["validation"]["mean"]):
            is_chosen = (pair["from"], pair["to"]) == (chosen["from"], chosen["to"])
            test = over_seeds(chosen["test"]) if is_chosen else ""
            ends = [f"{pair['from']:g}", f"{pair['to']:g}"]
            rows.append([*common, *ends, over_seeds(pair["validation"]), test, own_link])
    titles = ["Network", "Data", "Epochs", "Seeds", "L", "U", "Validation %", "Test %", "Record"]
    return markdown(titles, rows, notes) if rows else ["", "not measured", ""]


TABLES = {
    "networks": networks_table,
    "fast": fast_table,
    "ensembles": ensembles_table,
    "snapshots": snapshots_table,
    "schedules": schedules_table,
    "grids": grids_table,
}


def fill(readme, records, root):
    """Return a README.md's lines with every table filled, and [(line, marker, was stale)] of its tables."""
    name = readme.relative_to(root)
    up = "../" * (len(name.parts) - 1)
    try:
        lines = readme.read_text(encoding="utf-8").split("\n")
    except ValueError as error:
        refuse(f"{name} cannot be read as text: {error}")
    filled, tables, started, in_code = [], [], None, False  # started: the line of an open table
    for number, line in enumerate(lines, start=1):
        in_code ^= line.lstrip().startswith("```")
        match = None if in_code else START.fullmatch(line.strip())
        if match and started:
            break
        if match:
            kind, _, part = match[1].partition(" ")
            if kind == "training" and (not part or (root / part).exists()):
                table = training_table(records, up, part.rstrip("/"))
            elif match[1] in TABLES:
                table = TABLES[match[1]](records, up)
            else:
                known = f"training, training FOLDER (one that exists), {', '.join(TABLES)}"
                refuse(f"{name}:{number}: there is no table {match[1]!r}; there are {known}")
            filled += [line, *table]
            started = number
        elif line.strip() == END and not in_code:
            if not started:
                refuse(f"{name}:{number}: '{END}' ends nothing; put '<!-- results: training -->' above the table")
            tables.append((started, lines[started - 1].strip(), lines[started : number - 1] != table))
            filled.append(line)
            started = None
        elif not started:
            filled.append(line)
    if started:
        refuse(f"{name}:{started}: the table has no end; put '{END}' below it")
    return filled, tables


def main():
    parser = argparse.ArgumentParser(description="Fill the tables of results in README.md from results/*.json.")
    parser.error = refuse
    here = Path(__file__).resolve().parent.parent
    parser.add_argument("root", nargs="?", type=Path, default=here, help="default: the repository of this tool")
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--fix", action="store_true", help="rewrite stale tables")
    action.add_argument("--add", type=Path, metavar="FILE", help="a run.json, ensemble.json or htd.json to record")
    parser.add_argument("--name", help="with --add: results/NAME.json is made")
    parser.add_argument("--data-name", help="with --add: what the tables call the data set")
    parser.add_argument("--weights", action="store_true", help="with --add of a run.json: copy its model.h5 too")
    options = parser.parse_args()
    if not options.root.is_dir():
        refuse(f"there is no folder {options.root}")
    if bool(options.add) != bool(options.name) or ((options.data_name or options.weights) and not options.add):
        refuse("give --add FILE and --name NAME together, and --data-name and --weights with them only")
    if options.add:
        add_record(options.add, options.name, options.data_name, options.weights, options.root)
        return

    records = {file.stem: read_record(file) for file in sorted(options.root.glob("results/*.json"))}
    check_weights(records, options.root)
    readmes = [options.root / "README.md", *sorted(options.root.glob("[!.]*/README.md"))]
    count, faults = 0, 0
    for readme in readmes:
        if not readme.exists():
            continue
        lines, tables = fill(readme, records, options.root)
        stale = [(line, marker) for line, marker, was_stale in tables if was_stale]
        if stale and options.fix:
            with written_whole(readme) as beside:
                beside.write_text("\n".join(lines), encoding="utf-8")
        for line, marker in stale:
            place = f"{readme.relative_to(options.root)}:{line}: {marker}"
            print(f"{place} rewritten" if options.fix else f"{place} is stale: run tools/results.py --fix")
        count += len(tables)
        faults += 0 if options.fix else len(stale)
    if faults:
        sys.exit(1)
    print(f"{count} tables of {len(records)} records: all true")


if __name__ == "__main__":
    run_command(main)
