"""Rows of a session's timeline: a step each, and one for all items of a map.

The items of a map are folded: of a thousand items only the row that stands for them is sent to the
page, and the items when a person opens it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from graphorch.debugger.notebook.values import cut_text, format_value
from graphorch.debugger.steps import DebugStep, StepKind
from graphorch.render.plan_picture import box_id
from graphorch.statuses import TOOL_OUTCOMES

Json: TypeAlias = dict[str, Any]

_MAX_ROWS = 400  # rows of a timeline, the newest ones
_LONGEST_PREVIEW = 160  # characters of what an item wrote
_ITEM = re.compile(r"(?P<map>[^\[]*)\[(?P<index>[\da-f.]+)\]")
# The status of an item, or of all items, is the first of these that one of its steps has.
_RANKING: tuple[StepKind, ...] = (
    "failed", "handled", "asked", "waits", "cancelled", "skipped", "done", "entered",
)  # fmt: skip
_FAILED: tuple[StepKind, ...] = ("failed", "handled", "skipped")


def build_rows(history: Sequence[DebugStep]) -> list[Json]:
    """Return the newest rows of a timeline: steps, and the items of maps as one row each."""
    spans = list(_split(history))[-_MAX_ROWS:]
    return [
        _describe_map(history, path, first, last) if path else summarize_step(history[first], first)
        for path, first, last in spans
    ]


def summarize_step(step: DebugStep, at: int) -> Json:
    """Return one step as a row; `at` is its number in the history, from 0 on."""
    return {
        "at": at,
        "path": step.path,
        "box": find_box(step.path, is_call=bool(step.tool)),
        "kind": step.kind,
        "tool": step.tool,
        "outcome": TOOL_OUTCOMES.get(step.outcome, ""),
        "how": step.how,
        "to": list(step.to),
        "seconds": step.seconds,
        "attempts": step.attempts,
        "tokens": step.tokens,
        "usd": step.usd,
        "unpriced": step.unpriced,
        "asked": len(step.calls),
        "error": cut_text(step.error),
    }


def find_box(path: str, *, is_call: bool) -> str:
    """Return the id of the box of a step: a call of a tool is shown at its agent's."""
    if is_call:
        path = path.rpartition("/")[0].rpartition("/")[0]
    return box_id(path)


def describe_items(history: Sequence[DebugStep], first: int, last: int) -> list[Json]:
    """Return the items of a map, each with its steps, from one step of the history to another."""
    items: dict[str, list[tuple[int, DebugStep]]] = {}
    for at in range(max(0, first), min(last + 1, len(history))):
        found = _ITEM.match(history[at].path)
        if found:
            items.setdefault(found["index"], []).append((at, history[at]))
    return [_describe_item(index, steps) for index, steps in items.items()]


def list_maps(history: Sequence[DebugStep]) -> list[tuple[int, int]]:
    """Return first and last step of each row that stands for the items of a map."""
    return [(first, last) for path, first, last in _split(history) if path]


def _split(history: Sequence[DebugStep]) -> Iterator[tuple[str, int, int]]:
    """Yield the path of a map with the first and last of its steps, or no path and one step."""
    path, first = "", 0
    for at, step in enumerate(history):
        found = _ITEM.match(step.path)
        here = found["map"] if found else ""
        if path and here != path:
            yield path, first, at - 1
        if here and here != path:
            first = at
        if not here:
            yield "", at, at
        path = here
    if path:
        yield path, first, len(history) - 1


def _describe_map(history: Sequence[DebugStep], path: str, first: int, last: int) -> Json:
    steps = history[first : last + 1]
    kinds: dict[str, StepKind] = {}
    for step in steps:
        found = _ITEM.match(step.path)
        assert found is not None
        kinds[found["index"]] = _worst([kinds.get(found["index"], "entered"), step.kind])
    return {
        "map": path,
        "box": box_id(path),
        "at": first,
        "last": last,
        "items": len(kinds),
        "kind": _worst(list(kinds.values())),
        "failed": sum(kind in _FAILED for kind in kinds.values()),
        "seconds": sum(step.seconds for step in steps),
        "tokens": sum(step.tokens for step in steps),
        "usd": sum(step.usd for step in steps),
        "unpriced": sum(step.unpriced for step in steps),
    }


def _describe_item(index: str, steps: Sequence[tuple[int, DebugStep]]) -> Json:
    kind = _worst([step.kind for _, step in steps])
    return {
        # `2.0` is what item 2 grew, and a unique item is named by its key.
        "item": int(index) if index.isdecimal() and len(index) < 9 else index,
        "kind": kind,
        "hasFailed": kind in _FAILED,
        "text": _preview([step for _, step in steps]),
        "seconds": sum(step.seconds for _, step in steps),
        "steps": [summarize_step(step, at) for at, step in steps],
    }


def _worst(kinds: Sequence[StepKind]) -> StepKind:
    return min(kinds, key=_RANKING.index)


def _preview(steps: Sequence[DebugStep]) -> str:
    """Return the error of an item, or what it wrote last, in one line that can be searched."""
    errors = [step.error for step in steps if step.error]
    if errors:
        return " ".join(errors[-1].split())[:_LONGEST_PREVIEW]
    for step in reversed(steps):
        if step.changed:
            written = [f"{name}: {format_value(new)}" for name, (_, new) in step.changed.items()]
            return " ".join(", ".join(written).split())[:_LONGEST_PREVIEW]
    return ""
