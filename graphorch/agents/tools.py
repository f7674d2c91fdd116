"""Tools: plain typed functions that a model may call before it answers.

Rules of this file:
- a tool is called with arguments that fit its signature, or not at all; a model that gets them wrong is told so, and so it is if a tool
  does not exist or raises: it can only repair what it knows of;
- the number of rounds is bounded, and the time of the request covers the tools too;
- what a tool returns goes back as text, cut at a length that fits into a prompt.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import time
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    create_model,
)

from graphorch.errors import GraphError, LimitReached, ModelError, Problem, did_you_mean
from graphorch.models.client import ModelClient, OnText
from graphorch.models.errors import TimedOut
from graphorch.models.messages import Message, Request, Response, ToolCall, ToolSpec
from graphorch.models.structured_output import total_usage

ROUNDS = 8
"""How often a model may ask for tools before it has to answer."""

_LONGEST = 20_000  # characters of a result
_JSON: TypeAdapter[Any] = TypeAdapter(Any)


class TooManyToolRounds(ModelError):
    """A model went on asking for tools instead of answering."""


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A function, and what a model is told about it. Callable like the function itself."""

    fn: Callable[..., Any]
    spec: ToolSpec
    arguments: type[BaseModel]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.fn(*args, **kwargs)

    async def answer(self, written: str) -> str:
        """What the function says to arguments that a model wrote, or what is wrong with them; never raises for a fault of either."""
        try:
            given = self.arguments.model_validate_json(written or "{}")
        except ValidationError as error:
            wrong = "; ".join(
                f"{'.'.join(map(str, details['loc'])) or 'arguments'}: {details['msg']}"
                for details in error.errors(include_url=False)[:5]
            )
            return f"Error: the arguments of '{self.spec.name}' do not fit: {wrong}. Call it again with arguments that fit its schema."
        values = {
            str(info.alias): getattr(given, name) for name, info in type(given).model_fields.items()
        }
        try:
            result = (
                await self.fn(**values)
                if inspect.iscoroutinefunction(self.fn)
                else await asyncio.to_thread(self.fn, **values)
            )
        except LimitReached:
            raise  # a matter of the run, which no model can repair
        except Exception as error:  # the border to the user's code, as around a node
            return _cut(f"Error: '{self.spec.name}' raised {type(error).__name__}: {error}")
        return _cut(_as_text(result))


class ToolClient:
    """A `ModelClient` that calls tools for the model within, until it answers."""

    def __init__(
        self,
        client: ModelClient,
        tools: Sequence[Callable[..., Any]],
        *,
        rounds: int = ROUNDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._tools = {tool.spec.name: tool for tool in build_tools(tools)}
        self._rounds = rounds
        self._clock = clock

    def __repr__(self) -> str:
        return f"ToolClient({self._client!r}, {', '.join(self._tools)})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """The answer; its usage, price, attempts and seconds are those of all rounds together.

        Raises `TooManyToolRounds`, `TimedOut` if the request's time ends while a tool runs, and what the client within raises.
        """
        began = self._clock()
        asked = replace(request, tools=tuple(tool.spec for tool in self._tools.values()))
        responses: list[Response] = []
        while True:
            response = await self._client.complete(
                replace(asked, timeout=self._left(request, began)), on_text
            )
            responses.append(response)
            if not response.tool_calls:
                return _together(responses, self._clock() - began)
            if len(responses) > self._rounds:
                raise self._endless(response)
            said = Message(role="assistant", content=response.text, tool_calls=response.tool_calls)
            results = await self._results(request, response.tool_calls, began)
            asked = replace(asked, messages=(*asked.messages, said, *results))

    def _endless(self, response: Response) -> TooManyToolRounds:
        called = ", ".join(sorted({call.name for call in response.tool_calls}))
        return TooManyToolRounds(
            f"Model '{response.model}' asked for tools ({called}) {self._rounds + 1} times without answering; {self._rounds} are allowed. "
            "Say in the instructions when to stop, give it tools that answer more at once, or use another model.",
            model=response.model,
        )

    async def _results(
        self, request: Request, calls: Sequence[ToolCall], began: float
    ) -> list[Message]:
        """The answers to the calls, in their order and one after the other, so that tools need not be safe to run side by side."""
        results: list[Message] = []
        scope = asyncio.timeout(self._left(request, began))
        try:
            async with scope:
                for call in calls:
                    results.append(
                        Message(role="tool", tool_call_id=call.id, content=await self._result(call))
                    )
        except TimeoutError:
            if not scope.expired():
                raise
        else:
            return results
        name = calls[len(results)].name
        message = f"The tool '{name}' did not return within the {request.timeout:g} s of the request. Give the call more time, or make the tool faster."
        raise TimedOut(message, model=request.model, limit="total")

    async def _result(self, call: ToolCall) -> str:
        tool = self._tools.get(call.name)
        if tool is None:
            return f"Error: there is no tool '{call.name}'. {did_you_mean(call.name, self._tools)}"
        return await tool.answer(call.arguments)

    def _left(self, request: Request, began: float) -> float | None:
        return (
            None if request.timeout is None else max(0.0, request.timeout - (self._clock() - began))
        )


def build_tools(
    functions: Sequence[Callable[..., Any]], local: Mapping[str, Any] | None = None
) -> tuple[Tool, ...]:
    """The tools that functions make; what is one already stays. Raises `GraphError` with code `TOOL`, all problems at once."""
    tools: list[Tool] = []
    problems: list[Problem] = []
    for fn in functions:
        try:
            tools.append(fn if isinstance(fn, Tool) else _tool_of(fn, local or {}))
        except GraphError as error:
            problems += error.problems
    names = [tool.spec.name for tool in tools]
    problems += [
        Problem(
            "TOOL",
            f"tool '{name}'",
            f"{names.count(name)} tools have this name",
            "rename one: a model calls them by it",
        )
        for name in dict.fromkeys(names)
        if names.count(name) > 1
    ]
    if problems:
        raise GraphError(problems[0].where, problems)
    return tuple(tools)


def _tool_of(fn: Callable[..., Any], local: Mapping[str, Any]) -> Tool:
    name = getattr(fn, "__name__", "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise _wrong(
            name,
            f"'{name}' is no name that a model can call",
            "give a function defined with `def`, with letters of ASCII, digits and '_'",
        )
    try:
        hints = typing.get_type_hints(fn, localns=dict(local), include_extras=True)
    except NameError as error:
        raise _wrong(
            name,
            f"an annotation names '{error.name}', which is not defined",
            "import it, or define it before the tool",
        ) from None
    fields: dict[str, Any] = {}
    for parameter in inspect.signature(fn).parameters.values():
        if parameter.kind in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
            parameter.POSITIONAL_ONLY,
        ):
            raise _wrong(
                name,
                f"parameter '{parameter.name}' cannot be given by name",
                "use plain parameters, each with a type",
            )
        if parameter.name not in hints:
            raise _wrong(
                name,
                f"parameter '{parameter.name}' has no annotation",
                "annotate it: the model is told its type",
            )
        # An alias, so that a parameter may be called like a method of pydantic's (`json`, `copy`).
        hint = Annotated[hints[parameter.name], Field(alias=parameter.name, title=parameter.name)]
        fields[f"p{len(fields)}"] = (
            hint,
            ... if parameter.default is parameter.empty else parameter.default,
        )
    try:
        arguments = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
        parameters = arguments.model_json_schema()
    except (PydanticUserError, NameError) as error:
        raise _wrong(
            name,
            f"its parameters have no JSON schema ({type(error).__name__})",
            "use types that JSON can express",
        ) from None
    return Tool(
        fn,
        ToolSpec(name=name, description=inspect.getdoc(fn) or "", parameters=parameters),
        arguments,
    )


def _as_text(result: object) -> str:
    return (
        result
        if isinstance(result, str)
        else _JSON.dump_json(result, fallback=str).decode("utf-8", "replace")
    )


def _cut(text: str) -> str:
    return (
        text
        if len(text) <= _LONGEST
        else f"{text[:_LONGEST]}… ({len(text) - _LONGEST:,} more characters were left out)"
    )


def _together(responses: Sequence[Response], seconds: float) -> Response:
    """The last response with what all of them took."""
    last = responses[-1]
    if len(responses) == 1:
        return last
    first = responses[0].first_token_seconds
    called = [call.name for response in responses for call in response.tool_calls]
    unknown = any(response.usd_source == "none" for response in responses)
    return replace(
        last,
        usage=total_usage(responses),
        usd=sum(response.usd for response in responses),
        usd_source="none" if unknown else last.usd_source,
        attempts=sum(response.attempts for response in responses),
        seconds=seconds,
        first_token_seconds=first,
        note="; ".join(text for text in (last.note, f"tools: {', '.join(called)}") if text),
    )


def _wrong(name: str, what: str, fix: str) -> GraphError:
    return GraphError(f"tool '{name}'", [Problem("TOOL", f"tool '{name}'", what, fix)])
