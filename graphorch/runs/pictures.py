"""What one run did, as marks on the picture of its flow: sums per box over all its activations, and the lines that were taken.

The pictures of flows and runs. Imported when one is asked for: a program that only runs flows draws nothing.
"""

from __future__ import annotations

from collections.abc import Collection

from graphorch.core.tree import Activation
from graphorch.engine.report import ActivationReport, RunReport
from graphorch.graph.plan import Plan
from graphorch.render.dot import to_dot
from graphorch.render.layout.engine import Engine, layout
from graphorch.render.mermaid import to_mermaid
from graphorch.render.picture.overlay import Mark, Overlay, Status
from graphorch.render.plan_picture import box_id, draw_plan, line_id
from graphorch.render.svg.document import draw
from graphorch.render.svg.theme import Theme

_RANK: dict[Status, int] = {"failed": 4, "waiting": 3, "running": 2, "done": 1, "not_reached": 0}


def build_overlay(record: RunReport, held: Collection[str] = ()) -> Overlay:
    """The overlay of a run, finished or under way; `held` are the ids of activations that a session holds back, so they have not begun."""
    marks: dict[str, Mark] = {}
    for step in record.steps():
        path = box_id(step.path)
        if step.activation in held:
            marks.setdefault(path, Mark("not_reached"))
            continue
        marks[path] = _added(marks.get(path), step)
    taken = frozenset(line for activation in record.activations() for line in _lines(activation))
    run = record.run
    title = f"{run.status} · {run.reason}" if run.reason not in ("", run.status) else run.status
    return Overlay(marks, taken, title)


def _lines(activation: Activation) -> list[str]:
    """The ids of the lines that led to an activation, and that it took."""
    flow = box_id(activation.scope.prefix.rstrip("/"))
    return [
        line_id(flow, edge)
        for edge in [*(token.edge for token in activation.tokens), *activation.taken_edges]
    ]


def _added(mark: Mark | None, step: ActivationReport) -> Mark:
    status: Status = step.status if step.status in _RANK else "not_reached"  # pyright: ignore[reportAssignmentType]
    if mark is None:
        mark = Mark("not_reached")
    return Mark(
        max(mark.status, status, key=lambda item: _RANK[item]),
        mark.visits + (step.status != "cancelled"),
        (mark.seconds or 0.0) + step.seconds,
        mark.tokens + step.input_tokens + step.output_tokens,
        mark.usd + step.usd,
    )


def topology_svg(plan: Plan, theme: Theme, engine: Engine, depth: int | None) -> str:
    """The SVG of a plan."""
    picture = draw_plan(plan, depth=depth)
    return draw(picture, layout(picture, engine), theme=theme)


def run_svg(record: RunReport, theme: Theme, engine: Engine, depth: int | None) -> str:
    """The SVG of a plan with what a run did on it."""
    picture = draw_plan(record.run.plan, depth=depth)
    overlay = build_overlay(record)
    return draw(picture, layout(picture, engine, overlay=overlay), theme=theme, overlay=overlay)


def topology_dot(plan: Plan, depth: int | None) -> str:
    """A plan in Graphviz's language."""
    return to_dot(draw_plan(plan, depth=depth))


def topology_mermaid(plan: Plan, depth: int | None) -> str:
    """A plan in Mermaid's language."""
    return to_mermaid(draw_plan(plan, depth=depth))
