"""Probabilities that were predicted for images, together with what the images are."""

from dataclasses import dataclass

import numpy as np

PARTS = ("validation", "test")  # of a data set, that members are scored on


@dataclass(frozen=True)
class Predictions:
    """What was predicted for n images of known classes.

    probabilities: float64 (n, classes), of one model or ensemble, or (members, n, classes), of several models; labels:
    int64 (n,).
    """

    probabilities: np.ndarray
    labels: np.ndarray

    @property
    def choices(self):
        """The likeliest classes, int64 (n,) or (members, n): the first of those that are equally likely."""
        return self.probabilities.argmax(axis=-1)

    @property
    def right(self):
        """Whether the choices are the labels, bool (n,) or (members, n)."""
        return self.choices == self.labels

    @property
    def given(self):
        """The probabilities of the labels, float64 (n,) or (members, n)."""
        return self.probabilities[..., np.arange(len(self.labels)), self.labels]

    def of(self, images):
        """Return the predictions for some of the images: a slice, bool (n,), or their numbers."""
        return Predictions(self.probabilities[..., images, :], self.labels[images])
