"""Head of a run (status, flow, times, tags), as people and programs get it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from graphorch.journal.records import RunHead


def describe_head(head: RunHead) -> dict[str, Any]:
    """Return the fields of a head for a program."""
    return asdict(head)


def format_status(head: RunHead, due: float | None = None, *, is_placed: bool = False) -> str:
    """Return the status for people: a running run whose process is gone has crashed.

    `due` is when a waiting run goes on by itself. A run that `is_placed` is left to workers:
    without an owner it is queued, since the next worker takes it.
    """
    if head.is_erased:
        return "erased"
    if head.status == "waiting" and due is not None:
        return f"waiting until {format_time(due)}"
    if head.status == "running" and not head.is_under_way:
        return "queued" if is_placed else "crashed"
    return head.status


def format_time(seconds: float) -> str:
    """Return seconds since 1970 as date and time in the local time zone.

    The time of the last change is not part of the chain, so it may be any number.
    """
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return "no date"


def format_chain(head: RunHead) -> str:
    """Return whether the run is protected by the key of the journal."""
    return "keyed" if head.is_keyed else "unkeyed"


def format_tags(head: RunHead) -> str:
    """Return the tags as `key=value, key=value`."""
    return ", ".join(f"{key}={value}" for key, value in head.tags.items())
