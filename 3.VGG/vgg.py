"""VGG networks with batch normalisation and dropout, for CIFAR-10 and its like.

Simonyan and Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition (arXiv 1409.1556).

    python vgg.py                                                          # VGG-19, 170 epochs on CIFAR-10
    python vgg.py --weights imagenet                                       # from Keras' ImageNet weights
    python vgg.py --data digits --depth 11 --epochs 3 --augment shift      # offline, some minutes on a laptop
    python vgg.py --depth 8 --schedule cosine --warmup 1 --epochs 20       # the quick network
    python vgg.py --help                                                   # every setting

Needs tensorflow, keras, pandas, scikit-learn, matplotlib and tensorboard. Writes runs/NAME/: model.h5 (takes raw
0-255 pixels, gives class probabilities), run.json, history.csv, curves.png and predictions.npz. An interrupted
run goes on from its last finished epoch when the same command is given again.

Parameters for 10 classes and 32x32 images: VGG-11 28,187,786, -13 28,373,066, -16 33,687,882, -19 39,002,698. Depth 8
has 1,980,394; its plan is that of Jordan: 94% on CIFAR-10 in 3.29 Seconds on a Single GPU (arXiv 2404.00498), but with
ReLU, a first convolution that learns, and average pooling at the end.
VGG's paper has no CIFAR-10 results. The recipe is the one of BIGBALLON/cifar-10-cnn, whose VGG-19 has a test accuracy
of 93.53%. Accuracies we measured: results/.
"""

import argparse
import datetime
import hashlib
import json
import logging
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
logging.getLogger("absl").setLevel(logging.ERROR)  # Keras' note that .h5 is an older format
# Copied from 4.ResNet/resnet.py
stderr = os.dup(2)
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # no start-up notes, which that level does not stop
try:
    import keras
    import tensorflow as tf
    from keras import layers
finally:
    os.dup2(stderr, 2)

sys.setrecursionlimit(10_000)  # Keras walks a network recursively, and ResNet-1001 is deep

# Settings
DATA = "cifar10"  # cifar10, cifar100, mnist, fashion_mnist, digits, or the path of a .npz file
HOLD_OUT = 5000  # training images kept for validation, at least 1; no more than a fifth of them are
LIMIT = 0  # train on this many images only, for a quick try; at least 0, which means all

# Differs from 4.ResNet/resnet.py: the paper's networks
DEPTH = 19  # layers with weights; 8 is a quick network after arXiv 2404.00498; one of 8, 11, 13, 16, 19
DROPOUT = 0.5  # part of the activations dropped in training, below 1
WEIGHTS = "random"  # what the convolutions start from (imagenet: depths 16 and 19 alone), one of random, imagenet

EPOCHS = 170  # passes over the training images, at least 1
BATCH_SIZE = 128  # images in one step, over all devices together; at least 1
SCHEDULE = "step"  # how the learning rate falls, one of step, cosine, tanh, plateau
LEARNING_RATE = 0.1  # the highest learning rate, below 1000
WARMUP = 0  # epochs over which the rate first rises linearly (not with plateau), at least 0
MILESTONES = (0.47, 0.71)  # step: parts of the run, warm-up apart, after which the rate drops; each below 1
DROP = 0.1  # step and plateau: what the rate is multiplied by, below 1
PATIENCE = 10  # plateau: epochs without a new lowest validation loss before the rate drops, at least 1
TANH_FROM = -6.0  # tanh: its paper's L, from -20 to 0; the lower, the longer the rate stays near its highest value
TANH_TO = 3.0  # tanh: its paper's U, from 0 to 20; the higher, the lower the rate at the end
MOMENTUM = 0.9  # Nesterov's, below 1
WEIGHT_DECAY = 5e-4  # the loss gains half of this times the sum of the squared kernels; below 1
LOSS = "crossentropy"  # one of crossentropy, focal
LABEL_SMOOTHING = 0.0  # part of each label that is spread evenly over the classes, below 1
AUGMENT = ("flip", "shift")  # any of flip, shift, rotate, cutout, mixup, cutmix
FILL = "constant"  # what shift and rotate fill in: the mean colour or a reflection, one of constant, reflect
EMA = 0.0  # above 0, the result is the moving average of the weights with this decay; below 1
TEST_FLIP = "no"  # the result averages an image's prediction and its mirror image's, one of no, yes

PRECISION = "auto"  # auto: what the GPU or CPU is fast in; one of auto, float32, mixed_float16, mixed_bfloat16
SELECT = "last"  # the epoch whose weights are kept, best meaning on validation; one of last, best
SEED = 0  # of the weights, the order of the images and the augmentation; at least 0
RUN = ""  # name of the run's folder in runs/; if empty, made from the settings on the command line


# Data
# Copied from 4.ResNet/resnet.py
def fail(message):
    """Print one line on stderr and exit with status 2."""
    print(f"{Path(__file__).name}: {message}", file=sys.stderr)
    sys.exit(2)


# Copied from 4.ResNet/resnet.py
def load_data():
    """Return {"train": (x, y), "validation": (x, y), "test": (x, y)}: x uint8 (n, height, width, 3), y int64 (n,).

    The validation images are taken from the training images, of each class its share, and are the same for every
    script and seed. Fails with one line on data that cannot be used.
    """
    if DATA == "digits":  # 8x8 pixels from 0 to 16
        x, y = load_digits(return_X_y=True)
        x = np.kron(x.reshape(-1, 8, 8) * 255 / 16, np.ones((1, 4, 4))).round().astype(np.uint8)
        x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=360, stratify=y, random_state=0)
    elif DATA in ("cifar10", "cifar100", "mnist", "fashion_mnist"):
        try:
            (x_train, y_train), (x_test, y_test) = getattr(keras.datasets, DATA).load_data()
        except Exception:  # what Keras raises
            fail(f"{DATA} cannot be downloaded; give --data digits, or --data FILE.npz (see tools/images_to_npz.py)")
    else:
        try:
            with np.load(DATA) as file:
                x_train, y_train, x_test, y_test = map(file.get, ("x_train", "y_train", "x_test", "y_test"))
        except Exception as error:  # a file can be broken in many ways
            names = "cifar10, cifar100, mnist, fashion_mnist, digits"
            fail(f"DATA = {DATA!r} is none of {names}, and no .npz file that can be read: {error}")

    images, labels = {"train": x_train, "test": x_test}, {"train": y_train, "test": y_test}
    for part, x in images.items():
        y = labels[part]
        if x is None or y is None:
            fail(f"{DATA} lacks x_{part} or y_{part}; x_train, y_train, x_test and y_test are needed")
        if x.dtype != np.uint8 or x.ndim < 3 or x.shape[3:] not in ((), (1,), (3,)) or min(x.shape[1:3]) < 28:
            fail(f"{DATA}: x_{part} is {x.dtype} {x.shape}; uint8 (n, height, width, 1 or 3) from 28x28 up is needed")
        if y.dtype.kind not in "iu" or y.size != len(x) or len(y) != len(x) or len(y) == 0 or y.min() < 0:
            fail(f"{DATA}: y_{part} is {y.dtype} {y.shape}; a class number from 0 up for each image is needed")
        margins = [(max(0, 33 - size) // 2, max(0, 32 - size) // 2) for size in x.shape[1:3]]
        x = np.pad(x.reshape(*x.shape[:3], -1), [(0, 0), *margins, (0, 0)])
        images[part], labels[part] = np.repeat(x, 3 // x.shape[3], axis=3), y.reshape(-1).astype(np.int64)
    classes, counts = np.unique(labels["train"], return_counts=True)
    rare = np.flatnonzero((classes != np.arange(len(classes))) | (counts < 2))
    if len(rare) or labels["test"].max() >= len(classes):
        rare = rare[0] if len(rare) else labels["test"].max()
        fail(f"{DATA}: y_train has fewer than 2 images of class {rare}; every class from 0 up needs 2 at least")
    if images["train"].shape[1:] != images["test"].shape[1:]:
        fail(f"{DATA}: x_train is {x_train.shape} and x_test {x_test.shape}; images of one size are needed")

    hold_out = min(HOLD_OUT, len(labels["train"]) // 5)
    if hold_out < len(classes):
        fail(f"HOLD_OUT = {hold_out} of {len(y_train)} training images is too few for {len(classes)} classes")
    train, validation = train_test_split(
        np.arange(len(labels["train"])), test_size=hold_out, stratify=labels["train"], random_state=0
    )
    train = train[: LIMIT or None]
    return {
        "train": (images["train"][train], labels["train"][train]),
        "validation": (images["train"][validation], labels["train"][validation]),
        "test": (images["test"], labels["test"]),
    }


# Copied from 4.ResNet/resnet.py
def split_hash(data):
    """Return 16 hex digits that identify the data and their split, by the validation and test images and labels."""
    digest = hashlib.sha256()
    for array in (*data["validation"], *data["test"]):
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:16]


# Copied from 4.ResNet/resnet.py
def colour_moments(x):
    """Return mean and variance of each colour of the uint8 images x, exactly: two lists of 3 floats."""
    counts = np.stack([np.bincount(x[..., colour].reshape(-1), minlength=256) for colour in range(3)])
    mean, square = (counts @ np.arange(256) ** power / counts[0].sum() for power in (1, 2))
    return mean.tolist(), (square - mean**2).tolist()


# Augmentation
# Copied from 4.ResNet/resnet.py
def augment(images, labels, seed, colour):
    """Return images and labels changed as AUGMENT says, drawn anew for every image; the same seed, the same draws.

    images uint8 (n, height, width, 3), labels float32 (n, classes), seed int32 (2,), colour uint8 (3,) for holes.
    Cutout: arXiv 1708.04552, squares of half the height. Mixup: 1710.09412, cutmix: 1905.04899, alpha 1; with both
    named, each image gets the one or the other.
    """
    count, height, width, channels = images.shape
    seeds = iter(tf.unstack(tf.random.split(seed, 10)))

    def draw(low, high, dtype=tf.int32):
        return tf.random.stateless_uniform((count, 1, 1), next(seeds), low, high, dtype)

    y, x = tf.range(height)[tf.newaxis, :, tf.newaxis], tf.range(width)[tf.newaxis, tf.newaxis, :]
    if {"flip", "shift", "rotate"} & set(AUGMENT):
        rows, columns = y, x  # where each pixel is taken from
        if "rotate" in AUGMENT:
            angle = draw(-np.pi / 12, np.pi / 12, tf.float32)
            down, right = tf.cast(y, tf.float32) - (height - 1) / 2, tf.cast(x, tf.float32) - (width - 1) / 2
            rows = tf.cos(angle) * down + tf.sin(angle) * right + (height - 1) / 2
            columns = tf.cos(angle) * right - tf.sin(angle) * down + (width - 1) / 2
            rows, columns = (tf.cast(tf.round(place), tf.int32) for place in (rows, columns))
        if "shift" in AUGMENT:
            rows, columns = rows + draw(-4, 5), columns + draw(-4, 5)
        if "flip" in AUGMENT:
            columns = tf.where(draw(0, 2) == 1, width - 1 - columns, columns)
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        rows = height - 1 - tf.abs(height - 1 - tf.abs(rows))  # reflected at the borders
        columns = width - 1 - tf.abs(width - 1 - tf.abs(columns))
        places = (tf.range(count)[:, tf.newaxis, tf.newaxis] * height + rows) * width + columns
        images = tf.gather(tf.reshape(images, (-1, channels)), places)
        if FILL == "constant":
            images = tf.where(inside[..., tf.newaxis], images, colour)

    if "cutout" in AUGMENT:
        side = height // 2
        top, left = draw(0, height) - side // 2, draw(0, width) - side // 2
        hole = (y >= top) & (y < top + side) & (x >= left) & (x < left + side)
        images = tf.where(hole[..., tf.newaxis], colour, images)

    if {"mixup", "cutmix"} & set(AUGMENT):  # each image with the next one of the shuffled batch
        share = draw(0.0, 1.0, tf.float32) + tf.zeros((1, height, width))
        side = tf.sqrt(1 - share)
        down, right = (tf.cast(tf.abs(place - draw(0, size)), tf.float32) for place, size in ((y, height), (x, width)))
        kept = tf.cast((down >= side * height / 2) | (right >= side * width / 2), tf.float32)
        mixup = draw(0, 2) == 1 if {"mixup", "cutmix"} <= set(AUGMENT) else "mixup" in AUGMENT
        own = tf.where(mixup, share, kept)[..., tf.newaxis]
        pixels = tf.cast(images, tf.float32)
        images = tf.cast(tf.round(own * pixels + (1 - own) * tf.roll(pixels, 1, axis=0)), tf.uint8)
        own = tf.reduce_mean(own, axis=(1, 2))
        labels = own * labels + (1 - own) * tf.roll(labels, 1, axis=0)
    return images, labels


# Copied from 4.ResNet/resnet.py
def training_batches(x, y, classes, colour, first_epoch):
    """Return a dataset of augmented batches, len(x) // BATCH_SIZE for each epoch from first_epoch on, without end.

    Their order and draws depend on SEED, epoch and step alone, so a resumed run sees what an unbroken one sees.
    """
    steps = len(x) // BATCH_SIZE
    with tf.device("CPU"):
        images, labels = tf.constant(x), tf.one_hot(y, classes)

    def one_epoch(epoch):
        order = tf.random.experimental.stateless_shuffle(tf.range(len(x)), seed=(SEED, epoch))
        order = tf.reshape(order[: steps * BATCH_SIZE], (steps, BATCH_SIZE))
        return tf.data.Dataset.from_tensor_slices((tf.cast(epoch, tf.int32) * steps + tf.range(steps), order))

    def one_batch(step, chosen):
        return augment(tf.gather(images, chosen), tf.gather(labels, chosen), (SEED, step), colour)

    batches = tf.data.Dataset.counter(first_epoch).flat_map(one_epoch)
    return batches.map(one_batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


# Learning rate
# Copied from 4.ResNet/resnet.py
def learning_rates(steps):
    """Return the learning rate of each step of the run, float32 (EPOCHS * steps,), for `steps` in an epoch.

    Over the run after its warm-up, t goes from 0 to 1. step: LEARNING_RATE * DROP ** (milestones passed); cosine:
    arXiv 1608.03983; tanh: hyperbolic-tangent decay, arXiv 1806.01593; plateau: see plateau_rate.
    """
    warmup = min(WARMUP, EPOCHS) * steps if SCHEDULE != "plateau" else 0
    t = np.arange(EPOCHS * steps - warmup) / max(1, EPOCHS * steps - warmup)
    factors = {
        "step": DROP ** np.searchsorted(np.sort(MILESTONES), t, side="right"),
        "cosine": (1 + np.cos(np.pi * t)) / 2,
        "tanh": (1 - np.tanh(TANH_FROM + (TANH_TO - TANH_FROM) * t)) / 2,
        "plateau": np.ones_like(t),
    }
    rising = np.arange(1, warmup + 1) / max(1, WARMUP * steps)
    return (LEARNING_RATE * np.concatenate([rising, factors[SCHEDULE]])).astype(np.float32)


# Copied from 4.ResNet/resnet.py
def plateau_rate(losses):
    """Return the learning rate after these validation losses: it drops when PATIENCE epochs bring no new lowest."""
    rate, lowest, waited = LEARNING_RATE, np.inf, 0
    for loss in losses:
        lowest, waited = (loss, 0) if loss < lowest else (lowest, waited + 1)
        if waited == PATIENCE:
            rate, waited = rate * DROP, 0
    return rate


# Copied from 4.ResNet/resnet.py
class EveryStep(keras.optimizers.schedules.LearningRateSchedule):
    """Gives each step its own of `rates`, float32 (steps,)."""

    def __init__(self, rates):
        self.rates = rates

    def __call__(self, step):
        return tf.gather(self.rates, tf.minimum(tf.cast(step, tf.int32), len(self.rates) - 1))


# Network
# Copied from 4.ResNet/resnet.py
def quick_normalisation():
    """Let training on a CPU take TensorFlow's own kernel for batch normalisation: Keras takes a dozen smaller ones.

    The layers stay ordinary ones, whose saved files need nothing from here.
    """
    general = layers.BatchNormalization.call

    def call(layer, inputs, training=None, mask=None):
        images = len(inputs.shape) == 4 and not layer.synchronized and layer.compute_dtype != "float16"
        if not (training and layer.trainable and images) or tf.config.list_physical_devices("GPU"):
            return general(layer, inputs, training, mask)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=layer.gamma, offset=layer.beta, mean=[], variance=[], epsilon=layer.epsilon
        )
        count = tf.cast(tf.size(inputs) / inputs.shape[-1], tf.float32)
        variance *= (count - 1) / count  # the kernel's is the unbiased estimate
        for average, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            average.assign(average * layer.momentum + now * (1 - layer.momentum))
        return outputs

    layers.BatchNormalization.call = call


def start_from_imagenet(model):
    """Give the model's convolutions the weights of Keras' VGG-16 or VGG-19, trained on ImageNet."""
    networks = {16: keras.applications.VGG16, 19: keras.applications.VGG19}
    if DEPTH not in networks:
        fail(f'WEIGHTS = "imagenet" needs DEPTH 16 or 19, not {DEPTH}')
    try:
        trained = networks[DEPTH](weights="imagenet", include_top=False)
    except Exception:  # what Keras raises
        fail("Keras cannot download its ImageNet weights; give --weights random, or put them into ~/.keras/models")
    ours, theirs = ([layer for layer in each.layers if isinstance(layer, layers.Conv2D)] for each in (model, trained))
    for number, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        kernel, bias = their.get_weights()
        our.set_weights([kernel[:, :, ::-1] if number == 0 else kernel, bias])  # theirs takes blue, green, red


# Differs from 4.ResNet/resnet.py: another network
def build_model(shape, classes, mean, variance):
    """Return the network for images of `shape` (height, width, 3); mean and variance are those of their colours.

    Five stages of 3x3 convolutions, with 64, 128, 256, 512 and 512 filters, each closed by 2x2 max pooling; then two
    dense layers of 4096 units. With WEIGHTS = "imagenet" the network takes the mean of ImageNet's colours instead.
    Depth 8 pools sooner, which saves time, and has no other dense layer than the last, and no dropout.
    """
    quick_normalisation()
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    weights = {"kernel_initializer": "he_normal", "kernel_regularizer": keras.regularizers.L2(WEIGHT_DECAY / 2)}

    def normalised_relu(x):
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=replicas > 1)(x)
        return layers.ReLU()(x)

    def quick_stages(x):
        """Seven convolutions, pooled before batch normalisation, which then has a quarter of the work."""
        plan = (32, "same"), (64, "pool"), (64, "same"), (256, "pool"), (256, "same"), (256, "pool"), (256, "same")
        for filters, size in plan:
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, **weights)(x)
            x = normalised_relu(layers.MaxPooling2D(2)(x) if size == "pool" else x)
        return layers.GlobalAveragePooling2D()(x)

    def stages(x):
        convolutions = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
        for filters, count in zip((64, 128, 256, 512, 512), convolutions[DEPTH], strict=True):
            for _ in range(count):
                x = normalised_relu(layers.Conv2D(filters, 3, padding="same", **weights)(x))
            x = layers.MaxPooling2D(2)(x)
        x = layers.Flatten()(x)
        for _ in range(2):
            x = normalised_relu(layers.Dense(4096, **weights)(x))
            x = layers.Dropout(DROPOUT)(x)
        return x

    inputs = keras.Input(shape)
    if WEIGHTS == "imagenet":
        mean, variance = [123.68, 116.779, 103.939], [1.0] * 3  # what those weights were trained with
    x = layers.Normalization(mean=mean, variance=variance, dtype="float32")(inputs)
    x = quick_stages(x) if DEPTH == 8 else stages(x)
    outputs = layers.Dense(classes, activation="softmax", dtype="float32", **weights)(x)
    model = keras.Model(inputs, outputs)
    if WEIGHTS == "imagenet":
        start_from_imagenet(model)
    return model


# Training
# Copied from 4.ResNet/resnet.py
@contextmanager
def written_whole(path):
    """Give a path beside `path` to write to, which takes its place when it is complete and on the disk."""
    beside = path.with_name(f"unfinished-{path.name}")
    yield beside
    with beside.open("rb+") as file:
        os.fsync(file.fileno())
    beside.replace(path)


# Copied from 4.ResNet/resnet.py
@contextmanager
def locked(folder):
    """Keep other processes from training in a folder, or fail if one does; where locks are unknown, do nothing."""
    lock = None
    try:
        import fcntl  # not on Windows

        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fail(f"{folder} is in training by another process; wait until it is over, or give another --run NAME")
    except (ImportError, OSError):
        pass
    try:
        yield
    finally:
        if lock is not None:
            os.close(lock)


# Copied from 4.ResNet/resnet.py
class Checkpoint(keras.callbacks.Callback):
    """After every epoch writes history.csv and backup.npz, which holds all that a resume needs, to `folder`.

    variables: those of model and optimizer; settings: what a resume must have in common with the run's first start.
    """

    def __init__(self, folder, settings, variables):
        super().__init__()
        self.folder, self.kept = folder, variables
        self.past = {"settings": settings, "epochs": [], "best_accuracy": -1.0}
        self.best_weights = []
        if (folder / "backup.npz").exists():
            try:
                self.resume(settings, variables)
            except (KeyError, ValueError, EOFError, BadZipFile):
                fail(f"{folder}/backup.npz is damaged or of another network; remove it, and the run starts anew")

    def resume(self, settings, variables):
        with np.load(self.folder / "backup.npz") as backup:
            arrays = dict(backup)
        self.past = json.loads(str(arrays.pop("past")))
        was = self.past["settings"]
        changed = [name for name in was | settings if was.get(name) != settings.get(name)]
        changes = [f"{name} was {was.get(name)}, is {settings.get(name)}" for name in changed]
        if changes:
            fail(f"{self.folder} is unfinished, but {'; '.join(changes)}. Undo that, or give it another --run NAME")
        for number, variable in enumerate(variables):
            variable.assign(arrays.pop(f"variable {number}"))
        self.best_weights = [arrays[f"best weight {number}"] for number in range(len(arrays))]

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()

    def on_test_begin(self, logs=None):
        self.trained = time.perf_counter()

    def on_test_end(self, logs=None):  # the weights are now those of EMA, if it is on
        if SELECT == "best" and logs["accuracy"] > self.past["best_accuracy"]:
            self.past["best_accuracy"], self.best_weights = float(logs["accuracy"]), self.model.get_weights()

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):
            fail(f"the loss is {logs['loss']} in epoch {epoch + 1}; give a lower LEARNING_RATE or a WARMUP")
        row = {"epoch": epoch + 1} | {name: float(value) for name, value in logs.items()}
        row["learning_rate"] = float(self.model.optimizer.learning_rate)
        row["images_per_second"] = self.params["steps"] * BATCH_SIZE / (self.trained - self.began)
        row["seconds"] = time.perf_counter() - self.began
        self.past["epochs"].append(row)
        if SCHEDULE == "plateau":
            self.model.optimizer.learning_rate = plateau_rate([row["val_loss"] for row in self.past["epochs"]])
        arrays = {f"variable {number}": variable.numpy() for number, variable in enumerate(self.kept)}
        arrays |= {f"best weight {number}": array for number, array in enumerate(self.best_weights)}
        with written_whole(self.folder / "history.csv") as path:
            pd.DataFrame(self.past["epochs"]).to_csv(path, index=False)
        with written_whole(self.folder / "backup.npz") as path:  # last: without it the epoch is repeated
            np.savez(path, past=json.dumps(self.past), **arrays)


# Copied from 4.ResNet/resnet.py
def with_test_flip(model):
    """Return a model that averages what `model` gives for an image and for its mirror image."""
    inputs = keras.Input(model.input_shape[1:])
    mirror = layers.EinsumDense("bhwc,wv->bhvc", inputs.shape[1:], trainable=False)  # an exchange of columns
    mirrored = mirror(inputs)
    mirror.set_weights([np.eye(inputs.shape[2])[::-1]])
    return keras.Model(inputs, layers.Average()([model(inputs), model(mirrored)]))


# Copied from 4.ResNet/resnet.py
def precision():
    """Return the dtype policy: PRECISION, or with auto the one that the first GPU, or else the CPU, is fast in."""
    if PRECISION != "auto":
        return PRECISION
    if gpus := tf.config.list_physical_devices("GPU"):
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16" if capability >= (7, 0) else "float32"
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    return "mixed_bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"


# Copied from 4.ResNet/resnet.py
def train(settings, folder):
    """Train with the settings above, from the last finished epoch if there is one; leave the result in `folder`."""
    data = load_data()
    (x, y), (x_validation, y_validation) = data["train"], data["validation"]
    classes = 1 + max(int(labels.max()) for _, labels in data.values())
    if len(x) < BATCH_SIZE:
        fail(f"BATCH_SIZE = {BATCH_SIZE} is more than the {len(x)} training images")
    steps = len(x) // BATCH_SIZE
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        if (folder / "run.json").exists():
            fail(f"{folder} is finished and stays as it is; for another run give --run NAME or other settings")
        mean, variance = colour_moments(x)
        keras.config.set_dtype_policy(precision())
        keras.utils.set_random_seed(SEED)
        record = describe_run(settings)
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        several = tf.distribute.MirroredStrategy([device.name for device in devices]) if len(devices) > 1 else None
        with (several or tf.distribute.get_strategy()).scope():
            model = build_model(x.shape[1:], classes, mean, variance)
            losses = {
                "crossentropy": keras.losses.CategoricalCrossentropy(label_smoothing=LABEL_SMOOTHING),
                "focal": keras.losses.CategoricalFocalCrossentropy(label_smoothing=LABEL_SMOOTHING),
            }
            rate = LEARNING_RATE if SCHEDULE == "plateau" else EveryStep(learning_rates(steps))
            ema = {"use_ema": True, "ema_momentum": EMA} if EMA else {}
            model.compile(
                optimizer=keras.optimizers.SGD(rate, MOMENTUM, nesterov=True, **ema),
                loss=losses[LOSS],
                metrics=["accuracy"],
                jit_compile=devices[0].device_type == "GPU" and not several,  # slower on a CPU
            )
            model.optimizer.build(model.trainable_variables)
            common = {**settings, "data and split": split_hash(data), "precision": record["precision"]}
            common = json.loads(json.dumps(common))
            checkpoint = Checkpoint(folder, common, [*model.variables, *model.optimizer.variables])

        epochs = checkpoint.past["epochs"]
        print(f"{folder}: {model.count_params():,} parameters, {len(x)} training images, from epoch {len(epochs) + 1}")
        model.fit(
            training_batches(x, y, classes, np.uint8(np.round(mean)), len(epochs)),
            epochs=EPOCHS,
            initial_epoch=len(epochs),
            steps_per_epoch=steps,
            shuffle=False,  # training_batches does
            validation_data=(x_validation, keras.utils.to_categorical(y_validation, classes)),
            validation_batch_size=BATCH_SIZE,
            callbacks=[
                keras.callbacks.TerminateOnNaN(),
                checkpoint,
                *([keras.callbacks.SwapEMAWeights()] if EMA else []),
                keras.callbacks.TensorBoard(folder / "tensorboard", write_graph=False),
            ],
            verbose=1 if sys.stdout.isatty() else 2,
        )
        keras.config.set_dtype_policy("float32")  # whatever trained it, any device can use the result
        result = build_model(x.shape[1:], classes, mean, variance)  # of no strategy
        result.set_weights(checkpoint.best_weights or model.get_weights())
        record["parameters"] = result.count_params()
        result = with_test_flip(result) if TEST_FLIP == "yes" else result
        with written_whole(folder / "model.h5") as path:
            result.save(path, include_optimizer=False)
        draw_curves(pd.DataFrame(epochs), folder / "curves.png")
        write_results(folder, data, epochs, record)
        (folder / "backup.npz").unlink()


# Copied from 4.ResNet/resnet.py
def draw_curves(history, path):
    """Draw loss, accuracy and learning rate by epoch, from a table like history.csv, to the PNG file `path`."""
    figure = Figure(figsize=(8, 9), layout="constrained")
    figure.suptitle(path.parent.name)
    for axes, name in zip(figure.subplots(3, sharex=True), ("loss", "accuracy", "learning_rate"), strict=True):
        axes.plot(history["epoch"], history[name], ".-", label="training")
        if f"val_{name}" in history:
            axes.plot(history["epoch"], history[f"val_{name}"], ".-", label="validation")
            axes.legend()
        axes.set_ylabel(name.replace("_", " "))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    axes.set_xlabel("epoch")
    with written_whole(path) as beside:
        figure.savefig(beside, dpi=100)


# Copied from 4.ResNet/resnet.py
def describe_run(settings):
    """Return what run.json says of the script, the command, the device and the versions."""
    script = Path(__file__).resolve()
    try:
        git = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=script.parent, capture_output=True, text=True, check=True
        )
        commit = git.stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # there is no git, or no repository
        commit = None
    gpus = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    cpu = (re.findall(r"model name\s*: (.+)", cpu) or [platform.machine()])[0]
    return {
        "script": f"{script.parent.name}/{script.name}",
        "script_sha256": hashlib.sha256(script.read_bytes()).hexdigest(),
        "git_commit": commit,
        "command": shlex.join(["python", *sys.argv]),
        "settings": settings,
        "precision": keras.config.dtype_policy().name,
        "device": ", ".join(gpu.get("device_name", "GPU") for gpu in gpus) or f"{cpu}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version()} | {it.__name__: it.__version__ for it in (tf, keras, np)},
    }


# Copied from 4.ResNet/resnet.py
def write_results(folder, data, epochs, record):
    """Score the saved model, print that, and write predictions.npz and, last of all, run.json."""
    model = keras.models.load_model(folder / "model.h5", compile=False)
    record |= {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "model": hashlib.sha256((folder / "model.h5").read_bytes()).hexdigest(),
        "classes": model.output_shape[1],
        "images": {part: len(y) for part, (_, y) in data.items()},
        "split": split_hash(data),
        "seconds": sum(row["seconds"] for row in epochs),
        "images_per_second": float(np.median([row["images_per_second"] for row in epochs])),
    }
    predictions = {"model": record["model"], "split": record["split"], "data": DATA}
    for part, (x, y) in data.items():
        probabilities = model.predict(x, BATCH_SIZE, verbose=0)
        losses = -np.log(np.maximum(probabilities[np.arange(len(y)), y], 1e-7))
        record[part] = {"accuracy": float(np.mean(probabilities.argmax(1) == y)), "loss": float(np.mean(losses))}
        print(f"{part:10}  accuracy {record[part]['accuracy']:.2%}  loss {record[part]['loss']:.4f}")
        if part != "train":
            predictions |= {f"{part}_probabilities": probabilities, f"{part}_labels": y}
    with written_whole(folder / "predictions.npz") as path:
        np.savez(path, **predictions)
    with written_whole(folder / "run.json") as path:
        path.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


# Command line
# Copied from 4.ResNet/resnet.py
def check_setting(name, value, comment):
    """Return a setting's value, converted if it came as text, or fail, by the words of its comment.

    "one of a, b": a word; "any of a, b": several (as text: a,b or none); "at least N": a whole number; "below N":
    a number from 0; "each below N": several; "from N to N": a number; without any of these: a text.
    """
    patterns = r"(?:one|any) of ([\w, ]+)", r"at least (\d+)", r"below (\d+)", r"from (-?\d+) to (\d+)"
    words, least, limit, ends = (re.search(pattern, comment) for pattern in patterns)
    several = re.search(r"any of|each below", comment)
    items = [value] if not several else [] if value == "none" else value.split(",") if value == str(value) else value
    whole = least or (words and re.fullmatch(r"[\d, ]+", words[1]))
    kind = int if whole else float if limit or ends else str

    def fits(item):
        if words:
            return str(item) in words[1].split(", ")
        if ends:
            return float(ends[1]) <= item <= float(ends[2])
        return int(least[1]) <= item < 1e9 if least else 0 <= item < float(limit[1]) if limit else True

    try:
        items = [kind(str(item)) for item in items]
        valid = all(fits(item) for item in items)
    except (TypeError, ValueError):
        valid = False
    if not valid:
        fail(f"{name} = {value!r} is not allowed; {'a whole number: ' if whole else ''}{comment}")
    return tuple(items) if several else items[0]


# Copied from 4.ResNet/resnet.py
def read_settings(arguments):
    """Override the settings above by `--name value`; return them all by name, and the folder for the run."""
    section = Path(__file__).read_text(encoding="utf-8").split("\n# Settings\n")[1].split("\n\n\n")[0]
    comments = dict(re.findall(r"^([A-Z_]+) = .*?  # (.+)$", section, re.MULTILINE))
    options = {"--" + name.lower().replace("_", "-"): name for name in comments}
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form, allow_abbrev=False)
    parser.error = fail
    for option, name in options.items():
        text = f"{comments[name]} (now {globals()[name]!r})".replace("%", "%%")
        parser.add_argument(option, dest=name, metavar="", help=text)
    given, unknown = parser.parse_known_args(arguments)
    if unknown:
        fail(f"there is no setting {unknown[0]}; there are {' '.join(options)}")
    given = {name: text for name, text in vars(given).items() if text is not None}
    settings = {name: check_setting(name, given.get(name, globals()[name]), comments[name]) for name in comments}
    globals().update(settings)
    if not re.fullmatch(r"(?!\.)[\w.+-]*", RUN):
        fail(f"RUN = {RUN!r} is not a plain name for a folder in runs/")
    parts = [f"{name}-{text}" for name, text in given.items() if name not in ("DATA", "RUN")]
    name = "-".join([Path(__file__).stem, Path(DATA).stem, *parts]).lower()
    return settings, Path("runs") / (RUN or re.sub(r"[^a-z0-9.-]", "_", name))


if __name__ == "__main__":
    try:
        train(*read_settings(sys.argv[1:]))
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from the last finished epoch.", file=sys.stderr)
        sys.exit(130)
    except OSError as error:
        fail(f"{error}; when that is mended, the same command goes on from the last finished epoch")
