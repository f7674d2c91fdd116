"""The journal that a command reads, and what a command is told about runs in it: which one, how old, with which tag."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import LiteralString, TypeVar

from graphorch.cli.wishes import Journal
from graphorch.errors import InputError, did_you_mean
from graphorch.journal.store import Store
from graphorch.journal.validation import check_run_id
from graphorch.runs.stores import open_store, resolve_path
from graphorch.trace.analysis.run_lookup import find_run

T = TypeVar("T")
Choice = TypeVar("Choice", bound=LiteralString)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0, "w": 604_800.0}
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def journal_of(db: str) -> Journal:
    """The file that `--db` names, or the default one."""
    return Journal(resolve_path(db or True), db)


def existing(db: str) -> Journal:
    """The same, for a command that must not make one. Raises `InputError` if there is no such file."""
    journal = journal_of(db)
    if not Path(journal.path).exists():
        shown = db or journal.path
        raise InputError(
            f"There is no journal '{shown}'. Name one with --db PATH or GRAPHORCH_DB; `graphorch run FLOW --db PATH` makes it."
        )
    return journal


def ask(journal: Journal, question: Callable[[Store], Awaitable[T]]) -> T:
    """What a store answers. Raises `JournalError`."""

    async def main() -> T:
        async with open_store(journal.path) as store:
            return await question(store)

    return asyncio.run(main())


def run_named(journal: Journal, word: str) -> str:
    """The id of the run that is meant: the word itself, what it is the beginning of, or the newest one for `last`.

    Raises `InputError` if there is none or several, and `JournalError`, also for a word that can be no id.
    """
    check_run_id(word)
    return ask(journal, lambda store: find_run(store, word)).run_id


def check_order(command: str, flow: str, run_id: str) -> None:
    """Raise `InputError` unless FLOW and RUN are both given, in that order."""
    why = "A journal holds data and never says which code to run, so the flow is always named."
    if not run_id:
        raise InputError(
            f"RUN or FLOW is missing. Write `graphorch {command} FLOW RUN`, the flow first. {why}"
        )
    if run_id.endswith(".py") or ":" in run_id:
        raise InputError(
            f"'{run_id}' is no id of a run. The flow comes first: `graphorch {command} {run_id} {flow}`. {why}"
        )


def tags_of(written: Sequence[str]) -> dict[str, str]:
    """`key=value`, several times. Raises `InputError`."""
    found: dict[str, str] = {}
    for text in written:
        key, has_value, value = text.partition("=")
        if not (key and has_value and value):
            raise InputError(
                f"--tag {text}: a tag has a name and a value. Write --tag team=search."
            )
        found[key] = value
    return found


def seconds_of(age: str, option: str) -> float:
    """`90s`, `15m`, `12h`, `30d` or `2w` in seconds. Raises `InputError`."""
    match = _AGE.fullmatch(age.strip())
    if match is None:
        raise InputError(
            f"{option} {age}: that is no age. Write a number and a unit: 90s, 15m, 12h, 30d or 2w."
        )
    return float(match[1]) * _UNITS[match[2]]


def moment_of(when: str, option: str) -> float:
    """A date, a date with a time, or an age before now, as seconds since 1970. Raises `InputError`."""
    if _AGE.fullmatch(when.strip()):
        return time.time() - seconds_of(when, option)
    try:
        return datetime.fromisoformat(when.strip()).timestamp()
    except (ValueError, OverflowError):
        raise InputError(
            f"{option} {when}: that is no time. Write 2026-03-31, 2026-03-31T18:00, or how long ago it is: 12h, 30d."
        ) from None


def shown_time(seconds: float) -> str:
    """A moment for people, in their own time zone."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")


def one_of(value: str, option: str, possible: tuple[Choice, ...]) -> Choice:
    """The word, if it is one of the possible ones. Raises `InputError`."""
    for choice in possible:
        if choice == value:
            return choice
    raise InputError(f"{option} {value}: that is not possible. {did_you_mean(value, possible)}")
