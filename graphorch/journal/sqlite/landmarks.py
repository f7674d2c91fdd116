"""Records by which an open file is known again after something else than its writer changed it.

A file that was overwritten in place by another journal has the same identity, may be larger, and is
sound in itself. But it does not hold our runs. So some records, spread over all of the file, are
remembered by their links, which no other run has: that costs the same however large the file is.

What may rightly be missing is a run that was pruned, with all of its records. So a record that is
missing or another one while its run is there proves it, and so does a missing run if no other
connection committed anything meanwhile.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Final, NamedTuple

from graphorch.journal.sqlite import statements
from graphorch.journal.sqlite.tables import SqliteTables
from graphorch.journal.tables import RunRow

_COUNT: Final = 32  # records; fewer would miss a file of which a part was overwritten


class _Landmark(NamedTuple):
    """One record: where it is, and what it and its run never change."""

    run: int
    seq: int
    run_id: str
    created_at: float
    link: bytes


class Landmarks:
    """Remembers records of a file; `take` does it anew."""

    def __init__(self, connection: sqlite3.Connection, tables: SqliteTables) -> None:
        self._db = connection
        self._tables = tables
        self._marks: list[_Landmark] = []
        self._changes = (0, 0)
        self.take()

    def take(self) -> None:
        """Remember records that are spread evenly over the file; none if it cannot be read."""
        self._marks = []
        with suppress(sqlite3.DatabaseError):  # whoever needs the damaged part hears of it
            last = self._db.execute(statements.GET_LAST_RECORD).fetchone()[0]
            for place in sorted({last * step // _COUNT for step in range(1, _COUNT + 1)}):
                for columns in self._db.execute(statements.GET_RECORD_AT, (place,)).fetchall():
                    self._marks.append(_Landmark(*columns))
            self._changes = self._count_changes()

    def are_in(self, file: sqlite3.Connection) -> bool:
        """Return whether a new connection finds them, and the runs that have an owner."""
        owned = [_build_mark(row) for row in self._tables.owned_runs()]
        found = [_find(file, mark) for mark in (*owned, *self._marks)]
        if False in found:
            return False
        if None not in found:
            return True
        # Others may have pruned, though not all while a run of this store has an owner.
        return self._count_changes() != self._changes and (True in found or not owned)

    def _count_changes(self) -> tuple[int, int]:
        """Return two numbers; one of them changes whenever runs may have been pruned."""
        return self._db.execute(statements.GET_DATA_VERSION).fetchone()[0], self._tables.prunings


def _build_mark(row: RunRow) -> _Landmark:
    """Return the last record of a run."""
    return _Landmark(row.id, row.last_seq, row.run_id, row.created_at, row.link)


def _find(file: sqlite3.Connection, mark: _Landmark) -> bool | None:
    """Return whether a record is as it was, or None if its whole run is gone."""
    columns = file.execute(statements.FIND_RECORD_OF_RUN, (mark.seq, mark.run)).fetchone()
    if columns is None or columns[:2] != (mark.run_id, mark.created_at):
        return None
    return not mark.seq or columns[2] == mark.link
