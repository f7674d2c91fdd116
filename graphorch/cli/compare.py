"""`graphorch compare`: two flows on the same inputs, side by side."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.ending import ending


def compare(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="The flow that there is: path.py, path.py:name or module:name",
            show_default=False,
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(
            metavar="B",
            help="The flow that may replace it; it may be the same one with --model-b",
            show_default=False,
        ),
    ],
    inputs: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="Cases: an input in each line, as JSON; - is standard input.",
            show_default=False,
        ),
    ],
    score: Annotated[
        str,
        typer.Option(
            metavar="FUNCTION",
            help="path.py:function or module:function that says how good an output is.",
        ),
    ] = "",
    model_a: Annotated[
        str, typer.Option(metavar="NAME", help="Replaces the model of every agent of A.")
    ] = "",
    model_b: Annotated[
        str, typer.Option(metavar="NAME", help="Replaces the model of every agent of B.")
    ] = "",
    usd: Annotated[
        float | None, typer.Option(help="Spend at most so many US dollars on one run.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Stop a run after so many seconds.")] = None,
    seed: Annotated[
        int, typer.Option(help="Of the resampling: the same runs give the same intervals.")
    ] = 0,
    svg: Annotated[str, typer.Option(metavar="FILE", help="Draw the figures into this file.")] = "",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="For programs: one JSON object on standard output, every run included."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Run two flows on the same inputs: quality, cost, latency and errors of both, and of the difference, with 95 % intervals.

    A line of --inputs is the input's object, or {"input": {…}, …} with whatever else the score wants to know. The score function takes the
    input and the output, and as a third parameter, if it has one, the whole line; it returns a number, more is better. Without it there is
    no quality, only cost, latency and errors.

    Exit codes: 0 done, 1 no run succeeded, 2 wrong usage or input, 3 a graph does not build, 130 interrupted.
    """
    with ending(debug=debug, as_json=as_json):
        from graphorch.cli.comparing import Side, execute
        from graphorch.cli.finding import find
        from graphorch.cli.wishes import Wishes

        named = (("A", first, model_a), ("B", second, model_b))
        sides = [
            Side(letter, find(reference), Wishes(model=model, usd=usd, seconds=seconds))
            for letter, reference, model in named
        ]
        code = execute(sides, inputs, score, seed=seed, svg=svg, as_json=as_json)
    raise typer.Exit(code)
