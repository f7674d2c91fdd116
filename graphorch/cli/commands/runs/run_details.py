"""`graphorch runs show`: one run as its records tell it, without its flow.

Stored data is only shown here: it never chooses what is done with it, and a record that is not what
its kind declares is named and left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any, cast

import typer

from graphorch.cli.commands.runs.letter_rows import format_letters
from graphorch.cli.commands.runs.wait_rows import (
    describe_kept,
    describe_wait,
    format_kept,
    format_send_command,
)
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.journals import query_store, require_journal, resolve_run_id
from graphorch.cli.json_output import to_json_line
from graphorch.cli.run_head import (
    describe_head,
    format_chain,
    format_status,
    format_tags,
    format_time,
)
from graphorch.cli.run_request import JournalPlace
from graphorch.cli.shared_options import AsJson, Db, Debug, RunId
from graphorch.cli.tables import align_columns, format_amount
from graphorch.cli.terminal import print_output, print_status, sanitize, sanitize_line
from graphorch.journal.records import Letter, RunHead, RunLog
from graphorch.journal.store import Store
from graphorch.runs.work_queues import find_placed
from graphorch.statuses import TOOL_OUTCOMES
from graphorch.text import shorten_run_id
from graphorch.views.runs.letters import build_letter_rows
from graphorch.views.runs.steps import StepRow, build_step_rows

_HEADINGS = ("STEP", "STATUS", "ATTEMPTS", "SECONDS", "CALLS", "TOKENS", "USD", "BOOKED")

# A call of a tool that has not begun, or in whose place a person answered.
_WITHOUT_ATTEMPT = frozenset({"called", "refused", "answered"})


def show(
    context: typer.Context,
    run: RunId = "last",
    db: Db = "",
    as_json: AsJson = False,
    as_records: Annotated[
        bool,
        typer.Option("--records", help="Print every record of the journal as a line of JSON."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Show what a run did: its steps with attempts, time, model calls and costs, and its waits.

    Open questions, signals and times that steps wait for, and signals that are kept for later, are
    named below the steps. Answers, signals and other requests follow that wait for a process to
    take them in, or were refused.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run.
    """
    with exit_on_error(debug=debug, as_json=as_json or as_records):
        journal = require_journal(db or context.obj)
        run_id = resolve_run_id(journal, run)
        if as_records:
            print_records(journal, run_id)
        else:
            print_run(journal, run_id, as_json=as_json)


def print_records(journal: JournalPlace, run_id: str) -> None:
    """Print every record as a line of JSON. Raises `JournalError`."""
    for record in query_store(journal, lambda store: store.load(run_id)).records:
        print_output(to_json_line(asdict(record)))


def print_run(journal: JournalPlace, run_id: str, *, as_json: bool) -> None:
    """Print a run, for people or as one object. Raises `JournalError`."""
    log, letters = query_store(journal, lambda store: load_with_letters(store, run_id))
    rows, kept, faults = build_step_rows(log)
    for fault in faults:
        print_status(f"note: left out: {sanitize_line(fault, 400)}")
    questions = _list_questions(log.head, rows)
    waits = [row for row in rows if row.waits and log.head.status != "cancelled"]
    if log.head.status == "waiting":
        waits += [row for row in rows if row.status == "retrying"]
    if as_json:
        described = describe_head(log.head) | {
            "due": _find_due(log),
            "steps": [asdict(row) for row in rows],
            "questions": questions,
            "waits": [_describe_wait(row) for row in waits],
            "kept_signals": describe_kept(kept),
            "letters": [asdict(row) for row in build_letter_rows(letters)],
        }
        print_output(to_json_line(described))
        return
    placed = query_store(journal, lambda store: find_placed(store, [run_id]))
    print_output("\n".join(_format_head(log, is_placed=run_id in placed)))
    if rows:
        print_output("\n".join(align_columns([_HEADINGS, *map(_format_cells, rows)])))
    for row in rows:
        if row.error:
            print_output(sanitize(f"{row.path}: {sanitize_line(row.error, 400)}"))
        if row.status in TOOL_OUTCOMES.values():
            print_output(sanitize(f"{row.path}: {sanitize_line(row.result, 400)}"))
        for note in row.notes:
            print_output(sanitize(f"note: {row.path}: {sanitize_line(note, 500)}"))
    for question in questions:
        text = sanitize_line(question["text"], 400)
        print_output(sanitize(f"waiting: {question['path']} asks: {text}"))
        print_status(
            f"answer with: graphorch answer FLOW {shorten_run_id(run_id)} "
            f"{question['path']} VALUE{journal.option}"
        )
    for row in waits:
        is_retry = row.status == "retrying"
        line = describe_wait(row.path, row.signal, row.key, row.due, is_retry=is_retry)
        print_output(sanitize(line))
        if row.signal:
            command = format_send_command(run_id, row.signal, row.key, journal)
            print_status(f"send it with: {command}")
    for line in (*format_kept(kept), *format_letters(letters)):
        print_output(line)


async def load_with_letters(store: Store, run_id: str) -> tuple[RunLog, tuple[Letter, ...]]:
    """Return a run, and the letters in its mailbox. Raises `JournalError`."""
    return await store.load(run_id), await store.list_letters(run_id)


def _list_questions(head: RunHead, rows: Sequence[StepRow]) -> list[dict[str, str]]:
    if head.status == "cancelled":
        return []
    return [
        {"id": row.activation, "path": row.path, "text": row.question} for row in rows if row.asks
    ]


def _describe_wait(row: StepRow) -> dict[str, Any]:
    return {
        "id": row.activation,
        "path": row.path,
        "signal": row.signal,
        "key": row.key,
        "due": row.due,
        "is_retry": row.status == "retrying",
    }


def _find_due(log: RunLog) -> float | None:
    """Return when a run at rest goes on by itself, as its last record says."""
    body = _as_mapping(log.records[-1].body if log.records else None)
    is_at_rest = log.head.status == "waiting" and log.records[-1].kind == "ended"
    return body.get("due") if is_at_rest else None


# ---- for people ----------------------------------------------------------------------------------
def _format_head(log: RunLog, *, is_placed: bool) -> list[str]:
    head = log.head
    first = _as_mapping(log.records[0].body if log.records else None)
    last = _as_mapping(log.records[-1].body if log.records else None)
    status = format_status(head, _find_due(log), is_placed=is_placed)
    if last.get("reason") not in (None, head.status):
        status += f" ({sanitize_line(str(last['reason']), 200)})"
    values = {
        "run": head.run_id,
        "flow": head.flow,
        "status": status,
        "begun": format_time(head.created_at),
        "changed": format_time(head.updated_at),
        "fork of": head.parent or "",
        "turn after": str(first.get("after", "")),
        "tags": format_tags(head),
        "fingerprint": head.fingerprint,
        "records": "erased, the hashes are left" if head.is_erased else str(head.last_seq),
        "chain": format_chain(head),
    }
    return [
        f"{name + ':':<12} {sanitize_line(value, 200)}" for name, value in values.items() if value
    ]


def _format_cells(row: StepRow) -> tuple[str, ...]:
    seconds = f"{row.ended - row.began:.2f}" if row.ended and row.began else ""
    used = ("", "", "", "")
    if row.calls:
        cost = format_amount(row.usd, row.unpriced)
        used = (str(row.calls), f"{row.tokens:,}", cost, format_amount(row.booked_usd, 0))
    name, attempts = sanitize_line(row.path), str(row.attempts)
    if row.tool:
        name = f"  {sanitize_line(row.path.removeprefix(f'{row.agent}/'))}"
    if row.status in _WITHOUT_ATTEMPT:
        attempts = seconds = ""
    return (name, row.status, attempts, seconds, *used)


def _as_mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
