"""Places of everything in a picture, made by a layout engine and drawn as SVG.

All in pixels; y grows downwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rect:
    """Rectangle by its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """Right side, as x."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """Lower side, as y."""
        return self.y + self.height

    @property
    def center(self) -> Point:
        """Middle of the rectangle."""
        return self.x + self.width / 2, self.y + self.height / 2

    def overlaps(self, other: Rect, gap: float = 0.0) -> bool:
        """Return whether two rectangles come closer than `gap` pixels."""
        return (
            self.x < other.right + gap
            and other.x < self.right + gap
            and self.y < other.bottom + gap
            and other.y < self.bottom + gap
        )


@dataclass(frozen=True, slots=True)
class Curve:
    """Cubic Bézier segments (3 n + 1 points) to the foot of an arrow, its tip, and its label."""

    points: tuple[Point, ...]
    tip: Point
    label: Rect | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Places by id. `titles` are the left end and baseline of each group's title."""

    engine: str
    width: float
    height: float
    boxes: Mapping[str, Rect]
    lines: Mapping[str, Curve]
    groups: Mapping[str, Rect]
    titles: Mapping[str, Point]
