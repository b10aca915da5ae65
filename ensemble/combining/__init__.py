"""Probabilities: how good they are, how they are combined, and whether a gain is chance."""
