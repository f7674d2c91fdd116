"""`graphorch compare`: run two flows on the same inputs, and compare them."""

from __future__ import annotations

from typing import Annotated

import typer

from graphorch.cli.compare.runner import Side, compare_flows
from graphorch.cli.endpoints import list_all_models, open_endpoints
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.run_request import RunRequest
from graphorch.cli.shared_options import ConfigFile, Debug


def compare(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="The flow in use: path.py, path.py:name or module:name",
            show_default=False,
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(
            metavar="B",
            help="The flow that may replace it; with --model-b it may be the same flow",
            show_default=False,
        ),
    ],
    inputs: Annotated[
        str,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="Cases: an input as JSON on each line; - is standard input.",
            show_default=False,
        ),
    ],
    score: Annotated[
        str,
        typer.Option(
            "--score",
            metavar="FUNCTION",
            help="path.py:function or module:function that rates an output.",
        ),
    ] = "",
    model_a: Annotated[
        str, typer.Option("--model-a", metavar="NAME", help="Use this model for every agent of A.")
    ] = "",
    model_b: Annotated[
        str, typer.Option("--model-b", metavar="NAME", help="Use this model for every agent of B.")
    ] = "",
    usd: Annotated[
        float | None, typer.Option("--usd", help="Spend at most this many US dollars on each run.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Stop each run after this many seconds.")
    ] = None,
    seed: Annotated[
        int, typer.Option("--seed", help="Seed of the resampling: equal runs give equal intervals.")
    ] = 0,
    config: ConfigFile = "",
    svg: Annotated[
        str, typer.Option("--svg", metavar="FILE", help="Draw the figures into this file.")
    ] = "",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="For programs: print one JSON object on standard output, with every run.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Run two flows on the same inputs, and compare quality, cost, latency and errors.

    Each figure and each difference has a 95 % interval.

    A line of --inputs is the input's object, or {"input": {…}, …} with anything else that the
    score needs. The score function takes the input and the output, and, if it has a third
    parameter, the whole line; it returns a number, more is better. Without it, quality is not
    compared.

    Exit codes: 0 done, 1 no run succeeded, 2 wrong usage or input, 3 a graph does not build, 130
    interrupted.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        flow_a, flow_b = load_flow(first), load_flow(second)
        plan_a, plan_b = flow_a.flow.plan, flow_b.flow.plan
        models = [*list_all_models([plan_a], model_a), *list_all_models([plan_b], model_b)]
        client = open_endpoints(config, plan_a, plan_b, models=models, journal=None)
        sides = tuple(
            Side(letter, loaded, RunRequest(model=model, usd=usd, seconds=seconds, client=client))
            for letter, loaded, model in (("A", flow_a, model_a), ("B", flow_b, model_b))
        )
        code = compare_flows(sides, inputs, score, seed=seed, svg=svg, as_json=as_json)
    raise typer.Exit(code)
