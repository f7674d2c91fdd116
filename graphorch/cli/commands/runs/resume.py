"""`graphorch resume`: continue a run that is in a journal."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from graphorch.cli.commands.runs.stored_run import open_stored_run
from graphorch.cli.execution import RunCoroutine, execute
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.journals import check_argument_order
from graphorch.cli.run_request import RunRequest, choose_output_format
from graphorch.cli.shared_options import (
    Activations,
    AsEvents,
    AsJson,
    ConfigFile,
    Db,
    Debug,
    FlowName,
    Model,
    Output,
    Quiet,
    RunId,
    Seconds,
    Usd,
    parse_choice,
)


def resume(
    flow: FlowName,
    run: RunId = "last",
    output: Output = "",
    model: Model = "",
    usd: Usd = None,
    seconds: Seconds = None,
    activations: Activations = None,
    ambiguous: Annotated[
        str,
        typer.Option(
            metavar="stop|repeat|fail",
            help="What to do about a node that must not act twice, and may have acted.",
        ),
    ] = "stop",
    config: ConfigFile = "",
    db: Db = "",
    as_json: AsJson = False,
    as_events: AsEvents = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Resume a run that failed, was stopped, waits, or whose process is gone.

    Nothing that was committed runs again, and no answered model call is paid for again. Limits
    replace those that the run had, and include what was used before: a run that reached a limit
    continues under a larger one. A run that has already succeeded is only shown. If a node that
    must not act twice began and did not finish, the run stays stopped until --ambiguous says
    whether to run it again or to fail it.

    Exit codes are those of `graphorch run`.
    """
    with exit_on_error(debug=debug, as_json=as_json or as_events):
        check_argument_order("resume", flow, run)
        on_ambiguous = parse_choice(ambiguous, "--ambiguous", ("stop", "repeat", "fail"))
        stored = open_stored_run(flow, run, db=db, config=config, model=model)
        request = RunRequest(
            output_format=choose_output_format(as_json=as_json, as_events=as_events),
            quiet=quiet,
            output_file=output,
            model=model,
            usd=usd,
            seconds=seconds,
            activations=activations,
            flow=flow,
            config=config,
            client=stored.client,
            journal=stored.journal,
        )

        def start(options: dict[str, Any]) -> RunCoroutine:
            return stored.flow.resume(stored.run_id, ambiguous=on_ambiguous, **options)

        code = execute(stored.flow, stored.run_id, start, request)
    raise typer.Exit(code)
