"""`graphorch run`: the options, and nothing else; what they do is in `running`."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.arguments import (
    Activations,
    AsEvents,
    AsJson,
    Db,
    Debug,
    FlowName,
    Model,
    Output,
    Quiet,
    Seconds,
    Usd,
)
from graphorch.cli.ending import ending


def run(
    context: typer.Context,
    flow: FlowName,
    input: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="JSON",
            help="The input: a JSON object, @file.json, or - for standard input.",
        ),
    ] = None,
    output: Output = "",
    model: Model = "",
    usd: Usd = None,
    seconds: Seconds = None,
    activations: Activations = None,
    db: Db = "",
    durable: Annotated[
        bool,
        typer.Option(
            "--durable",
            help="Keep the run in the default journal, where a crash loses nothing. --db does too.",
        ),
    ] = False,
    after: Annotated[
        str,
        typer.Option(
            "--after",
            metavar="RUN",
            help="The next turn after that run: what the flow remembers goes on.",
        ),
    ] = "",
    tag: Annotated[
        list[str] | None,
        typer.Option(
            "--tag", metavar="KEY=VALUE", help="Find the run by it later; repeat it for several."
        ),
    ] = None,
    as_json: AsJson = False,
    as_events: AsEvents = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Run a flow.

    The fields of its input are options, after FLOW: `--topic TEXT`, `--topic @file` for the text of a file, `--topic @-` for standard
    input; `graphorch show FLOW` lists them. A field that is called like an option below is given in --input. Without any, the sample
    in the flow's file (a module-level `sample`) is used.

    The output goes to standard output, everything else to standard error. Exit codes: 0 done, 1 the run failed, 2 wrong usage, input or
    journal, 3 the graph does not build, 4 the run waits for people, 130 interrupted.
    """
    with ending(debug=debug, as_json=as_json or as_events):
        from graphorch.cli.finding import find
        from graphorch.cli.journals import existing, journal_of, run_named, tags_of
        from graphorch.cli.running import execute, input_of
        from graphorch.cli.wishes import Wishes, form_of

        journal = existing(db) if after else journal_of(db) if db or durable else None
        after = run_named(journal, after) if journal is not None and after else ""
        tags = tags_of(tag or [])
        found = find(flow)
        form = form_of(as_json=as_json, as_events=as_events)
        wishes = Wishes(
            form, quiet, output, model, usd, seconds, activations, flow, journal, after, tags
        )
        code = execute(found.flow, input_of(found, input, context.args), wishes)
    raise typer.Exit(code)
