"""`graphorch estimate`: what a flow costs before it runs."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.ending import ending
from graphorch.cli.safe import result, safe


def estimate(
    flow: Annotated[
        str,
        typer.Argument(
            metavar="FLOW", help="path.py, path.py:name or module:name", show_default=False
        ),
    ],
    model: Annotated[
        str,
        typer.Option(metavar="NAME", help="Estimate with this model in place of every agent's."),
    ] = "",
    longest_prompt: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="No prompt is longer; 8,000 by default.")
    ] = None,
    usual_prompt: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="For the expected case; 2,000 by default.")
    ] = None,
    usual_answer: Annotated[
        int | None, typer.Option(metavar="TOKENS", help="For the expected case; 500 by default.")
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="For programs: one JSON object on standard output; null is unbounded."
        ),
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Say what one run of a flow can do at most, and what a usual one does: activations, model calls, tokens, dollars, seconds.

    Nothing is run or asked. The worst case follows from loops, maps, retries, max_tokens, timeouts and prices; what nothing bounds is named.

    Exit codes: 0 done, 2 wrong usage, 3 the graph does not build.
    """
    with ending(debug=debug, as_json=as_json):
        from graphorch.cli.encoding import as_object
        from graphorch.cli.estimating import as_values, in_words
        from graphorch.cli.finding import find
        from graphorch.graph.estimate.amounts import Assumed

        given = {
            "longest_prompt": longest_prompt,
            "usual_prompt": usual_prompt,
            "usual_answer": usual_answer,
        }
        found = find(flow).flow.estimate(
            assumed=Assumed(**{name: value for name, value in given.items() if value is not None}),
            model=model,
        )
        result(as_object(as_values(found)) if as_json else safe(in_words(found)))
