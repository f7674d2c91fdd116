"""The book of grants in a PostgreSQL database, as one process sees it."""

from __future__ import annotations

from typing import Any

from graphorch.distributed.limits import statements
from graphorch.distributed.limits.limits_thread import LimitsThread
from graphorch.models.budgets.blocks import BookEntry
from graphorch.models.budgets.ledger import NOTHING, Caps, Units, add_units, subtract_units


class PostgresSpendBook:
    """A `SpendBook` on the connection of a thread, which alone may use it."""

    def __init__(self, thread: LimitsThread, process: str) -> None:
        self._thread = thread
        self._process = process

    def read_clock(self) -> float:
        """Return the time of the database, in seconds since the epoch."""
        return self._thread.fetch(statements.READ_CLOCK, {})[0][0]

    def read(self, key: str) -> BookEntry:
        """Return the entry of a key, which is made if there is none."""
        names = {"key": key, "process": self._process}
        rows = self._thread.fetch(statements.READ_SPENDING, names)
        if not any(row[3] for row in rows):
            self._thread.fetch(statements.ADD_SPENDING, names)
        own = used = unused = NOTHING
        holders = 0
        for row in rows:
            if row[3]:
                own, used = _read_units(row, 4), _read_units(row, 7)
            elif row[3] is not None:
                unused = add_units(unused, subtract_units(_read_units(row, 4), _read_units(row, 7)))
                holders += 1
        total = _read_units(rows[0], 0) if rows else NOTHING
        return BookEntry(total, own, used, unused, holders)

    def change(self, key: str, entry: BookEntry, granted: Units, used: Units, caps: Caps) -> bool:
        """Change the grant of this process, if the caps leave so much."""
        values = {
            "key": key,
            "process": self._process,
            **_name_units("{}", granted),
            **_name_units("own_{}", entry.own),
            **_name_units("used_{}", used),
            **_name_units("{}_cap", caps),
        }
        return bool(self._thread.fetch(statements.CHANGE_SPENDING, values))

    def leave(self, key: str) -> None:
        """Strike out this process, if it holds nothing."""
        names = {"key": key, "process": self._process}
        self._thread.fetch(statements.LEAVE_SPENDING, names)


def _read_units(row: tuple[Any, ...], start: int) -> Units:
    return int(row[start]), int(row[start + 1]), int(row[start + 2])


def _name_units(pattern: str, units: Units | Caps) -> dict[str, int | None]:
    """Return units by name, to be the values of a statement."""
    return {
        pattern.format(name): value
        for name, value in zip(("usd", "tokens", "calls"), units, strict=True)
    }
