"""The records of a run, page by page, and single long texts of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast
from urllib.parse import urlencode

from graphorch.errors import InputError
from graphorch.journal.records import Record
from graphorch.state.marks import HIDDEN
from graphorch.views.reading.clipping import LONGEST, hide_fields, read_window
from graphorch.views.reading.open_run import OpenRun
from graphorch.views.reading.weight import weigh
from graphorch.views.runs.records import CutText, RecordPage, RecordRow, TextPage

MOST_RECORDS: Final = 500
"""Records of one page."""

MOST_CHARACTERS: Final = 200_000
"""Characters of one part of a long text."""

_MOST_WEIGHT: Final = 1_000_000  # characters of the records of one page, before they are cut
_MOST_CUTS: Final = 100  # texts of one record that are named


def list_records(run: OpenRun, after: int, limit: int) -> RecordPage:
    """Return the records of a run after a number: at most `limit`, or fewer if they are long."""
    rows: list[RecordRow] = []
    weight = 0
    for record in run.records[after : after + limit]:
        weight += min(weigh(record.body), 10 * LONGEST)
        if rows and weight > _MOST_WEIGHT:
            break
        rows.append(_build_row(run, record))
    last = rows[-1].seq if rows else after
    return RecordPage(rows, last if last < run.seq else None, run.seq)


def _build_row(run: OpenRun, record: Record) -> RecordRow:
    redaction = run.build_redaction()
    cuts: list[CutText] = []
    for pointer, text in _list_long(record.body, ""):
        if len(cuts) == _MOST_CUTS:
            break
        if not _is_hidden(pointer, redaction.fields):
            query = urlencode({"seq": record.seq, "pointer": pointer})
            url = f"/api/runs/{run.head.run_id}/text?{query}"
            cuts.append(CutText(pointer, len(text), url))
    return RecordRow(
        record.seq,
        record.kind,
        redaction.data(record.body),
        record.is_erased,
        redaction.text(run.faults.get(record.seq, "")),
        cuts,
    )


def _list_long(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of a value that a row cuts, with their places as JSON pointers."""
    if isinstance(value, str):
        if len(value) > LONGEST:
            yield pointer, value
    elif isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            yield from _list_long(item, f"{pointer}/{_escape(key)}")
    elif isinstance(value, list):
        for number, item in enumerate(cast("list[Any]", value)):
            yield from _list_long(item, f"{pointer}/{number}")


def read_text(run: OpenRun, seq: int, pointer: str, begin: int) -> TextPage:
    """Return a part of a text in a record, with the secrets in it hidden.

    Raises `InputError` if the record has no text at that place.
    """
    if not 1 <= seq <= run.seq:
        raise InputError(f"seq={seq}: the run has the records 1 to {run.seq}.")
    redaction = run.build_redaction()
    text = hide_fields(_find_text(run.records[seq - 1], pointer), redaction.fields)
    if _is_hidden(pointer, redaction.fields):
        return TextPage(HIDDEN, 0, len(HIDDEN), None)
    end = min(begin + MOST_CHARACTERS, len(text))
    part = read_window(redaction, text, begin, end)
    return TextPage(part, begin, len(text), end if end < len(text) else None)


def _find_text(record: Record, pointer: str) -> str:
    """Return the text at a JSON pointer (RFC 6901) in the body of a record."""
    value: Any = record.body
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict):
            value = cast("dict[str, Any]", value).get(key)
        elif isinstance(value, list) and key.isascii() and key.isdigit():
            items = cast("list[Any]", value)
            value = items[int(key)] if int(key) < len(items) else None
        else:
            value = None
    if not isinstance(value, str) or not pointer.startswith("/"):
        raise InputError(
            f"pointer={pointer!r:.80}: record {record.seq} has no text there. `cuts` of the record "
            "name its long texts."
        )
    return value


def _is_hidden(pointer: str, fields: frozenset[str]) -> bool:
    """Return whether a text is in a secret field."""
    return any(
        part.replace("~1", "/").replace("~0", "~") in fields for part in pointer.split("/")[1:]
    )


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
