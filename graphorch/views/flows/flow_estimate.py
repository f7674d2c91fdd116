"""What a flow needs before it runs: at most, and usually."""

from __future__ import annotations

from dataclasses import dataclass

from graphorch.graph.estimate.amounts import Amounts, Assumed, Gap
from graphorch.graph.estimate.estimator import Estimate, NodeEstimate


@dataclass(frozen=True, slots=True)
class FlowEstimate:
    """An estimate of one run: at most (`worst`), usually (`expected`), and by node.

    What nothing bounds is infinite, which is null in JSON; `unbounded` says why. `assumed` is what
    the structure of the flow cannot show.
    """

    flow: str
    worst: Amounts
    expected: Amounts
    nodes: list[NodeEstimate]
    unbounded: list[Gap]
    assumed: Assumed


def build_estimate(estimate: Estimate) -> FlowEstimate:
    """Return an estimate for programs."""
    return FlowEstimate(
        flow=estimate.flow,
        worst=estimate.worst,
        expected=estimate.expected,
        nodes=list(estimate.nodes),
        unbounded=list(estimate.gaps),
        assumed=estimate.assumed,
    )
