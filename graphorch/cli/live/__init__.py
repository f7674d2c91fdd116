"""A run while it runs: what it has done so far, and its display."""
