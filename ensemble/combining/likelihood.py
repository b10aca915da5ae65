"""The weights of a mean that give the labels the greatest likelihood.

Predictions are of several members, with probabilities (members, n, classes).
"""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import nnls

from ensemble.combining.metrics import LEAST
from ensemble.common.command import refuse

GAP = 1e-9  # nats per image that the likelihood weights may be from the best
MOST_STEPS = 100  # of the search for them; the hardest known case takes 25


def duality_gap(weights, predictions):
    """Return the nats per image that weights, float (members,) of sum 1, can lack to the greatest likelihood at most.

    With p[m] being what member m gives the label, and r[m] = p[m] / (w . p): max over m of mean(r[m]) - 1.
    """
    given = np.maximum(predictions.given, LEAST)
    return float(max(0.0, (given / (weights @ given)).mean(axis=1).max() - 1))


def likelihood_weights(predictions):
    """Return the weights of greatest likelihood, float64 (members,).

    Maximises the mean of log(sum over m of w[m] * p[m]), p[m] being what member m gives the label, over weights that
    are not negative and sum to 1: a concave problem. The duality gap is brought below GAP, or the command refused.

    Solved by sequential quadratic programming, each step a least-squares problem with weights from 0 up (Kim,
    Carbonetto, Stephens and Anitescu, arXiv 1806.01412): leaving out that they sum to 1, and adding their sum to the
    loss, gives the same minimum. A step stays near the weights where the curvature says nothing, as for members that
    give the labels the same.
    """
    given = np.maximum(predictions.given, LEAST).T  # (n, members)
    count = given.shape[1]
    weights = np.full(count, 1 / count)

    def loss(weights):
        return weights.sum() - np.log(np.maximum(given @ weights, 1e-300)).mean()

    for _ in range(MOST_STEPS):
        ratios = given / (given @ weights)[:, np.newaxis]
        slopes = ratios.mean(axis=0)
        gap = slopes.max() - 1
        if gap <= GAP:
            return weights
        curvature = ratios.T @ ratios / len(ratios)
        ridge = 1e-10 * np.trace(curvature)
        lower = np.linalg.cholesky(curvature + ridge * np.eye(count))
        target = nnls(lower.T, solve_triangular(lower, 2 * slopes - 1 + ridge * weights, lower=True))[0]
        length, before = 1.0, loss(weights)
        while loss(weights + length * (target - weights)) > before + 1e-14:  # more than rounding
            length /= 2
        weights = weights + length * (target - weights)
        weights = weights / weights.sum()
    refuse(
        f"after {MOST_STEPS} steps the likelihood weights may be {gap:.0e} nats per image from the best, more than the "
        f"{GAP:.0e} promised; leave out a member that gives labels almost nothing"
    )
