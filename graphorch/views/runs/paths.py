"""Paths of activations, as people name them."""

from __future__ import annotations

from graphorch.trace.spans.model import strip_index


def is_inside(path: str, node: str) -> bool:
    """Return whether a path is that of a node or inside it; `node` may leave out map items."""
    return any(
        candidate == node or candidate.startswith((f"{node}/", f"{node}["))
        for candidate in (path, strip_index(path))
    )
