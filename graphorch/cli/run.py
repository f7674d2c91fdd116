"""`graphorch run`: the options, and nothing else; what they do is in `running`."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.ending import ending


def run(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(metavar="FLOW", help="path.py, path.py:name or module:name", show_default=False)],
    input: Annotated[str | None, typer.Option("--input", metavar="JSON", help="The input: a JSON object, @file.json, or - for standard input.")] = None,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Write the output to a file, whole or not at all.")] = "",
    model: Annotated[str, typer.Option(metavar="NAME", help="Replaces the model of every agent for this run.")] = "",
    usd: Annotated[float | None, typer.Option(help="Spend at most so many US dollars.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop after so many seconds.")] = None,
    activations: Annotated[int | None, typer.Option(help="Run at most so many nodes, repetitions included.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object on standard output.")] = False,
    as_events: Annotated[bool, typer.Option("--events", help="For programs: every event as a line of JSON, the result as the last one.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show neither progress nor a summary.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Run a flow.

    The fields of its input are options, after FLOW: `--topic TEXT`, `--topic @file` for the text of a file, `--topic @-` for standard
    input; `graphorch show FLOW` lists them. A field that is called like an option below is given in --input. Without any, the sample
    in the flow's file (a module-level `sample`) is used.

    The output goes to standard output, everything else to standard error. Exit codes: 0 done, 1 the run failed, 2 wrong usage or input,
    3 the graph does not build, 4 the run waits for people, 130 interrupted.
    """
    with ending(debug=debug, as_json=as_json or as_events):
        from graphorch.cli.finding import find
        from graphorch.cli.running import execute, input_of
        from graphorch.cli.wishes import Form, Wishes

        found = find(flow)
        form: Form = "events" if as_events else "json" if as_json else "text"
        wishes = Wishes(form, quiet, output, model, usd, seconds, activations)
        code = execute(found.flow, input_of(found, input, context.args), wishes)
    raise typer.Exit(code)
