"""`graphorch runs stop`: stop a run that another process drives."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.journals import query_store, require_journal, resolve_run_id
from graphorch.cli.shared_options import Db, Debug, NoWait, RunId
from graphorch.cli.terminal import print_status
from graphorch.journal.store import Store
from graphorch.runs.mailbox import require_taken, send_stop
from graphorch.text import shorten_run_id


def stop(
    context: typer.Context,
    run: RunId,
    now: Annotated[
        bool, typer.Option("--now", help="Cancel running nodes, instead of letting them finish.")
    ] = False,
    reason: Annotated[
        str,
        typer.Option(
            "--reason", metavar="TEXT", help="Why; it becomes the reason of the run's end."
        ),
    ] = "interrupted",
    no_wait: NoWait = False,
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Stop a run that another process drives: nothing new starts, and `resume` continues it.

    Exit codes: 0 done, 2 wrong usage or journal, or the run is not under way.
    """
    with exit_on_error(debug=debug):
        journal = require_journal(db or context.obj)
        run_id = resolve_run_id(journal, run)

        async def send(store: Store) -> None:
            letter = await send_stop(store, run_id, reason, now=now)
            if not no_wait:
                await require_taken(store, letter)

        query_store(journal, send)
        done = "is asked to stop" if no_wait else "stops"
        print_status(f"run {shorten_run_id(run_id)} {done}")
