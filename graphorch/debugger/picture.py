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
from graphorch.render.plan_picture import box_id, draw_plan
from graphorch.render.svg.document import draw
from graphorch.render.svg.theme import Theme
from graphorch.runs.drawing.run_picture import build_overlay

LayoutKey: TypeAlias = tuple[Engine, Direction, int | None, tuple[str, ...]]
"""Layout engine, direction, levels that are opened, and paths of the sub-flows that are not."""
_Drawn: TypeAlias = tuple[LayoutKey, frozenset[str]]


class LivePicture:
    """SVG of a flow with what was done by now on it.

    Boxes do not move from one step to the next, since each is made large enough for its longest
    mark; they do where a flow goes inside itself, which opens one more level.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._has_recursion = plan.has_recursion
        self._layouts: dict[_Drawn, tuple[Picture, Layout]] = {}

    def draw(self, stepped: SteppedRun, key: LayoutKey, theme: Theme, title: str) -> str:
        """Draw a run as it stands, under a title."""
        picture, placed = self._lay_out(key, self._list_levels(stepped))
        held = {activation.id for activation in stepped.held_activations()}
        overlay = build_overlay(stepped.scheduler.report, held)
        return draw(picture, placed, theme=theme, overlay=replace(overlay, title=title))

    def _list_levels(self, stepped: SteppedRun) -> frozenset[str]:
        """Return a path in each level of a recursion that a run is in, or was."""
        if not self._has_recursion:
            return frozenset()
        activations = stepped.scheduler.report.activations()
        scopes = {box_id(activation.scope.prefix) for activation in activations}
        return frozenset(f"{prefix}x" for prefix in scopes if prefix)

    def _lay_out(self, key: LayoutKey, ran: frozenset[str]) -> tuple[Picture, Layout]:
        known = self._layouts.get((key, ran))
        if known is not None:
            return known
        engine, direction, depth, closed = key
        picture = draw_plan(self._plan, depth=depth, closed=frozenset(closed), ran=ran)
        widest = {box.id: Mark("done", note="9× · 99.9 s · 9.9k tok") for box in picture.boxes}
        widest |= {
            group.id: Mark("done", note="29 of 50 items · 1.2 s") for group in picture.groups
        }
        placed = layout(picture, engine, direction, overlay=Overlay(widest))
        self._layouts[key, ran] = picture, placed
        return picture, placed
