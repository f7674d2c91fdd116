"""Steps in a row, with gates between them.

Known failure: a weak step poisons all that follow. A gate looks at what a step wrote: it lets it
pass, has the step try again with the reason in its prompt (a bounded number of times), or ends the
run with `GateRejected`.

    write → write_gate → review          write_gate goes back to write until it passes
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from graphorch.engine.attempts.context import NodeContext
from graphorch.engine.invocation.binding import check_verdict
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.node import Node
from graphorch.graph.options import is_count
from graphorch.graph.signature import Read
from graphorch.patterns.errors import GateRejected
from graphorch.patterns.pattern_builder import (
    HiddenSlice,
    InputSlices,
    PatternBuilder,
    format_slice,
)
from graphorch.patterns.types import Feedback, Gated, Repeat, Stop

_LET_PASS = "return True to let the step pass, else False, Repeat(reason) or Stop(reason)"


# Its name and docstring stay: they are part of fingerprints of format 1.
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
    pattern = PatternBuilder(builder)
    rows = [pattern.add_steps(step, "pipeline()") for step in steps]
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not rows:
        fix = "name at least one node"
        pattern.add_problem("PIPELINE_EMPTY", "pipeline()", "it has no steps", fix)
    if not is_count(attempts):
        what = f"attempts={attempts!r} is not a bound"
        fix = "give a whole number from 1 on, the first attempt included"
        pattern.add_problem("PIPELINE_ATTEMPTS", "pipeline()", what, fix)
    for name in names:
        pattern.set_defaults(name, timeout=timeout)
    for node, gate in gates.items():
        name = node.name if isinstance(node, Node) else pattern.add_step(node, "pipeline(gates=…)")
        if name and name not in names:
            what = "it belongs to no step of this pipeline"
            fix = "name a node that is one of the steps"
            pattern.add_problem("PIPELINE_GATE", f"gate of '{name}'", what, fix)
        elif name:
            _draw_gate(pattern, name, gate, attempts)
    for sources, targets in itertools.pairwise(rows):
        for source in sources:
            pattern.add_edges(pattern.find_exit(source), *targets)


def _draw_gate(pattern: PatternBuilder, step: str, gate: Callable[..., Any], attempts: int) -> None:
    memory = pattern.add_memory(f"{step}_gate", GateMemory, GateMemory)
    inputs = InputSlices([Read(memory.model)])
    where = f"gate of '{step}'"
    judge = inputs.bind(pattern.read_function(gate, where, (bool, Repeat, Stop), _LET_PASS), where)
    has_not_passed = _wants_repeat(memory)
    has_feedback = pattern.has_slice(Feedback)

    def decide(ctx: NodeContext, *slices: BaseModel) -> object:
        before: GateMemory = memory.unwrap(slices[0])
        attempt = before.attempts + 1 if before.repeat else 1
        verdict = judge(slices)
        is_answer = isinstance(verdict, Repeat | Stop)
        passed = not is_answer and check_verdict(f"The {where}", verdict, _LET_PASS)
        reason = verdict.reason if isinstance(verdict, Repeat | Stop) else ""
        ctx.emit(Gated(step=step, attempt=attempt, passed=passed, reason=reason))
        is_final = isinstance(verdict, Stop)
        if is_final or (not passed and not ctx.has_room(has_not_passed)):
            raise GateRejected(step, reason, attempt, for_good=is_final)
        now = memory.wrap(GateMemory(attempts=attempt, reason=reason, repeat=not passed))
        return (now, Feedback(feedback=reason)) if has_feedback else now

    origin = pattern.find_exit(step)
    writes = [memory.model, *([Feedback] if has_feedback else [])]
    name = pattern.add_node(f"{step}_gate", decide, inputs.reads, writes)
    own = {read.model for read in pattern.node(step).signature.reads}
    unread = [model for model in pattern.written_slices(step) if model not in own]
    pattern.extend_prompt(step, [memory.model, *unread], _repeat_prompt(memory))
    pattern.set_exit(origin, name)
    pattern.add_edges(origin, name)
    if is_count(attempts) and attempts > 1:
        pattern.add_loop(name, step, has_not_passed, memory, attempts)


def _wants_repeat(memory: HiddenSlice) -> Callable[[BaseModel], bool]:
    # Pictures show the name of this function.
    def not_passed(slice: BaseModel) -> bool:
        return memory.unwrap(slice).repeat

    return not_passed


def _repeat_prompt(memory: HiddenSlice) -> Callable[..., str]:
    """Return the writer of what an agent reads when its step is repeated."""

    def write(slice: BaseModel | None, *written: BaseModel | None) -> str:
        gate = GateMemory() if slice is None else memory.unwrap(slice)
        if not gate.repeat:
            return ""
        drafts = [format_slice(model) for model in written if model is not None]
        parts = ["Your last attempt was not accepted."]
        if drafts:
            parts += ["What you wrote:", *drafts]
        reason = gate.reason or "no reason was given"
        parts += ["Why it was not accepted:", reason, "Write it anew."]
        return "\n\n".join(parts)

    return write
