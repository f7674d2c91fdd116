"""Finds in which aspects activations and model calls of two runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from graphorch.trace.spans.model import Span
from graphorch.views.comparison.alignment import CallPair, merge_places, pair_calls
from graphorch.views.comparison.comparison import (
    ActivationSide,
    Aspect,
    CallAspect,
    ComparedActivation,
    FieldDifference,
    Presence,
)
from graphorch.views.comparison.recorded_run import (
    Place,
    RecordedActivation,
    RecordedRun,
    write_value,
)
from graphorch.views.reading.clipping import ClippedRedaction
from graphorch.views.runs.nodes import find_box


@dataclass(frozen=True, slots=True)
class RecordedPair:
    """The same activation in two runs; None where one run has none."""

    left: RecordedActivation | None
    right: RecordedActivation | None


class RunPair:
    """Two runs whose activations are aligned."""

    def __init__(self, left: RecordedRun, right: RecordedRun) -> None:
        self.left = left
        self.right = right

    def list_pairs(self) -> Iterator[RecordedPair]:
        """Yield all activations of both runs, in the order of the left one."""
        for place in merge_places(self.left.activations, self.right.activations):
            yield self.get_pair(place)

    def get_pair(self, place: Place) -> RecordedPair:
        """Return the activations at a place."""
        return RecordedPair(self.left.activations.get(place), self.right.activations.get(place))


def find_presence(left: object | None, right: object | None) -> Presence:
    """Return in which of two runs something is."""
    if left is None:
        return "right"
    return "both" if right is not None else "left"


# ---- activations ---------------------------------------------------------------------------------
def compare_activations(pair: RecordedPair) -> ComparedActivation:
    """Return an activation in both runs, and in what it differs."""
    left, right = pair.left, pair.right
    shown = left or right
    assert shown is not None
    span = shown.span
    path = shown.place.path
    return ComparedActivation(
        path=path,
        step=path if span is None else span.step,
        node=path.rpartition("/")[2] if span is None else span.node,
        box=path if span is None else find_box(span),
        round=shown.place.round,
        presence=find_presence(left, right),
        differs=[] if left is None or right is None else list(_list_aspects(left, right)),
        left=None if left is None else _build_side(left),
        right=None if right is None else _build_side(right),
    )


def _list_aspects(left: RecordedActivation, right: RecordedActivation) -> Iterator[Aspect]:
    if _find_status(left.span) != _find_status(right.span):
        yield "status"
    if write_value(left.given) != write_value(right.given):
        yield "input"
    if write_value(left.written) != write_value(right.written):
        yield "output"
    if left.route != right.route:
        yield "route"
    if left.errors != right.errors:
        yield "error"
    if _count_attempts(left) != _count_attempts(right):
        yield "attempts"
    pairs = pair_calls(left.calls, right.calls)
    if any(None in pair or list(list_call_aspects(pair)) for pair in pairs):
        yield "calls"


def _build_side(activation: RecordedActivation) -> ActivationSide:
    span = activation.span
    return ActivationSide(
        seq=activation.seq,
        activation=activation.id,
        status=_find_status(span),
        attempts=_count_attempts(activation),
        seconds=activation.seconds,
        usage=replace(activation.usage),
        is_served=span is not None and span.is_copy,
    )


def _find_status(span: Span | None) -> str:
    """Return what became of an activation; of a call of a tool, what its model reads."""
    if span is None:
        return "running"
    if span.status == "ok":
        return span.outcome or "done"
    return span.outcome or span.status


def _count_attempts(activation: RecordedActivation) -> int:
    return 1 if activation.span is None else activation.span.attempt


# ---- model calls ---------------------------------------------------------------------------------
def list_call_aspects(pair: CallPair) -> Iterator[CallAspect]:
    """Yield in what two calls differ; nothing if one run has none."""
    left, right = pair
    if left is None or right is None:
        return
    if left.outcome.model != right.outcome.model:
        yield "model"
    if left.prompt != right.prompt:
        yield "prompt"
    if left.outcome.answer != right.outcome.answer:
        yield "answer"
    if left.outcome.tools != right.outcome.tools:
        yield "tools"
    if left.outcome.error != right.outcome.error:
        yield "outcome"


# ---- fields --------------------------------------------------------------------------------------
def compare_fields(
    left: Mapping[str, Any], right: Mapping[str, Any], redaction: ClippedRedaction
) -> list[FieldDifference]:
    """Return the fields that differ, as they may be shown."""
    names = dict.fromkeys([*left, *right])
    build = partial(_build_difference, left, right, redaction)
    return [build(name) for name in names if not _is_same(left, right, name)]


def list_same_fields(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields that are the same on both sides."""
    return [name for name in left if _is_same(left, right, name)]


def _is_same(left: Mapping[str, Any], right: Mapping[str, Any], name: str) -> bool:
    if name not in left or name not in right:
        return False
    return write_value(left[name]) == write_value(right[name])


def _build_difference(
    left: Mapping[str, Any], right: Mapping[str, Any], redaction: ClippedRedaction, name: str
) -> FieldDifference:
    sides = [_clean(side, name, redaction) for side in (left, right)]
    is_in_both = name in left and name in right
    return FieldDifference(
        field=redaction.text(name),
        presence=find_presence(_find(left, name), _find(right, name)),
        left=sides[0],
        right=sides[1],
        is_beyond_cut=is_in_both and write_value(sides[0]) == write_value(sides[1]),
    )


def _find(side: Mapping[str, Any], name: str) -> str | None:
    return name if name in side else None


def _clean(side: Mapping[str, Any], name: str, redaction: ClippedRedaction) -> Any:
    """Return a field as it may be shown. It is cleaned with its name, which may hide it."""
    if name not in side:
        return None
    [value] = redaction.data({name: side[name]}).values()
    return value
