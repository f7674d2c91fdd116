"""Why something happened in a run, or did not.

The run is rebuilt from its records; the reasons come from the rebuilt run and its conversation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from graphorch.core.tree import Activation
from graphorch.engine.invocation import binding
from graphorch.engine.replay import rebuild
from graphorch.errors import GraphorchError, Unassigned
from graphorch.graph.plan import Plan
from graphorch.journal.record_kinds import RecordKind
from graphorch.journal.records import RunLog
from graphorch.text import plural
from graphorch.trace.analysis.explain import (
    Reasons,
    explain_absence,
    explain_activation,
    explain_run,
    explain_turn,
    find_activations,
)
from graphorch.trace.spans.redaction import Redaction
from graphorch.views.plain_json import to_plain
from graphorch.views.reasons.rebuilt_run import RebuiltRun, rebuild_log

_MOST_ACTIVATIONS = 20  # of one node that are explained

# records of an activation after which its slices may have changed
_OUTCOME_KINDS: frozenset[RecordKind] = frozenset(
    {"commit", "entered", "asked", "waiting", "failed", "skipped", "cancelled"}
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a node of a run ran or did not, or how the run ended.

    There is an entry of `reasons` for each activation of the node, or one for the whole run.
    """

    run_id: str
    flow: str
    status: str
    reasons: list[Reasons]


def explain(log: RunLog, plan: Plan, node: str) -> Explanation:
    """Explain a node of a run, by its name or path; the whole run without one.

    Raises `InputError` for a node that is not in the flow, `JournalError` and `ReplayDiverged`.
    """
    rebuilt = rebuild_log(log, plan)
    trace = rebuilt.conversation.trace
    reasons = _list_reasons(rebuilt, node)
    return Explanation(trace.run_id, trace.flow, trace.status, reasons)


def _list_reasons(rebuilt: RebuiltRun, node: str) -> list[Reasons]:
    plan = rebuilt.plan
    secrets = plan.marked.list_all_secrets() if plan.marked is not None else frozenset[str]()
    redaction = Redaction(fields=secrets)
    trace, turns = rebuilt.conversation.trace, rebuilt.conversation.turns
    if not node:
        reasons = explain_run(rebuilt.run, trace, redaction, rebuilt.in_doubt)
        return [_add_origin(rebuilt, reasons)]
    activations = find_activations(rebuilt.run, node)
    if not activations:
        return [explain_absence(rebuilt.run, node)]
    explanations: list[Reasons] = []
    for activation in activations[:_MOST_ACTIVATIONS]:
        reasons = explain_activation(activation, trace, turns, redaction)
        reasons.did += explain_turn(activation, rebuilt.run)
        if activation in rebuilt.run.history[: rebuilt.taken_over]:
            reasons.did.append(f"did not run here: it was taken over from run {trace.parent}")
        if activation in rebuilt.in_doubt:
            reasons.did.append("began, and did not finish: whether it acted is not known")
        slices = _read_slices(rebuilt, activation)
        # As plain JSON: a redaction does not look into models.
        reasons.saw = redaction.data(to_plain(slices))
        explanations.append(reasons)
    return explanations


def _add_origin(rebuilt: RebuiltRun, reasons: Reasons) -> Reasons:
    """Add to the reasons of a run what it is a fork of, and what that one did for it."""
    first = rebuilt.log.records[0] if rebuilt.log.records else None
    if first is not None and first.kind == "forked" and not first.is_erased:
        origin, start = first.body["from"], first.body["at"]
        kept = plural(rebuilt.taken_over, "activation")
        reasons.did.insert(0, f"it began as run {origin} at '{start}', and took over {kept} of it")
    return reasons


def _read_slices(rebuilt: RebuiltRun, activation: Activation) -> dict[str, Any]:
    """Return what an activation read, by slice; `nothing` names a field that was not assigned.

    The run is rebuilt once more, up to the record before the activation's first outcome: only
    then is the state the one that it saw.
    """
    outcomes = (
        record.seq
        for record in rebuilt.log.records
        if record.kind in _OUTCOME_KINDS and record.body["id"] == activation.id
    )
    first = next(outcomes, None)
    until = None if first is None else first - 1
    run_id = rebuilt.conversation.trace.run_id
    before = rebuild(
        rebuilt.plan, run_id, rebuilt.log.records, until=until, adopted=rebuilt.log.adopted
    )
    earlier = _find_by_id(before.run.unfinished(), activation.id)
    if earlier is None or earlier.version is None:
        return {}
    try:
        values = binding.bind_arguments(earlier)
    except Unassigned as error:
        return {"nothing": str(error)}
    except GraphorchError:
        return {}
    names = [
        read.model.__name__ if read.model is not None else "state"
        for read in earlier.step.node.signature.reads
    ]
    if earlier.step.failure_at >= 0:
        names.insert(earlier.step.failure_at, "Failure")
    pairs = zip(names, values, strict=False)
    return {name: value for name, value in pairs if value is not None}


def _find_by_id(activations: Iterable[Activation], id: str) -> Activation | None:
    return next((activation for activation in activations if activation.id == id), None)
