"""Commands that keep this collection in order."""
