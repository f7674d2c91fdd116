"""Titles of groups: at the left of the frame's upper side, or on the next spot free of lines."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace

from graphorch.render.picture.model import Picture
from graphorch.render.picture.placement import Curve, Layout, Point, Rect
from graphorch.render.picture.sizes import TITLE_INDENT, title_width

_BASELINE = 17.0
_BAND = 24.0
_AIR = 4.0
_STEP = 6.0  # pixels between two points looked at on a curve, roughly


def place_titles(picture: Picture, layout: Layout) -> Layout:
    """Return the layout with a place for the title of every group that has a frame."""
    titles: dict[str, Point] = {}
    for group, width, crossed in _list_titles(picture, layout):
        frame = layout.groups[group]
        spot = _find_spot(frame, width, crossed)
        if spot is None:
            spot = frame.x + TITLE_INDENT
        titles[group] = spot, frame.y + _BASELINE
    return replace(layout, titles=titles)


def titles_crossed(picture: Picture, layout: Layout) -> list[str]:
    """Return the groups whose title stands on a line, because it finds no free spot."""
    return [
        group
        for group, width, crossed in _list_titles(picture, layout)
        if _find_spot(layout.groups[group], width, crossed) is None
    ]


def _list_titles(picture: Picture, layout: Layout) -> Iterator[tuple[str, float, list[float]]]:
    """Return each group with a frame, the width of its title, and where lines cross its band."""
    points = sorted((y, x) for curve in layout.lines.values() for x, y in points_on(curve))
    for group in picture.groups:
        if group.id in layout.groups:
            frame = layout.groups[group.id]
            first = bisect_left(points, (frame.y, frame.x))
            last = bisect_right(points, (frame.y + _BAND, frame.right))
            crossed = sorted(x for _, x in points[first:last] if frame.x <= x <= frame.right)
            yield group.id, title_width(group), crossed


def points_on(curve: Curve) -> Iterable[Point]:
    """Return points along a curve, close enough together to see what it meets."""
    points = curve.points
    # Cubic Bézier segments share their ends: three further points each.
    for start in range(0, len(points) - 3, 3):
        (x0, y0), (x1, y1), (x2, y2), (x3, y3) = points[start : start + 4]
        steps = 4 + int((abs(x3 - x0) + abs(y3 - y0)) / _STEP)
        for step in range(steps + 1):
            t = step / steps
            s = 1 - t
            a, b, c, d = s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t
            yield a * x0 + b * x1 + c * x2 + d * x3, a * y0 + b * y1 + c * y2 + d * y3


def _find_spot(frame: Rect, width: float, crossed: list[float]) -> float | None:
    """Return the leftmost x where the title meets no line, or None."""
    first, last = frame.x + TITLE_INDENT, frame.right - TITLE_INDENT - width
    spots = [first, *(x + _AIR for x in crossed), last]
    for spot in sorted(spots):
        if first <= spot <= last and not any(
            spot - _AIR < x < spot + width + _AIR for x in crossed
        ):
            return spot
    return None
