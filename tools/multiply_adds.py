"""Count parameters and multiply-adds of every variant of the networks, for the table in each folder's README.md.

    python tools/multiply_adds.py                   # check that the tables say what is counted; a minute or two
    python tools/multiply_adds.py --fix             # rewrite those that do not
    python tools/multiply_adds.py 1.LeNet 2.NIN     # these folders alone

A table stands in the README.md of a script's folder, between this pair of lines of their own:

    <!-- variants -->
    <!-- end of variants -->

A variant is built by its script's build_model, for 10 classes. Parameters are Keras' total, which has in it the
averages that batch normalisation keeps; trainable are the others. Multiply-adds are those of one image of 32x32 pixels
on its way forward, in convolutions and dense layers; nothing else is counted: no biases, no batch normalisation, no
pooling, no sums. The papers' errors are quoted from them, in tools/networks.py.

If all is true, prints one line and exits with status 0; if not, one line a stale table and status 1. A folder or
README.md that cannot be used, and bad usage, is one line and status 2.
"""

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.command import new_parser, refuse, run_command
from ensemble.common.files import written_whole
from ensemble.common.scripts import ROOT, import_script
from tools.networks import BUILT

START = "<!-- variants -->"
END = "<!-- end of variants -->"
SCRIPTS = {Path(network.script).parent.name: Path(network.script).name for network in BUILT}


def count_multiply_adds(model):
    """Return how many multiply-adds the convolutions and dense layers of a Keras model do for one image.

    Every number that such a layer gives out at a place takes a multiply-add for each weight of its filter or unit, so
    they are the kernel's weights times the places: height * width of the output of a convolution, 1 for a dense layer.
    """
    from keras import layers  # the script that built the model has set the environment for it

    weighted = [layer for layer in model.layers if isinstance(layer, (layers.Conv2D, layers.Dense))]
    return sum(math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1]) for layer in weighted)


def variants_of(folder):
    """Return the Networks that the script of a folder builds."""
    return [network for network in BUILT if network.script == f"{folder.name}/{SCRIPTS[folder.name]}"]


def variants_table(folder):
    """Return the lines of the table of a folder's variants. Builds them all, and says on stderr which."""
    titles = ["Variant", "Settings", "Parameters", "Trainable", "Multiply-adds, millions", "Paper's test error %"]
    rows = [titles, [":--", ":--", "--:", "--:", "--:", ":--"]]
    for network in variants_of(folder):
        print(f"{folder.name}: {network.name} ...", file=sys.stderr)
        script = import_script(folder / SCRIPTS[folder.name])
        others = {name: value for name, value in network.settings.items() if getattr(script, name) != value}
        vars(script).update(others)
        model = script.build_model((32, 32, 3), 10, [0.0] * 3, [1.0] * 3)
        options = " ".join(f"--{name.lower().replace('_', '-')} {value}" for name, value in others.items())
        rows.append(
            [
                network.name,
                f"`{options}`" if options else "as they stand",
                f"{model.count_params():,}",
                f"{sum(math.prod(weight.shape) for weight in model.trainable_weights):,}",
                f"{count_multiply_adds(model) / 1e6:,.1f}",
                f"{network.paper_error} ({network.paper})" if network.paper_error else "\N{EN DASH}",
            ]
        )
    counted = (
        "For 10 classes. Parameters include the averages kept by batch normalisation, which are not trained; "
        "multiply-adds are those of convolutions and dense layers, for one image of 32x32 pixels. "
        "Counted by [`tools/multiply_adds.py`](../tools/multiply_adds.py). Errors are the papers', on CIFAR-10."
    )
    return ["", *(f"| {' | '.join(row)} |" for row in rows), "", counted, ""]


def fill(readme, table):
    """Return a README.md's lines with the table in its place, the number of the line above it, whether it was stale."""
    name = f"{readme.parent.name}/{readme.name}"
    try:
        lines = readme.read_text(encoding="utf-8").split("\n")
    except ValueError as error:
        refuse(f"{name} cannot be read as text: {error}")
    places = [number for number, line in enumerate(lines) if line.strip() in (START, END)]
    if [lines[number].strip() for number in places] != [START, END]:
        refuse(f"{name} has no place for the table: it needs the line '{START}' and below it '{END}', once each")
    start, end = places
    return [*lines[: start + 1], *table, *lines[end:]], start + 1, lines[start + 1 : end] != table


def read_options():
    """Return the options of the command line."""
    parser = new_parser("Count parameters and multiply-adds for the tables of variants.")
    parser.add_argument("folders", nargs="*", type=Path, help="default: all of this repository")
    parser.add_argument("--fix", action="store_true", help="rewrite stale tables")
    return parser.parse_args()


def check_folder(folder):
    """Refuse a folder that has no script of ours, or no README.md with a place for the table."""
    if folder.name not in SCRIPTS:
        refuse(f"{folder.name} is no folder with variants; there are {', '.join(SCRIPTS)}")
    for name in (SCRIPTS[folder.name], "README.md"):
        if not (folder / name).is_file():
            refuse(f"there is no {folder / name}")
    fill(folder / "README.md", [])


def main():
    options = read_options()
    folders = [folder.resolve() for folder in options.folders] or [ROOT / name for name in SCRIPTS]
    for folder in folders:
        check_folder(folder)  # all of them before the first network is built, which takes a minute

    faults = 0
    for folder in folders:
        readme = folder / "README.md"
        lines, line, stale = fill(readme, variants_table(folder))
        place = f"{folder.name}/README.md:{line}: {START}"
        if stale and options.fix:
            with written_whole(readme) as beside:
                beside.write_text("\n".join(lines), encoding="utf-8")
            print(f"{place} rewritten")
        elif stale:
            faults += 1
            print(f"{place} is stale: run tools/multiply_adds.py --fix")
    if faults:
        sys.exit(1)
    count = sum(len(variants_of(folder)) for folder in folders)
    print(f"{len(folders)} tables of {count} variants: all true")


if __name__ == "__main__":
    run_command(main)
