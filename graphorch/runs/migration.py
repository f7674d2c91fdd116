"""The records of a run as the present graph reads them, through the migrations that it declares.

Theory of operation. What is stored stays as it was written. The head of a run names the graph that
began it, and a record `migrated`, written when a changed graph resumes the run, names the graph
that wrote what follows. So a log is a sequence of segments, each of one graph. A segment of another
graph than the present one is changed whenever it is read, by the function that was declared for its
fingerprint.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from graphorch.errors import JournalError
from graphorch.graph.fingerprint import compute_fingerprint, list_differences
from graphorch.graph.plan import Plan
from graphorch.journal.record_kinds import RecordKind
from graphorch.journal.records import Record, RunHead, RunLog
from graphorch.text import truncate_repr

MARK: Final[RecordKind] = "migrated"
_LISTED = 6  # differences between two graphs in a message
_SHOWN = 200  # characters of a record in a message

Change: TypeAlias = Callable[[dict[str, Any]], dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class MigratedLog:
    """The records of a run, in the words of the present graph.

    Activations in the records up to number `adopted` keep the ids that an older graph gave them.
    `is_current` is true if the present graph wrote the last segment, so that it may just go on.
    """

    records: tuple[Record, ...]
    adopted: int
    is_current: bool


def migrate_records(log: RunLog, plan: Plan) -> MigratedLog:
    """Return a log as the graph of a plan reads it.

    Raises `JournalError` if it is of another graph and there is no migration.
    """
    reader = MigrationReader(log.head, plan)
    records = [changed for record in log.records if (changed := reader.read(record)) is not None]
    reader.require_readable()
    return MigratedLog(tuple(records), reader.adopted, reader.is_current)


class MigrationReader:
    """Takes the records of a run in their order, and returns each as the graph of a plan reads it.

    `adopted` is the number of the last record that another graph wrote.
    """

    def __init__(self, head: RunHead, plan: Plan) -> None:
        self.adopted = 0
        self._head = head
        self._plan = plan
        self._current = compute_fingerprint(plan, head.format)
        self._writer = head.fingerprint
        self._first: Record | None = None

    @property
    def is_current(self) -> bool:
        """Whether the present graph writes what comes next."""
        return self._writer == self._current

    def read(self, record: Record) -> Record | None:
        """Return a record in the words of the present graph; None if that leaves it out.

        Raises `JournalError` for one of a graph without a migration.
        """
        self._first = self._first or record
        if record.kind == MARK:
            self._writer = _read_mark(record)
            return record
        if self.is_current:
            return record
        self.require_readable()
        changed = _change_record(record, self._plan.migrations[self._writer])
        if changed is not None:
            self.adopted = record.seq
        return changed

    def require_readable(self) -> None:
        """Raise `JournalError` if what comes next is of a graph without a migration."""
        if not self.is_current and self._writer not in self._plan.migrations:
            raise _build_refusal(self._head, self._first, self._writer, self._plan)


def find_migrated(log: RunLog) -> str | None:
    """Return the fingerprint of the graph that a run was migrated to last; None if it was not.

    It is of the format in which the run was begun.
    """
    marks = [record for record in log.records if record.kind == MARK]
    return _read_mark(marks[-1]) if marks else None


def build_mark(plan: Plan, seq: int, format: int) -> Record:
    """Return the record that names the graph that writes from here on.

    Its fingerprint is of the format in which the run was begun.
    """
    return Record(seq, MARK, {"to": compute_fingerprint(plan, format)})


def _read_mark(record: Record) -> str:
    body = _as_dict(record.body)
    to: Any = None if body is None else body.get("to")
    if not isinstance(to, str):
        raise JournalError(
            f"Record {record.seq} ({MARK}) does not name the graph that follows. "
            "The journal is damaged."
        )
    return to


def _change_record(record: Record, change: Change) -> Record | None:
    """Apply a migration to a copy of one record; None leaves the record out."""
    subject = f"The migration of record {record.seq} ({record.kind})"
    if _as_dict(record.body) is None:
        raise JournalError(
            f"Record {record.seq} ({record.kind}) is not an object. The journal is damaged."
        )
    copy: dict[str, Any] = {"kind": record.kind, **json.loads(json.dumps(record.body))}
    try:
        result: Any = change(copy)
    except Exception as error:
        # The border to the user's code.
        raise JournalError(
            f"{subject} raised {type(error).__name__}: {error}. "
            f"The record was {truncate_repr(record.body, _SHOWN)}."
        ) from error
    if result is None:
        return None
    body = _as_dict(result)
    kind: Any = None if body is None else body.pop("kind", None)
    if not isinstance(kind, str):
        raise JournalError(
            f"{subject} returned {truncate_repr(result, _SHOWN)}. "
            "Return the given dictionary, changed, or None to leave the record out."
        )
    return Record(record.seq, kind, body)


def _build_refusal(head: RunHead, record: Record | None, writer: str, plan: Plan) -> JournalError:
    """Return the error for a run of another graph, whose first record tells the differences."""
    first = None if record is None else _as_dict(record.body)
    described = None if first is None else first.get("flow")
    differences = "; ".join(list_differences(described, plan)[:_LISTED])
    # two flows of different names are rather two files than two versions
    remedy = "Resume it with the flow that wrote it"
    if head.flow != plan.name:
        remedy = f"Name the file that defines '{head.flow}'"
    return JournalError(
        f"Run {head.run_id} belongs to flow '{head.flow}' as it was, "
        f"and flow '{plan.name}' is not the same graph: {differences}. "
        f"{remedy}, or declare what changed: "
        f'graph.migration(from_="{writer}", change=…).'
    )


def _as_dict(value: Any) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
