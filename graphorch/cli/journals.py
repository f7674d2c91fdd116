"""The journal that a command works on: its file, its store, and the runs in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from graphorch.cli.run_request import JournalFile
from graphorch.errors import InputError
from graphorch.journal.store import Store
from graphorch.journal.validation import check_run_id
from graphorch.runs.stores import open_store, resolve_path
from graphorch.trace.analysis.run_lookup import find_run

T = TypeVar("T")


def locate_journal(db: str) -> JournalFile:
    """Return the file that `--db` names, or the default file; it need not exist."""
    return JournalFile(resolve_path(db or True), db)


def require_journal(db: str) -> JournalFile:
    """Return the file that `--db` names, or the default file. Raises `InputError` if it is missing.

    For commands that only read: they must not create a journal.
    """
    journal = locate_journal(db)
    if not Path(journal.path).exists():
        raise InputError(
            f"There is no journal '{db or journal.path}'. Name one with --db PATH or GRAPHORCH_DB; "
            "`graphorch run FLOW --db PATH` creates it."
        )
    return journal


def query_store(journal: JournalFile, query: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store of a journal, await `query` with it, and return the result.

    Raises `JournalError`, and what `query` raises.
    """

    async def main() -> T:
        async with open_store(journal.path) as store:
            return await query(store)

    return asyncio.run(main())


def resolve_run_id(journal: JournalFile, word: str) -> str:
    """Return the run id that a word stands for: an id, the beginning of one, or `last`.

    Raises `InputError` if no run matches or several do, and `JournalError`, also for a word that
    cannot be an id.
    """
    check_run_id(word)
    return query_store(journal, lambda store: find_run(store, word)).run_id


def check_argument_order(command: str, flow: str, run_id: str) -> None:
    """Raise `InputError` unless FLOW and RUN are both given, in that order."""
    why = "A journal holds data and never says which code to run, so the flow is always named."
    if not run_id:
        raise InputError(
            f"RUN or FLOW is missing. Write `graphorch {command} FLOW RUN`, the flow first. {why}"
        )
    if run_id.endswith(".py") or ":" in run_id:
        raise InputError(
            f"'{run_id}' is not the id of a run. "
            f"The flow comes first: `graphorch {command} {run_id} {flow}`. {why}"
        )
