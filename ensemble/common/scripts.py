"""The training scripts of this collection, as modules."""

import importlib.util
import os
from pathlib import Path

from ensemble.common.command import RefusedError, short

ROOT = Path(__file__).resolve().parents[2]  # of the collection


def training_scripts():
    """Return the paths of the training scripts, in the order of their folders' numbers."""
    return sorted(ROOT.glob("[0-9]*.*/*.py"), key=lambda path: int(path.parent.name.split(".")[0]))


def import_script(path):
    """Return a training script as a module, afresh; importing it imports Keras and its backend, quietly.

    path: absolute, or from the root. Raise RefusedError if there is no such backend.
    """
    specification = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    script = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(script)
    except (ImportError, ValueError) as error:  # Keras has the latter for a backend that it does not know
        backend = f"KERAS_BACKEND = {os.environ['KERAS_BACKEND']!r}"
        mend = "install requirements.txt, or give one of tensorflow, jax, torch that is installed"
        raise RefusedError(f"Keras with {backend} cannot be imported ({short(error)}); {mend}") from None
    return script
