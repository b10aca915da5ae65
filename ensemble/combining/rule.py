"""A way to combine members that has learnt what it needs: as a record has it, and export.py makes layers of it."""

from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from ensemble.combining.metrics import log_probabilities, tempered


def at_temperatures(probabilities, temperatures):
    """Return members' probabilities, float64 (members, n, classes), each at its own of the temperatures, (members,)."""
    return np.stack([tempered(*pair) for pair in zip(probabilities, temperatures, strict=True)])


def side_by_side(probabilities):
    """Return what stacking learns from: the members' log-probabilities, float64 (n, members * classes)."""
    return np.concatenate(log_probabilities(probabilities), axis=1)


@dataclass
class Rule:
    """Combines members' probabilities, float64 (members, n, classes), into those of the ensemble, float64 (n, classes).

    weights: float64 (members,), of the mean; geometric: whether that is a mean of logarithms; temperatures: the
    members' own, float64 (members,), or None; kernel, bias: stacking's, which has no mean: float64 (members * classes,
    classes) and (classes,), or None; temperature: the ensemble's, or None. ValueError says which do not fit together.
    """

    weights: np.ndarray
    geometric: bool = False
    temperatures: np.ndarray | None = None
    kernel: np.ndarray | None = None
    bias: np.ndarray | None = None
    temperature: float | None = None

    def __post_init__(self):
        if not abs(self.weights.sum() - 1) <= 1e-6:
            raise ValueError(f"its weights sum to {self.weights.sum():g}, and not to 1")
        if self.temperatures is not None and len(self.temperatures) != len(self.weights):
            raise ValueError(f"it has {len(self.temperatures)} temperatures for {len(self.weights)} weights")
        if self.kernel is not None:
            classes = len(self.bias)
            if self.kernel.shape != (len(self.weights) * classes, classes):
                raise ValueError(f"its kernel, {self.kernel.shape}, is not for {classes} classes of every member")

    @property
    def takes_logarithms(self):
        """Whether it needs more of the members than their probabilities as they are."""
        return (
            self.geometric or self.temperatures is not None or self.kernel is not None or self.temperature is not None
        )

    def __call__(self, probabilities):
        if self.kernel is not None:
            pooled = softmax(side_by_side(probabilities) @ self.kernel + self.bias, axis=1)
        else:
            if self.temperatures is not None:
                probabilities = at_temperatures(probabilities, self.temperatures)
            each = log_probabilities(probabilities) if self.geometric else probabilities
            mean = np.tensordot(self.weights, each, axes=1) / self.weights.sum()
            pooled = softmax(mean, axis=1) if self.geometric else mean
        return pooled if self.temperature is None else tempered(pooled, self.temperature)


def rule_of(name, method, members):
    """Return the Rule of a method in a record, or None of one that cannot be one model, such as hard voting.

    name, method: as the record has them; members: its rows of the members. ValueError as from Rule.
    """
    equal, temperature = np.full(len(members), 1 / len(members)), method.get("temperature")
    for field in ("weights", "tempered_weights"):
        if field in method and len(method[field]) != len(members):
            raise ValueError(f"it has {len(method[field])} weights for {len(members)} members")
    if name in ("soft voting", "equal weights", "geometric mean"):
        return Rule(equal, geometric=name == "geometric mean", temperature=temperature)
    if name == "weighted mean":
        return Rule(np.array([member.get("weight", 0.0) for member in members]), temperature=temperature)
    if "weights" in method:
        return Rule(np.array(method["weights"]), temperature=temperature)
    if "tempered_weights" in method:
        own = np.array(method["temperatures"])
        return Rule(np.array(method["tempered_weights"]), temperatures=own, temperature=temperature)
    if "kernel" in method:
        kernel, bias = np.array(method["kernel"]), np.array(method["bias"])
        return Rule(equal, kernel=kernel, bias=bias, temperature=temperature)
    return None
