"""Ensembles of trained models. README.md says what each command does."""
