"""Tool calls that a prompt writes out, which is how the offline model calls tools.

Rules of this file:
1. A line `Steps:` of the system or the user is followed by calls, one a line: the name of a tool
   that is offered, and its arguments as a JSON object. The first other line ends them.
2. Calls on lines below each other are one round, and a blank line begins the next one.
3. What a tool or the model itself said is never read for calls.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import cast

from graphorch.models.messages import Message, Request, ToolCall

_HEADING = re.compile(r"\s*steps:\s*", re.IGNORECASE)
_CALL = re.compile(r"\s*(?:[-*] )?([A-Za-z0-9_-]{1,64}) +(\{.*\})\s*")
_ID = re.compile(r"step_(\d+)_\d+")
_AUTHORS = ("system", "user")


def find_next_calls(request: Request) -> tuple[ToolCall, ...]:
    """Return the calls of the first round that was not made yet; none if all were made."""
    if not request.may_call_tools:
        return ()
    names = {tool.name for tool in request.tools}
    rounds: list[list[tuple[str, str]]] = []
    for message in request.messages:
        if message.role in _AUTHORS:
            rounds += _read_rounds(message.content, names)
    number = _count_rounds(request.messages) + 1
    if number > len(rounds):
        return ()
    calls: list[ToolCall] = []
    for index, (name, arguments) in enumerate(rounds[number - 1]):
        calls.append(ToolCall(id=f"step_{number}_{index}", name=name, arguments=arguments))
    return tuple(calls)


def remove_calls(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Return a conversation without the calls that it writes out, if it has answers of tools."""
    made = {call.name for message in messages for call in message.tool_calls}
    if not made:
        return tuple(messages)
    return tuple(
        replace(message, content=_remove_lines(message.content, made))
        if message.role in _AUTHORS
        else message
        for message in messages
    )


def _count_rounds(messages: Sequence[Message]) -> int:
    """Return the number of the last round that was made, also if earlier ones were left out."""
    numbers = [0]
    for message in messages:
        for call in message.tool_calls:
            if match := _ID.fullmatch(call.id):
                numbers.append(int(match.group(1)))
    return max(numbers)


def _read_rounds(text: str, names: Collection[str]) -> Iterator[list[tuple[str, str]]]:
    """Yield the rounds that a text writes out, each as names and arguments."""
    round_: list[tuple[str, str]] = []
    for line, call in _read_lines(text, names):
        if call is not None:
            round_.append(call)
        elif round_ and not line.strip():
            yield round_
            round_ = []
    if round_:
        yield round_


def _remove_lines(text: str, names: Collection[str]) -> str:
    kept = [
        line
        for line, call in _read_lines(text, names)
        if call is None and not _HEADING.fullmatch(line)
    ]
    return "\n".join(kept)


def _read_lines(text: str, names: Collection[str]) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """Yield each line of a text, with the call that it writes out if it does."""
    is_within = False
    for line in text.split("\n"):
        call = _read_call(line, names) if is_within else None
        yield line, call
        if line.strip() and call is None:
            is_within = _HEADING.fullmatch(line) is not None


def _read_call(line: str, names: Collection[str]) -> tuple[str, str] | None:
    match = _CALL.fullmatch(line)
    if match is None or match.group(1) not in names:
        return None
    try:
        arguments = cast("object", json.loads(match.group(2)))
    except (ValueError, RecursionError):
        return None
    return match.groups() if isinstance(arguments, dict) else None  # pyright: ignore[reportReturnType]
