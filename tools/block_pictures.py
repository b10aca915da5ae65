"""Draw the block that each network is built of, block.png in each script's folder.

    python tools/block_pictures.py           # all, in this repository
    python tools/block_pictures.py FOLDER    # in another tree, in the folders that stand there

A picture is 8 inches wide, drawn in inches from its lower left corner. Data flow down or to the right.
"""

import hashlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.command import new_parser, refuse, run_command
from ensemble.common.files import written_whole
from ensemble.common.scripts import ROOT
from tools.picture import DEPTHS, Picture

NORMALISED_RELU = "batch norm., ReLU"


def lenet():
    picture = Picture("LeNet-5, on an image of 32x32 pixels", 2.9)
    maps = [(32, 3), (28, 6), (14, 6), (10, 16), (5, 16)]
    x, middle, edges = 0.38, 1.5, []
    for size, count in maps:
        side, sheets = 0.15 + 0.026 * size, min(count, 8)
        depth = 0.035 * (sheets - 1)
        for sheet in reversed(range(sheets)):
            shift = 0.035 * sheet
            picture.block(x + shift, middle - side / 2 + shift - depth / 2, side, side, "data")
        picture.note(x + (side + depth) / 2, middle + side / 2 + depth / 2 + 0.18, f"{size}x{size}x{count}")
        edges.append((x, x + side + depth))
        x += side + depth + 0.38
    for units, height in ((120, 1.3), (84, 1.0), (10, 0.4)):
        picture.block(x, middle - height / 2, 0.16, height, "dense")
        picture.note(x + 0.08, middle + height / 2 + 0.18, str(units))
        edges.append((x, x + 0.16))
        x += 0.16 + 0.5
    steps = ["5x5\nconvolution,\nReLU", "2x2\nmax\npooling"] * 2 + ["dense,\nReLU", "dense,\nReLU", "dense,\nsoftmax"]
    for (_, start), (end, _), text in zip(edges[:-1], edges[1:], steps, strict=True):
        picture.arrow((start + 0.04, middle), (end - 0.04, middle))
        picture.note((start + end) / 2, 0.4, text)
    return picture.figure


def nin():
    picture = Picture("Network in Network: a small network instead of a filter", 5.4)
    relu, one = ("batch norm.*, ReLU", "normalisation"), ("1x1 convolution", "convolution")
    picture.heading(1.25, 4.85, "a convolution layer")
    picture.column(1.25, 4.15, [("kxk convolution", "convolution"), ("ReLU", "normalisation")])
    picture.heading(3.75, 4.85, "an mlpconv layer")
    picture.column(3.75, 4.15, [("kxk convolution", "convolution"), relu, one, relu, one, relu])
    picture.note(2.5, 0.4, "* batch normalisation if BATCH_NORMALISATION\nis yes; the paper has ReLU alone")
    picture.heading(6.5, 4.85, "the network")
    network = [
        ("mlpconv 5x5: 192, 160, 96", "convolution"),
        ("3x3 max pooling, stride 2", "pooling"),
        ("dropout", "dropout"),
        ("mlpconv 5x5: 192, 192, 192", "convolution"),
        ("3x3 average pooling, stride 2", "pooling"),
        ("dropout", "dropout"),
        ("mlpconv 3x3: 192, 192, classes", "convolution"),
        ("global average pooling, softmax", "pooling"),
    ]
    picture.column(6.5, 4.15, network, width=2.6, step=0.52, last=False)
    return picture.figure


def vgg():
    picture = Picture("VGG: stages of 3x3 convolutions, on an image of 32x32 pixels", 4.5)
    every, from_13, from_16, only_19 = DEPTHS
    stages = [(64, (every, from_13)), (128, (every, from_13))]
    stages += [(filters, (every, every, from_16, only_19)) for filters in (256, 512, 512)]
    for number, (filters, kinds) in enumerate(stages):
        x = 0.74 + 1.304 * number
        picture.heading(x, 3.85, f"{32 >> number}x{32 >> number}")
        for place, kind in enumerate(kinds):
            picture.box(x, 3.3 - 0.5 * place, f"3x3, {filters}", kind, width=0.95)
            if number == 0 or place > 0:
                picture.arrow((x, 3.62 - 0.5 * place), (x, 3.48 - 0.5 * place))
        picture.arrow((x, 3.62 - 0.5 * len(kinds)), (x, 1.48))
        picture.box(x, 1.3, "max pool", "pooling", width=0.95)
        following = x + 1.304
        middle = x + 0.652
        picture.arrow((x + 0.475, 1.3), (middle, 1.3), (middle, 3.63), (following, 3.63), (following, 3.48))
    picture.heading(7.26, 3.85, "dense")
    for place, text in enumerate(("4096", "4096", "classes")):
        picture.box(7.26, 3.3 - 0.5 * place, text, "dense", width=0.95)
        picture.arrow((7.26, 3.12 - 0.5 * place), (7.26, 2.98 - 0.5 * place))
    picture.box(7.26, 1.8, "softmax", "dense", width=0.95)
    text = "Batch normalisation and ReLU follow each convolution and each dense layer of 4096 units,"
    picture.note(4, 0.84, f"{text}\nand dropout each such dense layer. The convolutions stand in")
    for number, depths in enumerate(DEPTHS):
        picture.box(1.12 + 1.92 * number, 0.36, depths, depths, width=1.7)
    return picture.figure


def resnet():
    picture = Picture("Residual blocks of f filters", 5.7)
    activation, plus = (NORMALISED_RELU, "normalisation"), ("+", "sign")
    convolution = ("3x3 convolution, f", "convolution")
    narrow, widen = ("1x1 convolution, f", "convolution"), ("1x1 convolution, 4f", "convolution")
    after = [("batch normalisation", "normalisation"), plus, ("ReLU", "normalisation")]
    blocks = {
        "original": [convolution, activation, convolution, *after],
        "pre-activation": [activation, convolution, activation, convolution, plus],
        "pre-activation, bottleneck": [activation, narrow, activation, convolution, activation, widen, plus],
    }
    for number, (title, items) in enumerate(blocks.items()):
        x = 1.25 + 2.65 * number
        picture.heading(x, 5.15, title)
        y = picture.column(x, 4.45, items)[items.index(plus)]
        picture.arrow((x, 4.83), (x + 1.15, 4.83), (x + 1.15, y), (x + 0.15, y))
    original = "Where the shape changes, the original shortcut takes every second pixel and adds channels of zeros;"
    picture.note(4, 0.3, f"{original}\nthe others are a 1x1 convolution, and begin after the first ReLU.")
    return picture.figure


def wide_resnet():
    picture = Picture("Wide residual network of width k and depth 6n + 4", 5.1)
    picture.heading(2.2, 4.55, "a block of f filters")
    activation, convolution = (NORMALISED_RELU, "normalisation"), ("3x3 convolution, f", "convolution")
    items = [activation, convolution, activation, ("dropout, if any", "dropout"), convolution, ("+", "sign")]
    sum_y = picture.column(2.2, 3.85, items)[-1]
    picture.arrow((2.2, 4.23), (3.35, 4.23), (3.35, sum_y), (2.35, sum_y))
    picture.arrow((2.2, 3.57), (0.62, 3.57), (0.62, 2.35), dashed=True)
    picture.box(0.62, 2.17, "1x1, f", "convolution", width=0.75)
    picture.arrow((0.62, 1.99), (0.62, sum_y), (2.05, sum_y), dashed=True)
    picture.note(
        2.2, 0.3, "dashed: the shortcut where the shape changes,\nwith a stride of 2 where height and width are halved"
    )
    picture.heading(5.9, 4.55, "the network")
    network = [
        ("3x3 convolution, 16", "convolution"),
        ("n blocks, f = 16k", "data"),
        ("n blocks, f = 32k", "data"),
        ("n blocks, f = 64k", "data"),
        (NORMALISED_RELU, "normalisation"),
        ("global average pooling", "pooling"),
        ("dense, softmax", "dense"),
    ]
    heights = picture.column(5.9, 3.85, network, width=2.2, last=False)
    for y, size in zip(heights, ("32x32", "32x32", "16x16", "8x8"), strict=False):
        picture.note(7.4, y, size)
    return picture.figure


def resnext():
    picture = Picture("Aggregated transformations: a ResNeXt block with 8 groups of 64", 4.6)
    picture.heading(1.95, 4.05, "8 paths")
    for x in (0.65, 1.65, 3.25):
        picture.arrow((1.95, 3.4), (x, 3.4), (x, 3.13))
        for y, text in zip((2.95, 2.39, 1.83), ("1x1, 64", "3x3, 64", "1x1, 256"), strict=True):
            picture.box(x, y, text, "convolution", width=0.85)
            if y > 1.9:
                picture.arrow((x, y - 0.18), (x, y - 0.38))
        picture.arrow((x, 1.65), (x, 1.43), (1.95, 1.43), (1.95, 1.23))
    for y in (2.95, 2.39, 1.83):
        picture.note(2.45, y, "\N{HORIZONTAL ELLIPSIS}", size=13)
    picture.note(4.45, 2.39, "=", size=20)
    picture.heading(6.1, 4.05, "one path with a grouped convolution")
    grouped = [("1x1 convolution, 512", "convolution"), ("3x3 convolution, 512, 8 groups", "convolution")]
    picture.column(6.1, 2.95, [*grouped, ("1x1 convolution, 256", "convolution")], width=2.4, last=False)
    picture.arrow((6.1, 1.65), (6.1, 1.23))
    for x, beside, end in ((1.95, 3.95, 3.4), (6.1, 7.55, 3.13)):
        picture.sign(x, 1.08, "+")
        picture.arrow((x, 3.85), (x, 3.62), (x, end), head=end < 3.4)
        picture.arrow((x, 3.62), (beside, 3.62), (beside, 1.08), (x + 0.15, 1.08))
        picture.arrow((x, 0.93), (x, 0.66))
    text = "A block of the first stage. Batch normalisation follows each convolution; ReLU follows it in the first two,"
    picture.note(
        4, 0.33, f"{text}\nand the sum. Where the shape changes, and only there, the shortcut is a 1x1 convolution."
    )
    return picture.figure


def densenet():
    picture = Picture("Dense connections: a layer gets all that the layers before it made", 4.85)
    width, base, first, added = 0.34, 2.75, 0.6, 0.3
    xs = [0.45 + 1.85 * number for number in range(4)]
    for number, x in enumerate(xs):
        top = base + first + added * number
        picture.block(x, base, width, first, "data")
        picture.note(x + width / 2, base + first / 2, "k\N{SUBSCRIPT ZERO}")
        for layer in range(number):
            picture.block(x, base + first + added * layer, width, added, "convolution")
            picture.note(x + width / 2, base + first + added * (layer + 0.5), "k")
        if number < 3:
            y = top + added / 2
            picture.arrow((x + width / 2, top), (x + width / 2, y), (x + 0.62, y))
            picture.box(x + 1.0, y, "layer", "convolution", width=0.76)
            picture.arrow((x + 1.38, y), (x + 1.85, y))
            picture.arrow((x + width, base + first / 2), (x + 1.85, base + first / 2))
    picture.arrow((xs[3] + width, base + first / 2), (xs[3] + 0.85, base + first / 2))
    picture.note(xs[3] + 1.35, base + first / 2, "next layer,\n\N{HORIZONTAL ELLIPSIS}")
    picture.note(
        4,
        2.5,
        "A bar stands for the channels of an image, of which each layer adds k (the growth rate) to those that it got.",
    )
    picture.heading(0.3, 1.85, "a layer", align="left")
    picture.note(1.2, 1.85, "(without bottlenecks the last two alone)", align="left")
    narrow, widen = ("1x1 convolution, 4k", "convolution"), ("3x3 convolution, k", "convolution")
    activation = (NORMALISED_RELU, "normalisation")
    picture.row(0.3, 1.45, [activation, narrow, activation, widen])
    picture.heading(0.3, 0.9, "a transition", align="left")
    transition = [activation, ("1x1 convolution, C\N{MIDDLE DOT}m", "convolution"), ("2x2 average pooling", "pooling")]
    picture.row(0.3, 0.5, transition)
    picture.note(6.85, 0.5, "m: channels so far\nC: compression, 0.5 in BC")
    return picture.figure


def senet():
    picture = Picture("Squeeze and excitation, in a residual block", 4.6)
    main, side = 2.4, 5.3
    picture.arrow((main, 4.05), (main, 3.53))
    picture.box(main, 3.35, "the block's convolutions", "convolution", width=2.2)
    picture.note(main - 0.12, 2.5, "HxWxC", align="right")
    picture.arrow((main, 3.17), (main, 1.5))
    squeeze = [
        ("global average pooling", "pooling"),
        ("dense, C/16, ReLU", "dense"),
        ("dense, C, sigmoid", "dense"),
    ]
    picture.arrow((main, 3.03), (side, 3.03), (side, 2.65))
    heights = picture.column(side, 2.47, squeeze, width=2.2, last=False)
    picture.note(6.55, heights[0], "squeeze", align="left")
    picture.note(6.55, (heights[1] + heights[2]) / 2, "excitation:\nweights from 0 to 1", align="left")
    picture.arrow((side - 1.1, heights[-1]), (main + 0.15, heights[-1]))
    picture.sign(main, heights[-1], "\N{MULTIPLICATION SIGN}")
    picture.note(3.35, heights[-1] + 0.14, "1x1xC")
    picture.arrow((main, 1.2), (main, 0.85))
    picture.sign(main, 0.7, "+")
    picture.arrow((main, 3.8), (0.8, 3.8), (0.8, 0.7), (main - 0.15, 0.7))
    picture.arrow((main, 0.55), (main, 0.2))
    picture.note(
        5.4,
        0.62,
        "Each of the C channels is multiplied by a weight of its own,\nwhich depends on the averages of them all.",
    )
    return picture.figure


def alexnet():
    picture = Picture("AlexNet: two groups, on an image of 32x32 pixels", 4.3)
    stages = [
        (1.0, "32x32", ["5x5, 96"]),
        (3.0, "15x15", [("5x5, 128", "5x5, 128")]),
        (5.1, "7x7", ["3x3, 384", ("3x3, 192", "3x3, 192"), ("3x3, 128", "3x3, 128")]),
    ]
    for x, size, convolutions in stages:
        picture.heading(x, 3.6, size)
        for place, filters in enumerate(convolutions):
            y = 3.05 - 0.55 * place
            halves = (
                [(x, filters, 1.75)] if isinstance(filters, str) else [(x - 0.45, filters[0]), (x + 0.45, filters[1])]
            )
            for middle, text, *width in halves:
                picture.box(middle, y, text, "convolution", *(width or [0.85]))
                if place > 0:
                    picture.arrow((middle, y + 0.37), (middle, y + 0.18))
                if place == len(convolutions) - 1:
                    picture.arrow((middle, y - 0.18), (middle, 1.28))
        picture.box(x, 1.1, "3x3 max pool, stride 2", "pooling", width=1.75)
    for x, following, entries in ((1.0, 3.0, (2.55, 3.45)), (3.0, 5.1, (5.1,)), (5.1, 7.2, (7.2,))):
        between = (x + following) / 2
        for entry in entries:
            picture.arrow((x + 0.875, 1.1), (between, 1.1), (between, 3.38), (entry, 3.38), (entry, 3.23))
    picture.heading(7.2, 3.6, "dense")
    for place, text in enumerate(("4096", "4096", "classes")):
        picture.box(7.2, 3.05 - 0.55 * place, text, "dense", width=0.95)
        picture.arrow((7.2, 2.87 - 0.55 * place), (7.2, 2.68 - 0.55 * place))
    picture.box(7.2, 1.4, "softmax", "dense", width=0.95)
    text = (
        "Each half of a split convolution sees half of the channels, as on the paper's two GPUs. Batch normalisation, "
        "if any,\nand ReLU follow each convolution and dense layer of 4096 units, and dropout each such dense layer."
    )
    picture.note(4, 0.45, text)
    return picture.figure


def inception():
    picture = Picture("Inception modules: branches side by side", 5.05)
    tall, wide = "7x1", "1x7"
    modules = [
        ("v1", 0.44, [["1x1"], ["1x1", "3x3"], ["1x1", "5x5"], ["max pool", "1x1"]]),
        ("v3, 17x17", 3.5, [["1x1"], ["1x1", wide, tall], ["1x1", tall, wide, tall, wide], ["avg. pool", "1x1"]]),
        ("residual, 17x17", 6.56, [["1x1"], ["1x1", wide, tall]]),
    ]
    for title, left, branches in modules:
        right = left + 0.69 * (len(branches) - 1)
        middle, residual = (left + right) / 2, "residual" in title
        end = 2.0 if residual else 1.0  # of the branches
        picture.heading(middle, 4.4, title)
        picture.arrow((middle, 4.2), (middle, 3.95), head=False)
        picture.arrow((left, 3.95), (right, 3.95), head=False)
        for number, texts in enumerate(branches):
            x, above = left + 0.69 * number, 3.95
            for place, text in enumerate(texts):
                y = 3.55 - 0.5 * place
                picture.arrow((x, above), (x, y + 0.18))
                picture.box(x, y, text, "pooling" if "pool" in text else "convolution", width=0.64, size=9)
                above = y - 0.18
            picture.arrow((x, above), (x, end + 0.18))
        picture.box(middle, end, "concatenation", "data", width=right - left + 0.64)
        if residual:
            picture.box(middle, 1.5, "1x1, times 0.1", "convolution", width=right - left + 0.64)
            picture.sign(middle, 1.0, "+")
            picture.arrow((middle, 1.82), (middle, 1.68))
            picture.arrow((middle, 1.32), (middle, 1.15))
            picture.arrow((middle, 4.08), (7.8, 4.08), (7.8, 1.0), (middle + 0.15, 1.0))
        picture.arrow((middle, 0.85 if residual else 0.82), (middle, 0.55))
    text = "A box with a size alone is a convolution and ReLU, from v2 on with batch normalisation between them."
    picture.note(
        4, 0.3, f"{text}\nReLU also follows the sum, of what the module was given and a tenth of what it made of it."
    )
    return picture.figure


PICTURES = {
    "1.LeNet": lenet,
    "2.NIN": nin,
    "3.VGG": vgg,
    "4.ResNet": resnet,
    "5.WideResNet": wide_resnet,
    "6.ResNeXt": resnext,
    "7.DenseNet": densenet,
    "8.SENet": senet,
    "9.AlexNet": alexnet,
    "10.Inception": inception,
}


def version():
    """Return this tool's name and the hash of its two files, by which a picture tells what drew it."""
    here = Path(__file__)
    text = here.read_bytes() + here.with_name("picture.py").read_bytes()
    return f"tools/block_pictures.py, sha256 {hashlib.sha256(text).hexdigest()}"


def main():
    parser = new_parser("Draw block.png in each script's folder.")
    parser.add_argument("root", nargs="?", type=Path, default=ROOT, help="default: the repository of this tool")
    root = parser.parse_args().root
    folders = [name for name in PICTURES if (root / name).is_dir()]
    if not folders:
        refuse(f"{root} has none of the folders {', '.join(PICTURES)}")
    for name in folders:
        with written_whole(root / name / "block.png") as beside:
            PICTURES[name]().savefig(beside, dpi=160, metadata={"Comment": f"Drawn by {version()}"})
        print(f"{name}/block.png")


if __name__ == "__main__":
    run_command(main)
