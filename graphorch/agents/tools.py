"""Tools: plain typed functions that a model may call before it answers.

Rules of this file:
1. A tool is called only with arguments that fit its signature. Wrong arguments, an unknown tool and
   an exception go back to the model as text, so that it can correct its call.
2. The number of rounds is bounded, and the time of the request covers the tools too.
3. The result of a tool goes back as text, cut at a length that fits into a prompt.

Texts that begin with "Error:" are read by models: they are part of stored requests.
"""

from __future__ import annotations

import asyncio
import re
import time
import typing
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PydanticUserError,
    ValidationError,
    create_model,
)

from graphorch.agents.tool import Tool as ServedTool
from graphorch.agents.tool import tell_error
from graphorch.agents.tool_arguments import WrongArguments
from graphorch.agents.tool_guards import TooManyToolRounds
from graphorch.agents.tool_results import collect_items, finish, write_result
from graphorch.callables import find_annotated, get_doc, get_name, is_async, is_function
from graphorch.errors import (
    GraphError,
    LimitReached,
    Problem,
    as_failure,
    did_you_mean,
)
from graphorch.graph.node import Node
from graphorch.graph.payloads import ToolArguments
from graphorch.graph.signature import inspect_callable
from graphorch.models.client import ModelClient, OnText
from graphorch.models.errors import TimedOut
from graphorch.models.messages import Message, Request, Response, ToolCall, ToolSpec
from graphorch.models.structured_output import sum_responses
from graphorch.models.tool_arguments import read_object
from graphorch.text import format_error, truncate_counted
from graphorch.threads import run_in_thread

ROUNDS = 8
"""Number of times that a model may call tools before it has to answer."""

_LONGEST = 20_000  # characters of a result


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A function with its description for models; callable like the function itself."""

    fn: Callable[..., Any]
    spec: ToolSpec
    arguments: type[BaseModel]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.fn(*args, **kwargs)

    async def answer(self, written: str) -> str:
        """Return the result of the function for arguments that a model wrote as JSON, as text.

        Wrong arguments and exceptions become a text that begins with "Error:". Raises
        `LimitReached`, which no model can mend.
        """
        try:
            arguments = self.arguments.model_validate_json(read_object(written))
        except ValidationError as error:
            return (
                f"Error: the arguments of '{self.spec.name}' do not fit: {_list_faults(error)}. "
                "Call it again with arguments that fit its schema."
            )
        fields = type(arguments).model_fields.items()
        values = {str(info.alias): getattr(arguments, name) for name, info in fields}
        outcome = await self._call(values)
        if isinstance(outcome, _Raised):
            return _cut(f"Error: '{self.spec.name}' raised {format_error(outcome.error)}")
        try:
            return _cut(write_result(outcome))
        except ValueError as error:
            return f"Error: the result of '{self.spec.name}' cannot be written as JSON: {error}"

    async def _call(self, values: Mapping[str, Any]) -> object:
        """Return what the function returns, or what it raised."""
        task = asyncio.current_task()
        cancellations = task.cancelling() if task is not None else 0
        try:
            if is_async(self.fn):
                return await finish(self.fn(**values))
            return await finish(await run_in_thread(_run, self.fn, values))
        # The border to the user's code, as around a node.
        except BaseException as error:
            if task is not None and task.cancelling() > cancellations:
                raise
            failure = as_failure(error)
            if failure is None:
                raise
            if isinstance(failure, LimitReached):
                raise
            return _Raised(failure)


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a function raised, kept as a value: a future cannot hold every exception."""

    error: Exception


def _run(fn: Callable[..., Any], values: Mapping[str, Any]) -> object:
    """Call a function, in a thread, and run a generator that it returns to its end there."""
    try:
        return collect_items(fn(**values))
    except LimitReached:
        raise
    except BaseException as error:
        failure = as_failure(error)
        if failure is None:
            raise
        return _Raised(failure)


class ToolClient:
    """A `ModelClient` that calls tools for the model within, until it answers."""

    def __init__(
        self,
        client: ModelClient,
        tools: Sequence[Callable[..., Any]],
        *,
        served: Sequence[ServedTool] = (),
        rounds: int = ROUNDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._tools = {tool.spec.name: tool for tool in (*build_tools(tools), *served)}
        self._rounds = rounds
        self._clock = clock

    def __repr__(self) -> str:
        return f"ToolClient({self._client!r}, {', '.join(self._tools)})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the answer; its usage, price, attempts and seconds are those of all rounds.

        Raises `TooManyToolRounds`, `TimedOut` if the request's time ends while a tool runs, and the
        errors of the client within.
        """
        began = self._clock()
        tools = tuple(tool.spec for tool in self._tools.values())
        messages = request.messages
        responses: list[Response] = []
        while True:
            timeout = self._time_left(request, began)
            following = replace(request, tools=tools, messages=messages, timeout=timeout)
            response = await self._client.complete(following, on_text)
            responses.append(response)
            if not response.tool_calls:
                seconds = self._clock() - began
                return replace(sum_responses(responses), seconds=seconds)
            if len(responses) > self._rounds:
                raise self._too_many_rounds(response)
            call = Message(role="assistant", content=response.text, tool_calls=response.tool_calls)
            results = await self._call_tools(request, response.tool_calls, began)
            messages = (*messages, call, *results)

    def _too_many_rounds(self, response: Response) -> TooManyToolRounds:
        names = ", ".join(sorted({call.name for call in response.tool_calls}))
        return TooManyToolRounds(
            f"Model '{response.model}' asked for tools ({names}) {self._rounds + 1} times without "
            f"answering; {self._rounds} are allowed. Say in the instructions when to stop, give it "
            "tools that answer more at once, or use another model.",
            model=response.model,
        )

    async def _call_tools(
        self, request: Request, calls: Sequence[ToolCall], began: float
    ) -> list[Message]:
        """Return the results of tool calls, in their order.

        Tools run one after the other, so that they need not be safe to run side by side.
        """
        results: list[Message] = []
        scope = asyncio.timeout(self._time_left(request, began))
        try:
            async with scope:
                for call in calls:
                    content = await self._call_tool(call)
                    results.append(Message(role="tool", tool_call_id=call.id, content=content))
        except TimeoutError:
            # A TimeoutError that is not this scope's comes from outside.
            if not scope.expired():
                raise
        # A tool that swallows its cancellation is late all the same.
        if not scope.expired():
            return results
        name = calls[min(len(results), len(calls) - 1)].name
        raise TimedOut(
            f"The tool '{name}' did not return within the {request.timeout:g} s of the request. "
            "Give the call more time, or make the tool faster.",
            model=request.model,
            limit="total",
        )

    async def _call_tool(self, call: ToolCall) -> str:
        tool = self._tools.get(call.name)
        if tool is None:
            return f"Error: there is no tool '{call.name}'. {did_you_mean(call.name, self._tools)}"
        if isinstance(tool, ServedTool):
            return await _answer_served(tool, call.arguments)
        return await tool.answer(call.arguments)

    def _time_left(self, request: Request, began: float) -> float | None:
        if request.timeout is None:
            return None
        return max(0.0, request.timeout - (self._clock() - began))


async def _answer_served(tool: ServedTool, written: str) -> str:
    """Return the result of a tool of a server, as text. Raises what it does not tell the model."""
    try:
        arguments = tool.read_arguments(written)
        outcome = await tool.node.fn(ToolArguments(arguments=arguments))
    except WrongArguments as error:
        return str(error)
    except tool.tells as error:
        outcome = tell_error(tool.name, error)
    return _cut(outcome.text)


def build_tools(
    functions: Sequence[Callable[..., Any]], local: Mapping[str, Any] | None = None
) -> tuple[Tool, ...]:
    """Return the tools of some functions; a `Tool` among them stays as it is.

    `local` holds names for annotations beside the globals of the functions. Raises `GraphError`
    with code `TOOL`, all problems at once.
    """
    if not isinstance(functions, Sequence) or isinstance(functions, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        what = f"tools={functions!r:.80} is not a list of functions"
        fix = "give a list: tools=[look_up]"
        raise GraphError("tools", [Problem("TOOL", "tools", what, fix)], "tools of an agent")
    tools: list[Tool] = []
    problems: list[Problem] = []
    for fn in functions:
        try:
            tools.append(fn if isinstance(fn, Tool) else _build_tool(fn, local or {}))
        except GraphError as error:
            problems += error.problems
    counts = Counter(tool.spec.name for tool in tools)
    for name, count in counts.items():
        if count > 1:
            what, fix = f"{count} tools have this name", "rename one: a model calls them by it"
            problems.append(Problem("TOOL", f"tool '{name}'", what, fix))
    if problems:
        raise GraphError(problems[0].where, problems, problems[0].where)
    return tuple(tools)


def _build_tool(fn: Callable[..., Any], local: Mapping[str, Any]) -> Tool:
    """Return the tool of a function. Raises `GraphError`."""
    if not is_function(fn):
        what = f"{fn!r:.80} is not a function"
        fix = "give a function with annotated parameters"
        name = fn if isinstance(fn, str) else get_name(fn)
        if isinstance(fn, Node):
            fix = "give its function: .fn of a @node; the model of an agent calls no other agent"
            name = fn.name
        raise _tool_error(name, what, fix)
    name = _find_tool_name(fn)
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise _tool_error(
            name,
            f"'{name}' is not a name that a model can call",
            "give a function defined with `def`, with letters of ASCII, digits and '_'",
        )
    fields = _read_parameters(fn, name, local)
    try:
        arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        schema = arguments.model_json_schema()
    except (PydanticUserError, NameError) as error:
        raise _tool_error(
            name,
            f"its parameters have no JSON schema ({type(error).__name__})",
            "use types that JSON can express",
        ) from None
    spec = ToolSpec(name=name, description=get_doc(fn), parameters=schema)
    return Tool(fn, spec, arguments)


def _find_tool_name(fn: Callable[..., Any]) -> str:
    """Return the name of a function; of an object without one its class in the same spelling."""
    name = get_name(fn)
    return name if hasattr(fn, "__name__") else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def _read_parameters(fn: Callable[..., Any], name: str, local: Mapping[str, Any]) -> dict[str, Any]:
    """Return a field of a model for each parameter of a function. Raises `GraphError`."""
    try:
        hints = typing.get_type_hints(find_annotated(fn), localns=dict(local), include_extras=True)
    except NameError as error:
        raise _tool_error(
            name,
            f"an annotation names '{error.name}', which is not defined",
            "import it, or define it before the tool",
        ) from None
    fields: dict[str, Any] = {}
    for parameter in inspect_callable(fn).parameters.values():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise _tool_error(
                name,
                f"parameter '{parameter.name}' cannot be given by name",
                "use plain parameters, each with a type",
            )
        if parameter.name not in hints:
            raise _tool_error(
                name,
                f"parameter '{parameter.name}' has no annotation",
                "annotate it: the model reads its type",
            )
        # An alias, so that a parameter may be called like a method of pydantic's (`json`, `copy`).
        info = Field(alias=parameter.name, title=parameter.name)
        has_default = parameter.default is not parameter.empty
        default = parameter.default if has_default else ...
        fields[f"p{len(fields)}"] = (Annotated[hints[parameter.name], info], default)
    return fields


def _list_faults(error: ValidationError) -> str:
    faults: list[str] = []
    for details in error.errors(include_url=False)[:5]:
        place = ".".join(map(str, details["loc"])) or "arguments"
        faults.append(f"{place}: {details['msg']}")
    return "; ".join(faults)


def _cut(text: str) -> str:
    return truncate_counted(text, _LONGEST, "more characters were left out")


def _tool_error(name: str, what: str, fix: str) -> GraphError:
    where = f"tool '{name}'"
    return GraphError(where, [Problem("TOOL", where, what, fix)], where)
