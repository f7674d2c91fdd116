"""Picture of a run that is still under way, laid out once and painted after each step."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from graphorch.debugger.stepper import SteppedRun
from graphorch.graph.plan import Plan
from graphorch.render.layout.engine import Direction, Engine, layout
from graphorch.render.picture.model import Picture
from graphorch.render.picture.overlay import Mark, Overlay
from graphorch.render.picture.placement import Layout
from graphorch.render.plan_picture import draw_plan
from graphorch.render.svg.document import draw
from graphorch.render.svg.theme import Theme
from graphorch.runs.run_picture import build_overlay

LayoutKey: TypeAlias = tuple[Engine, Direction, int | None, tuple[str, ...]]
"""Layout engine, direction, levels that are opened, and paths of the sub-flows that are not."""


class LivePicture:
    """SVG of a flow with what was done by now on it.

    Boxes never move from one step to the next: each is made large enough for its longest mark.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._layouts: dict[LayoutKey, tuple[Picture, Layout]] = {}

    def draw(self, stepped: SteppedRun, key: LayoutKey, theme: Theme, title: str) -> str:
        """Draw a run as it stands, under a title."""
        picture, placed = self._lay_out(key)
        held = {activation.id for activation in stepped.held_activations()}
        overlay = build_overlay(stepped.scheduler.report, held)
        return draw(picture, placed, theme=theme, overlay=replace(overlay, title=title))

    def _lay_out(self, key: LayoutKey) -> tuple[Picture, Layout]:
        known = self._layouts.get(key)
        if known is not None:
            return known
        engine, direction, depth, closed = key
        picture = draw_plan(self._plan, depth=depth, closed=frozenset(closed))
        widest = {box.id: Mark("done", note="9× · 99.9 s · 9.9k tok") for box in picture.boxes}
        widest |= {
            group.id: Mark("done", note="29 of 50 items · 1.2 s") for group in picture.groups
        }
        placed = layout(picture, engine, direction, overlay=Overlay(widest))
        self._layouts[key] = picture, placed
        return picture, placed
