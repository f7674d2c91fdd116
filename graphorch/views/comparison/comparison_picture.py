"""Draws two runs on one picture: which boxes both came to, and in which they differ."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from graphorch.render.heat_map import Heat, difference_map
from graphorch.render.picture.model import Picture
from graphorch.render.svg.theme import Theme
from graphorch.text import shorten_run_id
from graphorch.views.comparison.comparison import ActivationSide, ComparedActivation
from graphorch.views.comparison.differences import RunPair, compare_activations
from graphorch.views.pictures.described_picture import draw_description
from graphorch.views.reading.open_run import OpenRun


def draw_comparison(pair: RunPair, theme: Theme, picture: Picture | None = None) -> str:
    """Draw the difference of two runs as SVG, on what their first records describe.

    Runs of different graphs are drawn on both of these together. `picture` is one to draw on
    instead.
    """
    rows = [compare_activations(each) for each in pair.list_pairs()]
    left, right = pair.left.run, pair.right.run
    ids = [shorten_run_id(run.head.run_id) for run in (left, right)]
    return difference_map(
        picture or _join_pictures(_describe(left), _describe(right)),
        _sum_sides((row, row.left) for row in rows),
        _sum_sides((row, row.right) for row in rows),
        changed=frozenset(row.box for row in rows if row.differs),
        reused=frozenset(row.box for row in rows if _is_served(row)),
        title=f"A: {ids[0]} · B: {ids[1]}",
        theme=theme,
    )


def _describe(run: OpenRun) -> Picture:
    return draw_description(run.head.flow, run.find_body("started").get("flow"))


def _join_pictures(left: Picture, right: Picture) -> Picture:
    """Return a picture with the boxes, lines and frames of both."""
    boxes, groups = ({each.id for each in kind} for kind in (left.boxes, left.groups))
    lines = {(line.source, line.target, line.kind) for line in left.lines}
    added = [
        replace(line, id=f"{line.id}//right")
        for line in right.lines
        if (line.source, line.target, line.kind) not in lines
    ]
    return Picture(
        left.name,
        (*left.boxes, *(box for box in right.boxes if box.id not in boxes)),
        (*left.lines, *added),
        (*left.groups, *(group for group in right.groups if group.id not in groups)),
    )


def _sum_sides(
    sides: Iterable[tuple[ComparedActivation, ActivationSide | None]],
) -> dict[str, Heat]:
    """Return visits and dollars by box, of what one run did itself.

    Calls of tools add to the dollars of their agent's box, and are no visits of it.
    """
    heats: dict[str, Heat] = {}
    for row, side in sides:
        if side is None or side.is_served:
            continue  # it did not run
        heat, usage = heats.get(row.box, Heat()), side.usage
        heats[row.box] = replace(
            heat,
            visits=heat.visits + (row.box == row.step),
            usd=heat.usd + usage.usd,
            unpriced=heat.unpriced + usage.unpriced,
        )
    return heats


def _is_served(row: ComparedActivation) -> bool:
    return any(side is not None and side.is_served for side in (row.left, row.right))
