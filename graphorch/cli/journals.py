"""The journal that a command works on: its place, its store, and the runs in it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from importlib.machinery import PathFinder
from typing import TypeVar

from graphorch.cli.run_request import JournalPlace
from graphorch.cli.terminal import print_status, sanitize_line
from graphorch.errors import InputError
from graphorch.journal.chain_key import VARIABLE, read_key
from graphorch.journal.records import RunHead
from graphorch.journal.store import Store
from graphorch.journal.validation import check_run_id
from graphorch.runs.stores import open_store, resolve_address
from graphorch.text import plural, shorten_run_id
from graphorch.trace.analysis.run_lookup import find_run
from graphorch.trace.spans.index import CatchUp, SpanIndex
from graphorch.trace.spans.model import Trace

T = TypeVar("T")
_MANY_NEW_RUNS = 200  # reading more runs than these takes long enough to explain it
_MOST_NOTES = 10  # runs or records that are named one by one


def locate_journal(db: str) -> JournalPlace:
    """Return the place that `--db` names, or the default one; a file need not exist.

    Says so if a password was typed. Raises `InputError` for an invalid name.
    """
    journal = JournalPlace(resolve_address(db or True), db)
    if db and journal.address.has_password:
        print_status(
            "note: other users of this machine can see a password in the arguments of a command, "
            "and the commands shown here leave it out: have --db name no password, and set "
            "PGPASSWORD or ~/.pgpass, or put the whole URL into GRAPHORCH_DB"
        )
    return journal


def require_journal(db: str) -> JournalPlace:
    """Return the place that `--db` names, or the default one.

    For commands that only read: they must not create a journal. Raises `InputError` for an invalid
    name, and for a file that is missing.
    """
    journal = locate_journal(db)
    if journal.address.is_missing:
        raise InputError(
            f"There is no journal '{db or journal.address}'. Name one with --db PATH|URL or "
            "GRAPHORCH_DB; `graphorch run FLOW --durable` makes one, and keeps a run in it."
        )
    return journal


def query_store(journal: JournalPlace, query: Callable[[Store], Awaitable[T]]) -> T:
    """Open the store of a journal, await `query` with it, and return the result.

    Raises `JournalError`, and what `query` raises.
    """

    async def main() -> T:
        async with open_store(journal.durable) as store:
            return await query(store)

    return asyncio.run(main())


def resolve_run_id(journal: JournalPlace, word: str) -> str:
    """Return the run id that a word stands for: an id, the beginning of one, or `last`.

    Raises `InputError` if no run matches or several do, and `JournalError`, also for a word that
    cannot be an id.
    """
    check_run_id(word)
    return query_store(journal, lambda store: find_stored_run(store, word)).run_id


async def find_stored_run(store: Store, word: str) -> RunHead:
    """Return the run that a word stands for; see `find_run`.

    Says so if a key is set and the run has none.
    """
    head = await find_run(store, word)
    if not head.is_keyed and read_key() is not None:
        print_status(
            f"note: run {shorten_run_id(head.run_id)} is unkeyed: {VARIABLE} is set, but does not "
            "protect it, and anyone who can write the journal can have altered it"
        )
    return head


def print_faults(trace: Trace) -> None:
    """Name the records of a run that cannot be read and are left out."""
    for fault in trace.faults[:_MOST_NOTES]:
        print_status(f"note: left out: {sanitize_line(fault, 400)}")
    if len(trace.faults) > _MOST_NOTES:
        print_status(f"note: left out: {len(trace.faults) - _MOST_NOTES} more damaged records")


async def catch_up(index: SpanIndex, store: Store) -> CatchUp:
    """Read what is new in a journal, and name the runs that are left out, and why."""
    progress = await index.catch_up(store)
    if progress.runs > _MANY_NEW_RUNS:
        print_status(
            f"note: read {progress.runs:,} runs for the first time in {progress.seconds:.1f} s; "
            "next time only new ones are read"
        )
    for run_id, reason in list(progress.damaged.items())[:_MOST_NOTES]:
        print_status(f"note: run {sanitize_line(run_id)} is damaged and left out: {reason}")
    for run_id in progress.refused[:_MOST_NOTES]:
        print_status(
            f"note: run {sanitize_line(run_id)} is left out: it is protected by another key than "
            f"the one that {VARIABLE} holds, or it is not set"
        )
    _print_rest("damaged", len(progress.damaged))
    _print_rest("protected by another key", len(progress.refused))
    if progress.unkeyed and read_key() is not None:
        print_status(
            f"note: {plural(progress.unkeyed, 'run')} without a key: {VARIABLE} is set, but does "
            "not protect them"
        )
    return progress


def _print_rest(problem: str, count: int) -> None:
    if count > _MOST_NOTES:
        print_status(f"note: {count - _MOST_NOTES} more are {problem} and left out")


def check_argument_order(command: str, flow: str, run_id: str) -> None:
    """Raise `InputError` unless FLOW and RUN are both given, in that order."""
    why = "A journal holds data and never says which code to run, so the flow is always named."
    if is_flow_name(run_id):
        raise InputError(
            f"'{run_id}' is not the id of a run. "
            f"The flow comes first: `graphorch {command} {run_id} {flow}`. {why}"
        )
    if not (is_flow_name(flow) or _is_module(flow)):
        raise InputError(
            f"FLOW is missing: '{flow}' is neither path.py, path.py:name nor module:name. "
            f"Write `graphorch {command} FLOW RUN`, the flow first. {why}"
        )
    if not run_id:
        raise InputError(
            f"RUN is missing. Write `graphorch {command} {flow} RUN …`; `last` is the newest run."
        )


def is_flow_name(word: str) -> bool:
    """Return whether a word has the form of FLOW: path.py, path.py:name or module:name."""
    return word.endswith(".py") or ":" in word


def _is_module(name: str) -> bool:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names:  # such as `abc`, which begins the id of a run
        return False
    return PathFinder.find_spec(top, [os.getcwd(), *sys.path]) is not None
