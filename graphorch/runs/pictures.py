"""Pictures of flows, as SVG and for other tools. Imported when one is drawn."""

from __future__ import annotations

from graphorch.graph.plan import Plan
from graphorch.render.dot import to_dot
from graphorch.render.layout.engine import Engine, layout
from graphorch.render.mermaid import to_mermaid
from graphorch.render.plan_picture import draw_plan
from graphorch.render.svg.document import draw
from graphorch.render.svg.theme import Theme


def draw_topology_svg(plan: Plan, theme: Theme, engine: Engine, depth: int | None) -> str:
    """Draw a plan as SVG."""
    picture = draw_plan(plan, depth=depth)
    return draw(picture, layout(picture, engine), theme=theme)


def draw_topology_dot(plan: Plan, depth: int | None) -> str:
    """Draw a plan in Graphviz's DOT language."""
    return to_dot(draw_plan(plan, depth=depth))


def draw_topology_mermaid(plan: Plan, depth: int | None) -> str:
    """Draw a plan in Mermaid's language."""
    return to_mermaid(draw_plan(plan, depth=depth))
