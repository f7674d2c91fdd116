"""An estimate in words and as plain values."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from graphorch.cli.safe import one_line
from graphorch.graph.estimate.amounts import Amounts, Gap
from graphorch.graph.estimate.estimator import Estimate, NodeEstimate


def as_values(estimate: Estimate) -> dict[str, Any]:
    """The estimate for a program."""
    return {
        "flow": estimate.flow,
        "worst": asdict(estimate.worst),
        "expected": asdict(estimate.expected),
        "nodes": [asdict(node) for node in estimate.nodes],
        "unbounded": [asdict(gap) for gap in estimate.gaps],
        "assumed": asdict(estimate.assumed),
    }


def in_words(estimate: Estimate) -> str:
    """The estimate for people: one table of all nodes, what bounds nothing, and what it rests on."""
    head = ["", "activations", "calls", "input tokens", "output tokens", "dollars", "seconds"]
    rows = [
        [one_line(node.path, 40), *_cells(node.worst, node.expected)]
        for node in estimate.nodes
        if _counts(node)
    ]
    total = ["in all", *_cells(estimate.worst, estimate.expected)]
    lines = [f"{one_line(estimate.flow)}: at most / expected", "", *aligned([head, *rows, total])]
    if estimate.gaps:
        lines += ["", "nothing bounds", *(f"  {line}" for line in _told(estimate.gaps))]
    assumed = estimate.assumed
    lines += [
        "",
        f"at most: if no prompt is longer than {assumed.longest_prompt:,} tokens; a plain function without a timeout takes no time, people are not waited for",
        f"expected: prompts of {assumed.usual_prompt:,} and answers of {assumed.usual_answer:,} tokens, {assumed.tokens_per_second:g} tokens a second, "
        f"every route as likely, {assumed.share:.0%} of the further rounds and of the items",
    ]
    return "\n".join(lines)


def _counts(node: NodeEstimate) -> bool:
    return any(node.worst.values())


def _cells(worst: Amounts, expected: Amounts) -> list[str]:
    return [
        f"{show(number)} / {show(two)}"
        for show, number, two in zip(_SHOWS, worst.values(), expected.values(), strict=True)
    ]


def count(value: float) -> str:
    """A number of things."""
    return (
        "?"
        if math.isinf(value)
        else f"{value:,.0f}"
        if value == int(value) or value >= 100
        else f"{value:,.1f}"
    )


def dollars(value: float) -> str:
    """An amount of money, with the digits that tell something."""
    return (
        "?"
        if math.isinf(value)
        else "$0"
        if not value
        else f"${value:,.2f}"
        if value >= 1
        else f"${value:.4f}"
        if value >= 0.0001
        else f"${value:.2g}"
    )


def seconds(value: float) -> str:
    """A time."""
    return (
        "?"
        if math.isinf(value)
        else f"{value:,.0f}"
        if value >= 100 or value == int(value)
        else f"{value:.2g}"
    )


_SHOWS: tuple[Callable[[float], str], ...] = (count, count, count, count, dollars, seconds)


def _told(gaps: Sequence[Gap]) -> list[str]:
    """One line for each reason, with all the nodes that it holds for."""
    paths: dict[tuple[str, str, str], list[str]] = {}
    for gap in gaps:
        paths.setdefault((gap.figure, gap.why, gap.fix), []).append(gap.path)
    return [
        f"the {figure} of {one_line(', '.join(found), 160)}: {why}. {fix}"
        for (figure, why, fix), found in paths.items()
    ]


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell: the first to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        ).rstrip()
        for row in rows
    ]
