"""Schedules of the learning rate, compared."""
