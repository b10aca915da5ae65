"""The members of an ensemble, made of model files and of what is kept beside them."""

import dataclasses
from pathlib import Path

import numpy as np

from ensemble.combining.predictions import PARTS, Predictions
from ensemble.common.command import RefusedError, refuse, refusing
from ensemble.common.files import file_hash
from ensemble.common.records import read_run
from ensemble.members.kept import kept_form, kept_predictions
from ensemble.members.member import Member, refuse_difference, warn_of_chance
from ensemble.members.predicting import predict
from ensemble.model_files.forms import Form
from ensemble.model_files.loading import check_name


def load_members(paths, data=None, hold_out=None, forms=None, skip_refused=False):
    """Return the models as a list of Member, in the order given; refuse members that do not belong together.

    paths: two or more .h5 or .keras files; data, hold_out: what to predict, instead of the DATA and HOLD_OUT in
    the run.json beside each model; forms: {path: Form}, of models that are fed and read in another way than when their
    predictions were kept or, without those, than raw pixels and probabilities; skip_refused: leave out the models that
    are refused, each with its line on stderr, while two are left.
    Models are loaded one at a time, and only where no predictions are kept.

    The probabilities are rounded to multiples of 2**-40, about 1e-12: float32 has no finer ones near a maximum.
    So sums of up to 4096 of them are exact in float64, and a tie is a tie in whatever order one adds.
    """
    if len(paths) < 2:
        refuse("an ensemble needs at least two models")
    paths = [Path(path) for path in paths]
    found = {}
    for path in paths:  # all of them before the first prediction, which may take minutes
        with refusing(skip_refused):
            found[path] = find_predictions(path, data, hold_out, (forms or {}).get(path))
    first, members = None, {}
    for path, (kept, model, source, run) in found.items():
        with refusing(skip_refused):
            member = make_member(path, kept or predict(path, model, **source), model, run)
            first = first or member
            refuse_difference(first, member)
            members[path] = member
            if run["model"] is None:
                warn_of_chance(member)
    left = [members[path] for path in paths if path in members]
    if len(left) < 2:
        refuse(f"of {len(paths)} models, {len(left)} could be used; an ensemble needs at least two")
    return left


def make_member(path, predictions, model, run):
    """Return a Member from its predictions, a dictionary as in predictions.npz, its hash, and its run."""
    parts = {}
    for part in PARTS:
        probabilities = np.rint(predictions[f"{part}_probabilities"].astype(np.float64) * 2**40) / 2**40
        parts[part] = Predictions(probabilities, predictions[f"{part}_labels"])
    form = dataclasses.replace(predictions["form"], size=tuple(predictions["size"]) or None)
    return Member(
        path=path,
        model=model,
        parameters=run["parameters"] if run["model"] == model else predictions["parameters"],
        data=predictions["data"],
        split=predictions["split"],
        predictions=parts,
        form=form.record(predictions["outputs"], probabilities.shape[1]),
        hold_out=predictions["hold_out"],
    )


def find_predictions(path, data, hold_out, form):
    """Return the predictions kept beside a model or None, its hash, what to predict it with, and its run."""
    check_name(path)
    run = read_run(path)
    source = {
        "data": run["settings"].get("DATA") if data is None else data,
        "hold_out": run["settings"].get("HOLD_OUT") if hold_out is None else hold_out,
    }
    trained = run["settings"].get("HOLD_OUT")
    if None not in (hold_out, trained) and hold_out != trained:
        raise RefusedError(
            f"{path} was trained with HOLD_OUT = {trained}: with --hold-out {hold_out}, validation would be on images "
            "that it was trained on; leave it out"
        )
    model = file_hash(path)
    kept = kept_predictions(path, model, **source, form=form)
    if kept is None and source["data"] is None:
        raise RefusedError(f"{path} has no run.json and no up-to-date predictions beside it; give its --data")
    return kept, model, source | {"form": form or kept_form(path, model) or Form()}, run
