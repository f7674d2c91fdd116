"""Questions that a run puts to people, and what their answers become.

Three things ask: an `ask` node, whose answer is the slice that it writes; a gate before a node; and a gate after it, before its result
goes on. A gate takes an `Approval`. An answer counts once: it is taken only while its question is open.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from graphorch.core.events import Approved, NodeFailed, NodeSucceeded
from graphorch.core.retry import handler_of
from graphorch.core.tree import Activation, Status
from graphorch.engine.invocation.binding import arguments
from graphorch.errors import Expired, InputError, Rejected, WrongOutput

_SHOWN = 400  # characters of a value that a gate shows


@dataclass(frozen=True, slots=True)
class Asking:
    """An open question: its text, what an answer has to be, and until when (seconds since the epoch)."""

    text: str
    answer: type[BaseModel]
    expires: float | None = None


def asking(one: Activation, now: float) -> Asking:
    """The question of an activation. Raises whatever its question function raises."""
    step = one.step
    if step.ask is None:
        from graphorch.graph.approval import Approval  # only gates need it

        return Asking(_gate_text(one), Approval)
    assert step.over is not None
    assert one.version is not None
    expires = None if step.ask.expires is None else now + step.ask.expires
    return Asking(str(step.over(one.version)), step.ask.answer, expires)


def answered(
    one: Activation, value: object, now: float
) -> NodeSucceeded | Approved | NodeFailed | Expired:
    """The event that an answer is. Raises `InputError` for one that does not fit, or whose question is not open."""
    question: Asking = one.question
    if one.status is not Status.ASKED:
        raise InputError(f"The question of '{one.path}' is not open: it was answered or withdrawn.")
    if not isinstance(value, question.answer):
        fix = f"Answer with {question.answer.__name__}(…)."
        raise InputError(
            f"'{one.path}' asks for a {question.answer.__name__}, got {type(value).__name__}. {fix}"
        )
    if is_late(one, now):
        return expired(one)
    if one.step.ask is None:
        from graphorch.graph.approval import Approval

        assert isinstance(value, Approval)
        return Approved(one, now) if value.approved else _rejected(one, value.reason, now)
    try:
        return NodeSucceeded(one, one.step.writes[0].update(value), now)
    except WrongOutput as error:
        raise InputError(f"The answer to '{one.path}' does not fit: {error}") from error


def is_late(one: Activation, now: float) -> bool:
    """Whether an open question has expired."""
    question: Any = one.question
    return one.status is Status.ASKED and question.expires is not None and now >= question.expires


def expired(one: Activation) -> Expired:
    """Why a question that nobody answered fails."""
    ask = one.step.ask
    assert ask is not None
    return Expired(f"Nobody answered '{one.path}' within {ask.expires:g} s: {one.question.text}")


def _rejected(one: Activation, reason: str, now: float) -> NodeFailed:
    error = Rejected(reason or f"A person did not let '{one.path}' pass, and gave no reason.")
    return NodeFailed(one, one.attempt, error, None, handler_of(one, error), "", now)


def _gate_text(one: Activation) -> str:
    if one.update is None:
        values = [value for value in arguments(one) if isinstance(value, BaseModel)]
        return f"May '{one.path}' run? It reads:\n" + "\n".join(
            _short(value.model_dump_json(exclude_none=True)) for value in values
        )
    fields = one.scope.plan.schema.fields
    wrote = "\n".join(
        f"{fields[index].name} = {_short(repr(value))}" for index, value in one.update.items()
    )
    return f"May the result of '{one.path}' go on? It wrote:\n{wrote or 'nothing'}"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
