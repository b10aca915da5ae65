"""How good probabilities are, and whether one ensemble is better than another by more than chance."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from scipy.stats import binomtest

BINS = 15
DRAWS = 10_000  # of the bootstrap
LEAST = 1e-7  # as in members.score: a probability of 0 would make a logarithm infinite


def log_probabilities(probabilities):
    """Return the logarithms of probabilities of any shape, of none below LEAST."""
    return np.log(np.maximum(probabilities, LEAST))


def brier_score(probabilities, labels):
    """Return the mean over images of the squared distance to the label, from 0 to 2 (Brier 1950)."""
    return float(((probabilities - np.eye(probabilities.shape[1])[labels]) ** 2).sum(axis=1).mean())


def calibration_bins(probabilities, labels):
    """Return images, mean confidence and accuracy of BINS bins of equal width, each (bins,); empty ones are 0.

    An image's confidence is its largest probability; a bin holds those above its lower end, up to its upper end.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sums = (np.bincount(bins, weights=values, minlength=BINS) for values in (confidence, right))
    return counts, *(total / np.maximum(counts, 1) for total in sums)


def calibration_error(probabilities, labels):
    """Return the expected calibration error (Guo et al., arXiv 1706.04599): the bins' mean |accuracy - confidence|."""
    counts, confidence, accuracy = calibration_bins(probabilities, labels)
    return float((counts * abs(accuracy - confidence)).sum() / counts.sum())


def tempered(probabilities, temperature):
    """Return the softmax of the log-probabilities divided by the temperature, float64 (n, classes)."""
    return softmax(log_probabilities(probabilities) / temperature, axis=1)


def best_temperature(probabilities, labels):
    """Return the temperature from 1/20 to 20 of the least cross-entropy (Guo et al., arXiv 1706.04599)."""

    def loss(log_temperature):
        given = tempered(probabilities, np.exp(log_temperature))[np.arange(len(labels)), labels]
        return -log_probabilities(given).mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded").x))


def gain_interval(right, baseline):
    """Return the 95% interval of accuracy gained over a baseline, by paired bootstrap: two floats.

    right, baseline: bool (n,), whether each is right on the same images. Drawing n images with replacement, DRAWS
    times, draws from a multinomial how often a gain, a loss and neither come; the interval is from the 2.5th to the
    97.5th percentile of gains less losses.
    """
    images = len(right)
    won, lost = (right & ~baseline).sum(), (baseline & ~right).sum()
    shares = np.array([won, lost, images - won - lost]) / images
    drawn = np.random.default_rng(0).multinomial(images, shares, DRAWS)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / images, [2.5, 97.5])
    return float(low), float(high)


def holm(p_values):
    """Return p-values, float (n,), adjusted by Holm for their number: of sets of chance, 5% have one below 0.05."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.minimum(1, factors * np.asarray(p_values)[order]))
    return adjusted


def mcnemar(right, baseline):
    """Return the p-value of McNemar's exact two-sided test for bool (n,), 1 where the two are right alike."""
    won, lost = int((right & ~baseline).sum()), int((baseline & ~right).sum())
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0
