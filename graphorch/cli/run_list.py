"""The list of runs in a journal: which ones, and how a page of them is told."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from graphorch.cli.encoding import as_object
from graphorch.cli.journals import ask, moment_of, one_of, shown_time, tags_of
from graphorch.cli.safe import one_line, result, say
from graphorch.cli.wishes import Journal
from graphorch.errors import InputError
from graphorch.journal.records import Cursor, RunHead, RunPage, RunQuery

STATUSES = ("running", "waiting", "stopped", "failed", "succeeded", "partial", "cancelled")


def query_of(
    *, status: str, flow: str, tag: str, since: str, until: str, limit: int, after: str
) -> RunQuery:
    """The query that the options ask for. Raises `InputError`."""
    if limit < 1:
        raise InputError(
            f"--limit {limit}: that is no number of runs. Write a whole number from 1 on."
        )
    tags = tags_of([tag] if tag else [])
    return RunQuery(
        status=one_of(status, "--status", STATUSES) if status else None,
        flow=flow or None,
        tag=next(iter(tags.items()), None),
        created_from=moment_of(since, "--since") if since else None,
        created_until=moment_of(until, "--until") if until else None,
        after=_cursor(after) if after else None,
        limit=limit,
    )


def tell_page(journal: Journal, query: RunQuery, *, as_json: bool) -> None:
    """Read a page and tell it: a table for people, one object for a program. Raises `JournalError`."""
    page = ask(journal, lambda store: store.list_runs(query))
    if as_json:
        result(
            as_object(
                {
                    "runs": [about(head) for head in page.runs],
                    "damaged": page.damaged,
                    "next": _place(page.next),
                }
            )
        )
        return
    rows = [("RUN", "STATUS", "FLOW", "BEGUN", "CHANGED", "RECORDS", "TAGS"), *map(_row, page.runs)]
    result(table(rows) if page.runs else "no runs")
    _tell_more(page)


def about(head: RunHead) -> dict[str, Any]:
    """What a program gets to know of a run without its records."""
    told = asdict(head)
    told["is_under_way"] = is_under_way(head)
    return told


def is_under_way(head: RunHead) -> bool:
    """Whether somebody works on the run."""
    return head.lease is not None and head.lease.expires_at > time.time()


def status_of(head: RunHead) -> str:
    """The status for people: a run whose process is gone is not running."""
    if head.is_erased:
        return "erased"
    return "crashed" if head.status == "running" and not is_under_way(head) else head.status


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows in columns, as wide as they have to be."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _row(head: RunHead) -> tuple[str, ...]:
    tags = ", ".join(f"{key}={value}" for key, value in head.tags.items())
    flow = one_line(head.flow, 40)
    return (
        head.run_id,
        status_of(head),
        flow,
        shown_time(head.created_at),
        shown_time(head.updated_at),
        str(head.last_seq),
        one_line(tags, 60),
    )


def _tell_more(page: RunPage) -> None:
    for run_id in page.damaged:
        say(f"note: run {one_line(run_id)} is damaged: its head is not what was written.")
    if page.next is not None:
        say(f"there are more: --after {_place(page.next)}")


def _place(cursor: Cursor | None) -> str | None:
    return None if cursor is None else f"{cursor[0]!r}:{cursor[1]}"


def _cursor(place: str) -> Cursor:
    moment, _, run_id = place.partition(":")
    try:
        return float(moment), run_id
    except ValueError:
        raise InputError(
            f"--after {place}: that is no place in the list. Write what the page before said, or `graphorch runs` for the first one."
        ) from None
