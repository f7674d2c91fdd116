"""What one run did, as marks on the picture of its flow: sums per box over all its activations, and the lines that were taken."""

from __future__ import annotations

import re

from graphorch.core.activation import Activation
from graphorch.engine.record import Record, StepRecord
from graphorch.render.of_plan import line_id
from graphorch.render.overlay import Mark, Overlay, Status, completed
from graphorch.render.picture import Picture

_ITEM = re.compile(r"\[\d+\]")
_RANK: dict[Status, int] = {"failed": 4, "waiting": 3, "running": 2, "done": 1, "not_reached": 0}


def overlay_of(record: Record, picture: Picture) -> Overlay:
    """The overlay of a run, finished or under way."""
    marks: dict[str, Mark] = {}
    for step in record.steps():
        path = drawn_path(step.path)
        marks[path] = _added(marks.get(path), step)
    taken = frozenset(line for one in record.activations() for line in _lines(one))
    run = record.run
    title = f"{run.status} · {run.reason}" if run.reason not in ("", run.status) else run.status
    return completed(picture, Overlay(marks, taken, title))


def drawn_path(path: str) -> str:
    """The path of the box that stands for a path of a run: items of a map share one."""
    return _ITEM.sub("", path)


def _lines(one: Activation) -> list[str]:
    """The ids of the lines that led to an activation, and that it took."""
    flow = drawn_path(one.scope.prefix).rstrip("/")
    return [line_id(flow, edge) for edge in [*(token.edge for token in one.tokens), *one.taken]]


def _added(mark: Mark | None, step: StepRecord) -> Mark:
    status: Status = step.status if step.status in _RANK else "not_reached"  # pyright: ignore[reportAssignmentType]
    if mark is None:
        mark = Mark("not_reached")
    return Mark(
        max(mark.status, status, key=lambda one: _RANK[one]),
        mark.visits + (step.status != "cancelled"),
        (mark.seconds or 0.0) + step.seconds,
        mark.tokens + step.input_tokens + step.output_tokens,
        mark.usd + step.usd,
    )
