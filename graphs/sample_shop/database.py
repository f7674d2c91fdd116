"""The file of the shop, and the two ways to it: a query that reads, and a flag that writes.

A query is written by a model, so nothing about it is trusted:
1. The connection is read-only, and an authorizer allows reading and nothing else: no writes, no
   ATTACH, no PRAGMA, no tables of SQLite's own, and of functions only those that are listed.
2. Its time is bounded, and so is the size of a value, of the statement, and of the result.
3. It is one statement. What was refused, and why, is said in one sentence, which the model reads.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import sample_data

VARIABLE = "SHOP_DATABASE"
SECONDS = 2.0
MOST_ROWS = 200
MOST_CHARACTERS = 8_000  # of all values of a result
_LONGEST_VALUE = 300  # characters of one value that are shown
_LONGEST_STATEMENT = 10_000
_LONGEST_REASON = 500
_STEPS = 2_000  # of SQLite's machine between two looks at the clock
_SHOP_ID = 0x53484F50  # "SHOP", by which a file is known as one that this module made
# One call of a function cannot be interrupted: `printf('%.999999999c', 'x')` takes seconds.
_FUNCTIONS = frozenset(
    "abs avg ceil ceiling coalesce count date datetime dense_rank exp first_value floor glob "
    "group_concat ifnull iif instr julianday lag last_value lead length like ln log log10 log2 "
    "lower ltrim max min mod nth_value ntile nullif percent_rank pow power rank replace round "
    "row_number rtrim sign sqrt strftime substr substring sum time total trim typeof unixepoch "
    "upper cume_dist".split()
)
_LIMITS = {
    # Of a value: trimming one of a million characters by another one takes minutes.
    sqlite3.SQLITE_LIMIT_LENGTH: 10_000,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: _LONGEST_STATEMENT,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 200,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_COLUMN: 100,
}


class ShopError(Exception):
    """What the shop refuses. The message says why, for the model that asked."""


class QueryRefused(ShopError):
    """A query that is not one statement that reads, or that takes or gives too much."""


class NoSuchOrder(ShopError):
    """An order that is not in the shop."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a query. `is_cut`: there were more rows than these, or longer values."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    is_cut: bool = False


def find_database(path: str | Path = "") -> Path:
    """Return the file of the shop, and make it if there is none.

    It is the given path, else that of the variable SHOP_DATABASE, else a file of this user in the
    folder for temporary files. Raises `ShopError` for a file that holds something else.
    """
    named = str(path) or os.environ.get(VARIABLE, "")
    place = Path(named).expanduser().absolute() if named else _find_default()
    if not place.exists():
        _make(place)
    _check(place)
    return place


def _find_default() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"graphorch-shop-{user}.sqlite"


def _make(place: Path) -> None:
    """Write the sample shop beside its place, and link it there when it is complete."""
    try:
        with tempfile.TemporaryDirectory(prefix=".shop-", dir=place.parent) as folder:
            draft = Path(folder) / "shop.sqlite"
            with closing(sqlite3.connect(draft)) as connection, connection:
                sample_data.fill(connection)
                connection.execute(f"PRAGMA application_id = {_SHOP_ID}")
            # Of two processes that make it at once, the first one wins; the files are equal.
            with contextlib.suppress(FileExistsError):
                os.link(draft, place)
    except OSError as error:
        raise ShopError(f"The shop cannot be written to {place}: {error.strerror}.") from None


def _check(place: Path) -> None:
    fix = f"Name another file with {VARIABLE}; the sample shop is written there."
    if hasattr(os, "getuid") and place.stat().st_uid != os.getuid():
        raise ShopError(f"{place} belongs to another user. {fix}")
    try:
        with closing(_connect(place, "ro")) as connection:
            (found,) = connection.execute("PRAGMA application_id").fetchone()
    except sqlite3.Error as error:
        raise ShopError(f"{place} is not a sample shop: {error}. {fix}") from None
    if found != _SHOP_ID:
        raise ShopError(f"{place} is not a sample shop. {fix}")


def _connect(place: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{place.as_uri()}?mode={mode}", uri=True, timeout=SECONDS)


def describe_tables(place: Path) -> str:
    """Return the statements that made the tables, and how many rows each has."""
    with closing(_connect(place, "ro")) as connection:
        tables = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY rowid"
        ).fetchall()
        parts = [
            f"{sql};  -- {connection.execute(f'SELECT count(*) FROM {name}').fetchone()[0]} rows"
            for name, sql in tables
        ]
    return "\n".join(parts)


# ---- reading -------------------------------------------------------------------------------------
def run_query(place: Path, sql: str, *, seconds: float = SECONDS) -> Rows:
    """Return the first rows of a statement that reads.

    Raises `QueryRefused` for any other, and for one that takes longer than so many seconds.
    """
    with _reading(place, seconds) as connection:
        cursor = connection.execute(sql)
        if cursor.description is None:
            raise QueryRefused("The text holds no query. Write one SELECT statement.")
        columns = tuple(str(column[0])[:_LONGEST_VALUE] for column in cursor.description)
        return _collect(columns, cursor)


@contextmanager
def _reading(place: Path, seconds: float) -> Generator[sqlite3.Connection]:
    """Open a connection that can only read, for a short time; explain what SQLite refuses."""
    connection = _connect(place, "ro")
    end = time.monotonic() + seconds
    denied: list[str] = []

    def authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
        name = ((second if action == sqlite3.SQLITE_FUNCTION else first) or "").lower()
        if action == sqlite3.SQLITE_FUNCTION:
            is_allowed = name in _FUNCTIONS
        elif action == sqlite3.SQLITE_READ:
            is_allowed = not name.startswith("sqlite_")
        else:
            is_allowed = action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE)
        if not is_allowed:
            denied.append(name)
        return sqlite3.SQLITE_OK if is_allowed else sqlite3.SQLITE_DENY

    def is_late() -> bool:
        return time.monotonic() > end

    try:
        connection.text_factory = _read_text
        for limit, most in _LIMITS.items():
            connection.setlimit(limit, most)
        connection.set_authorizer(authorize)
        connection.set_progress_handler(is_late, _STEPS)
        yield connection
    except QueryRefused:
        raise
    # `Warning` is what Python 3.11 raises for two statements; `ValueError` is about characters.
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        late = seconds if is_late() else None
        raise QueryRefused(_explain(error, denied, late)) from None
    finally:
        connection.close()


def _read_text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _explain(error: Exception, denied: list[str], late: float | None) -> str:
    """Return a sentence about a refused query, which had `late` seconds if its time is over."""
    text = str(error)
    if denied:
        what = f", and not use '{denied[0]}'" if denied[0] else ""
        return (
            f"A query may only read the tables of the shop{what}. Write one SELECT statement with "
            "the usual functions."
        )
    if "interrupted" in text and late is not None:
        return (
            f"The query took longer than {late:g} s. Join tables by their keys, give a recursion "
            "an end, and let it count or sum instead of listing."
        )
    if "one statement" in text:
        return "The text holds more than one statement. Send one SELECT statement at a time."
    return f"SQLite refused the query: {text}."


def _collect(columns: tuple[str, ...], cursor: sqlite3.Cursor) -> Rows:
    """Return rows until there are too many of them, or too many characters."""
    rows: list[tuple[Any, ...]] = []
    room, is_cut = MOST_CHARACTERS, False
    for row in cursor:
        values = tuple(_shorten(value) for value in row)
        room -= sum(len(str(value)) for value in values)
        if len(rows) == MOST_ROWS or room < 0:
            return Rows(columns, tuple(rows), is_cut=True)
        is_cut = is_cut or values != row
        rows.append(values)
    return Rows(columns, tuple(rows), is_cut)


def _shorten(value: Any) -> Any:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, str) and len(value) > _LONGEST_VALUE:
        return f"{value[:_LONGEST_VALUE]}…"
    return value


# ---- writing -------------------------------------------------------------------------------------
def add_flag(place: Path, order: int, reason: str) -> int:
    """Write down that an order needs a look, and return the number of the flag.

    Raises `NoSuchOrder`, and `ShopError` for a reason that is empty or too long. Each call adds a
    flag, so a call that is made twice can be seen.
    """
    reason = " ".join(reason.split())
    if not 0 < len(reason) <= _LONGEST_REASON:
        raise ShopError(f"A flag needs a reason of 1 to {_LONGEST_REASON} characters.")
    try:
        with closing(_connect(place, "rw")) as connection, connection:
            known = connection.execute("SELECT 1 FROM orders WHERE order_id = ?", (order,))
            if known.fetchone() is None:
                raise NoSuchOrder(f"There is no order {order}. Take the number from a query.")
            cursor = connection.execute(
                "INSERT INTO flags (order_id, reason) VALUES (?, ?)", (order, reason)
            )
            return int(cursor.lastrowid or 0)
    except OverflowError:
        raise NoSuchOrder(f"There is no order {order}. Take the number from a query.") from None
