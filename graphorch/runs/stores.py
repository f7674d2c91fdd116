"""Which journal a run is kept in, opened once for all runs of this process that use it at the same time, so that they share commits."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from graphorch.errors import InputError

if TYPE_CHECKING:
    from graphorch.journal.sqlite.store import SqliteStore
    from graphorch.journal.store import Store

Durable: TypeAlias = "bool | str | Path | Store"
"""Where a run is kept: `True` is the default file, a path is a SQLite file, a store is that store; `False` is memory."""

VARIABLE = "GRAPHORCH_DB"
DEFAULT = "graphorch.sqlite"


def resolve_path(durable: bool | str | Path) -> str:
    """The file that is meant. Raises `InputError` for a name that is none."""
    name = os.environ.get(VARIABLE) or DEFAULT if durable is True else str(durable)
    if not name or "\0" in name:
        raise InputError(
            f"durable={durable!r} names no file. Give a path such as 'runs.sqlite', or True for {DEFAULT} (or ${VARIABLE})."
        )
    return os.path.abspath(name)


@asynccontextmanager
async def open_store(durable: Durable) -> AsyncGenerator[Store]:
    """The store for as long as it is used; a store of the caller's own stays open afterwards."""
    if not isinstance(durable, bool | str | Path):
        yield durable
        return
    path = resolve_path(durable)
    entry = await _pool().enter(path)
    try:
        yield entry.store
    finally:
        await _pool().leave(path, entry)


@dataclass(slots=True)
class _Entry:
    store: SqliteStore
    users: int = 0


class _Pool:
    """Open stores by path. Safe for several event loops on several threads."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._lock = threading.Lock()  # held for dictionary work only, never across an await

    async def enter(self, path: str) -> _Entry:
        entry = self._taken(path, None)
        if entry is not None:
            return entry
        from graphorch.journal.sqlite.store import SqliteStore  # for whoever opens one

        store = await SqliteStore.open(path)
        entry = self._taken(path, store)
        assert entry is not None
        if entry.store is not store:
            await store.close()  # somebody else was faster
        return entry

    async def leave(self, path: str, entry: _Entry) -> None:
        with self._lock:
            entry.users -= 1
            is_last = not entry.users
            if is_last:
                del self._entries[path]
        if is_last:
            await entry.store.close()

    def _taken(self, path: str, opened: SqliteStore | None) -> _Entry | None:
        with self._lock:
            entry = self._entries.get(path)
            if entry is None and opened is not None:
                entry = self._entries[path] = _Entry(opened)
            if entry is not None:
                entry.users += 1
            return entry


@cache
def _pool() -> _Pool:
    """The one pool of this process: SQLite commits once for all runs of one file only if they share one writer."""
    return _Pool()
