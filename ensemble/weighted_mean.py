"""Find the best weights for the mean of trained models' probabilities.

    python ensemble/weighted_mean.py runs/*/model.h5
    python ensemble/weighted_mean.py runs/*/model.h5 --step 0.1

Tries all weights that are multiples of the step, are not negative and sum to 1. Those with the highest accuracy on
the validation images win; of equal winners, the nearest to equal weights. The winner is scored once on the test
images; its accuracy on validation flatters it, for there it was chosen (compare.py cross-validates). Prints a table,
and writes ensemble.json and ensemble.png.
"""

import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.combining.metrics import score
from ensemble.combining.predictions import PARTS, Predictions
from ensemble.combining.weight_grid import STEP, search, steps_in_one, weighted_mean
from ensemble.common.command import run_command
from ensemble.members.loading import load_members
from ensemble.members.member import stack
from ensemble.members.options import argument_parser
from ensemble.model_files.form_options import read_forms
from ensemble.results.record import result_folder
from ensemble.results.summary import report

SCRIPT = "ensemble/weighted_mean.py"


def main():
    parser = argument_parser(__doc__)
    parser.add_argument("--step", type=float, default=STEP, help="between neighbouring weights (default: %(default)s)")
    options = parser.parse_args()
    steps = steps_in_one(options.step)
    settings = {"step": 1 / steps}
    members = load_members(options.models, options.data, options.hold_out, read_forms(options), options.skip_refused)
    folder = result_folder(SCRIPT, members, options.out, settings)
    started = time.perf_counter()
    units, _ = search(stack(members, "validation"), options.step)
    seconds = time.perf_counter() - started
    methods = {"equal weights": {}, "weighted mean": {}}
    for part in PARTS:
        predictions = stack(members, part)
        for name, weights in (("equal weights", np.ones_like(units)), ("weighted mean", units)):
            mean = weighted_mean(predictions.probabilities, weights)
            methods[name][part] = score(Predictions(mean, predictions.labels))
    report(SCRIPT, members, methods, folder, seconds, settings, units / steps)


if __name__ == "__main__":
    run_command(main)
