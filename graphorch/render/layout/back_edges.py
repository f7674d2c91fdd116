"""Ways back in a layout by dot: the boxes that they pass, where dot keeps room; their curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from graphorch.render.layout.edge_routing import draw_way_back
from graphorch.render.layout.group_titles import points_on
from graphorch.render.layout.layering import back_lines, rank
from graphorch.render.picture.model import Line, Picture, group_chains
from graphorch.render.picture.placement import Curve, Layout, Rect
from graphorch.render.picture.sizes import label_size

LANE_LEFT = 4.0
_AIR = 12.0  # at least so far right of a box a way back runs


def lane_bodies(picture: Picture, back: frozenset[str]) -> dict[int, list[list[str]]]:
    """Return the boxes that each way back passes, by line number and rank by rank from the top."""
    ranks = rank(picture.boxes, [line for line in picture.lines if line.id not in back])
    bodies: dict[int, list[list[str]]] = {}
    for index, line in enumerate(picture.lines):
        if line.id in back and line.source != line.target:
            rows: dict[int, list[str]] = {}
            for box in _body(picture, line, back):
                rows.setdefault(ranks[box], []).append(box)
            bodies[index] = [rows[row] for row in sorted(rows)]
    return bodies


def _body(picture: Picture, back_line: Line, back: frozenset[str]) -> Iterable[str]:
    """Return the boxes that a way back runs along: its source, its target, and all between."""
    into: dict[str, list[str]] = {}
    for line in picture.lines:
        if line.id not in back:
            into.setdefault(line.target, []).append(line.source)
    body = dict.fromkeys((back_line.target, back_line.source))
    pending = [back_line.source]
    while pending:
        for source in into.get(pending.pop(), ()):
            if source not in body:
                body[source] = None
                pending.append(source)
    return body


def lanes_by_group(
    picture: Picture, bodies: Mapping[int, list[list[str]]]
) -> dict[str | None, list[tuple[int, int]]]:
    """Return the ways back by the innermost group around both of their ends.

    Each is a pair: the line number, and how many ranks the line passes.
    """
    chains = group_chains(picture)
    around = {box.id: chains[box.group] for box in picture.boxes}
    lanes: dict[str | None, list[tuple[int, int]]] = {}
    for index, body in bodies.items():
        line = picture.lines[index]
        common = [
            text
            for text, other in zip(around[line.source], around[line.target], strict=False)
            if text == other
        ]
        innermost = None
        if common:
            innermost = common[-1]
        lanes.setdefault(innermost, []).append((index, len(body)))
    return lanes


def lane_width(line: Line) -> float:
    """Return the width of a way back: its own and that of its label, at its right."""
    return LANE_LEFT + max(6.0, 2 + label_size(line)[0])


def draw_ways_back(
    picture: Picture,
    boxes: Mapping[str, Rect],
    groups: Mapping[str, Rect],
    reserved: Mapping[int, float],
) -> dict[str, Curve]:
    """Return the curves of the ways back, each where it meets least.

    `reserved` is the x where dot kept room, by line number. Short ones come first, and so run
    nearest to their boxes.
    """
    chains = group_chains(picture)
    by_id = {box.id: box for box in picture.boxes}
    curves: dict[str, Curve] = {}
    taken: list[Rect] = []

    def height(index: int) -> float:
        line = picture.lines[index]
        return boxes[line.source].y - boxes[line.target].y

    for index in sorted(reserved, key=height):
        line = picture.lines[index]
        around = {*chains[by_id[line.source].group], *chains[by_id[line.target].group]}
        hard = [rect for id_, rect in boxes.items() if id_ not in (line.source, line.target)]
        hard += [rect for id_, rect in groups.items() if id_ not in around]
        ends = (by_id[line.source], boxes[line.source]), (by_id[line.target], boxes[line.target])
        lower = any(picture.lines[other].source == line.target for other in reserved)
        best = min(
            (
                draw_way_back(*ends, x, label_size(line), lower=lower)
                for x in _list_choices(ends[0][1], ends[1][1], [*hard, *taken], reserved[index])
            ),
            key=lambda curve: _count_overlaps(curve, hard, taken),
        )
        curves[line.id] = _free_label(best, boxes, line)
        taken.append(_lane(best))
        if best.label:
            taken.append(best.label)
    return curves


def ways_back_are_free(picture: Picture, placed: Layout) -> bool:
    """Return whether no way back runs behind a box. Dot may not leave room if a row has several."""
    back = back_lines(picture)
    for line in picture.lines:
        if line.id in back:
            points = list(points_on(placed.lines[line.id]))
            others = [
                rect for id_, rect in placed.boxes.items() if id_ not in (line.source, line.target)
            ]
            if any(
                rect.x < x < rect.right and rect.y < y < rect.bottom
                for rect in others
                for x, y in points
            ):
                return False
    return True


def _list_choices(
    source: Rect, header: Rect, obstacles: Sequence[Rect], reserved: float
) -> list[float]:
    """Return where a way back may run, from left to right.

    These are beside its boxes, beside any obstacle on its height, and where dot kept room.
    """
    first = max(source.right, header.right) + _AIR
    band = Rect(first, header.y, 10_000.0, source.bottom - header.y)
    return sorted(
        {
            first,
            max(first, reserved),
            *(
                rect.right + _AIR
                for rect in obstacles
                if rect.overlaps(band) and rect.right > first
            ),
        }
    )


def _count_overlaps(curve: Curve, hard: Iterable[Rect], taken: Iterable[Rect]) -> int:
    """Count what a way back runs into with its upright, its two ends, and its label."""
    lane = _lane(curve)
    start, tip = curve.points[0], curve.tip
    legs = [Rect(at[0] + 1, at[1] - 2, max(1.0, lane.x - at[0]), 4.0) for at in (start, tip)]
    parts = [lane, *legs]
    if curve.label:
        parts.append(curve.label)
    return sum(part.overlaps(rect) for rect in (*hard, *taken) for part in parts)


def _lane(curve: Curve) -> Rect:
    x = max(point[0] for point in curve.points)
    return Rect(x - 5, curve.tip[1], 10.0, curve.points[0][1] - curve.tip[1])


def _free_label(curve: Curve, boxes: Mapping[str, Rect], line: Line) -> Curve:
    """Move a label that lies on a box down beside the source, where dot kept room for it."""
    if curve.label is None or not any(rect.overlaps(curve.label) for rect in boxes.values()):
        return curve
    return replace(
        curve, label=replace(curve.label, y=boxes[line.source].center[1] - curve.label.height / 2)
    )
