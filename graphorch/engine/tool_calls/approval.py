"""Approvals of tool calls: what a person is asked, and what becomes of the answer.

The question is bound to its call by the id of the activation, which is a hash of the tool and the
arguments: an answer can only be about what was asked.
"""

from __future__ import annotations

import json
from typing import Any, cast

from graphorch.agents.tool_arguments import ArgumentReader, WrongArguments
from graphorch.core.events import Approved, NodeSucceeded
from graphorch.core.tree import Activation, ToolScope
from graphorch.engine.tool_calls.call_plans import UnboundTool, encode_arguments, read_arguments
from graphorch.errors import InputError
from graphorch.graph.approval import Approval, ToolApproval
from graphorch.graph.payloads import UNANSWERED, ToolOutcome
from graphorch.text import truncate

_LONGEST = 4_000  # characters of the arguments in a question


class ToolNotKnown(InputError):
    """Changed arguments of a call whose tool is not at hand, so that they cannot be checked."""


def describe_call(activation: Activation) -> str:
    """Return what a person is asked about a call."""
    scope = activation.scope
    assert isinstance(scope, ToolScope)
    written = read_arguments(scope, activation.version)
    arguments = json.dumps(written, ensure_ascii=False, indent=2)
    return f"May '{activation.path}' call {scope.call.tool} with\n{truncate(arguments, _LONGEST)}"


def build_decision(
    activation: Activation, decision: Approval, now: float
) -> Approved | NodeSucceeded:
    """Return what follows from a person's decision about a call.

    Raises `InputError` for arguments that do not fit the tool.
    """
    assert isinstance(decision, ToolApproval)
    if not decision.approved:
        return _end_call(activation, _build_outcome(activation, decision), now)
    if decision.arguments is None:
        return Approved(activation, now)
    arguments = _check_arguments(activation, decision.arguments)
    return Approved(activation, now, encode_arguments(activation.scope.plan, arguments))


def build_unanswered(activation: Activation, now: float) -> NodeSucceeded:
    """Return the refusal of a call that no person answered in time."""
    scope, patience = activation.scope, activation.step.node.options.expires
    assert isinstance(scope, ToolScope)
    # A question keeps its time when its tool gives no time to further ones.
    within = "in time" if patience is None else f"within {patience:g} s"
    text = f"{UNANSWERED} '{scope.call.tool}' {within}."
    return _end_call(activation, ToolOutcome(outcome="refused", text=text), now)


def _end_call(activation: Activation, outcome: ToolOutcome, now: float) -> NodeSucceeded:
    """Return the end of a call that is not made."""
    update = activation.step.writes[0].update(outcome)
    return NodeSucceeded(activation, update, now, served=True)


def _build_outcome(activation: Activation, decision: ToolApproval) -> ToolOutcome:
    """Return what the model reads instead of what the tool would have returned."""
    if decision.answer is not None:
        return ToolOutcome(outcome="answered", text=decision.answer)
    scope = activation.scope
    assert isinstance(scope, ToolScope)
    because = f" The reason: {decision.reason}" if decision.reason else ""
    text = f"Refused: a person did not approve this call of '{scope.call.tool}'.{because}"
    return ToolOutcome(outcome="refused", text=text)


def _check_arguments(activation: Activation, given: dict[str, Any]) -> dict[str, Any]:
    scope, node = activation.scope, activation.step.node
    assert isinstance(scope, ToolScope)
    if isinstance(node.fn, UnboundTool):
        raise ToolNotKnown(
            f"The tool '{scope.call.tool}' is known only where its node runs, so its arguments "
            "cannot be checked here. Approve it as it is, refuse it, or answer instead of it."
        )
    try:
        reader: ArgumentReader = cast("Any", node.fn).arguments
        return reader.read(scope.call.tool, json.dumps(given))
    except WrongArguments as error:
        raise InputError(
            f"The changed arguments of '{activation.path}' do not fit: {error.fault}. "
            "Give all arguments of the tool, as its schema wants them."
        ) from error
