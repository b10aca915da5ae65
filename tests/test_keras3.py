"""Models by earlier versions of Keras 3, as today's with what those wrote put back: read as then, or refused."""

import io
import json
import zipfile

import h5py
import numpy as np
import pytest

from ensemble.common.command import RefusedError
from ensemble.model_files.loading import load_model


def rewrite(path, change, version):
    """Change the configuration of a model in a file, by a function, and the version of Keras that saved it."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"], file.attrs["keras_version"] = json.dumps(config), version
        return
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config, about = (json.loads(parts[name]) for name in ("config.json", "metadata.json"))
    change(config)
    parts |= {"config.json": json.dumps(config), "metadata.json": json.dumps(about | {"keras_version": version})}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def wrap(spec):
    """Put the one input and output of models into lists, as Keras wrote them to 3.10."""
    config = spec["config"]
    for layer in config.get("layers", ()):
        wrap(layer)
    for name in ("input_layers", "output_layers"):
        if name in config:
            config[name] = [config[name]]


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_a_model_in_a_sequential(tmp_path, suffix):
    import keras
    from keras import layers

    inputs = keras.Input((8, 8, 3))
    base = keras.Model(inputs, layers.BatchNormalization()(layers.Conv2D(4, 3)(inputs)))
    model = keras.Sequential([keras.Input((8, 8, 3)), base, layers.Flatten(), layers.Dense(3)])
    images = np.random.default_rng(0).uniform(size=(5, 8, 8, 3))
    path = tmp_path / f"model{suffix}"
    model.save(path)
    rewrite(path, wrap, "3.10.0")
    before = path.read_bytes()
    found = load_model(path).predict_on_batch(images)
    np.testing.assert_allclose(found, model.predict_on_batch(images), rtol=0, atol=1e-6)
    assert path.read_bytes() == before and [*tmp_path.iterdir()] == [path]


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_what_computed_something_else(tmp_path, suffix):
    import keras
    from keras import layers

    def save(layer):
        path = tmp_path / f"model{suffix}"
        model = keras.Sequential([keras.Sequential([keras.Input((8, 8, 3)), layer]), layers.GlobalAveragePooling2D()])
        model.build((None, 8, 8, 3))
        model.save(path)
        return path

    def forget(spec):
        del spec["config"]["layers"][-2]["config"]["layers"][-1]["config"]["output_padding"]

    path = save(layers.RandomCrop(4, 4))
    assert load_model(path)
    rewrite(path, lambda config: None, "3.7.0")
    with pytest.raises(RefusedError, match=r"a model by Keras 3\.7\.0, has RandomCrop, which before 3\.8"):
        load_model(path)
    path = save(layers.Conv2DTranspose(2, 3, strides=2, output_padding=1))
    assert load_model(path)
    rewrite(path, forget, "3.10.0")
    with pytest.raises(RefusedError, match=r"has Conv2DTranspose, whose output_padding is not in the file"):
        load_model(path)
    rewrite(path, lambda config: None, "unknown")
    with pytest.raises(RefusedError, match="does not say which Keras saved it"):
        load_model(path)
