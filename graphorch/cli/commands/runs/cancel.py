"""`graphorch runs cancel`: cancel a run that is not finished."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.journals import query_store, require_journal, resolve_run_id
from graphorch.cli.run_request import JournalFile
from graphorch.cli.shared_options import Db, Debug, RunId
from graphorch.cli.terminal import print_status
from graphorch.runs.durable import cancel as cancel_in_store
from graphorch.text import shorten_run_id


def cancel(
    context: typer.Context,
    run: RunId,
    flow: Annotated[
        str,
        typer.Option(
            "--flow",
            metavar="FLOW",
            help="The flow of the run; needed only if the run's process crashed.",
        ),
    ] = "",
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Cancel a run for good: it cannot be resumed or answered any more. Its records stay readable.

    Exit codes: 0 done, 2 wrong usage or journal, or the run is finished or under way.
    """
    with exit_on_error(debug=debug):
        journal = require_journal(db or context.obj)
        cancel_run(journal, resolve_run_id(journal, run), flow)


def cancel_run(journal: JournalFile, run_id: str, flow: str) -> None:
    """Cancel a run, with its flow if that is named. Raises `InputError` and `JournalError`."""
    if flow:
        asyncio.run(load_flow(flow).flow.cancel(run_id, durable=journal.path))
        print_status(f"run {shorten_run_id(run_id)} is cancelled")
        return
    head = query_store(journal, lambda store: cancel_in_store(store, run_id, time.time()))
    print_status(f"run {shorten_run_id(run_id)} was {head.status}, and is cancelled now")
