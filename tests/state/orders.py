"""The canonical order of a write."""

from __future__ import annotations

from graphorch.state.version import WIDTH, Order


def order_of(depth: int, index: int) -> Order:
    """The place of a write at this depth, by the node of this declaration index."""
    return depth * WIDTH + index
