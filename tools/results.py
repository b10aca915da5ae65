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
    <!-- results: collection -->            every script, with its paper's best network and our best run on CIFAR-10
    <!-- results: networks -->              the papers', an ancestor's and our test accuracy on CIFAR-10, where any is
    <!-- results: fast -->                  the training runs whose names begin with fast-, with their commands
    <!-- results: ensembles -->             every ensemble, a row for each of its methods
    <!-- results: snapshots -->             every run of ensemble/snapshot.py, and what is made of its snapshots
    <!-- results: schedules -->             every comparison of htd/compare.py, a row for each of its schedules
    <!-- results: grids -->                 every grid of htd/grid.py, a row for each pair of L and U
    <!-- end of results -->

Accuracies are in percent, of the images kept for validation and of the test images. An ensemble's gain is its
test accuracy less that of its best member, in percentage points; the best member is the one best on validation. Of
several runs of a network, the table of networks has the one best on validation, and so has that of the collection.
Schedules have mean and standard deviation over seeds, and the difference to the first of the table in test accuracy,
paired by seed, with its 95% interval. Of a grid, only the pair chosen on validation has a test accuracy.

If all is true, prints one line and exits with status 0; if not, one line a stale table and status 1. A record or
table that cannot be read, and bad usage, is one line and status 2.
"""

import json
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.checks import check_file
from ensemble.common.command import new_parser, printable, refuse, run_command, short
from ensemble.common.files import file_hash, remove_leftovers, written_new, written_whole
from ensemble.common.scripts import ROOT
from tools.result_records import read_record, read_records
from tools.result_tables import TABLES, training_table

START = re.compile(r"<!-- results: *(.*?) *-->")
END = "<!-- end of results -->"


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
    remove_leftovers(target)
    if target.exists():
        refuse(f"{target} exists; give another --name")
    target.parent.mkdir(exist_ok=True)
    if weights:
        model, copy = file.with_name("model.h5"), target.parent / "weights" / f"{name}.h5"
        check_file(model)
        if record.get("model") != file_hash(model):
            refuse(f"{model} is not the model of {file}; record a finished run")
        copy.parent.mkdir(exist_ok=True)
        if not copy.exists() or file_hash(copy) != record["model"]:  # the same: of a command that was killed then
            with written_new(copy) as beside:
                shutil.copyfile(model, beside)
    text = printable(json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False))
    with written_new(target) as beside:
        beside.write_text(text + "\n", encoding="utf-8")
    print(f"{target}: recorded; tools/results.py --fix puts it in the tables")


def table_for(marker, records, up, root):
    """Return the lines of the table that a marker such as "training 4.ResNet" asks for, or None if there is none.

    up: how to get from the README.md's folder to the root.
    """
    kind, _, part = marker.partition(" ")
    if kind == "training" and (not part or (root / part).exists()):
        return training_table(records, up, part.rstrip("/"))
    return TABLES[marker](records, up) if marker in TABLES else None


def fill(readme, records, root):
    """Return a README.md's lines with every table filled, and [(line, marker, was stale)] of its tables."""
    name = readme.relative_to(root)
    up = "../" * (len(name.parts) - 1)
    try:
        lines = readme.read_text(encoding="utf-8").split("\n")
    except ValueError as error:
        refuse(f"{name} cannot be read as text: {short(error)}")
    filled, tables, started, in_code = [], [], None, False  # started: the line of an open table
    for number, line in enumerate(lines, start=1):
        in_code ^= line.lstrip().startswith("```")
        match = None if in_code else START.fullmatch(line.strip())
        if match and started:
            break
        if match:
            table = table_for(match[1], records, up, root)
            if table is None:
                known = f"training, training FOLDER (one that exists), {', '.join(TABLES)}"
                refuse(f"{name}:{number}: there is no table {match[1]!r}; there are {known}")
            table = [printable(text) for text in table]
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


def read_options():
    """Return the options of the command line, or refuse those that do not go together."""
    parser = new_parser("Fill the tables of results in README.md from results/*.json.")
    parser.add_argument("root", nargs="?", type=Path, default=ROOT, help="default: the repository of this tool")
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
    return options


def main():
    options = read_options()
    root = options.root
    if options.add:
        add_record(options.add, options.name, options.data_name, options.weights, root)
        return

    records = read_records(root)
    remove_leftovers(root / "README.md")  # which would have a README.md to fill
    readmes = [root / "README.md", *sorted(root.glob("[!.]*/README.md"))]
    filled = {readme: fill(readme, records, root) for readme in readmes if readme.is_file()}
    faults = 0
    for readme, (lines, tables) in filled.items():
        stale = [f"{readme.relative_to(root)}:{line}: {marker}" for line, marker, was_stale in tables if was_stale]
        if stale and options.fix:
            with written_whole(readme) as beside:
                beside.write_text("\n".join(lines), encoding="utf-8")
        for place in stale:
            print(f"{place} rewritten" if options.fix else f"{place} is stale: run tools/results.py --fix")
        faults += 0 if options.fix else len(stale)
    if faults:
        sys.exit(1)
    count = sum(len(tables) for _, tables in filled.values())
    print(f"{count} tables of {len(records)} records: all true")


if __name__ == "__main__":
    run_command(main)
