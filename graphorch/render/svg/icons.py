"""Icons in boxes and signs on badges, as paths around (0, 0), so that no font needs symbols."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from graphorch.render.picture.model import BoxKind
from graphorch.render.picture.overlay import Status
from graphorch.render.svg.markup import numbers

_ICONS: Mapping[BoxKind, str] = MappingProxyType(
    {
        "node": "M-2.5-4.5L-6 0l3.5 4.5M2.5-4.5L6 0 2.5 4.5",  # code
        # a spark
        "agent": "M0-6.5C.7-2 2-.7 6.5 0 2 .7.7 2 0 6.5-.7 2-2 .7-6.5 0-2-.7-.7-2 0-6.5Z",
        "map": "M-6.5-1.5h7v7h-7ZM-3.7-3.8h6.5v6.5M-1-6.2h6.5v6.5",  # a stack of sheets
        "sub": "M-6.2-5h12.4v10h-12.4ZM-2.6-1.6h5.2v3.2h-5.2Z",  # a box in a box
        # a person
        "ask": "M0-6.2a2.7 2.7 0 1 1 0 5.4a2.7 2.7 0 1 1 0-5.4"
        "M-5.6 5.8c0-3.2 2.4-4.6 5.6-4.6s5.6 1.4 5.6 4.6",
        # waves that arrive at a point
        "signal": "M-4.6 3.4a1.2 1.2 0 1 0 .1 0M-4.5-1.4a6 6 0 0 1 6 6M-4.5-5.6a10.2 10.2 0 0 1 "
        "10.2 10.2",
        # a clock
        "timer": "M0-6a6 6 0 1 0 .1 0M0-3.4V.3L2.6 1.9",
    }
)
_FILLED = frozenset({"agent"})
_BADGES: Mapping[Status, str] = MappingProxyType(
    {
        "done": "M-3.1.2l2.2 2.3 4-4.8",
        "running": "M-1.8-2.9v5.8L3 0Z",
        "waiting": "M-1.7-2.6v5.2M1.7-2.6v5.2",
        "failed": "M-2.4-2.4l4.8 4.8M2.4-2.4l-4.8 4.8",
        "at_bound": "M0-3.4v3.8M0 2.8v.3",
        "cancelled": "M-2.5 2.5l5-5",
        "not_reached": "M-2.8 0h5.6",
    }
)


def icon(kind: BoxKind, x: float, y: float) -> str:
    """Draw the icon of a kind of box, or nothing for kinds with a shape of their own."""
    path = _ICONS.get(kind)
    if path is None:
        return ""
    classes = "go_icon"
    if kind in _FILLED:
        classes += " go_solid"
    return f'<path class="{classes}" transform="translate({numbers(x, y)})" d="{path}"/>'


def badge(status: Status, x: float, y: float) -> str:
    """Draw a disc with the sign of a status."""
    sign = f'<circle r="7"/><path d="{_BADGES[status]}"/>'
    return f'<g class="go_badge" transform="translate({numbers(x, y)})">{sign}</g>'
