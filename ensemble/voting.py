"""Let trained models vote.

    python ensemble/voting.py runs/*/model.h5
    python ensemble/voting.py mine.h5 other.keras --data digits --scale other.keras=1/255

Hard voting takes the class that most members choose; soft voting the one with the largest mean probability.
Prints the accuracy of every member and of both votes, and writes ensemble.json and ensemble.png.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.combining.metrics import score
from ensemble.combining.predictions import PARTS, Predictions
from ensemble.combining.votes import hard_voting, soft_voting
from ensemble.common.command import run_command
from ensemble.members.loading import load_members
from ensemble.members.member import stack
from ensemble.members.options import argument_parser
from ensemble.model_files.form_options import read_forms
from ensemble.results.record import result_folder
from ensemble.results.summary import report

SCRIPT = "ensemble/voting.py"


def main():
    options = argument_parser(__doc__).parse_args()
    members = load_members(options.models, options.data, options.hold_out, read_forms(options), options.skip_refused)
    folder = result_folder(SCRIPT, members, options.out, {})
    started = time.perf_counter()
    methods = {"hard voting": {}, "soft voting": {}}
    for part in PARTS:
        predictions = stack(members, part)
        winners = hard_voting(predictions.probabilities)
        methods["hard voting"][part] = {"accuracy": float((winners == predictions.labels).mean())}
        methods["soft voting"][part] = score(Predictions(soft_voting(predictions.probabilities), predictions.labels))
    report(SCRIPT, members, methods, folder, time.perf_counter() - started)


if __name__ == "__main__":
    run_command(main)
