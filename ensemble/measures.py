"""How good probabilities are, and whether one ensemble is better than another by more than chance."""

import math

import numpy as np
from scipy.optimize import brentq, minimize_scalar
from scipy.special import softmax
from scipy.stats import binomtest, norm

BINS = 15
CONTINUITY = 0.5  # images that an interval is wider at either end, since gains go by whole images
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
    """Return the 95% interval of accuracy gained over a baseline: two floats.

    right, baseline: bool (n,), whether each is right on the same images. Tango's score interval for the difference of
    paired proportions (Statistics in Medicine 17, 1998, page 891), with a correction for continuity: every gain from
    which the one seen is at most 1.96 standard deviations and CONTINUITY images away. The standard deviation is that
    under the likeliest shares of images won and lost that make this gain, so it is above 0 even where the two are right
    alike. Without the correction the interval would be too narrow, by a little, where they differ on few images.
    """
    images, deviations = len(right), norm.ppf(0.975)
    won, lost = int((right & ~baseline).sum()), int((baseline & ~right).sum())

    def highest(won, lost):
        def left_to_end(gain):
            """How many images a gain is from the upper end: above 0 inside."""
            b = (2 * images - won + lost) * gain - won - lost
            share_lost = (math.sqrt(b * b + 8 * images * lost * gain * (1 - gain)) - b) / (4 * images)
            variance = images * (2 * share_lost + gain * (1 - gain))
            return won - lost + CONTINUITY - images * gain + deviations * math.sqrt(variance)

        return 1.0 if won == images else brentq(left_to_end, (won - lost) / images, 1)

    return -highest(lost, won), highest(won, lost)


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
