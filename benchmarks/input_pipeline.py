"""Time how fast augmented images come, beside Keras' legacy ImageDataGenerator and beside the training steps they feed.

    python benchmarks/input_pipeline.py

All on 32x32 images drawn at random, in batches of 128: flips and shifts of up to 4 pixels by both, then everything
that the scripts offer; and training steps, without any pipeline, on one batch over and over. The rows take turns,
and the median of the rounds counts. Prints a Markdown table.
"""

import datetime
import importlib.util
import statistics
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
BATCH_SIZE, CLASSES, ROUNDS = 128, 10, 5
SECONDS = 2  # at least so long for each row in each round


def load_script(path):
    """Return a training script of this collection as a module."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def rate(batches):
    """Return images per second of an endless iterator of batches."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < SECONDS:
        next(batches)
        count += BATCH_SIZE
    return count / (time.perf_counter() - began)


def pipeline(script, x, y, names):
    """Yield what training_batches makes with AUGMENT = names."""
    script.AUGMENT = names
    yield from script.training_batches(x, y, CLASSES, np.zeros(3, np.uint8), 0)


def steps(script, x, y):
    """Yield the loss of one training step after another, with the script's own network."""
    import keras

    model = script.build_model(x.shape[1:], CLASSES, [127.0] * 3, [5000.0] * 3)
    model.compile(keras.optimizers.SGD(0.01, 0.9, nesterov=True), "categorical_crossentropy", jit_compile=False)
    batch = x[:BATCH_SIZE], keras.utils.to_categorical(y[:BATCH_SIZE], CLASSES)
    while True:
        yield model.train_on_batch(*batch)


def main():
    scripts = [load_script(path) for path in sorted(ROOT.glob("[1-8].*/*.py"))]
    home = next(script for script in scripts if script.__name__ == "resnet")
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    sys.path.insert(0, str(ROOT / "ensemble"))
    from members import describe_computer

    random = np.random.default_rng(0)
    x = random.integers(0, 256, (20_000, 32, 32, 3), dtype=np.uint8)
    y = random.integers(0, CLASSES, len(x))
    legacy = ImageDataGenerator(horizontal_flip=True, width_shift_range=4, height_shift_range=4, fill_mode="constant")
    everything = ("flip", "shift", "rotate", "cutout", "mixup", "cutmix")
    rows = {
        "ImageDataGenerator: flip, shift": legacy.flow(x, y, BATCH_SIZE),
        "ours: flip, shift": pipeline(home, x, y, ("flip", "shift")),
        f"ours: {', '.join(everything)}": pipeline(home, x, y, everything),
        **{f"training steps of {script.__name__}.py alone": steps(script, x, y) for script in scripts},
    }
    rates = {name: [] for name in rows}
    for number in range(ROUNDS + 1):
        print(f"round {number} of {ROUNDS}", file=sys.stderr)
        for name, batches in rows.items():
            figure = rate(batches)
            rates[name] += [figure] if number else []  # the first round warms up
    medians = {name: statistics.median(figures) for name, figures in rates.items()}
    base = medians["ImageDataGenerator: flip, shift"]
    print(
        f"{describe_computer()}; {datetime.datetime.now(datetime.UTC).date()}; `python benchmarks/input_pipeline.py`\n"
    )
    print("| what | images/s (median) | lowest to highest | times ImageDataGenerator |\n|---|---:|:---:|---:|")
    for name, figures in rates.items():
        spread = f"{min(figures):,.0f} to {max(figures):,.0f}"
        print(f"| {name} | {medians[name]:,.0f} | {spread} | {medians[name] / base:.2f} |")


if __name__ == "__main__":
    main()
