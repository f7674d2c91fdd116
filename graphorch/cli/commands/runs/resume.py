"""`graphorch resume`: continue a run that is in a journal."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from graphorch.cli.commands.runs.resume_due import resume_due
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
from graphorch.errors import InputError


def resume(
    flow: FlowName,
    run: RunId = "",
    due: Annotated[
        bool,
        typer.Option(
            "--due", help="Resume every run of the flow that waits for a time which has come."
        ),
    ] = False,
    output: Output = "",
    model: Model = "",
    usd: Usd = None,
    seconds: Seconds = None,
    activations: Activations = None,
    ambiguous: Annotated[
        str,
        typer.Option(
            "--ambiguous",
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

    With --due and without RUN, all runs of the flow are resumed that wait for a time which has
    come: that of a timer, or at which a signal or an answer is not waited for any more. A few run
    at once, and each prints a line. A run that another process drives is left to it.

    Exit codes are those of `graphorch run`. With --due: 0 if every run that was due ended well or
    waits again, 1 if one failed or was stopped, or could not be resumed, after all others were.
    """
    with exit_on_error(debug=debug, as_json=as_json or as_events):
        on_ambiguous = parse_choice(ambiguous, "--ambiguous", ("stop", "repeat", "fail"))
        if due:
            require_no_run(flow, run, output, as_events=as_events)
            request = RunRequest(
                output_format=choose_output_format(as_json=as_json, as_events=False),
                model=model,
                usd=usd,
                seconds=seconds,
                activations=activations,
            )
            raise typer.Exit(resume_due(flow, request, on_ambiguous, db=db, config=config))
        run = run or "last"
        check_argument_order("resume", flow, run)
        stored = open_stored_run(flow, run, db=db, config=config, model=model)
        output_format = choose_output_format(as_json=as_json, as_events=as_events)
        request = stored.build_request(output_format, output, model=model, quiet=quiet)
        request = replace(request, usd=usd, seconds=seconds, activations=activations)

        def start(options: dict[str, Any]) -> RunCoroutine:
            return stored.flow.resume(stored.run_id, ambiguous=on_ambiguous, **options)

        code = execute(stored.flow, stored.run_id, start, request)
    raise typer.Exit(code)


def require_no_run(flow: str, run: str, output: str, *, as_events: bool) -> None:
    """Raise `InputError` for what makes no sense with `--due`, which is about many runs."""
    if run:
        raise InputError(
            f"--due resumes every run of {flow} that is due, so RUN ('{run}') has no meaning. "
            f"Write `graphorch resume {flow} --due`, or leave --due out."
        )
    for option, is_given in (("-o", bool(output)), ("--events", as_events)):
        if is_given:
            raise InputError(f"{option} is for one run, and --due may resume many. Leave it out.")
