"""Pictures of flows, as SVG and for other tools. Imported when one is drawn."""

from __future__ import annotations

from graphorch.graph.plan import Plan
from graphorch.render.dot import to_dot
from graphorch.render.layout.engine import Direction, layout
from graphorch.render.mermaid import to_mermaid
from graphorch.render.picture_style import PictureStyle
from graphorch.render.plan_picture import draw_plan
from graphorch.render.svg.document import draw


def draw_topology_svg(plan: Plan, style: PictureStyle) -> str:
    """Draw a plan as SVG."""
    picture = draw_plan(plan, depth=style.depth, closed=style.closed)
    return draw(picture, layout(picture, style.engine, style.direction), theme=style.theme)


def draw_topology_dot(plan: Plan, depth: int | None, direction: Direction) -> str:
    """Draw a plan in Graphviz's DOT language."""
    return to_dot(draw_plan(plan, depth=depth), direction)


def draw_topology_mermaid(plan: Plan, depth: int | None, direction: Direction) -> str:
    """Draw a plan in Mermaid's language."""
    return to_mermaid(draw_plan(plan, depth=depth), direction)
