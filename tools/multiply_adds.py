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
pooling, no sums. The papers' errors are quoted from them, in the list of variants below.

If all is true, prints one line and exits with status 0; if not, one line a stale table and status 1. A folder or
README.md that cannot be used, and bad usage, is one line and status 2.
"""

import argparse
import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.command import refuse, run_command
from ensemble.common.files import written_whole
from ensemble.common.scripts import import_script

START = "<!-- variants -->"
END = "<!-- end of variants -->"

RESNET = "Table 6 of [1512.03385](https://arxiv.org/abs/1512.03385)"
IDENTITY = "[1603.05027](https://arxiv.org/abs/1603.05027)"
NIN = "[1312.4400](https://arxiv.org/abs/1312.4400)"
WIDE = "version 4 of [1605.07146](https://arxiv.org/abs/1605.07146v4)"
RESNEXT = "Table 7 of [1611.05431](https://arxiv.org/abs/1611.05431)"
DENSENET = "Table 2 of [1608.06993](https://arxiv.org/abs/1608.06993)"
SENET = "Table 4 of [1709.01507](https://arxiv.org/abs/1709.01507)"
PLAIN = {"BOTTLENECK": "no", "COMPRESSION": 1.0}
BOTTLENECKS = {"VERSION": 2, "BOTTLENECK": "yes"}

VARIANTS = {  # script: name, settings, the paper's test error on CIFAR-10 in percent, where it says so
    "1.LeNet/lenet.py": [("LeNet-5", {}, "", "")],
    "2.NIN/nin.py": [
        ("NIN", {"BATCH_NORMALISATION": "no"}, "8.81", NIN),
        ("NIN with batch normalisation", {"BATCH_NORMALISATION": "yes"}, "", ""),
    ],
    "3.VGG/vgg.py": [(f"VGG-{depth}", {"DEPTH": depth}, "", "") for depth in (8, 11, 13, 16, 19)],
    "4.ResNet/resnet.py": [
        ("ResNet-20, original", {"VERSION": 1, "DEPTH": 20}, "8.75", RESNET),
        ("ResNet-32, original", {"VERSION": 1, "DEPTH": 32}, "7.51", RESNET),
        ("ResNet-44, original", {"VERSION": 1, "DEPTH": 44}, "7.17", RESNET),
        ("ResNet-56, original", {"VERSION": 1, "DEPTH": 56}, "6.97", RESNET),
        ("ResNet-110, original", {"VERSION": 1, "DEPTH": 110}, "6.43", RESNET),
        ("ResNet-20, pre-activation", {"VERSION": 2, "DEPTH": 20}, "", ""),
        ("ResNet-110, pre-activation", {"VERSION": 2, "DEPTH": 110}, "6.37", IDENTITY),
        ("ResNet-164, pre-activation bottlenecks", {**BOTTLENECKS, "DEPTH": 164}, "5.46", IDENTITY),
        ("ResNet-1001, pre-activation bottlenecks", {**BOTTLENECKS, "DEPTH": 1001}, "4.92", IDENTITY),
    ],
    "5.WideResNet/wide_resnet.py": [
        ("WRN-16-4", {"DEPTH": 16, "WIDTH": 4}, "5.02", WIDE),
        ("WRN-16-8", {"DEPTH": 16, "WIDTH": 8}, "4.27", WIDE),
        ("WRN-28-10", {"DEPTH": 28, "WIDTH": 10}, "4.00", WIDE),
        ("WRN-28-10 with dropout", {"DEPTH": 28, "WIDTH": 10, "DROPOUT": 0.3}, "3.89", WIDE),
    ],
    "6.ResNeXt/resnext.py": [
        ("ResNeXt-29 8x16d", {"CARDINALITY": 8, "GROUP_WIDTH": 16}, "", ""),
        ("ResNeXt-29 4x64d", {"CARDINALITY": 4, "GROUP_WIDTH": 64}, "", ""),
        ("ResNeXt-29 8x64d", {"CARDINALITY": 8, "GROUP_WIDTH": 64}, "3.65", RESNEXT),
        ("ResNeXt-29 16x64d", {"CARDINALITY": 16, "GROUP_WIDTH": 64}, "3.58", RESNEXT),
    ],
    "7.DenseNet/densenet.py": [
        ("DenseNet-40-12", {"DEPTH": 40, "GROWTH_RATE": 12, **PLAIN}, "5.24", DENSENET),
        ("DenseNet-BC-100-12", {"DEPTH": 100, "GROWTH_RATE": 12}, "4.51", DENSENET),
        ("DenseNet-BC-100-24", {"DEPTH": 100, "GROWTH_RATE": 24}, "", ""),
        ("DenseNet-BC-160-24", {"DEPTH": 160, "GROWTH_RATE": 24}, "", ""),
        ("DenseNet-BC-190-40", {"DEPTH": 190, "GROWTH_RATE": 40}, "3.46", DENSENET),
    ],
    "8.SENet/senet.py": [
        ("SE-ResNeXt-29 4x64d", {"BASE": "resnext", "CARDINALITY": 4, "GROUP_WIDTH": 64}, "", ""),
        ("SE-ResNet-110", {"BASE": "resnet", "DEPTH": 110}, "5.21", SENET),
        ("SE-ResNet-164, bottlenecks", {"BASE": "resnet", "BOTTLENECK": "yes", "DEPTH": 164}, "4.39", SENET),
    ],
}


def count_multiply_adds(model):
    """Return how many multiply-adds the convolutions and dense layers of a Keras model do for one image.

    Every number that such a layer gives out at a place takes a multiply-add for each weight of its filter or unit, so
    they are the kernel's weights times the places: height * width of the output of a convolution, 1 for a dense layer.
    """
    from keras import layers  # the script that built the model has set the environment for it

    weighted = [layer for layer in model.layers if isinstance(layer, (layers.Conv2D, layers.Dense))]
    return sum(math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1]) for layer in weighted)


def variants_table(script, variants):
    """Return the lines of the table of a script's variants. Builds them all, and says on stderr which."""
    titles = ["Variant", "Settings", "Parameters", "Trainable", "Multiply-adds, millions", "Paper's test error %"]
    rows = [titles, [":--", ":--", "--:", "--:", "--:", ":--"]]
    for name, settings, error, source in variants:
        print(f"{script.parent.name}: {name} ...", file=sys.stderr)
        module = import_script(script)
        others = {setting: value for setting, value in settings.items() if getattr(module, setting) != value}
        vars(module).update(others)
        model = module.build_model((32, 32, 3), 10, [0.0] * 3, [1.0] * 3)
        options = " ".join(f"--{setting.lower().replace('_', '-')} {value}" for setting, value in others.items())
        rows.append(
            [
                name,
                f"`{options}`" if options else "as they stand",
                f"{model.count_params():,}",
                f"{sum(math.prod(weight.shape) for weight in model.trainable_weights):,}",
                f"{count_multiply_adds(model) / 1e6:,.1f}",
                f"{error} ({source})" if error else "\N{EN DASH}",
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


def main():
    parser = argparse.ArgumentParser(description="Count parameters and multiply-adds for the tables of variants.")
    parser.error = refuse
    here = Path(__file__).resolve().parent.parent
    scripts = {Path(script).parent.name: Path(script).name for script in VARIANTS}
    parser.add_argument("folders", nargs="*", type=Path, help="default: all eight of this repository")
    parser.add_argument("--fix", action="store_true", help="rewrite stale tables")
    options = parser.parse_args()
    folders = [folder.resolve() for folder in options.folders] or [here / name for name in scripts]
    for folder in folders:
        if folder.name not in scripts:
            refuse(f"{folder.name} is no folder with variants; there are {', '.join(scripts)}")
        for name in (scripts[folder.name], "README.md"):
            if not (folder / name).is_file():
                refuse(f"there is no {folder / name}")
        fill(folder / "README.md", [])  # fails now rather than after a minute

    count, faults = 0, 0
    for folder in folders:
        variants = VARIANTS[f"{folder.name}/{scripts[folder.name]}"]
        readme = folder / "README.md"
        lines, line, stale = fill(readme, variants_table(folder / scripts[folder.name], variants))
        count += len(variants)
        if stale and options.fix:
            with written_whole(readme) as beside:
                beside.write_text("\n".join(lines), encoding="utf-8")
            print(f"{folder.name}/README.md:{line}: {START} rewritten")
        elif stale:
            faults += 1
            print(f"{folder.name}/README.md:{line}: {START} is stale: run tools/multiply_adds.py --fix")
    if faults:
        sys.exit(1)
    print(f"{len(folders)} tables of {count} variants: all true")


if __name__ == "__main__":
    run_command(main)
