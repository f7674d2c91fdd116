"""The conversation of one loop of tools, without input or output: what to ask, and what follows.

The caller makes the calls of the model and of the tools:

    while True:
        step = conversation.take(await ask(conversation.next_request()))
        if isinstance(step, Finished):
            return step
        if isinstance(step, Round):
            conversation.add_outcomes([await run(call) for call in step.calls])

Rules of this file:
1. Every call of a response gets exactly one answer message, in the order of the model, under an id
   that no other call of the conversation has.
2. A call that cannot or may not run is answered by a text that says why. It is planned like all
   others, so that the caller records it.
3. The schema of a structured output is not sent while tools are offered: strict endpoints would
   force JSON from the first character, and never call a tool. The schema stands in the instructions
   instead. An answer that fits is taken; otherwise the model is asked once more, with the schema
   and without tools, and once more if that does not fit either.
4. What is left out of a prompt is whole rounds, the oldest first: a call and its answers together.
5. Nothing here depends on time or chance: the same responses and outcomes make the same requests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Generic, TypeAlias, TypeVar

from pydantic import BaseModel

from graphorch.agents.call_planner import CallPlanner, OfferedTool, OpenRound, PlannedCall
from graphorch.agents.shown_results import ShownResults
from graphorch.agents.tool_guards import TooManyToolRounds
from graphorch.errors import InputError, InternalError
from graphorch.graph.options import is_count
from graphorch.models.json_answer import find_objects
from graphorch.models.json_schema import describe_schema
from graphorch.models.messages import (
    Message,
    Request,
    Response,
    ToolSpec,
    add_instruction,
    estimate_input,
)
from graphorch.models.structured_output import (
    AnswerProblem,
    accepts_any_text,
    build_invalid_answer,
    build_repair,
    find_text_field,
    read_value,
    sum_responses,
)
from graphorch.text import format_value, plural

M = TypeVar("M", bound=BaseModel)

_MOST_ATTEMPTS = 2  # at the answer that was asked for
_LEFT_OUT = "(Earlier calls of tools and their results are left out here.)"


@dataclass(frozen=True, slots=True)
class Round:
    """The calls that a model wants before it goes on, in its order; `number` counts from 1."""

    number: int
    calls: tuple[PlannedCall, ...]


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The answer does not fit, or not yet: `next_request` asks the model once more."""


@dataclass(frozen=True, slots=True)
class Finished(Generic[M]):
    """The end of a conversation: its responses, and the value if an output was asked for."""

    responses: tuple[Response, ...]
    value: M | None

    @property
    def response(self) -> Response:
        """The answer, with what all responses used, cost and took."""
        return sum_responses(self.responses)


Step: TypeAlias = Round | AskAgain | Finished[M]


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """How long the history of a loop of tools may become.

    `rounds` is how often the model may ask for tools before it has to answer. `keep_rounds` is how
    many of the last rounds a prompt holds, `keep_tokens` the size of a prompt, estimated, from
    which on older rounds are left out; the question and the last round are always in it. Raises
    `InputError` for a limit that is not a whole number from 1 on.
    """

    rounds: int
    keep_rounds: int | None = None
    keep_tokens: int | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            limit = getattr(self, item.name)
            if not is_count(limit) and (limit is not None or item.name == "rounds"):
                shown = format_value(limit)
                raise InputError(f"{item.name}={shown} is no limit. Give a whole number from 1 on.")


class ToolConversation(Generic[M]):
    """The messages of one loop of tools, and the decision about what follows each response."""

    def __init__(
        self,
        request: Request,
        tools: Mapping[str, OfferedTool],
        *,
        output: type[M] | None,
        limits: HistoryLimits,
    ) -> None:
        self._tools = tools
        self._output = output
        self._is_structured = output is not None and find_text_field(output) is None
        self._limits = limits
        self._request = self._prepare(request)
        self._shown = ShownResults(tools, keep_tokens=limits.keep_tokens)
        taken = [call.id for message in request.messages for call in message.tool_calls]
        self._planner = CallPlanner(tools, self._shown, taken)
        self._past: list[tuple[Message, ...]] = []  # a call and its answers together
        self._open: OpenRound | None = None
        self._responses: list[Response] = []
        self._must_answer = not tools
        self._offers_tools = bool(tools)
        self._attempts = 0  # at the answer that was asked for
        self._closing: tuple[Message, ...] = ()  # what follows the last round

    @property
    def responses(self) -> tuple[Response, ...]:
        """The responses so far."""
        return tuple(self._responses)

    @property
    def rounds_begun(self) -> int:
        """How many rounds of tools the model has asked for."""
        return len(self._past) + (self._open is not None)

    def next_request(self) -> Request:
        """Return what the model is asked next. Its timeout is that of the first request."""
        if self._open is not None:
            raise InternalError("the model cannot be asked before its calls are answered")
        tools = self._list_specs() if self._offers_tools else ()
        is_final = self._must_answer and self._is_structured
        request = replace(
            self._request,
            tools=tools,
            tool_choice="none" if tools and self._must_answer else "auto",
            schema=self._output if is_final else None,
        )
        return self._trim(request)

    def take(self, response: Response) -> Step[M]:
        """Return what follows a response of the model.

        Raises `TooManyToolRounds`, `NoProgress`, and `InvalidAnswer` if neither the answer nor its
        second attempt fits.
        """
        if self._open is not None:
            raise InternalError("a response came before the calls of the last one were answered")
        if response.tool_calls and self._must_answer:
            # The endpoint lets the model call tools that are there for the conversation's sake.
            self._offers_tools = False
            response = replace(response, tool_calls=())
        self._responses.append(response)
        if response.tool_calls:
            return self._open_round(response)
        if self._output is None:
            return Finished(self.responses, None)
        value, problems = read_value(response, self._output)
        if value is not None:
            return Finished(self.responses, value)
        return self._ask_again(response, problems, self._output)

    def add_outcomes(self, texts: Sequence[str]) -> None:
        """Add the answer of each call of the open round, in call order, and whole.

        A call that was not to run is answered by its text.
        """
        opened = self._open
        wanted = len(opened.calls) if opened is not None else 0
        if opened is None or len(texts) != wanted:
            raise InternalError(f"{plural(len(texts), 'outcome')} for {plural(wanted, 'call')}")
        self._past.append((opened.message, *self._planner.close(opened, texts)))
        self._open = None

    def _open_round(self, response: Response) -> Round:
        number = len(self._past) + 1
        if number > self._limits.rounds:
            raise _build_too_many_rounds(response, self._limits.rounds)
        self._open = self._planner.plan(response)
        return Round(number, self._open.calls)

    # ---- requests -----------------------------------------------------------------------------

    def _prepare(self, request: Request) -> Request:
        """Return the first request; beside tools, the schema of the answer stands in words."""
        if not self._is_structured or not self._tools or self._output is None:
            return request
        described = describe_schema(self._output)
        instruction = f"Call tools as long as you need them. After that: {described}"
        return replace(request, messages=add_instruction(request.messages, instruction))

    def _list_specs(self) -> tuple[ToolSpec, ...]:
        specs = tuple(tool.spec for tool in self._tools.values())
        reader = self._shown.reader
        return specs if reader is None else (*specs, reader)

    def _trim(self, request: Request) -> Request:
        """Return a request with as many of the last rounds as it may hold."""
        kept = len(self._past)
        if self._limits.keep_rounds is not None:
            kept = min(kept, self._limits.keep_rounds)
        trimmed = self._fill(request, kept)
        if self._limits.keep_tokens is None:
            return trimmed
        while kept > 1 and estimate_input(trimmed) > self._limits.keep_tokens:
            kept -= 1
            trimmed = self._fill(request, kept)
        return trimmed

    def _fill(self, request: Request, kept: int) -> Request:
        """Return a request with the last `kept` rounds."""
        first = len(self._past) - kept
        beginning = request.messages if first == 0 else _say_left_out(request.messages)
        rounds = [message for past in self._past[first:] for message in past]
        return replace(request, messages=(*beginning, *rounds, *self._closing))

    # ---- answers ------------------------------------------------------------------------------

    def _ask_again(
        self, response: Response, problems: Sequence[AnswerProblem], output: type[M]
    ) -> AskAgain:
        """Ask for the answer once more. Raises `InvalidAnswer` if it was asked for twice.

        What a model says before it was asked for an object is no attempt at one.
        """
        is_attempt = self._must_answer or not self._is_structured
        self._attempts += is_attempt
        if self._attempts == _MOST_ATTEMPTS:
            raise build_invalid_answer(self._responses, problems, output)
        if is_attempt or find_objects(response.text):
            request = replace(self._request, schema=output if self._is_structured else None)
            answer, asked = build_repair(request, response, problems, output).messages[-2:]
        else:
            answer = Message(role="assistant", content=response.text)
            form = f"the JSON object of {output.__name__} and nothing else"
            asked = Message(content=f"Give your answer as {form}.")
        if self._tools:
            asked = Message(content=f"Tools can no longer be called. {asked.content}")
        # Some endpoints refuse a message without text.
        self._closing += (answer, asked) if answer.content.strip() else (asked,)
        self._must_answer = True
        return AskAgain()


def most_calls(rounds: int, output: type[BaseModel] | None, *, has_tools: bool) -> int:
    """Return the most calls of the model in one conversation.

    Each round of tools is one, and so is the answer; beside tools, an object is asked for by one
    more. An answer that does not fit is asked for once more.
    """
    calls = rounds + 1 if has_tools else 1
    if output is None or accepts_any_text(output):
        return calls
    asks_for_object = has_tools and find_text_field(output) is None
    return calls + asks_for_object + (_MOST_ATTEMPTS - 1)


def _say_left_out(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return messages that say at their end that rounds are left out after them.

    Two messages of the user in a row would be refused by some endpoints.
    """
    last = messages[-1]
    if last.role != "user":
        return (*messages, Message(content=_LEFT_OUT))
    return (*messages[:-1], Message(content=f"{last.content}\n\n{_LEFT_OUT}"))


def _build_too_many_rounds(response: Response, rounds: int) -> TooManyToolRounds:
    names = ", ".join(sorted({call.name for call in response.tool_calls}))
    return TooManyToolRounds(
        f"Model '{response.model}' asked for tools ({names}) {rounds + 1} times without "
        f"answering; {rounds} are allowed. Say in the instructions when to stop, give it "
        "tools that answer more at once, or use another model.",
        model=response.model,
    )
