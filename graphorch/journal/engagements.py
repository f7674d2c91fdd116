"""Engagements of a run: the periods in which a process drove it, and the pauses between them.

A run that is stopped, fails, waits or loses its process is continued by the next engagement, maybe
days later. What lies between two of them is nobody's time.

Rule 1: a run begins with an engagement. Every later one begins with a record `continued`, and one
    that ends in order ends with `ended`.
Rule 2: an engagement without `ended` lasted until the last time that a record of it names: its
    process is gone.
Rule 3: formats 1 to 3 have no `continued`. There an engagement begins with the first record after
    an end that has a time, or where a run is taken up whose process is gone (`stopping`: crashed).
    Their `ended` has no time: that of the record before it counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from graphorch.journal.record_kinds import RecordKind

_BETWEEN: Final[frozenset[RecordKind]] = frozenset({"forked", "migrated", "rules"})
"""Kinds that are written while no engagement is under way, and begin none."""


class EngagementReader:
    """Reads the engagements of a run from its records, in order.

    `number` counts from 1, and is 0 before the first one; `began` and `last` are the times of the
    first and the last record of the present one, in seconds since 1970. `earlier` is the sum of the
    seconds of those before. `is_open`: no record says that it ended.
    """

    __slots__ = ("_is_fresh", "began", "earlier", "is_open", "last", "number")

    def __init__(self) -> None:
        self.number = 0
        self.began = 0.0
        self.last = 0.0
        self.earlier = 0.0
        self.is_open = False
        self._is_fresh = False  # nothing happened in it yet

    @property
    def seconds(self) -> float:
        """Seconds of all engagements, up to the last record."""
        return self.earlier + self.last - self.began

    def take(self, kind: RecordKind, body: Mapping[str, Any]) -> bool:
        """Read a record of the run itself; return whether an engagement begins with it."""
        if kind in _BETWEEN:
            return False
        at = body.get("at")
        begins = at is not None and self._begins_with(kind, body)
        if begins and at is not None:
            self.earlier = self.seconds
            self.number += 1
            self.began = self.last = float(at)
            self.is_open = True
        elif at is not None:
            self.last = max(self.last, float(at))
        self._is_fresh = kind == "continued"
        if kind == "ended":
            self.is_open = False
        return begins

    def _begins_with(self, kind: RecordKind, body: Mapping[str, Any]) -> bool:
        if kind == "continued" or not self.is_open:
            return kind != "ended"
        return kind == "stopping" and body["reason"] == "crashed" and not self._is_fresh
