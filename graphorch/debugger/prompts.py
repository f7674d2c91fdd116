"""Prompts of two sessions side by side: what a fork asked models that its origin did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from graphorch.debugger.steps import DebugStep
from graphorch.engine.attempts.model_calls import RecordedCall


@dataclass(frozen=True, slots=True)
class ChangedPrompt:
    """One model call of two sessions whose model or messages differ.

    `call` names it: the path of its node, with `#2` for the second visit and so on, and the number
    of the call within it if there is more than one. A prompt that only one session has is empty in
    the other.
    """

    call: str
    old_model: str
    new_model: str
    old: str
    new: str


def compare_prompts(old: Sequence[DebugStep], new: Sequence[DebugStep]) -> list[ChangedPrompt]:
    """Return the model calls that differ, in the order of the new steps.

    Steps that one session has not reached yet are left out: they are no difference so far.
    """
    before, after = dict(_name_steps(old)), dict(_name_steps(new))
    changed: list[ChangedPrompt] = []
    for name, step in after.items():
        other = before.get(name)
        if other is None or other is step:
            continue
        for index in range(max(len(step.calls), len(other.calls))):
            pair = _describe(other.calls, index), _describe(step.calls, index)
            if pair[0] != pair[1]:
                several = max(len(step.calls), len(other.calls)) > 1
                call = f"{name}, call {index + 1}" if several else name
                (old_model, old_text), (new_model, new_text) = pair
                changed.append(ChangedPrompt(call, old_model, new_model, old_text, new_text))
    return changed


def _name_steps(steps: Sequence[DebugStep]) -> Iterator[tuple[str, DebugStep]]:
    """Yield steps that called a model with a name that is the same in both sessions."""
    visits = Counter[str]()
    for step in steps:
        visits[step.path] += 1
        if step.calls:
            visit = visits[step.path]
            yield (step.path if visit == 1 else f"{step.path}#{visit}"), step


def _describe(calls: Sequence[RecordedCall], index: int) -> tuple[str, str]:
    """Return model and messages of a call as text; empty if it was not made."""
    if index >= len(calls):
        return "", ""
    call = calls[index]
    model = call.model if call.response is None else call.response.model
    parts = [f"{message.role}: {message.content}" for message in call.messages]
    return model, "\n\n".join(parts)
