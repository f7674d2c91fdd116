"""`graphorch runs cancel`: cancel a run that is not finished."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.journals import query_store, require_journal, resolve_run_id
from graphorch.cli.run_request import JournalPlace
from graphorch.cli.shared_options import Db, Debug, NoWait, RunId
from graphorch.cli.terminal import print_status
from graphorch.journal.store import Store
from graphorch.runs.durable import cancel as cancel_in_store
from graphorch.runs.mailbox import cancel_with_owner
from graphorch.text import shorten_run_id


def cancel(
    context: typer.Context,
    run: RunId,
    flow: Annotated[
        str,
        typer.Option(
            "--flow",
            metavar="FLOW",
            help="The flow of the run; needed only if the run's process crashed, or if its nodes "
            "have undos.",
        ),
    ] = "",
    no_wait: NoWait = False,
    no_undo: Annotated[
        bool,
        typer.Option("--no-undo", help="Leave what the run committed as it is."),
    ] = False,
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Cancel a run for good: it cannot be resumed or answered any more. Its records stay readable.

    What its nodes committed and can undo is undone first, the last first; that needs the flow. A
    run that another process drives is cancelled, and undone, by that process.

    Exit codes: 0 done, 1 something could not be undone, 2 wrong usage or journal, or the run is
    finished.
    """
    with exit_on_error(debug=debug):
        journal = require_journal(db or context.obj)
        run_id = resolve_run_id(journal, run)
        cancel_run(journal, run_id, flow, wait=not no_wait, undo=not no_undo)


def cancel_run(journal: JournalPlace, run_id: str, flow: str, *, wait: bool, undo: bool) -> None:
    """Cancel a run, with its flow if that is named.

    Raises `InputError` and `JournalError`, and `RunFailed` if something could not be undone.
    """
    name = shorten_run_id(run_id)
    if flow:
        work = load_flow(flow).flow.cancel(run_id, durable=journal.durable, wait=wait, undo=undo)
        left = asyncio.run(work)
        print_status(f"run {name} is cancelled" if wait else f"run {name} is to be cancelled")
        if left:
            print_status(f"left as it is: {', '.join(left)}")
        return
    status = query_store(journal, lambda store: cancel_stored(store, run_id, wait=wait, undo=undo))
    done = "is cancelled now" if wait or status != "running" else "is to be cancelled"
    print_status(f"run {name} was {status}, and {done}")


async def cancel_stored(store: Store, run_id: str, *, wait: bool, undo: bool = True) -> str:
    """Cancel a run, or have its owner do it; return the status that it had.

    Raises `InputError` and `JournalError`.
    """
    head = await cancel_with_owner(
        store,
        run_id,
        lambda: cancel_in_store(store, run_id, time.time(), undo=undo),
        wait=wait,
        undo=undo,
    )
    return "running" if head is None else head.status
