"""Figures of many runs: what they cost, how long they took, and where they failed."""
