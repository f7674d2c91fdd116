"""Questions that a run puts to people, and what their answers become.

Three things ask: an `ask` node, whose answer is the slice that it writes; a gate before a node; and a gate after it, before its result
goes on. A gate takes an `Approval`. An answer counts once: it is taken only while its question is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from graphorch.core.events import Approved, NodeFailed, NodeSucceeded
from graphorch.core.retry import find_handler
from graphorch.core.tree import Activation, Status
from graphorch.engine.invocation.binding import bind_arguments
from graphorch.errors import Expired, InputError, Rejected, WrongOutput

_SHOWN = 400  # characters of a value that a gate shows


@dataclass(frozen=True, slots=True)
class PendingQuestion:
    """An open question: its text, what an answer has to be, and until when (seconds since the epoch)."""

    text: str
    answer: type[BaseModel]
    expires: float | None = None


def build_question(activation: Activation, now: float) -> PendingQuestion:
    """The question of an activation. Raises whatever its question function raises."""
    step = activation.step
    if step.ask is None:
        from graphorch.graph.approval import Approval  # only gates need it

        return PendingQuestion(_gate_text(activation), Approval)
    assert step.over is not None
    assert activation.version is not None
    expires = None if step.ask.expires is None else now + step.ask.expires
    return PendingQuestion(str(step.over(activation.version)), step.ask.answer, expires)


def build_answer(
    activation: Activation, value: object, now: float
) -> NodeSucceeded | Approved | NodeFailed | Expired:
    """The event that an answer is. Raises `InputError` for one that does not fit, or whose question is not open."""
    question: PendingQuestion = activation.question
    if activation.status is not Status.AWAITING_ANSWER:
        raise InputError(
            f"The question of '{activation.path}' is not open: it was answered or withdrawn."
        )
    if not isinstance(value, question.answer):
        fix = f"Answer with {question.answer.__name__}(…)."
        raise InputError(
            f"'{activation.path}' asks for a {question.answer.__name__}, got {type(value).__name__}. {fix}"
        )
    if is_late(activation, now):
        return build_expiry(activation)
    if activation.step.ask is None:
        from graphorch.graph.approval import Approval

        assert isinstance(value, Approval)
        return (
            Approved(activation, now)
            if value.approved
            else _rejected(activation, value.reason, now)
        )
    try:
        return NodeSucceeded(activation, activation.step.writes[0].update(value), now)
    except WrongOutput as error:
        raise InputError(f"The answer to '{activation.path}' does not fit: {error}") from error


def is_late(activation: Activation, now: float) -> bool:
    """Whether an open question has expired."""
    question: Any = activation.question
    return (
        activation.status is Status.AWAITING_ANSWER
        and question.expires is not None
        and now >= question.expires
    )


def build_expiry(activation: Activation) -> Expired:
    """Why a question that nobody answered fails."""
    ask = activation.step.ask
    assert ask is not None
    return Expired(
        f"Nobody answered '{activation.path}' within {ask.expires:g} s: {activation.question.text}"
    )


def _rejected(activation: Activation, reason: str, now: float) -> NodeFailed:
    error = Rejected(
        reason or f"A person did not let '{activation.path}' pass, and gave no reason."
    )
    return NodeFailed(
        activation, activation.attempt, error, None, find_handler(activation, error), "", now
    )


def _gate_text(activation: Activation) -> str:
    if activation.update is None:
        values = [value for value in bind_arguments(activation) if isinstance(value, BaseModel)]
        return f"May '{activation.path}' run? It reads:\n" + "\n".join(
            _short(value.model_dump_json(exclude_none=True)) for value in values
        )
    fields = activation.scope.plan.schema.fields
    wrote = "\n".join(
        f"{fields[index].name} = {_short(repr(value))}"
        for index, value in activation.update.items()
    )
    return f"May the result of '{activation.path}' go on? It wrote:\n{wrote or 'nothing'}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
