"""`graphorch follow`: watch a run that another process drives."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.files import check_writable
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.follow.watch import follow_run
from graphorch.cli.journals import check_argument_order, require_journal, resolve_run_id
from graphorch.cli.run_request import RunRequest, choose_output_format
from graphorch.cli.shared_options import (
    AsEvents,
    AsJson,
    Db,
    Debug,
    FlowName,
    Output,
    Quiet,
    RunId,
)


def follow(
    flow: FlowName,
    run: RunId = "last",
    after: Annotated[
        int,
        typer.Option(
            "--after",
            metavar="SEQ",
            min=0,
            help="Show only what follows the record of this number: the `seq` of an event.",
        ),
    ] = 0,
    through_waits: Annotated[
        bool,
        typer.Option(
            "--through-waits",
            help="Go on while the run waits for people, signals or times.",
        ),
    ] = False,
    output: Output = "",
    db: Db = "",
    as_json: AsJson = False,
    as_events: AsEvents = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Watch a run from its beginning until it is at rest, whichever process drives it.

    What it shows and prints is that of `graphorch run`, except for the pieces of text of answers
    under way, which are in no journal. If the process of the run dies, the watching goes on with
    the next one that takes the run. Ctrl-C ends the watching only: the run goes on.

    Exit codes are those of `graphorch run`; 130 if the watching was interrupted.
    """
    with exit_on_error(debug=debug, as_json=as_json or as_events):
        check_argument_order("follow", flow, run)
        journal = require_journal(db)
        run_id = resolve_run_id(journal, run)
        if output:
            check_writable(output)
        request = RunRequest(
            output_format=choose_output_format(as_json=as_json, as_events=as_events),
            quiet=quiet,
            output_file=output,
            flow=flow,
            journal=journal,
        )
        loaded = load_flow(flow).flow
        code = follow_run(loaded, run_id, request, after=after, through_waits=through_waits)
    raise typer.Exit(code)
