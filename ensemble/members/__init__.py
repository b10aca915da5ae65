"""The members of an ensemble: loaded, asked once for their predictions, and timed."""
