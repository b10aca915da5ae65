"""Transfer learning: fine-tune a network that was trained on something else, such as ImageNet, on your own images.

Yosinski, Clune, Bengio and Lipson: How transferable are features in deep neural networks? (arXiv 1411.1792).

    python transfer.py --data photos                                # photos/CLASS/*.jpg, by VGG16 of ImageNet
    python transfer.py --data photos --base ResNet50 --image-size 224
    python transfer.py --data digits --base runs/resnet/model.h5    # by a model of your own

In two phases: a new head learns to read the base, which stays as it is; then the base's last layers learn too, at a
low rate. Every setting below is an option (--help). Leaves model.h5 (takes raw 0-255 pixels, gives probabilities),
its record, history and curves in runs/NAME/; the same command again resumes an interrupted run.
"""

import argparse
import atexit
import hashlib
import io
import json
import logging
import os
import re
import shlex
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path

BACKEND = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
if __name__ == "__main__" and (BACKEND not in ("tensorflow", "jax", "torch") or not find_spec(BACKEND)):
    print(f"KERAS_BACKEND = {BACKEND!r}: give one of tensorflow, jax, torch that is installed", file=sys.stderr)
    sys.exit(2)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # else only newer CPUs get its quicker convolutions
while (null := os.open(os.devnull, os.O_RDWR)) < 3:  # in the place of stdin, stdout and stderr, if they are closed
    pass
stderr = os.dup(2)
os.dup2(null, 2)  # for TensorFlow's start-up notes, which that level does not stop
try:
    import keras

    keras.utils.set_random_seed(0)  # on other backends too this imports TensorFlow, if it is there: better now
except KeyboardInterrupt:
    sys.exit(130)
finally:
    os.dup2(stderr, 2)

import numpy as np
import pandas as pd
from keras import layers
from matplotlib.figure import Figure
from PIL import Image, ImageEnhance, ImageOps
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

# Settings
# Differs from 4.ResNet/resnet.py
DATA = "cifar10"  # cifar10, cifar100, mnist, fashion_mnist, digits, a .npz file, or a folder with images in CLASS/
HOLD_OUT = 5000  # training images kept for validation, at most a fifth of them
LIMIT = 0  # train on this many images only, for a quick try; 0 is all

# Differs from 8.SENet/senet.py
BASE = "VGG16"  # a network of Keras Applications, or the path of a .h5 or .keras classifier of raw 0-255 pixels
# Differs from 3.VGG/vgg.py
WEIGHTS = "imagenet"  # of Keras Applications' network: imagenet, which Keras downloads, none, or the path of a file
LAYER = ""  # the base's layer whose output the head reads; if empty, the last one before the classes
IMAGE_SIZE = 96  # height and width in which that network sees the images, and in which a folder's files are read

HEAD = 0  # units of a dense layer in the head, before that of the classes; 0 is none
# Differs from 2.NIN/nin.py
DROPOUT = 0.5  # part of the activations of the HEAD units dropped in training
HEAD_EPOCHS = 5  # of the first phase, in which the base is frozen
HEAD_LEARNING_RATE = 0.01  # the highest learning rate of the first phase
HEAD_AUGMENT = "no"  # augment in the first phase too; if not, features are computed only once; one of no, yes
UNFREEZE = 0.25  # share of the base's layers with weights, from its end, that the second phase trains; 0: no such phase

# Differs from 4.ResNet/resnet.py
EPOCHS = 10  # of the second phase
BATCH_SIZE = 64  # images in one step, over all devices together
# Differs from 4.ResNet/resnet.py
SCHEDULE = "cosine"  # how the learning rate falls in each phase, one of step, cosine, tanh, plateau
# Differs from 4.ResNet/resnet.py
LEARNING_RATE = 0.001  # the highest learning rate of the second phase
# Differs from 4.ResNet/resnet.py
WARMUP = 0  # epochs of EPOCHS over which the rate first rises linearly; the first phase has the same share of it
# Differs from 4.ResNet/resnet.py
MILESTONES = (0.5, 0.75)  # step: parts of a phase, warm-up apart, after which the rate drops
DROP = 0.1  # step and plateau: what the rate is multiplied by
PATIENCE = 10  # plateau: epochs without a new lowest cross-entropy on validation before the rate drops
TANH_FROM = -6.0  # tanh: its paper's L, from -20 to 0; the lower, the longer the rate stays near its highest value
TANH_TO = 3.0  # tanh: its paper's U, from 0 to 20; the higher, the lower the rate at the end
MOMENTUM = 0.9  # Nesterov's
# Differs from 4.ResNet/resnet.py
WEIGHT_DECAY = 1e-4  # the loss gains half of this times the sum of the head's squared kernels, and a file's own
LOSS = "crossentropy"  # focal: arXiv 1708.02002 with gamma 2, alpha 0.25; one of crossentropy, focal
LABEL_SMOOTHING = 0.0  # part of each label that is spread evenly over the classes
AUGMENT = "flip", "shift"  # any of flip, shift, rotate, zoom, shear, cutout, erase, mixup, cutmix, trivial, autoaugment
FILL = "constant"  # what shift and rotate fill in: the mean colour or a reflection, one of constant, reflect
TEST_FLIP = "no"  # the result averages an image's prediction and its mirror image's, one of no, yes

PRECISION = "auto"  # auto: what the GPU or CPU is fast in; one of auto, float32, mixed_float16, mixed_bfloat16
SELECT = "last"  # the epoch whose weights are kept, best meaning on validation; one of last, best
SEED = 0  # of the weights, the order of the images and the augmentation
RUN = ""  # name of the run's folder in runs/; if empty, made from the settings on the command line


# Network
def build_model(shape, classes):
    """Return the network for images of `shape` (height, width, 3): preprocessing, the base, and a new head.

    The base is a single layer, called "base": images of raw pixels, brought to the size and the colours that it was
    trained with, become a vector of features. Its batch normalisation is always frozen and so keeps its averages; the
    head's own makes one learning rate fit the features of every base.
    """
    base, kernel, bias = load_base()
    weights = {"kernel_initializer": "he_normal", "kernel_regularizer": keras.regularizers.L2(WEIGHT_DECAY / 2)}
    inputs = x = keras.Input(shape)
    if shape != base.input_shape[1:]:
        x = layers.Resizing(*base.input_shape[1:3], dtype="float32")(x)
    x = layers.Conv2D(3, 1, trainable=False, dtype="float32", name="preprocessing")(x)
    x = base(x)
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="normalised_features")(x)
    if HEAD:
        x = layers.Dense(HEAD, activation="relu", **weights)(x)
        x = layers.Dropout(DROPOUT)(x)
    outputs = layers.Dense(classes, activation="softmax", dtype="float32", **weights)(x)
    model = keras.Model(inputs, outputs, name="fine_tuned")  # else by a count, which is another after a resume
    model.get_layer("preprocessing").set_weights([kernel, bias])
    return model


def load_base():
    """Return the base, which makes features (n, features) of images, and kernel and bias of its preprocessing."""
    from_file = Path(BASE).is_file()
    network, preprocess = (network_from_file(), lambda pixels: pixels) if from_file else network_by_name()
    try:
        if LAYER:
            features = network.get_layer(LAYER).output
        elif from_file:  # what goes into the layer that makes the classes
            features = classes_layer(network).input
        else:
            features = network.outputs[0]
        features = features if len(features.shape) == 2 else layers.GlobalAveragePooling2D()(features)
        base = keras.Model(network.inputs, features, name="base")
    except Exception as error:  # of a graph that is not as expected
        names = ", ".join(layer.name for layer in network.layers[-8:])
        problem = f"BASE = {BASE}, LAYER = {LAYER!r} gives no features ({short(error)})"
        raise InputError(f"{problem}; give as LAYER one of its layers, the last of which are {names}") from None
    return of_layers_only(base), *preprocessing(preprocess)


def network_from_file():
    """Return the classifier in the file BASE, without what TEST_FLIP puts around it."""
    if WEIGHTS != "imagenet":
        raise InputError(f"WEIGHTS = {WEIGHTS} goes with a BASE by name; {BASE} has its own: leave WEIGHTS as it is")
    try:
        network = keras.models.load_model(BASE, compile=False)
        shapes = [tuple(each.shape) for each in network.inputs]
    except Exception as error:  # a file can be broken in many ways
        problem = f"BASE = {BASE} cannot be loaded as a model ({short(error)})"
        raise InputError(f"{problem}; give a classifier that Keras 3 saved, with its layers") from None
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][3] != 3 or None in shapes[0][1:]:
        raise InputError(f"BASE = {BASE} takes inputs of {shapes}; give a classifier of colour images of one size")
    models = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    return models[0] if isinstance(network.layers[-1], layers.Average) and models else network


def classes_layer(network):
    """Return the last layer with weights, which makes the classes: a dense one or, in NIN, a convolution."""
    kinds = layers.Dense | layers.Conv2D | keras.Model
    last = [layer for layer in network.layers if isinstance(layer, kinds)][-1]
    if isinstance(last, keras.Model):
        raise ValueError(f"its classes are made in a model inside it, {last.name}")
    return last


def network_by_name():
    """Return the network BASE of Keras Applications without its classes, with WEIGHTS, and its preprocess_input."""
    named = [name for name in dir(keras.applications) if name[0].isupper()]
    if BASE not in named:
        raise InputError(f"BASE = {BASE} is neither a file nor one of {', '.join(named)}")
    make = getattr(keras.applications, BASE)
    try:
        weights = "imagenet" if WEIGHTS == "imagenet" else None
        if WEIGHTS not in ("imagenet", "none") and not Path(WEIGHTS).is_file():
            raise FileNotFoundError("there is no such file")
        network = make(include_top=False, weights=weights, input_shape=(IMAGE_SIZE, IMAGE_SIZE, 3))
        if WEIGHTS.endswith(".npz"):
            with np.load(WEIGHTS) as arrays:
                network.set_weights([arrays[name] for name in arrays.files])
        elif WEIGHTS not in ("imagenet", "none"):
            network.load_weights(WEIGHTS)
    except Exception as error:  # a download or a file can fail in many ways
        mend = "give IMAGE_SIZE the size that it asks for, or WEIGHTS the path of a file for include_top=False"
        if WEIGHTS == "imagenet" and "fetch" in str(error):
            mend = "without a network, give WEIGHTS the path of a file, or BASE that of a model that is here"
        problem = f"BASE = {BASE} cannot be had with WEIGHTS = {WEIGHTS}, IMAGE_SIZE = {IMAGE_SIZE}"
        raise InputError(f"{problem} ({short(error)}); {mend}") from None
    return network, sys.modules[make.__module__].preprocess_input


def preprocessing(function):
    """Return kernel and bias of the 1x1 convolution that does what a base's `preprocess_input` does to images.

    All that those do is affine in an image's three colours, and so known from black and the three pure colours.
    """
    colours = 255 * np.concatenate([np.zeros((1, 3), np.float32), np.eye(3, dtype=np.float32)])
    black, *pure = np.array(function(colours.reshape(1, 1, 4, 3)))[0, 0]
    return (np.array(pure) - black)[np.newaxis, np.newaxis] / 255, black


def of_layers_only(network):
    """Return the network with ordinary layers in the place of what Keras cannot read back from an .h5 file.

    Those are sums and products in its graph, and the own layers of InceptionResNetV2 and ConvNeXt. The other layers
    are the network's, with their weights.
    """

    def call(layer, *inputs, **options):
        kind = type(layer).__name__
        numbers = [each for each in inputs if isinstance(each, int | float)]
        if kind == "CustomScaleLayer":
            x, residual = inputs[0]
            return layers.Add()([x, layers.Rescaling(layer.scale)(residual)])
        if kind == "LayerScale":
            scale = layers.DepthwiseConv2D(1, use_bias=False)
            scaled = scale(inputs[0])
            scale.set_weights([np.reshape(layer.gamma, (1, 1, -1, 1))])
            return scaled
        if isinstance(layer, layers.Layer) or kind not in ("Add", "Multiply"):
            return layer(*inputs, **options)
        tensors = [each for each in inputs if isinstance(each, keras.KerasTensor)]
        if numbers:
            return layers.Rescaling(*((1.0, *numbers) if kind == "Add" else numbers))(*tensors)
        return (layers.Add() if kind == "Add" else layers.Multiply())(tensors)

    known = all(hasattr(layers, type(each).__name__) and isinstance(each, layers.Layer) for each in network.operations)
    return network if known else keras.models.clone_model(network, None, lambda layer: layer, call)


def refuse_unsavable(model, folder):
    """Raise InputError for a model that does not come back from an .h5 file: now, and not after its training."""
    file = folder / "unfinished-model.h5"
    try:
        model.save(file, include_optimizer=False)
        keras.models.load_model(file, compile=False)
    except OSError:  # of the disk
        raise
    except Exception as error:  # Keras raises many kinds
        raise InputError(f"BASE = {BASE} does not survive an .h5 file ({short(error)}); give another") from None
    finally:
        file.unlink(missing_ok=True)


def unfreeze(base, share):
    """Let the last share of the base's layers with trainable weights learn, rounded up, but no batch normalisation."""
    found = []
    for layer in layers_in(base):
        layer.trainable = True  # else Keras lists its weights as not trainable
        fixed = isinstance(layer, layers.BatchNormalization) or layer.name == "preprocessing"  # in a model made here
        if layer.trainable_weights and not fixed:
            found.append(layer)
    learning = found[len(found) - int(np.ceil(share * len(found))) :]
    for layer in layers_in(base):
        layer.trainable = layer in learning


def layers_in(model):
    """Return the layers of a model, those of the models in it among them."""
    return [inner for layer in model.layers for inner in (layers_in(layer) if hasattr(layer, "layers") else [layer])]


def short(error):
    """Return what an exception says, as one line that is not too long."""
    return " ".join(str(error).split())[:300]


# Image files
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # whatever the name: Pillow has PostScript run as a program


class ImageFiles:
    """Image files in the place of an array, uint8 (n, size, size, 3): read, and sized, when they are asked for.

    They may be more than fit into memory: most_kept of them are kept, the others are read every time. fault: the
    InputError of a file that could not be read; ahead: {file: the future of its image}, those that are being read;
    kept: {file: its image}; hashes: of the files, as they first were.
    """

    pool = ThreadPoolExecutor(os.cpu_count())  # Pillow lets the other threads run while it decodes and resizes

    def __init__(self, files, size):
        self.files, self.size, self.fault = np.array(files, dtype=object), size, None
        self.shape, self.ahead, self.kept = (len(files), size, size, 3), {}, {}
        self.most_kept, self.hashes = 0, None

    def __len__(self):
        return len(self.files)

    def __getitem__(self, chosen):  # an array of numbers, or a slice
        reads = [self.ahead.pop(file, None) or self.pool.submit(self.get, file) for file in self.files[chosen]]
        return np.stack([read.result() for read in reads])

    def read_ahead(self, chosen):
        """Begin to read the images that will be asked for next, in this order; others are no longer waited for."""
        files = self.files[chosen]
        self.ahead = {file: self.ahead.get(file) or self.pool.submit(self.get, file) for file in files}

    def get(self, file):
        """Return the image in a file, as read does; it is read again only if there was no room to keep it."""
        if file in self.kept:
            return self.kept[file]
        image = self.read(file)
        if len(self.kept) < self.most_kept:
            self.kept[file] = image
        return image

    def tobytes(self):
        """Return what identifies the images, in whatever size they are read: the hashes of their files.

        Raise InputError if one has changed since this was first asked: the images that are kept are the old ones.
        """
        hashes = list(self.pool.map(lambda file: hashlib.sha256(Path(file).read_bytes()).digest(), self.files))
        for file, old, new in zip(self.files, self.hashes or hashes, hashes, strict=True):
            if old != new:
                raise InputError(f"{file} has changed since training began; put the old one back, or give --run NAME")
        self.hashes = hashes
        return b"".join(hashes)

    def problem(self, file):
        """Return what is wrong with a file, or None."""
        try:
            self.get(file)
        except InputError as error:
            return str(error)

    def read(self, file):
        """Return the middle square of an image, uint8 (size, size, 3), turned as EXIF says, on white if transparent."""
        try:
            with Image.open(file, formats=FORMATS) as image:
                if image.mode[0] in "IF":  # Pillow would cut these to 8 bits, mostly to plain white
                    raise ValueError("it has more than 8 bits a channel")
                image.draft(None, (self.size, self.size))  # a large JPEG is decoded at a part of its size: quicker
                ImageOps.exif_transpose(image, in_place=True)
                if image.has_transparency_data:
                    image = image.convert("RGBA")
                    image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
                image = image if image.mode == "RGB" else image.convert("RGB")
                image.load()
        except Exception as error:  # Pillow raises many kinds on a broken file
            self.fault = InputError(f"{file} cannot be read as an image ({short(error)})")
            raise self.fault from None
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        box = (left, top, left + side, top + side)
        return np.asarray(image.resize((self.size, self.size), Image.Resampling.BILINEAR, box))


class ReadAhead(keras.utils.PyDataset):
    """Batches of ImageFiles, of which the next is being read while one is augmented and trained on."""

    def __init__(self, batches):
        super().__init__()
        self.batches, self.begin_epoch = batches, batches.begin_epoch

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, step):
        self.batches.x.read_ahead(self.batches.order[step * BATCH_SIZE : (step + 2) * BATCH_SIZE])
        return self.batches[step]


NAMES = ("cifar10", "cifar100", "mnist", "fashion_mnist", "digits")


def is_folder(data):
    """Return whether DATA is a folder, and not a data set by name, which a folder may have too."""
    return data not in ("", *NAMES) and Path(data).is_dir()


def load_folder(folder, hold_out, size):
    """Return what load_data returns, with x as ImageFiles, of the .png, .jpg and .jpeg files in a folder.

    They stand in train/CLASS/ and test/CLASS/, or in CLASS/: then a fifth of each class is for the test.
    """
    parts = [files_by_class(part) for part in parts_of(folder)]
    for part in parts:
        if list(part) != list(parts[0]) or len(part) < 2:
            found = " and ".join(", ".join(part) or "none" for part in parts)
            needed = "two or more, with images in CLASS/, or in train/CLASS/ and test/CLASS/"
            raise InputError(f"DATA = {folder} has the classes {found}; needed are {needed}")
    files = [[file for images in part.values() for file in images] for part in parts]
    labels = [np.repeat(np.arange(len(part)), [len(images) for images in part.values()]) for part in parts]
    least = min(parts[0], key=lambda name: len(parts[0][name]))
    if len(parts[0][least]) < 5:
        raise InputError(f"DATA = {folder} has few images of class {least}; needed are 5 or more of each, to train on")
    if len(parts) == 1:
        train, test = train_test_split(np.arange(len(files[0])), test_size=0.2, stratify=labels[0], random_state=0)
        files = [[files[0][i] for i in part] for part in (train, test)]
        labels = [labels[0][part] for part in (train, test)]
    (files, files_test), (y, y_test) = files, labels
    hold_out = min(hold_out, len(y) // 5)
    if hold_out < len(parts[0]):
        raise InputError(f"HOLD_OUT = {hold_out} of {len(y)} training images is too few for {len(parts[0])} classes")
    train, validation = train_test_split(np.arange(len(y)), test_size=hold_out, stratify=y, random_state=0)
    chosen = {"train": train, "validation": validation}
    data = {part: (ImageFiles([files[i] for i in places], size), y[places]) for part, places in chosen.items()}
    data |= {"test": (ImageFiles(files_test, size), y_test)}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 0  # as on Windows
    for x, _ in data.values():  # an eighth of the memory for all of them together
        x.most_kept = memory // 8 // (size * size * 3) * len(x) // (len(files) + len(files_test))
    return data


def parts_of(folder):
    """Return the folders in which those of the classes stand: train and test in a folder, or the folder itself."""
    train, test = Path(folder, "train"), Path(folder, "test")
    if train.is_dir() and test.is_dir():
        return [train, test]
    if train.is_dir() and any(path.is_dir() for path in train.iterdir()):
        mend = f"make test/CLASS/ too, or put the folders of the classes into {folder} itself"
        raise InputError(f"DATA = {folder} has train/ without test/; {mend}")
    return [Path(folder)]


def files_by_class(folder):
    """Return {class: its image files} of a folder with folders named by class, sorted as strings."""
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name[0] not in "._@":  # those are a system's
            files = sorted(file for file in path.rglob("*") if file.suffix.lower() in (".png", ".jpg", ".jpeg"))
            files = [file for file in files if file.name[0] not in "._"]
            for file in files:
                if not file.is_file():  # a pipe, for one, would be waited for
                    raise InputError(f"{file} is no file; remove it")
            found[path.name] = [str(file) for file in files]
    return {name: files for name, files in found.items() if files}


def refuse_broken(parts):
    """Read all images of several ImageFiles once, and raise InputError with the first files that cannot be read.

    Those that are to be kept are read for good here.
    """
    broken, done, total, shown = [], 0, sum(map(len, parts)), time.monotonic()
    for images in parts:
        images.tobytes()  # from now on a file that changes is noticed
        for problem in images.pool.map(images.problem, images.files):
            broken += [problem] if problem else []
            done += 1
            if time.monotonic() - shown > 5:
                shown = time.monotonic()
                print(f"reading every image file once, to find broken ones: {done:,} of {total:,}", flush=True)
    if broken:
        files = "; ".join(broken[:5])
        raise InputError(f"of {total:,} image files {len(broken):,} cannot be read: {files}; replace or remove them")


# Two phases
def base_features(model, data, settings, folder):
    """Return the features of the training and of the validation images, float32 (n, features).

    They are kept in features.npz until the run is finished, and computed anew if `settings` have changed.
    """
    file, about = folder / "features.npz", json.dumps(settings)
    try:
        with np.load(file) as kept:
            if str(kept["settings"]) == about:
                return kept["train"], kept["validation"]
    except Exception:  # none yet, or broken in any way
        pass
    started = shown = time.monotonic()
    extractor = keras.Model(model.input, model.get_layer("normalised_features").input)
    found = {}
    for part in ("train", "validation"):
        x, chunks = data[part][0], []
        for start in range(0, len(x), 4 * BATCH_SIZE):
            if isinstance(x, ImageFiles):
                x.read_ahead(slice(start, start + 8 * BATCH_SIZE))
            images = x[start : start + 4 * BATCH_SIZE]
            # Some once more, for whole batches, which any number of devices can share
            whole = np.resize(images, (len(images) + -len(images) % BATCH_SIZE, *images.shape[1:]))
            chunks.append(extractor.predict(whole, BATCH_SIZE, verbose=0)[: len(images)].astype(np.float32))
            if time.monotonic() - shown > 5 or start + len(images) == len(x):
                shown = time.monotonic()
                print(f"features of {start + len(images):,} of {len(x):,} {part} images", flush=True)
        found[part] = np.concatenate(chunks)
    with written_whole(file) as path:
        np.savez(path, settings=about, seconds=time.monotonic() - started, **found)
    return found["train"], found["validation"]


def phase_rate(epoch):
    """Return the learning rate after so many epochs of both phases together; each phase has the whole schedule.

    learning_rate goes from 0 to EPOCHS and begins at LEARNING_RATE; the first phase has it compressed, and scaled.
    """
    if epoch < HEAD_EPOCHS:
        return learning_rate(epoch * EPOCHS / HEAD_EPOCHS) * HEAD_LEARNING_RATE / LEARNING_RATE
    return learning_rate(epoch - HEAD_EPOCHS)


def train(settings, folder):
    """Train the head, then the base's end too, from the last finished epoch if any; leave the result in `folder`.

    settings: what run.json is to hold. Raises InputError, or OSError where nothing can be written.
    """
    if processes()[0] > 1:
        mend = "give KERAS_DISTRIBUTION_NUM_PROCESSES=1 if each is a run of its own"
        raise InputError(f"{processes()[0]} processes are to train one run, which only the other scripts can; {mend}")
    if is_folder(DATA):
        data = load_folder(DATA, HOLD_OUT, IMAGE_SIZE)
        refuse_broken([images for images, _ in data.values()])
    elif DATA and DATA not in NAMES and not Path(DATA).suffix and not Path(DATA).exists():
        raise InputError(f"DATA = {DATA!r} is no folder of images, and none of {', '.join(NAMES)}")
    else:
        data = load_data(DATA, HOLD_OUT)
    if LIMIT:
        data = data | {"train": tuple(array[:LIMIT] for array in data["train"])}
    (x, y), (x_validation, y_validation) = data["train"], data["validation"]
    if len(x) < BATCH_SIZE:
        raise InputError(f"BATCH_SIZE = {BATCH_SIZE} is more than the {len(x)} training images")
    if not (HEAD_EPOCHS or UNFREEZE):
        raise InputError("HEAD_EPOCHS = 0 and UNFREEZE = 0.0 leave nothing to train; raise one")
    classes = 1 + max(int(labels.max()) for _, labels in data.values())
    one_hot = np.eye(classes, dtype=np.float32)
    mean, _ = colour_moments(x[:: -(-len(x) // 1000)])  # a thousand images are enough for a colour to fill holes with
    batches = Batches(x, one_hot[y], np.uint8(np.round(mean)))
    if isinstance(x, ImageFiles):
        batches = ReadAhead(batches)
    with begun(folder, settings, data) as (record, scope, devices):
        with scope:
            model = build_model(x.shape[1:], classes)
            refuse_unsavable(model, folder)
            base = model.get_layer("base")
            on_features = HEAD_EPOCHS > 0 and HEAD_AUGMENT == "no"
            # The phases: share of the base that learns, number of epochs before, number of epochs when it is over
            plan = [(0.0, 0, HEAD_EPOCHS)] if HEAD_EPOCHS else []
            plan += [(UNFREEZE, HEAD_EPOCHS, HEAD_EPOCHS + EPOCHS)] if UNFREEZE else []
            phases = []  # for each a model of the same layers, with an optimizer of its own
            for share, first, last in plan:
                unfreeze(base, share)
                inputs = model.get_layer("normalised_features").input if on_features and share == 0 else model.input
                phases.append(keras.Model(inputs, model.output))
                steps = np.arange((last - first) * len(batches)) / len(batches)
                compile_model(phases[-1], [phase_rate(first + step) for step in steps], devices)
            variables = [*model.variables, *(variable for phase in phases for variable in phase.optimizer.variables)]
            used = [file for file in (BASE, WEIGHTS) if Path(file).is_file()]
            hashes = {file: hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in used}
            record["files_sha256"] = hashes
            about = settings | {f"SHA-256 of {file}": hashes[file][:16] for file in used}  # a resume asks for the same
            checkpoint = Checkpoint(folder, about, data, model.weights, variables, batches, phase_rate)
            now = f"from epoch {len(checkpoint.history) + 1}"
            print(f"{folder}: {model.count_params():,} parameters, {len(x)} training images, {now}")
            for phase, (share, first, last) in zip(phases, plan, strict=True):
                if len(checkpoint.history) >= last:
                    continue
                unfreeze(base, share)
                checkpoint.since, checkpoint.batches, x_now = first, batches, x_validation
                if on_features and share == 0:
                    features, x_now = base_features(model, data, checkpoint.settings, folder)
                    checkpoint.batches = Batches(features, one_hot[y], None)
                try:
                    fit(phase, checkpoint.batches, x_now, one_hot[y_validation], devices, last, checkpoint)
                except Exception:
                    if getattr(x, "fault", None):  # TensorFlow has another exception in its place
                        raise x.fault from None
                    raise
        keras.config.set_dtype_policy("float32")  # whatever trained it, any device can use the result
        result = build_model(x.shape[1:], classes)  # not of several devices
        result.set_weights(checkpoint.best_weights or model.get_weights())
        if (folder / "features.npz").exists():
            with np.load(folder / "features.npz") as kept:
                record["feature_seconds"] = float(kept["seconds"])
        write_results(folder, result, data, checkpoint.history, record, marks=[HEAD_EPOCHS] if len(plan) > 1 else [])
        (folder / "features.npz").unlink(missing_ok=True)


# From here on as in 4.ResNet/resnet.py
# Nothing below is needed to understand the network: data, augmentation, learning rate, training and command line
class InputError(Exception):
    """Bad input; its text is the line that the user sees."""


# Data
keras.config.set_image_data_format("channels_last")  # whatever ~/.keras/keras.json says
keras.config.set_floatx("float32")
logging.getLogger("absl").setLevel(logging.ERROR)  # for Keras' note that .h5 is an older format
logging.getLogger("jax").setLevel(logging.ERROR)  # for its warning of what warn_of_idle_gpu says
sys.setrecursionlimit(10_000)  # Keras walks a network recursively, and ResNet-1001 is deep


def load_data(data, hold_out):
    """Return {"train": (x, y), "validation": (x, y), "test": (x, y)}: x uint8 (n, height, width, 3), y int64 (n,).

    data: as DATA. hold_out training images, of each class its share, become validation images, the same in every run.
    """
    try:
        if data == "digits":  # 8x8 pixels from 0 to 16
            x, y = load_digits(return_X_y=True)
            x = np.kron(x.reshape(-1, 8, 8) * 255 / 16, np.ones((1, 4, 4))).round().astype(np.uint8)
            x, x_test, y, y_test = train_test_split(x, y, test_size=360, stratify=y, random_state=0)
        elif data in ("cifar10", "cifar100", "mnist", "fashion_mnist"):
            (x, y), (x_test, y_test) = getattr(keras.datasets, data).load_data()
        else:
            if not Path(data).is_file():  # a pipe, for one, would be waited for
                raise FileNotFoundError("there is no such file")
            with np.load(data) as file:
                size = sum(part.file_size for part in file.zip.infolist())
                memory = np.inf
                if hasattr(os, "sysconf"):  # not on Windows
                    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
                if 2 * size > memory:  # the images, and their copies in another order
                    raise MemoryError(f"unpacked it has {size:,} bytes, too many for this computer's memory")
                x, y, x_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
        classes, counts = np.unique(y, return_counts=True)
    except Exception as error:  # a download or a file can fail in many ways
        named = "cifar10, cifar100, mnist or fashion_mnist, which Keras downloads; digits, which needs no network"
        file = "a .npz file with x_train, y_train, x_test and y_test (tools/images_to_npz.py makes one)"
        raise InputError(
            f"DATA = {data!r} cannot be loaded ({' '.join(str(error).split())[:200]}); give {named}; or {file}"
        ) from None

    labelled = all(
        images.dtype == np.uint8
        and labels.dtype.kind in "iu"
        and labels.shape in (images.shape[:1], (*images.shape[:1], 1))
        for images, labels in ((x, y), (x_test, y_test))
    )
    of_one_size = x.ndim in (3, 4) and x.shape[3:] in ((), (1,), (3,)) and x.shape[1:] == x_test.shape[1:]
    usable = labelled and of_one_size and min(x.shape[1:3]) >= 28 and len(y) > 0 and len(y_test) > 0
    usable = usable and np.array_equal(classes, np.arange(len(classes))) and min(counts) > 1
    if not (usable and np.isin(y_test, classes).all()):
        arrays = {"x_train": x, "y_train": y, "x_test": x_test, "y_test": y_test}
        found = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in arrays.items())
        images = "images uint8 (n, height, width[, 1 or 3]), of one size from 28x28 up"
        raise InputError(f"{data!r} has {found}; needed are {images}, and class numbers from 0 up, each at least twice")
    hold_out = min(hold_out, len(y) // 5)
    if hold_out < len(classes):
        raise InputError(f"HOLD_OUT = {hold_out} of {len(y)} training images is too few for {len(classes)} classes")
    x, x_test = in_colour(x), in_colour(x_test)
    y, y_test = y.reshape(-1).astype(np.int64), y_test.reshape(-1).astype(np.int64)
    train, validation = train_test_split(np.arange(len(y)), test_size=hold_out, stratify=y, random_state=0)
    return {"train": (x[train], y[train]), "validation": (x[validation], y[validation]), "test": (x_test, y_test)}


def in_colour(x):
    """Return images with three channels and, where they are smaller, black borders up to 32x32 pixels."""
    x = x.reshape(*x.shape[:3], -1)
    if min(x.shape[1:3]) < 32:
        borders = [(max(0, 33 - size) // 2, max(0, 32 - size) // 2) for size in x.shape[1:3]]
        x = np.pad(x, [(0, 0), *borders, (0, 0)])
    return x if x.shape[3] == 3 else np.repeat(x, 3, axis=3)


def split_hash(data, parts=("validation", "test")):
    """Return 16 hex digits that identify the images and the labels of these parts."""
    digest = hashlib.sha256()
    for part in parts:
        for array in data[part]:
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def colour_moments(x):
    """Return mean and variance of each colour of the uint8 images x, without a copy in floats: two lists of 3."""
    mean, square = x.mean((0, 1, 2)), np.einsum("nhwc,nhwc->c", x, x, dtype=float) / x[..., 0].size
    return mean.tolist(), (square - mean**2).tolist()


# Augmentation
def augment(x, y, colour, random):
    """Return a batch changed as AUGMENT says, perhaps in place: x uint8 (n, height, width, 3), y float32 (n, classes).

    colour, uint8 (3,), fills holes; random is the NumPy generator to draw from, for every image anew.
    """
    n, height, width, _ = x.shape
    if {"rotate", "zoom", "shear"} & set(AUGMENT):
        x = warped(x, colour, random)
    if "shift" in AUGMENT:  # by up to 4 pixels: a view of all 9x9 windows, since a loop over the images is slower
        windows = np.lib.stride_tricks.sliding_window_view(with_margin(x, 4, colour), x.shape[1:], axis=(1, 2, 3))
        top, left = random.integers(0, 9, (2, n))
        x = windows[np.arange(n), top, left, 0]
    if "flip" in AUGMENT:
        flipped = random.random(n) < 0.5
        x[flipped] = np.take(x[flipped], np.arange(width)[::-1], axis=2)  # quicker than [:, :, ::-1]
    if {"autoaugment", "trivial"} & set(AUGMENT):
        for i in range(n):
            x[i] = by_policy(Image.fromarray(x[i]), colour, random)
    if "erase" in AUGMENT:  # arXiv 1708.04896: half of the images lose a box of 2 to 40% of them to random pixels
        for i in np.flatnonzero(random.random(n) < 0.5):
            top, left, rows, columns = erased_box(height, width, random)
            noise = random.integers(256, size=(rows, columns, 3))
            x[i, top : top + rows, left : left + columns] = noise
    if "cutout" in AUGMENT:  # arXiv 1708.04552, squares of half the height
        for i, (row, column) in enumerate(random.integers(0, (height, width), (n, 2))):
            x[i, around(row, height // 4), around(column, height // 4)] = colour
    if {"mixup", "cutmix"} & set(AUGMENT):  # arXiv 1710.09412, 1905.04899, alpha 1; if both, each image gets one
        others, other_labels = np.roll(x, 1, axis=0), np.roll(y, 1, axis=0)
        centres, shares = random.integers(0, (height, width), (n, 2)), random.random(n)
        by_mixup = random.random(n) < 0.5 if {"mixup", "cutmix"} <= set(AUGMENT) else np.full(n, "mixup" in AUGMENT)
        for i, ((row, column), own) in enumerate(zip(centres, shares, strict=True)):
            if by_mixup[i]:
                x[i] = np.rint(own * x[i] + (1 - own) * others[i])
            else:
                half = np.sqrt(1 - own) / 2
                box = i, around(row, round(half * height)), around(column, round(half * width))
                x[box] = others[box]
                own = 1 - x[box].size / x[i].size
            y[i] = own * y[i] + (1 - own) * other_labels[i]
    return x, y


def warped(x, colour, random):
    """Return images turned, sheared and zoomed as AUGMENT says; a pixel is the one nearest to where it comes from."""
    n, height, width, _ = x.shape

    def draw(name, low, high, otherwise):
        return random.uniform(low, high, (n, 1, 1)) if name in AUGMENT else np.full((n, 1, 1), otherwise)

    angle = draw("rotate", -np.pi / 12, np.pi / 12, 0.0)  # by up to 15 degrees
    factor = draw("zoom", 0.9, 1.1, 1.0)  # by up to a tenth, larger or smaller
    slope = draw("shear", -0.2, 0.2, 0.0)  # rows slide by up to a fifth of their distance from the middle one
    down, right = np.mgrid[:height, :width] - np.reshape([height - 1, width - 1], (2, 1, 1)) / 2  # from the middle
    down, right = factor * down, factor * (right + slope * down)
    rows = np.rint(np.cos(angle) * down + np.sin(angle) * right + (height - 1) / 2).astype(int)
    columns = np.rint(np.cos(angle) * right - np.sin(angle) * down + (width - 1) / 2).astype(int)
    margin = max(1, -rows.min(), -columns.min(), rows.max() - height + 1, columns.max() - width + 1)
    x = with_margin(x, margin, colour)
    return x[np.arange(n)[:, np.newaxis, np.newaxis], rows + margin, columns + margin]


def erased_box(height, width, random):
    """Return top, left, rows and columns of a box for random erasing, of 0.3 to 3.3 times as many rows as columns."""
    while True:
        area, ratio = random.uniform(0.02, 0.4) * height * width, random.uniform(0.3, 1 / 0.3)
        rows, columns = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if rows < height and columns < width:
            return *random.integers(0, (height - rows + 1, width - columns + 1)), rows, columns


def moved(image, matrix, colour):
    """Return a Pillow image whose pixel (x, y) is that of (a x + b y + c, d x + e y + f), for the matrix a, ..., f."""
    return image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=colour)


OPERATIONS = {  # of autoaugment and trivial: on Pillow's images, of strength s from 0 (or -1, those with a sign) to 1
    "rotate": lambda image, s, colour: image.rotate(30 * s, fillcolor=colour),
    "shear_x": lambda image, s, colour: moved(image, (1, 0.3 * s, 0, 0, 1, 0), colour),
    "shear_y": lambda image, s, colour: moved(image, (1, 0, 0, 0.3 * s, 1, 0), colour),
    "translate_x": lambda image, s, colour: moved(image, (1, 0, 10 / 32 * image.width * s, 0, 1, 0), colour),
    "translate_y": lambda image, s, colour: moved(image, (1, 0, 0, 0, 1, 10 / 32 * image.height * s), colour),
    "color": lambda image, s, _: ImageEnhance.Color(image).enhance(0.1 + 1.8 * s),
    "contrast": lambda image, s, _: ImageEnhance.Contrast(image).enhance(0.1 + 1.8 * s),
    "brightness": lambda image, s, _: ImageEnhance.Brightness(image).enhance(0.1 + 1.8 * s),
    "sharpness": lambda image, s, _: ImageEnhance.Sharpness(image).enhance(0.1 + 1.8 * s),
    "posterize": lambda image, s, _: ImageOps.posterize(image, 8 - round(4 * s)),
    "solarize": lambda image, s, _: ImageOps.solarize(image, 256 - 256 * s),
    "autocontrast": lambda image, s, _: ImageOps.autocontrast(image),
    "equalize": lambda image, s, _: ImageOps.equalize(image),
    "identity": lambda image, s, _: image,
    "invert": lambda image, s, _: ImageOps.invert(image),
}
POLICY = """
invert .1 7 contrast .2 6, rotate .7 2 translate_x .3 9, sharpness .8 1 sharpness .9 3, shear_y .5 8 translate_y .7 9,
autocontrast .5 8 equalize .9 2, shear_y .2 7 posterize .3 7, color .4 3 brightness .6 7,
sharpness .3 9 brightness .7 9, equalize .6 5 equalize .5 1, contrast .6 7 sharpness .6 5, color .7 7 translate_x .5 8,
equalize .3 7 autocontrast .4 8, translate_y .4 3 sharpness .2 6, brightness .9 6 color .2 8, solarize .5 2 invert .0 3,
equalize .2 0 autocontrast .6 0, equalize .2 8 equalize .6 4, color .9 9 equalize .6 6, autocontrast .8 4 solarize .2 8,
brightness .1 3 color .7 0, solarize .4 5 autocontrast .9 3, translate_y .9 9 translate_y .7 9,
autocontrast .9 2 solarize .8 3, equalize .8 8 invert .1 3, translate_y .7 9 autocontrast .9 1
""".replace(",", " ").split()  # autoaugment's: 25 pairs of an operation, its probability, and its magnitude from 0 to 9


def by_policy(image, colour, random):
    """Return a Pillow image after a pair of POLICY (arXiv 1805.09501) or any one operation (2103.10158)."""
    steps = []
    if "autoaugment" in AUGMENT:
        pair = 6 * random.integers(25)
        steps += [(POLICY[i], float(POLICY[i + 1]), int(POLICY[i + 2]) / 9) for i in (pair, pair + 3)]
    if "trivial" in AUGMENT:
        steps.append((list(OPERATIONS)[random.integers(14)], 1.0, random.integers(31) / 30))  # all but invert
    for name, probability, strength in steps:
        if random.random() < probability:
            sign = 2 * random.integers(2) - 1 if name.startswith(("rotate", "shear", "translate")) else 1
            image = OPERATIONS[name](image, sign * strength, tuple(colour.tolist()))
    return image


def with_margin(x, margin, colour):
    """Return images with a margin on every side: of that colour or, if FILL says so, a reflection."""
    if FILL == "reflect":
        return np.pad(x, [(0, 0), (margin, margin), (margin, margin), (0, 0)], "reflect")
    n, height, width = x.shape[0], x.shape[1] + 2 * margin, x.shape[2] + 2 * margin
    row = np.tile(colour, width)  # a row at a time is several times as fast as a pixel at a time
    wide = np.full((n, height, 3 * width), row).reshape(n, height, width, 3)
    wide[:, margin:-margin, margin:-margin] = x
    return wide


def around(middle, half):
    """Return the slice of `half` pixels on both sides of the middle, as far as there are any."""
    return slice(max(0, middle - half), middle + half)


class Batches(keras.utils.PyDataset):
    """The training images in augmented batches, whole ones only; order and draws depend on SEED, epoch and step alone.

    Keras asks for len(batches) and batches[step]; whoever trains calls begin_epoch before each epoch. Of several
    processes, each draws the whole batch, and gives its part of it.
    """

    def __init__(self, x, y, colour):  # see augment; without a colour, the batches stay as they are
        super().__init__()
        self.x, self.y, self.colour = x, y, colour
        self.begin_epoch(0)  # Keras looks at a batch or two before the first epoch

    def __len__(self):
        return len(self.x) // BATCH_SIZE

    def begin_epoch(self, epoch):
        self.epoch = epoch
        self.order = np.random.default_rng((SEED, epoch, len(self))).permutation(len(self.x))  # no step has that number

    def __getitem__(self, step):
        chosen = self.order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
        x, y = self.x[chosen], self.y[chosen]
        if self.colour is not None:
            x, y = augment(x, y, self.colour, np.random.default_rng((SEED, self.epoch, step)))
        count, number = processes()
        part = slice(BATCH_SIZE * number // count, BATCH_SIZE * (number + 1) // count)
        return x[part], y[part]


# Learning rate
def learning_rate(epoch):
    """Return the learning rate after so many epochs, such as 3.5; with plateau, until it first drops."""
    if SCHEDULE == "plateau":
        return LEARNING_RATE
    if epoch < WARMUP:
        return LEARNING_RATE * epoch / WARMUP
    t = (epoch - WARMUP) / (EPOCHS - WARMUP)  # from 0 to 1
    if SCHEDULE == "step":
        return LEARNING_RATE * DROP ** np.sum(t >= np.array(MILESTONES))
    if SCHEDULE == "cosine":  # arXiv 1608.03983
        return LEARNING_RATE * (1 + np.cos(np.pi * t)) / 2
    return LEARNING_RATE * (1 - np.tanh(TANH_FROM + (TANH_TO - TANH_FROM) * t)) / 2  # arXiv 1806.01593


def plateau_rate(rate, losses):
    """Return the learning rate after these validation losses: it drops when PATIENCE epochs bring no new lowest."""
    lowest, waited = np.inf, 0
    for loss in losses:
        waited = 0 if loss < lowest else waited + 1
        lowest = min(loss, lowest)
        if waited == PATIENCE:
            rate, waited = rate * DROP, 0
    return rate


class EveryStep(keras.optimizers.schedules.LearningRateSchedule):
    """Looks the rate of each step up in `rates`, float32 (steps,): TensorFlow cannot call learning_rate."""

    def __init__(self, rates):
        self.rates = np.float32(rates)

    def __call__(self, step):
        return keras.ops.take(self.rates, keras.ops.minimum(keras.ops.cast(step, "int32"), len(self.rates) - 1))


# Devices
def processes():
    """Return how many processes train this run together, and the number of this one, as what started them tells.

    Of SLURM the tasks of a step count: its job may have more steps, and an array more jobs, each a run of its own.
    """
    for names in (
        ("KERAS_DISTRIBUTION_NUM_PROCESSES", "KERAS_DISTRIBUTION_PROCESS_ID"),
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),  # of mpirun
        ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ):
        if names[0] in os.environ:
            count = os.environ[names[0]]
            number = os.environ.get(names[1], "0" if count == "1" else "")
            if not (count.isdecimal() and number.isdecimal() and int(number) < int(count)):
                raise InputError(f"{names[1]} = {number!r} is no number below {names[0]} = {count!r}; give both")
            return int(count), int(number)
    return 1, 0


def join_processes(settings, folder, data):
    """Let the processes of this run use each other's devices; refuse those that would not train the same."""
    count, number = processes()
    if BACKEND != "jax":
        mend = "give KERAS_BACKEND=jax, or KERAS_DISTRIBUTION_NUM_PROCESSES=1 if each is a run of its own"
        raise InputError(f"{count} processes are to train one run, which {BACKEND} cannot; {mend}")
    from jax import local_device_count
    from jax.experimental.multihost_utils import process_allgather

    if number > 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the first speaks for all
    try:
        keras.distribution.initialize(None, count, number)  # SLURM, mpirun or Keras' variable gives the address
    except Exception as error:  # of many kinds
        mend = "give them all KERAS_DISTRIBUTION_JOB_ADDRESSES=HOST:PORT, of the first"
        raise InputError(f"{count} processes do not meet ({' '.join(str(error).split())}); {mend}") from None
    own = json.dumps([settings, split_hash(data, data), precision(), local_device_count()]).encode()
    own += (folder / "backup.npz").read_bytes() if (folder / "backup.npz").exists() else b""
    hashes = process_allgather(np.frombuffer(hashlib.sha256(own).digest(), np.uint8))
    if (hashes != hashes[0]).any():
        differ = f"settings, images, precision, number of devices, or {folder}/backup.npz, which all are to share"
        raise InputError(f"{count} processes are to train one run, but differ in {differ}")


def gpus():
    """Return name and compute capability, such as (8, 0), of every GPU that training uses."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
        return [(gpu.get("device_name", "GPU"), gpu.get("compute_capability", (0, 0))) for gpu in details]
    if BACKEND == "jax":
        import jax

        found = [device for device in jax.devices() if device.platform in ("gpu", "cuda", "rocm")]
        return [(gpu.device_kind, tuple(map(int, re.findall(r"\d+", gpu.compute_capability)))) for gpu in found]
    from torch import cuda  # one: Keras cannot spread PyTorch

    return [(cuda.get_device_name(), cuda.get_device_capability())] if cuda.is_available() else []


def precision():
    """Return the dtype policy: PRECISION, or with auto the one that the first GPU, or else the CPU, is fast in."""
    if PRECISION != "auto":
        return PRECISION
    if found := gpus():
        _, capability = found[0]
        return "mixed_bfloat16" if capability >= (8, 0) else "mixed_float16" if capability >= (7, 0) else "float32"
    flags = Path("/proc/cpuinfo").read_text().split() if Path("/proc/cpuinfo").exists() else []
    return "mixed_bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"


def all_devices():
    """Return a context in which training is spread over all GPUs, or else CPUs, that the backend sees; how many."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) > 1:
            return tf.distribute.MirroredStrategy([device.name for device in devices]).scope(), len(devices)
    if BACKEND == "jax":
        devices = keras.distribution.list_devices()
        if len(devices) > 1:
            # Batches has only this process's part already
            return keras.distribution.DataParallel(devices=devices, auto_shard_dataset=False).scope(), len(devices)
    if BACKEND == "torch":
        from torch import cuda

        if cuda.device_count() > 1:
            print(f"PyTorch takes one of {cuda.device_count()} GPUs; TensorFlow and JAX take all", file=sys.stderr)
    return nullcontext(), 1


def warn_of_idle_gpu():
    """Say so on stderr if there is an NVIDIA driver, and the backend sees no GPU, though nobody hid it."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1") or os.environ.get("JAX_PLATFORMS") == "cpu"
    if not hidden and not gpus() and subprocess.run("nvidia-smi", shell=True, capture_output=True).returncode == 0:
        package = {"tensorflow": '"tensorflow[and-cuda]"', "jax": '"jax[cuda13]"', "torch": "torch, built for CUDA"}
        mend = f"this run goes on on the CPU; for the next, pip install {package[BACKEND]}"
        print(f"nvidia-smi finds a GPU, but {BACKEND} does not: {mend}", file=sys.stderr)


def quick_on_cpu():
    """Replace two methods of Keras, so that TensorFlow trains faster on a CPU; nothing else depends on it.

    Batch normalisation in training takes TensorFlow's own kernel: Keras takes a dozen smaller ones. A grouped
    convolution is computed group by group: Keras gives it to XLA, about 100 times slower. And memory that is set
    free is kept for the next step: TensorFlow 2.21 gives it back from the first generator on, which costs a third.
    """
    normalise, convolve = layers.BatchNormalization.call, layers.Conv2D.convolution_op
    if BACKEND != "tensorflow" or gpus() or getattr(normalise, "is_quick", False):  # or it is done
        return
    import ctypes

    import tensorflow as tf

    def call(layer, inputs, training=None, mask=None):
        fits = len(inputs.shape) == 4 and not layer.synchronized and layer.compute_dtype != "float16"
        if not (training and layer.trainable and fits):
            return normalise(layer, inputs, training, mask)
        gamma = layer.gamma if layer.scale else tf.ones(inputs.shape[-1])
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=gamma, offset=layer.beta, mean=[], variance=[], epsilon=layer.epsilon
        )
        count = tf.cast(tf.size(inputs) / inputs.shape[-1], tf.float32)
        variance *= (count - 1) / count  # the kernel's is the unbiased estimate, Keras' average is of the biased one
        for average, now in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            average.assign(average * layer.momentum + now * (1 - layer.momentum))
        return outputs

    def convolution_op(layer, inputs, kernel):
        if layer.groups == 1:
            return convolve(layer, inputs, kernel)
        axis = 3 if layer.data_format == "channels_last" else 1
        pieces = tf.split(inputs, layer.groups, axis), tf.split(kernel, layer.groups, axis=3)
        return tf.concat([convolve(layer, *piece) for piece in zip(*pieces, strict=True)], axis)

    if sys.platform == "linux":
        next(iter(tf.data.Dataset.from_generator(lambda: [0], tf.int32)))  # now, since that undoes what follows
        mmap_threshold, trim_threshold = -3, -1  # their numbers in C's malloc.h; to the highest values, in bytes
        ctypes.CDLL(None).mallopt(mmap_threshold, 2**25)
        ctypes.CDLL(None).mallopt(trim_threshold, 2**31 - 1)
    call.is_quick = True
    layers.BatchNormalization.call, layers.Conv2D.convolution_op = call, convolution_op


# Training
@contextmanager
def written_whole(path):
    """Give a path beside `path` to write to, which takes its place when it is complete and on the disk."""
    beside = path.with_name(f"unfinished-{path.name}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink()  # what a full disk holds of it


@contextmanager
def locked(folder):
    """Refuse a folder that another process trains in, and keep others out; where locks are unknown, do nothing."""
    lock = None
    try:
        try:
            import fcntl  # not on Windows

            lock = os.open(folder, os.O_RDONLY)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            mend = "wait until it is over, or give another --run NAME"
            raise InputError(f"{folder} is in training by another process; {mend}") from None
        except (ImportError, OSError):
            pass
        yield
    finally:
        if lock is not None:
            os.close(lock)


class Checkpoint(keras.callbacks.Callback):
    """Tells `batches` of every epoch, and after it writes history.csv and backup.npz, from which a run resumes.

    A resume with other settings or images is refused; `variables` get back their values. With SELECT = best,
    best_weights are the values that `weights` had at the best epoch's end. Plateau looks at epochs from `since` on.
    rates: see train.
    """

    def __init__(self, folder, settings, data, weights, variables, batches, rates):
        super().__init__()
        common = {**settings, "data and split": split_hash(data, data), "precision": precision(), "backend": BACKEND}
        self.settings = json.loads(json.dumps(common))  # tuples become lists, as those in backup.npz
        self.folder, self.weights, self.variables = folder, weights, variables
        self.batches, self.rates, self.since = batches, rates, 0
        self.history, self.best_weights = [], []
        if (folder / "backup.npz").exists():
            self.resume()

    def resume(self):
        file, now = self.folder / "backup.npz", self.settings
        try:
            if not file.is_file():  # a pipe, for one, would be waited for
                raise FileNotFoundError
            with np.load(file) as backup:
                arrays = dict(backup)
            past = json.loads(str(arrays.pop("past")))
            self.history, was = past["epochs"], past["settings"]
            both = [(name, was.get(name), now.get(name)) for name in was | now]
            changed = [f"{name} was {old}, is {new}" for name, old, new in both if old != new]
            if not changed:
                for number, variable in enumerate(self.variables):
                    variable.assign(arrays.pop(f"variable {number}"))
                self.best_weights = list(arrays.values())  # what is left
        except Exception:  # a file can be broken in many ways
            raise InputError(f"{file} is damaged or of another network; remove it, and the run starts anew") from None
        if changed:
            mend = "Undo that, or give another --run NAME"
            raise InputError(f"{self.folder} is unfinished, but {'; '.join(changed)}. {mend}")

    def on_epoch_begin(self, epoch, logs=None):
        self.began = time.perf_counter()
        self.batches.begin_epoch(epoch)
        if SCHEDULE == "plateau":
            losses = [row["val_crossentropy"] for row in self.history[self.since :]]
            self.rate = plateau_rate(self.rates(epoch), losses)
            self.model.optimizer.learning_rate = self.rate
        else:
            self.rate = self.rates(epoch + 1 - 1 / self.params["steps"])  # in the epoch's last step

    def on_test_begin(self, logs=None):
        if BACKEND == "jax":  # which may still compute the last steps
            jax = sys.modules["jax"]
            jax.block_until_ready(jax.live_arrays())
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        if not np.isfinite(logs["loss"]):  # TerminateOnNaN would wait for every step to end before the next begins
            raise InputError(f"the loss is {logs['loss']} in epoch {epoch + 1}; lower the learning rate, or warm up")
        if SELECT == "best" and logs["val_accuracy"] > max([row["val_accuracy"] for row in self.history], default=-1):
            self.best_weights = [weight.numpy() for weight in self.weights]
        row = {"epoch": epoch + 1, **{name: float(value) for name, value in logs.items()}}
        row["learning_rate"] = float(self.rate)
        row["images_per_second"] = self.params["steps"] * BATCH_SIZE / (self.trained - self.began)
        row["seconds"] = time.perf_counter() - self.began
        self.history.append(row)
        if processes()[1] > 0:  # the first writes for all
            return
        arrays = {f"variable {number}": variable.numpy() for number, variable in enumerate(self.variables)}
        arrays |= {f"best weight {number}": array for number, array in enumerate(self.best_weights)}
        with written_whole(self.folder / "history.csv") as path:
            pd.DataFrame(self.history).to_csv(path, index=False)
        with written_whole(self.folder / "backup.npz") as path:  # last: without it the epoch is repeated
            np.savez(path, past=json.dumps({"settings": self.settings, "epochs": self.history}), **arrays)


def with_test_flip(model):
    """Return a model that averages what `model` gives for an image and for its mirror image."""
    inputs = keras.Input(model.input_shape[1:])
    mirror = layers.EinsumDense("bhwc,wv->bhvc", inputs.shape[1:], trainable=False)  # an exchange of columns
    mirrored = mirror(inputs)
    mirror.set_weights([np.eye(inputs.shape[2])[::-1]])
    return keras.Model(inputs, layers.Average()([model(inputs), model(mirrored)]))


@contextmanager
def begun(folder, settings, data):
    """Make ready for a run in `folder` alone; give its record, a context for training, and the number of devices."""
    folder.mkdir(parents=True, exist_ok=True)
    count, number = processes()
    with locked(folder) if number == 0 else nullcontext():
        if (folder / "run.json").exists():
            for name in ("backup.npz", "features.npz"):  # there if it was killed right after its record
                (folder / name).unlink(missing_ok=True)
            raise InputError(f"{folder} is finished and stays as it is; give another --run NAME")
        if (folder / "model.h5").exists() and not (folder / "backup.npz").exists():
            raise InputError(f"{folder} holds a model without its run.json, which stays; give another --run NAME")
        try:
            if count > 1:
                join_processes(settings, folder, data)
            quick_on_cpu()
            warn_of_idle_gpu()
            keras.config.set_dtype_policy(precision())
            keras.utils.set_random_seed(SEED)
            scope, devices = all_devices()
            if BATCH_SIZE % devices:
                raise InputError(f"BATCH_SIZE = {BATCH_SIZE} is no multiple of {devices}, the number of devices")
            yield describe_run(settings), scope, devices
        except BaseException as error:
            if count > 1:  # in the end JAX would wait for the others, and they for this process
                lost = not isinstance(error, InputError) and re.search("Gloo|NCCL", str(error))  # by which JAX sends
                mendable = lost or isinstance(error, InputError | OSError | MemoryError | SystemExit)
                atexit.register(os._exit, 130 if isinstance(error, KeyboardInterrupt) else 2 if mendable else 1)
                sys.stdout.flush()
                if lost:
                    mend = "the same command goes on from the last finished epoch"
                    raise InputError(f"another process of this run is lost; {mend}") from None
            raise


def compile_model(model, rates, devices):
    """Give a model its loss, its metrics and an optimizer with these learning rates of its steps."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.synchronized = devices > 1 and BACKEND == "tensorflow"  # JAX has the whole batch's anyway
    if LOSS == "focal":
        loss = keras.losses.CategoricalFocalCrossentropy(label_smoothing=LABEL_SMOOTHING)
    else:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=LABEL_SMOOTHING)
    rate = rates[0] if SCHEDULE == "plateau" else EveryStep(rates)  # plateau's is set before every epoch
    model.compile(
        optimizer=keras.optimizers.SGD(rate, MOMENTUM, nesterov=True),
        loss=loss,
        weighted_metrics=["accuracy", keras.metrics.CategoricalCrossentropy(name="crossentropy")],
        # TensorFlow's is slower on a CPU and fails on several devices; PyTorch's was not tried
        jit_compile=BACKEND == "jax" or (BACKEND == "tensorflow" and bool(gpus()) and devices == 1),
    )
    model.optimizer.build(model.trainable_variables)  # now, for a resume to fill its variables


def fit(model, batches, x, labels, devices, epochs, checkpoint, callbacks=()):
    """Train a compiled model until that many epochs are in checkpoint's history; x, one-hot labels: to validate on."""
    callbacks = [*callbacks, checkpoint]
    if BACKEND == "tensorflow":
        callbacks.append(keras.callbacks.TensorBoard(checkpoint.folder / "tensorboard", write_graph=False))
    # JAX needs as many images on each device: of 287 on two, one comes once more with a weight of 0; and since Keras
    # divides the loss by the number of all, 288, the others weigh 288/287
    n, (count, number) = len(x), processes()
    filled = n + -n % devices
    mine = np.arange(number, filled, count)
    weights = np.where(mine < n, filled / n, 0)
    model.fit(
        batches,
        epochs=epochs,
        initial_epoch=len(checkpoint.history),
        shuffle=False,  # Batches does
        validation_data=(x[mine % n], labels[mine % n], weights),
        validation_batch_size=BATCH_SIZE // count,
        callbacks=callbacks,
        verbose=1 if sys.stdout.isatty() else 2,
    )


def describe_run(settings):
    """Return what run.json says of the script, the command, the device and the versions."""
    script = Path(__file__).resolve()
    # By a shell, for which no git is no exception
    git = subprocess.run("git rev-parse HEAD", shell=True, cwd=script.parent, capture_output=True, text=True)
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    cpu = (re.findall(r"model name\s*: (.+)", info) or ["CPU"])[0]
    modules = (sys.modules[BACKEND], keras, np)
    return {
        "script": f"{script.parent.name}/{script.name}",
        "script_sha256": hashlib.sha256(script.read_bytes()).hexdigest(),
        "git_commit": git.stdout.strip() if git.returncode == 0 else None,  # no git, or no repository
        "command": shlex.join(["python", *sys.argv]),
        "settings": settings,
        "precision": keras.config.dtype_policy().name,
        "backend": BACKEND,
        "processes": processes()[0],
        "device": ", ".join(name for name, _ in gpus()) or f"{cpu}, {os.cpu_count()} cores",
        "versions": {"python": sys.version.split()[0]} | {it.__name__: str(it.__version__) for it in modules},
    }


def write_results(folder, result, data, history, record, marks=()):
    """Save the model `result`, draw the curves, score it, and write predictions.npz and, last of all, run.json.

    marks: epochs after which the curves get a dotted line. Of several processes, the first does it alone.
    """
    count, number = processes()
    if count > 1:
        sys.modules["jax"].distributed.shutdown()  # else the first would be taken for lost when the others end
    if number > 0:
        return
    record["parameters"] = result.count_params()
    result = with_test_flip(result) if TEST_FLIP == "yes" else result
    with written_whole(folder / "model.h5") as path:
        path.write_bytes(bytes(4 * result.count_params() + 2**13 * len(result.weights)))  # HDF5 crashes on a full disk
        result.save(path, include_optimizer=False)
    figure = Figure(figsize=(8, 9), layout="constrained")
    figure.suptitle(folder.name)
    for axes, name in zip(figure.subplots(3, sharex=True), ("crossentropy", "accuracy", "learning_rate"), strict=True):
        curves = pd.DataFrame(history).set_index("epoch").filter(like=name)
        curves.plot(ax=axes, style=".-", ylabel=name.replace("_", " "), grid=True)
        for epoch in marks:
            axes.axvline(epoch + 0.5, color="gray", linestyle=":")
    axes.xaxis.get_major_locator().set_params(integer=True)
    with written_whole(folder / "curves.png") as path:
        figure.savefig(path, dpi=100)
    model = keras.models.load_model(folder / "model.h5", compile=False)
    record |= {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime()),
        "model": hashlib.sha256((folder / "model.h5").read_bytes()).hexdigest(),
        "classes": model.output_shape[1],
        "images": {part: len(y) for part, (_, y) in data.items()},
        "split": split_hash(data),
        "seconds": sum(row["seconds"] for row in history),
        "images_per_second": float(np.median([row["images_per_second"] for row in history])),
    }
    predictions = {"model": record["model"], "split": record["split"], "data": DATA}
    for part, (x, y) in data.items():
        starts = range(0, len(x), 20 * BATCH_SIZE)  # not all at once: x may be image files
        chunks = [model.predict(x[start : start + starts.step], BATCH_SIZE, verbose=0) for start in starts]
        probabilities = np.concatenate(chunks)
        losses = -np.log(np.maximum(probabilities[np.arange(len(y)), y], 1e-7))
        record[part] = {"accuracy": float(np.mean(probabilities.argmax(1) == y)), "loss": float(np.mean(losses))}
        if not np.isfinite(losses).all():
            raise InputError(f"the trained network predicts NaN for {part} images; lower the learning rate")
        print(f"{part:10}  accuracy {record[part]['accuracy']:.2%}  loss {record[part]['loss']:.4f}")
        if part != "train":
            predictions |= {f"{part}_probabilities": probabilities, f"{part}_labels": y}
    with written_whole(folder / "predictions.npz") as path:
        np.savez(path, **predictions)
    with written_whole(folder / "run.json") as path:
        path.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    (folder / "backup.npz").unlink(missing_ok=True)


# Command line
LIMITS = {  # lowest and highest number, of their type; of all other numbers 1 and 10**6
    **{"EPOCHS": (1, 10**4), "LIMIT": (0, 10**9), "WARMUP": (0, 10**9), "SEED": (0, 10**9)},
    **{"LEARNING_RATE": (1e-9, 999.0), "MILESTONES": (0.0, 1.0), "DROP": (0.0, 1.0), "TANH_FROM": (-20.0, 0.0)},
    **{"TANH_TO": (0.0, 20.0), "MOMENTUM": (0.0, 0.999), "WEIGHT_DECAY": (0.0, 1.0), "LABEL_SMOOTHING": (0.0, 0.999)},
    **{"DROPOUT": (0.0, 0.999), "COMPRESSION": (0.001, 1.0), "DEPTH": (1, 10**4), "HEAD_LEARNING_RATE": (1e-9, 999.0)},
    **{"IMAGE_SIZE": (32, 4096), "HEAD": (0, 10**6), "HEAD_EPOCHS": (0, 10**4), "UNFREEZE": (0.0, 1.0)},
}


def checked(name, value, comment):
    """Return a setting's value as its kind, also from a text; raise InputError for what comment or LIMITS forbid."""
    found = re.search(r"(?:one|any) of ([\w, ]+)", comment)
    words = found[1].split(", ") if found else []
    least, most = LIMITS.get(name, (1, 10**6))
    if words:
        kind, needed = int if words[0].isdecimal() else str, found[0]
    elif name in ("DATA", "BASE", "LAYER", "WEIGHTS", "RUN"):
        kind, needed = str, "a text"
    else:
        kind = type(most)
        needed = f"{'a whole number' if kind is int else 'a number'} from {least} to {most}"
    several = "any of" in comment or name == "MILESTONES"
    items = [value]
    if several and isinstance(value, str):
        items = [] if value == "none" else value.split(",")
    elif several and isinstance(value, tuple | list):
        items = value
    try:
        items = [kind(item) if isinstance(item, str) or kind is float else item for item in items]
    except (TypeError, ValueError, OverflowError):
        items = [None]
    for item in items:
        allowed = isinstance(item, kind) and (str(item) in words if words else kind is str or least <= item <= most)
        if not allowed:
            raise InputError(f"{name} = {value!r} is not {needed}")
    return tuple(items) if several else items[0]


def read_settings(arguments):
    """Override the settings above by `--name value`; return them all by name, and the folder for the run."""
    section = Path(__file__).read_text(encoding="utf-8").split("\n# Settings\n")[1].split("\n# Network\n")[0]
    comments = dict(re.findall(r"^([A-Z_]+) = .+?  # (.+)$", section, re.MULTILINE))
    for line in section.split("\n"):
        if re.match(r"[A-Z_]+ *=", line) and line.split(" = ")[0] not in comments:
            raise InputError(f"the line {line} needs the form NAME = value  # comment, from which --help is made")
    form, usage = argparse.RawDescriptionHelpFormatter, "%(prog)s [--help] [--name value ...]"
    parser = argparse.ArgumentParser(usage=usage, description=__doc__, formatter_class=form, allow_abbrev=False)
    for name, comment in comments.items():
        text = f"{comment} (now {globals()[name]!r})".replace("%", "%%")
        parser.add_argument("--" + name.lower().replace("_", "-"), dest=name, metavar="", help=text)
    given = {name: text for name, text in vars(parser.parse_args(arguments)).items() if text is not None}
    settings = {name: checked(name, given.get(name, globals()[name]), comments[name]) for name in comments}
    globals().update(settings)  # the constants above
    if not re.fullmatch(r"(?!\.)[\w.+-]{0,255}", RUN):
        raise InputError(f"RUN = {RUN!r} is not a plain name, of up to 255 letters, for a folder in runs/")
    parts = [f"{name}-{text}" for name, text in given.items() if name not in ("DATA", "RUN")]
    name = "-".join([Path(__file__).stem, Path(DATA).stem, *parts]).lower()
    return settings, Path("runs") / (RUN or re.sub(r"[^a-z0-9.-]", "_", name)[:200])  # 255 is what a folder may have


class Words(io.FileIO):
    """What takes the program's words: if their reader is gone, as with `| head`, or the disk full, they are lost."""

    def write(self, data):
        with suppress(OSError):
            return super().write(data)
        return len(data)


@contextmanager
def refusing():
    """Make one line on stderr and status 2 of what a user can mend; a fault of the program keeps its traceback."""
    try:
        yield
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from the last finished epoch.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        text, mend = str(error), ""
        memory = re.search(r".*(\bOOM\b|EXHAUSTED|ut of memory|to allocate).*", text)
        if not isinstance(error, InputError):
            if isinstance(error, OSError) or re.search("__[A-Za-z]*Summary|errno = ", text):  # TensorBoard's, HDF5's
                mend = "; when that is mended, the same command goes on"
            elif isinstance(error, MemoryError) or memory:
                text = memory[0] if memory else "MemoryError"
                mend = "; that is more memory than there is: lower BATCH_SIZE, or the depth or width of the network"
            else:
                raise
            text = re.sub("{{.+?}} ", "", text).split("\n")[0][:200]
        print(f"{Path(sys.argv[0]).name}: {' '.join(text.splitlines())}{mend}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Pillow's, matplotlib's and others', which a user cannot mend
    for name, number, errors in (("stdout", 1, "replace"), ("stderr", 2, "backslashreplace")):
        words = io.BufferedWriter(Words(number, "w"))
        encoding = getattr(getattr(sys, name), "encoding", None)  # where it was closed, it is None
        setattr(sys, name, io.TextIOWrapper(words, encoding, errors, line_buffering=True))
    with refusing():
        train(*read_settings(sys.argv[1:]))
