"""`graphorch why`: explain what happened in a run, or what did not.

The run is rebuilt from its records; the reasons come from the rebuilt run and its conversation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import typer

from graphorch.cli.exit_codes import exit_on_error
from graphorch.cli.flow_loader import load_flow
from graphorch.cli.journals import (
    check_argument_order,
    find_stored_run,
    query_store,
    require_journal,
)
from graphorch.cli.json_output import to_json_line, to_json_text
from graphorch.cli.shared_options import AsJson, Db, Debug, FlowName, RunId
from graphorch.cli.terminal import print_output, sanitize, sanitize_line
from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine.invocation import binding
from graphorch.errors import GraphorchError, InputError, Unassigned
from graphorch.graph.plan import Plan
from graphorch.journal.record_kinds import RecordKind
from graphorch.journal.records import Record
from graphorch.journal.store import Store
from graphorch.runs.durable import rebuild_run
from graphorch.text import plural
from graphorch.trace.analysis.explain import (
    Reasons,
    explain_absence,
    explain_activation,
    explain_run,
    explain_turn,
    find_activations,
    list_node_names,
)
from graphorch.trace.conversation.builder import Conversation, build_conversation
from graphorch.trace.spans.redaction import Redaction

_MOST_ACTIVATIONS = 20  # of one node that are explained

# records of an activation after which its slices may have changed
_OUTCOME_KINDS: frozenset[RecordKind] = frozenset(
    {"commit", "entered", "asked", "waiting", "failed", "skipped", "cancelled"}
)


def why(
    flow: FlowName,
    run: RunId = "last",
    node: Annotated[
        str,
        typer.Argument(
            metavar="NODE", help="Name or path of a node; node#2 for its second activation."
        ),
    ] = "",
    as_json: AsJson = False,
    db: Db = "",
    debug: Debug = False,
) -> None:
    """Explain why a node ran or did not, what it read, why that model, why that cost.

    Without NODE, explain how the run ended.

    Exit codes: 0 done, 2 wrong usage or journal, or there is no such run or node, 3 the graph
    does not build.
    """
    with exit_on_error(debug=debug, as_json=as_json):
        check_argument_order("why", flow, run)
        print_reasons(flow, run, node, db, as_json=as_json)


@dataclass(frozen=True, slots=True)
class RebuiltRun:
    """A run rebuilt from its records, in the three forms that explain it.

    `concurrency` is how many of its nodes could run at once, None without a limit; it has
    `taken_over` so many of the first activations of its history from another run. `in_doubt` are
    nodes that must not act twice, began, and did not finish.
    """

    plan: Plan
    run: Run
    concurrency: int | None
    taken_over: int
    conversation: Conversation
    records: Sequence[Record]
    in_doubt: Sequence[Activation]


def print_reasons(flow: str, run_id: str, node: str, db: str, *, as_json: bool) -> None:
    """Explain a node or a run.

    Raises `InputError`, `JournalError`, `ReplayDiverged`, and `GraphError` if the flow does not
    build.
    """
    journal, plan = require_journal(db), load_flow(flow).flow.plan
    try:
        rebuilt, explanations = query_store(
            journal, lambda store: _explain(store, plan, run_id, node)
        )
    except InputError as error:
        if node or run_id not in list_node_names(plan):
            raise
        raise InputError(
            f"{error} '{run_id}' is a node: write `graphorch why {flow} last {run_id}`."
        ) from None
    if as_json:
        trace = rebuilt.conversation.trace
        described = {
            "run_id": trace.run_id,
            "flow": trace.flow,
            "status": trace.status,
            "reasons": [asdict(reasons) for reasons in explanations],
        }
        print_output(to_json_line(described))
        return
    for reasons in explanations:
        print_output(sanitize("\n".join(_format_reasons(reasons))))


async def read_run(store: Store, plan: Plan, word: str) -> RebuiltRun:
    """Return the run that a word stands for, rebuilt. Raises as `print_reasons` does."""
    head = await find_stored_run(store, word)
    _, rebuilt = await rebuild_run(store, plan, head.run_id)
    log = await store.load(head.run_id)
    conversation = build_conversation(log.head, log.records)
    return RebuiltRun(
        plan,
        rebuilt.run,
        rebuilt.concurrency,
        rebuilt.taken_over,
        conversation,
        log.records,
        tuple(rebuilt.in_doubt.values()),
    )


async def _explain(
    store: Store, plan: Plan, word: str, node: str
) -> tuple[RebuiltRun, list[Reasons]]:
    secrets = plan.marked.list_all_secrets() if plan.marked is not None else frozenset[str]()
    redaction = Redaction(fields=secrets)
    rebuilt = await read_run(store, plan, word)
    trace, turns = rebuilt.conversation.trace, rebuilt.conversation.turns
    if not node:
        reasons = explain_run(rebuilt.run, trace, redaction, rebuilt.in_doubt)
        return rebuilt, [_add_origin(rebuilt, reasons)]
    activations = find_activations(rebuilt.run, node)
    if not activations:
        return rebuilt, [explain_absence(rebuilt.run, node)]
    explanations: list[Reasons] = []
    for activation in activations[:_MOST_ACTIVATIONS]:
        reasons = explain_activation(activation, trace, turns, redaction)
        reasons.did += explain_turn(activation, rebuilt.run)
        if activation in rebuilt.run.history[: rebuilt.taken_over]:
            reasons.did.append(f"did not run here: it was taken over from run {trace.parent}")
        if activation in rebuilt.in_doubt:
            reasons.did.append("began, and did not finish: whether it acted is not known")
        slices = await _read_slices(store, rebuilt, activation)
        # As plain JSON: a redaction does not look into models.
        reasons.saw = redaction.data(json.loads(to_json_line(slices)))
        explanations.append(reasons)
    return rebuilt, explanations


def _add_origin(rebuilt: RebuiltRun, reasons: Reasons) -> Reasons:
    """Add to the reasons of a run what it is a fork of, and what that one did for it."""
    first = rebuilt.records[0] if rebuilt.records else None
    if first is not None and first.kind == "forked" and not first.is_erased:
        origin, start = first.body["from"], first.body["at"]
        kept = plural(rebuilt.taken_over, "activation")
        reasons.did.insert(0, f"it began as run {origin} at '{start}', and took over {kept} of it")
    return reasons


async def _read_slices(store: Store, rebuilt: RebuiltRun, activation: Activation) -> dict[str, Any]:
    """Return what an activation read, by slice; `nothing` names a field that was not assigned.

    The run is rebuilt once more, up to the record before the activation's first outcome: only
    then is the state the one that it saw.
    """
    outcomes = (
        record.seq
        for record in rebuilt.records
        if record.kind in _OUTCOME_KINDS and record.body["id"] == activation.id
    )
    first = next(outcomes, None)
    until = None if first is None else first - 1
    run_id = rebuilt.conversation.trace.run_id
    _, before = await rebuild_run(store, rebuilt.plan, run_id, until=until)
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


def _format_reasons(reasons: Reasons) -> list[str]:
    lines = [f"{reasons.path or 'the run'}: {reasons.status}"]
    lines += [f"  because {line}" for line in reasons.because]
    for name, value in reasons.saw.items():
        lines.append(f"  saw {name}: {sanitize_line(to_json_text(value), 400)}")
    lines += [f"  {line}" for line in reasons.did]
    lines += [f"  model: {line}" for line in reasons.model]
    lines += [f"  cost: {line}" for line in reasons.cost]
    return lines
