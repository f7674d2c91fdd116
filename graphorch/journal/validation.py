"""Validation of ids, names, numbers and times, before anything reaches the storage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from graphorch.journal.errors import InvalidName, InvalidRecord
from graphorch.journal.records import NewLetter, NewRun, Record, RunQuery, Settlement
from graphorch.text import NAME_RULE, RUN_ID_RULE, is_name, is_run_id

LARGEST = 2**53  # whole numbers that every storage and every JSON reader holds exactly


def check_run_id(run_id: str) -> None:
    """Raise `InvalidName` unless `run_id` is an id.

    An id can be part of a path or an address and never lead elsewhere.
    """
    if not is_run_id(run_id):
        raise InvalidName(f"{run_id!r:.80} is not a run id. {RUN_ID_RULE}")


def check_text(value: str, what: str) -> None:
    """Raise `InvalidName` for a text that is empty, too long, or not printable."""
    if not is_name(value):
        raise InvalidName(f"{value!r:.80} is not a {what}. {NAME_RULE}")


def check_number(value: int, what: str, least: int = 0) -> None:
    """Raise `InvalidName` unless `value` is a whole number from `least` on."""
    if type(value) is not int or not least <= value <= LARGEST:
        raise InvalidName(f"{value!r:.80} is not a {what}. Use a whole number from {least} on.")


def check_seconds(value: float, what: str, least: float = -math.inf) -> None:
    """Raise `InvalidName` unless `value` is a finite number of seconds above `least`."""
    if type(value) not in (int, float) or not math.isfinite(value) or value <= least:
        bound = "" if math.isinf(least) else f" above {least:g}"
        raise InvalidName(f"{value!r:.80} is not a {what} in seconds. Use a finite number{bound}.")


def check_new_run(run: NewRun) -> None:
    """Raise `InvalidName` if a part of it is not valid."""
    check_run_id(run.run_id)
    if run.parent is not None:
        check_run_id(run.parent)
    for value, what in (
        (run.flow, "flow"),
        (run.fingerprint, "fingerprint"),
        (run.status, "status"),
    ):
        check_text(value, what)
    check_number(run.format, "format")
    for name, value in run.tags.items():
        check_text(name, "name of a tag")
        check_text(value, f"value of tag '{name}'")


def check_letter(letter: NewLetter) -> None:
    """Raise `InvalidName` if a part of it is not valid."""
    check_run_id(letter.run_id)
    check_text(letter.letter_id, "id of a letter")
    check_text(letter.kind, "kind of letter")


def check_records(
    records: Sequence[Record],
    expected_last_seq: int,
    status: str | None,
    settled: Sequence[Settlement],
) -> None:
    """Raise `InvalidRecord` unless the records are numbered from the expected last one on.

    Raises `InvalidName` for a wrong kind, status or letter.
    """
    for settlement in settled:
        check_number(settlement.number, "number of a letter", 1)
    check_number(expected_last_seq, "last record")
    if status is not None:
        check_text(status, "status")
    elif not records and not settled:
        raise InvalidRecord(
            "There is nothing to append: neither a record, nor a status, nor the outcome of a "
            "letter."
        )
    for seq, record in enumerate(records, expected_last_seq + 1):
        check_text(record.kind, "kind of record")
        if record.seq != seq or record.is_erased:
            raise InvalidRecord(
                f"Record {record.seq} ('{record.kind}') is in the place of record {seq}. "
                "Number the records from there on."
            )


def check_query(query: RunQuery) -> None:
    """Raise `InvalidName` if a part of it is not valid."""
    for value, what in (
        (query.status, "status"),
        (query.flow, "flow"),
        *((part, "part of a tag") for part in query.tag or ()),
    ):
        if value is not None:
            check_text(value, what)
    for value, what in (
        (query.created_from, "earliest time"),
        (query.created_until, "latest time"),
    ):
        if value is not None:
            check_seconds(value, what)
    if query.after is not None:
        check_seconds(query.after[0], "time of a cursor")
        check_run_id(query.after[1])
    check_number(query.limit, "limit of a page", 1)
