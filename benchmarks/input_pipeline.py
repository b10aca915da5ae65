"""Time how fast augmented images come, beside the tf.data pipeline of before and the training steps they feed.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --no-steps  # without the training steps, which take longest
    python benchmarks/input_pipeline.py --each      # each augmentation alone instead
    python benchmarks/input_pipeline.py --memory    # how much memory the images take instead

All on 45,000 images of 32x32 pixels drawn at random, in batches of 128. Compared are the scripts' `Batches`, directly
and as Keras feeds it to TensorFlow (a dataset from a generator, prefetched); the tf.data pipeline that the scripts
had before (tf_data_pipeline.py); and Keras' legacy ImageDataGenerator. Training steps are without any pipeline, on
one batch over and over. The rows take turns, and the median of the rounds counts.

Memory is that of `load_data`, of a file of 50,000 training images (45,000 of them to train on) and 100 test images,
and of 200 batches; each pipeline in a process of its own. What is resident after the imports and TensorFlow's start
is taken off. Linux. Prints a Markdown table.
"""

import datetime
import itertools
import multiprocessing
import os
import resource
import shlex
import statistics
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.command import new_parser, run_command
from ensemble.common.records import describe_computer
from ensemble.common.scripts import import_script, training_scripts

BATCH_SIZE, CLASSES, ROUNDS = 128, 10, 5
COLOUR = np.zeros(3, np.uint8)  # of holes
TF_DATA, DIRECT, FED = "tf.data", "Batches, directly", "Batches, as Keras feeds it"
AUGMENTATIONS = {  # AUGMENT and FILL
    "flip, shift, constant": (("flip", "shift"), "constant"),
    "flip, shift, reflect": (("flip", "shift"), "reflect"),
    "all six, constant": (("flip", "shift", "rotate", "cutout", "mixup", "cutmix"), "constant"),
}


def pipeline(kind, augmentation, x, y):
    """Return batches without end, which every iter() starts anew; kind: TF_DATA, DIRECT or FED."""
    names, fill = AUGMENTATIONS[augmentation]
    if kind == TF_DATA:
        from benchmarks.tf_data_pipeline import training_batches

        return training_batches(x, y, CLASSES, COLOUR, names, fill, BATCH_SIZE)
    script = import_script("4.ResNet/resnet.py")
    script.AUGMENT, script.FILL, script.BATCH_SIZE = names, fill, BATCH_SIZE
    return EveryEpoch(script.Batches(x, script.keras.utils.to_categorical(y, CLASSES), COLOUR), kind == FED)


class EveryEpoch:
    """What Batches gives, epoch after epoch, directly or through the dataset that Keras makes of it."""

    def __init__(self, batches, fed):
        from keras.src.trainers.data_adapters.py_dataset_adapter import PyDatasetAdapter  # not public

        self.batches = batches
        self.dataset = PyDatasetAdapter(batches, shuffle=False).get_tf_dataset() if fed else None

    def __iter__(self):
        for epoch in itertools.count():
            self.batches.begin_epoch(epoch)
            yield from self.dataset or map(self.batches.__getitem__, range(len(self.batches)))


def steps(script, x, y):
    """Yield the loss of one training step after another, with the script's own network."""
    keras = script.keras
    model = script.build_model(x.shape[1:], CLASSES, [127.0] * 3, [5000.0] * 3)
    model.compile(keras.optimizers.SGD(0.01, 0.9, nesterov=True), "categorical_crossentropy", jit_compile=False)
    batch = x[:BATCH_SIZE], keras.utils.to_categorical(y[:BATCH_SIZE], CLASSES)
    while True:
        yield model.train_on_batch(*batch)


def rate(batches, seconds, size=BATCH_SIZE):
    """Return images per second of batches of that size without end, after a warm-up of a quarter of the seconds."""
    batches = iter(batches)  # a new one in each turn: one that waits for its turn would prefetch, and so seem faster
    began = time.perf_counter()
    while time.perf_counter() - began < seconds / 4:
        next(batches)
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        next(batches)
        count += size
    return count / (time.perf_counter() - began)


def draw_images(count):
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8), random.integers(0, CLASSES, count)


def print_speeds(seconds, with_steps):
    import_script("4.ResNet/resnet.py").quick_on_cpu()  # as `train` does, before there is any dataset
    from keras.src.legacy.preprocessing.image import ImageDataGenerator  # no longer public

    x, y = draw_images(45_000)
    legacy = ImageDataGenerator(horizontal_flip=True, width_shift_range=4, height_shift_range=4, fill_mode="constant")
    rows = {("ImageDataGenerator", "flip, shift, constant"): legacy.flow(x, y, BATCH_SIZE)}
    for augmentation, kind in itertools.product(AUGMENTATIONS, (TF_DATA, DIRECT, FED)):
        rows[kind, augmentation] = pipeline(kind, augmentation, x, y)
    for path in training_scripts() if with_steps else []:
        rows["training steps alone", path.name] = steps(import_script(path), x, y)
    rates = {row: [] for row in rows}
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
        for row, batches in rows.items():
            rates[row].append(rate(batches, seconds))
    print("| what | images/s (median) | lowest to highest | times tf.data, same augmentation |")
    print("|---|---:|:---:|---:|")
    medians = {row: statistics.median(figures) for row, figures in rates.items()}
    for (what, of), figures in rates.items():
        times = f"{medians[what, of] / medians[TF_DATA, of]:.2f}" if of in AUGMENTATIONS else "—"
        print(f"| {what}: {of} | {medians[what, of]:,.0f} | {min(figures):,.0f} to {max(figures):,.0f} | {times} |")


def print_each(seconds):
    import_script("4.ResNet/resnet.py")
    x, y = draw_images(45_000)
    names = ["flip", "shift", "rotate", "zoom", "shear", "cutout", "erase", "mixup", "cutmix", "trivial", "autoaugment"]
    rows = {}
    for name in names:
        AUGMENTATIONS[name] = (name,), "constant"
        rows[name] = pipeline(DIRECT, name, x, y)
    rates = {name: [] for name in names}
    for number in range(ROUNDS):
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
        for name, batches in rows.items():
            rates[name].append(rate(batches, seconds))
    print("| augmentation | images/s (median) | lowest to highest |\n|---|---:|:---:|")
    for name, figures in rates.items():
        print(f"| {name} | {statistics.median(figures):,.0f} | {min(figures):,.0f} to {max(figures):,.0f} |")


def resident():
    """Return the bytes of this process that are in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def memory(kind, file):
    """Return resident and peak memory with a pipeline, as multiples of the training images' bytes.

    For a fresh process, since memory that was set free may stay resident.
    """
    script = import_script("4.ResNet/resnet.py")
    script.quick_on_cpu()
    before = resident()
    data = script.load_data(file, 5000)  # all of it stays, as in `train`
    x, y = data["train"]
    for _ in itertools.islice(pipeline(kind, "flip, shift, constant", x, y), 200):
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    return (resident() - before) / x.nbytes, (peak - before) / x.nbytes


def print_memory():
    print("| what | resident, times the training images | peak, times the training images |\n|---|---:|---:|")
    fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/images.npz"
        x, y = draw_images(50_000)
        np.savez(file, x_train=x, y_train=y, x_test=x[:100], y_test=y[:100])
        with ProcessPoolExecutor(1, fresh, max_tasks_per_child=1) as pool:
            for kind in (TF_DATA, FED):
                now, peak = pool.submit(memory, kind, file).result()
                print(f"| {kind} | {now:.2f} | {peak:.2f} |")


def main():
    parser = new_parser(__doc__)
    parser.add_argument("--no-steps", action="store_true", help="leave out the training steps of each script")
    parser.add_argument("--seconds", type=float, default=2, help="at least so long for each row in each round (2)")
    parser.add_argument("--each", action="store_true", help="time each augmentation alone instead, directly")
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    arguments = parser.parse_args()
    today = datetime.datetime.now(datetime.UTC).date()
    print(f"{describe_computer()}; {today}; `{shlex.join(['python', *sys.argv])}`\n")
    if arguments.memory:
        print_memory()
    elif arguments.each:
        print_each(arguments.seconds)
    else:
        print_speeds(arguments.seconds, not arguments.no_steps)


if __name__ == "__main__":
    run_command(main)
