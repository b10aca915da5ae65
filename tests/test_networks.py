"""The networks: parameters against formulas written out here, and the saved file against the model in memory."""

import keras
import numpy as np
import pytest
from conftest import SCRIPTS, load_script

MEAN, VARIANCE = [125.0, 123.0, 114.0], [3970.0, 3890.0, 4450.0]
PIXELS = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)


def build(script, classes=10, **settings):
    return load_script(script, **settings).build_model((32, 32, 3), classes, MEAN, VARIANCE)


def resnet_parameters(depth, classes):
    """Kernels, four numbers a channel for each batch normalisation, and the dense layer, block by block."""
    total, width = 3 * 3 * 3 * 16, 16
    for filters in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            total += 4 * width + 9 * width * filters + 4 * filters + 9 * filters * filters
            total += width * filters if width != filters else 0
            width = filters
    return total + 4 * 64 + 64 * classes + classes


@pytest.mark.parametrize(("depth", "classes"), [(8, 10), (20, 10), (20, 100), (32, 10), (44, 10), (56, 10), (110, 10)])
def test_resnet_has_the_parameters_of_its_formula(depth, classes):
    assert build("4.ResNet/resnet.py", classes, DEPTH=depth).count_params() == resnet_parameters(depth, classes)


def test_resnet_has_about_the_parameters_of_the_paper():
    millions = {20: 0.27, 32: 0.46, 44: 0.66, 56: 0.85, 110: 1.7}  # Table 6; projections and averages are ours
    for depth, paper in millions.items():
        assert resnet_parameters(depth, 10) / 1e6 == pytest.approx(paper, rel=0.025)


def test_lenet_has_62006_parameters_whatever_its_variant():
    expected = 6 * (3 * 25 + 1) + 16 * (6 * 25 + 1) + 120 * (16 * 25 + 1) + 84 * 121 + 10 * 85
    assert expected == 62_006
    for variant in ("plain", "dp", "dp_da", "dp_da_wd"):
        assert build("1.LeNet/lenet.py", VARIANT=variant).count_params() == expected


def test_weight_decay_adds_half_of_it_times_the_squared_kernels():
    model = build("4.ResNet/resnet.py", DEPTH=8, WEIGHT_DECAY=0.02)
    kernels = [weight.numpy() for weight in model.weights if weight.name == "kernel"]
    assert len(kernels) == 1 + 3 * 2 + 2 + 1
    assert float(sum(model.losses)) == pytest.approx(0.01 * sum((kernel**2).sum() for kernel in kernels), rel=1e-5)


@pytest.mark.parametrize(("variant", "decayed"), [("plain", 0), ("dp", 0), ("dp_da", 0), ("dp_da_wd", 5)])
def test_lenet_decays_weights_in_its_last_variant_alone(variant, decayed):
    assert len(build("1.LeNet/lenet.py", VARIANT=variant).losses) == decayed


def test_a_depth_that_is_not_6n_plus_2_is_refused(capsys):
    with pytest.raises(SystemExit):
        build("4.ResNet/resnet.py", DEPTH=21)
    assert "DEPTH = 21 is not 6n + 2" in capsys.readouterr().err


def test_the_normalisation_is_inside_the_model():
    model = build("4.ResNet/resnet.py", DEPTH=8)
    normalised = keras.Model(model.inputs, model.layers[1].output)(PIXELS)
    np.testing.assert_allclose(normalised, (PIXELS - np.array(MEAN)) / np.sqrt(VARIANCE), rtol=1e-4, atol=1e-4)
    plain = build("1.LeNet/lenet.py", VARIANT="plain")
    np.testing.assert_allclose(keras.Model(plain.inputs, plain.layers[1].output)(PIXELS), PIXELS / 255, rtol=1e-5)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_saved_model_predicts_what_the_model_in_memory_does(script, policy, tmp_path):
    keras.config.set_dtype_policy(policy)
    try:
        model = build(script)
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(tmp_path / "model.h5", include_optimizer=False)
    loaded = keras.models.load_model(tmp_path / "model.h5", compile=False)
    expected = model.predict(PIXELS, verbose=0)
    assert expected.dtype == np.float32 and expected.shape == (4, 10)
    np.testing.assert_allclose(expected.sum(axis=1), 1, atol=1e-5)
    for pixels in (PIXELS, PIXELS.astype(np.float32)):
        np.testing.assert_allclose(loaded.predict(pixels, verbose=0), expected, atol=1e-6)
