"""`graphorch estimate`: estimate what a flow costs, before it runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from graphorch.cli.endpoints import read_command_config
from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.json_output import to_json_line
from graphorch.cli.shared_options import ConfigFile, Debug, FlowName
from graphorch.cli.tables import align_columns, format_small_usd
from graphorch.cli.terminal import print_output, sanitize, sanitize_line
from graphorch.graph.estimate.amounts import Amounts, Assumed, Gap
from graphorch.graph.estimate.estimator import Estimate
from graphorch.views.flows.flow_estimate import build_estimate

_HEADINGS = ("", "activations", "calls", "input tokens", "output tokens", "dollars", "seconds")


def estimate(
    flow: FlowName,
    model: Annotated[
        str,
        typer.Option("--model", metavar="NAME", help="Estimate with this model for every agent."),
    ] = "",
    longest_prompt: Annotated[
        int | None,
        typer.Option(
            "--longest-prompt",
            metavar="TOKENS",
            help="Length of the longest prompt. Default: 8,000.",
        ),
    ] = None,
    usual_prompt: Annotated[
        int | None,
        typer.Option(
            "--usual-prompt", metavar="TOKENS", help="Length of a usual prompt. Default: 2,000."
        ),
    ] = None,
    usual_answer: Annotated[
        int | None,
        typer.Option(
            "--usual-answer", metavar="TOKENS", help="Length of a usual answer. Default: 500."
        ),
    ] = None,
    config: ConfigFile = "",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="For programs: print one JSON object on standard output; null is unbounded.",
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Estimate one run, at most and usually: activations, model calls, tokens, dollars, seconds.

    Nothing is run, and no model is called. The worst case follows from loops, maps, retries,
    max_tokens, timeouts and prices; what nothing bounds is named.

    Exit codes: 0 done, 2 wrong usage, 3 the graph does not build.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        given = {
            "longest_prompt": longest_prompt,
            "usual_prompt": usual_prompt,
            "usual_answer": usual_answer,
        }
        assumed = Assumed(**{name: value for name, value in given.items() if value is not None})
        configured = read_command_config(config).config
        estimated = load_flow(flow).flow.estimate(assumed=assumed, model=model, config=configured)
        if as_json:
            print_output(to_json_line(asdict(build_estimate(estimated))))
        else:
            print_output(sanitize(format_estimate(estimated)))


def format_estimate(estimate: Estimate) -> str:
    """Return an estimate for people: a table of all nodes, the gaps, and the assumptions."""
    rows = [
        [sanitize_line(node.path, 40), *_format_cells(node.worst, node.expected)]
        for node in estimate.nodes
        if any(node.worst.values())
    ]
    total = ["in all", *_format_cells(estimate.worst, estimate.expected)]
    table = [_HEADINGS, *rows, total]
    lines = [f"{sanitize_line(estimate.flow)}: at most / expected", ""]
    lines += align_columns(table, indent=2, numeric=range(1, len(_HEADINGS)))
    if estimate.gaps:
        lines += ["", "nothing bounds", *_format_gaps(estimate.gaps)]
    return "\n".join([*lines, "", *_format_assumptions(estimate.assumed)])


def _format_cells(worst: Amounts, expected: Amounts) -> list[str]:
    pairs = zip(_FORMATTERS, worst.values(), expected.values(), strict=True)
    return [f"{format_value(most)} / {format_value(usual)}" for format_value, most, usual in pairs]


def _format_gaps(gaps: Sequence[Gap]) -> list[str]:
    """Return a line for each reason, with all nodes that it concerns."""
    paths: dict[tuple[str, str, str], list[str]] = {}
    for gap in gaps:
        paths.setdefault((gap.figure, gap.why, gap.fix), []).append(gap.path)
    return [
        f"  the {figure} of {sanitize_line(', '.join(nodes), 160)}: {why}. {fix}"
        for (figure, why, fix), nodes in paths.items()
    ]


def _format_assumptions(assumed: Assumed) -> list[str]:
    return [
        f"at most: if no prompt is longer than {assumed.longest_prompt:,} tokens; a plain function "
        "without a timeout counts no time, nor do people",
        f"expected: prompts of {assumed.usual_prompt:,} and answers of {assumed.usual_answer:,} "
        f"tokens, {assumed.tokens_per_second:g} tokens a second, every route equally likely, "
        f"{assumed.share:.0%} of the further rounds and of the items",
    ]


def _format_count(value: float) -> str:
    """Return a count, `?` if it is unbounded, with a decimal only if it is small and not whole."""
    if math.isinf(value):
        return "?"
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:,.1f}"


def _format_seconds(value: float) -> str:
    if math.isinf(value):
        return "?"
    return f"{value:,.0f}" if value == int(value) or value >= 100 else f"{value:.2g}"


_FORMATTERS: tuple[Callable[[float], str], ...] = (
    _format_count,
    _format_count,
    _format_count,
    _format_count,
    format_small_usd,
    _format_seconds,
)
