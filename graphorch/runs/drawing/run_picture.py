"""Picture of a run on its flow, however it ended, or while it is under way.

The marks of a run are sums per box over all its activations, and the lines that were taken. Below
the title stand the remarks: what failed and why, who is asked, which loops ended at their bound,
and in a run without an output also what was not reached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import replace

from graphorch.core.tree import Activation, ReviewedScopes
from graphorch.core.tree import Status as ActivationStatus
from graphorch.engine.report import ActivationReport, RunReport, describe_failure
from graphorch.render.layout.engine import layout
from graphorch.render.picture.model import Picture
from graphorch.render.picture.overlay import Mark, Overlay, Status
from graphorch.render.picture.sizes import CARD_KINDS
from graphorch.render.picture_style import PictureStyle
from graphorch.render.plan_picture import box_id, draw_plan, frame_id, line_id
from graphorch.render.svg.document import draw
from graphorch.statuses import LIMITS, SUCCESS_STATUSES, TOOL_OUTCOMES, UNFINISHED_STATUSES
from graphorch.text import format_moment, join_limited, plural, truncate

_LONGEST_NOTE = 40  # characters in a box
_LONGEST_REMARK = 300
_MOST_REMARKS = 4  # of one kind
_MOST_NAMES = 12
# The status of a box is the highest of its activations.
_RANK: dict[Status, int] = {
    "failed": 6,
    "waiting": 5,
    "running": 4,
    "at_bound": 3,
    "done": 2,
    "cancelled": 1,
    "not_reached": 0,
}


def draw_run_svg(report: RunReport, style: PictureStyle, *, is_lost: bool = False) -> str:
    """Draw a plan as SVG with what a run did on it.

    `is_lost`: the process of the run is gone, so what was running in it was interrupted.
    """
    paths = (activation.path for activation in report.activations())
    picture = draw_plan(report.run.plan, depth=style.depth, closed=style.closed, ran=paths)
    overlay = build_overlay(report, is_lost=is_lost)
    if report.run.status not in (*SUCCESS_STATUSES, *UNFINISHED_STATUSES) or is_lost:
        overlay = _add_not_reached(picture, overlay)
    placed = layout(picture, style.engine, style.direction, overlay=overlay)
    return draw(picture, placed, theme=style.theme, overlay=overlay)


def build_overlay(
    report: RunReport, held: Collection[str] = (), *, is_lost: bool = False
) -> Overlay:
    """Return the marks of a run, finished or under way.

    `held` are the ids of activations that a session holds back, so they have not begun. `is_lost`
    is that of `draw_run_svg`.
    """
    marks: dict[str, Mark] = {}
    taken: set[str] = set()
    calls: dict[str, list[ActivationReport]] = {}  # of tools, by the box of their agent
    for activation, row in zip(report.activations(), report.steps(), strict=True):
        agent = activation.scope.parent
        if activation.tool and agent is not None:
            calls.setdefault(box_id(agent.path), []).append(row)
            continue
        path = box_id(row.path)
        if row.activation in held:
            marks.setdefault(path, Mark("not_reached"))
        else:
            status = _find_status(activation, row, is_lost=is_lost)
            marks[path] = _add_to_mark(marks.get(path), status, row, activation)
        taken.update(_list_lines(activation))
    for path, rows in calls.items():
        if path in marks:
            marks[path] = _add_calls(marks[path], rows, is_lost=is_lost)
    _mark_loops(marks, report)
    for note in report.notes:
        path = box_id(note.path)
        # Calls of tools have no box; their notes are among the remarks.
        if path in marks and marks[path].status != "failed":
            marks[path] = replace(marks[path], note=truncate(note.text, _LONGEST_NOTE))
    title = _build_title(report, is_lost=is_lost)
    return Overlay(marks, frozenset(taken), title, tuple(_list_remarks(report)))


# ---- marks ---------------------------------------------------------------------------------------
def _find_status(activation: Activation, row: ActivationReport, *, is_lost: bool) -> Status:
    """Return the status of one activation on the picture."""
    if row.status == "failed" and not row.error:
        return "cancelled"  # it was interrupted
    if activation.status is ActivationStatus.SKIPPED and isinstance(activation.failure, str):
        return "not_reached"  # it could not read what it requires
    if row.status == "running" and is_lost:
        return "cancelled"
    return row.status if row.status in _RANK else "not_reached"


def _add_to_mark(
    mark: Mark | None, status: Status, row: ActivationReport, activation: Activation
) -> Mark:
    """Add the figures of one activation to the mark of its box."""
    if mark is None:
        mark = Mark("not_reached")
    items = items_done = 0
    children = activation.children
    if children is not None and activation.step.map is not None:
        items, items_done = len(children.updates), children.succeeded
    remarks = children.describe() if isinstance(children, ReviewedScopes) else []
    note = mark.note or _find_note(status, row, activation)
    return Mark(
        status=max(mark.status, status, key=lambda item: _RANK[item]),
        visits=mark.visits + (status not in ("cancelled", "not_reached")),
        seconds=(mark.seconds or 0.0) + row.seconds,
        tokens=mark.tokens + row.input_tokens + row.output_tokens,
        usd=mark.usd + row.usd,
        unpriced=mark.unpriced + row.unpriced,
        failed=mark.failed + (status == "failed"),
        items=mark.items + items,
        items_done=mark.items_done + items_done,
        note=note,
        hint="\n".join(part for part in (mark.hint, *remarks, row.error) if part)[:_LONGEST_REMARK],
    )


def _add_calls(mark: Mark, rows: list[ActivationReport], *, is_lost: bool) -> Mark:
    """Add the calls of tools inside of an agent to the mark of its box: how many, and how.

    The box itself says only that some wait for a person; the rest is in its tooltip.
    """
    words = Counter(_describe_call(row) for row in rows)
    parts = [plural(len(rows), "tool call")]
    parts += [f"{count} {word}" for word, count in words.items() if word]
    text = ", ".join(parts)
    waits = bool(words["waiting"]) and mark.status == "running" and not is_lost
    return replace(
        mark,
        status="waiting" if waits else mark.status,
        note=mark.note or (f"{plural(words['waiting'], 'call')} to approve" if waits else ""),
        hint="\n".join(filter(None, (mark.hint, text)))[:_LONGEST_REMARK],
    )


def _describe_call(row: ActivationReport) -> str:
    """Return what is special about a call of a tool; nothing for one with a result."""
    return TOOL_OUTCOMES.get(row.outcome) or ("" if row.status == "done" else row.status)


def _find_note(status: Status, row: ActivationReport, activation: Activation) -> str:
    """Return why an activation failed, was skipped or withdrawn; a map tells by its items."""
    if status == "cancelled" and activation.step.rivals:
        return "withdrawn"
    if not row.error or status not in ("failed", "not_reached"):
        return ""
    children = activation.children
    if children is not None and children.failed:
        return "" if activation.step.map is not None else "failed inside"
    return truncate(row.error, _LONGEST_NOTE)


def _mark_loops(marks: dict[str, Mark], report: RunReport) -> None:
    """Mark the loops that ended at their bound: the node that would go back, and the frame."""
    for end in report.loop_ends:
        source = box_id(end.source)
        if _RANK[marks[source].status] < _RANK["at_bound"]:
            marks[source] = replace(marks[source], status="at_bound")
        frame = frame_id(source, end.back_to)
        earlier = marks.get(frame, Mark("at_bound")).visits
        times = f", {earlier + 1} times" if earlier else ""
        marks[frame] = Mark("at_bound", earlier + 1, note=f"{end.text}{times}")


def _list_lines(activation: Activation) -> list[str]:
    """Return the ids of the lines that led to an activation, and of those that it took."""
    flow_path = box_id(activation.scope.prefix).removesuffix("/")
    edges = [token.edge for token in activation.tokens]
    late = activation.scope.late
    decided = late.node if late is not None and late.is_region else -1
    edges += [edge for edge in activation.taken_edges if edge.target != decided]
    return [line_id(flow_path, edge) for edge in edges]


# ---- words ---------------------------------------------------------------------------------------
def _build_title(report: RunReport, *, is_lost: bool) -> str:
    run = report.run
    if is_lost:
        return "crashed · its process is gone"
    return f"{run.status} · {run.reason}" if run.reason not in ("", run.status) else run.status


def _list_remarks(report: RunReport) -> Iterable[str]:
    """Return what deserves attention, a sentence each."""
    run = report.run
    limit = run.reason.partition("limit:")[2]
    if limit in LIMITS:
        yield f"stopped: {LIMITS[limit]}"
    yield from _limit(
        f"{activation.path} failed: {describe_failure(activation.failure) or 'interrupted'}"
        for activation in run.failed()
    )
    yield from _limit(
        f"{asker.path} asks: {getattr(asker.question, 'text', '')}" for asker in run.questions()
    )
    yield from _limit(
        f"{activation.path} waits for {activation.wait.describe()}"
        for activation in run.waits()
        if activation.status is ActivationStatus.AWAITING_EVENT and activation.wait is not None
    )
    yield from _limit(
        f"{activation.path} waits for its next attempt, {format_moment(activation.retry_at)}"
        for activation in run.pauses()
    )
    yield from _limit(
        f"loop from {end.source} back to {end.back_to}: {end.text}" for end in report.loop_ends
    )
    ends = {end.text for end in report.loop_ends}
    yield from _limit(
        f"note of {note.path}: {note.text}" for note in report.notes if note.text not in ends
    )


def _limit(remarks: Iterable[str]) -> Iterable[str]:
    """Return the first remarks of a kind, cut, and how many more there are."""
    lines = list(remarks)
    yield from (truncate(" ".join(line.split()), _LONGEST_REMARK) for line in lines[:_MOST_REMARKS])
    if len(lines) > _MOST_REMARKS:
        yield f"and {len(lines) - _MOST_REMARKS} more"


def _add_not_reached(picture: Picture, overlay: Overlay) -> Overlay:
    """Return the overlay with a remark on the boxes that the run did not come to."""
    names = [
        box.id
        for box in picture.boxes
        if box.kind in CARD_KINDS
        and overlay.marks.get(box.id, Mark("not_reached")).status == "not_reached"
    ]
    if not names:
        return overlay
    remark = f"not reached: {join_limited(names, _MOST_NAMES)}"
    return replace(overlay, remarks=(*overlay.remarks, remark))
