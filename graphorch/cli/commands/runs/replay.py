"""`graphorch replay`: derive a run from its records again, and show what it gave."""

from __future__ import annotations

import asyncio

import typer

from graphorch.cli.exit_codes import FAILED, exit_on_error
from graphorch.cli.flow_loader import AnyFlow, load_flow
from graphorch.cli.journals import check_argument_order, require_journal, resolve_run_id
from graphorch.cli.run_report import print_result, report_failure
from graphorch.cli.run_request import JournalPlace, RunRequest, choose_output_format
from graphorch.cli.shared_options import AsJson, Db, Debug, FlowName, RunId
from graphorch.cli.terminal import print_status
from graphorch.errors import RunFailed


def replay(
    flow: FlowName, run: RunId = "last", db: Db = "", as_json: AsJson = False, debug: Debug = False
) -> None:
    """Replay a run from its journal, and show its result. No node runs, no model is called.

    Every route, loop and mapping is evaluated again and must decide as it did; the first
    difference is reported.

    Exit codes: 0 no difference, 1 it diverged or the run had failed, 2 wrong usage or journal, 3
    the graph does not build, 4 the run waits.
    """
    with exit_on_error(debug=debug, as_json=as_json, diverged=FAILED):
        check_argument_order("replay", flow, run)
        journal = require_journal(db)
        run_id = resolve_run_id(journal, run)
        request = RunRequest(
            output_format=choose_output_format(as_json=as_json, as_events=False),
            flow=flow,
            journal=journal,
        )
        code = replay_run(load_flow(flow).flow, run_id, journal, request)
    raise typer.Exit(code)


def replay_run(flow: AnyFlow, run_id: str, journal: JournalPlace, request: RunRequest) -> int:
    """Replay a run, report it, and return the exit code.

    Raises `RunFailed` if the run had failed, `ReplayDiverged`, and `JournalError`.
    """
    note = "replayed without a difference; no node ran and no model was called"
    try:
        result = asyncio.run(flow.replay(run_id, durable=journal.durable))
    except RunFailed as error:
        print_status(note)
        report_failure(error, flow, request)
        raise
    print_status(note)
    return print_result(flow, result, request)
