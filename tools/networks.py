"""The networks of the collection: how each is built, and what its paper and an ancestor of these scripts measured.

The tables of networks in README.md and results/README.md, and those of variants in the folders, are made from it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Network:
    """A network by its name, the script that builds it, and what others measured on CIFAR-10, as texts, "" for nothing.

    settings: {setting: value} of the script, those that make this network and no other.
    paper_error: the paper's test error in percent, quoted as it stands there, and paper, where that is.
    ancestor: the test accuracy in percent that cifar-10-cnn says its own script reached.
    """

    name: str
    script: str
    settings: dict
    paper_error: str = ""
    paper: str = ""
    ancestor: str = ""


LENET = "1.LeNet/lenet.py"
NIN = "2.NIN/nin.py"
VGG = "3.VGG/vgg.py"
RESNET = "4.ResNet/resnet.py"
WIDE = "5.WideResNet/wide_resnet.py"
RESNEXT = "6.ResNeXt/resnext.py"
DENSENET = "7.DenseNet/densenet.py"
SENET = "8.SENet/senet.py"
ALEXNET = "9.AlexNet/alexnet.py"
INCEPTION = "10.Inception/inception.py"

TITLES = {  # of each script: what its networks are called, and their papers
    LENET: ("LeNet-5", "[LeCun 1998](http://yann.lecun.com/exdb/publis/pdf/lecun-98.pdf)"),
    NIN: ("Network in Network", "[1312.4400](https://arxiv.org/abs/1312.4400)"),
    VGG: ("VGG", "[1409.1556](https://arxiv.org/abs/1409.1556)"),
    RESNET: (
        "ResNet",
        "[1512.03385](https://arxiv.org/abs/1512.03385), [1603.05027](https://arxiv.org/abs/1603.05027)",
    ),
    WIDE: ("Wide ResNet", "[1605.07146](https://arxiv.org/abs/1605.07146)"),
    RESNEXT: ("ResNeXt", "[1611.05431](https://arxiv.org/abs/1611.05431)"),
    DENSENET: ("DenseNet", "[1608.06993](https://arxiv.org/abs/1608.06993)"),
    SENET: ("Squeeze-and-excitation", "[1709.01507](https://arxiv.org/abs/1709.01507)"),
    ALEXNET: (
        "AlexNet",
        "[Krizhevsky 2012](https://papers.nips.cc/paper/2012/hash/c399862d3b9d6b76c8436e924a68c45b-Abstract.html)",
    ),
    INCEPTION: (
        "Inception v1 to v4, Inception-ResNet",
        "[1409.4842](https://arxiv.org/abs/1409.4842), [1602.07261](https://arxiv.org/abs/1602.07261)",
    ),
}

ORIGINAL = {"VERSION": 1, "BOTTLENECK": "no"}
PRE_ACTIVATION = {"VERSION": 2, "BOTTLENECK": "no"}
BOTTLENECKS = {"VERSION": 2, "BOTTLENECK": "yes"}
PLAIN = {"BOTTLENECK": "no", "COMPRESSION": 1.0}
BC = {"BOTTLENECK": "yes", "COMPRESSION": 0.5}
SE_RESNET = {"BASE": "resnet", "BOTTLENECK": "no"}
SE_BOTTLENECKS = {"BASE": "resnet", "BOTTLENECK": "yes"}
SE_RESNEXT = {"BASE": "resnext", "CARDINALITY": 4, "GROUP_WIDTH": 64}

OF_NIN = "[1312.4400](https://arxiv.org/abs/1312.4400)"
OF_RESNET = "Table 6 of [1512.03385](https://arxiv.org/abs/1512.03385)"
OF_IDENTITY = "[1603.05027](https://arxiv.org/abs/1603.05027)"
OF_WIDE = "version 4 of [1605.07146](https://arxiv.org/abs/1605.07146v4)"
OF_RESNEXT = "Table 7 of [1611.05431](https://arxiv.org/abs/1611.05431)"
OF_DENSENET = "Table 2 of [1608.06993](https://arxiv.org/abs/1608.06993)"
OF_SENET = "Table 4 of [1709.01507](https://arxiv.org/abs/1709.01507)"

LENET_BY_RECIPE = [  # one network, trained in four ways; VARIANT says how, see comparable in tools/result_tables.py
    Network("LeNet-5, plain", LENET, {"VARIANT": "plain"}, ancestor="58.48"),
    Network("LeNet-5, data preprocessing", LENET, {"VARIANT": "dp"}, ancestor="60.41"),
    Network("LeNet-5, with augmentation too", LENET, {"VARIANT": "dp_da"}, ancestor="75.06"),
    Network("LeNet-5, with weight decay too", LENET, {"VARIANT": "dp_da_wd"}, ancestor="76.23"),
]
OTHERS = [
    Network("NIN", NIN, {"BATCH_NORMALISATION": "no"}, "8.81", OF_NIN),
    Network("NIN with batch normalisation", NIN, {"BATCH_NORMALISATION": "yes"}, ancestor="91.63"),
    Network("VGG-8", VGG, {"DEPTH": 8}),
    Network("VGG-11", VGG, {"DEPTH": 11}),
    Network("VGG-13", VGG, {"DEPTH": 13}),
    Network("VGG-16", VGG, {"DEPTH": 16}),
    Network("VGG-19", VGG, {"DEPTH": 19}, ancestor="93.53"),
    Network("ResNet-20, original", RESNET, {**ORIGINAL, "DEPTH": 20}, "8.75", OF_RESNET),
    Network("ResNet-32, original", RESNET, {**ORIGINAL, "DEPTH": 32}, "7.51", OF_RESNET),
    Network("ResNet-44, original", RESNET, {**ORIGINAL, "DEPTH": 44}, "7.17", OF_RESNET),
    Network("ResNet-56, original", RESNET, {**ORIGINAL, "DEPTH": 56}, "6.97", OF_RESNET),
    Network("ResNet-110, original", RESNET, {**ORIGINAL, "DEPTH": 110}, "6.43", OF_RESNET),
    Network("ResNet-20, pre-activation", RESNET, {**PRE_ACTIVATION, "DEPTH": 20}, ancestor="91.82"),
    Network("ResNet-32, pre-activation", RESNET, {**PRE_ACTIVATION, "DEPTH": 32}, ancestor="92.68"),
    Network("ResNet-110, pre-activation", RESNET, {**PRE_ACTIVATION, "DEPTH": 110}, "6.37", OF_IDENTITY, "93.93"),
    Network("ResNet-164, pre-activation bottlenecks", RESNET, {**BOTTLENECKS, "DEPTH": 164}, "5.46", OF_IDENTITY),
    Network("ResNet-1001, pre-activation bottlenecks", RESNET, {**BOTTLENECKS, "DEPTH": 1001}, "4.92", OF_IDENTITY),
    Network("WRN-16-2", WIDE, {"DEPTH": 16, "WIDTH": 2}),
    Network("WRN-16-4", WIDE, {"DEPTH": 16, "WIDTH": 4}, "5.02", OF_WIDE),
    Network("WRN-16-8", WIDE, {"DEPTH": 16, "WIDTH": 8}, "4.27", OF_WIDE, "95.13"),
    Network("WRN-28-10", WIDE, {"DEPTH": 28, "WIDTH": 10, "DROPOUT": 0.0}, "4.00", OF_WIDE, "95.78"),
    Network("WRN-28-10 with dropout", WIDE, {"DEPTH": 28, "WIDTH": 10, "DROPOUT": 0.3}, "3.89", OF_WIDE),
    Network("ResNeXt-29 4x8d", RESNEXT, {"CARDINALITY": 4, "GROUP_WIDTH": 8}),
    Network("ResNeXt-29 8x16d", RESNEXT, {"CARDINALITY": 8, "GROUP_WIDTH": 16}),
    Network("ResNeXt-29 4x64d", RESNEXT, {"CARDINALITY": 4, "GROUP_WIDTH": 64}, ancestor="95.19"),
    Network("ResNeXt-29 8x64d", RESNEXT, {"CARDINALITY": 8, "GROUP_WIDTH": 64}, "3.65", OF_RESNEXT),
    Network("ResNeXt-29 16x64d", RESNEXT, {"CARDINALITY": 16, "GROUP_WIDTH": 64}, "3.58", OF_RESNEXT),
    Network("DenseNet-40-12", DENSENET, {"DEPTH": 40, "GROWTH_RATE": 12, **PLAIN}, "5.24", OF_DENSENET),
    Network("DenseNet-BC-100-12", DENSENET, {"DEPTH": 100, "GROWTH_RATE": 12, **BC}, "4.51", OF_DENSENET, "94.91"),
    Network("DenseNet-BC-100-24", DENSENET, {"DEPTH": 100, "GROWTH_RATE": 24, **BC}),
    Network("DenseNet-BC-160-24", DENSENET, {"DEPTH": 160, "GROWTH_RATE": 24, **BC}, ancestor="95.90"),
    Network("DenseNet-BC-190-40", DENSENET, {"DEPTH": 190, "GROWTH_RATE": 40, **BC}, "3.46", OF_DENSENET),
    Network("SE-ResNet-20", SENET, {**SE_RESNET, "DEPTH": 20}),
    Network("SE-ResNet-110", SENET, {**SE_RESNET, "DEPTH": 110}, "5.21", OF_SENET),
    Network("SE-ResNet-164, bottlenecks", SENET, {**SE_BOTTLENECKS, "DEPTH": 164}, "4.39", OF_SENET),
    Network("SE-ResNeXt-29 4x64d", SENET, SE_RESNEXT, ancestor="95.60"),
    Network("AlexNet", ALEXNET, {"GROUPS": 2, "NORMALISATION": "none"}),
    Network("AlexNet in one group", ALEXNET, {"GROUPS": 1, "NORMALISATION": "none"}),
    Network("AlexNet with batch normalisation", ALEXNET, {"GROUPS": 2, "NORMALISATION": "batch"}),
    Network("Inception-v1", INCEPTION, {"VERSION": "v1"}),
    Network("Inception-v2", INCEPTION, {"VERSION": "v2"}),
    Network("Inception-v3", INCEPTION, {"VERSION": "v3"}),
    Network("Inception-v4", INCEPTION, {"VERSION": "v4"}),
    Network("Inception-ResNet-v1", INCEPTION, {"VERSION": "resnet_v1"}),
    Network("Inception-ResNet-v2", INCEPTION, {"VERSION": "resnet_v2"}),
]
BUILT = [Network("LeNet-5", LENET, {}), *OTHERS]  # each network once
TRAINED = [*LENET_BY_RECIPE, *OTHERS]
