"""Time the training of one of the networks in PyTorch, channels last, on a GPU if there is one.

    python benchmarks/train_in_pytorch.py NETWORK DATA.npz SECONDS BATCH_SIZE LEARNING_RATE MOMENTUM WEIGHT_DECAY
        [bfloat16] [compiled]

For training.py and gpu_speed.py, which start it in a process of its own; needs torch and NumPy alone. With `bfloat16`
the network computes in it where autocast does, else in float32; with `compiled` it goes through torch.compile, else it
is eager. On a GPU the images are there from the start and are augmented there; cuDNN tries its algorithms and takes the
quickest. The loss is read at every step. The last line it prints is the result, as JSON. Each network has the layers
and trainable parameters of its script's build_model.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from benchmarks.stopwatch import Stopwatch

IMAGES = 45_000  # of the training images, as the scripts take; the others are kept for validation


def convolution(channels, filters, size, stride=1, groups=1):
    return nn.Conv2d(channels, filters, size, stride, padding=size // 2, groups=groups, bias=False)


def normalised(layer):
    """Return a convolution or dense layer, batch normalisation and ReLU, as a list."""
    dense = isinstance(layer, nn.Linear)
    norm = nn.BatchNorm1d(layer.out_features) if dense else nn.BatchNorm2d(layer.out_channels)
    return [layer, norm, nn.ReLU(inplace=True)]


def activated(channels):
    return nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def classifier(channels, classes=10):
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def lenet():
    relu, pool = nn.ReLU(inplace=True), nn.MaxPool2d(2)
    features = [nn.Conv2d(3, 6, 5), relu, pool, nn.Conv2d(6, 16, 5), relu, pool, nn.Flatten()]
    return nn.Sequential(*features, nn.Linear(400, 120), relu, nn.Linear(120, 84), relu, nn.Linear(84, 10))


def network_in_network():
    def part(channels, plan):
        layers = []
        for filters, size in plan:
            layers += normalised(nn.Conv2d(channels, filters, size, padding=size // 2))
            channels = filters
        return layers

    # Rounding up, the pooling reaches one pixel beyond the image behind and none in front, like Keras' "same" here
    return nn.Sequential(
        *part(3, [(192, 5), (160, 1), (96, 1)]),
        *[nn.MaxPool2d(3, 2, ceil_mode=True), nn.Dropout(0.5)],
        *part(96, [(192, 5), (192, 1), (192, 1)]),
        *[nn.AvgPool2d(3, 2, ceil_mode=True), nn.Dropout(0.5)],
        *part(192, [(192, 3), (192, 1), (10, 1)]),
        *[nn.AdaptiveAvgPool2d(1), nn.Flatten()],
    )


def vgg_19():
    layers, channels = [], 3
    for filters, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            layers += normalised(nn.Conv2d(channels, filters, 3, padding=1))
            channels = filters
        layers.append(nn.MaxPool2d(2))
    layers.append(nn.Flatten())
    for inputs in (512, 4096):
        layers += [*normalised(nn.Linear(inputs, 4096)), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(4096, 10))


def alexnet():
    layers, channels = [], 3
    plan = (96, 5, 1, True), (256, 5, 2, True), (384, 3, 1, False), (384, 3, 2, False), (256, 3, 2, True)
    for filters, size, groups, pooled in plan:
        layers += normalised(convolution(channels, filters, size, groups=groups))
        layers += [nn.MaxPool2d(3, 2)] if pooled else []
        channels = filters
    layers.append(nn.Flatten())
    for inputs in (3 * 3 * 256, 4096):
        layers += [*normalised(nn.Linear(inputs, 4096, bias=False)), nn.Dropout(0.5)]
    return nn.Sequential(*layers, nn.Linear(4096, 10))


def with_relu(channels, filters, size):
    return [nn.Conv2d(channels, filters, size, padding=size // 2), nn.ReLU(inplace=True)]


class InceptionModule(nn.Module):
    def __init__(self, channels, one, reduced_three, three, reduced_five, five, projected):
        super().__init__()
        self.one = nn.Sequential(*with_relu(channels, one, 1))
        self.three = nn.Sequential(*with_relu(channels, reduced_three, 1), *with_relu(reduced_three, three, 3))
        self.five = nn.Sequential(*with_relu(channels, reduced_five, 1), *with_relu(reduced_five, five, 5))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), *with_relu(channels, projected, 1))

    def forward(self, x):
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], 1)


def inception_v1():
    layers, channels = [*with_relu(3, 64, 7), *with_relu(64, 64, 1), *with_relu(64, 192, 3)], 192
    plan = [(64, 96, 128, 16, 32, 32), (128, 128, 192, 32, 96, 64), None]
    plan += [(192, 96, 208, 16, 48, 64), (160, 112, 224, 24, 64, 64), (128, 128, 256, 24, 64, 64)]
    plan += [(112, 144, 288, 32, 64, 64), (256, 160, 320, 32, 128, 128), None]
    plan += [(256, 160, 320, 32, 128, 128), (384, 192, 384, 48, 128, 128)]
    for module in plan:
        if module:
            layers.append(InceptionModule(channels, *module))
            one, _, three, _, five, projected = module
            channels = one + three + five + projected
        else:
            layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.4), nn.Linear(channels, 10))


class PreActivationBlock(nn.Module):
    def __init__(self, channels, filters, stride):
        super().__init__()
        same_shape = channels == filters and stride == 1
        self.activated = activated(channels)
        self.shortcut = None if same_shape else convolution(channels, filters, 1, stride)
        first, last = convolution(channels, filters, 3, stride), convolution(filters, filters, 3)
        self.convolutions = nn.Sequential(*normalised(first), last)

    def forward(self, x):
        start = self.activated(x)
        return self.convolutions(start) + (x if self.shortcut is None else self.shortcut(start))


def resnet(blocks, width=1):
    layers, channels = [convolution(3, 16, 3)], 16
    for filters in (16 * width, 32 * width, 64 * width):
        for block in range(blocks):
            layers.append(PreActivationBlock(channels, filters, 2 if block == 0 and filters > 16 * width else 1))
            channels = filters
    return nn.Sequential(*layers, activated(channels), *classifier(channels))


class SqueezeAndExcitation(nn.Module):
    def __init__(self, channels, reduction=16):
        super().__init__()
        self.squeezed = nn.Linear(channels, channels // reduction, bias=False)
        self.excited = nn.Linear(channels // reduction, channels, bias=False)

    def forward(self, x):
        weights = torch.sigmoid(self.excited(functional.relu(self.squeezed(x.mean((2, 3))))))
        return x * weights[:, :, None, None]


class ResNeXtBlock(nn.Module):
    def __init__(self, channels, width, widened, stride, cardinality, recalibrated):
        super().__init__()
        same_shape = channels == widened and stride == 1
        shortcut = [convolution(channels, widened, 1, stride), nn.BatchNorm2d(widened)]
        self.shortcut = nn.Sequential(*([] if same_shape else shortcut))
        self.convolutions = nn.Sequential(
            *normalised(convolution(channels, width, 1)),
            *normalised(convolution(width, width, 3, stride, cardinality)),
            convolution(width, widened, 1),
            nn.BatchNorm2d(widened),
            *([SqueezeAndExcitation(widened)] if recalibrated else []),
        )

    def forward(self, x):
        return functional.relu(self.convolutions(x) + self.shortcut(x), inplace=True)


def resnext_29(cardinality, group_width, recalibrated=False):
    layers, channels = normalised(convolution(3, 64, 3)), 64
    for stage in range(3):
        width, widened = cardinality * group_width * 2**stage, 256 * 2**stage
        for block in range(3):
            stride = 2 if block == 0 and stage > 0 else 1
            layers.append(ResNeXtBlock(channels, width, widened, stride, cardinality, recalibrated))
            channels = widened
    return nn.Sequential(*layers, *classifier(channels))


class DenseLayer(nn.Module):
    def __init__(self, channels, growth_rate, bottleneck):
        super().__init__()
        layers = [activated(channels)]
        if bottleneck:
            layers += [convolution(channels, 4 * growth_rate, 1), activated(4 * growth_rate)]
            channels = 4 * growth_rate
        self.layers = nn.Sequential(*layers, convolution(channels, growth_rate, 3))

    def forward(self, x):
        return torch.cat([x, self.layers(x)], 1)


def densenet(count, growth_rate=12, bottleneck=False):
    channels = 2 * growth_rate if bottleneck else 16
    layers = [convolution(3, channels, 3)]
    for stage in range(3):
        if stage > 0:
            kept = channels // 2 if bottleneck else channels
            layers += [activated(channels), convolution(channels, kept, 1), nn.AvgPool2d(2)]
            channels = kept
        for _ in range(count):
            layers.append(DenseLayer(channels, growth_rate, bottleneck))
            channels += growth_rate
    return nn.Sequential(*layers, activated(channels), *classifier(channels))


NETWORKS = {
    "LeNet": lenet,
    "NIN": network_in_network,
    "VGG-19": vgg_19,
    "ResNet-20": lambda: resnet(3),
    "ResNet-110": lambda: resnet(18),
    "WRN-16-4": lambda: resnet(2, 4),
    "WRN-28-10": lambda: resnet(4, 10),
    "ResNeXt-29-8x16d": lambda: resnext_29(8, 16),
    "ResNeXt-29-8x64d": lambda: resnext_29(8, 64),
    "DenseNet-40-12": lambda: densenet(12),
    "DenseNet-BC-100-12": lambda: densenet(16, bottleneck=True),
    "SE-ResNeXt-29-4x64d": lambda: resnext_29(4, 64, recalibrated=True),
    "AlexNet": alexnet,
    "Inception-v1": inception_v1,
}


def augmented(padded, chosen):
    """Return the chosen images as float32 (n, 3, 32, 32), channels last, shifted by up to 4 pixels and flipped.

    padded: uint8 (images, 40, 40, 3).
    """
    count, device = len(chosen), padded.device
    pixels = torch.arange(32, device=device)
    rows = pixels + torch.randint(0, 9, (count, 1), device=device)
    columns = torch.where(torch.rand(count, 1, device=device) < 0.5, pixels, pixels.flip(0))
    columns = columns + torch.randint(0, 9, (count, 1), device=device)
    return padded[chosen[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).float()


def main():
    name, data, seconds, batch_size, learning_rate, momentum, weight_decay, *options = sys.argv[1:]
    batch_size, in_bfloat16 = int(batch_size), "bfloat16" in options
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    with np.load(data) as file:
        x, labels = (torch.from_numpy(file[name][:IMAGES]) for name in ("x_train", "y_train"))
    padded, labels = functional.pad(x, (0, 0, 4, 4, 4, 4)).to(device), labels.long().to(device)
    colours = x[:1000].float().mean((0, 1, 2)), x[:1000].float().std((0, 1, 2))
    mean, deviation = (colour.view(1, 3, 1, 1).to(device) for colour in colours)
    model = NETWORKS[name]().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), float(learning_rate), float(momentum), weight_decay=float(weight_decay), nesterov=True
    )
    forward = torch.compile(model) if "compiled" in options else model
    stopwatch, result, before = Stopwatch(batch_size, float(seconds)), None, torch.zeros(1)
    for chosen in torch.randperm(len(x), device=device).split(batch_size):
        images = (augmented(padded, chosen) - mean) / deviation
        with torch.autocast(device.type, torch.bfloat16, enabled=in_bfloat16):
            loss = functional.cross_entropy(forward(images), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        before.item()  # waits for a GPU to end the step before
        before = loss.detach()
        result = stopwatch.step_ended()
        if result:
            break
    result["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    result["precision"] = "bfloat16" if in_bfloat16 else "float32"
    result["versions"] = {"PyTorch": torch.__version__}
    if device.type == "cuda":
        result["gpu_memory"] = torch.cuda.max_memory_allocated() / 2**30
    print(json.dumps(result))


if __name__ == "__main__":
    main()
