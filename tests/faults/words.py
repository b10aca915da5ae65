"""Kind 4, a library's words on stderr: one line, ours, or none."""

import warnings

import numpy as np
from PIL import Image

from faults.harness import Case, on_small_disk
from faults.material import (
    LENET,
    data,
    member,
    members,
    npz_bomb,
    photo,
    photos,
    predictions,
    together,
    trained,
    with_predictions,
    with_trained,
)
from faults.races import COMPARE, EXPORT, LENET_RUN, MEAN, PREDICT, VOTE

LONG_HEAD = 50 * 10**6  # bytes


def case(name, command, setup=lambda folder: None, quick=False, **options):
    return Case(4, name, command, setup, quick=quick, **options)


def long_head_predictions(folder):
    members(folder)
    arrays = predictions(0, "x")
    npz_bomb(folder / "runs/a/predictions.npz", arrays, "test_labels", (30,), "<i8", padding=LONG_HEAD)


def long_head_data(folder):
    npz_bomb(folder / "data.npz", data(), "x_train", (40, 32, 32, 3), padding=LONG_HEAD)


def long_head_backup(folder):
    (folder / "runs/r").mkdir(parents=True)
    npz_bomb(folder / "runs/r/backup.npz", {"past": "{}"}, "variable 0", (5, 5), "<f4", padding=LONG_HEAD)


def image(name, make):
    """Return a setup: two real runs, and an image file that `make(path)` writes."""
    return with_trained(lambda folder: make(folder / name))


def among_photos(name, make):
    """Return a setup: photos, and one more of cats."""
    return together(photos, lambda folder: make(folder / "photos/train/cat" / name))


def palette(path):
    picture = Image.fromarray(np.random.default_rng(0).integers(256, size=(40, 40, 3)).astype(np.uint8)).convert("P")
    picture.save(path, transparency=bytes(range(256)))


def large(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.new("L", (10_000, 9_500)).save(path)  # more than Pillow's 89 million pixels: it warns


def broken_exif(path):
    Image.new("RGB", (40, 40), "red").save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\x01" * 40)


def cut_jpeg(path):
    Image.fromarray(np.random.default_rng(0).integers(256, size=(200, 200, 3)).astype(np.uint8)).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:3000])


def broken_tiff(path):
    pixels = np.random.default_rng(0).integers(256, size=(200, 200, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path, "TIFF", compression="tiff_lzw")
    content = bytearray(path.read_bytes())
    content[1000:3000] = bytes(2000)
    path.write_bytes(content)


def broken_png(path):
    Image.fromarray(np.random.default_rng(0).integers(256, size=(200, 200, 3)).astype(np.uint8)).save(path, "PNG")
    content = bytearray(path.read_bytes())
    content[1000:3000] = bytes(2000)
    path.write_bytes(content)


WARNED = {  # file: (how it is made, statuses)
    "palette.png": (palette, (0, 2)),
    "large.png": (large, (0, 2)),
    "exif.jpg": (broken_exif, (0, 2)),
    "cut.jpg": (cut_jpeg, (2,)),
    "broken.png": (broken_png, (2,)),
}


def set_to(**arrays):
    return lambda kept: kept.update(arrays)


def chinese(folder):
    for seed, name in enumerate(("猫", "犬")):
        member(folder / "runs" / name, seed)


def huge_probabilities(kept):
    kept["test_probabilities"] = np.full((30, 4), np.finfo(np.float32).max)


def far_logits(kept):
    kept["validation_probabilities"] = np.where(np.eye(4)[kept["validation_labels"]] > 0, 3e38, -3e38).astype(
        np.float32
    )


FREEZE = ("tools/images_to_npz.py", "photos", "p.npz", "--size", "32")
CASES = [
    case(
        "a .npy head of 50 MB in predictions.npz, voting.py",
        VOTE,
        long_head_predictions,
        True,
        says=("predictions.npz",),
    ),
    case(
        "a .npy head of 50 MB in predictions.npz, weighted_mean.py",
        MEAN,
        long_head_predictions,
        says=("predictions.npz",),
    ),
    case(
        "a .npy head of 50 MB in data, lenet.py", (LENET[0], "--data", "data.npz"), long_head_data, says=("data.npz",)
    ),
    case(
        "a .npy head of 50 MB in data, transfer.py",
        ("transfer/transfer.py", "--data", "data.npz"),
        long_head_data,
        says=("data.npz",),
    ),
    case(
        "a .npy head of 50 MB in --data, compare.py",
        (*COMPARE, "--data", "data.npz"),
        together(trained, long_head_data),
        says=("data.npz",),
    ),
    case("a .npy head of 50 MB in backup.npz, lenet.py", LENET_RUN, long_head_backup, says=("backup.npz",)),
    *(
        case(
            f"{name}, predict.py",
            (*PREDICT[:4], name, *PREDICT[5:]),
            image(name, make),
            status=status,
            lines=int(status == (2,)) or 1,
        )
        for name, (make, status) in WARNED.items()
    ),
    case(
        "broken.tif, predict.py",
        (*PREDICT[:4], "broken.tif", *PREDICT[5:]),
        image("broken.tif", broken_tiff),
        says=("broken.tif",),
    ),
    *(
        case(
            f"{name}, images_to_npz.py",
            FREEZE,
            among_photos(name, make),
            name == "cut.jpg",
            status=status,
            says=(name,),
            seconds=30,
        )
        for name, (make, status) in WARNED.items()
    ),
    *(
        case(
            f"{name}, transfer.py",
            (
                "transfer/transfer.py",
                "--data",
                "photos",
                "--base",
                "runs/a/model.h5",
                "--image-size",
                "32",
                "--epochs",
                "1",
                "--head-epochs",
                "1",
                "--batch-size",
                "4",
            ),
            with_trained(among_photos(name, make)),
            status=status,
            says=(name,),
        )
        for name, (make, status) in WARNED.items()
    ),
    case(
        "runs with Chinese names, voting.py",
        ("ensemble/voting.py", "runs/猫/model.h5", "runs/犬/model.h5", "--out", "v"),
        chinese,
        True,
        status=(0,),
        lines=0,
    ),
    case(
        "runs with Chinese names, weighted_mean.py",
        ("ensemble/weighted_mean.py", "runs/猫/model.h5", "runs/犬/model.h5", "--out", "v"),
        chinese,
        status=(0,),
        lines=0,
    ),
    case(
        "a run with a Chinese name, minutes.py",
        ("tools/minutes.py", "runs/猫", "--out", "m.png"),
        chinese,
        status=(0,),
        lines=0,
    ),
    case(
        "classes with Chinese names, predict.py",
        (*PREDICT, "--classes", "一,二,三,四,五,六,七,八,九,十"),
        together(trained, photo),
        status=(0,),
        lines=0,
    ),
    case(
        "a name with a $ in it, voting.py",
        ("ensemble/voting.py", "runs/$a_{$/model.h5", "runs/b/model.h5", "--out", "v"),
        lambda folder: members(folder, ("$a_{$", "b")),
        status=(0,),
        lines=0,
    ),
    case(
        "a name with _ before it, minutes.py",
        ("tools/minutes.py", "runs/_a", "--out", "m.png"),
        lambda folder: members(folder, ("_a", "b")),
        status=(0,),
        lines=0,
    ),
    case(
        "the highest float32 as probabilities, voting.py",
        VOTE,
        with_predictions(huge_probabilities),
        True,
        status=(0, 2),
        says=("predictions.npz|runs/a",),
    ),
    case("logits of 3e38, voting.py", VOTE, with_predictions(far_logits), status=(0, 2)),
    case("logits of 3e38, weighted_mean.py", MEAN, with_predictions(far_logits), status=(0, 2)),
    case(
        "the lowest float64 as probabilities, voting.py",
        VOTE,
        with_predictions(set_to(test_probabilities=np.full((30, 4), 5e-324))),
        status=(0, 2),
    ),
    case(
        "validation images of one class, weighted_mean.py",
        MEAN,
        with_predictions(set_to(validation_labels=np.zeros(20, int))),
        status=(0, 2),
    ),
    case(
        "weights of 1e308, predict.py",
        (*PREDICT, "--weights", "1e308,1e308"),
        together(trained, photo),
        status=(0, 2),
        says=("weights",),
    ),
    case(
        "weights of 1e-320, predict.py",
        (*PREDICT, "--weights", "1e-320,1e-320"),
        together(trained, photo),
        status=(0, 2),
        says=("weights",),
    ),
    *(
        case(
            f"a disk with {size:,} bytes left, lenet.py at its model",
            LENET_RUN,
            play=on_small_disk(size),
            status=(0,),
        )
        for size in (700_000, 800_000, 860_000)
    ),
    *(
        case(
            f"files of {size:,} bytes, export.py {name}",
            (*EXPORT, name),
            trained,
            file_size=size,
            says=(name,),
        )
        for name in ("e.h5", "e.keras")
        for size in (0, 2000, 100_000, 400_000)
    ),
    case(
        "a disk with 100,000 bytes left, export.py e.h5",
        (*EXPORT, "e.h5"),
        play=on_small_disk(100_000, trained),
        status=(0,),
    ),
    case(
        "a disk with 100,000 bytes left, predict.py",
        PREDICT,
        play=on_small_disk(8000, together(trained, photo)),
        status=(0,),
    ),
    case(
        "a disk with 40,000 bytes left, compare.py",
        COMPARE,
        play=on_small_disk(40_000, trained),
        status=(0,),
    ),
]
