"""The records of a run as the present graph understands them: a run of an older graph is read through the migrations that the graph declares.

Theory of operation. What is stored stays as it was written. The head of a run names the graph that began it, and a record `migrated`, written
when a changed graph goes on with it, names the one that wrote what follows. So a log is a row of segments, each of one graph; a segment of
another graph than the present one is changed on its way in, each time, by the function that was declared for its fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from graphorch.errors import JournalError
from graphorch.graph.fingerprint import compute_fingerprint, list_differences
from graphorch.graph.plan import Plan
from graphorch.journal.records import Record, RunLog

MARK = "migrated"


@dataclass(frozen=True, slots=True)
class MigratedLog:
    """The records of a run, in the words of the present graph.

    Activations in the records up to number `adopted` keep the ids that an older graph gave them. `is_current` tells whether the last
    segment is the present graph's own, so that it may simply be continued.
    """

    records: tuple[Record, ...]
    adopted: int
    is_current: bool


def migrate_records(log: RunLog, plan: Plan) -> MigratedLog:
    """Read a log as the graph of a plan understands it. Raises `JournalError` if it is of another graph and there is no migration."""
    now, written_by = compute_fingerprint(plan, log.head.format), log.head.fingerprint
    found: list[Record] = []
    adopted = 0
    for record in log.records:
        if record.kind == MARK:
            written_by = _mark(record)
        elif written_by != now:
            change = plan.migrations.get(written_by)
            if change is None:
                raise _not_the_same(log, written_by, plan)
            changed = _changed(record, change)
            adopted = record.seq if changed else adopted
            found += changed
            continue
        found.append(record)
    if written_by != now and written_by not in plan.migrations:
        raise _not_the_same(log, written_by, plan)
    return MigratedLog(tuple(found), adopted, written_by == now)


def build_mark(plan: Plan, seq: int, format: int) -> Record:
    """Return the record that says which graph writes from here on; its fingerprint is of the format that the run was begun in."""
    return Record(seq, MARK, {"to": compute_fingerprint(plan, format)})


def _mark(record: Record) -> str:
    to = record.body.get("to") if isinstance(record.body, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(to, str):
        raise JournalError(
            f"Record {record.seq} ({MARK}) does not say which graph follows. The journal is damaged."
        )
    return to


def _changed(
    record: Record, change: Callable[[dict[str, Any]], dict[str, Any] | None]
) -> list[Record]:
    """What a migration makes of one record: it gets a copy of the body with the `kind` in it, and None drops the record."""
    where = f"The migration of record {record.seq} ({record.kind})"
    copy: dict[str, Any] = {"kind": record.kind, **json.loads(json.dumps(record.body))}
    try:
        body: Any = change(copy)
    except Exception as error:  # the border to the user's code
        raise JournalError(
            f"{where} raised {type(error).__name__}: {error}. The record was {_short(record.body)}."
        ) from error
    if body is None:
        return []
    kind: Any = cast("dict[str, Any]", body).pop("kind", None) if isinstance(body, dict) else None
    if not isinstance(kind, str):
        raise JournalError(
            f"{where} returned {_short(cast('object', body))}. Return the dictionary that it was given, changed, or None to leave it out."
        )
    return [Record(record.seq, kind, body)]


def _not_the_same(log: RunLog, written_by: str, plan: Plan) -> JournalError:
    first = log.records[0].body if log.records else None
    described = first.get("flow") if isinstance(first, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    changed = "; ".join(list_differences(described, plan)[:6])
    return JournalError(
        f"Run {log.head.run_id} belongs to flow '{log.head.flow}' as it was, and flow '{plan.name}' is not the same graph: {changed}. "
        f'Go on with the flow that wrote it, or declare what changed: graph.migration(from_="{written_by}", change=…).'
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:199]}…"
