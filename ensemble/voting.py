"""Let trained models vote.

    python ensemble/voting.py runs/*/model.h5
    python ensemble/voting.py mine.h5 other.keras --data digits --scale other.keras=1/255

Hard voting takes the class that most members choose; soft voting the one with the largest mean probability.
Prints the accuracy of every member and of both votes, and writes ensemble.json and ensemble.png.
"""

import sys
import time

import numpy as np
from forms import read_forms
from members import PARTS, argument_parser, load_members, report, result_folder, score, stack

SCRIPT = "ensemble/voting.py"


def hard_voting(probabilities):
    """Return the classes that most members choose, int64 (n,), for float64 (members, n, classes).

    Of classes with equally many votes, the one with the largest summed probability wins, over all members; so
    two members that disagree do not always give the lower class. A member whose own largest probabilities are
    equal chooses the first of them, and so does the vote where the sums are equal too.
    """
    choices = probabilities.argmax(axis=2)
    votes = (choices[:, :, np.newaxis] == np.arange(probabilities.shape[2])).sum(axis=0)
    tied = votes == votes.max(axis=1, keepdims=True)
    return np.where(tied, probabilities.sum(axis=0), -1).argmax(axis=1)


def soft_voting(probabilities):
    """Return the members' mean probabilities, float64 (n, classes), for float64 (members, n, classes)."""
    return probabilities.mean(axis=0)


def main():
    options = argument_parser(__doc__).parse_args()
    members = load_members(options.models, options.data, options.hold_out, read_forms(options), options.skip_refused)
    result_folder(SCRIPT, members, options.out, {})
    started = time.perf_counter()
    methods = {"hard voting": {}, "soft voting": {}}
    for part in PARTS:
        probabilities, labels = stack(members, part), members[0].labels[part]
        methods["hard voting"][part] = {"accuracy": float((hard_voting(probabilities) == labels).mean())}
        methods["soft voting"][part] = score(soft_voting(probabilities), labels)
    report(SCRIPT, members, methods, options.out, time.perf_counter() - started)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
