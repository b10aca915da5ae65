"""Model files of any origin: opened, or refused in one line.

Neither Keras nor its backend is imported before the first model is loaded.
"""

import json
import logging
import re
import warnings
import zipfile
from contextlib import contextmanager
from pathlib import Path

import h5py

from ensemble.common.checks import check_memory
from ensemble.common.command import RefusedError
from ensemble.model_files.keras2 import load_keras2
from ensemble.model_files.keras2_layers import Keras2Error
from ensemble.model_files.keras3 import Keras3Error, mended, operations_in

SUFFIXES = (".h5", ".keras")
SIGNATURES = {b"\x89HDF": ".h5", b"PK\x03\x04": ".keras"}  # the first bytes of HDF5 and zip files


# What a file is
def check_name(path):
    """Refuse what is no file, or none whose name says that it is a model."""
    if path.is_dir() and (path / "saved_model.pb").exists():
        raise RefusedError(
            f"{path} is a SavedModel folder, which Keras 3 does not load; load it with the TensorFlow that made it, "
            "tf.keras.models.load_model, and save it as .h5"
        )
    if path.is_dir():
        raise RefusedError(f"{path} is a folder; give the model file in it")
    if not path.is_file():
        raise RefusedError(f"there is no file {path}")
    check_memory(path.stat().st_size, path)
    try:
        with path.open("rb") as file:
            suffix = SIGNATURES.get(file.read(4))
    except OSError as error:
        raise RefusedError(f"{path} cannot be read: {error.strerror}") from None
    if path.suffix not in SUFFIXES:
        kinds = {".h5": "an HDF5 file", ".keras": "a zip file, as .keras files are"}
        about = f"it is {kinds[suffix]}: if it is a model, rename it to {path.stem}{suffix}" if suffix else ""
        raise RefusedError(f"{path} is no model: its name must end in .h5 or .keras" + (about and f"; {about}"))
    if suffix not in (None, path.suffix):
        raise RefusedError(f"{path} is in truth a {suffix} file; rename it to {path.stem}{suffix}")


def stored_bytes(path, file):
    """Return the bytes of all data in an open HDF5 file, or refuse links and data that lies elsewhere."""
    sizes = []

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            sizes.append(item.size * item.dtype.itemsize)
            strange = item.external or item.is_virtual
        else:
            strange = any(not isinstance(item.get(part, getlink=True), h5py.HardLink) for part in item)
        if strange:
            raise RefusedError(f"{path} has an HDF5 link or data of another file in {name}; no model has that")

    visit("/", file)
    file.visititems(visit)
    return sum(sizes)


def check_config(path, file, version):
    """Refuse an open HDF5 file that holds no model, or one that Keras wrote but does not read."""
    config = file.attrs.get("model_config")
    if config is None and ("layer_names" in file.attrs or "layers" in file or "_layer_checkpoint_dependencies" in file):
        raise RefusedError(
            f"{path} holds weights alone, without the network; where it was made, load them into the network and save "
            "the whole with model.save"
        )
    if config is None or "model_weights" not in file:
        raise RefusedError(f"{path} is an HDF5 file in which Keras saved no model")
    names = operations_in(json.loads(config))
    if names and not version.startswith("2."):
        raise RefusedError(
            f"{path} has operations in its graph ({', '.join(names)}), which Keras cannot read back from an .h5 file; "
            "where it was made, save it as .keras"
        )


def check_file(path):
    """Return the version of Keras that saved a model, or refuse a file that is none that Keras 3 or this can load.

    Refuse a file whose parts are said to be far larger than it is: Keras, which does not compress, never made it.
    """
    if path.suffix == ".h5":
        with h5py.File(path) as file:
            size = stored_bytes(path, file)
            version = file.attrs.get("keras_version")
            version = version.decode() if isinstance(version, bytes) else str(version)
            check_config(path, file, version)
    else:
        with zipfile.ZipFile(path) as archive:
            size = sum(part.file_size for part in archive.infolist())
            with archive.open("model.weights.h5") as weights, h5py.File(weights) as file:
                size += stored_bytes(path, file)
            version = str(json.loads(archive.read("metadata.json"))["keras_version"])
        if version.startswith("2."):
            raise RefusedError(
                f"{path} was saved by Keras {version} as .keras, which Keras 3 reads in another meaning; where it was "
                "made, save it as .h5"
            )
    if not re.match(r"\d+\.\d+", version):
        raise RefusedError(f"{path} does not say which Keras saved it, and what it means hangs on that")
    if version.startswith(("0.", "1.")):
        raise RefusedError(f"{path} was saved by Keras {version}; load it with Keras 2.0 to 2.2 and save it again")
    if size > 10 * path.stat().st_size + 2**20:
        raise RefusedError(f"{path} is said to hold {size:,} bytes, and has {path.stat().st_size:,}")
    return version


# Loading
def load_model(path, output=None):
    """Return the Keras model in a file, of one input and one output, or refuse the file.

    output: the name of the output, needed where there are several. Refused are a file with code in it, which Keras does
    not run either, one that says to be far larger than it is, and one with HDF5 links, which Keras refuses only from
    3.15 on.
    """
    import keras

    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its advice on many models in one process
    path = Path(path)
    check_name(path)
    try:
        version = check_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on settings that have new names
            try:  # first without making the variables, which only compares their shapes with those in the file
                with keras.StatelessScope(initialize_variables=False):
                    read_model(path, version, make_variables=False)
            finally:
                keras.backend.clear_session()
            model = read_model(path, version, make_variables=True)
        for layer in all_layers(model):
            finalize(layer)
        return with_one_output(model, path, output)
    except RefusedError:
        raise
    except (Keras2Error, Keras3Error) as error:
        raise RefusedError(f"{path}, a model by Keras {version}, {error}") from None
    except Exception as error:  # whatever a damaged or foreign file makes Keras raise
        raise unusable(path, error) from None


def read_model(path, version, make_variables):
    """Return the Keras model in a file by Keras 2 or 3; without variables, where they are not made now."""
    import keras

    if not version.startswith("2."):
        with mended(path, version) as file:
            return keras.models.load_model(file, compile=False)
    with h5py.File(path) as file:
        return load_keras2(file, version, make_variables)


def all_layers(model):
    """Yield all layers of a model, those of models and of wrappers inside it too."""
    for layer in getattr(model, "layers", None) or [getattr(model, "layer", None)]:
        if layer is not None:
            yield layer
            yield from all_layers(layer)


def finalize(layer):
    """Let a Normalization take its weights: it computes with what it once made of them."""
    import keras

    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()


def with_one_output(model, path, name):
    """Return a model as one of one input and of the output of that name, or of the only one, or refuse it."""
    import keras

    if not model.built or not getattr(model, "inputs", None):
        raise RefusedError(
            f"{path} was saved without the shape of its images; where it was made, begin it with "
            "keras.Input((height, width, 3)), give it the weights, and save it again"
        )
    if len(model.inputs) > 1:
        raise RefusedError(f"{path} takes {len(model.inputs)} inputs; a model of images alone is needed")
    chain = isinstance(model, keras.Sequential)
    if chain or not isinstance(model.output, dict):
        names = [model.layers[-1].name] if chain else model.output_names
        outputs = dict(zip(names, model.outputs, strict=True))
    else:
        outputs = model.output
    if name is not None and name not in outputs:
        raise RefusedError(f"{path} has no output {name}; it has {', '.join(outputs)}")
    if name is None and len(outputs) > 1:
        raise RefusedError(f"{path} has the outputs {', '.join(outputs)}; give --output and the one with the classes")
    if chain or (isinstance(model.input, keras.KerasTensor) and isinstance(model.output, keras.KerasTensor)):
        return model
    return keras.Model(model.inputs[0], outputs[name or next(iter(outputs))], name=model.name)


def unusable(path, error):
    """Return the refusal of a file for the error that Keras raised on it."""
    reason = " ".join(str(error).split()) or type(error).__name__
    reason = re.split("Exception encountered: |Example error message for object ", reason)[-1]  # the cause comes last
    reason = re.split(r"\.? (?:Please ensure|Make sure|If you trust|Full object|List of objects)", reason)[0]  # advice
    return RefusedError(f"{path} cannot be used as a Keras model: {reason[:200]}")


@contextmanager
def usable(path):
    """Refuse a model for whatever Keras raises on it."""
    try:
        yield
    except RefusedError:
        raise
    except Exception as error:  # it asks for too much memory, or was never built, or ...
        raise unusable(path, error) from None
