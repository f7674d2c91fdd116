"""What a run waits for beside people, and signals kept for it, as `graphorch runs show` tells."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graphorch.cli.run_request import JournalPlace
from graphorch.cli.terminal import sanitize_line
from graphorch.text import format_moment, plural, shorten_run_id


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


def describe_wait(
    path: str, signal: str, key: str, due: float | None, *, is_retry: bool = False
) -> str:
    """Return a line about what a step waits for."""
    what = "a time" if not signal else f"the signal '{signal}'"
    if is_retry:
        what = "its next attempt"
    with_key = f" with key '{key}'" if key else ""
    until = "" if due is None else f", until {format_moment(due)}"
    return sanitize_line(f"waiting: {path} waits for {what}{with_key}{until}", 400)


def format_send_command(run_id: str, signal: str, key: str, journal: JournalPlace) -> str:
    """Return the command that sends a signal to a run of a flow, with a place for its value."""
    words = ["graphorch send FLOW", shorten_run_id(run_id), signal, "VALUE"]
    if key:
        words.append(f"--key {shlex.quote(key)}")
    return sanitize_line(" ".join(words), 400) + journal.option


def format_kept(kept: Sequence[KeptSignals]) -> Iterable[str]:
    """Yield a line about each name and key of signals that are kept."""
    for each in kept:
        with_key = f" with key '{each.key}'" if each.key else ""
        count = plural(each.count, "signal")
        yield sanitize_line(f"kept: {count} '{each.signal}'{with_key}, not waited for yet", 400)


def describe_kept(kept: Sequence[KeptSignals]) -> list[dict[str, Any]]:
    """Return the signals that are kept, for programs."""
    return [asdict(each) for each in kept]
