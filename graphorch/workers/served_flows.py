"""The flows of a worker, by the kinds of the jobs that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from graphorch.distributed.placed_runs import name_run_kind
from graphorch.errors import InputError
from graphorch.flow.flow import Flow
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.runs.manager import RunManager
from graphorch.runs.options import RunOptions

AnyFlow: TypeAlias = Flow[Any, Any, Any]


class ServedFlow:
    """A flow of a worker: the graph that it has, and those whose runs it can migrate."""

    def __init__(self, flow: AnyFlow) -> None:
        self.plan = flow.plan
        self.runs = RunManager(flow.plan)
        self.fingerprint = compute_fingerprint(flow.plan)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the jobs to take runs of the flow, its own first."""
        fingerprints = dict.fromkeys([self.fingerprint, *self.plan.migrations])
        return tuple(name_run_kind(self.plan.name, each) for each in fingerprints)

    def check(self, options: RunOptions) -> None:
        """Raise `InputError` unless the worker has the resources and models that a run needs."""
        self.runs.check_needs(self.runs.build_settings(options))


def index_by_kind(flows: Sequence[AnyFlow]) -> Mapping[str, ServedFlow]:
    """Return the flows by the kinds of jobs. Raises `InputError` without any, or for a kind twice.

    The graph of a flow itself comes before one that another flow can migrate.
    """
    if not flows:
        raise InputError("A worker needs at least one flow. Write Worker(flow, url=…).")
    served = [ServedFlow(flow) for flow in dict.fromkeys(flows)]
    kinds: dict[str, ServedFlow] = {}
    for each in served:
        own = each.kinds[0]
        if own in kinds:
            raise InputError(
                f"Two flows of this worker have the same graph and name, '{each.plan.name}', so it "
                "is not clear which code runs. Name one of them."
            )
        kinds[own] = each
    for each in served:
        for kind in each.kinds[1:]:
            kinds.setdefault(kind, each)
    return kinds
