"""Whether one ensemble is better than another by more than chance."""

import math

import numpy as np
from scipy.optimize import brentq
from scipy.stats import binomtest, norm

CONTINUITY = 0.5  # images that an interval is wider at either end, since gains go by whole images


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
    """Return p-values, float (n,), adjusted by Holm for their number.

    If all n differences are chance, the least of the adjusted is below 0.05 in 5% of cases at most.
    """
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.maximum.accumulate(np.minimum(1, factors * np.asarray(p_values)[order]))
    return adjusted


def mcnemar(right, baseline):
    """Return the p-value of McNemar's exact two-sided test for bool (n,), 1 where the two are right alike."""
    won, lost = int((right & ~baseline).sum()), int((baseline & ~right).sum())
    return float(binomtest(won, won + lost).pvalue) if won + lost else 1.0


def compare_right(right, baseline):
    """Return the gain of bool (n,) over a baseline: accuracy, its 95% interval, and McNemar's p-value."""
    low, high = gain_interval(right, baseline)
    return {"gain": float(right.mean() - baseline.mean()), "low": low, "high": high, "p": mcnemar(right, baseline)}


def gains_over(baseline, right):
    """Return the gains of several over a baseline, {name: {"gain", "low", "high", "p", "adjusted_p"}}.

    baseline: bool (n,), whether it is right on each image; right: {name: bool (n,)}. p is adjusted by holm.
    """
    gains = {name: compare_right(own, baseline) for name, own in right.items()}
    adjusted = holm([gain["p"] for gain in gains.values()])
    return {name: gain | {"adjusted_p": float(p)} for (name, gain), p in zip(gains.items(), adjusted, strict=True)}
