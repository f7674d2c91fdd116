"""What a run waits for beside people, and signals kept for it, as `graphorch runs show` tells."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

from graphorch.cli.run_request import JournalPlace
from graphorch.cli.terminal import sanitize_line
from graphorch.text import format_moment, plural, shorten_run_id
from graphorch.views.runs.waits import KeptSignals


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
