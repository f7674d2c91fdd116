"""A flow as a tool: a model delegates, and the flow runs inside the call.

The call is a sub-flow of the agent: its nodes are in the same journal under the path of the call,
draw on the agent's budget, ask the same people, and are resumed with it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Never, TypedDict, cast

from pydantic import BaseModel

from graphorch.agents.tool import (
    Approve,
    Tool,
    ToolOptions,
    add_marks,
    check_expires,
    read_options,
    require_name,
)
from graphorch.agents.tool_arguments import FunctionArguments, build_tool_error
from graphorch.agents.tool_results import write_result
from graphorch.callables import get_doc
from graphorch.errors import WrongCall, did_you_mean
from graphorch.graph.node import Node
from graphorch.graph.options import Effect
from graphorch.graph.payloads import ToolArguments, ToolOutcome
from graphorch.graph.plan import Plan, SubSpec
from graphorch.graph.signature import Read, Signature, StateFunction
from graphorch.models.messages import ToolSpec
from graphorch.state.marks import find_marks

MOST_CALLS = 4
"""How often a model may call a flow in one loop, unless `max_calls` says otherwise."""


class FlowToolOptions(TypedDict, total=False):
    """Keyword arguments of `flow.as_tool(...)`: those of `@tool` that its nodes do not decide."""

    approve: Approve
    expires: float
    tells: type[Exception] | tuple[type[Exception], ...]
    max_calls: int
    concurrent: bool
    untrusted: bool


@dataclass(frozen=True, slots=True)
class InputArguments:
    """Arguments of a flow: the fields of its input."""

    model: type[BaseModel]
    schema: Mapping[str, object]

    def read(self, tool: str, written: str) -> dict[str, Any]:
        """Return the input as plain JSON with all defaults. Raises `WrongArguments`."""
        return FunctionArguments(self.model, self.schema, False, None).read(tool, written)

    def bind(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of the input by field."""
        given = self.build(arguments)
        return {name: getattr(given, name) for name in type(given).model_fields}

    def build(self, arguments: Mapping[str, Any]) -> BaseModel:
        """Return the input of a call. Raises `ValidationError` if the arguments do not fit."""
        return self.model.model_validate_json(json.dumps(arguments))


@dataclass(frozen=True, slots=True)
class _FlowCall:
    """What stands for the function of a flow as a tool: the engine enters the flow instead."""

    flow: str
    arguments: InputArguments

    def __call__(self, *_: object, **__: object) -> Never:
        """Refuse the call."""
        raise WrongCall(f"Flow '{self.flow}' is a tool here. To run it, call run() of the flow.")


def make_flow_tool(plan: Plan, name: str, description: str, options: FlowToolOptions) -> Tool:
    """Return the tool that runs a flow. Raises `GraphError` with code `TOOL`."""
    require_name(name)
    known = FlowToolOptions.__annotations__
    for option in options:
        if option not in known:
            raise build_tool_error(
                name, f"there is no option '{option}'", did_you_mean(option, known)
            )
    schema = plan.input.model_json_schema()
    arguments = InputArguments(plan.input, schema)
    given: ToolOptions = {"max_calls": MOST_CALLS, **options, "effect": find_effect(plan)}
    check_expires(name, given)
    given = add_marks(name, find_marks(plan.output), given)
    settings, node_settings = read_options(name, given, arguments)
    signature = Signature(
        reads=(Read(ToolArguments),),
        writes=(ToolOutcome,),
        has_context=False,
        resources=next((kind for _, kind in plan.resources), None),
        may_skip=False,
        is_async=True,
    )

    def enter(call: ToolArguments) -> BaseModel:
        return arguments.build(call.arguments)

    def leave(result: BaseModel) -> ToolOutcome:
        return ToolOutcome(text=write_result(result))

    refuse = _FlowCall(plan.name, arguments)
    spec = ToolSpec(name=name, description=description or get_doc(plan.input), parameters=schema)
    node = Node[Any](refuse, signature, name=name, kind="sub", options=node_settings)
    sub = SubSpec(plan, StateFunction(enter, (Read(ToolArguments),)), leave)
    return Tool(refuse, spec, arguments, node, settings, sub)


def find_effect(plan: Plan) -> Effect:
    """Return the strongest effect class of the nodes of a flow, and of the tools of its agents."""
    effects = {effect for inner in plan.list_all() for effect in _list_effects(inner)}
    return "once" if "once" in effects else "idempotent" if "idempotent" in effects else "pure"


def _list_effects(plan: Plan) -> Iterator[Effect]:
    for step in plan.steps:
        yield step.node.options.effect
        for tool in cast("tuple[Any, ...]", getattr(step.node.fn, "tools", ())):
            # What a server of tools does is not known, so it may do harm.
            yield tool.effect if isinstance(tool, Tool) else "once"
