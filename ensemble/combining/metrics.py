"""How good predictions are, as they are and at a temperature.

All take Predictions of one model or ensemble, with probabilities float (n, classes).
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import softmax

BINS = 15
LEAST = 1e-7  # what a smaller probability counts as: one of 0 would make a logarithm infinite


def log_probabilities(probabilities):
    """Return the logarithms of probabilities of any shape, of none below LEAST."""
    return np.log(np.maximum(probabilities, LEAST))


def score(predictions):
    """Return accuracy and cross-entropy in nats, {"accuracy": float, "loss": float}."""
    likelihood = np.maximum(predictions.given, LEAST)
    loss = -np.log(likelihood, dtype=np.float64).mean()
    return {"accuracy": float(predictions.right.mean()), "loss": float(loss)}


def merit(row):
    """Return what is greater of the better on validation: accuracy, then minus the loss.

    row: {"validation": {"accuracy": float, "loss": float}, ...}, as records have them.
    """
    return row["validation"]["accuracy"], -row["validation"]["loss"]


def brier_score(predictions):
    """Return the mean over images of the squared distance to the label, from 0 to 2 (Brier 1950)."""
    one_hot = np.eye(predictions.probabilities.shape[1])[predictions.labels]
    return float(((predictions.probabilities - one_hot) ** 2).sum(axis=1).mean())


def calibration_bins(predictions):
    """Return images, mean confidence and accuracy of BINS bins of equal width, each (bins,); empty ones are 0.

    An image's confidence is its largest probability; a bin holds those above its lower end, up to its upper end.
    """
    confidence = predictions.probabilities.max(axis=1)
    bins = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    sums = (np.bincount(bins, weights=values, minlength=BINS) for values in (confidence, predictions.right))
    return counts, *(total / np.maximum(counts, 1) for total in sums)


def calibration_error(predictions):
    """Return the expected calibration error (Guo et al., arXiv 1706.04599): the bins' mean |accuracy - confidence|."""
    counts, confidence, accuracy = calibration_bins(predictions)
    return float((counts * abs(accuracy - confidence)).sum() / counts.sum())


def tempered(probabilities, temperature):
    """Return the softmax of the log-probabilities divided by the temperature, float64 (n, classes)."""
    return softmax(log_probabilities(probabilities) / temperature, axis=1)


def best_temperature(predictions):
    """Return the temperature from 1/20 to 20 of the least cross-entropy (Guo et al., arXiv 1706.04599)."""
    images = np.arange(len(predictions.labels))

    def loss(log_temperature):
        given = tempered(predictions.probabilities, np.exp(log_temperature))[images, predictions.labels]
        return -log_probabilities(given).mean()

    return float(np.exp(minimize_scalar(loss, bounds=(-np.log(20), np.log(20)), method="bounded").x))
