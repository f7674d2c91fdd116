"""Which runs of a journal change, for all who listen, by one look for all of them.

Rule 1: it looks at heads only, and only while there are listeners; then at the rows of those that
changed.
Rule 2: it watches the newest runs, those under way and the newest that wait: others are at rest,
and come back into sight when they go on.
Rule 3: a listener that is slow gets a run's last row, never all that it had in between, and of a
text that a model writes the last part.
Rule 4: looks are apart by a multiple of the time that they take, so that looking stays cheap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from graphorch.errors import JournalError
from graphorch.journal.errors import RunNotFound
from graphorch.journal.records import RunHead, RunQuery
from graphorch.statuses import FINAL_STATUSES
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.reading.run_lists import read_rows
from graphorch.views.runs.run_events import RunChanged, RunGone, TextPiece

_WATCHED: Final = (
    RunQuery(limit=100),
    RunQuery(status="running", limit=200),
    RunQuery(status="waiting", limit=400),
)
_SHORTEST_PAUSE: Final = 0.1  # seconds between two looks
_LONGEST_PAUSE: Final = 1.0  # while nothing changes
_GROWTH: Final = 1.5
_SHARE: Final = 4  # of a look's time is between two looks at least

_LONGEST_TEXT: Final = 4_000  # characters of a model's answer that wait for a listener

Change: TypeAlias = "RunChanged | RunGone | TextPiece"
_Key: TypeAlias = "tuple[str, int, bool, bool, float]"


@dataclass(slots=True)
class _Listener:
    """What a listener has not got yet, by run and path, and the error that ends it."""

    changes: dict[tuple[str, str], Change] = field(default_factory=dict[tuple[str, str], Change])
    error: Exception | None = None
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, change: Change) -> None:
        """Keep a change until the listener gets it, in place of what it had not got before."""
        key = (change.run_id, change.path if isinstance(change, TextPiece) else "")
        before = self.changes.pop(key, None)
        if isinstance(change, TextPiece) and isinstance(before, TextPiece):
            change = _join(before, change)
        self.changes[key] = change
        self.woken.set()


class JournalChanges:
    """Tells listeners of the runs of a journal that changed since they began to listen."""

    def __init__(self, reader: JournalReader) -> None:
        self._reader = reader
        self._listeners: list[_Listener] = []
        self._known: dict[str, _Key] = {}
        self._looking: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """See to it that changes from now on are noticed. Raises `JournalError`.

        What was before is to be read from a list of runs.
        """
        if self._looking is not None and not self._looking.done():
            return
        heads = await self._find_heads()
        if self._looking is None or self._looking.done():  # another call may have been first
            self._known = {head.run_id: _describe(head) for head in heads}
            self._looking = asyncio.create_task(self._watch())

    async def listen(self) -> AsyncGenerator[Change]:
        """Yield the changes from now on; `begin` comes before. Raises `JournalError`."""
        listener = _Listener()
        self._listeners.append(listener)
        try:
            while True:
                await listener.woken.wait()
                listener.woken.clear()
                while listener.changes:
                    yield listener.changes.pop(next(iter(listener.changes)))
                if listener.error is not None:
                    raise listener.error
        finally:
            self._listeners.remove(listener)

    def announce(self, change: Change) -> None:
        """Pass on a change to all who listen."""
        for listener in self._listeners:
            listener.take(change)

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    # ---- looking ---------------------------------------------------------------------------------
    async def _watch(self) -> None:
        pause = _SHORTEST_PAUSE
        try:
            while True:
                await asyncio.sleep(pause)
                if not self._listeners:
                    return
                begun = time.perf_counter()
                changes = await self._find_changes()
                for change in changes:
                    self.announce(change)
                pause = _SHORTEST_PAUSE if changes else min(pause * _GROWTH, _LONGEST_PAUSE)
                pause = max(pause, _SHARE * (time.perf_counter() - begun))
        except JournalError as error:
            for listener in self._listeners:
                listener.error = error
                listener.woken.set()

    async def _find_changes(self) -> list[RunChanged | RunGone]:
        heads = await self._find_heads()
        seen = {head.run_id: head for head in heads}
        gone: list[RunChanged | RunGone] = []
        for run_id in self._known.keys() - seen.keys():
            # It is out of sight: older than the newest, and neither under way nor waiting.
            try:
                seen[run_id] = await self._reader.store.read_head(run_id)
            except RunNotFound:
                gone.append(RunGone(run_id))
            except JournalError:
                continue  # a head that cannot be read is shown by the list
        changed = [
            head for head in seen.values() if self._known.get(head.run_id) != _describe(head)
        ]
        self._known = {head.run_id: _describe(head) for head in heads}
        rows = await read_rows(self._reader, changed)
        finals = {head.run_id for head in changed if _is_final(head)}
        return [*gone, *(RunChanged(row.run_id, row, row.run_id in finals) for row in rows)]

    async def _find_heads(self) -> Iterable[RunHead]:
        heads: dict[str, RunHead] = {}
        for query in _WATCHED:
            page = await self._reader.store.list_runs(query)
            heads.update({head.run_id: head for head in page.runs})
        return heads.values()


def _join(before: TextPiece, piece: TextPiece) -> TextPiece:
    """Return two pieces as a single one, or its last part if it is long."""
    if piece.is_new:
        return piece
    text = before.text + piece.text
    if len(text) <= _LONGEST_TEXT:
        return replace(before, text=text)
    return replace(before, text="…" + text[-_LONGEST_TEXT:], is_new=True)


def _describe(head: RunHead) -> _Key:
    return head.status, head.last_seq, head.is_under_way, head.is_erased, head.created_at


def _is_final(head: RunHead) -> bool:
    return head.is_erased or head.status in FINAL_STATUSES
