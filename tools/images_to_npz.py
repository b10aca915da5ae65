"""Make the .npz file that the training scripts read from a folder of images.

    python tools/images_to_npz.py FOLDER OUT.npz
    python tools/images_to_npz.py FOLDER OUT.npz --size 64
    python 4.ResNet/resnet.py --data OUT.npz

FOLDER holds the images as train/CLASS/*.png and test/CLASS/*.png (.jpg and .jpeg too, and in folders below CLASS),
8 bits a channel, all of one size from 28x28 up, or of any sizes with --size. OUT.npz then holds x_train and x_test,
uint8 (images, height, width, 3) in RGB order; y_train and y_test, int64 (images,); and class_names, unicode (classes,):
the names of the CLASS folders in the order of Keras' image_dataset_from_directory, which is that of strings, "10"
before "2". A label is a place in them. Images stand sorted by class and path (the training scripts shuffle). They are
turned as their EXIF data say, and what is transparent shows white. Other files are left out and counted; hidden ones
and those that a system adds, such as __MACOSX and Thumbs.db, are left out.

A fault in FOLDER is one line that names every broken file, exit status 2, and no file; a file OUT.npz that is there
already is never overwritten.
"""

import os
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.checks import check_memory
from ensemble.common.command import new_parser, refuse, run_command
from ensemble.common.files import remove_leftovers, written_new
from ensemble.common.images import read_image, resized

SUFFIXES = (".png", ".jpg", ".jpeg")
SYSTEM_NAMES = ("__macosx", "thumbs.db", "desktop.ini", "@eadir")  # of macOS, Windows and Synology, in lower case
SMALLEST = 28  # pixels of height and width, which the training scripts ask for


def entries(folder):
    """Return the sorted paths of what is in a folder, without hidden files and those that a system adds."""
    paths = sorted(folder.iterdir(), key=lambda path: path.name)
    return [path for path in paths if path.name[0] != "." and path.name.lower() not in SYSTEM_NAMES]


def files_below(folder):
    """Return the paths of all files in a folder and in the folders below it; links to folders are not followed."""
    files = []
    for path in entries(folder):
        files += files_below(path) if path.is_dir() and not path.is_symlink() else [path]
    return files


def find_images(part):
    """Return {class: paths of its images} of a folder such as FOLDER/train, sorted as strings, "10" before "2"."""
    if not part.is_dir():
        refuse(f"there is no folder {part}; put the images in {part}/CLASS/")
    folders = [path for path in entries(part) if path.is_dir()]
    if not folders:
        refuse(f"{part} has no classes; put the images of each class in a folder of its own, {part}/CLASS/")
    loose = len(entries(part)) - len(folders)
    images, left_out = {}, 0
    for folder in folders:
        if not folder.name.isprintable():  # nor could any script print it
            refuse(f"{part} has a folder {folder.name!a}, which cannot be printed; rename it")
        files = files_below(folder)
        images[folder.name] = [path for path in files if path.suffix.lower() in SUFFIXES and path.is_file()]
        left_out += len(files) - len(images[folder.name])
        if not images[folder.name]:
            refuse(f"{folder} has no {', '.join(SUFFIXES)} images; add some, or remove the class")
    if loose:
        print(f"{part}: left out, being in no folder of a class: {loose:,}")
    if left_out:
        print(f"{part}: left out, being no {', '.join(SUFFIXES)}: {left_out:,}")
    return images


def read_images(files, size, fit):
    """Return the images of all files, uint8 (images, height, width, 3), or refuse; show progress.

    size, fit: as in resized; size None leaves the images as they are.
    """
    images, broken, other_sizes, of_one_colour = None, [], [], []
    shown = time.monotonic()
    for number, file in enumerate(files):
        if time.monotonic() - shown > 2:
            shown = time.monotonic()
            print(f"{number:,} of {len(files):,} images", flush=True)
        try:
            image = read_image(file, size)
        except ValueError as error:
            broken.append(str(error))
            continue
        if images is None:
            width, height = (size, size) if size else image.size
            check_memory(3 * width * height * len(files), f"{len(files):,} images of {width}x{height} pixels")
        image = np.asarray(resized(image, size, fit) if size else image)
        if images is None:
            images, first = np.empty((len(files), *image.shape), np.uint8), file
        if image.shape != images.shape[1:]:
            other_sizes.append(f"{file} is {image.shape[1]}x{image.shape[0]} pixels")
            continue
        images[number] = image
        if (image == image[0, 0]).all():
            of_one_colour.append(file)
    faults = []
    if other_sizes:
        differ = f"{len(other_sizes):,} of {len(files):,} images differ from it"
        sizes = f"{other_sizes[0]}, but {first} is {images.shape[2]}x{images.shape[1]}, and {differ}"
        faults.append(f"{sizes}; make them one size with --size, such as --size 64")
    if broken:
        faults.append(f"replace or remove {len(broken):,} of {len(files):,} images: {'; '.join(broken)}")
    if faults:
        refuse("; ".join(faults))
    height, width = images.shape[1:3]
    if min(height, width) < SMALLEST:
        refuse(f"{first} is {width}x{height} pixels; make all images {SMALLEST}x{SMALLEST} or more, with --size")
    if of_one_colour:
        warning = f"images show nothing but one colour: {len(of_one_colour):,}, the first {of_one_colour[0]}"
        print(warning, file=sys.stderr)
    return images


def main():
    parser = new_parser("Make a .npz file for training from a folder of images.")
    parser.add_argument("folder", type=Path, help="has train/CLASS/*.png and test/CLASS/*.png (or .jpg, .jpeg)")
    parser.add_argument("out", type=Path, help="the .npz file to make")
    parser.add_argument("--size", type=int, metavar="PIXELS", help="make all images this high and wide, 28 or more")
    parser.add_argument(
        "--fit",
        choices=("crop", "stretch"),
        help="with --size: take the middle square of an image (crop, the default), or distort it to one (stretch)",
    )
    options = parser.parse_args()
    out = options.out
    if out.suffix != ".npz":
        refuse(f"{out} does not end in .npz; give such a name")
    remove_leftovers(out)
    if os.path.lexists(out):
        refuse(f"{out} exists; give another name, or remove it first")
    if not out.parent.is_dir():
        refuse(f"there is no folder {out.parent}; make it first")
    if options.size is not None and options.size < SMALLEST:
        refuse(f"--size {options.size}: give {SMALLEST} or more, which the training scripts ask for")
    if options.fit and options.size is None:
        refuse(f"--fit {options.fit} does nothing without --size; give both")

    train, test = find_images(options.folder / "train"), find_images(options.folder / "test")
    for part, own, other in (("train", train, test), ("test", test, train)):
        if missing := [name for name in other if name not in own]:
            refuse(f"{options.folder / part} has no folder {missing[0]}; both train and test need every class")
    files = [file for part in (train, test) for images in part.values() for file in images]
    fit = options.fit or "crop"
    images = read_images(files, options.size, fit)
    labels = [np.repeat(np.arange(len(part)), [len(images) for images in part.values()]) for part in (train, test)]
    count = len(labels[0])
    with written_new(out) as beside:
        np.savez(
            beside,
            x_train=images[:count],
            y_train=labels[0],
            x_test=images[count:],
            y_test=labels[1],
            class_names=np.array(list(train)),
        )
    height, width = images.shape[1:3]
    made = f" ({fit})" if options.size else ""
    print(f"{out}: {count:,} training and {len(files) - count:,} test images of {width}x{height} pixels{made}")
    print(f"{len(train)} classes: {', '.join(f'{label} = {name}' for label, name in enumerate(train))}")


if __name__ == "__main__":
    run_command(main)
