"""One run as its records tell it, without its flow: what is stored is shown, and never chooses what is done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from graphorch.cli.encoding import as_object
from graphorch.cli.journals import ask, shown_time
from graphorch.cli.run_list import about, status_of, table
from graphorch.cli.safe import one_line, result, safe, say
from graphorch.cli.wishes import Journal
from graphorch.journal.records import Record, RunHead, RunLog

_STATUS: Mapping[str, str] = {
    "commit": "done",
    "asked": "waiting",
    "approved": "running",
    "skipped": "skipped",
    "cancelled": "cancelled",
    "failed": "failed",
}


@dataclass(slots=True)
class Row:
    """One activation: how it went so far, and what its model calls took."""

    path: str
    activation: str
    status: str = "running"
    attempts: int = 1
    began: float = 0.0
    ended: float = 0.0
    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    question: str = ""
    error: str = ""


def tell_run(journal: Journal, run_id: str, *, as_json: bool) -> None:
    """Tell of one run. Raises `JournalError`."""
    log = ask(journal, lambda store: store.load(run_id))
    rows = rows_of(log.records)
    if as_json:
        result(
            as_object(
                {
                    **about(log.head),
                    "steps": [asdict(row) for row in rows],
                    "questions": _questions(log.head, rows),
                }
            )
        )
        return
    result("\n".join(_head(log)))
    if rows:
        result(
            table(
                [
                    ("STEP", "STATUS", "ATTEMPTS", "SECONDS", "CALLS", "TOKENS", "USD"),
                    *map(_cells, rows),
                ]
            )
        )
    for row in rows:
        if row.error:
            result(safe(f"{row.path}: {one_line(row.error, 400)}"))
    for question in _questions(log.head, rows):
        result(safe(f"waiting: {question['path']} asks: {one_line(question['text'], 400)}"))
        say(f"answer with: graphorch answer FLOW {run_id} {question['path']} VALUE{journal.option}")


def tell_records(journal: Journal, run_id: str) -> None:
    """Every record as a line of JSON. Raises `JournalError`."""
    for record in ask(journal, lambda store: store.load(run_id)).records:
        result(as_object(asdict(record)))


def rows_of(records: Sequence[Record]) -> list[Row]:
    """The activations of a run, in the order in which they are first mentioned; records of a shape that is not known are passed over."""
    rows: dict[str, Row] = {}
    for record in records:
        body = _mapping(record.body)
        path, activation = body.get("path"), body.get("id")
        if isinstance(path, str) and isinstance(activation, str):
            _take(rows.setdefault(activation, Row(path, activation)), record.kind, body)
    return list(rows.values())


def _take(row: Row, kind: str, body: Mapping[str, Any]) -> None:
    row.status = _STATUS.get(kind, row.status)
    row.began = row.began or _number(body.get("began"))
    if kind == "call":
        response = _mapping(body.get("response"))
        usage = _mapping(response.get("usage"))
        row.calls += 1
        row.usd += _number(response.get("usd"))
        row.tokens += int(_number(usage.get("input_tokens")) + _number(usage.get("output_tokens")))
    elif kind == "asked":
        row.question = str(body.get("text", ""))
    elif kind == "failed":
        row.attempts = int(_number(body.get("attempt"))) or row.attempts
        row.error = f"{body.get('error')}: {body.get('message')}"
        row.status = "retrying" if body.get("retry_after") is not None else "failed"
    elif kind == "retry":
        row.attempts, row.status = row.attempts + 1, "running"
    if kind in ("commit", "failed", "skipped", "cancelled"):
        row.ended = _number(body.get("at"))


def _questions(head: RunHead, rows: Sequence[Row]) -> list[dict[str, str]]:
    if head.status == "cancelled":
        return []
    return [
        {"id": row.activation, "path": row.path, "text": row.question}
        for row in rows
        if row.status == "waiting"
    ]


def _head(log: RunLog) -> list[str]:
    head = log.head
    tags = ", ".join(f"{key}={value}" for key, value in head.tags.items())
    first, last = (
        (_mapping(record.body) for record in (*log.records[:1], *log.records[-1:]))
        if log.records
        else (_mapping(None), _mapping(None))
    )
    lines = {
        "run": head.run_id,
        "flow": head.flow,
        "status": status_of(head)
        + (f" ({last['reason']})" if last.get("reason") not in (None, head.status) else ""),
        "begun": shown_time(head.created_at),
        "changed": shown_time(head.updated_at),
        "fork of": head.parent or "",
        "turn after": str(first.get("after", "")),
        "tags": tags,
        "fingerprint": head.fingerprint,
        "records": "erased, the hashes are left" if head.is_erased else str(head.last_seq),
    }
    return [f"{name + ':':<12} {one_line(value, 200)}" for name, value in lines.items() if value]


def _cells(row: Row) -> tuple[str, ...]:
    seconds = f"{row.ended - row.began:.2f}" if row.ended and row.began else ""
    spent = (str(row.calls), f"{row.tokens:,}", f"{row.usd:.4f}") if row.calls else ("", "", "")
    return (one_line(row.path), row.status, str(row.attempts), seconds, *spent)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
