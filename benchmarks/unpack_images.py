"""Unpack an archive of images into the .npz file that the training scripts read.

    python benchmarks/unpack_images.py IMAGES.tar.xz OUT.npz

The archive, of any compression that tarfile knows, holds images of one size as train/CLASS/NAME.jpg and
test/CLASS/NAME.jpg. OUT.npz then holds x_train and x_test, uint8 (images, height, width, 3), and y_train and y_test,
uint8 (images,): a label is the place of CLASS among the sorted names, which for CIFAR-10 is its own order. The images,
sorted by class and name, are shuffled, those to train on by seed 0 and those to test by seed 1: so OUT.npz is always
the same, and so is its split. Nothing is extracted on the way.

A fault in the archive is one line and exit status 2; a file OUT.npz that is there already is never overwritten.
"""

import io
import lzma
import sys
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.command import new_parser, refuse, run_command
from ensemble.common.files import remove_leftovers, written_new


def read_archive(path):
    """Return {(part, class, name): bytes of the file} of all files that lie three levels deep."""
    files = {}
    try:
        with tarfile.open(path) as archive:
            for entry in archive:  # each read at once: going back would unpack all of it again
                if entry.isfile():
                    files[tuple(entry.name.split("/"))] = archive.extractfile(entry).read()
    except (tarfile.TarError, lzma.LZMAError, OSError, EOFError) as error:
        refuse(f"{path} cannot be read as an archive: {error}")
    return {place: content for place, content in files.items() if len(place) == 3}


def decoded(files, path):
    """Return the images, uint8 (n, height, width, 3), of {place: bytes of the file}."""
    images = []
    for place, content in files.items():
        try:
            images.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
        except OSError as error:
            refuse(f"{path}: {'/'.join(place)} cannot be read as an image: {error}")
        if images[-1].shape != images[0].shape:
            refuse(f"{path}: {'/'.join(place)} is not of the size of the others; resize all to one")
    return np.stack(images)


def main():
    parser = new_parser("Unpack an archive of images into a .npz file.")
    parser.add_argument("archive", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    remove_leftovers(options.out)
    if options.out.exists():
        refuse(f"{options.out} exists; remove it or give another name")
    files = read_archive(options.archive)
    classes = sorted({name for _, name, _ in files})
    arrays = {}
    for seed, part in enumerate(("train", "test")):
        own = {place: files[place] for place in sorted(files) if place[0] == part}
        if not own:
            refuse(f"{options.archive} has no images {part}/CLASS/NAME.jpg")
        order = np.random.default_rng(seed).permutation(len(own))
        arrays[f"x_{part}"] = decoded(own, options.archive)[order]
        arrays[f"y_{part}"] = np.array([classes.index(name) for _, name, _ in own], np.uint8)[order]
    with written_new(options.out) as beside:
        np.savez(beside, **arrays)
    print(f"{options.out}: {len(arrays['y_train'])} images to train on, {len(arrays['y_test'])} to test")


if __name__ == "__main__":
    run_command(main)
