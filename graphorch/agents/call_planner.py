"""Plan the tool calls of a response: which ones run, with which arguments, and what others get.

Rules of this file:
1. Every call has an id that no other call of the conversation has.
2. A call that cannot or may not run is answered by a text that says why.
3. Planning a round counts nothing; its outcomes do. So a round can be planned again from a record.
4. A round runs a bounded number of calls. The model is told to make the others in the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Protocol

from graphorch.agents.shown_results import READ_RANGE, ReadResult, ShownResults
from graphorch.agents.tool_arguments import WrongArguments, write_canonical
from graphorch.agents.tool_guards import CallGuard, CallKey, CallResult, NoProgress, RoundGuard
from graphorch.errors import did_you_mean
from graphorch.models.messages import Message, Response, ToolCall, ToolSpec
from graphorch.text import escape_surrogates, truncate

MOST_CALLS: Final = 64  # of one response that run


class OfferedTool(Protocol):
    """What a conversation needs to know of a tool."""

    @property
    def spec(self) -> ToolSpec:
        """Description for the model."""
        ...

    @property
    def effect(self) -> str:
        """Effect class of the function: a "pure" one changes nothing."""
        ...

    @property
    def max_calls(self) -> int | None:
        """Most calls in one loop; None for any number."""
        ...

    def read_arguments(self, written: str) -> dict[str, Any]:
        """Return arguments as plain JSON, of what a model wrote. Raises `WrongArguments`."""
        ...


@dataclass(frozen=True, slots=True)
class PlannedCall:
    """One call of a round: `arguments` to run the tool with, or the `text` that answers it.

    `index` is its place in the round, from 0. `arguments` are validated, plain JSON with defaults
    filled in: what will run. They stand beside a text if the call fits but is not to run. `written`
    is what the model wrote, which tells a call from others whatever defaults a later version has.
    """

    index: int
    id: str
    name: str
    arguments: dict[str, Any] | None
    text: str | None
    written: str


@dataclass(frozen=True, slots=True)
class OpenRound:
    """The calls of a round whose outcomes are awaited, and the message that asked for them."""

    message: Message
    calls: tuple[PlannedCall, ...]
    _decisions: tuple[_Decision, ...]


@dataclass(frozen=True, slots=True)
class _Decision:
    """What identifies a call, the arguments if they fit, and the text if it does not run."""

    key: CallKey
    arguments: dict[str, Any] | None
    text: str | None
    is_pure: bool = True
    is_repetition: bool = False
    is_counted: bool = True


class CallPlanner:
    """Plans the rounds of one conversation, one after the other, and counts their outcomes."""

    def __init__(
        self, tools: Mapping[str, OfferedTool], shown: ShownResults, taken_ids: Iterable[str]
    ) -> None:
        self._tools = tools
        self._shown = shown
        self._ids = set(taken_ids)
        self._guard = CallGuard()
        self._rounds = 0

    def plan(self, response: Response) -> OpenRound:
        """Return the planned calls of a response. Raises `NoProgress`."""
        calls = self._name_calls(response.tool_calls)
        guard = self._guard.open_round()
        decisions = tuple(
            self._decide(call, len(calls), guard, response)
            if index < MOST_CALLS
            else _put_off(call)
            for index, call in enumerate(calls)
        )
        planned = tuple(
            PlannedCall(
                index, call.id, call.name, decision.arguments, decision.text, call.arguments
            )
            for index, (call, decision) in enumerate(zip(calls, decisions, strict=True))
        )
        text = escape_surrogates(response.text)
        return OpenRound(
            Message(role="assistant", content=text, tool_calls=calls), planned, decisions
        )

    def close(self, opened: OpenRound, texts: Sequence[str]) -> list[Message]:
        """Count the whole texts of a round, and return the messages that answer its calls."""
        self._rounds += 1
        shown = [
            self._shown.show(f"r{self._rounds}-{call.index}", text, len(texts))
            if call.text is None
            else escape_surrogates(text)
            for call, text in zip(opened.calls, texts, strict=True)
        ]
        self._count(opened, texts, shown)
        return [
            Message(role="tool", tool_call_id=call.id, content=text)
            for call, text in zip(opened.calls, shown, strict=True)
        ]

    def _count(self, opened: OpenRound, texts: Sequence[str], shown: Sequence[str]) -> None:
        results: list[CallResult] = []
        refused: list[CallKey] = []
        for decision, text, seen in zip(opened._decisions, texts, shown, strict=True):  # pyright: ignore[reportPrivateUsage]
            if decision.is_repetition:
                refused.append(decision.key)
            if decision.is_repetition or not decision.is_counted:
                continue
            ran = decision.text is None
            results.append(CallResult(decision.key, text, seen, ran, decision.is_pure))
        self._guard.close_round(results, refused)

    def _name_calls(self, calls: Sequence[ToolCall]) -> tuple[ToolCall, ...]:
        """Return calls with ids of their own, and texts that any request can hold."""
        named: list[ToolCall] = []
        for call in calls:
            identifier = escape_surrogates(call.id).strip()
            if not identifier or identifier in self._ids:
                numbers = count(len(self._ids))
                identifier = next(free for n in numbers if (free := f"call_{n}") not in self._ids)
            self._ids.add(identifier)
            name, written = escape_surrogates(call.name).strip(), escape_surrogates(call.arguments)
            named.append(ToolCall(id=identifier, name=name, arguments=written))
        return tuple(named)

    def _decide(
        self, call: ToolCall, calls: int, guard: RoundGuard, response: Response
    ) -> _Decision:
        """Decide whether a call runs.

        The cases, in this order: it goes on and on, it repeats, it does not fit, it reads a result,
        the tool ran often enough, it runs.
        """
        arguments, written = self._read(call)
        key = CallKey(call.name, call.arguments if arguments is None else written)
        if guard.is_endless(key):
            raise _build_no_progress(key, response)
        repetition = guard.find_repetition(key)
        if repetition is not None:
            return _Decision(key, arguments, repetition, is_repetition=True)
        if arguments is None:
            return _Decision(key, None, written)
        tool = self._tools.get(call.name)
        if tool is None:
            part = self._shown.read(ReadResult.model_validate(arguments), calls)
            return _Decision(key, arguments, part)
        excess = guard.find_excess(call.name, tool.max_calls)
        return _Decision(key, arguments, excess, is_pure=tool.effect == "pure")

    def _read(self, call: ToolCall) -> tuple[dict[str, Any] | None, str]:
        """Return the arguments of a call and their canonical text, or None and what is wrong."""
        tool = self._tools.get(call.name)
        known = list(self._tools)
        if self._shown.has_long:
            known.append(self._shown.reader_name)
        if call.name not in known:
            return None, f"Error: there is no tool '{call.name}'. {did_you_mean(call.name, known)}"
        try:
            if tool is None:
                arguments = READ_RANGE.read(call.name, call.arguments)
            else:
                arguments = tool.read_arguments(call.arguments)
            return arguments, write_canonical(arguments)
        except WrongArguments as error:
            return None, str(error)
        except ValueError as error:
            return None, (
                f"Error: the arguments of '{call.name}' are no JSON by the standard: "
                f"{escape_surrogates(str(error))}. Call it again with arguments that are."
            )


def _put_off(call: ToolCall) -> _Decision:
    """Return the decision about a call beyond those that one round runs."""
    text = (
        f"Not run: only the first {MOST_CALLS} calls of one answer are made. Make this call again "
        "in your next answer if you still need it."
    )
    return _Decision(CallKey(call.name, call.arguments), None, text, is_counted=False)


def _build_no_progress(key: CallKey, response: Response) -> NoProgress:
    return NoProgress(
        f"Model '{response.model}' calls the tool '{key.tool}' again and again with the arguments "
        f"{truncate(key.arguments, 200)}, although the result stays the same and it was told so. "
        "Say in the instructions what to do with such a result, have the tool return what helps "
        "the model on, or use another model.",
        model=response.model,
    )
