"""Where everything of a picture lies: what a layout engine returns and what the drawing draws. Pixels; y grows downwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rect:
    """A rectangle by its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of its right side."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of its lower side."""
        return self.y + self.height

    @property
    def center(self) -> Point:
        """Its middle."""
        return self.x + self.width / 2, self.y + self.height / 2

    def overlaps(self, other: Rect, gap: float = 0.0) -> bool:
        """Whether two rectangles come closer than `gap` pixels."""
        return (
            self.x < other.right + gap
            and other.x < self.right + gap
            and self.y < other.bottom + gap
            and other.y < self.bottom + gap
        )


@dataclass(frozen=True, slots=True)
class Curve:
    """A line as cubic Bézier segments (3 n + 1 points) up to the foot of its arrow, the arrow's tip, and where its label lies."""

    points: tuple[Point, ...]
    tip: Point
    label: Rect | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """All places by id. `titles` holds the left end and baseline of each group's title. `engine` says who placed it."""

    engine: str
    width: float
    height: float
    boxes: Mapping[str, Rect]
    lines: Mapping[str, Curve]
    groups: Mapping[str, Rect]
    titles: Mapping[str, Point]
