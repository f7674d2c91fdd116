"""`graphorch submit`: leave a run to workers."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated

import typer

from graphorch.cli.commands.runs.run import read_flow_input
from graphorch.cli.commands.workers.shared_database import require_database
from graphorch.cli.exit_codes import DONE, exit_on_error
from graphorch.cli.files import check_writable
from graphorch.cli.flow_loader import AnyFlow, load_flow
from graphorch.cli.follow.watch import follow_run
from graphorch.cli.input_options import SUBMIT_OPTIONS
from graphorch.cli.journals import resolve_run_id
from graphorch.cli.json_output import to_json_line
from graphorch.cli.run_request import RunRequest, choose_output_format
from graphorch.cli.shared_options import (
    Activations,
    After,
    AsEvents,
    AsJson,
    Db,
    Debug,
    FlowName,
    JsonInput,
    Model,
    Output,
    Quiet,
    Tags,
    Usd,
    parse_tags,
)
from graphorch.cli.terminal import print_output, print_status
from graphorch.engine.settings import Limits
from graphorch.errors import InputError
from graphorch.models.budgets.budget import Budget
from graphorch.runs.options import SubmitOptions
from graphorch.text import shorten_run_id


def submit(
    context: typer.Context,
    flow: FlowName,
    input: JsonInput = None,
    db: Db = "",
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Watch the run, and report it as `graphorch run` does."),
    ] = False,
    output: Output = "",
    model: Model = "",
    usd: Usd = None,
    activations: Activations = None,
    after: After = "",
    tag: Tags = None,
    run_id: Annotated[
        str,
        typer.Option(
            "--run-id",
            metavar="ID",
            help="The id of the run. A command that is repeated with it submits nothing twice.",
        ),
    ] = "",
    priority: Annotated[
        int, typer.Option("--priority", help="Runs of a greater priority are taken first.")
    ] = 0,
    delay: Annotated[
        float, typer.Option("--delay", metavar="SECONDS", help="Begin after so long.")
    ] = 0.0,
    as_json: AsJson = False,
    as_events: AsEvents = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Submit a run of a flow to a database, where a worker takes it (`graphorch worker`).

    Prints the id of the run once it is stored: from then on it is not lost. The input is given as
    to `graphorch run`. Without --wait no worker has to live yet; with it, the run is shown as
    `graphorch follow` shows it.

    Exit codes: 0 submitted, 2 wrong usage, input or database, 3 the graph does not build. With
    --wait those of `graphorch run`; 130 if it waits no longer, while the run goes on.
    """
    with exit_on_error(debug=debug, as_json=as_json or as_events):
        journal = require_database("submit", db)
        if output and not wait:
            raise InputError(f"-o {output} has no effect without --wait. Add it, or leave -o out.")
        tags = parse_tags(tag or [])
        loaded = load_flow(flow)
        value = read_flow_input(loaded, input, context.args, SUBMIT_OPTIONS)
        options = SubmitOptions(
            durable=journal.durable,
            run_id=run_id or uuid.uuid4().hex,
            model=model,
            limits=Limits(activations=activations),
            tags=tags,
            after=resolve_run_id(journal, after) if after else "",
        )
        if usd is not None:
            options["budget"] = Budget(usd=usd)
        submitting = loaded.flow.submit(value, priority=priority, delay=delay, **options)
        request = RunRequest(
            output_format=choose_output_format(as_json=as_json, as_events=as_events),
            quiet=quiet,
            output_file=output,
            flow=flow,
            journal=journal,
        )
        if output:
            check_writable(output)
        code = report_submitted(loaded.flow, asyncio.run(submitting), request, wait=wait)
    raise typer.Exit(code)


def report_submitted(flow: AnyFlow, run_id: str, request: RunRequest, *, wait: bool) -> int:
    """Print the id of a run that was submitted, or its result, and return the exit code."""
    if not wait:
        as_json = request.output_format != "text"
        described = {"run_id": run_id, "flow": flow.name, "status": "submitted"}
        print_output(to_json_line(described) if as_json else run_id)
        return DONE
    if not request.quiet:
        print_status(f"submitted run {shorten_run_id(run_id)}; waiting for it")
    return follow_run(flow, run_id, request)
