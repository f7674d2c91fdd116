"""`graphorch runs`: list the runs in a journal. No flow is needed, and none is run."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.journals import query_store, require_journal
from graphorch.cli.json_output import to_json_line
from graphorch.cli.run_head import (
    describe_head,
    format_chain,
    format_status,
    format_tags,
    format_time,
)
from graphorch.cli.run_request import JournalPlace
from graphorch.cli.shared_options import (
    AsJson,
    Db,
    Debug,
    Since,
    Until,
    parse_choice,
    parse_tags,
    parse_window,
)
from graphorch.cli.tables import align_columns
from graphorch.cli.terminal import print_output, print_status, sanitize_line
from graphorch.errors import InputError
from graphorch.journal.chain_key import VARIABLE, read_key
from graphorch.journal.due_times import read_due
from graphorch.journal.errors import JournalDamaged
from graphorch.journal.records import Cursor, RunHead, RunPage, RunQuery
from graphorch.journal.store import Store
from graphorch.runs.work_queues import find_placed
from graphorch.statuses import RUN_STATUSES
from graphorch.text import shorten_run_ids

_HEADINGS = ("RUN", "STATUS", "FLOW", "BEGUN", "CHANGED", "RECORDS", "TAGS")


def list_runs(
    context: typer.Context,
    status: Annotated[
        str,
        typer.Option(
            "--status",
            metavar="STATUS",
            help="running, waiting, stopped, failed, succeeded, partial or cancelled.",
        ),
    ] = "",
    flow: Annotated[
        str, typer.Option("--flow", metavar="NAME", help="Runs of the flow with this name.")
    ] = "",
    tag: Annotated[
        str, typer.Option("--tag", metavar="KEY=VALUE", help="Runs with this tag.")
    ] = "",
    since: Since = "",
    until: Until = "",
    limit: Annotated[
        int, typer.Option("--limit", metavar="NUMBER", help="List at most this many runs.")
    ] = 20,
    after: Annotated[
        str,
        typer.Option(
            "--after", metavar="PLACE", help="The next page, from the place that the last one gave."
        ),
    ] = "",
    db: Db = "",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """List the runs in a journal, the newest first.

    The commands below show, stop, cancel or delete them. Hashes find damaged runs. With
    GRAPHORCH_JOURNAL_KEY set, new runs are protected against people who can write the file, and
    runs without a key are listed as unkeyed.

    Exit codes: 0 done, 2 wrong usage or journal.
    """
    if context.invoked_subcommand is not None:
        context.obj = db
        return
    with exit_on_error(debug=debug, as_json=as_json):
        query = build_query(
            status=status, flow=flow, tag=tag, since=since, until=until, limit=limit, after=after
        )
        print_page(require_journal(db), query, as_json=as_json)


def build_query(
    *, status: str, flow: str, tag: str, since: str, until: str, limit: int, after: str
) -> RunQuery:
    """Return the query that the options describe. Raises `InputError`."""
    if limit < 1:
        raise InputError(f"--limit {limit}: not a number of runs. Write a whole number from 1 on.")
    tags = parse_tags([tag] if tag else [])
    begin, end = parse_window(since, until)
    return RunQuery(
        status=parse_choice(status, "--status", RUN_STATUSES) if status else None,
        flow=flow or None,
        tag=next(iter(tags.items()), None),
        created_from=begin,
        created_until=end,
        after=_parse_cursor(after) if after else None,
        limit=limit,
    )


def print_page(journal: JournalPlace, query: RunQuery, *, as_json: bool) -> None:
    """Print a page of runs: a table for people, one object for a program. Raises `JournalError`."""
    page, due, placed = query_store(journal, lambda store: _load_page(store, query))
    if as_json:
        described = {
            "runs": [describe_head(head) | {"due": due.get(head.run_id)} for head in page.runs],
            "damaged": page.damaged,
            "refused": page.refused,
            "next": _format_cursor(page.next) if page.next is not None else None,
        }
        print_output(to_json_line(described))
        return
    if page.runs:
        short_ids = shorten_run_ids([head.run_id for head in page.runs])
        times = [due.get(head.run_id) for head in page.runs]
        are_placed = [head.run_id in placed for head in page.runs]
        rows = [_HEADINGS, *map(_format_row, short_ids, page.runs, times, are_placed)]
        # Without a key at hand every run that can be read is unkeyed.
        if read_key() is not None:
            chains = ["CHAIN", *map(format_chain, page.runs)]
            rows = [(*row, chain) for row, chain in zip(rows, chains, strict=True)]
        print_output("\n".join(align_columns(rows)))
    else:
        print_output("no runs")
    _print_notes(page)


async def _load_page(
    store: Store, query: RunQuery
) -> tuple[RunPage, dict[str, float], frozenset[str]]:
    """Return a page of runs, when those that wait for a time are due, and which workers drive."""
    page, due = await store.list_runs(query), dict[str, float]()
    for head in page.runs:
        with contextlib.suppress(JournalDamaged):  # the head of a damaged run is listed
            if (at := await read_due(store, head)) is not None:
                due[head.run_id] = at
    idle = [head.run_id for head in page.runs if head.status == "running" and not head.is_under_way]
    return page, due, await find_placed(store, idle)


def _format_row(
    short_id: str, head: RunHead, due: float | None, is_placed: bool
) -> tuple[str, ...]:
    return (
        short_id,
        format_status(head, due, is_placed=is_placed),
        sanitize_line(head.flow, 40),
        format_time(head.created_at),
        format_time(head.updated_at),
        str(head.last_seq),
        sanitize_line(format_tags(head), 60),
    )


def _print_notes(page: RunPage) -> None:
    for run_id in page.damaged:
        print_status(
            f"note: run {sanitize_line(run_id)} is damaged: its head is not what was written."
        )
    for run_id in page.refused:
        print_status(
            f"note: run {sanitize_line(run_id)} is protected by another key than the one that "
            f"{VARIABLE} holds, or it is not set."
        )
    if page.next is not None:
        print_status(f"there are more: --after {_format_cursor(page.next)}")


def _format_cursor(cursor: Cursor) -> str:
    return f"{cursor[0]!r}:{cursor[1]}"


def _parse_cursor(place: str) -> Cursor:
    created_at, _, run_id = place.partition(":")
    try:
        return float(created_at), run_id
    except ValueError:
        raise InputError(
            f"--after {place}: not a place in the list. "
            "Write what the page before gave, or `graphorch runs` for the first page."
        ) from None
