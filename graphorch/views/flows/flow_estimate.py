"""What a flow needs before it runs: at most, and usually."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphorch.graph.estimate.amounts import Amounts, Assumed, Gap
from graphorch.graph.estimate.estimator import Estimate, NodeEstimate


@dataclass(frozen=True, slots=True)
class EstimatedUse:
    """Activations, model calls, tokens, dollars and seconds; None where nothing bounds them."""

    activations: float | None
    calls: float | None
    input_tokens: float | None
    output_tokens: float | None
    usd: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class EstimatedNode:
    """All activations of the node at `path` together, with what runs inside it."""

    path: str
    kind: str
    model: str
    worst: EstimatedUse
    expected: EstimatedUse


@dataclass(frozen=True, slots=True)
class FlowEstimate:
    """An estimate of one run: at most (`worst`), usually (`expected`), and by node.

    `unbounded` says why nothing bounds a figure. `assumed` is what the structure of the flow cannot
    show.
    """

    flow: str
    worst: EstimatedUse
    expected: EstimatedUse
    nodes: list[EstimatedNode]
    unbounded: list[Gap]
    assumed: Assumed


def build_estimate(estimate: Estimate) -> FlowEstimate:
    """Return an estimate for programs."""
    return FlowEstimate(
        flow=estimate.flow,
        worst=build_use(estimate.worst),
        expected=build_use(estimate.expected),
        nodes=[_build_node(node) for node in estimate.nodes],
        unbounded=list(estimate.gaps),
        assumed=estimate.assumed,
    )


def _build_node(node: NodeEstimate) -> EstimatedNode:
    worst, expected = build_use(node.worst), build_use(node.expected)
    return EstimatedNode(node.path, node.kind, node.model, worst, expected)


def build_use(amounts: Amounts) -> EstimatedUse:
    """Return amounts for programs, in whose numbers there is no infinity."""
    return EstimatedUse(*(value if math.isfinite(value) else None for value in amounts.values()))
