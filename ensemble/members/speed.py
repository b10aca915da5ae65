"""How long models take."""

import json
import os
import time

import numpy as np

from ensemble.common.command import RefusedError, progress
from ensemble.common.files import written_whole
from ensemble.common.records import describe_computer
from ensemble.common.schemas import Seconds, read_json
from ensemble.members.data import is_folder, load_images, size_for, start_keras
from ensemble.members.predicting import batch_for
from ensemble.model_files.forms import Form, model_inputs
from ensemble.model_files.loading import load_model, usable

ROUNDS = 3  # in which its speed is measured


def seconds_per_thousand(members):
    """Return the seconds that each model takes for 1,000 of the data's images on this machine, a list of floats.

    In the precision that the model was saved in and batches of 250, or fewer if images are enlarged for it, one model
    in memory at a time; the median of ROUNDS after a batch to warm up. Kept beside the model, in FILE.seconds.json, so
    that it is measured once. All None if the images can no longer be loaded.
    """
    seconds = []
    for member in members:
        file = member.path.with_name(f"{member.path.name}.seconds.json")
        about = {"model": member.model, "split": member.split, "form": member.form, "device": describe_computer()}
        about["backend"] = os.environ.get("KERAS_BACKEND", "tensorflow")
        try:
            kept = read_json(file, Seconds, "")
        except RefusedError:  # none, or a damaged one
            kept = {}
        if kept | about != kept:  # of another model or machine
            try:
                kept = about | {"seconds": measure_seconds(member)}
            except RefusedError as error:
                print(f"Seconds per 1,000 images are not measured: {error}")
                return [None] * len(members)
            try:
                with written_whole(file) as beside:
                    beside.write_text(json.dumps(kept, indent=2, allow_nan=False) + "\n", encoding="utf-8")
            except OSError as error:
                print(f"{member.path}: its seconds are not kept beside it: {error.strerror}")
        seconds.append(kept["seconds"])
    return seconds


def measure_seconds(member):
    """Return the seconds that a model takes for 1,000 images, as seconds_per_thousand says."""
    if is_folder(member.data):
        start_keras()
    else:
        load_images(member.data, member.hold_out)  # before the model: there may be none
    import keras

    form = Form.of_record(member.form)
    model = load_model(member.path, form.output)
    images, _, _ = load_images(member.data, member.hold_out, size_for(member.data, model, member.path))
    x = np.resize(images["test"][0], (1000, *images["test"][0].shape[1:]))  # fewer are repeated
    rounds = []
    with usable(member.path):
        size = batch_for(model, member.path, x.shape[1:3], form)
        batches = [x[start : start + size] for start in range(0, len(x), size)]
        for number in progress(range(1 + ROUNDS), f"{member.path}: measuring its speed"):
            seconds = 0.0
            for batch in batches[:1] if number == 0 else batches:  # the first round warms up
                inputs = model_inputs(model, member.path, batch, form).astype(np.float32)
                started = time.perf_counter()
                model.predict_on_batch(inputs)
                seconds += time.perf_counter() - started
            rounds.append(seconds)
    del model
    keras.backend.clear_session()
    return float(np.median(rounds[1:]))
