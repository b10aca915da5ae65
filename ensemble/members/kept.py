"""Predictions that are kept beside a model, so that it is needed only once."""

import dataclasses
from pathlib import Path

from ensemble.combining.predictions import PARTS
from ensemble.common.checks import open_npz
from ensemble.common.command import RefusedError
from ensemble.common.records import read_run
from ensemble.common.schemas import FormFields, check
from ensemble.members.data import data_hash
from ensemble.model_files.forms import Form, are_probabilities, finite, softmax


def kept_predictions(path, model, data, hold_out, form=None):
    """Return the predictions kept beside a model, a dictionary as in predictions.npz, or None.

    They must be of this very model, by its hash, and of these images: of data, hold_out and form where they are not
    None, and of the data file as it is now.
    """
    for name in ("predictions.npz", f"{path.name}.predictions.npz"):
        file = path.with_name(name)
        if not file.exists():
            continue
        own = name == "predictions.npz"  # a finished run's, of the images it was trained with
        if own and not path.with_name("run.json").exists():
            continue  # somebody's file of the same name
        try:
            with open_npz(file) as arrays:
                kept = {key: arrays[key] for key in arrays.files}
            kept |= {key: str(kept[key]) for key in ("model", "data", "split")}
            if own:
                kept |= {"form": Form(), "outputs": "probabilities", "parameters": None, "size": ()}
            else:
                kept |= {"form": Form.from_json(str(kept["form"])), "outputs": str(kept["outputs"])}
                kept["parameters"] = int(kept["parameters"])
                kept["size"] = tuple(kept["size"].tolist()) if "size" in kept else ()
                kept |= {"data_sha256": str(kept["data_sha256"]), "hold_out": int(kept["hold_out"])}
            check_arrays(kept)
        except RefusedError:
            raise
        except PermissionError as error:
            raise RefusedError(f"{file} cannot be read: {error.strerror}") from None
        except Exception:  # a file can be broken in many ways
            raise RefusedError(f"{file} is damaged; delete it, and it is made anew from the model") from None
        if own:
            kept["hold_out"] = read_run(path)["settings"].get("HOLD_OUT")
        elif Path(kept["data"]).exists() and data_hash(kept["data"]) != kept["data_sha256"]:
            continue
        if (
            kept["model"] == model
            and data in (None, kept["data"])
            and (hold_out is None or hold_out == kept["hold_out"])
            and form in (None, kept["form"])
        ):
            for part in PARTS:
                outputs = finite(kept[f"{part}_probabilities"], file)
                kept[f"{part}_probabilities"] = outputs if are_probabilities(outputs) else softmax(outputs)
            return kept
    return None


def check_arrays(kept):
    """Raise ValueError or another exception unless predictions, a dictionary as in predictions.npz, are such."""
    check({"outputs": kept["outputs"], "size": list(kept["size"]) or None}, FormFields)
    if not 0 <= (kept["parameters"] or 0) <= 2**53:
        raise ValueError
    classes = kept["test_probabilities"].shape[1]
    for part in PARTS:
        outputs, labels = kept[f"{part}_probabilities"], kept[f"{part}_labels"]
        if (outputs.dtype.kind, labels.dtype.kind) not in (("f", "i"), ("f", "u")):
            raise ValueError
        if outputs.shape != (len(labels), classes) or labels.ndim != 1:
            raise ValueError
        if not 0 <= labels.min() <= labels.max() < classes:
            raise ValueError


def kept_form(path, model):
    """Return how a model, by its hash, was fed and read when its predictions were last kept, or None."""
    try:
        with open_npz(path.with_name(f"{path.name}.predictions.npz")) as kept:
            if str(kept["model"]) == model:
                return dataclasses.replace(Form.from_json(str(kept["form"])), outputs=str(kept["outputs"]))
    except Exception:  # a file can be broken in many ways
        pass
    return None
