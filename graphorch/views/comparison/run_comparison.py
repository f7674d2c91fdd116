"""Compares two runs of a journal: the overview, one activation of both, and their picture."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, cast

from graphorch.errors import InputError, did_you_mean
from graphorch.journal.errors import JournalError
from graphorch.views.comparison.alignment import CallPair, pair_calls
from graphorch.views.comparison.comparison import (
    ActivationDifference,
    ComparedActivation,
    ComparedCall,
    ComparedRun,
    Comparison,
    DifferenceCounts,
    FieldDifference,
)
from graphorch.views.comparison.differences import (
    RecordedPair,
    RunPair,
    compare_activations,
    compare_fields,
    find_presence,
    list_call_aspects,
    list_same_fields,
)
from graphorch.views.comparison.recorded_run import (
    Place,
    RecordedActivation,
    RecordedCall,
    RecordedRun,
)
from graphorch.views.reading.call_pages import read_call
from graphorch.views.reading.clipping import ClippedRedaction
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.runs.calls import ModelCall
from graphorch.views.runs.nodes import measure_run

MOST_ACTIVATIONS: Final = 1_000
"""Activations of one page."""


@dataclass(frozen=True, slots=True)
class WantedActivations:
    """Which activations of a comparison to return: from number `after` on, or differences only."""

    after: int = 0
    limit: int = 200
    only_differences: bool = False


@asynccontextmanager
async def open_pair(reader: JournalReader, left: str, right: str) -> AsyncGenerator[RunPair]:
    """Open two runs, and align them.

    Raises `InputError` for one run twice, `JournalError` for one whose content was erased, and
    `RunNotFound`, `WrongKey`, `JournalDamaged`.
    """
    if left == right:
        raise InputError(f"Run {left} is named twice. Name two runs to compare.")
    # In one order for everybody: two comparisons would else wait for each other.
    first, second = sorted((left, right))
    async with reader.open_run(first) as lower, reader.open_run(second) as upper:
        ordered = (lower, upper) if first == left else (upper, lower)
        yield await asyncio.to_thread(pair_runs, *ordered)


def pair_runs(left: OpenRun, right: OpenRun) -> RunPair:
    """Return two runs with their activations aligned.

    Raises `JournalError` for a run whose content was erased.
    """
    for run in (left, right):
        if run.head.is_erased:
            raise JournalError(
                f"The content of run {run.head.run_id} was erased; only its hashes remain, so "
                "there is nothing to compare."
            )
    return RunPair(RecordedRun(left), RecordedRun(right))


def compare_runs(
    pair: RunPair, wanted: WantedActivations, outputs: tuple[Any, Any] | None = None
) -> Comparison:
    """Return the overview of a comparison; `outputs` are the results of both runs, cleaned."""
    left, right = pair.left.run, pair.right.run
    redaction = _build_redaction(pair)
    rows = [compare_activations(each) for each in pair.list_pairs()]
    shown = [row for row in rows if not wanted.only_differences or _is_difference(row)]
    end = wanted.after + wanted.limit
    return Comparison(
        left=_describe_run(pair.left),
        right=_describe_run(pair.right),
        is_same_graph=left.head.fingerprint == right.head.fingerprint,
        inputs=compare_fields(pair.left.input, pair.right.input, redaction),
        outputs=None if outputs is None else _compare_outputs(*outputs, redaction),
        counts=count_differences(rows),
        activations=shown[wanted.after : end],
        next=end if end < len(shown) else None,
    )


def compare_activation(pair: RunPair, place: Place) -> ActivationDifference:
    """Return everything in which an activation differs.

    Raises `InputError` if neither run has it.
    """
    found = pair.get_pair(place)
    if found.left is None and found.right is None:
        raise InputError(_explain_missing(pair, place))
    redaction = _build_redaction(pair)
    left = found.left or RecordedActivation(place, "")
    right = found.right or RecordedActivation(place, "")
    return ActivationDifference(
        activation=compare_activations(found),
        inputs=compare_fields(left.given, right.given, redaction),
        outputs=compare_fields(left.written, right.written, redaction),
        same=list_same_fields(left.written, right.written),
        left_route=list(left.route),
        right_route=list(right.route),
        left_errors=[redaction.text(error) for error in left.errors],
        right_errors=[redaction.text(error) for error in right.errors],
        calls=_compare_calls(pair, found),
    )


def count_differences(rows: Sequence[ComparedActivation]) -> DifferenceCounts:
    """Count activations by how they differ."""
    return DifferenceCounts(
        same=sum(row.presence == "both" and not row.differs for row in rows),
        different=sum(bool(row.differs) for row in rows),
        only_left=sum(row.presence == "left" for row in rows),
        only_right=sum(row.presence == "right" for row in rows),
    )


def _is_difference(row: ComparedActivation) -> bool:
    return row.presence != "both" or bool(row.differs)


def _describe_run(recorded: RecordedRun) -> ComparedRun:
    run = recorded.run
    head, trace, figures = run.head, run.trace, measure_run(run.trace)
    spans = [each.span for each in recorded.activations.values() if each.span is not None]
    return ComparedRun(
        run_id=head.run_id,
        flow=head.flow,
        fingerprint=head.fingerprint,
        status=trace.status,
        reason="" if trace.reason == trace.status else trace.reason,
        created_at=head.created_at,
        parent=head.parent,
        seq=run.seq,
        seconds=figures.seconds,
        activations=len(recorded.activations),
        errors=figures.errors,
        served=sum(span.is_copy for span in spans),
        usage=figures.usage,
        faults=list(trace.faults),
    )


def _build_redaction(pair: RunPair) -> ClippedRedaction:
    """Return a redaction that hides the secret fields of both flows."""
    left, right = (side.run.build_redaction() for side in (pair.left, pair.right))
    return replace(left, fields=left.fields | right.fields)


def _compare_outputs(left: Any, right: Any, redaction: ClippedRedaction) -> list[FieldDifference]:
    return compare_fields(_as_fields(left), _as_fields(right), redaction)


def _as_fields(output: Any) -> dict[str, Any]:
    """Return an output as fields; one that is no object is one field."""
    return cast("dict[str, Any]", output) if isinstance(output, dict) else {"output": output}


def _explain_missing(pair: RunPair, place: Place) -> str:
    known = {each.path for side in (pair.left, pair.right) for each in side.activations}
    if place.path in known:
        most = max(
            each.round
            for side in (pair.left, pair.right)
            for each in side.activations
            if each.path == place.path
        )
        return f"round={place.round}: '{place.path}' has the rounds 1 to {most}."
    return (
        f"{place.path!r:.200} is in neither of the runs. "
        f"{did_you_mean(place.path, list(known)[:1000])}"
    )


def _compare_calls(pair: RunPair, found: RecordedPair) -> list[ComparedCall]:
    left = [] if found.left is None else found.left.calls
    right = [] if found.right is None else found.right.calls
    return [
        _build_calls(pair, calls, number) for number, calls in enumerate(pair_calls(left, right), 1)
    ]


def _build_calls(pair: RunPair, calls: CallPair, number: int) -> ComparedCall:
    return ComparedCall(
        number=number,
        presence=find_presence(calls.left, calls.right),
        differs=list(list_call_aspects(calls)),
        left=_show_call(pair.left.run, calls.left),
        right=_show_call(pair.right.run, calls.right),
    )


def _show_call(run: OpenRun, call: RecordedCall | None) -> ModelCall | None:
    return None if call is None else read_call(run, call.seq)
