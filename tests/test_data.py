"""Loading, checking and splitting of data, by every training script."""

import re

import numpy as np
import pytest
from conftest import SCRIPTS, load_script

RANDOM = np.random.default_rng(0)


def make_npz(path, count=60, shape=(32, 32, 3), classes=3, **replaced):
    labels = np.arange(count) % classes
    arrays = {
        "x_train": RANDOM.integers(0, 256, (count, *shape), dtype=np.uint8),
        "y_train": labels,
        "x_test": RANDOM.integers(0, 256, (count // 2, *shape), dtype=np.uint8),
        "y_test": labels[: count // 2],
    }
    arrays.update(replaced)
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return arrays


RESNET = load_script("4.ResNet/resnet.py")


def load(path, hold_out=5000):
    return RESNET.load_data(str(path), hold_out)


def refusal(path, **options):
    with pytest.raises(RESNET.InputError) as refused:
        load(path, **options)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_every_script_and_seed_makes_the_same_split():
    hashes = set()
    for script in SCRIPTS:
        for seed in (0, 1):
            module = load_script(script, SEED=seed)
            hashes.add(module.split_hash(module.load_data("digits", 5000)))
    assert len(hashes) == 1 and re.fullmatch("[0-9a-f]{16}", hashes.pop())


def test_digits_are_the_bundled_ones_scaled_and_split_by_class():
    from sklearn.datasets import load_digits

    digits = load_digits()
    data = load("digits")
    assert {part: len(y) for part, (_, y) in data.items()} == {"train": 1150, "validation": 287, "test": 360}
    known = {image.tobytes(): label for image, label in zip(digits.images, digits.target, strict=True)}
    seen = 0
    for x, y in data.values():
        assert x.dtype == np.uint8 and x.shape[1:] == (32, 32, 3)
        assert np.ptp(np.bincount(y, minlength=10) / len(y)) < 0.03
        small = (x[:, ::4, ::4, 0] * (16 / 255)).round()
        assert np.array_equal(np.kron(small[0], np.ones((4, 4))), (x[0, ..., 0] * (16 / 255)).round())
        assert [known[image.tobytes()] for image in small] == y.tolist()
        seen += len(x)
    assert seen == len(digits.target)


def test_validation_is_taken_from_training_in_equal_shares(tmp_path):
    arrays = make_npz(tmp_path / "a.npz", 600)
    data = load(tmp_path / "a.npz", 60)
    (x, y), (x_validation, y_validation) = data["train"], data["validation"]
    assert np.bincount(y_validation).tolist() == [20, 20, 20] and len(y) == 540
    parts = {image.tobytes() for image in x}, {image.tobytes() for image in x_validation}
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == {image.tobytes() for image in arrays["x_train"]}
    assert np.array_equal(data["test"][0], arrays["x_test"])
    assert len(load(tmp_path / "a.npz")["validation"][1]) == 120  # a fifth, where 5000 are asked for


def test_grey_small_images_become_three_equal_channels_with_a_black_margin(tmp_path):
    arrays = make_npz(tmp_path / "a.npz", shape=(28, 28))
    x, y = load(tmp_path / "a.npz")["test"]
    assert x.shape == (30, 32, 32, 3) and y.dtype == np.int64
    assert np.array_equal(x[:, 2:-2, 2:-2], np.repeat(arrays["x_test"][..., None], 3, axis=3))
    assert x.sum() == 3 * arrays["x_test"].sum(dtype=np.int64)


def test_sizes_odd_oblong_and_large_are_kept_or_padded_to_32(tmp_path):
    make_npz(tmp_path / "a.npz", shape=(29, 48, 1))
    assert load(tmp_path / "a.npz")["train"][0].shape[1:] == (32, 48, 3)


def test_labels_in_a_column_as_cifar_has_them(tmp_path):
    arrays = make_npz(tmp_path / "a.npz")
    make_npz(tmp_path / "b.npz", y_train=arrays["y_train"][:, None], y_test=arrays["y_test"][:, None])
    assert np.array_equal(load(tmp_path / "b.npz")["test"][1], arrays["y_test"])


def test_colour_moments_are_those_of_numpy():
    x = RANDOM.integers(0, 200, (50, 32, 32, 3), dtype=np.uint8) + np.uint8([0, 20, 50])
    mean, variance = RESNET.colour_moments(x)
    np.testing.assert_allclose(mean, x.mean(axis=(0, 1, 2)), rtol=1e-10)
    np.testing.assert_allclose(variance, x.var(axis=(0, 1, 2)), rtol=1e-10)


IMAGES, LABELS = np.zeros((60, 32, 32, 3), np.uint8), np.arange(60) % 3
FAULTS = {
    "floats": ({"x_train": IMAGES / 255}, r"x_train float64 \(60, 32, 32, 3\)"),
    "too small": ({"x_train": IMAGES[:, :20, :20], "x_test": IMAGES[:, :20, :20]}, r"x_test uint8 \(60, 20, 20, 3\)"),
    "two channels": ({"x_test": IMAGES[..., :2]}, r"x_test uint8 \(60, 32, 32, 2\)"),
    "flat images": ({"x_train": IMAGES.reshape(60, -1)}, r"x_train uint8 \(60, 3072\)"),
    "a number": ({"x_train": np.uint8(3)}, r"x_train uint8 \(\)"),
    "an array missing": ({"y_test": None}, "y_test is not a file in the archive"),
    "a label missing": ({"y_train": LABELS[:-1]}, r"y_train int64 \(59,\)"),
    "labels as one-hot": ({"y_train": np.eye(3)[LABELS]}, r"y_train float64 \(60, 3\)"),
    "labels as floats": ({"y_train": LABELS / 1.0}, "y_train float64"),
    "labels as records": ({"y_train": np.zeros(60, [("a", int)])}, "y_train .*'a'"),
    "labels as texts": ({"y_train": LABELS.astype(str)}, "y_train <U"),
    "a negative label": ({"y_train": LABELS - 1}, "class numbers from 0 up"),
    "an empty class": ({"y_train": LABELS * 2}, "class numbers from 0 up, each at least twice"),
    "a class in the test alone": ({"y_test": LABELS[:30] + 1}, "class numbers from 0 up"),
    "a rare class": ({"y_train": np.r_[LABELS[:-1], 3]}, "each at least twice"),
    "a huge label": ({"y_train": np.where(LABELS == 2, 10**12, LABELS)}, "class numbers from 0 up"),
    "no images": ({"x_test": IMAGES[:0], "y_test": LABELS[:0]}, r"y_test int64 \(0,\)"),
    "no training images": ({"x_train": IMAGES[:0], "y_train": LABELS[:0]}, r"y_train int64 \(0,\)"),
    "other sizes": ({"x_test": np.zeros((30, 40, 40, 3), np.uint8)}, "of one size"),
    "sizes that padding would make one": ({"x_test": np.zeros((30, 31, 32, 3), np.uint8)}, r"\(30, 31, 32, 3\)"),
    "objects": ({"y_train": np.array([None] * 60)}, "allow_pickle"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_array_is_named_in_one_line(fault, tmp_path):
    replaced, message = FAULTS[fault]
    make_npz(tmp_path / "bad.npz", **replaced)
    line = refusal(tmp_path / "bad.npz")
    assert "bad.npz" in line and re.search(message, line), line


@pytest.mark.parametrize("content", [b"", b"not a zip file", b"PK\x03\x04 cut off"])
def test_a_broken_file_is_named_in_one_line(content, tmp_path):
    (tmp_path / "bad.npz").write_bytes(content)
    assert "bad.npz' cannot be loaded" in refusal(tmp_path / "bad.npz")


def test_a_lone_array_is_no_data(tmp_path):
    np.save(tmp_path / "x.npy", IMAGES)
    assert "x_train, y_train, x_test and y_test" in refusal(tmp_path / "x.npy")


def test_a_name_that_is_no_data_lists_those_that_are():
    assert re.search("cifar11.* cifar10, cifar100, mnist or fashion_mnist.* digits", refusal("cifar11"))


def test_a_hold_out_smaller_than_the_classes_is_refused(tmp_path):
    make_npz(tmp_path / "a.npz")
    assert "HOLD_OUT = 2" in refusal(tmp_path / "a.npz", hold_out=2)


def test_a_failed_download_names_the_other_ways(monkeypatch):
    import keras

    def fail():
        raise Exception("URL fetch failure")  # as Keras does

    monkeypatch.setattr(keras.datasets.cifar10, "load_data", fail)
    line = refusal("cifar10")
    assert "digits, which needs no network" in line and "tools/images_to_npz.py" in line


def test_bad_data_is_one_line_of_the_script_and_status_2(refused, tmp_path):
    make_npz(tmp_path / "bad.npz", x_test=IMAGES / 255)
    line = refused("1.LeNet/lenet.py", "--data", "bad.npz")
    assert line.startswith("lenet.py: 'bad.npz' has x_train uint8") and not (tmp_path / "runs").exists()
