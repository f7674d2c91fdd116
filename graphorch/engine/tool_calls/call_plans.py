"""Plans of tool calls: of the tool itself, or a stand-in while only the record of it is known.

A journal says which tools were called and with what. The tools themselves come from the agent, or,
where a node gives them to `ctx.complete`, only once the node runs again: until then its calls have
plans whose function cannot be called.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from graphorch.core.tree import Activation, ToolCalled, ToolScope
from graphorch.errors import InputError, InternalError
from graphorch.graph.compiler import compile_tool
from graphorch.graph.node import Node
from graphorch.graph.options import Effect, NodeSettings
from graphorch.graph.payloads import ToolArguments, ToolOutcome
from graphorch.graph.plan import Plan, Step
from graphorch.graph.signature import Read, Signature

if TYPE_CHECKING:
    from graphorch.agents.tool import Tool
    from graphorch.state.version import Version

_SIGNATURE: Final = Signature((Read(ToolArguments),), (ToolOutcome,), False, None, False, True)


class UnboundTool:
    """Stands for a tool of which only the record is known."""

    async def __call__(self, *_: object) -> ToolOutcome:
        """Refuse the call: a driver gives the tool to the call before it starts it."""
        raise InternalError("A tool was called before it was known. Please report this as a bug.")


def build_call(tool: Tool, index: int, arguments: dict[str, Any], *, asks: bool) -> ToolCalled:
    """Return the call of a tool, which is number `index` of its round, with these arguments."""
    return _build(tool.compile(index), tool.name, index, arguments, tool.is_barrier, asks)


def rebuild_call(
    agent: Activation,
    name: str,
    index: int,
    arguments: dict[str, Any],
    effect: Effect,
    *,
    is_barrier: bool,
    asks: bool,
) -> ToolCalled:
    """Return the call that a record is about, with the tool of the agent if it has it still."""
    tool = find_tool(agent, name)
    if tool is not None and tool.effect == effect:
        plan = tool.compile(index)
    else:
        plan = build_plan(name, index, effect)
    return _build(plan, name, index, arguments, is_barrier, asks)


def build_plan(name: str, index: int, effect: Effect) -> Plan:
    """Return the plan of a call whose tool is not known."""
    options = NodeSettings(effect=effect)
    node = Node[Any](UnboundTool(), _SIGNATURE, name=name, kind="tool", options=options)
    return compile_tool(node, f"{name}#{index}")


def _build(
    plan: Plan, name: str, index: int, arguments: dict[str, Any], is_barrier: bool, asks: bool
) -> ToolCalled:
    update = encode_arguments(plan, arguments)
    written = json.dumps(arguments, sort_keys=True, separators=(",", ":"))
    identity = "\0".join((str(index), name, written))
    return ToolCalled(plan, name, index, arguments, update, identity, is_barrier, asks)


def encode_arguments(plan: Plan, arguments: dict[str, Any]) -> dict[int, Any]:
    """Return the arguments of a call as an update of its state."""
    return plan.read_input.update(ToolArguments(arguments=arguments))


def read_arguments(scope: ToolScope, version: Version | None) -> dict[str, Any]:
    """Return what a tool is called with, as a version of the call's state has it.

    That is what the model wrote, unless a person changed it.
    """
    if not scope.has_new_arguments:
        return scope.call.arguments
    assert version is not None
    return scope.plan.schema.reader(ToolArguments).read(version).arguments


def find_tool(agent: Activation, name: str) -> Tool | None:
    """Return the tool of an agent; None if it has none of this name, or is no agent."""
    return find_tool_of(agent.step, name)


def find_tool_of(step: Step, name: str) -> Tool | None:
    """Return the tool of a step of an agent; None if it has none of this name, or is no agent."""
    from graphorch.agents.tool import Tool

    sources = cast("tuple[object, ...]", getattr(step.node.fn, "tools", ()))
    tools = (source for source in sources if isinstance(source, Tool))
    return next((tool for tool in tools if tool.name == name), None)


def require_declared(agent: Activation, tool: Tool) -> None:
    """Raise `InputError` for a flow as a tool that only the code of a node knows.

    Its nodes have records of their own, which cannot be read without knowing the flow.
    """
    if find_tool(agent, tool.name) is not tool:
        raise InputError(
            f"'{tool.name}' is a flow, and '{agent.path}' gives it to ctx.complete(): a journal "
            "could not be read again. Give it to an agent: @agent(tools=[flow.as_tool()])."
        )


def bind_tool(scope: ToolScope, tools: Mapping[str, Tool]) -> None:
    """Give the tool to a call that was rebuilt without it."""
    step = scope.plan.steps[0]
    tool = tools.get(scope.call.tool)
    if tool is None or not isinstance(step.node.fn, UnboundTool):
        return
    plan = tool.compile(scope.call.place)
    scope.plan, scope.steps = plan, plan.steps
    for activation in scope.active.values():
        activation.step = plan.steps[activation.step.index]
