"""Augmentation, against plain NumPy: what each change may do, to each image on its own."""

import numpy as np
import pytest
from conftest import load_script
from PIL import Image
from scipy.ndimage import affine_transform

COUNT, SIZE = 64, 32
COLOUR = np.array([10, 200, 90], np.uint8)
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype=np.uint8)
LABELS = np.eye(10, dtype=np.float32)[RANDOM.integers(0, 10, COUNT)]


def augmented(names, fill="constant", seed=(0, 0), images=IMAGES):
    script = load_script("4.ResNet/resnet.py", AUGMENT=names, FILL=fill)
    return script.augment(images.copy(), LABELS.copy(), COLOUR, np.random.default_rng(seed))


def shifted(image, down, right, fill):
    """What a shift by (down, right) makes of an image (n, n, 3), by padding and cutting."""
    if fill == "reflect":
        padded = np.pad(image, [(4, 4), (4, 4), (0, 0)], mode="reflect")
    else:
        padded = np.tile(COLOUR, (SIZE + 8, SIZE + 8, 1))
        padded[4:-4, 4:-4] = image
    return padded[4 - down : 4 - down + SIZE, 4 - right : 4 - right + SIZE]


def test_nothing_named_changes_nothing():
    images, labels = augmented(())
    assert np.array_equal(images, IMAGES) and np.array_equal(labels, LABELS)


def test_flip_mirrors_about_half_of_the_images():
    images, labels = augmented(("flip",))
    mirrored = [np.array_equal(new, old[:, ::-1]) for new, old in zip(images, IMAGES, strict=True)]
    same = [np.array_equal(new, old) for new, old in zip(images, IMAGES, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48  # 5 deviations of 64 fair coins
    assert np.array_equal(labels, LABELS)


@pytest.mark.parametrize("fill", ["constant", "reflect"])
def test_shift_is_up_to_four_pixels_of_each_image_and_never_wraps(fill):
    images, _ = augmented(("shift",), fill)
    steps = range(-4, 5)
    found = []
    for new, old in zip(images, IMAGES, strict=True):
        matches = [(d, r) for d in steps for r in steps if np.array_equal(new, shifted(old, d, r, fill))]
        assert len(matches) == 1
        found += matches
    assert len(set(found)) > 30  # 64 draws of 81 shifts
    assert {down for down, _ in found} == {right for _, right in found} == set(steps)


def test_rotation_is_up_to_fifteen_degrees():
    ramp = np.broadcast_to(np.arange(SIZE, dtype=np.uint8)[:, None, None] * 8, (COUNT, SIZE, SIZE, 3)).copy()
    images, _ = augmented(("rotate",), "reflect", images=ramp)
    angles = np.radians(np.linspace(-15, 15, 601))
    best = []
    centre = (SIZE - 1) / 2
    inner = slice(8, 24)  # no border here, whatever the angle
    candidates = []
    for angle in angles:
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        offset = centre - turn @ [centre, centre]
        candidates.append(affine_transform(ramp[0, ..., 0].astype(float), turn, offset, order=1, mode="nearest"))
    candidates = np.stack(candidates)[:, inner, inner]
    for new in images[..., 0]:
        errors = np.abs(candidates - new[inner, inner]).mean(axis=(1, 2))
        assert errors.min() < 2.5  # the nearest pixel is at most half a step of 8 away, on average a quarter
        best.append(np.degrees(angles[errors.argmin()]))
    assert min(best) < -11 and max(best) > 11 and len(set(np.round(best))) > 15


def test_cutout_hides_a_square_of_half_the_side_cut_at_the_border():
    images, _ = augmented(("cutout",), images=np.maximum(IMAGES, COLOUR + 1))  # the colour occurs nowhere else
    areas = []
    for new, old in zip(images, np.maximum(IMAGES, COLOUR + 1), strict=True):
        hole = (new == COLOUR).all(axis=-1)
        rows, columns = np.flatnonzero(hole.any(axis=1)), np.flatnonzero(hole.any(axis=0))
        assert hole.sum() == len(rows) * len(columns)  # a rectangle
        assert 8 <= len(rows) <= 16 and 8 <= len(columns) <= 16
        assert np.array_equal(new[~hole], old[~hole])
        areas.append(hole.sum())
    assert max(areas) == 256 and len(set(areas)) > 5


def test_mixup_mixes_pixels_and_labels_by_the_same_share():
    images, labels = augmented(("mixup",))
    partners, partner_labels = np.roll(IMAGES, 1, axis=0), np.roll(LABELS, 1, axis=0)
    shares = []
    for new, old, partner, label, own, other in zip(
        images, IMAGES, partners, labels, LABELS, partner_labels, strict=True
    ):
        difference = old.astype(float) - partner
        share = float((difference * (new.astype(float) - partner)).sum() / (difference**2).sum())  # least squares
        assert np.abs(new - (share * old + (1 - share) * partner.astype(float))).max() < 1
        np.testing.assert_allclose(label, share * own + (1 - share) * other, atol=5e-3)  # pixels are rounded
        shares.append(share)
    assert min(shares) < 0.15 and max(shares) > 0.85 and len(set(shares)) == COUNT


def test_cutmix_puts_in_a_box_and_mixes_labels_by_its_area():
    images, labels = augmented(("cutmix",))
    for new, old, partner, label, own, other in zip(
        images, IMAGES, np.roll(IMAGES, 1, axis=0), labels, LABELS, np.roll(LABELS, 1, axis=0), strict=True
    ):
        foreign = (new != old).any(axis=-1)
        rows, columns = np.flatnonzero(foreign.any(axis=1)), np.flatnonzero(foreign.any(axis=0))
        assert np.array_equal(new[foreign], partner[foreign])
        area = len(rows) * len(columns) / SIZE**2
        assert abs(foreign.sum() / SIZE**2 - area) < 1e-3
        np.testing.assert_allclose(label, (1 - area) * own + area * other, atol=1e-3)


def test_mixup_and_cutmix_together_give_each_image_one_of_them():
    images, labels = augmented(("mixup", "cutmix"))
    boxed = sum(
        ((new == old).all(-1) | (new == partner).all(-1)).all()
        for new, old, partner in zip(images, IMAGES, np.roll(IMAGES, 1, axis=0), strict=True)
    )
    assert 16 < boxed < 48
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-5)


def test_draws_depend_on_the_seed_and_on_nothing_else():
    every = ("flip", "shift", "rotate", "zoom", "shear", "autoaugment", "trivial", "erase", "cutout", "mixup", "cutmix")
    first, again, other = (augmented(every, seed=seed)[0] for seed in ((0, 7), (0, 7), (0, 8)))
    assert first.dtype == np.uint8 and first.shape == IMAGES.shape
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_batches_hold_every_image_once_an_epoch_and_start_where_told():
    script = load_script("4.ResNet/resnet.py", AUGMENT=(), BATCH_SIZE=10, SEED=3)
    x = np.zeros((45, 32, 32, 3), np.uint8)
    x[:, 0, 0, 0] = np.arange(45)

    batches = script.Batches(x, np.eye(10, dtype=np.float32)[np.arange(45) % 10], COLOUR)
    assert len(batches) == 4

    def numbers(epoch):
        batches.begin_epoch(epoch)
        images, labels = zip(*(batches[step] for step in range(4)), strict=True)
        chosen = np.concatenate(images)[:, 0, 0, 0]
        assert np.array_equal(np.concatenate(labels).argmax(axis=1), chosen % 10)
        return chosen.tolist()

    three = [numbers(epoch) for epoch in range(3)]
    assert all(len(set(epoch)) == 40 for epoch in three)
    assert three[0] != three[1]
    assert numbers(1) == three[1]
    assert np.array_equal(x[:, 0, 0, 0], np.arange(45))  # the images are not changed


def test_a_batch_depends_on_seed_epoch_and_step_in_whatever_order_they_come():
    every = ("flip", "shift", "rotate", "zoom", "shear", "autoaugment", "trivial", "erase", "cutout", "mixup", "cutmix")
    script = load_script("4.ResNet/resnet.py", AUGMENT=every, BATCH_SIZE=16)
    first, second = script.Batches(IMAGES, LABELS, COLOUR), script.Batches(IMAGES, LABELS, COLOUR)
    first.begin_epoch(5)
    forwards = [first[step][0] for step in range(4)]
    second.begin_epoch(0)
    assert not np.array_equal(second[0][0], forwards[0])
    second.begin_epoch(5)
    for step in reversed(range(4)):
        assert np.array_equal(second[step][0], forwards[step])
    script.SEED = 1
    second.begin_epoch(5)
    assert not np.array_equal(second[0][0], forwards[0])


@pytest.mark.parametrize("shape", [(28, 28), (32, 48), (64, 32)])
def test_every_change_keeps_the_images_shape(shape):
    every = ("flip", "shift", "rotate", "zoom", "shear", "autoaugment", "trivial", "erase", "cutout", "mixup", "cutmix")
    images = RANDOM.integers(0, 256, (COUNT, *shape, 3), dtype=np.uint8)
    for fill in ("constant", "reflect"):
        changed, _ = augmented(every, fill, images=images)
        assert changed.shape == images.shape and changed.dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "low", "high", "matrix"),
    [
        ("zoom", 0.9, 1.1, lambda strength: [[strength, 0], [0, strength]]),
        ("shear", -0.2, 0.2, lambda strength: [[1, 0], [strength, 1]]),
    ],
)
def test_zoom_and_shear_are_as_strong_as_their_comments_say(name, low, high, matrix):
    pattern = (
        128 + 60 * np.sin(np.arange(SIZE) / 6)[:, None] + 60 * np.cos(np.arange(SIZE) / 8)
    )  # slow: nearest is near
    images, _ = augmented((name,), images=np.repeat(pattern.astype(np.uint8)[None, ..., None], 3, 3).repeat(COUNT, 0))
    inner, centre = slice(8, 24), (SIZE - 1) / 2
    strengths = np.linspace(low - 0.02, high + 0.02, 241)
    candidates = []
    for strength in strengths:
        turn = np.array(matrix(strength))
        offset = centre - turn @ [centre, centre]
        candidates.append(affine_transform(pattern, turn, offset, order=1, mode="nearest")[inner, inner])
    found = []
    for new in images[..., 0]:
        errors = np.abs(np.array(candidates) - new[inner, inner]).mean(axis=(1, 2))
        assert errors.min() < 4
        found.append(strengths[errors.argmin()])
    assert low - 0.01 <= min(found) < low + (high - low) / 5 and high - (high - low) / 5 < max(found) <= high + 0.01


def test_erasing_puts_random_pixels_in_a_box_of_half_of_the_images():
    images, _ = augmented(("erase",), images=np.full_like(IMAGES, 7))
    erased = 0
    for image in images:
        changed = (image != 7).any(axis=2)
        if changed.any():
            rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
            height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
            assert changed.sum() >= 0.99 * height * width - 1  # all but a pixel that was drawn as it was
            assert 0.01 < height * width / SIZE**2 < 0.43 and 0.25 < height / width < 4  # in whole pixels
            erased += 1
    assert 16 < erased < 48
    noise = images[images != 7]
    assert abs(noise.mean() - 127.5) < 3 and noise.min() == 0 and noise.max() == 255


# AutoAugment and TrivialAugment
PICTURE = RANDOM.integers(30, 200, (SIZE, SIZE, 3), dtype=np.uint8)


def taken(rows, columns):
    """The pixels of PICTURE at these places (floats, the middle of a pixel being 0.5 off its corner), or COLOUR."""
    rows, columns = (np.floor(places).astype(int) for places in np.broadcast_arrays(rows, columns))
    inside = (rows >= 0) & (rows < SIZE) & (columns >= 0) & (columns < SIZE)
    return np.where(inside[..., None], PICTURE[rows.clip(0, SIZE - 1), columns.clip(0, SIZE - 1)], COLOUR)


def by_hand(name, strength):
    """What an operation makes of PICTURE, by the papers' words and Pillow's documentation."""
    down, right = np.mgrid[:SIZE, :SIZE] + 0.5
    angle, x = np.radians(30 * strength), PICTURE.astype(float)
    grey = np.rint(x @ [0.299, 0.587, 0.114])[..., None]
    factor = 0.1 + 1.8 * strength
    if name == "rotate":
        y0, x0 = down - SIZE / 2, right - SIZE / 2
        return taken(
            SIZE / 2 + np.cos(angle) * y0 + np.sin(angle) * x0, SIZE / 2 + np.cos(angle) * x0 - np.sin(angle) * y0
        )
    if name in ("shear_x", "translate_x"):
        return taken(down, right + strength * (0.3 * down if name == "shear_x" else 10))
    if name in ("shear_y", "translate_y"):
        return taken(down + strength * (0.3 * right if name == "shear_y" else 10), right)
    if name == "sharpness":
        smooth = x.copy()
        weights = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]]) / 13
        windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(0, 1))
        smooth[1:-1, 1:-1] = (windows * weights).sum(axis=(3, 4))
        return smooth + factor * (x - smooth)
    if name == "equalize":
        out = np.empty_like(x)
        for channel in range(3):
            counts = np.bincount(PICTURE[..., channel].ravel(), minlength=256)
            step = (counts.sum() - counts[counts.nonzero()[0][-1]]) // 255
            table = [(step // 2 + counts[:value].sum()) // step for value in range(256)]
            out[..., channel] = np.array(table)[PICTURE[..., channel]]
        return out
    if name == "autocontrast":
        low, high = PICTURE.min(axis=(0, 1)).astype(float), PICTURE.max(axis=(0, 1)).astype(float)
        return (x - low) * 255 / (high - low)
    return {
        "color": lambda: grey + factor * (x - grey),
        "contrast": lambda: np.rint(grey.mean()) + factor * (x - np.rint(grey.mean())),
        "brightness": lambda: factor * x,
        "posterize": lambda: PICTURE // 2 ** round(4 * strength) * 2 ** round(4 * strength),
        "solarize": lambda: np.where(x >= 256 - 256 * strength, 255 - x, x),
        "invert": lambda: 255 - x,
        "identity": lambda: x,
    }[name]()


@pytest.mark.parametrize("strength", [0.0, 0.4, 1.0])
def test_an_operation_has_the_values_of_its_formula(strength):
    operations = load_script("4.ResNet/resnet.py").OPERATIONS
    for name, operation in operations.items():
        signs = (-1, 1) if name.startswith(("rotate", "shear", "translate")) else (1,)
        for sign in signs:
            found = np.asarray(operation(Image.fromarray(PICTURE), sign * strength, tuple(COLOUR.tolist())))
            expected = by_hand(name, sign * strength).clip(0, 255)
            off = np.abs(found - expected).max(axis=2) > 2  # by more than rounding, once and again
            at_edges = 0.05 if name.startswith(("rotate", "shear")) else 0  # of pixels, by another rounding
            assert off.mean() <= at_edges, (name, sign * strength, off.mean())


def record(names, count=5000):
    """The operations, (name, strength), that the policies of these names apply to `count` images."""
    script, used = load_script("4.ResNet/resnet.py", AUGMENT=names), []
    script.OPERATIONS = {
        name: lambda image, strength, _, name=name: used.append((name, strength)) or image for name in script.OPERATIONS
    }
    random = np.random.default_rng(0)
    for _ in range(count):
        assert script.by_policy("image", COLOUR, random) == "image"
    return used


def test_trivial_takes_one_operation_of_a_strength_as_likely_as_any_other():
    used = record(("trivial",))
    names, counts = np.unique([name for name, _ in used], return_counts=True)
    assert len(used) == 5000 and len(names) == 14 and "invert" not in names
    assert abs(counts - 5000 / 14).max() < 5 * np.sqrt(5000 / 14)
    signed = np.array([strength for name, strength in used if name.startswith(("rotate", "shear", "translate"))])
    plain = np.array([strength for name, strength in used if not name.startswith(("rotate", "shear", "translate"))])
    assert plain.min() == 0 and abs((signed < 0).mean() - 0.5) < 0.1
    values, counts = np.unique(np.rint(30 * abs(np.concatenate([signed, plain]))), return_counts=True)
    assert values.tolist() == list(range(31)) and abs(counts - 5000 / 31).max() < 5 * np.sqrt(5000 / 31)


def test_autoaugment_applies_its_pairs_as_often_as_its_table_says():
    """Sums of the probabilities in the paper's table of 25 pairs for CIFAR-10, by operation."""
    expected = {"invert": 0.2, "contrast": 0.8, "rotate": 0.7, "translate_x": 0.8, "sharpness": 2.8, "shear_y": 0.7}
    expected |= {"translate_y": 3.4, "autocontrast": 5.0, "equalize": 4.7, "posterize": 0.3, "color": 2.9}
    expected |= {"brightness": 2.3, "solarize": 1.9}
    used = record(("autoaugment",))
    counts = {name: sum(own == name for own, _ in used) for name in expected}
    assert sum(counts.values()) == len(used)
    for name, probabilities in expected.items():
        mean = 5000 * probabilities / 25
        assert abs(counts[name] - mean) < 5 * np.sqrt(mean), name
    for name, magnitudes in {"rotate": {-2, 2}, "sharpness": {1, 3, 5, 6, 9}, "solarize": {2, 3, 5, 8}}.items():
        assert {round(9 * strength) for own, strength in used if own == name} == magnitudes


@pytest.mark.parametrize("name", ["autoaugment", "trivial"])
def test_a_policy_changes_each_image_on_its_own(name):
    images, labels = augmented((name,))
    assert images.shape == IMAGES.shape and images.dtype == np.uint8 and np.array_equal(labels, LABELS)
    assert np.mean([not np.array_equal(new, old) for new, old in zip(images, IMAGES, strict=True)]) > 0.5
