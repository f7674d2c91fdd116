"""The journal of a run, opened once for all runs of this process that use it at a time.

They share the writer, and so their commits.
"""

from __future__ import annotations

import asyncio
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
    from graphorch.journal.address import JournalAddress
    from graphorch.journal.postgres.store import PostgresStore
    from graphorch.journal.sqlite.store import SqliteStore
    from graphorch.journal.store import Store

Durable: TypeAlias = "bool | str | Path | Store"
"""Where a run is kept.

`True` is the default journal, a path is a SQLite file, a text that begins with `postgresql://` is
the URL of a database, a store is that store; `False` is memory.
"""

_Place: TypeAlias = "tuple[JournalAddress, str | None]"  # of a journal, with the key of its chains
_Opening: TypeAlias = "tuple[_Place, asyncio.AbstractEventLoop]"  # a journal that a loop opens
_Opened: TypeAlias = "SqliteStore | PostgresStore"

VARIABLE = "GRAPHORCH_DB"
DEFAULT = "graphorch.sqlite"
_EXPECTED = (
    "Give a path such as 'runs.sqlite', a URL such as 'postgresql://user@host/database', or True "
    f"for {DEFAULT} (or ${VARIABLE})."
)


def resolve_address(durable: bool | str | Path) -> JournalAddress:
    """Return where a journal is. Raises `InputError` for an invalid name."""
    from graphorch.journal.address import parse_address

    name = str(durable)
    if durable is True:
        name = os.environ.get(VARIABLE) or DEFAULT
    if durable is False or not name.strip():
        raise InputError(f"durable={durable!r} does not name a journal. {_EXPECTED}")
    if "\0" in name:  # not shown: it may hold a password
        raise InputError(f"The name of the journal holds a NUL character. {_EXPECTED}")
    return parse_address(name)


def find_database(durable: Durable) -> str:
    """Return the URL of the database that a journal is kept in, which may hold a password.

    It is empty for a file, for memory, and for a store of another kind.
    """
    if durable is False:
        return ""
    if isinstance(durable, bool | str | Path):
        address = resolve_address(durable)
        return address.text if address.is_database else ""
    url = getattr(durable, "url", "")
    return url if isinstance(url, str) else ""


def _check_store(durable: Any) -> Store:
    """Return a store of the caller. Raises `InputError` for anything else."""
    from graphorch.journal.store import Store

    # From Python 3.12 on `isinstance` does not see what an object passes on to another one, as a
    # store around a store may do for all that it does not change.
    names = {name for name in (*vars(Store), *Store.__annotations__) if not name.startswith("_")}
    if all(hasattr(durable, name) for name in names):
        return cast("Store", durable)
    raise InputError(
        f"durable={durable!r:.80} is a {type(durable).__name__}, neither a path or URL nor a "
        f"store. "
        f"{_EXPECTED}"
    )


@asynccontextmanager
async def open_store(durable: Durable) -> AsyncGenerator[Store]:
    """Open a store for as long as it is used; a store of the caller's own stays open."""
    if not isinstance(durable, bool | str | Path):
        yield _check_store(durable)
        return
    from graphorch.journal.chain_key import VARIABLE as KEY_VARIABLE

    place = (resolve_address(durable), os.environ.get(KEY_VARIABLE))
    pool = _shared_pool()
    entry = await pool.enter(place)
    try:
        yield entry.store
    finally:
        await pool.leave(place, entry)


@dataclass(slots=True)
class _Entry:
    """An open store, and how many runs use it."""

    store: _Opened
    users: int = 0


class _Pool:
    """Open stores by address and key. Safe for several event loops on several threads.

    A store whose file was deleted or replaced is not handed out again: its users get an error, and
    the next run opens what is there now.
    """

    def __init__(self) -> None:
        self._entries: dict[_Place, _Entry] = {}
        self._opening: dict[_Opening, asyncio.Future[None]] = {}
        # Held for dictionary work only, never across an await.
        self._lock = threading.Lock()

    async def enter(self, place: _Place) -> _Entry:
        """Return the open store of an address and key, counted as used once more."""
        key = place, asyncio.get_running_loop()
        while (entry := self._acquire(place, None)) is None:
            if (opening := self._opening.get(key)) is None:
                return await self._open(place, key)
            await asyncio.shield(opening)
        return entry

    async def _open(self, place: _Place, key: _Opening) -> _Entry:
        """Open a store, for which other calls of this event loop wait.

        If that fails, they get the same error.
        """
        opening = self._opening[key] = key[1].create_future()
        try:
            store = await _open(*place)
        except Exception as error:
            opening.set_exception(error)
            opening.exception()  # perhaps no other call waits for it
            raise
        finally:
            del self._opening[key]
            if not opening.done():
                opening.set_result(None)
        entry = self._acquire(place, store)
        assert entry is not None
        if entry.store is not store:
            # Another thread opened the same journal meanwhile, and its store is the shared one.
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

    def _acquire(self, place: _Place, opened: _Opened | None) -> _Entry | None:
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


async def _open(address: JournalAddress, key: str | None) -> _Opened:
    if address.is_database:
        from graphorch.journal.postgres.store import PostgresStore

        return await PostgresStore.open(address.text, key=key)
    from graphorch.journal.sqlite.store import SqliteStore

    return await SqliteStore.open(address.text, key=key)


def _shared_pool() -> _Pool:
    """Return the pool of this process.

    Many runs share one commit only if they share one writer.
    """
    return _pool_of(os.getpid())


# The pool of a parent is kept: a forked child may not touch, or close, its files and connections.
@cache
def _pool_of(process: int) -> _Pool:
    return _Pool()
