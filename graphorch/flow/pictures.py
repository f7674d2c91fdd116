"""The pictures of flows and runs. Imported when one is asked for: a program that only runs flows draws nothing."""

from __future__ import annotations

from graphorch.engine.record import Record
from graphorch.flow.overlay import overlay_of
from graphorch.graph.plan import Plan
from graphorch.render.dot import to_dot
from graphorch.render.layout import Engine, layout
from graphorch.render.mermaid import to_mermaid
from graphorch.render.of_plan import picture_of
from graphorch.render.svg import draw
from graphorch.render.theme import Theme


def topology_svg(plan: Plan, theme: Theme, engine: Engine, depth: int | None) -> str:
    """The SVG of a plan."""
    picture = picture_of(plan, depth=depth)
    return draw(picture, layout(picture, engine), theme=theme)


def run_svg(record: Record, theme: Theme, engine: Engine, depth: int | None) -> str:
    """The SVG of a plan with what a run did on it."""
    picture = picture_of(record.run.plan, depth=depth)
    overlay = overlay_of(record)
    return draw(picture, layout(picture, engine, overlay=overlay), theme=theme, overlay=overlay)


def topology_dot(plan: Plan, depth: int | None) -> str:
    """A plan in Graphviz's language."""
    return to_dot(picture_of(plan, depth=depth))


def topology_mermaid(plan: Plan, depth: int | None) -> str:
    """A plan in Mermaid's language."""
    return to_mermaid(picture_of(plan, depth=depth))
