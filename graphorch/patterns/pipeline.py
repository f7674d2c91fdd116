"""Steps in a row, with gates between them.

Known failure: a weak step poisons all that follow. A gate looks at what a step wrote: it lets it pass, has the step try again with the
reason in hand (a bounded number of times), or ends the run with `GateRejected`.

    write → write_gate → review          write_gate goes back to write until it passes
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from graphorch.engine.attempts.context import NodeContext
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.options import is_count
from graphorch.graph.signature import Read, StateFunction
from graphorch.patterns.errors import GateRejected
from graphorch.patterns.pattern_builder import (
    HiddenSlice,
    InputSlices,
    PatternBuilder,
    format_slice,
)
from graphorch.patterns.types import Feedback, Gated, Repeat, Stop


class GateMemory(BaseModel):
    """What a gate remembers between the attempts of its step."""

    attempts: int = 0
    reason: str = ""
    repeat: bool = False


def pipeline(
    builder: GraphBuilder[Any],
    steps: Sequence[Any],
    gates: Mapping[Any, Callable[..., Any]],
    attempts: int,
    timeout: float | None,
) -> None:
    """See `Graph.pipeline`."""
    wiring = PatternBuilder(builder)
    rows = [wiring.named(step, "pipeline()") for step in steps]
    if not rows:
        wiring.problem("PIPELINE_EMPTY", "pipeline()", "it has no steps", "name at least one node")
    if not is_count(attempts):
        wiring.problem(
            "PIPELINE_ATTEMPTS",
            "pipeline()",
            f"attempts={attempts!r} is no bound",
            "give a whole number from 1 on, the first attempt included",
        )
    for name in dict.fromkeys(name for row in rows for name in row):
        wiring.change(name, timeout=timeout)
    for node, gate in gates.items():
        name = wiring.one(node, "pipeline(gates=…)")
        if name and name not in {text for row in rows for text in row}:
            wiring.problem(
                "PIPELINE_GATE",
                f"gate of '{name}'",
                "it belongs to no step of this pipeline",
                "name a node that is one of the steps",
            )
        elif name:
            _gate(wiring, name, gate, attempts)
    for before, after in itertools.pairwise(rows):
        for source in before:
            wiring.edge(wiring.exit_of(source), *after)


def _gate(wiring: PatternBuilder, step: str, gate: Callable[..., Any], attempts: int) -> None:
    where = f"gate of '{step}'"
    memory = wiring.memory(f"{step}_gate", GateMemory, GateMemory)
    reading = InputSlices([Read(memory.model)])
    ask = reading.of(wiring.pure(gate, where))
    not_passed = _is_repeated(memory)
    tells = wiring.has(Feedback)

    def decide(ctx: NodeContext, *given: BaseModel) -> object:
        before: GateMemory = memory.of(given[0])
        attempt = before.attempts + 1 if before.repeat else 1
        said = ask(given)
        passed = said is True
        reason = said.reason if isinstance(said, Repeat | Stop) else ""
        ctx.emit(Gated(step=step, attempt=attempt, passed=passed, reason=reason))
        if isinstance(said, Stop) or (not passed and not ctx.has_room(not_passed)):
            raise GateRejected(step, reason, attempt, for_good=isinstance(said, Stop))
        now = memory.keep(GateMemory(attempts=attempt, reason=reason, repeat=not passed))
        return (now, Feedback(feedback=reason)) if tells else now

    origin = wiring.exit_of(step)
    name = wiring.hidden(
        f"{step}_gate",
        decide,
        reading.reads,
        (memory.model, Feedback) if tells else (memory.model,),
    )
    own = {read.model for read in wiring.node(step).signature.reads}
    wiring.tell(
        step,
        [memory.model, *(model for model in wiring.slices_of(step) if model not in own)],
        _said_again(memory),
    )
    wiring.leave_by(origin, name)
    wiring.edge(origin, name)
    if is_count(attempts) and attempts > 1:
        wiring.loop(name, step, StateFunction(not_passed, (Read(memory.model),)), attempts)


def _is_repeated(memory: HiddenSlice) -> Callable[[BaseModel], bool]:
    def not_passed(slice: BaseModel) -> bool:
        return memory.of(slice).repeat

    return not_passed


def _said_again(memory: HiddenSlice) -> Callable[..., str]:
    """What an agent is told when its step is repeated: what it wrote, and what the gate said."""

    def say(slice: BaseModel | None, *written: BaseModel | None) -> str:
        gate = GateMemory() if slice is None else memory.of(slice)
        if not gate.repeat:
            return ""
        last = [format_slice(model) for model in written if model is not None]
        why = gate.reason or "no reason was given"
        parts = ["What you wrote:", *last] if last else []
        return "\n\n".join(
            [
                "Your last attempt was not accepted.",
                *parts,
                "Why it was not accepted:",
                why,
                "Write it anew.",
            ]
        )

    return say
