"""Learning rates against their formulas, written out again here."""

import math

import keras
import numpy as np
import pytest
from conftest import load_script

STEPS, EPOCHS, RATE = 10, 20, 0.2


def rates(**settings):
    script = load_script("4.ResNet/resnet.py", EPOCHS=EPOCHS, LEARNING_RATE=RATE, **settings)
    return np.array([script.learning_rate(step / STEPS) for step in range(STEPS * EPOCHS)])


def test_step_drops_exactly_at_its_milestones():
    table = rates(SCHEDULE="step", MILESTONES=(0.5, 0.75), DROP=0.1)
    np.testing.assert_allclose(table[[0, 99, 100, 149, 150, 199]], [0.2, 0.2, 0.02, 0.02, 0.002, 0.002], rtol=1e-6)
    assert len(set(table)) == 3
    np.testing.assert_allclose(rates(SCHEDULE="step", MILESTONES=()), RATE)


def test_cosine():
    table = rates(SCHEDULE="cosine")
    expected = [RATE / 2 * (1 + math.cos(math.pi * i / 200)) for i in range(200)]
    np.testing.assert_allclose(table, expected, rtol=1e-5)


def test_tanh():
    table = rates(SCHEDULE="tanh")
    expected = [RATE / 2 * (1 - math.tanh(-6 + 9 * i / 200)) for i in range(200)]
    np.testing.assert_allclose(table, expected, rtol=1e-5)
    assert table[0] == pytest.approx(RATE, rel=1e-4)
    assert rates(SCHEDULE="tanh")[-1] == pytest.approx(RATE * 0.5 * (1 - math.tanh(3 - 9 / 200)), rel=1e-5)


@pytest.mark.parametrize(("first", "last"), [(-4, 4), (-20, 0), (-0.5, 20), (0, 0)])
def test_tanh_with_other_bounds(first, last):
    table = rates(SCHEDULE="tanh", TANH_FROM=first, TANH_TO=last)
    expected = [RATE / 2 * (1 - math.tanh(first + (last - first) * i / 200)) for i in range(200)]
    np.testing.assert_allclose(table, expected, rtol=1e-5, atol=1e-8)
    assert (np.diff(table) <= 0).all()  # it never rises, whatever the two settings allow


def test_the_bounds_of_tanh_are_settings():
    script = load_script("4.ResNet/resnet.py")
    settings, _ = script.read_settings(["--tanh-from", "-4.5", "--tanh-to=4"])
    assert (settings["TANH_FROM"], settings["TANH_TO"]) == (script.TANH_FROM, script.TANH_TO) == (-4.5, 4.0)
    assert type(settings["TANH_TO"]) is float
    for option, value in (("from", "-20.1"), ("from", "0.1"), ("to", "-1"), ("to", "nan")):
        with pytest.raises(script.InputError, match=f"TANH_{option.upper()} = '{value}' is not a number from"):
            script.read_settings([f"--tanh-{option}={value}"])


def test_warmup_rises_to_the_full_rate_and_the_schedule_starts_there():
    table = rates(SCHEDULE="cosine", WARMUP=5)
    np.testing.assert_allclose(table[:50], RATE * np.arange(50) / 50, rtol=1e-6)
    expected = [RATE / 2 * (1 + math.cos(math.pi * i / 150)) for i in range(150)]
    np.testing.assert_allclose(table[50:], expected, rtol=1e-5)


def test_warmup_longer_than_the_run_never_reaches_the_full_rate():
    np.testing.assert_allclose(rates(SCHEDULE="step", WARMUP=40), RATE * np.arange(200) / 400, rtol=1e-6)


def test_one_milestone_needs_no_tuple_and_one_named_twice_drops_twice():
    np.testing.assert_array_equal(rates(SCHEDULE="step", MILESTONES=0.5), rates(SCHEDULE="step", MILESTONES=(0.5,)))
    table = rates(SCHEDULE="step", MILESTONES=(0.5, 0.75, 0.75), DROP=0.5)
    np.testing.assert_allclose(table[[99, 100, 149, 150]], [RATE, RATE / 2, RATE / 2, RATE / 8], rtol=1e-6)


def test_every_step_gets_its_own_rate():
    script = load_script("4.ResNet/resnet.py")
    schedule = script.EveryStep(np.float32([0.3, 0.2, 0.1]))
    assert [float(schedule(step)) for step in (0, 1, 2, 3)] == pytest.approx([0.3, 0.2, 0.1, 0.1])


def test_plateau_is_that_of_keras():
    losses = [3, 2, 2.5, 2.5, 1.9, 2, 2, 2, 2, 2, 1.8, 1.8, 1.8, 1.7, 1.71, 1.72, 1.73]
    script = load_script("4.ResNet/resnet.py", LEARNING_RATE=RATE, DROP=0.5, PATIENCE=2)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(RATE), "mse")
    callback = keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=2, min_delta=0)
    callback.set_model(model)
    callback.on_train_begin()
    for number, loss in enumerate(losses):
        callback.on_epoch_end(number, {"val_loss": loss})
        assert script.plateau_rate(RATE, losses[: number + 1]) == pytest.approx(float(model.optimizer.learning_rate))
