"""The tables of results, as lines of Markdown made from records."""

import re
from pathlib import Path

from ensemble.common.records import epochs
from tools.networks import TITLES, TRAINED

TEXTS = (  # titles of columns
    *("Network", "Script", "Ensemble", "Made of", "Schedule", "Paper", "Data", "Data of ours"),
    *("Run", "Command", "Device", "Record"),
)
SNAPSHOT = "ensemble/snapshot.py"
CIFAR_10_CNN = "[cifar-10-cnn](https://github.com/BIGBALLON/cifar-10-cnn)"


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


def describe_network(settings):
    """Return the settings that make a script's network: all before EPOCHS but those of the data, in words.

    Empty ones are left out. A run limited to fewer training images says so.
    """
    names = list(settings)
    own = [name for name in names[: names.index("EPOCHS")] if name not in ("DATA", "HOLD_OUT", "LIMIT")]
    if settings.get("BASE", "").endswith((".h5", ".keras")):  # it has weights of its own
        own.remove("WEIGHTS")
    words = [f"{name.lower().replace('_', ' ')} {settings[name]}" for name in own if settings[name] != ""]
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
                f"{link(Path(script).stem, script, up)} {describe_network(settings)}",
                name_of_data(record),
                f"{record['parameters']:,}",
                str(epochs(settings)),
                percent(record["validation"]),
                percent(record["test"]),
                f"{(record['seconds'] + record.get('feature_seconds', 0)) / 60:.1f}",
                links(name, record, up),
            ]
        )
        speed = f"{record['images_per_second']:,.0f} images/s in {record['precision']} on {record['device']}"
        notes.append(f"{name}: `{record['command']}`, seed {settings['SEED']}; {speed}")
    titles = ["Network", "Data", "Parameters", "Epochs", "Validation %", "Test %", "Minutes", "Record"]
    return markdown(titles, rows, notes) if rows else ["", "not measured", ""]


def comparable(settings):
    """Return a run's settings with those of other dates, which networks are told apart by.

    ResNet was with pre-activation and without bottlenecks before it had settings for them. LeNet gets the VARIANT that
    older records have from what took its place.
    """
    settings = {"VERSION": 2, "BOTTLENECK": "no", "LIMIT": 0, "WEIGHTS": "random", **settings}
    if "PREPROCESS" in settings:
        dp, da, wd = settings["PREPROCESS"] == "standardise", settings.get("AUGMENT"), settings.get("WEIGHT_DECAY")
        parts = [part for part, is_on in (("dp", dp), ("da", da), ("wd", wd)) if is_on]
        settings["VARIANT"] = "_".join(parts) or "plain"
    return settings


def is_run_of(network, record):
    """Return whether a record is of a run of a Network on CIFAR-10."""
    if record["script"] != network.script or not re.match("cifar-?10(?!0)", name_of_data(record), re.IGNORECASE):
        return False
    settings = comparable(record["settings"])
    if settings["LIMIT"] or settings["WEIGHTS"] != "random":  # fewer images than the others had, or others before
        return False
    return all(settings.get(name) == value for name, value in network.settings.items())


def networks_table(records, up):
    """Return the lines of the table of the networks that anyone measured. records and up: see training_table."""
    rows = []
    for network in TRAINED:
        own = {name: record for name, record in records.items() if is_run_of(network, record)}
        if not (network.paper_error or network.ancestor or own):
            continue
        paper = f"{100 - float(network.paper_error):.2f} ({network.paper})" if network.paper_error else ""
        ancestor = f"{network.ancestor} ({CIFAR_10_CNN})" if network.ancestor else ""
        ours, about = "not measured", [""] * 4
        if own:
            name = max(own, key=lambda name: own[name]["validation"]["accuracy"])
            record = own[name]
            ours = percent(record["test"])
            run = f"{record['settings']['EPOCHS']} epochs, seed {record['settings']['SEED']}"
            about = [name_of_data(record), run, record["device"], links(name, record, up)]
        rows.append([network.name, paper, ancestor, ours, *about])
    titles = ["Network", "Paper %", "Ancestor %", "Ours %", "Data of ours", "Run", "Device", "Record"]
    return markdown(titles, rows, [])


def collection_table(records, up):
    """Return the lines of the table of scripts, each with its paper's best network and ours on CIFAR-10.

    records and up: see training_table. Ours is the run that is best on validation.
    """
    rows = []
    for script, (title, paper) in TITLES.items():
        networks = [network for network in TRAINED if network.script == script]
        measured = [network for network in networks if network.paper_error]
        theirs = min(measured, key=lambda network: float(network.paper_error), default=None)
        runs = [(network, name) for network in networks for name in records if is_run_of(network, records[name])]
        about = ["not measured", "", "", ""]
        if runs:
            network, name = max(runs, key=lambda run: records[run[1]]["validation"]["accuracy"])
            record = records[name]
            ours = f"{link(percent(record['test']), f'results/{name}.json', up)} ({network.name})"
            about = [ours, f"{record['parameters']:,}", f"{record['seconds'] / 60:.0f}", record["device"]]
        best = f"{100 - float(theirs.paper_error):.2f} ({theirs.name})" if theirs else ""
        folder = link(title, f"{Path(script).parent}/README.md", up)
        rows.append([folder, link(f"`{script}`", script, up), paper, best, *about])
    titles = ["Network", "Script", "Paper", "Paper's best %", "Ours so far %", "Parameters", "Minutes", "Device"]
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
        f"{link(Path(training['script']).stem, training['script'], up)} {describe_network(training['settings'])}",
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
    "collection": collection_table,
    "networks": networks_table,
    "fast": fast_table,
    "ensembles": ensembles_table,
    "snapshots": snapshots_table,
    "schedules": schedules_table,
    "grids": grids_table,
}
