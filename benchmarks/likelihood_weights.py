"""Time the search of the likeliest weights of an ensemble against SciPy's SLSQP from 20 random starts, side by side.

    python benchmarks/likelihood_weights.py

The members are those of weight_search.py, on 10,000 images. SLSQP gets the gradient. Prints a Markdown table, with how
far each is from the greatest likelihood at most (the duality gap of likelihood_weights), in nats per image.
"""

import sys
import time
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from benchmarks.weight_search import REPEATS, draw_members, print_heading
from ensemble.combining.likelihood import duality_gap, likelihood_weights
from ensemble.combining.metrics import LEAST
from ensemble.common.command import run_command

STARTS = 20


def by_slsqp(predictions):
    """Return the best weights that SLSQP finds from STARTS random ones, float64 (members,)."""
    given = np.maximum(predictions.given, LEAST)
    count = len(given)

    def loss_and_gradient(weights):
        mixed = np.maximum(weights @ given, 1e-300)
        return -np.log(mixed).mean(), -(given / mixed).mean(axis=1)

    sums_to_one = {"type": "eq", "fun": lambda weights: weights.sum() - 1, "jac": np.ones_like}
    found = [
        minimize(loss_and_gradient, start, method="SLSQP", jac=True, bounds=[(0, 1)] * count, constraints=sums_to_one)
        for start in np.random.default_rng(0).dirichlet(np.ones(count), STARTS)
    ]
    return np.maximum(min(found, key=lambda result: result.fun).x, 0)


def compare(count, images=10_000):
    """Return a row of the table for `count` members."""
    predictions = draw_members(count, images, classes=10)
    ways = {"SLSQP": by_slsqp, "ours": likelihood_weights}
    seconds, gaps = dict.fromkeys(ways, np.inf), {}
    for _ in range(REPEATS):
        for name, way in ways.items():
            started = time.perf_counter()
            weights = way(predictions)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
            gaps[name] = duality_gap(weights / weights.sum(), predictions)
    times = f"{seconds['SLSQP']:.3f} | {seconds['ours']:.4f} | {seconds['SLSQP'] / seconds['ours']:.0f}"
    return f"| {count} | {times} | {gaps['SLSQP']:.0e} | {gaps['ours']:.0e} |"


def main():
    print_heading(__doc__)
    print("| members | SLSQP, s | ours, s | times faster | SLSQP's gap | our gap |\n|---:|---:|---:|---:|---:|---:|")
    for count in (2, 4, 8):
        print(compare(count), flush=True)


if __name__ == "__main__":
    run_command(main)
