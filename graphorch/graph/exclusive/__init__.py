"""Exclusive regions of a graph: what `build()` proves about them."""
