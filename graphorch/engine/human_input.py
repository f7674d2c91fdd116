"""Questions that a run puts to people, and the events that their answers become.

Three things ask: an `ask` node, whose answer is the slice that it writes; a gate before a node; and
a gate after it, before its result goes on. A gate takes an `Approval`. An answer counts once: it is
taken only while its question is open.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from graphorch.core.events import Approved, NodeFailed, NodeSucceeded
from graphorch.core.retry import find_handler
from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status, ToolScope
from graphorch.engine.invocation.binding import bind_arguments
from graphorch.engine.questions.pending_question import PendingQuestion
from graphorch.engine.questions.unanswered_call import is_unanswered_call
from graphorch.errors import (
    Expired,
    InputError,
    NeedsConsent,
    QuestionClosed,
    Rejected,
    WrongOutput,
)
from graphorch.text import blame, clean, format_value, is_kind, truncate, truncate_repr

if TYPE_CHECKING:
    from graphorch.graph.approval import Approval
    from graphorch.graph.plan import Step

_LONGEST_VALUE: Final = 400  # characters of a value that a gate shows


def build_question(activation: Activation, now: float) -> PendingQuestion:
    """Return the question of an activation. Raises what its question function raises."""
    from graphorch.engine.invocation.secret_values import hide_secrets

    step = activation.step
    if step.ask is None:
        build_text = _build_call_text if is_call(activation) else _build_gate_text
        text = build_text(activation)
        text = hide_secrets(activation, text)
        return PendingQuestion(clean(text), choose_approval(activation), find_expiry(step, now))
    assert step.over is not None
    assert activation.version is not None
    try:
        text = step.over(activation.version)
        if not isinstance(text, str):
            raise WrongOutput(
                f"'{step.over.name}' returned {format_value(text)}, which is not a text. "
                "Return the str that the person should read."
            )
    except Exception as error:
        blame(error, f"question of '{step.name}'")
        raise
    text = hide_secrets(activation, text)
    return PendingQuestion(clean(text), step.ask.answer, find_expiry(step, now))


def find_expiry(step: Step, now: float) -> float | None:
    """Return when a question that is asked now expires; None is never."""
    patience = _find_patience(step)
    return None if patience is None else now + patience


def _find_patience(step: Step) -> float | None:
    return step.node.options.expires if step.ask is None else step.ask.expires


def ask_for_consent(activation: Activation, error: NeedsConsent, now: float) -> PendingQuestion:
    """Return the question whether a tool that has changed is called all the same."""
    from graphorch.engine.invocation.secret_values import hide_secrets

    text = hide_secrets(activation, f"{error}\n{_build_call_text(activation)}")
    expires = find_expiry(activation.step, now)
    return PendingQuestion(clean(text), choose_approval(activation), expires, error.consent)


def is_call(activation: Activation) -> bool:
    """Return whether an activation is a call of a tool."""
    return isinstance(activation.scope, ToolScope)


def choose_approval(activation: Activation) -> type[Approval]:
    """Return the type of the answer to a gate, or to a tool call."""
    from graphorch.graph.approval import Approval, ToolApproval  # only gates need it

    return ToolApproval if is_call(activation) else Approval


def build_answer(
    activation: Activation, value: object, now: float, *, given_at: float | None = None
) -> NodeSucceeded | Approved | NodeFailed | Expired:
    """Return the event that an answer becomes, or the error of a question that has expired.

    `given_at` is when the answer was given, if that was before `now`. Raises `QuestionClosed` if
    the question is not open, and `InputError` for an answer that does not fit.
    """
    question: PendingQuestion = activation.question
    if activation.status is not Status.AWAITING_ANSWER:
        raise _build_closed(activation)
    value = widen_answer(value, question)
    if not isinstance(value, question.answer):
        expected = question.answer.__name__
        raise InputError(
            f"'{activation.path}' asks for a {expected}, got {type(value).__name__}. "
            f"Answer with {expected}(…)."
        )
    if is_late(activation, now if given_at is None else given_at):
        return build_expiry(activation)
    if activation.step.ask is None:
        from graphorch.graph.approval import Approval

        assert isinstance(value, Approval)
        if is_call(activation):
            from graphorch.engine.tool_calls.approval import build_decision

            return build_decision(activation, value, now)
        if value.approved:
            return Approved(activation, now)
        return _build_rejection(activation, value.reason, now)
    try:
        return NodeSucceeded(activation, activation.step.writes[0].update(value), now)
    except WrongOutput as error:
        raise InputError(f"The answer to '{activation.path}' does not fit: {error}") from error


def find_closed_question(run: Run, name: str) -> QuestionClosed | Expired | None:
    """Return the error of a question, by path or id, that was open once; None if it never was.

    It is `Expired` if the time of the question was over, and `QuestionClosed` for any other reason.
    """
    for activation in [*run.unfinished(), *reversed(run.history)]:
        if _has_asked(activation) and name in (activation.id, activation.path):
            return _build_closed(activation)
    return None


def _has_asked(activation: Activation) -> bool:
    """Return whether a person was asked, as far as the activation still shows it."""
    if activation.step.ask is not None or activation.approved or activation.question is not None:
        return True
    return is_kind(activation.failure, (Expired, Rejected)) or is_unanswered_call(activation)


def _build_closed(activation: Activation) -> QuestionClosed | Expired:
    """Return the error of a question that is not open, with what became of it."""
    if is_kind(activation.failure, (Expired,)) or is_unanswered_call(activation):
        return Expired(f"The question of '{activation.path}' is not open: its time is over.")
    if activation.status is Status.CANCELLED:
        story = activation.story or [""]
        reason = f"it was withdrawn ({story[-1].removeprefix('cancelled: ')})"
    elif activation.update is not None or activation.approved or activation.failure is not None:
        reason = "it was answered already, and the first answer counts"
    else:
        reason = "it was answered or withdrawn"
    return QuestionClosed(f"The question of '{activation.path}' is not open: {reason}.")


def widen_answer(value: object, question: PendingQuestion) -> object:
    """Return the answer to a tool call that a plain `Approval` means; any other as it is."""
    from graphorch.graph.approval import Approval, ToolApproval

    if question.answer is ToolApproval and type(value) is Approval:
        return ToolApproval(approved=value.approved, reason=value.reason)
    return value


def is_late(activation: Activation, now: float) -> bool:
    """Return whether an open question has expired."""
    question: Any = activation.question
    return (
        activation.status is Status.AWAITING_ANSWER
        and question.expires is not None
        and now >= question.expires
    )


def build_expiry(activation: Activation) -> Expired:
    """Return the error of a question that was not answered in time."""
    # A question keeps its time when its flow gives no time to further ones.
    patience = _find_patience(activation.step)
    within = "in time" if patience is None else f"within {patience:g} s"
    return Expired(f"'{activation.path}' was not answered {within}: {activation.question.text}")


def _build_rejection(activation: Activation, reason: str, now: float) -> NodeFailed:
    error = Rejected(reason or f"A person did not approve '{activation.path}', without a reason.")
    handler = find_handler(activation, error)
    return NodeFailed(activation, activation.attempt, error, None, handler, "", now)


def _build_gate_text(activation: Activation) -> str:
    """Return what a gate asks: with the values that the node reads, or with those it wrote."""
    if activation.update is None:
        slices = [value for value in bind_arguments(activation) if isinstance(value, BaseModel)]
        reads = "\n".join(map(_show_slice, slices))
        return f"May '{activation.path}' run? It reads:\n{reads}"
    fields = activation.scope.plan.schema.fields
    lines = [
        f"{fields[index].name} = {truncate_repr(value, _LONGEST_VALUE)}"
        for index, value in activation.update.items()
    ]
    wrote = "\n".join(lines) or "nothing"
    return f"May the result of '{activation.path}' go on? It wrote:\n{wrote}"


def _build_call_text(activation: Activation) -> str:
    """Return what is asked about a tool call, with the arguments that it will run with."""
    from graphorch.engine.tool_calls.approval import describe_call

    return describe_call(activation)


def _show_slice(slice: BaseModel) -> str:
    """Return a slice as JSON, or as Python shows it where it has no JSON."""
    try:
        return truncate(slice.model_dump_json(exclude_none=True), _LONGEST_VALUE)
    except Exception:  # its serializers are the user's and may raise anything
        return truncate_repr(slice, _LONGEST_VALUE)
