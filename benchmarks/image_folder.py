"""Time how fast the images of a folder come, augmented, beside Keras' image_dataset_from_directory.

    python benchmarks/image_folder.py                # photographs of 500x375 pixels, made for it
    python benchmarks/image_folder.py --data FOLDER  # the images in FOLDER/CLASS/

Both give batches of 32 with the middle square of each image at 96x96 and at 224x224 pixels, flipped at random and moved
by up to 4 pixels: transfer/transfer.py's ImageFiles in Batches, as Keras feeds them to TensorFlow; and
keras.utils.image_dataset_from_directory, cropped to the aspect ratio, with Keras' layers RandomFlip and
RandomTranslation mapped over its batches, all as parallel as tf.data finds best. Both read and decode every image in
every epoch, from the system's cache of files; and again where both keep the images in memory, sized and not augmented,
as ImageFiles does where there is room and Keras does where its user adds cache(). The rows take turns, and the median
of the rounds counts. Prints a Markdown table. Without --data the photographs are parts of the two that scikit-learn
has, saved by Pillow as JPEG.
"""

import datetime
import os
import shlex
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from benchmarks.input_pipeline import EveryEpoch, rate
from ensemble.common.command import new_parser, refuse, run_command
from ensemble.common.records import describe_computer
from ensemble.common.scripts import import_script

BATCH_SIZE, ROUNDS, SIZES = 32, 5, (96, 224)
OURS, KERAS = "ImageFiles, as Keras feeds it", "image_dataset_from_directory"
WAYS = {False: "read in every epoch", True: "kept in memory"}


def write_photographs(folder, count=600):
    """Write parts of scikit-learn's two photographs, 500x375 pixels, as the JPEG files of two classes."""
    from PIL import Image
    from sklearn.datasets import load_sample_images

    random = np.random.default_rng(0)
    for name, pixels in zip(("china", "flower"), load_sample_images().images, strict=True):
        (folder / name).mkdir()
        for number in range(count // 2):
            top, left = random.integers(0, (427 - 375, 640 - 500))
            image = Image.fromarray(pixels[top : top + 375, left : left + 500])
            image.save(folder / name / f"{number}.jpg", quality=90)


def ours(folder, size, kept):
    """Return the script's batches of all images in a folder without end; if kept, they are in memory already."""
    script = import_script("transfer/transfer.py")
    script.AUGMENT, script.BATCH_SIZE = ("flip", "shift"), BATCH_SIZE
    found = script.files_by_class(folder)
    files = script.ImageFiles([file for images in found.values() for file in images], size)
    files.most_kept = len(files) if kept else 0
    if kept:
        files[:]
    labels = np.repeat(np.arange(len(found)), [len(images) for images in found.values()])
    one_hot = np.eye(len(found), dtype=np.float32)
    return EveryEpoch(script.ReadAhead(script.Batches(files, one_hot[labels], np.zeros(3, np.uint8))), fed=True)


def by_keras(folder, size, kept):
    """Return the same by Keras' own means, without end."""
    import keras
    import tensorflow as tf

    images = keras.utils.image_dataset_from_directory(
        folder,
        label_mode="categorical",
        batch_size=BATCH_SIZE,
        image_size=(size, size),
        crop_to_aspect_ratio=True,
        verbose=False,
    )
    if kept:
        images = images.cache()
        for _ in images:  # an epoch to its end, which fills it
            pass
    flip = keras.layers.RandomFlip("horizontal")
    shift = keras.layers.RandomTranslation(4 / size, 4 / size, fill_mode="constant", interpolation="nearest")
    return images.map(lambda x, y: (shift(flip(x)), y), tf.data.AUTOTUNE).repeat().prefetch(tf.data.AUTOTUNE)


def main():
    parser = new_parser(__doc__)
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="has the images of each class in CLASS/")
    parser.add_argument("--seconds", type=float, default=4, help="at least so long for each row in each round (4)")
    arguments = parser.parse_args()
    if arguments.data and not arguments.data.is_dir():
        refuse(f"there is no folder {arguments.data}")
    today, load = datetime.datetime.now(datetime.UTC).date(), os.getloadavg()[0]
    command = shlex.join(["python", *sys.argv])
    print(f"{describe_computer()}; load average before: {load:.1f}; {today}; `{command}`\n")
    import_script("4.ResNet/resnet.py").quick_on_cpu()  # as `train` does, before there is any dataset
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.data or Path(temporary)
        if not arguments.data:
            write_photographs(folder)
        rows = {
            (what, kept, size): make(folder, size, kept)
            for size in SIZES
            for kept in WAYS
            for what, make in ((KERAS, by_keras), (OURS, ours))
        }
        rates = {row: [] for row in rows}
        for number in range(ROUNDS):
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
            for row, batches in rows.items():
                rates[row].append(rate(batches, arguments.seconds, BATCH_SIZE))
    print("| what | images | size | images/s (median) | lowest to highest | times Keras' |")
    print("|---|---|---:|---:|:---:|---:|")
    medians = {row: statistics.median(figures) for row, figures in rates.items()}
    for (what, kept, size), figures in rates.items():
        median, span = medians[what, kept, size], f"{min(figures):,.0f} to {max(figures):,.0f}"
        times = median / medians[KERAS, kept, size]
        cells = [what, WAYS[kept], f"{size}x{size}", f"{median:,.0f}", span, f"{times:.2f}"]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    run_command(main)
