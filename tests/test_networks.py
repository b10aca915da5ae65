"""The networks: parameters against formulas written out here, blocks against NumPy, saved files, gradients."""

import json
import math
import re
import subprocess
import sys
from types import SimpleNamespace

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, SCRIPTS, load_script
from sklearn.datasets import load_digits

MEAN, VARIANCE = [125.0, 123.0, 114.0], [3970.0, 3890.0, 4450.0]
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)

# every network as small as its settings let it be, in all its forms
SMALL = {
    "lenet": ("1.LeNet/lenet.py", {}),
    "nin": ("2.NIN/nin.py", {"DROPOUT": 0.0}),
    "nin-plain": ("2.NIN/nin.py", {"DROPOUT": 0.0, "BATCH_NORMALISATION": "no"}),
    "vgg": ("3.VGG/vgg.py", {"DEPTH": 11, "DROPOUT": 0.0}),
    "vgg-quick": ("3.VGG/vgg.py", {"DEPTH": 8}),
    "resnet-v1": ("4.ResNet/resnet.py", {"DEPTH": 8, "VERSION": 1}),
    "resnet-v2": ("4.ResNet/resnet.py", {"DEPTH": 8, "VERSION": 2}),
    "resnet-v1-bottleneck": ("4.ResNet/resnet.py", {"DEPTH": 11, "VERSION": 1, "BOTTLENECK": "yes"}),
    "resnet-v2-bottleneck": ("4.ResNet/resnet.py", {"DEPTH": 11, "VERSION": 2, "BOTTLENECK": "yes"}),
    "wide_resnet": ("5.WideResNet/wide_resnet.py", {"DEPTH": 10, "WIDTH": 2}),
    "resnext": ("6.ResNeXt/resnext.py", {"CARDINALITY": 4, "GROUP_WIDTH": 4}),
    "densenet": ("7.DenseNet/densenet.py", {"DEPTH": 16, "GROWTH_RATE": 6, "BOTTLENECK": "no", "COMPRESSION": 1.0}),
    "densenet-bc": ("7.DenseNet/densenet.py", {"DEPTH": 16, "GROWTH_RATE": 6}),
    "senet-resnext": ("8.SENet/senet.py", {"CARDINALITY": 4, "GROUP_WIDTH": 4}),
    "senet-resnet": ("8.SENet/senet.py", {"BASE": "resnet", "DEPTH": 8, "REDUCTION": 4}),
    "alexnet": ("9.AlexNet/alexnet.py", {"DROPOUT": 0.0}),
    "alexnet-plain": ("9.AlexNet/alexnet.py", {"DROPOUT": 0.0, "NORMALISATION": "none", "GROUPS": 1}),
    "inception-v1": ("10.Inception/inception.py", {"VERSION": "v1", "DROPOUT": 0.0}),
    "inception-v3": ("10.Inception/inception.py", {"VERSION": "v3", "DROPOUT": 0.0}),
    "inception-resnet_v2": ("10.Inception/inception.py", {"VERSION": "resnet_v2", "DROPOUT": 0.0}),
}
assert {script for script, _ in SMALL.values()} == set(SCRIPTS)  # a network that is left out is not tested
LIGHT = [name for name in SMALL if name != "inception-resnet_v2"]  # of which a file has 218 MB, and a step takes long


def build(script, classes=10, size=32, **settings):
    return load_script(script, **settings).build_model((size, size, 3), classes, MEAN, VARIANCE)


def build_small(name, **settings):
    script, small = SMALL[name]
    return build(script, **(small | settings))


def unfilled(script, classes=10, size=32, **settings):
    """As build, but no weight is given a value, which takes long where there are many."""
    with keras.StatelessScope(initialize_variables=False):
        return build(script, classes, size, **settings)


def counts(model):
    """All parameters, and those that are trained."""
    return model.count_params(), sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def outputs_of(model, *tensors, pixels=PIXELS):
    """The values of the model's inner tensors for the pixels: a list of NumPy arrays."""
    inner = keras.Model(model.input, dict(enumerate(tensors)))
    return [np.asarray(values) for values in inner(pixels, training=False).values()]


def least_size(name):
    """Height and width of the images that a network is tried on where time matters."""
    return 32 if name in ("lenet", "vgg") else 8 if name.startswith("inception") else 16


def of_kind(model, kind):
    return [layer for layer in model.layers if isinstance(layer, kind)]


def spread_predictions(model, pixels=PIXELS):
    """Divide the last kernel by the deviation of what it gives, or all the probability would go to one class."""
    dense = model.layers[-1]
    [means], (kernel, bias) = outputs_of(model, dense.input, pixels=pixels), dense.get_weights()
    dense.set_weights([kernel / (means @ kernel).std(), bias])


def draw_weights(model):
    """Give every weight a value that batch normalisation or a bias at its start would hide; a variance is positive."""
    draw = np.random.default_rng(1)
    for weight in model.weights:
        if weight.name != "kernel":
            weight.assign(draw.uniform(0.5, 1.5, weight.shape))


# Parameters: (all, trained). Batch normalisation has four numbers a channel, two of them (averages) not trained.
def parameters(weights, normalised):
    return weights + 4 * normalised, weights + 2 * normalised


def nin(normalisation, classes=10):
    plan = [(5, 192), (1, 160), (1, 96), (5, 192), (1, 192), (1, 192), (3, 192), (1, 192), (1, classes)]
    weights, channels = 0, 3
    for size, filters in plan:
        weights += size * size * channels * filters + filters
        channels = filters
    return parameters(weights, sum(filters for _, filters in plan) if normalisation else 0)


def vgg(depth, classes=10):
    plan = {
        11: [64, 128, 256, 256, 512, 512, 512, 512],
        13: [64, 64, 128, 128, 256, 256, 512, 512, 512, 512],
        16: [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6,
        19: [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8,
    }[depth]
    weights = sum(9 * before * filters + filters for before, filters in zip([3, *plan], plan, strict=False))
    weights += 512 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * classes + classes  # 32x32 pixels, halved five times
    return parameters(weights, sum(plan) + 2 * 4096)


def alexnet(groups, normalised, classes=10, size=3, first=5):
    """size: height and width that the dense layers are given; first: those of the first filters."""
    kernels = first * first * 3 * 96 + 25 * (96 // groups) * 256
    kernels += 9 * 256 * 384 + 9 * (384 // groups) * 384 + 9 * (384 // groups) * 256
    kernels += size * size * 256 * 4096 + 4096 * 4096 + 4096 * classes
    hidden = 96 + 256 + 384 + 384 + 256 + 4096 + 4096
    return parameters(kernels + classes + (0 if normalised else hidden), hidden if normalised else 0)


# Of what the Inception networks are made, for images of less than 64 pixels, as the papers' tables and figures have it,
# a module a line: branches between bars, each of steps `filters:size/stride`. A step of two convolutions, with a plus,
# forks. `-> 0.1` adds that much of a 1x1 convolution of them, with biases and without normalisation, to what they get.
INCEPTION = {
    "v1": """
        64:7
        64
        192:3
        64 | 96 128:3 | 16 32:5 | max 32
        128 | 128 192:3 | 32 96:5 | max 64
        max/2
        192 | 96 208:3 | 16 48:5 | max 64
        160 | 112 224:3 | 24 64:5 | max 64
        128 | 128 256:3 | 24 64:5 | max 64
        112 | 144 288:3 | 32 64:5 | max 64
        256 | 160 320:3 | 32 128:5 | max 128
        max/2
        256 | 160 320:3 | 32 128:5 | max 128
        384 | 192 384:3 | 48 128:5 | max 128
    """,
    "v2": """
        64:7
        64
        192:3
        64 | 64 64:3 | 64 96:3 96:3 | avg 32
        64 | 64 96:3 | 64 96:3 96:3 | avg 64
        128 160:3/2 | 64 96:3 96:3/2 | max/2
        224 | 64 96:3 | 96 128:3 128:3 | avg 128
        192 | 96 128:3 | 96 128:3 128:3 | avg 128
        160 | 128 160:3 | 128 160:3 160:3 | avg 128
        96 | 128 192:3 | 160 192:3 192:3 | avg 128
        128 192:3/2 | 192 256:3 256:3/2 | max/2
        352 | 192 320:3 | 160 224:3 224:3 | avg 128
        352 | 192 320:3 | 192 224:3 224:3 | max 128
    """,
    "v3": """
        32:3
        32:3
        64:3
        80
        192:3
        64 | 48 64:5 | 64 96:3 96:3 | avg 32
        2 times: 64 | 48 64:5 | 64 96:3 96:3 | avg 64
        384:3/2 | 64 96:3 96:3/2 | max/2
        192 | 128 128:1x7 192:7x1 | 128 128:7x1 128:1x7 128:7x1 192:1x7 | avg 192
        2 times: 192 | 160 160:1x7 192:7x1 | 160 160:7x1 160:1x7 160:7x1 192:1x7 | avg 192
        192 | 192 192:1x7 192:7x1 | 192 192:7x1 192:1x7 192:7x1 192:1x7 | avg 192
        192 320:3/2 | 192 192:1x7 192:7x1 192:3/2 | max/2
        2 times: 320 | 384 384:1x3+384:3x1 | 448 384:3 384:1x3+384:3x1 | avg 192
    """,
    "v4": """
        32:3
        32:3
        64:3
        pass | 96:3
        64 96:3 | 64 64:7x1 64:1x7 96:3
        192:3 | pass
        4 times: 96 | 64 96:3 | 64 96:3 96:3 | avg 96
        384:3/2 | 192 224:3 256:3/2 | max/2
        7 times: 384 | 192 224:1x7 256:7x1 | 192 192:1x7 224:7x1 224:1x7 256:7x1 | avg 128
        192 192:3/2 | 256 256:1x7 320:7x1 320:3/2 | max/2
        3 times: 256 | 384 256:1x3+256:3x1 | 384 448:1x3 512:3x1 256:3x1+256:1x3 | avg 256
    """,
    "resnet_v1": """
        32:3
        32:3
        64:3
        80
        192:3
        256:3
        5 times: 32 | 32 32:3 | 32 32:3 32:3 -> 0.17
        384:3/2 | 192 192:3 256:3/2 | max/2
        10 times: 128 | 128 128:1x7 128:7x1 -> 0.1
        256 384:3/2 | 256 256:3/2 | 256 256:3 256:3/2 | max/2
        5 times: 192 | 192 192:1x3 192:3x1 -> 0.2
    """,
    "resnet_v2": """
        32:3
        32:3
        64:3
        80
        192:3
        96 | 48 64:5 | 64 96:3 96:3 | avg 64
        10 times: 32 | 32 32:3 | 32 48:3 64:3 -> 0.17
        384:3/2 | 256 256:3 384:3/2 | max/2
        20 times: 192 | 128 160:1x7 192:7x1 -> 0.1
        256 384:3/2 | 256 288:3/2 | 256 288:3 320:3/2 | max/2
        10 times: 192 | 192 224:1x3 256:3x1 -> 0.2
        1536
    """,
}


def inception_modules(version):
    """Yield (branches, scale or None) of each module; a branch has steps, a step [(what, size, stride), ...]."""
    for line in INCEPTION[version].strip().split("\n"):
        times, module, scale = re.fullmatch(r" *(?:(\d+) times: )?(.+?)(?: -> (.+))?", line).groups()
        branches = []
        for branch in module.split(" | "):
            steps = []
            for step in branch.split():
                parts = [re.fullmatch(r"(\w+)(?::(\d+)(?:x(\d+))?)?(?:/(\d))?", part) for part in step.split("+")]
                found = [(part[1], part[2] or 1, part[3] or part[2] or 1, part[4] or 1) for part in parts]
                steps.append([(what, (int(high), int(wide)), int(stride)) for what, high, wide, stride in found])
            branches.append(steps)
        for _ in range(int(times or 1)):
            yield branches, float(scale) if scale else None


def inception(version, classes=10):
    kernels, biases, filters, channels = 0, 0, 0, 3
    for branches, scale in inception_modules(version):
        ends = []
        for branch in branches:
            width = channels
            for step in branch:
                if step[0][0].isdigit():
                    kernels += sum(width * high * wide * int(made) for made, (high, wide), _ in step)
                    width = sum(int(made) for made, _, _ in step)
                    filters += width
            ends.append(width)
        if scale:
            kernels, biases = kernels + sum(ends) * channels, biases + channels
        else:
            channels = sum(ends)
    weights = kernels + biases + channels * classes + classes
    if version == "v1":  # without batch normalisation
        return parameters(weights + filters, 0)
    if version in ("v3", "resnet_v2"):  # without its gammas
        return weights + 3 * filters, weights + filters
    return parameters(weights, filters)


def quick_vgg(classes=10):
    plan = [32, 64, 64, 256, 256, 256, 256]
    weights = sum(9 * before * filters for before, filters in zip([3, *plan], plan, strict=False))
    return parameters(weights + 256 * classes + classes, sum(plan))


def resnet(depth, version, bottleneck=False, classes=10, width=1, reduction=None):
    """Also Wide ResNets (`width`; depth counted as He et al. do), and squeeze-and-excitation (`reduction`)."""
    weights, channels, normalised = 3 * 9 * 16, 16, 16 if version == 1 else 0
    for filters in (16 * width, 32 * width, 64 * width):
        plan = [(1, filters), (9, filters), (1, 4 * filters)] if bottleneck else [(9, filters), (9, filters)]
        for _ in range((depth - 2) // (3 * len(plan))):
            final = plan[-1][1]
            if version == 2 and channels != final:
                weights += channels * final
            for area, made in plan:
                weights += area * channels * made
                normalised += made if version == 1 else channels
                channels = made
            if reduction:
                weights += 2 * final * (final // reduction)
    normalised += channels if version == 2 else 0
    return parameters(weights + channels * classes + classes, normalised)


def wide_resnet(depth, width, classes=10):
    return resnet(depth - 2, 2, classes=classes, width=width)  # the paper counts the two projections too


def resnext(cardinality, group_width, classes=10, reduction=None):
    weights, channels, normalised = 3 * 9 * 64, 64, 64
    for width, final in ((1, 256), (2, 512), (4, 1024)):
        inner = cardinality * group_width * width
        for block in range(3):
            if block == 0:
                weights += channels * final
                normalised += final
            weights += channels * inner + cardinality * 9 * (inner // cardinality) ** 2 + inner * final
            normalised += inner + inner + final
            weights += 2 * final * (final // reduction) if reduction else 0
            channels = final
    return parameters(weights + channels * classes + classes, normalised)


def densenet(depth, growth, bc, classes=10):
    channels = 2 * growth if bc else 16
    weights, normalised = 3 * 9 * channels, 0
    for stage in range(3):
        if stage > 0:
            kept = channels // 2 if bc else channels
            weights, normalised, channels = weights + channels * kept, normalised + channels, kept
        for _ in range((depth - 4) // (6 if bc else 3)):
            if bc:
                weights += channels * 4 * growth + 9 * 4 * growth * growth
                normalised += channels + 4 * growth
            else:
                weights += 9 * channels * growth
                normalised += channels
            channels += growth
    return parameters(weights + channels * classes + classes, normalised + channels)


def resnet_case(depth, version=2, bottleneck=False, classes=10):
    settings = {"DEPTH": depth, "VERSION": version, "BOTTLENECK": "yes" if bottleneck else "no"}
    return "4.ResNet/resnet.py", settings, classes, resnet(depth, version, bottleneck, classes)


def densenet_case(depth, growth, bc=True):
    settings = {"DEPTH": depth, "GROWTH_RATE": growth}
    settings |= {} if bc else {"BOTTLENECK": "no", "COMPRESSION": 1.0}
    return "7.DenseNet/densenet.py", settings, 10, densenet(depth, growth, bc)


def senet_case(depth, bottleneck=False):
    settings = {"BASE": "resnet", "DEPTH": depth, "BOTTLENECK": "yes" if bottleneck else "no"}
    return "8.SENet/senet.py", settings, 10, resnet(depth, 2, bottleneck, reduction=16)


WIDE, NEXT, ALEX = "5.WideResNet/wide_resnet.py", "6.ResNeXt/resnext.py", "9.AlexNet/alexnet.py"
INCEPTIONS = "10.Inception/inception.py"
VARIANTS = {
    "NIN": ("2.NIN/nin.py", {"BATCH_NORMALISATION": "no"}, 10, nin(False)),
    "NIN with batch normalisation": ("2.NIN/nin.py", {"BATCH_NORMALISATION": "yes"}, 10, nin(True)),
    **{f"VGG-{depth}": ("3.VGG/vgg.py", {"DEPTH": depth}, 10, vgg(depth)) for depth in (11, 13, 16, 19)},
    "VGG-8": ("3.VGG/vgg.py", {"DEPTH": 8}, 10, quick_vgg()),
    **{f"ResNet-{depth}": resnet_case(depth) for depth in (8, 20, 32, 44, 56, 110)},
    **{f"original ResNet-{depth}": resnet_case(depth, version=1) for depth in (20, 32, 44, 56, 110)},
    "ResNet-20 for 100 classes": resnet_case(20, classes=100),
    "ResNet-164": resnet_case(164, bottleneck=True),
    "original ResNet-164": resnet_case(164, version=1, bottleneck=True),
    **{
        f"WRN-{depth}-{width}": (WIDE, {"DEPTH": depth, "WIDTH": width}, 10, wide_resnet(depth, width))
        for depth, width in ((16, 4), (16, 8), (28, 10))
    },
    **{
        f"ResNeXt-29 {groups}x{width}d": (
            NEXT,
            {"CARDINALITY": groups, "GROUP_WIDTH": width},
            10,
            resnext(groups, width),
        )
        for groups, width in ((8, 16), (4, 64), (8, 64), (16, 64))
    },
    "DenseNet-40-12": densenet_case(40, 12, bc=False),
    **{
        f"DenseNet-BC-{depth}-{k}": densenet_case(depth, k) for depth, k in ((100, 12), (100, 24), (160, 24), (190, 40))
    },
    "SE-ResNeXt-29 4x64d": ("8.SENet/senet.py", {"BASE": "resnext"}, 10, resnext(4, 64, reduction=16)),
    "SE-ResNet-110": senet_case(110),
    "SE-ResNet-164": senet_case(164, bottleneck=True),
    "AlexNet": (ALEX, {"NORMALISATION": "none"}, 10, alexnet(2, False)),
    "AlexNet in one group": (ALEX, {"NORMALISATION": "none", "GROUPS": 1}, 10, alexnet(1, False)),
    "AlexNet with batch normalisation": (ALEX, {}, 10, alexnet(2, True)),
    **{f"Inception {version}": (INCEPTIONS, {"VERSION": version}, 10, inception(version)) for version in INCEPTION},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_network_has_the_parameters_of_its_formula(name):
    script, settings, classes, expected = VARIANTS[name]
    assert counts(unfilled(script, classes, **settings)) == expected


@pytest.mark.parametrize(("groups", "parameters"), [(2, 60_965_224), (1, 62_378_344)])
def test_alexnet_has_the_parameters_of_imagenets_size(groups, parameters):
    """1,000 classes and 227x227 pixels, of which 55x55, 27x27, 13x13 and at last 6x6 are left."""
    model = build(ALEX, classes=1000, size=227, GROUPS=groups, NORMALISATION="none")
    assert model.count_params() == parameters == alexnet(groups, False, classes=1000, size=6, first=11)[0]
    sizes = [layer.output.shape[1] for layer in of_kind(model, keras.layers.Conv2D)]
    assert sizes == [55, 27, 13, 13, 13]


def test_alexnet_keeps_the_resolution_of_small_images():
    """Height and width that its first convolution makes of images, and those that the dense layers are given."""
    expected = {
        28: (28, 2),
        32: (32, 3),
        63: (63, 7),
        64: (32, 3),
        128: (64, 7),
        199: (100, 11),
        200: (48, 5),
        227: (55, 6),
    }
    for size, sizes in expected.items():
        model = build(ALEX, size=size)
        first, last = of_kind(model, keras.layers.Conv2D)[0], of_kind(model, keras.layers.MaxPooling2D)[-1]
        assert (first.output.shape[1], last.output.shape[1]) == sizes


@pytest.mark.parametrize(
    ("version", "size", "expected"),
    [
        ("v1", 224, (6_998_552, 6_998_552)),  # Caffe's GoogLeNet, without auxiliary classifiers
        ("v2", 224, (11_305_256, 11_295_240 - 10_016)),  # Caffe's, which has biases as well, without them
        ("v3", 299, (23_851_784, 23_817_352)),  # Keras Applications'
        ("v4", 299, (42_742_984, 42_679_816)),  # the second is that of timm
        ("resnet_v1", 299, (22_783_368, 22_756_328)),
        ("resnet_v2", 299, (55_873_736, 55_813_192)),  # Keras Applications'
    ],
)
def test_inception_has_the_parameters_and_grids_of_imagenets_size(version, size, expected):
    model = unfilled(INCEPTIONS, classes=1000, size=size, VERSION=version)
    assert counts(model) == expected == inception(version, classes=1000)
    heights = [layer.output.shape[1] for layer in of_kind(model, keras.layers.Concatenate)]
    grids = sorted({height for height in heights if height < 70}, reverse=True)
    assert grids == ([28, 14, 7] if size == 224 else [35, 17, 8])


def test_inception_stems_keep_the_resolution_of_small_images():
    """Height and width of what the modules are given, by those of the image."""
    script = load_script(INCEPTIONS)
    padded = {28: 28, 32: 32, 63: 63, 64: 32, 138: 69, 139: 18, 224: 28, 299: 38}
    unpadded = {28: 28, 32: 32, 63: 63, 64: 32, 138: 69, 139: 15, 224: 25, 299: 35}
    stems = {script.stem_v1: (padded, 192), script.stem_v3: (unpadded, 192)}
    stems |= {script.stem_v4: (unpadded, 384), script.stem_resnet_v1: (unpadded, 256)}
    with keras.StatelessScope(initialize_variables=False):
        for stem, (sizes, channels) in stems.items():
            for size, left in sizes.items():
                assert stem(keras.Input((size, size + 1, 3))).shape[1::2] == (left, channels)


@pytest.mark.parametrize("version", INCEPTION)
def test_inception_takes_the_smallest_images(version):
    """Of 28x28 pixels, and of 139x139, of which the papers' stems leave least."""
    for size, least in ((28, 6), (139, 3)):
        model = unfilled(INCEPTIONS, size=size, VERSION=version)
        last = of_kind(model, keras.layers.GlobalAveragePooling2D)[0].input.shape[1]
        assert last == ({28: 7, 139: 5}[size] if version in ("v1", "v2") else least)


@pytest.mark.parametrize(("version", "name"), [("v3", "InceptionV3"), ("resnet_v2", "InceptionResNetV2")])
def test_inception_computes_what_keras_applications_does(version, name):
    """With the same random weights. Keras lists layers by their distance from the output and, of one distance, in the
    order of the branches, which both networks share; so model.weights are in one order in both.
    """
    theirs = getattr(keras.applications, name)(weights=None, input_shape=(139, 139, 3), classes=10)
    ours = build(INCEPTIONS, size=139, VERSION=version)
    draw_weights(ours)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 139, 139, 3), dtype=np.uint8)
    spread_predictions(ours, pixels)
    assert [weight.shape for weight in ours.weights] == [weight.shape for weight in theirs.weights]
    theirs.set_weights(ours.get_weights())
    expected = np.asarray(theirs(np.float32((pixels - np.array(MEAN)) / np.sqrt(VARIANCE)), training=False))
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # the images differ
    np.testing.assert_allclose(np.asarray(ours(pixels, training=False)), expected, atol=1e-5)


def test_networks_have_about_the_parameters_of_their_papers():
    """Most papers count what is trained; some round down, ResNet's Table 6 leaves out what is not a kernel."""
    papers = {  # millions
        "NIN": 0.97,
        "VGG-19": 39,
        "original ResNet-20": 0.27,
        "original ResNet-32": 0.46,
        "original ResNet-44": 0.66,
        "original ResNet-56": 0.85,
        "ResNet-110": 1.7,
        "original ResNet-110": 1.7,
        "ResNet-164": 1.7,
        "WRN-16-4": 2.7,
        "WRN-16-8": 11.0,
        "WRN-28-10": 36.5,
        "ResNeXt-29 8x64d": 34.4,
        "ResNeXt-29 16x64d": 68.1,
        "DenseNet-40-12": 1.0,
        "DenseNet-BC-100-12": 0.8,
        "DenseNet-BC-190-40": 25.6,
    }
    for name, millions in papers.items():
        power = 10 ** len(str(millions).partition(".")[2])
        trained = VARIANTS[name][3][1] / 1e6
        assert millions in (round(trained * power) / power, math.floor(trained * power) / power), (name, trained)
    assert resnet(1001, 2, bottleneck=True)[1] / 1e6 == pytest.approx(10.2, rel=0.015)
    assert VARIANTS["ResNeXt-29 8x16d"][3][0] == 5_671_882


def test_the_readmes_tell_the_parameters_they_have():
    told = {script: (ROOT / script).with_name("README.md").read_text() for script in SCRIPTS}
    for name, (script, _, classes, (count, _)) in VARIANTS.items():
        if classes == 10 and name not in ("ResNet-8", "original ResNet-164") and name not in OMITTED:
            assert f"{count:,}" in told[script], f"{script}'s README.md does not tell {count:,} for {name}"
    assert f"{resnet(1001, 2, bottleneck=True)[0]:,}" in told["4.ResNet/resnet.py"]


OMITTED = {"ResNet-32", "ResNet-44", "ResNet-56"}  # of which the papers have the original blocks


@pytest.mark.parametrize("preprocess", ["scale", "standardise"])
def test_lenet_has_62006_parameters_however_it_takes_its_pixels(preprocess):
    expected = 6 * (3 * 25 + 1) + 16 * (6 * 25 + 1) + 120 * (16 * 25 + 1) + 84 * 121 + 10 * 85
    assert expected == 62_006
    assert build("1.LeNet/lenet.py", PREPROCESS=preprocess).count_params() == expected


# Structure
@pytest.mark.parametrize("name", SMALL)
def test_weight_decay_adds_half_of_it_times_the_squared_kernels(name):
    model = build_small(name, WEIGHT_DECAY=0.02)
    kernels = [weight.numpy() for weight in model.weights if weight.name == "kernel"]
    assert len(kernels) == len(of_kind(model, (keras.layers.Conv2D, keras.layers.Dense)))
    squares = sum((kernel.astype(np.float64) ** 2).sum() for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(0.01 * squares, rel=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_the_normalisation_is_inside_the_model(name):
    model = build_small(name)
    [normalised] = outputs_of(model, model.layers[1].output)
    np.testing.assert_allclose(normalised, (PIXELS - np.array(MEAN)) / np.sqrt(VARIANCE), rtol=1e-4, atol=1e-4)


def test_lenet_divides_pixels_by_255():
    model = build("1.LeNet/lenet.py", PREPROCESS="scale")
    np.testing.assert_allclose(outputs_of(model, model.layers[1].output)[0], PIXELS / 255, rtol=1e-5)


PROJECTIONS = {  # input channels, output channels, stride
    "resnet-v1": [],
    "resnet-v1-bottleneck": [],
    "resnet-v2": [(16, 32, 2), (32, 64, 2)],
    "resnet-v2-bottleneck": [(16, 64, 1), (64, 128, 2), (128, 256, 2)],
    "wide_resnet": [(16, 32, 1), (32, 64, 2), (64, 128, 2)],
    "resnext": [(64, 256, 1), (256, 512, 2), (512, 1024, 2)],
    "senet-resnext": [(64, 256, 1), (256, 512, 2), (512, 1024, 2)],
    "senet-resnet": [(16, 32, 2), (32, 64, 2)],
}


@pytest.mark.parametrize("name", PROJECTIONS)
def test_a_projection_stands_only_where_the_shape_changes(name):
    model = build_small(name)
    made_by = {id(layer.output): layer for layer in model.layers}
    adds, projections = of_kind(model, keras.layers.Add), []
    for add in adds:
        shortcut = made_by[id(add.input[1])]
        if isinstance(shortcut, keras.layers.BatchNormalization):
            shortcut = made_by[id(shortcut.input)]
        if isinstance(shortcut, keras.layers.Conv2D) and shortcut.kernel_size == (1, 1):
            projections.append((shortcut.input.shape[-1], shortcut.filters, shortcut.strides[0]))
    assert projections == PROJECTIONS[name]
    assert len(adds) == (9 if "resnext" in name else 3)
    in_block = 3 if "resnext" in name or "bottleneck" in name else 2
    assert len(of_kind(model, keras.layers.Conv2D)) == 1 + in_block * len(adds) + len(projections)


@pytest.mark.parametrize("name", ["resnet-v1", "resnet-v1-bottleneck"])
def test_the_original_shortcut_takes_every_second_pixel_and_fills_up_with_zeros(name):
    model = build_small(name)
    draw_weights(model)
    block_input = next(layer for layer in model.layers if isinstance(layer, keras.layers.ReLU)).output
    for add, relu in zip(
        of_kind(model, keras.layers.Add), [2, 4, 6] if name == "resnet-v1" else [3, 6, 9], strict=True
    ):
        before, shortcut = outputs_of(model, block_input, add.input[1])
        stride = before.shape[1] // shortcut.shape[1]
        assert stride == (1 if add is of_kind(model, keras.layers.Add)[0] else 2)
        expected = np.zeros_like(shortcut)
        expected[..., : before.shape[-1]] = before[:, ::stride, ::stride]
        assert before.any() and np.array_equal(shortcut, expected)
        block_input = of_kind(model, keras.layers.ReLU)[relu].output  # the one after the addition
        assert block_input.shape == add.output.shape


@pytest.mark.parametrize("name", ["resnet-v2", "wide_resnet", "senet-resnet"])
def test_a_pre_activation_sum_is_neither_normalised_nor_rectified(name):
    """Identity from block to block: the next sum's shortcut is this sum where the shape is kept."""
    script, settings = SMALL[name]
    model = build(script, **settings | {"DEPTH": settings["DEPTH"] + 6})  # two blocks a stage
    adds = of_kind(model, keras.layers.Add)
    assert len(adds) == 6
    for first, second in zip(adds[::2], adds[1::2], strict=True):
        assert second.input[1] is first.output


@pytest.mark.parametrize(("name", "channels"), [("densenet", [16, 40, 64]), ("densenet-bc", [12, 12, 12])])
def test_densenet_puts_each_layers_channels_behind_those_before(name, channels):
    """k = 6; 16 = 3n + 4 gives 4 layers a stage, 16 = 6n + 4 two; BC starts with 2k and halves at a transition."""
    model = build_small(name)
    draw_weights(model)
    joins = of_kind(model, keras.layers.Concatenate)
    count = 4 if name == "densenet" else 2
    assert len(joins) == 3 * count
    for stage, start in enumerate(channels):
        for number, join in enumerate(joins[count * stage : count * (stage + 1)]):
            assert [tensor.shape[-1] for tensor in join.input] == [start + 6 * number, 6]
            assert join.input[0] is not join.input[1]
            before, added, joined = outputs_of(model, *join.input, join.output)
            assert np.array_equal(joined, np.concatenate([before, added], axis=-1))
            if number > 0:
                assert join.input[0] is joins[count * stage + number - 1].output
    transitions = of_kind(model, keras.layers.AveragePooling2D)
    assert [layer.input.shape[-1] for layer in transitions] == channels[1:]
    for layer in transitions:
        values, pooled = outputs_of(model, layer.input, layer.output)
        quarters = [values[:, row::2, column::2] for row in (0, 1) for column in (0, 1)]
        np.testing.assert_allclose(pooled, np.mean(quarters, axis=0), rtol=1e-5, atol=1e-6)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(("name", "reduction"), [("senet-resnet", 4), ("senet-resnext", 16)])
def test_squeeze_and_excitation_recalibrates_each_blocks_last_output(name, reduction):
    model = build_small(name)
    draw_weights(model)
    products, adds = of_kind(model, keras.layers.Multiply), of_kind(model, keras.layers.Add)
    dense = [layer.kernel.numpy() for layer in of_kind(model, keras.layers.Dense)[:-1]]
    assert len(products) == len(adds) and len(dense) == 2 * len(products)
    for product, add, squeeze, excite in zip(products, adds, dense[::2], dense[1::2], strict=True):
        channels = product.output.shape[-1]
        assert squeeze.shape == (channels, channels // reduction) and excite.shape == (channels // reduction, channels)
        assert add.input[0] is product.output and add.input[1] is not product.input[0]
        before, after = outputs_of(model, product.input[0], product.output)
        factors = sigmoid(np.maximum(before.mean(axis=(1, 2)) @ squeeze, 0) @ excite)
        assert factors.std() > 0.001
        scale = np.abs(after).max()
        np.testing.assert_allclose(after, before * factors[:, np.newaxis, np.newaxis], rtol=1e-3, atol=1e-5 * scale)


def convolved(x, kernel, stride=1, groups=1):
    """A convolution, filter row by filter row, of images (n, height, width, channels) with size // 2 zeros around."""
    size = kernel.shape[0]
    x = np.pad(x.astype(np.float64), [(0, 0), *[(size // 2, size // 2)] * 2, (0, 0)])
    rows, columns = ((length - size) // stride + 1 for length in x.shape[1:3])
    parts = []
    for part, weights in zip(np.split(x, groups, axis=-1), np.split(kernel, groups, axis=-1), strict=True):
        sums = 0
        for row in range(size):
            for column in range(size):
                taken = part[:, row : row + stride * rows : stride, column : column + stride * columns : stride]
                sums = sums + taken[:, :rows, :columns] @ weights[row, column]
        parts.append(sums)
    return np.concatenate(parts, axis=-1)


def test_grouped_convolutions_see_their_own_group_alone():
    model = build_small("resnext")
    layers = [layer for layer in of_kind(model, keras.layers.Conv2D) if layer.groups > 1]
    assert [(layer.groups, layer.filters, layer.strides[0]) for layer in layers] == [
        *[(4, 16, 1)] * 3,
        *[(4, 32, stride) for stride in (2, 1, 1)],
        *[(4, 64, stride) for stride in (2, 1, 1)],
    ]
    for layer in layers:
        before, after = outputs_of(model, layer.input, layer.output)
        if layer.strides[0] == 2:  # a layer of its own has put a pixel around
            assert not before[:, 0].any() and not before[:, -1].any() and layer.padding == "valid"
            before = before[:, 1:-1, 1:-1]
        expected = convolved(before, layer.kernel.numpy(), layer.strides[0], layer.groups)
        np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-5 * np.abs(after).max())


# The whole networks, by their papers, in NumPy: weights in the order in which the scripts make the layers
class Weights:
    """Hands out a model's layers of a kind one after the other, as the script made them (Keras numbers their names)."""

    def __init__(self, model):
        def number(layer):
            return int((re.findall(r"_(\d+)$", layer.name) or ["0"])[0])

        kinds = {
            "convolution": keras.layers.Conv2D,
            "norm": keras.layers.BatchNormalization,
            "dense": keras.layers.Dense,
        }
        self.layers = {name: iter(sorted(of_kind(model, kind), key=number)) for name, kind in kinds.items()}

    def convolution(self, x, stride=1, groups=1):
        (kernel,) = next(self.layers["convolution"]).get_weights()
        return convolved(x, kernel, stride, groups)

    def norm(self, x):
        gamma, beta, mean, variance = (array.astype(np.float64) for array in next(self.layers["norm"]).get_weights())
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    def dense(self, x):
        kernel, *bias = next(self.layers["dense"]).get_weights()
        return x.astype(np.float64) @ kernel + (bias[0] if bias else 0)

    def recalibrated(self, x):
        squeezed = np.maximum(self.dense(x.mean(axis=(1, 2))), 0)
        return x * sigmoid(self.dense(squeezed))[:, np.newaxis, np.newaxis]

    def softmax_of_means(self, x):
        scores = np.exp(self.dense(x.mean(axis=(1, 2))))
        return scores / scores.sum(axis=1, keepdims=True)


def relu(x):
    return np.maximum(x, 0)


def original_resnet(take, x, blocks):
    """1512.03385: shortcuts take every second pixel, and zeros for the channels that are new."""
    x = relu(take.norm(take.convolution(x)))
    for stage in range(3):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            shortcut = x[:, ::stride, ::stride]
            y = relu(take.norm(take.convolution(x, stride)))
            y = take.norm(take.convolution(y))
            shortcut = np.pad(shortcut, [(0, 0)] * 3 + [(0, y.shape[-1] - x.shape[-1])])
            x = relu(y + shortcut)
    return take.softmax_of_means(x)


def preactivation_resnet(take, x, blocks, recalibrated=False, width=1):
    """1603.05027, 1605.07146 (width) and, recalibrated, 1709.01507."""
    x = take.convolution(x)
    for stage in range(3):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            activated = relu(take.norm(x))
            new_shape = not block and (stage or width > 1)
            shortcut = take.convolution(activated, stride) if new_shape else x
            y = relu(take.norm(take.convolution(activated, stride)))
            y = take.convolution(y)
            x = shortcut + (take.recalibrated(y) if recalibrated else y)
    return take.softmax_of_means(relu(take.norm(x)))


def resnext_29(take, x, groups):
    """1611.05431, Figure 3c."""
    x = relu(take.norm(take.convolution(x)))
    for stage in range(3):
        for block in range(3):
            stride = 2 if stage and not block else 1
            shortcut = x if block else take.norm(take.convolution(x, stride))
            y = relu(take.norm(take.convolution(x)))
            y = relu(take.norm(take.convolution(y, stride, groups)))
            x = relu(take.norm(take.convolution(y)) + shortcut)
    return take.softmax_of_means(x)


@pytest.mark.parametrize(
    ("script", "settings", "forward"),
    [
        ("4.ResNet/resnet.py", {"VERSION": 1}, lambda take, x: original_resnet(take, x, 3)),
        ("4.ResNet/resnet.py", {"VERSION": 2}, lambda take, x: preactivation_resnet(take, x, 3)),
        (WIDE, {"DEPTH": 16, "WIDTH": 2}, lambda take, x: preactivation_resnet(take, x, 2, width=2)),
        (NEXT, {"CARDINALITY": 8, "GROUP_WIDTH": 4}, lambda take, x: resnext_29(take, x, 8)),
        (
            "8.SENet/senet.py",
            {"BASE": "resnet", "DEPTH": 20},
            lambda take, x: preactivation_resnet(take, x, 3, recalibrated=True),
        ),
    ],
)
def test_a_network_gives_what_its_paper_says(script, settings, forward):
    model = build(script, **settings)
    draw = np.random.default_rng(3)
    for layer in of_kind(model, keras.layers.BatchNormalization):  # as training leaves them: not 1, 0, 0, 1
        layer.set_weights([draw.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    spread_predictions(model)
    take = Weights(model)
    expected = forward(take, (PIXELS - np.array(MEAN)) / np.sqrt(VARIANCE))
    for name, left in take.layers.items():
        assert next(left, None) is None, f"a layer of kind {name} is left over"
    found = model.predict(PIXELS, verbose=0)
    assert expected.std(axis=0).max() > 1e-3  # the images differ
    np.testing.assert_allclose(found, expected, atol=1e-5)


def windows(x, size, stride, same, empty=0.0):
    """{(row, column): what that place of a window sees of images (n, height, width, channels)}; `same`: as in Keras."""
    if same:
        lacking = [max((-(-n // stride) - 1) * stride + k - n, 0) for n, k in zip(x.shape[1:3], size, strict=True)]
        around = [(count // 2, count - count // 2) for count in lacking]
        x = np.pad(x, [(0, 0), *around, (0, 0)], constant_values=empty)
    high, wide = (n - k + 1 for n, k in zip(x.shape[1:3], size, strict=True))
    return {
        (row, column): x[:, row : row + high : stride, column : column + wide : stride]
        for row, column in np.ndindex(size)
    }


def inception_in_numpy(take, x, version):
    """INCEPTION's modules; v1 and v2 halve with padding, the others without."""

    def convolution(x, size, stride=1, same=True, activated=True):
        kernel, *bias = next(take.layers["convolution"]).get_weights()
        x = sum(seen @ kernel[place] for place, seen in windows(x, size, stride, same).items())
        x = x + (bias[0] if bias else 0)
        if activated and not bias:
            gamma, beta, mean, variance = next(take.layers["norm"]).get_weights()
            x = (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
        return relu(x) if activated else x

    def pooling(x, kind, stride, same):
        if kind == "pass":
            return x
        if kind == "max":
            return np.max([*windows(x, (3, 3), stride, same, -np.inf).values()], axis=0)
        sums, pixels = (sum(windows(array, (3, 3), stride, same).values()) for array in (x, np.ones_like(x)))
        return sums / pixels  # the padding is no part of the mean

    for branches, scale in inception_modules(version):
        ends = []
        for branch in branches:
            end = x
            for step in branch:
                parts = []
                for what, size, stride in step:
                    same = stride == 1 or version in ("v1", "v2")
                    made = what.isdigit()
                    parts.append(convolution(end, size, stride, same) if made else pooling(end, what, stride, same))
                end = np.concatenate(parts, axis=-1)
            ends.append(end)
        ends = np.concatenate(ends, axis=-1)
        x = relu(x + scale * convolution(ends, (1, 1), activated=False)) if scale else ends
    return take.softmax_of_means(x)


@pytest.mark.parametrize("version", ["v1", "v2", "v4", "resnet_v1"])  # the others are compared with Keras Applications
def test_inception_gives_what_its_papers_say(version):
    pixels = PIXELS[:2, :12, :12]
    model = build(INCEPTIONS, size=12, VERSION=version)
    draw_weights(model)
    spread_predictions(model, pixels)
    take = Weights(model)
    expected = inception_in_numpy(take, (pixels - np.array(MEAN)) / np.sqrt(VARIANCE), version)
    for name, left in take.layers.items():
        assert next(left, None) is None, f"a layer of kind {name} is left over"
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # the images differ
    np.testing.assert_allclose(np.asarray(model(pixels, training=False)), expected, atol=1e-5)


def test_a_residual_inception_module_is_scaled_added_and_saved(tmp_path):
    script = load_script(INCEPTIONS, VERSION="resnet_v2")
    inputs = keras.Input((5, 4, 6))
    branches = script.branch(inputs, (3, 1)), script.branch(inputs, (2, 1), (4, (1, 3)))
    model = keras.Model(inputs, script.residual_block(inputs, *branches, scale=0.3))
    draw_weights(model)
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 6)).astype(np.float32)
    found, made = outputs_of(model, model.output, of_kind(model, keras.layers.Conv2D)[-1].output, pixels=x)
    np.testing.assert_allclose(found, relu(x + 0.3 * made), atol=1e-5)
    model.save(tmp_path / "model.h5", include_optimizer=False)
    loaded = keras.models.load_model(tmp_path / "model.h5", compile=False)
    np.testing.assert_allclose(np.asarray(loaded(x, training=False)), found, atol=1e-6)


def test_batch_normalisation_without_gamma_is_trained_by_the_quick_kernel():
    script = load_script(INCEPTIONS, VERSION="v3")
    script.quick_on_cpu()
    inputs = keras.Input((4, 5, 2))
    model = keras.Model(inputs, script.normalised(inputs))
    assert [weight.name for weight in model.weights] == ["beta", "moving_mean", "moving_variance"]
    x = np.random.default_rng(0).normal(1, 2, (6, 4, 5, 2)).astype(np.float32)
    expected = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-3)
    np.testing.assert_allclose(np.asarray(model(x, training=True)), expected, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_grouped_convolution_on_a_cpu_has_the_values_and_gradients_of_its_formula(stride):
    """TensorFlow's own has no gradients on every CPU; here they are compared, in a direction, with differences."""
    load_script("4.ResNet/resnet.py").quick_on_cpu()
    draw = np.random.default_rng(0)
    x, weights = draw.normal(size=(2, 8, 8, 12)), draw.normal(size=(3, 3, 4, 12))
    padded = tf.constant(np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)]), "float32")
    layer = keras.layers.Conv2D(12, 3, stride, padding="valid", groups=3, use_bias=False)
    layer.build(padded.shape)
    layer.set_weights([weights])
    with tf.GradientTape() as tape:
        tape.watch(padded)
        ours = layer(padded)
        loss = tf.reduce_sum(ours**2 * tf.cos(ours))
    to_padded, to_kernel = (np.float64(array) for array in tape.gradient(loss, [padded, layer.kernel.value]))

    def formula(x, weights):
        return convolved(x, weights, stride, groups=3)

    def loss_of(x, weights):
        values = formula(x, weights)
        return (values**2 * np.cos(values)).sum()

    np.testing.assert_allclose(ours, formula(x, weights), rtol=1e-3, atol=1e-4)
    for gradient, start in ((to_padded[:, 1:-1, 1:-1], 0), (to_kernel, 1)):
        direction, step = draw.normal(size=gradient.shape), 1e-6
        ends = [[x, weights] for _ in range(2)]
        ends[0][start], ends[1][start] = ends[0][start] + step * direction, ends[1][start] - step * direction
        slope = (loss_of(*ends[0]) - loss_of(*ends[1])) / (2 * step)
        assert (gradient * direction).sum() == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_batch_normalisation_has_the_values_gradients_and_averages_of_its_formula(policy):
    """Ioffe and Szegedy 2015, section 3; the averages are of the biased variance, as in Keras."""
    load_script("4.ResNet/resnet.py").quick_on_cpu()
    draw = np.random.default_rng(0)
    x = draw.normal(1, 2, (6, 5, 4, 3)).round(1)
    weights = draw.normal(size=x.shape)  # the loss is the outputs' sum with these
    gamma, beta, epsilon = np.array([1.5, -2.0, 0.5]), np.array([0.0, 3.0, -1.0]), 1e-3
    layer = keras.layers.BatchNormalization(momentum=0.9, epsilon=epsilon, dtype=policy)
    layer.build(x.shape)
    layer.set_weights([gamma, beta, np.array([1, 2, 3]), np.array([4, 5, 6])])
    tensor = tf.constant(x, layer.compute_dtype)
    x = tensor.numpy().astype(np.float64)  # as that type rounds it
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        outputs = layer(tensor, training=True)
        loss = tf.reduce_sum(tf.cast(outputs, tf.float32) * weights.astype(np.float32))
    assert outputs.dtype == layer.compute_dtype
    gradients = tape.gradient(loss, [tensor, layer.gamma.value, layer.beta.value])

    axes = (0, 1, 2)
    mean, variance = x.mean(axes), x.var(axes)
    normal = (x - mean) / np.sqrt(variance + epsilon)
    to_input = weights - weights.mean(axes) - normal * (weights * normal).mean(axes)
    expected = [to_input * gamma / np.sqrt(variance + epsilon), (weights * normal).sum(axes), weights.sum(axes)]
    error = {"float32": 1e-5, "mixed_bfloat16": 2e-2, "mixed_float16": 3e-3}[policy]
    np.testing.assert_allclose(np.float64(outputs), normal * gamma + beta, atol=8 * error)
    for gradient, formula in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(np.float64(gradient), formula, atol=error * np.abs(formula).max())
    np.testing.assert_allclose(layer.moving_mean, 0.9 * np.array([1, 2, 3]) + 0.1 * mean, rtol=1e-5)
    np.testing.assert_allclose(layer.moving_variance, 0.9 * np.array([4, 5, 6]) + 0.1 * variance, rtol=1e-5)


def test_batch_normalisation_that_is_frozen_or_not_training_uses_its_averages():
    load_script("4.ResNet/resnet.py").quick_on_cpu()
    x = np.float32([[[[1.0], [2.0]]], [[[3.0], [6.0]]]])
    layer = keras.layers.BatchNormalization(epsilon=0.0)
    layer.build(x.shape)
    layer.set_weights([np.array([value]) for value in (2.0, 1.0, 3.0, 4.0)])
    frozen = keras.layers.BatchNormalization.from_config(layer.get_config() | {"trainable": False})
    frozen.build(x.shape)
    frozen.set_weights(layer.get_weights())
    for outputs in (layer(x, training=False), frozen(x, training=True)):
        np.testing.assert_allclose(outputs, (x - 3) / 2 * 2 + 1, rtol=1e-6)
    assert frozen.moving_mean.numpy() == layer.moving_mean.numpy() == 3.0
    flat = keras.layers.BatchNormalization(epsilon=0.0)  # of a dense layer's outputs: no images
    np.testing.assert_allclose(flat(np.float32([[1.0], [3.0]]), training=True), [[-1.0], [1.0]], rtol=1e-6)


@pytest.mark.parametrize(
    ("gpu", "flags", "expected"),
    [
        (None, "fpu avx2", "float32"),
        (None, "fpu avx512_bf16 avx2", "mixed_bfloat16"),
        (None, "fpu amx_bf16", "mixed_bfloat16"),
        (None, None, "float32"),
        ((6, 1), "avx512_bf16", "float32"),
        ((7, 5), "fpu", "mixed_float16"),
        ((8, 0), "fpu", "mixed_bfloat16"),
    ],
)
def test_the_precision_is_what_the_device_is_fast_in(gpu, flags, expected, monkeypatch):
    script = load_script("4.ResNet/resnet.py")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["a GPU"] if gpu else [])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda _: {"compute_capability": gpu})
    there, text = flags is not None, f"processor: 0\nflags: {flags}\n"
    info = SimpleNamespace(exists=lambda: there, read_text=lambda: text)
    monkeypatch.setattr(script, "Path", {"/proc/cpuinfo": info}.__getitem__)
    assert script.precision() == expected
    for told in ("float32", "mixed_float16"):
        script.PRECISION = told
        assert script.precision() == told


# Saved files
@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", LIGHT)
def test_a_saved_model_predicts_what_the_model_in_memory_does(name, policy, tmp_path):
    size = least_size(name)
    pixels = PIXELS[:2, :size, :size]
    keras.config.set_dtype_policy(policy)
    try:
        model = build_small(name, size=size)
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(tmp_path / "model.h5", include_optimizer=False)
    loaded = keras.models.load_model(tmp_path / "model.h5", compile=False)
    expected = np.asarray(model(pixels, training=False))
    assert expected.dtype == np.float32 and expected.shape == (2, 10)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-5)
    for given in (pixels, pixels.astype(np.float32)):
        np.testing.assert_allclose(np.asarray(loaded(given, training=False)), expected, atol=1e-6)

    with h5py.File(tmp_path / "model.h5") as file:
        text = file.attrs["model_config"]
    saved = json.loads(text)["config"]["layers"]
    for kind in {layer["class_name"] for layer in saved}:
        assert kind != "Lambda" and issubclass(getattr(keras.layers, kind), keras.Layer)
    assert set(re.findall(r'"registered_name": ([^,}]+)', text)) == {"null"}
    assert set(re.findall(r'"module": "(.*?)"', text)) <= {"keras", "keras.initializers", "keras.regularizers"}
    groups = [layer["config"]["groups"] for layer in saved if layer["class_name"] == "Conv2D"]
    in_four, in_two = 9 if "resnext" in name else 0, 3 if name == "alexnet" else 0
    assert (groups.count(4), groups.count(2), groups.count(1)) == (in_four, in_two, len(groups) - in_four - in_two)


ELSEWHERE = """
import os, sys
from pathlib import Path
os.environ["KERAS_BACKEND"] = "tensorflow"
import keras, numpy as np
pixels = np.load("pixels.npy")
for path in sorted(Path().glob("*.h5")):
    model = keras.models.load_model(path, compile=False)
    np.save(path.with_suffix(".npy"), np.asarray(model(pixels, training=False)))
operation = keras.layers.Conv2D.convolution_op
assert operation is keras.layers.Conv2D.__base__.convolution_op  # Keras' own
assert not {"lenet", "resnext", "senet"} & set(sys.modules)
"""


def test_saved_models_predict_the_same_where_our_scripts_are_unknown(tmp_path):
    expected = {}
    for name in LIGHT:
        model = build_small(name)
        draw_weights(model)
        model.save(tmp_path / f"{name}.h5", include_optimizer=False)
        expected[name] = np.asarray(model(PIXELS, training=False))
    np.save(tmp_path / "pixels.npy", PIXELS)
    subprocess.run([sys.executable, "-c", ELSEWHERE], cwd=tmp_path, check=True, timeout=300, capture_output=True)
    for name, probabilities in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / f"{name}.npy"), probabilities, atol=1e-5, err_msg=name)


# Gradients
@pytest.mark.parametrize("name", [name for name in LIGHT if name != "nin-plain"])  # which needs hundreds of steps
def test_a_network_learns_64_images_by_heart(name):
    images, labels = load_digits(return_X_y=True)
    size = least_size(name)
    x = np.kron(images[:64].reshape(-1, 8, 8) * 255 / 16, np.ones((1, size // 8, size // 8)))
    x, y = np.repeat(x.astype(np.uint8)[..., np.newaxis], 3, axis=-1), labels[:64]
    model = build_small(name, size=size, WEIGHT_DECAY=0.0)
    rates = dict.fromkeys(("nin", "vgg", "resnext", "senet-resnext", "alexnet", "alexnet-plain"), 0.001)
    rates["inception-v1"] = 0.0003
    model.compile(keras.optimizers.Adam(rates.get(name, 0.005)), "sparse_categorical_crossentropy")
    model.run_eagerly = True  # for so few steps a graph takes longer
    for layer in of_kind(model, keras.layers.BatchNormalization):
        layer.momentum = 0.0  # its averages are those of the last batch

    def accuracy():
        model(x, training=True)
        return np.mean(np.asarray(model(x, training=False)).argmax(axis=1) == y)

    assert accuracy() < 0.5
    before = [weight.numpy() for weight in model.trainable_weights]
    model.fit(x, y, 64, verbose=0)
    for weight, old in zip(model.trainable_weights, before, strict=True):  # a gradient reached them all
        assert np.isfinite(weight.numpy()).all() and not np.array_equal(weight.numpy(), old), weight.path
    for _ in range(25):
        model.fit(x, y, 64, epochs=4, verbose=0)
        if accuracy() == 1:
            return
    pytest.fail(f"{accuracy():.0%} of the images are known after 101 steps")


# Refusals
@pytest.mark.parametrize(
    ("script", "settings", "message"),
    [
        ("4.ResNet/resnet.py", {"DEPTH": 21}, "DEPTH = 21 is not 6n + 2"),
        ("4.ResNet/resnet.py", {"DEPTH": 2}, "DEPTH = 2 is not 6n + 2, with n from 1 up"),
        ("4.ResNet/resnet.py", {"DEPTH": 112, "VERSION": 1}, "DEPTH = 112 is not 6n + 2"),
        ("4.ResNet/resnet.py", {"DEPTH": 112, "BOTTLENECK": "yes"}, "DEPTH = 112 is not 9n + 2"),
        ("5.WideResNet/wide_resnet.py", {"DEPTH": 20}, "DEPTH = 20 is not 6n + 4"),
        ("5.WideResNet/wide_resnet.py", {"DEPTH": 4}, "DEPTH = 4 is not 6n + 4, with n from 1 up"),
        ("7.DenseNet/densenet.py", {"DEPTH": 41}, "DEPTH = 41 is not 6n + 4"),
        ("7.DenseNet/densenet.py", {"DEPTH": 41, "BOTTLENECK": "no"}, "DEPTH = 41 is not 3n + 4"),
        ("8.SENet/senet.py", {"BASE": "resnet", "DEPTH": 111}, "DEPTH = 111 is not 6n + 2"),
        ("8.SENet/senet.py", {"BASE": "resnet", "DEPTH": 112, "BOTTLENECK": "yes"}, "DEPTH = 112 is not 9n + 2"),
        ("3.VGG/vgg.py", {"DEPTH": 11, "WEIGHTS": "imagenet"}, "needs DEPTH 16 or 19, not 11"),
    ],
)
def test_a_network_that_cannot_be_built_is_refused(script, settings, message):
    module = load_script(script, **settings)
    with pytest.raises(module.InputError, match=re.escape(message)):
        module.build_model((32, 32, 3), 10, MEAN, VARIANCE)


def test_imagenet_weights_that_cannot_be_downloaded_are_refused(monkeypatch):
    def offline(**arguments):
        raise Exception("URL fetch failure on https://storage.googleapis.com/tensorflow/keras-applications/vgg16/x.h5")

    monkeypatch.setattr(keras.applications, "VGG16", offline)
    module = load_script("3.VGG/vgg.py", DEPTH=16, WEIGHTS="imagenet")
    with pytest.raises(module.InputError, match="--weights random"):
        module.build_model((32, 32, 3), 10, MEAN, VARIANCE)


def test_imagenet_weights_land_in_the_convolutions(monkeypatch):
    """An untrained network of Keras' stands in; with its preprocessing it sees in the pixels what ours does."""
    theirs = keras.applications.VGG16(weights=None, include_top=False)
    draw_weights(theirs)  # the biases
    monkeypatch.setattr(keras.applications, "VGG16", lambda weights, include_top: theirs)
    ours = build("3.VGG/vgg.py", DEPTH=16, WEIGHTS="imagenet")
    our_layers, their_layers = of_kind(ours, keras.layers.Conv2D), of_kind(theirs, keras.layers.Conv2D)
    assert len(our_layers) == len(their_layers) == 13
    for number, (our, their) in enumerate(zip(our_layers, their_layers, strict=True)):
        kernel = their.kernel.numpy()
        assert np.array_equal(our.kernel.numpy(), kernel[:, :, [2, 1, 0]] if number == 0 else kernel)
        assert np.array_equal(our.bias.numpy(), their.bias.numpy())
    preprocessed = keras.applications.vgg16.preprocess_input(PIXELS.astype(np.float32))
    [expected] = outputs_of(theirs, their_layers[0].output, pixels=preprocessed)  # after ReLU
    [found] = outputs_of(ours, our_layers[0].output)
    np.testing.assert_allclose(np.maximum(found, 0), expected, rtol=1e-3, atol=1e-2)
