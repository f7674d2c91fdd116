"""How a picture of a flow is drawn, as its reader asks for it."""

from __future__ import annotations

from dataclasses import dataclass

from graphorch.render.layout.engine import Direction, Engine
from graphorch.render.svg.theme import Theme


@dataclass(frozen=True, slots=True)
class PictureStyle:
    """Colours, layout, levels of sub-flows and maps that are opened (None: all), and direction.

    Those whose paths are in `closed` are drawn as one box each.
    """

    theme: Theme = "auto"
    engine: Engine = "auto"
    depth: int | None = None
    direction: Direction = "TB"
    closed: frozenset[str] = frozenset()
