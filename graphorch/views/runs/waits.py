"""What a run waits for beside people, and the signals that are kept for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class KeptSignals:
    """Signals with a name and key that came before anything waits for them."""

    signal: str
    key: str
    count: int


class SignalCount:
    """Counts the signals of a run that are kept, by the records of their coming and their going.

    A signal is given to what waits for its name and key, so none is kept while something waits
    that has not got one. Fed with every record, in order.
    """

    def __init__(self) -> None:
        self._came: Counter[tuple[str, str]] = Counter()
        self._waits: dict[str, tuple[str, str]] = {}  # by activation, while it waits
        self._taken: Counter[tuple[str, str]] = Counter()

    def feed(self, kind: str, body: Mapping[str, Any]) -> None:
        """Take a record into account."""
        if kind == "signal":
            self._came[body["name"], body.get("key", "")] += 1
        elif kind == "waiting" and body.get("signal"):
            self._waits[body["id"]] = (body["signal"], body.get("key", ""))
        elif kind == "commit" and (taken := self._waits.pop(body["id"], None)):
            self._taken[taken] += 1
        elif kind in ("failed", "cancelled"):
            self._waits.pop(body["id"], None)

    def list_kept(self) -> list[KeptSignals]:
        """Return what is kept now."""
        given = self._taken + Counter(self._waits.values())
        return [KeptSignals(*name, count) for name, count in sorted((self._came - given).items())]


@dataclass(frozen=True, slots=True)
class WaitRow:
    """A wait of an activation `id` at `path`: for a `signal` with a `key`, or for a time.

    A wait for a time has no `signal`, and is for the next attempt if it `is_retry`. `due` (seconds
    since 1970) is when the time has come, or when a signal is not waited for any more; None is
    never.
    """

    id: str
    path: str
    signal: str
    key: str
    due: float | None
    is_retry: bool
