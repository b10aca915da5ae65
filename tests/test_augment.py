"""Augmentation, against plain NumPy: what each change may do, to each image on its own."""

import numpy as np
import pytest
from conftest import load_script
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
    every = ("flip", "shift", "rotate", "cutout", "mixup", "cutmix")
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
    every = ("flip", "shift", "rotate", "cutout", "mixup", "cutmix")
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
    every = ("flip", "shift", "rotate", "cutout", "mixup", "cutmix")
    images = RANDOM.integers(0, 256, (COUNT, *shape, 3), dtype=np.uint8)
    for fill in ("constant", "reflect"):
        changed, _ = augmented(every, fill, images=images)
        assert changed.shape == images.shape and changed.dtype == np.uint8
