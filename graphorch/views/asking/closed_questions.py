"""What became of a question that is not open any more, by the records of its run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from graphorch.graph.payloads import is_unanswered
from graphorch.journal.records import Record
from graphorch.views.reading.open_run import OpenRun


@dataclass(frozen=True, slots=True)
class ClosedQuestion:
    """How a question was closed, and when (seconds since 1970)."""

    outcome: Literal["answered", "expired", "withdrawn"]
    at: float


def find_closed_question(run: OpenRun, question: str) -> ClosedQuestion | None:
    """Return what became of the question of an activation; None if it never asked anything."""
    asked = False
    for record in run.records:
        if not run.is_whole(record) or record.body.get("id") != question:
            continue
        if record.kind == "asked":
            asked = True
        elif asked and (closed := _read_end(record)) is not None:
            return closed
    if not asked:
        return None
    return ClosedQuestion("withdrawn", _find_last_time(run.records) or run.head.updated_at)


def _read_end(record: Record) -> ClosedQuestion | None:
    """Return how a record closes the question of its activation; None if it does not."""
    at = float(record.body.get("at", 0.0))
    if record.kind == "commit" and is_unanswered(record.body.get("update")):
        return ClosedQuestion("expired", at)
    if record.kind in ("approved", "commit"):
        return ClosedQuestion("answered", at)
    if record.kind == "failed":
        return ClosedQuestion("expired" if record.body["error"] == "Expired" else "answered", at)
    if record.kind in ("cancelled", "skipped"):
        return ClosedQuestion("withdrawn", at)
    return None


def _find_last_time(records: Sequence[Record]) -> float:
    if not records or records[-1].is_erased:
        return 0.0
    return float(records[-1].body.get("at", 0.0))
