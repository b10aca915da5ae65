"""The ways to combine members that learn nothing."""

import numpy as np
from scipy.special import softmax

from ensemble.combining.metrics import log_probabilities


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


def votes(probabilities):
    """Return the winners of hard voting as probabilities of 1, float64 (n, classes)."""
    return np.eye(probabilities.shape[2])[hard_voting(probabilities)]


def geometric_mean(probabilities):
    """Return the members' geometric mean, scaled to sum to 1, float64 (n, classes): the logarithmic opinion pool."""
    return softmax(log_probabilities(probabilities).mean(axis=0), axis=1)
