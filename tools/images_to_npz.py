"""Make the .npz file that the training scripts read from a folder of images.

    python tools/images_to_npz.py FOLDER OUT.npz
    python 4.ResNet/resnet.py --data OUT.npz

FOLDER holds the images as train/CLASS/*.png and test/CLASS/*.png (.jpg and .jpeg too), all of one size from 28x28
up, 8 bits a channel. OUT.npz then holds x_train and x_test, uint8 (images, height, width, 3) in RGB order; y_train
and y_test, int64 (images,); and classes, the names of the CLASS folders, sorted: a label is a place in them. Images
stand sorted by class and file name (the training scripts shuffle). Other files, and hidden ones, are left out.

A fault in FOLDER is one line, exit status 2, and no file; a file OUT.npz that is there already is never overwritten.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from common import refuse, written_whole
from PIL import Image, ImageOps

SUFFIXES = (".png", ".jpg", ".jpeg")
SMALLEST = 28  # pixels of height and width, which the training scripts ask for


def find_images(part):
    """Return {class: sorted paths of its images} of a folder such as FOLDER/train, sorted by class, 2 before 10."""
    if not part.is_dir():
        refuse(f"there is no folder {part}; put the images in {part}/CLASS/")
    entries = sorted(path for path in part.iterdir() if not path.name.startswith("."))
    folders = [path for path in entries if path.is_dir()]
    folders.sort(key=lambda folder: int(folder.name) if folder.name.isdecimal() else -1)
    if not folders:
        refuse(f"{part} has no classes; put the images of each class in a folder of its own, {part}/CLASS/")
    images, left_out = {}, len(entries) - len(folders)
    for folder in folders:
        files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
        images[folder.name] = [path for path in files if path.suffix.lower() in SUFFIXES and path.is_file()]
        left_out += len(files) - len(images[folder.name])
        if not images[folder.name]:
            refuse(f"{folder} has no {', '.join(SUFFIXES)} images; add some, or remove the class")
    if left_out:
        print(f"{part}: left out, being no {', '.join(SUFFIXES)}: {left_out}")
    return images


def read_image(path):
    """Return the pixels of an image file, uint8 (height, width, 3), or fail naming it."""
    try:
        with Image.open(path) as image:
            if image.mode[0] in "IF":  # Pillow would cut these to 8 bits, mostly to plain white
                refuse(f"{path} has more than 8 bits a channel; save it with 8")
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except Exception as error:  # Pillow raises many kinds on a broken file
        refuse(f"{path} cannot be read as an image: {' '.join(str(error).split())}; replace or remove it")


def read_images(files):
    """Return the images of all files, uint8 (images, height, width, 3), and show progress."""
    first = read_image(files[0])
    height, width = first.shape[:2]
    if min(height, width) < SMALLEST:
        refuse(f"{files[0]} is {width}x{height} pixels; resize all images to {SMALLEST}x{SMALLEST} or more")
    images = np.empty((len(files), *first.shape), np.uint8)
    shown = time.monotonic()
    for number, file in enumerate(files):
        image = read_image(file)
        if image.shape != first.shape:
            sizes = f"{image.shape[1]}x{image.shape[0]} pixels, but {files[0]} is {width}x{height}"
            refuse(f"{file} is {sizes}; resize all images to one size")
        images[number] = image
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            print(f"{number + 1:,} of {len(files):,} images", flush=True)
    return images


def main():
    parser = argparse.ArgumentParser(description="Make a .npz file for training from a folder of images.")
    parser.error = refuse
    parser.add_argument("folder", type=Path, help="has train/CLASS/*.png and test/CLASS/*.png (or .jpg, .jpeg)")
    parser.add_argument("out", type=Path, help="the .npz file to make")
    options = parser.parse_args()
    out = options.out
    if out.suffix != ".npz":
        refuse(f"{out} does not end in .npz; give such a name")
    if out.exists():
        refuse(f"{out} exists; give another name, or remove it first")
    if not out.parent.is_dir():
        refuse(f"there is no folder {out.parent}; make it first")

    train, test = find_images(options.folder / "train"), find_images(options.folder / "test")
    for part, own, other in (("train", train, test), ("test", test, train)):
        if missing := [name for name in other if name not in own]:
            refuse(f"{options.folder / part} has no folder {missing[0]}; both train and test need every class")
    files = [file for part in (train, test) for images in part.values() for file in images]
    images = read_images(files)
    labels = [np.repeat(np.arange(len(part)), [len(images) for images in part.values()]) for part in (train, test)]
    count = len(labels[0])
    try:
        with written_whole(out) as beside:
            np.savez(
                beside,
                x_train=images[:count],
                y_train=labels[0],
                x_test=images[count:],
                y_test=labels[1],
                classes=np.array(list(train)),
            )
    except OSError as error:
        out.with_name(f"unfinished-{out.name}").unlink(missing_ok=True)
        refuse(f"{out} cannot be written: {error.strerror or error}")
    height, width = images.shape[1:3]
    print(f"{out}: {count:,} training and {len(files) - count:,} test images of {width}x{height} pixels")
    print(f"{len(train)} classes: {', '.join(train)}")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        refuse(f"{error.filename} cannot be read or written: {error.strerror}")
