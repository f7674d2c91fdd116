"""Undos of tools: functions that take back what a call did, by its arguments and its result."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from graphorch.agents.tool_arguments import (
    FunctionArguments,
    build_tool_error,
    read_parameters,
)
from graphorch.callables import is_async, is_function
from graphorch.graph.node import Node
from graphorch.graph.options import NodeSettings
from graphorch.graph.payloads import ToolArguments, ToolOutcome
from graphorch.graph.signature import Read, Signature

RESULT = "result"
"""Parameter of an undo that gets the text which the model read, unless the tool has such one."""


def build_tool_undo(
    tool: str,
    undo: Callable[..., Any],
    settings: NodeSettings,
    schema: Mapping[str, object],
    local: Mapping[str, Any],
) -> Node[Any]:
    """Return the node of a tool's undo, with these settings of its own.

    `schema` is that of the tool's arguments. Raises `GraphError` with code `TOOL`.
    """
    if not is_function(undo) or isinstance(undo, type):
        what = f"undo={undo!r:.80} is not a function"
        raise build_tool_error(tool, what, "give a function of the tool's arguments")
    arguments = read_parameters(undo, f"undo of {tool}", local)
    known = [*_list_names(schema), RESULT]
    unknown = [name for name in _list_names(arguments.schema) if name not in known]
    if unknown:
        what = f"its undo reads {', '.join(unknown)}, which is no argument of it"
        raise build_tool_error(tool, what, f"name some of {', '.join(known)}")
    if settings.effect == "pure":
        what = 'its undo has effect="pure", so it would undo nothing'
        raise build_tool_error(tool, what, 'say effect="idempotent" or effect="once"')
    signature = Signature(
        reads=(Read(ToolArguments), Read(ToolOutcome)),
        writes=(),
        has_context=arguments.has_context,
        resources=arguments.resources,
        may_skip=True,
        is_async=is_async(undo),
    )
    runner = (_AsyncUndo if signature.is_async else _PlainUndo)(undo, arguments)
    return Node[Any](runner, signature, name=f"undo_{tool}", options=settings)


def _list_names(schema: Mapping[str, Any]) -> list[str]:
    return list(schema.get("properties", {}))


class _Undo:
    """What the node of an undo runs: the function, with the arguments that it names."""

    def __init__(self, fn: Callable[..., Any], arguments: FunctionArguments) -> None:
        self.fn = fn
        self.arguments = arguments

    def _bind(self, given: tuple[Any, ...]) -> tuple[list[Any], dict[str, Any]]:
        *context, called, outcome = given
        values = {RESULT: outcome.text, **called.arguments}
        names = _list_names(self.arguments.schema)
        named = {name: values[name] for name in names if name in values}
        return context, self.arguments.bind(json.loads(json.dumps(named)))


class _AsyncUndo(_Undo):
    async def __call__(self, *given: Any) -> None:
        context, values = self._bind(given)
        await self.fn(*context, **values)


class _PlainUndo(_Undo):
    def __call__(self, *given: Any) -> Any:
        context, values = self._bind(given)
        self.fn(*context, **values)
