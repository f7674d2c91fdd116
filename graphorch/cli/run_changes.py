"""Cancelling and pruning runs by the command line."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from graphorch.cli.finding import find
from graphorch.cli.journals import ask, one_of, seconds_of
from graphorch.cli.progress import counted
from graphorch.cli.run_list import STATUSES
from graphorch.cli.safe import say
from graphorch.cli.wishes import Journal
from graphorch.runs.durable import FINAL, cancel


def cancelled(journal: Journal, run_id: str, flow: str) -> None:
    """Cancel a run, with its flow if that is named. Raises `InputError` and `JournalError`."""
    if flow:
        asyncio.run(find(flow).flow.cancel(run_id, durable=journal.path))
        say(f"run {run_id} is cancelled for good")
        return
    before = ask(journal, lambda store: cancel(store, run_id, time.time()))
    say(f"run {run_id} was {before.status}, and is cancelled for good")


def pruned(journal: Journal, age: str, statuses: Sequence[str]) -> None:
    """Delete runs that changed last before an age. Raises `InputError` and `JournalError`."""
    before = time.time() - seconds_of(age, "--older-than")
    wanted = tuple(one_of(statuse, "--status", STATUSES) for statuse in statuses) or FINAL
    gone = ask(journal, lambda store: store.prune(before=before, statuses=wanted))
    say(f"deleted {counted(gone, 'run')} ({', '.join(wanted)}; older than {age})")
