"""Difference of two runs: aligned by the paths of activations and their rounds, never by time."""
