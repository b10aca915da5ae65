"""Faults of every kind, tried on every command: what a user's disk, files, streams and patience can do to it."""
