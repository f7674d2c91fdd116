"""`graphorch fork`: copy a run up to a node as a new run."""

from __future__ import annotations

import asyncio

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.journals import check_argument_order, require_journal, resolve_run_id
from graphorch.cli.json_output import to_json_line
from graphorch.cli.run_request import RunRequest
from graphorch.cli.shared_options import (
    AsJson,
    Db,
    Debug,
    FlowName,
    FromNode,
    RunId,
    require_start_node,
)
from graphorch.cli.terminal import print_output, print_status, sanitize
from graphorch.text import shorten_run_id


def fork(
    flow: FlowName,
    run: RunId = "last",
    start: FromNode = "",
    db: Db = "",
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Copy a run up to a node as a new run, stopped there, and print its id. The old run stays.

    Exit codes: 0 done, 2 wrong usage or journal, 3 the graph does not build.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        check_argument_order("fork", flow, run)
        journal = require_journal(db)
        run_id = resolve_run_id(journal, run)
        forked = load_flow(flow).flow
        require_start_node(start, "fork", flow)
        new_id = asyncio.run(forked.fork(run_id, start=start, durable=journal.durable))
        if as_json:
            print_output(to_json_line({"run_id": new_id, "parent": run_id, "at": start}))
            return
        print_output(new_id)
        request = RunRequest(flow=flow, journal=journal)
        print_status(
            f"a copy of run {shorten_run_id(run_id)} up to '{sanitize(start)}'; "
            f"resume with: {request.format_command('resume', shorten_run_id(new_id))}"
        )
