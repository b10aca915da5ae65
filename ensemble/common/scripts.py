"""The training scripts of this collection, as modules."""

import importlib.util
import os
import re
import sys
from pathlib import Path

from ensemble.common.checks import check_file
from ensemble.common.command import RefusedError, refuse, short

ROOT = Path(__file__).resolve().parents[2]  # of the collection


def training_scripts():
    """Return the paths of the training scripts, in the order of their folders' numbers."""
    return sorted(ROOT.glob("[0-9]*.*/*.py"), key=lambda path: int(path.parent.name.split(".")[0]))


def import_script(path):
    """Return a training script as a module, afresh; importing it imports Keras and its backend, quietly.

    path: absolute, or from the root. Raise RefusedError if there is no such backend, or the script is wrong.
    """
    specification = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    script = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(script)
    except Exception as error:  # a script of one's own can be wrong in many ways
        lacks = (getattr(error, "name", None) or "").split(".")[0]
        of_keras = isinstance(error, ImportError | ValueError) and lacks in ("", "keras", "tensorflow", "jax", "torch")
        if "keras" in sys.modules or not of_keras:  # which has a ValueError for a backend that it does not know
            raise RefusedError(f"{path} cannot be run: {type(error).__name__}: {short(error)}") from None
        backend = f"KERAS_BACKEND = {os.environ['KERAS_BACKEND']!r}"
        mend = "install requirements.txt, or give one of tensorflow, jax, torch that is installed"
        raise RefusedError(f"Keras with {backend} cannot be imported ({short(error)}); {mend}") from None
    return script


TAKEN = ("learning_rate", "read_settings", "InputError")  # of a training script, and these settings
TAKEN += ("DATA", "EPOCHS", "BATCH_SIZE", "SCHEDULE", "LEARNING_RATE", "SEED", "RUN")


def read_script(path):
    """Return a training script as a module; refuse what is none. Without a file in the current folder, path is
    taken from the top folder of the repository."""
    file = Path(path).resolve() if Path(path).is_file() else ROOT / path
    if not file.is_file():
        refuse(f"there is no script {path}; give one such as --script 4.ResNet/resnet.py")
    check_file(file, 2**20)
    text = file.read_text(encoding="utf-8", errors="replace")
    for name in TAKEN:
        if not re.search(rf"^(def {name}\(|class {name}\(|{name} = )", text, re.MULTILINE):
            mend = "give --script 4.ResNet/resnet.py or the like"
            refuse(f"{path} has no {name}, as the training scripts have; {mend}")
    return import_script(file)


def settings_of(script, arguments):
    """Return a script's settings by name and the folder for its run, or refuse what the script refuses."""
    try:
        return script.read_settings(arguments)
    except script.InputError as error:
        refuse(str(error))
