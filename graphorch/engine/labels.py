"""What a model call is told it belongs to: for traces, gateways and bills."""

from __future__ import annotations

from collections.abc import Mapping

from graphorch.core.activation import Activation
from graphorch.core.run import Run


def labels_of(one: Activation, run: Run, tags: Mapping[str, str]) -> Mapping[str, str]:
    """The run, the flow, the node and the levels around it, with the tags of the run and of the graphs."""
    above = one.scope.parent
    return {
        **tags,
        **_tags_around(one),
        "tags": ",".join([run.plan.name, one.step.name, *(f"{key}={value}" for key, value in tags.items())]),
        "trace_id": run.run_id,
        "run": run.run_id,
        "flow": run.plan.name,
        "run_id": run.run_id,
        "path": one.path,
        "node": one.step.name,
        "activation": one.id,
        "parent": above.id if above is not None else run.run_id,
        "level": str(one.path.count("/") + 1),
        "department": one.path.rpartition("/")[0],
        "attempt": str(one.attempt),
    }


def _tags_around(one: Activation) -> dict[str, str]:
    """What the graphs around an activation say about it, the innermost last."""
    found: dict[str, str] = {}
    around: Activation | None = one
    while around is not None:
        for name, view in around.scope.plan.tags:
            if name not in found and around.version is not None and view.can_read(around.version):
                found[name] = str(view(around.version))
        around = around.scope.parent
    return found
