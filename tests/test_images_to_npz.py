"""tools/images_to_npz.py, run as its user runs it, against the pixels that the images were made from."""

import os

import keras
import numpy as np
import pytest
from conftest import load_script
from PIL import Image

TOOL = "tools/images_to_npz.py"


@pytest.fixture
def images(tmp_path):
    """Write train/ and test/ with random images of two classes; return the folder and {path: pixels}."""
    generator = np.random.default_rng(0)
    pixels = {}
    for part, count in (("train", 3), ("test", 2)):
        for name in ("zebra", "ant"):
            folder = tmp_path / "images" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels[folder / f"{number}.png"] = generator.integers(0, 256, (30, 36, 3), dtype=np.uint8)
    for path, array in pixels.items():
        Image.fromarray(array).save(path)
    return tmp_path / "images", pixels


def load(path):
    """Return {name: array} of a .npz file."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def test_round_trip(run, images, tmp_path):
    folder, pixels = images
    grey = pixels[folder / "train/ant/0.png"][..., 0]
    Image.fromarray(grey).save(folder / "train/ant/0.png")
    pixels[folder / "train/ant/0.png"] = np.stack([grey] * 3, axis=2)
    Image.fromarray(grey).save(folder / "train/ant/3.JPG", quality=90)
    with Image.open(folder / "train/ant/3.JPG") as jpeg:
        pixels[folder / "train/ant/3.JPG"] = np.stack([np.asarray(jpeg)] * 3, axis=2)
    sided = Image.fromarray(pixels[folder / "train/zebra/1.png"].swapaxes(0, 1)[::-1])  # turned by a quarter
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned back
    sided.save(folder / "train/zebra/1.png", exif=exif)
    few_colours = Image.fromarray(pixels[folder / "test/zebra/1.png"]).quantize(8)
    few_colours.save(folder / "test/zebra/1.png")
    pixels[folder / "test/zebra/1.png"] = np.asarray(few_colours.convert("RGB"))

    done = run(TOOL, folder, "made.npz")
    assert done.stdout == ("made.npz: 7 training and 4 test images of 36x30 pixels\n2 classes: 0 = ant, 1 = zebra\n")
    assert done.stderr == ""
    made = load(tmp_path / "made.npz")
    assert sorted(made) == ["class_names", "x_test", "x_train", "y_test", "y_train"]
    assert made["class_names"].dtype.kind == "U" and made["class_names"].tolist() == ["ant", "zebra"]
    for part, labels in (("train", [0] * 4 + [1] * 3), ("test", [0, 0, 1, 1])):
        expected = [pixels[path] for path in sorted(pixels) if path.parent.parent.name == part]
        x, y = made[f"x_{part}"], made[f"y_{part}"]
        assert (x.dtype, y.dtype) == (np.uint8, np.int64)
        assert np.array_equal(x, np.stack(expected)) and y.tolist() == labels
    assert not list(tmp_path.glob("unfinished-*"))


def test_training_script_loads_it(run, tmp_path):
    for part, count in (("train", 10), ("test", 2)):
        for number in range(2):
            folder = tmp_path / "images" / part / f"class {number}"
            folder.mkdir(parents=True)
            for image in range(count):
                Image.new("RGB", (40, 32), (100 * number, image, 0)).save(folder / f"{image}.png")
    run(TOOL, "images", "made.npz")
    data = load_script("4.ResNet/resnet.py").load_data(str(tmp_path / "made.npz"), hold_out=4)
    assert [data[name][0].shape for name in ("train", "validation", "test")] == [
        (16, 32, 40, 3),
        (4, 32, 40, 3),
        (4, 32, 40, 3),
    ]
    for x, y in data.values():
        assert np.array_equal(x[:, 0, 0, 0], 100 * y)


def test_order_of_classes_and_images_is_that_of_keras(run, tmp_path):
    places = ["10/b.png", "10/sub/b.png", "10/sub/a.JPG", "10/Sub/a.png", "2/9.jpeg", "2/10.png", "Ant/a.png"]
    for part in ("train", "test"):
        for number, place in enumerate([*places, "ant/deep/er/a.png"]):
            path = tmp_path / "images" / part / place
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (28, 28), number).save(path, quality=100)
    run(TOOL, "images", "made.npz")
    made = load(tmp_path / "made.npz")
    keras_data = keras.utils.image_dataset_from_directory(
        tmp_path / "images/test", image_size=(28, 28), shuffle=False, batch_size=None, verbose=False
    )
    assert made["class_names"].tolist() == keras_data.class_names == ["10", "2", "Ant", "ant"]
    assert made["y_test"].tolist() == [int(label) for _, label in keras_data]
    assert sorted(made["x_test"][:, 0, 0, 0]) == list(range(8))
    for label in range(4):  # images of a class: the same, in an order of our own
        of_keras = sorted(int(x[0, 0, 0]) for x, y in keras_data if y == label)
        assert sorted(made["x_test"][made["y_test"] == label][:, 0, 0, 0]) == of_keras


def test_what_is_left_out(run, images, tmp_path):
    folder, _ = images
    whole = (folder / "train/ant/0.png").read_bytes()
    for name in (
        ".DS_Store",
        ".hidden/a.png",
        "__MACOSX/ant/._0.png",
        "__MACOSX/ant/0.png",
        "Thumbs.db",
        "ant/.DS_Store",
        "ant/._0.png",
        "ant/Thumbs.db",
        "ant/desktop.ini",
        "ant/__MACOSX/0.png",
        "ant/more/thumbs.db",
        "ant/@eaDir/0.png",
    ):
        for part in ("train", "test"):
            (folder / part / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / part / name).write_bytes(whole)
    done = run(TOOL, folder, "made.npz")
    assert "left out" not in done.stdout
    assert load(tmp_path / "made.npz")["x_train"].shape == (6, 30, 36, 3)

    for name in ("loose.png", "ant/notes.txt", "ant/more/a.webp", "ant/more/b.gif", "ant/more/even/c.bmp"):
        (folder / "train" / name).parent.mkdir(exist_ok=True)
        (folder / "train" / name).write_bytes(whole)
    (folder / "train/ant/loop").symlink_to(folder / "train/ant")
    done = run(TOOL, folder, "other.npz")
    assert f"{folder / 'train'}: left out, being in no folder of a class: 1\n" in done.stdout
    assert f"{folder / 'train'}: left out, being no .png, .jpg, .jpeg: 5\n" in done.stdout
    assert f"{folder / 'test'}: left out" not in done.stdout
    assert load(tmp_path / "other.npz")["x_train"].shape == (6, 30, 36, 3)


def test_transparency_shows_white(run, images, tmp_path):
    folder, _ = images
    generator = np.random.default_rng(1)
    colour, alpha = generator.integers(0, 256, (30, 36, 3)), generator.integers(0, 256, (30, 36, 1))
    glyph = (generator.random((30, 36)) < 0.3).astype(np.uint8)  # 1 is opaque black, 0 transparent black

    palette = Image.fromarray(glyph).convert("P")
    palette.putpalette([0, 0, 0, 0, 0, 0])
    palette.save(folder / "test/ant/0.png", transparency=b"\0\xff")
    Image.fromarray(np.concatenate([colour, alpha], axis=2).astype(np.uint8)).save(folder / "test/ant/1.png")
    grey = np.concatenate([colour[..., :1], alpha], axis=2).astype(np.uint8)
    Image.fromarray(grey).save(folder / "test/zebra/0.png")
    keyed = np.where(glyph[..., np.newaxis] == 1, colour, (1, 2, 3)).astype(np.uint8)
    Image.fromarray(keyed).save(folder / "test/zebra/1.png", transparency=(1, 2, 3))

    run(TOOL, folder, "made.npz")
    x = load(tmp_path / "made.npz")["x_test"].astype(float)
    white = 255 * (1 - alpha / 255)
    expected = [
        np.repeat(np.where(glyph == 1, 0, 255)[..., np.newaxis], 3, axis=2),
        colour * alpha / 255 + white,
        np.repeat(colour[..., :1] * alpha / 255 + white, 3, axis=2),
        np.where(glyph[..., np.newaxis] == 1, colour, 255),
    ]
    assert np.abs(x - np.stack(expected)).max() <= 1
    assert np.array_equal(x[0], expected[0]) and np.array_equal(x[3], expected[3])


def test_no_warnings_of_pillow(run, images, tmp_path):
    folder, pixels = images
    image = Image.fromarray(pixels[folder / "test/ant/0.png"])
    cut_off = b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01"  # an entry of 12 bytes, of which 2 are there
    image.save(folder / "test/ant/00.jpg", exif=cut_off)
    with pytest.warns(UserWarning, match="Corrupt EXIF data"), Image.open(folder / "test/ant/00.jpg") as jpeg:
        jpeg.getexif()
        expected = np.asarray(jpeg)
    assert run(TOOL, folder, "made.npz").stderr == ""
    assert np.array_equal(load(tmp_path / "made.npz")["x_test"][1], expected)


def test_images_of_one_colour_are_reported(run, images):
    folder, _ = images
    for number in range(2):
        Image.new("RGBA", (36, 30), (255, 255, 255, 128 * number)).save(folder / f"train/zebra/{number}.png")
    done = run(TOOL, folder, "made.npz")
    first = folder / "train/zebra/0.png"
    assert done.stderr == f"images show nothing but one colour: 2, the first {first}\n"


@pytest.mark.parametrize("fit", ["crop", "stretch"])
def test_size_is_that_of_keras(run, images, tmp_path, fit):
    folder, _ = images
    sizes = [(30, 36), (101, 40), (28, 333), (45, 45), (200, 199), (5, 7)]
    generator = np.random.default_rng(2)
    for (height, width), path in zip(sizes, sorted((folder / "train").rglob("*.png")), strict=True):
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    done = run(TOOL, folder, "made.npz", "--size", 45, *(["--fit", fit] if fit == "stretch" else []))
    assert f"6 training and 4 test images of 45x45 pixels ({fit})\n" in done.stdout
    x = load(tmp_path / "made.npz")["x_train"]
    for image, path in zip(x, sorted((folder / "train").rglob("*.png")), strict=True):
        expected = keras.utils.load_img(path, "rgb", (45, 45), "bilinear", keep_aspect_ratio=fit == "crop")
        assert np.array_equal(image, np.asarray(expected))


def test_crop_takes_the_middle_and_stretch_takes_all(run, images, tmp_path):
    folder, _ = images
    thirds = np.repeat(np.repeat(np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]), 40, axis=1), 40, axis=0)
    for path in folder.rglob("*.png"):
        Image.fromarray(thirds).save(path)
    run(TOOL, folder, "crop.npz", "--size", 30, "--fit", "crop")
    run(TOOL, folder, "stretch.npz", "--size", 30, "--fit", "stretch")
    x = load(tmp_path / "crop.npz")["x_test"]
    assert (x[:, :, 1:-1] == [0, 255, 0]).all()  # at the cut, bilinear weights reach half a pixel across
    assert np.array_equal(load(tmp_path / "stretch.npz")["x_test"][0, 0, 4::10], thirds[0, 20::40])


def empty(folder):
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def wrong_size(folder, *, everywhere, size):
    for path in sorted(folder.rglob("*.png")) if everywhere else [folder / "test/zebra/1.png"]:
        Image.new("RGB", size).save(path)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "test").rename(folder / "tests"), "there is no folder {folder}/test"),
        (lambda folder: (folder / "train").rename(folder / "trains"), "there is no folder {folder}/train"),
        (lambda folder: empty(folder / "train"), "{folder}/train has no classes"),
        (lambda folder: (folder / "test/ant").rename(folder / "test/bee"), "{folder}/train has no folder bee"),
        (lambda folder: (folder / "train/bee").mkdir(), "{folder}/train/bee has no .png, .jpg, .jpeg images"),
        (lambda folder: empty(folder / "test/ant"), "{folder}/test/ant has no .png, .jpg, .jpeg images"),
        (
            lambda folder: (folder / "train/bee").mkdir() or Image.new("L", (36, 30)).save(folder / "train/bee/1.png"),
            "{folder}/test has no folder bee",
        ),
        (
            lambda folder: (folder / "train/ant").rename(folder / "train/\udce4nt"),
            "{folder}/train has a folder '\\udce4nt'",
        ),
        (
            lambda folder: (folder / "train/ant/1.png").write_bytes(b"no image"),
            "{folder}/train/ant/1.png cannot be read as an image: it is none of PNG, JPEG, ",
        ),
        (
            lambda folder: os.truncate(folder / "test/ant/1.png", 900),
            "{folder}/test/ant/1.png cannot be read as an image",
        ),
        (
            lambda folder: Image.new("I;16", (36, 30)).save(folder / "test/ant/1.png"),
            "{folder}/test/ant/1.png cannot be read as an image: it has more than 8 bits a channel",
        ),
        (
            lambda folder: wrong_size(folder, everywhere=False, size=(30, 36)),
            "{folder}/test/zebra/1.png is 30x36 pixels, but {folder}/train/ant/0.png is 36x30, and 1 of 10 images",
        ),
        (
            lambda folder: wrong_size(folder, everywhere=True, size=(27, 40)),
            "{folder}/train/ant/0.png is 27x40 pixels; make all images 28x28 or more, with --size",
        ),
    ],
)
def test_bad_images_are_refused(refused, images, tmp_path, spoil, message):
    folder, _ = images
    spoil(folder)
    assert message.format(folder=folder) in refused(TOOL, folder, "made.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_all_broken_images_are_in_one_report(refused, images, tmp_path):
    folder, _ = images
    (folder / "train/ant/0.png").write_bytes(b"")
    (folder / "train/zebra/1.png").write_bytes(b"no image")
    os.truncate(folder / "test/ant/1.png", 900)
    Image.new("I;16", (36, 30)).save(folder / "test/zebra/0.png")
    wrong_size(folder, everywhere=False, size=(30, 36))
    line = refused(TOOL, folder, "made.npz")
    assert f"{folder}/test/zebra/1.png is 30x36 pixels, but {folder}/train/ant/1.png is 36x30" in line
    assert "replace or remove 4 of 10 images: " in line
    for name in ("train/ant/0.png", "train/zebra/1.png", "test/ant/1.png", "test/zebra/0.png"):
        assert line.count(f"{folder / name} cannot be read as an image") == 1
    line = refused(TOOL, folder, "made.npz", "--size", 32)
    assert "replace or remove 4 of 10 images: " in line and "pixels" not in line
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_bad_options_are_refused(refused, images, tmp_path):
    folder, _ = images
    (tmp_path / "there.npz").write_text("precious")
    assert "there.npz exists" in refused(TOOL, folder, "there.npz")
    assert (tmp_path / "there.npz").read_text() == "precious"
    assert "made.zip does not end in .npz" in refused(TOOL, folder, "made.zip")
    assert "there is no folder gone" in refused(TOOL, folder, "gone/made.npz")
    assert "arguments are required: out" in refused(TOOL, folder)
    assert "--size 27: give 28 or more" in refused(TOOL, folder, "made.npz", "--size", 27)
    assert "invalid int value: '2x'" in refused(TOOL, folder, "made.npz", "--size", "2x")
    assert "--fit crop does nothing without --size" in refused(TOOL, folder, "made.npz", "--fit", "crop")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "there.npz"]
