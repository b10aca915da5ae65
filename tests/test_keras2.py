"""Models by Keras 2: each predicts what it predicted there, or is refused in one line with the reason.

tests/data/keras2-*.h5 were made by TensorFlow 2.15 (Keras 2.15), with random weights and statistics; keras2-more.npz
has what its predict gave for the images of IMAGES. nested: a Rescaling after layers of augmentation, a Sequential
without an input (Normalization, Conv2D), and a frozen model whose layers' names have slashes, called twice there and
once outside; its output is a dictionary. sequentials: Sequentials in a Sequential, one with a model of which two layers
are frozen. hard_sigmoid: in Conv2D, Activation, TimeDistributed, Bidirectional, GRU, LSTM and SimpleRNN. graph:
preprocess_input of ResNet50, slices, arithmetic with numbers, lists and tensors, and functions of tf.nn and tf.image.
images: RandomCrop, Resizing, CenterCrop, UpSampling2D, ThresholdedReLU, Conv2DTranspose with output_padding,
LayerNormalization, activations that are layers, PReLU, AveragePooling2D with padding, and MultiHeadAttention.
"""

import json
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from ensemble.common.command import RefusedError
from ensemble.model_files.loading import load_model

ROOT = Path(__file__).resolve().parent.parent


DATA = ROOT / "tests" / "data"
IMAGES = np.random.default_rng(7).uniform(0, 255, (6, 12, 12, 3)).astype(np.float32)
NAMES = ("nested", "sequentials", "hard_sigmoid", "graph", "images")


@pytest.mark.parametrize("name", NAMES)
def test_it_predicts_what_it_predicted_in_keras_2(name):
    with np.load(DATA / "keras2-more.npz") as keras2:
        found = load_model(DATA / f"keras2-{name}.h5").predict_on_batch(IMAGES)
        np.testing.assert_allclose(found, keras2[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_it_is_of_keras_alone(name, tmp_path):
    """What was rebuilt can be saved, as export.py does, and loaded without this collection."""
    import keras

    model = load_model(DATA / f"keras2-{name}.h5")
    model.save(tmp_path / "model.keras")
    same = keras.models.load_model(tmp_path / "model.keras", compile=False)
    expected = model.predict_on_batch(IMAGES)
    np.testing.assert_allclose(same.predict_on_batch(IMAGES), expected, rtol=0, atol=1e-7)


def layer_named(config, name):
    """The configuration of a layer, in models inside the model too."""
    for layer in config["config"]["layers"]:
        if layer["config"]["name"] == name:
            return layer
        if "layers" in layer["config"]:
            found = layer_named(layer, name)
            if found:
                return found
    return None


def changed(folder, name, change, version=None, weights=None):
    """A copy of a file with a configuration, and perhaps a version and weights, changed by functions."""
    path = Path(shutil.copy(DATA / f"keras2-{name}.h5", folder / f"{name}.h5"))
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)
        if version:
            file.attrs["keras_version"] = version
        if weights:
            weights(file["model_weights"])
    return path


def setting(name, **values):
    """A function that changes settings of a layer in a configuration."""
    return lambda config: layer_named(config, name)["config"].update(values)


def renamed(name, **values):
    """A function that changes the class and what else stands beside a layer's settings."""
    return lambda config: layer_named(config, name).update(values)


def in_training(config):
    layer_named(config, "time_distributed")["inbound_nodes"][0][0][3]["training"] = True


def no_input(config):
    config["config"]["layers"] = config["config"]["layers"][1:]
    del config["config"]["layers"][0]["config"]["batch_input_shape"]


def other_function(config):
    operation = next(it for it in config["config"]["layers"] if it["config"].get("function") == "nn.relu6")
    operation["config"]["function"] = "math.cumsum"


FOREIGN = {"module": "mine", "class_name": "function", "config": "relu", "registered_name": "relu"}
REFUSED = {  # by the words of the refusal: file, what is changed, and the version
    "has Lambda, which is code": ("graph", renamed("conv2d", class_name="Lambda"), None),
    "has LocallyConnected2D": ("graph", renamed("conv2d", class_name="LocallyConnected2D"), None),
    "has Custom>Conv2D": ("graph", renamed("conv2d", class_name="Custom>Conv2D"), None),
    "has Conv2D of mine": ("graph", renamed("conv2d", module="mine.layers"), None),
    "has Conv2D of a script": ("graph", renamed("conv2d", module=None, registered_name="Conv2D"), None),
    "has Conv2D of package": ("graph", renamed("conv2d", registered_name="package>Conv2D"), None),
    "has the activation 'my_relu'": ("graph", setting("conv2d", activation="my_relu"), None),
    "has relu of mine": ("graph", setting("conv2d", activation=FOREIGN), None),
    "has TensorFlow's tf.math.cumsum": ("graph", other_function, None),
    "calls time_distributed with training=True": ("hard_sigmoid", in_training, None),
    "has LSTM with stateful = True": ("hard_sigmoid", setting("lstm", stateful=True), None),
    "has LSTM with time_major = True": ("hard_sigmoid", setting("lstm", time_major=True), None),
    "has LSTM with hard_sigmoid of its state": ("hard_sigmoid", setting("lstm", activation="hard_sigmoid"), None),
    "has BatchNormalization with renorm = True": ("images", setting("batch_normalization", renorm=True), None),
    "interpolation 'gaussian'": ("images", setting("resizing", interpolation="gaussian"), None),
    "before Keras 2.9": ("images", lambda config: None, "2.8.0"),
    "before Keras 2.3": ("images", renamed("random_crop", class_name="Resizing"), "2.2.4-tf"),
    "does not say the shape of its images": ("sequentials", no_input, None),
    "where (8, 1000000000) is needed": ("graph", setting("dense", units=10**9), None),  # which is not made first
    "is a model of class Mine": ("graph", lambda config: config.update(class_name="Mine"), None),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_not_rebuilt(words, tmp_path):
    name, change, version = REFUSED[words]
    path = changed(tmp_path, name, change, version)
    with pytest.raises(RefusedError) as refusal:
        load_model(path)
    line = str(refusal.value)
    assert line.startswith(f"{path}, a model by Keras {version or '2.15.0'}, ") and words in line and "\n" not in line


def other_order(weights):
    names = list(weights["base"].attrs["weight_names"])
    names[2:4] = names[3], names[2]  # beta before gamma, of the same shape
    weights["base"].attrs["weight_names"] = names


def fewer(weights):
    weights["dense"].attrs["weight_names"] = weights["dense"].attrs["weight_names"][:1]


def theano(weights):
    weights.attrs["backend"] = "theano"


def other_shape(weights):
    value = weights["dense/dense/kernel:0"][()]
    del weights["dense/dense/kernel:0"]
    weights["dense/dense/kernel:0"] = np.vstack([value, value])


def one_more(weights):
    weights.create_group("more").attrs["weight_names"] = ["kernel:0"]
    weights.attrs["layer_names"] = [*weights.attrs["layer_names"], "more"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (other_order, "in another order"),
        (fewer, "has 1 weights for dense, which has 2"),
        (theano, "on theano"),
        (other_shape, "has a weight dense/kernel of shape (16, 5), where (8, 5) is needed"),
        (one_more, "has weights for more, which none of its layers takes"),
    ],
)
def test_weights_that_do_not_fit(change, words, tmp_path):
    path = changed(tmp_path, "nested", lambda config: None, weights=change)
    with pytest.raises(RefusedError) as refusal:
        load_model(path)
    assert words in str(refusal.value)


def test_older_ways_to_write_the_same(tmp_path):
    """Settings of Keras 2.2 and TensorFlow 1 that no file above has; each means what Keras 2.15 writes."""

    def older(config):
        unet = layer_named(config, "batch_normalization")
        unet["class_name"] = "BatchNormalizationV1"
        unet["config"] |= {"virtual_batch_size": None, "fused": True, "renorm": False}
        layer_named(config, "thresholded_re_lu")["config"]["theta"] = {"type": "ndarray", "value": 0.4}
        layer_named(config, "conv2d_transpose")["config"] |= {"groups": 1, "dtype": {"config": {"name": "float32"}}}
        layer_named(config, "dense")["config"] |= {"dtype": "infer", "kernel_initializer": {"class_name": "Mine"}}

    with np.load(DATA / "keras2-more.npz") as keras2:
        found = load_model(changed(tmp_path, "images", older)).predict_on_batch(IMAGES)
        np.testing.assert_allclose(found, keras2["images"], rtol=0, atol=1e-6)

    def unset(config):  # of a GRU from before the setting
        del layer_named(config, "gru_1")["config"]["reset_after"]

    with np.load(DATA / "keras2-more.npz") as keras2:
        found = load_model(changed(tmp_path, "hard_sigmoid", unset, "2.1.6")).predict_on_batch(IMAGES)
        np.testing.assert_allclose(found, keras2["hard_sigmoid"], rtol=0, atol=1e-6)


def test_hard_sigmoid_by_its_formula(tmp_path):
    """Keras 2's is max(0, min(1, 0.2 x + 0.5)): the first layer of the file, computed in NumPy."""
    import keras

    path = DATA / "keras2-hard_sigmoid.h5"
    with h5py.File(path) as file:
        kernel, bias = (file[f"model_weights/conv2d/conv2d/{name}:0"][()] for name in ("kernel", "bias"))
    model = load_model(path)
    first = keras.Model(model.inputs, model.get_layer("conv2d_hard_sigmoid").output)
    windows = np.lib.stride_tricks.sliding_window_view(IMAGES / np.float32(64) - 2, (3, 3), axis=(1, 2))[:, ::2, ::2]
    x = np.einsum("nijchw,hwcf->nijf", windows, kernel) + bias
    np.testing.assert_allclose(first.predict_on_batch(IMAGES), np.clip(0.2 * x + 0.5, 0, 1), rtol=0, atol=1e-5)


def test_a_keras_file_by_keras_2_is_refused(tmp_path):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "2.15.0"}))
        archive.write(DATA / "keras2-graph.h5", "model.weights.h5")
    with pytest.raises(RefusedError, match=r"saved by Keras 2.15.0 as .keras.* save it as .h5"):
        load_model(path)
