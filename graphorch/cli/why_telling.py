"""`graphorch why`, without its options: the run is rebuilt from its records, and asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from graphorch.cli.encoding import as_object, as_text
from graphorch.cli.finding import find
from graphorch.cli.journals import ask, existing
from graphorch.cli.safe import one_line, result, safe
from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.engine.invocation import binding
from graphorch.errors import GraphorchError, Unassigned
from graphorch.graph.plan import Plan
from graphorch.journal.records import Record
from graphorch.journal.store import Store
from graphorch.runs.durable import rebuild_run
from graphorch.trace.analysis.explain import (
    Reasons,
    find_activations,
    why_it_ran,
    why_not,
    why_the_run,
)
from graphorch.trace.analysis.run_lookup import find_run
from graphorch.trace.conversation.builder import Conversation, build_conversation
from graphorch.trace.spans.redaction import Redaction

_MOST = 20  # activations of one node that are explained
# what an activation reads is told as it was before these
_ENDS = ("commit", "entered", "asked", "failed", "skipped", "cancelled")


@dataclass(frozen=True, slots=True)
class ReadRun:
    """A run as its records tell it, in the three forms that reasons are found in."""

    plan: Plan
    run: Run
    conversation: Conversation
    records: Sequence[Record]


def tell(flow: str, run_id: str, node: str, db: str, *, as_json: bool) -> None:
    """Explain. Raises `InputError`, `JournalError`, `ReplayDiverged`, and `GraphError` if the flow does not build."""
    journal, plan, redaction = existing(db), find(flow).flow.plan, Redaction()
    read, told = ask(journal, lambda store: _explained(store, plan, run_id, node, redaction))
    if as_json:
        trace = read.conversation.trace
        result(
            as_object(
                {
                    "run_id": trace.run_id,
                    "flow": trace.flow,
                    "status": trace.status,
                    "reasons": [asdict(item) for item in told],
                }
            )
        )
        return
    for reasons in told:
        result(safe("\n".join(_lines(reasons))))


async def read_run(store: Store, plan: Plan, wanted: str, *, until: int | None = None) -> ReadRun:
    """The run that is meant, rebuilt. Raises as `tell` does."""
    head = await find_run(store, wanted)
    _, rebuilt = await rebuild_run(store, plan, head.run_id, until=until)
    log = await store.load(head.run_id)
    return ReadRun(
        plan, rebuilt.run, build_conversation(log.head, log.records, time.time()), log.records
    )


async def _explained(
    store: Store, plan: Plan, wanted: str, node: str, redaction: Redaction
) -> tuple[ReadRun, list[Reasons]]:
    read = await read_run(store, plan, wanted)
    trace, turns = read.conversation.trace, read.conversation.turns
    if not node:
        return read, [why_the_run(read.run, trace, redaction)]
    found = find_activations(read.run, node)
    if not found:
        return read, [why_not(read.run, node)]
    reasons: list[Reasons] = []
    for activation in found[:_MOST]:
        told = why_it_ran(activation, trace, turns, redaction)
        told.saw = redaction.data(await _saw(store, read, activation))
        reasons.append(told)
    return read, reasons


async def _saw(store: Store, read: ReadRun, activation: Activation) -> dict[str, Any]:
    """What an activation read: its slices in the state of the moment before its first outcome."""
    first = next(
        (
            record.seq
            for record in read.records
            if record.kind in _ENDS and record.body["id"] == activation.id
        ),
        None,
    )
    _, then = await rebuild_run(
        store, read.plan, read.conversation.trace.run_id, until=None if first is None else first - 1
    )
    same = next((item for item in then.run.unfinished() if item.id == activation.id), None)
    if same is None or same.version is None:
        return {}
    try:
        values = binding.bind_arguments(same)
    except Unassigned as error:
        return {"nothing": str(error)}
    except GraphorchError:
        return {}
    names = [
        model.__name__ if (model := item.model) is not None else "state"
        for item in same.step.node.signature.reads
    ]
    if same.step.failure_at >= 0:
        names.insert(same.step.failure_at, "Failure")
    return {name: value for name, value in zip(names, values, strict=False) if value is not None}


def _lines(reasons: Reasons) -> list[str]:
    head = f"{reasons.path or 'the run'}: {reasons.status}"
    lines = [head, *(f"  because {line}" for line in reasons.because)]
    for name, value in reasons.saw.items():
        lines.append(f"  saw {name}: {one_line(as_text(value), 400)}")
    lines += [f"  {line}" for line in reasons.did]
    lines += [f"  model: {line}" for line in reasons.model]
    return lines + [f"  cost: {line}" for line in reasons.cost]
