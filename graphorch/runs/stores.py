"""The journal of a run, opened once for all runs of this process that use it at a time.

They share the writer, and so their commits.
"""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from graphorch.errors import InputError

if TYPE_CHECKING:
    from graphorch.journal.sqlite.store import SqliteStore
    from graphorch.journal.store import Store

Durable: TypeAlias = "bool | str | Path | Store"
"""Where a run is kept.

`True` is the default file, a path is a SQLite file, a store is that store; `False` is memory.
"""

_Place: TypeAlias = "tuple[str, str | None]"  # the path of a file, and the key of its chains

VARIABLE = "GRAPHORCH_DB"
DEFAULT = "graphorch.sqlite"
_EXPECTED = f"Give a path such as 'runs.sqlite', or True for {DEFAULT} (or ${VARIABLE})."


def resolve_path(durable: bool | str | Path) -> str:
    """Return the absolute path of a journal's file. Raises `InputError` for an invalid name."""
    name = str(durable)
    if durable is True:
        name = os.environ.get(VARIABLE) or DEFAULT
    if durable is False or not name.strip() or "\0" in name:
        raise InputError(f"durable={durable!r} does not name a file. {_EXPECTED}")
    return os.path.abspath(name)


def _check_store(durable: Any) -> Store:
    """Return a store of the caller. Raises `InputError` for anything else."""
    from graphorch.journal.store import Store

    # From Python 3.12 on `isinstance` does not see what an object passes on to another one, as a
    # store around a store may do for all that it does not change.
    names = {name for name in (*vars(Store), *Store.__annotations__) if not name.startswith("_")}
    if all(hasattr(durable, name) for name in names):
        return cast("Store", durable)
    raise InputError(
        f"durable={durable!r:.80} is a {type(durable).__name__}, neither a path nor a store. "
        f"{_EXPECTED}"
    )


@asynccontextmanager
async def open_store(durable: Durable) -> AsyncGenerator[Store]:
    """Open a store for as long as it is used; a store of the caller's own stays open."""
    if not isinstance(durable, bool | str | Path):
        yield _check_store(durable)
        return
    from graphorch.journal.chain_key import VARIABLE as KEY_VARIABLE

    place = (resolve_path(durable), os.environ.get(KEY_VARIABLE))
    pool = _shared_pool()
    entry = await pool.enter(place)
    try:
        yield entry.store
    finally:
        await pool.leave(place, entry)


@dataclass(slots=True)
class _Entry:
    """An open store, and how many runs use it."""

    store: SqliteStore
    users: int = 0


class _Pool:
    """Open stores by path and key. Safe for several event loops on several threads.

    A store whose file was deleted or replaced is not handed out again: its users get an error, and
    the next run opens what is there now.
    """

    def __init__(self) -> None:
        self._entries: dict[_Place, _Entry] = {}
        # Held for dictionary work only, never across an await.
        self._lock = threading.Lock()

    async def enter(self, place: _Place) -> _Entry:
        """Return the open store of a path and key, counted as used once more."""
        entry = self._acquire(place, None)
        if entry is not None:
            return entry
        from graphorch.journal.sqlite.store import SqliteStore

        path, key = place
        store = await SqliteStore.open(path, key=key)
        entry = self._acquire(place, store)
        assert entry is not None
        if entry.store is not store:
            # Another thread opened the same file meanwhile, and its store is the shared one.
            await store.close()
        return entry

    async def leave(self, place: _Place, entry: _Entry) -> None:
        """Count a store as used once less; the last user closes it."""
        with self._lock:
            entry.users -= 1
            is_last = not entry.users
            if is_last and self._entries.get(place) is entry:
                del self._entries[place]
        if is_last:
            await entry.store.close()

    def _acquire(self, place: _Place, opened: SqliteStore | None) -> _Entry | None:
        """Return the entry of a place, made of `opened` if there is none yet."""
        with self._lock:
            entry = self._entries.get(place)
            if entry is not None and not entry.store.is_in_place():
                entry = None
            if entry is None and opened is not None:
                entry = self._entries[place] = _Entry(opened)
            if entry is not None:
                entry.users += 1
            return entry


def _shared_pool() -> _Pool:
    """Return the pool of this process.

    SQLite commits once for all runs of a file only if they share one writer.
    """
    return _pool_of(os.getpid())


# The pool of a parent is kept: SQLite forbids a forked child to touch, or to close, its files.
@cache
def _pool_of(process: int) -> _Pool:
    return _Pool()
