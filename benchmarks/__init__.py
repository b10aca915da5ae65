"""How fast this collection is, measured."""
