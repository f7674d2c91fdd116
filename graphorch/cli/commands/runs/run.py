"""`graphorch run`: run a flow with an input from the command line."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import BaseModel

from graphorch.cli.endpoints import list_all_models, open_endpoints
from graphorch.cli.execution import run_flow
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import LoadedFlow, load_flow
from graphorch.cli.input_options import RUN_OPTIONS, list_options
from graphorch.cli.input_parser import parse_input
from graphorch.cli.journals import locate_journal, require_journal, resolve_run_id
from graphorch.cli.run_request import JournalPlace, RunRequest, choose_output_format
from graphorch.cli.shared_options import (
    Activations,
    After,
    AsEvents,
    AsJson,
    ConfigFile,
    Db,
    Debug,
    FlowName,
    JsonInput,
    Model,
    Output,
    Quiet,
    Seconds,
    Tags,
    Usd,
    parse_tags,
)
from graphorch.cli.terminal import print_status


def run(
    context: typer.Context,
    flow: FlowName,
    input: JsonInput = None,
    output: Output = "",
    model: Model = "",
    usd: Usd = None,
    seconds: Seconds = None,
    activations: Activations = None,
    config: ConfigFile = "",
    db: Db = "",
    durable: Annotated[
        bool,
        typer.Option(
            "--durable",
            help="Keep the run in the default journal, so that it survives a crash. "
            "--db does so too.",
        ),
    ] = False,
    after: After = "",
    tag: Tags = None,
    as_json: AsJson = False,
    as_events: AsEvents = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a flow.

    The fields of its input are options, after FLOW: `--topic TEXT`, `--topic @file` for the text
    of a file, `--topic @-` for standard input; `graphorch show FLOW` lists them. A field with the
    name of an option below is given in --input. Without any input, the sample in the flow's file
    (a module-level `sample`) is used.

    The output goes to standard output, everything else to standard error. The first line there
    names the endpoints that prompts are sent to.

    Exit codes: 0 done, 1 the run failed, 2 wrong usage, input or journal, 3 the graph does not
    build, 4 the run waits, 130 interrupted.
    """
    with exit_on_error(debug=debug, as_json=as_json or as_events):
        journal: JournalPlace | None = None
        if after:
            journal = require_journal(db)
            after = resolve_run_id(journal, after)
        elif db or durable:
            journal = locate_journal(db)
        tags = parse_tags(tag or [])
        loaded = load_flow(flow)
        plan = loaded.flow.plan
        models = list_all_models([plan], model)
        client = open_endpoints(config, plan, models=models, journal=journal)
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
            client=client,
            journal=journal,
            after=after,
            tags=tags,
        )
        value = read_flow_input(loaded, input, context.args)
        code = run_flow(loaded.flow, value, request)
    raise typer.Exit(code)


def read_flow_input(
    loaded: LoadedFlow,
    source: str | None,
    arguments: list[str],
    taken: frozenset[str] = RUN_OPTIONS,
) -> BaseModel:
    """Return the input that was given, or the sample of the flow.

    `taken` are the options that the command itself has. Raises `InputError`.
    """
    model = loaded.flow.plan.input
    if source is not None or arguments or loaded.sample is None:
        return parse_input(model, source, arguments, taken=taken)
    names = ", ".join(option.name for option in list_options(model, taken=taken))
    print_status(
        f"note: no input was given, so the sample in {loaded.source} is used; "
        f"give {names} or --input for another."
    )
    return loaded.sample
