"""Pictures of flows and runs.

The marks of a run on the picture of its flow are sums per box over all its activations, and the
lines that were taken. Imported when a picture is drawn: a program that only runs flows draws none.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from graphorch.core.tree import Activation
from graphorch.engine.report import ActivationReport, Note, RunReport
from graphorch.graph.plan import Plan
from graphorch.render.dot import to_dot
from graphorch.render.layout.engine import Engine, layout
from graphorch.render.mermaid import to_mermaid
from graphorch.render.picture.overlay import Mark, Overlay, Status
from graphorch.render.plan_picture import box_id, draw_plan, line_id
from graphorch.render.svg.document import draw
from graphorch.render.svg.theme import Theme
from graphorch.text import truncate

_LONGEST_NOTE = 40  # characters in a box
_LONGEST_TITLE = 120
# The status of a box is the highest of its activations.
_RANK: dict[Status, int] = {"failed": 4, "waiting": 3, "running": 2, "done": 1, "not_reached": 0}


def draw_topology_svg(plan: Plan, theme: Theme, engine: Engine, depth: int | None) -> str:
    """Draw a plan as SVG."""
    picture = draw_plan(plan, depth=depth)
    return draw(picture, layout(picture, engine), theme=theme)


def draw_run_svg(report: RunReport, theme: Theme, engine: Engine, depth: int | None) -> str:
    """Draw a plan as SVG with what a run did on it."""
    picture = draw_plan(report.run.plan, depth=depth)
    overlay = build_overlay(report)
    return draw(picture, layout(picture, engine, overlay=overlay), theme=theme, overlay=overlay)


def draw_topology_dot(plan: Plan, depth: int | None) -> str:
    """Draw a plan in Graphviz's DOT language."""
    return to_dot(draw_plan(plan, depth=depth))


def draw_topology_mermaid(plan: Plan, depth: int | None) -> str:
    """Draw a plan in Mermaid's language."""
    return to_mermaid(draw_plan(plan, depth=depth))


def build_overlay(report: RunReport, held: Collection[str] = ()) -> Overlay:
    """Return the marks of a run, finished or under way.

    `held` are the ids of activations that a session holds back, so they have not begun.
    """
    marks: dict[str, Mark] = {}
    for step in report.steps():
        path = box_id(step.path)
        if step.activation in held:
            marks.setdefault(path, Mark("not_reached"))
        else:
            marks[path] = _add_to_mark(marks.get(path), step)
    taken = {line for activation in report.activations() for line in _list_lines(activation)}
    run = report.run
    title = f"{run.status} · {run.reason}" if run.reason not in ("", run.status) else run.status
    notes = _list_notes(report)
    for note in notes:
        path = box_id(note.path)
        marks[path] = replace(marks[path], note=truncate(note.text, _LONGEST_NOTE))
    if notes:
        first, *others = notes
        more = f", and {len(others)} more" if others else ""
        title += f" · note of {first.path}: {truncate(first.text, _LONGEST_TITLE)}{more}"
    return Overlay(marks, frozenset(taken), title)


def _list_notes(report: RunReport) -> list[Note]:
    """Return the notes of a run, and one for each loop that reached its bound without a note."""
    notes = list(report.notes)
    noted = {note.path for note in notes}
    for source, header in report.exhausted:
        if source not in noted:
            notes.append(Note(source, f"the loop to {header} reached its bound"))
    return notes


def _list_lines(activation: Activation) -> list[str]:
    """Return the ids of the lines that led to an activation, and of those that it took."""
    flow_path = box_id(activation.scope.prefix.rstrip("/"))
    edges = [token.edge for token in activation.tokens]
    edges += activation.taken_edges
    return [line_id(flow_path, edge) for edge in edges]


def _add_to_mark(mark: Mark | None, step: ActivationReport) -> Mark:
    """Add the figures of one activation to the mark of its box."""
    if mark is None:
        mark = Mark("not_reached")
    status: Status = step.status if step.status in _RANK else "not_reached"
    return Mark(
        status=max(mark.status, status, key=lambda item: _RANK[item]),
        visits=mark.visits + (step.status != "cancelled"),
        seconds=(mark.seconds or 0.0) + step.seconds,
        tokens=mark.tokens + step.input_tokens + step.output_tokens,
        usd=mark.usd + step.usd,
        unpriced=mark.unpriced + step.unpriced,
    )
