"""Split the bytes of an answer into events, however they are cut and whatever form they have.

Theory of operation. The protocol promises server-sent events (WHATWG HTML, "9.2.6 Interpreting an
event stream") with one JSON document each, and whole answers as one JSON document. Endpoints also
send lines of JSON without `data:`, no blank line between events or after the last one, a byte order
mark, a printed-out error in the middle, and a content type that says something else. All of that is
read here, by what it looks like; the content type is not asked.

Rules of this file:
1. The events do not depend on how the bytes are cut into pieces, and cost linear time.
2. A data line that follows a complete document begins a new event.
3. A line that begins with `{` or `[{` is a document, or the beginning of one, even without `data:`.
4. Nothing counts after `[DONE]`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# A data line with something before it that cannot be seen, or in other letters.
_ODD_DATA = re.compile(rb"(?:[\s\x00]|\xef\xbb\xbf)*data:", re.IGNORECASE)
_END = "[DONE]"
# Characters of a text that is no event which an error may show.
_LONGEST_STRAY = 4_000


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its `name` ("" for the usual ones), and its data as text and as JSON.

    `value` is the parsed JSON; it is only meaningful if `is_json`.
    """

    name: str
    text: str
    value: Any = None
    is_json: bool = False


class EventDecoder:
    """Decodes one answer; feed it the bytes as they come, then call `finish`.

    `is_done` is whether the answer said that nothing follows. `stray` is the beginning of the text
    that belongs to no event, such as a web page, and `has_lost_text` whether it held a choice.
    """

    __slots__ = (
        "_document",
        "_ended_with_return",
        "_is_first_line",
        "_lines",
        "_name",
        "_parts",
        "has_lost_text",
        "is_done",
        "stray",
    )

    def __init__(self) -> None:
        self._parts: list[bytes] = []  # of a line that has not ended
        self._ended_with_return = False
        self._is_first_line = True
        self._name = ""
        self._lines: list[str] = []  # data lines of the event that has not ended
        self._document: list[str] = []  # lines of a document that came without `data:`
        self.is_done = False
        self.stray = ""
        self.has_lost_text = False

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that end within these bytes.

        Raises `UnicodeDecodeError` for bytes that are not UTF-8.
        """
        events: list[Event] = []
        # a line may end with CR LF, and the bytes may be cut between the two
        if self._ended_with_return and data.startswith(b"\n"):
            data = data[1:]
            self._ended_with_return = False
        if not data:
            return events
        self._ended_with_return = data.endswith(b"\r")
        lines = data.splitlines()
        rest = b"" if data.endswith((b"\n", b"\r")) else lines.pop()
        if lines and self._parts:
            self._parts.append(lines[0])
            lines[0] = b"".join(self._parts)
            self._parts.clear()
        for line in lines:
            self._take_line(line, events)
        if rest:
            self._parts.append(rest)
        return events

    def finish(self) -> list[Event]:
        """Return the events that the end of the answer completes."""
        events: list[Event] = []
        if self._parts:
            self._take_line(b"".join(self._parts), events)
            self._parts.clear()
        self._end_event(events)
        self._end_document(events)
        return events

    def _take_line(self, line: bytes, events: list[Event]) -> None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        # 1. The usual lines: data, and the blank one that ends an event.
        if line.startswith(b"data:"):
            self._end_document(events)
            self._take_data(line[5:].removeprefix(b" ").decode(), events)
        elif self._document:
            self._document.append(line.decode())
        elif not line:
            self._end_event(events)
        # 2. A document without `data:`.
        elif line.lstrip().startswith((b"{", b"[{")) or line.strip() == b"[":
            self._end_event(events)
            self._take_document(line.decode(), events)
        # 3. The other fields, comments, and what is no field at all.
        elif line.startswith(b"event:"):
            self._name = line[6:].decode().strip()
        elif (odd := _ODD_DATA.match(line)) is not None:
            self._take_data(line[odd.end() :].decode(), events)
        elif not line.startswith((b":", b"id:", b"retry:")):
            self._keep_stray(line)

    def _take_data(self, text: str, events: list[Event]) -> None:
        # Only a first line can be a document by itself: later ones continue it.
        if len(self._lines) == 1:
            first = parse_event(self._name, self._lines[0])
            if first.is_json or _is_end(first.text):
                self._add(first, events)
                self._lines.clear()
        self._lines.append(text)

    def _take_document(self, text: str, events: list[Event]) -> None:
        event = parse_event(self._name, text)
        if event.is_json:
            self._add(event, events)
        else:
            self._document.append(text)

    def _end_event(self, events: list[Event]) -> None:
        if self._lines:
            self._add(parse_event(self._name, "\n".join(self._lines)), events)
            self._lines.clear()
        self._name = ""

    def _end_document(self, events: list[Event]) -> None:
        if self._document:
            self._add(parse_event(self._name, "\n".join(self._document)), events)
            self._document.clear()

    def _add(self, event: Event, events: list[Event]) -> None:
        if self.is_done or not event.text:
            return
        if _is_end(event.text):
            self.is_done = True
        else:
            events.append(event)

    def _keep_stray(self, line: bytes) -> None:
        self.has_lost_text = self.has_lost_text or b'"choices"' in line
        if len(self.stray) < _LONGEST_STRAY:
            self.stray += line[:_LONGEST_STRAY].decode("utf-8", "replace") + "\n"


def parse_event(name: str, text: str) -> Event:
    """Return the event with this text, which may not be JSON."""
    text = text.strip()
    try:
        return Event(name, text, json.loads(text), is_json=True)
    except (ValueError, RecursionError):
        return Event(name, text)


def _is_end(text: str) -> bool:
    return text[: len(_END)].upper() == _END
