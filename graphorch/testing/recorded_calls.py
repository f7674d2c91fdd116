"""Find the recorded answer to a request, or say in what the request differs from recorded ones.

Rules of this file:
1. Compared is what a model reads: the messages, the names of the tools, and the requested output;
   not the name of the model, its limits, or the ids of tool calls.
2. The n-th equal request gets the n-th recorded answer; where several nodes made equal ones, those
   of the same path come first.
3. The same secrets are taken out of a request as were taken out of the record.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from graphorch.testing.recorded_run import RecordedExchange, RecordedMessage, RecordedRun
from graphorch.text import clean, plural

if TYPE_CHECKING:
    from graphorch.models.messages import Message, Request

_AROUND = 40  # characters that a message shows on both sides of a difference


class Playback:
    """The exchanges of a recorded run that were not played yet."""

    def __init__(self, run: RecordedRun) -> None:
        self._run = run
        self._left: list[RecordedExchange] = list(run.exchanges)

    def __str__(self) -> str:
        return f"recorded run '{self._run.run_id}'"

    def take(self, request: Request) -> RecordedExchange | None:
        """Return the next recorded exchange for a request; None if there is none."""
        asked = self._describe(request)
        equal = [exchange for exchange in self._left if _is_equal(exchange, asked)]
        if not equal:
            return None
        of_path = [exchange for exchange in equal if exchange.path == asked.path]
        taken = (of_path or equal)[0]
        # By identity: equal exchanges may be equal in all.
        self._left = [exchange for exchange in self._left if exchange is not taken]
        return taken

    def leaves_open(self, request: Request) -> bool:
        """Return whether a request is of a node that made no call in the recorded run.

        It may have been cancelled before it could: nothing is recorded of that.
        """
        path = request.metadata.get("path", "")
        if any(exchange.path == path for exchange in self._run.exchanges):
            return False
        return self._run.has_node(path)

    def list_left(self) -> list[str]:
        """Return the paths of the exchanges that were not played.

        A cancelled one need not be: whether it is made at all is a matter of time.
        """
        return [exchange.path for exchange in self._left if not exchange.is_cancelled]

    def explain(self, request: Request) -> str:
        """Return why a request has no answer, as the rest of a sentence about it."""
        asked, exchanges = self._describe(request), self._run.exchanges
        equal = [exchange for exchange in exchanges if _is_equal(exchange, asked)]
        if equal:
            times = "once" if len(equal) == 1 else f"{len(equal)} times"
            return f"was made {times} in the {self}, and is made once more"
        held = f"is not in the {self}, which holds {plural(len(exchanges), 'call')}"
        if not exchanges:
            return held
        if self.leaves_open(request):
            return f"{held}, and none of '{asked.path}'"
        left = {id(exchange) for exchange in self._left}

        def measure(number: int) -> tuple[object, ...]:
            exchange = exchanges[number]
            # Of equally near ones, the next that is still to come.
            return (*_measure_nearness(exchange, asked), id(exchange) in left)

        number = max(range(len(exchanges)), key=measure)
        nearest = exchanges[number]
        difference = _find_difference(nearest, asked)
        return f"{held}. The nearest is its call {number + 1}, of '{nearest.path}': {difference}"

    def _describe(self, request: Request) -> RecordedExchange:
        """Return a request as a record would hold it."""
        return RecordedExchange(
            request.metadata.get("path", ""),
            tuple(self._describe_message(message) for message in request.messages),
            tuple(clean(tool.name) for tool in request.tools),
            None if request.schema is None else request.schema.__name__,
        )

    def _describe_message(self, message: Message) -> RecordedMessage:
        calls = tuple((clean(call.name), self._hide(call.arguments)) for call in message.tool_calls)
        return RecordedMessage(message.role, self._hide(message.content), calls)

    def _hide(self, text: str) -> str:
        redaction = self._run.redaction
        return clean(text) if redaction is None else redaction.text(clean(text))


def _is_equal(recorded: RecordedExchange, asked: RecordedExchange) -> bool:
    if (recorded.tools, recorded.output) != (asked.tools, asked.output):
        return False
    if len(recorded.messages) != len(asked.messages):
        return False
    pairs = zip(recorded.messages, asked.messages, strict=True)
    return all(first is None or first == other for first, other in pairs)


def _measure_nearness(recorded: RecordedExchange, asked: RecordedExchange) -> tuple[int, ...]:
    """Return how much of a request a recorded one has: first the node, then the beginning."""
    number, position = _find_first_difference(recorded, asked)
    is_of_node = recorded.path == asked.path
    has_output = recorded.output == asked.output
    return (is_of_node, has_output, number, position)


def _find_first_difference(recorded: RecordedExchange, asked: RecordedExchange) -> tuple[int, int]:
    """Return the number of equal messages at the beginning, and of equal characters after them."""
    for number, (first, other) in enumerate(zip_longest(recorded.messages, asked.messages)):
        is_left_out = number < len(recorded.messages) and first is None
        if first == other or (is_left_out and other is not None):
            continue
        if first is None or other is None or first.role != other.role:
            return number, 0
        return number, _count_equal(first.content, other.content)
    return len(asked.messages), 0


def _count_equal(first: str, other: str) -> int:
    shorter = min(len(first), len(other))
    return next((at for at in range(shorter) if first[at] != other[at]), shorter)


def _find_difference(recorded: RecordedExchange, asked: RecordedExchange) -> str:
    """Return the first difference between two requests, in words."""
    number, position = _find_first_difference(recorded, asked)
    if number == len(asked.messages) == len(recorded.messages):
        if recorded.tools != asked.tools:
            return f"it offered {_list(recorded.tools)}, and this one offers {_list(asked.tools)}"
        return f"it wanted {recorded.output or 'text'}, and this one {asked.output or 'text'}"
    if number == len(recorded.messages):
        messages = plural(number, "message")
        return f"it had {messages}, and this one {len(asked.messages)}"
    if number == len(asked.messages):
        messages = plural(len(recorded.messages), "message")
        return f"it had {messages}, and this one {number}"
    first, other = recorded.messages[number], asked.messages[number]
    assert first is not None
    assert other is not None
    where = f"its message {number + 1}"
    if first.role != other.role:
        return f"{where} was of the {first.role}, and is of the {other.role}"
    if first.content == other.content:
        return f"{where} called {_list_calls(first)}, and calls {_list_calls(other)}"
    before, after = _cut_around(first.content, position), _cut_around(other.content, position)
    at = f"{where} ({first.role}) differs at character {position + 1}"
    return f"{at}: recorded {before!r}, asked {after!r}"


def _cut_around(text: str, position: int) -> str:
    begin, end = max(0, position - _AROUND), position + _AROUND
    return f"{'…' if begin else ''}{text[begin:end]}{'…' if end < len(text) else ''}"


def _list(names: tuple[str, ...]) -> str:
    return f"the tools {', '.join(names)}" if names else "no tools"


def _list_calls(message: RecordedMessage) -> str:
    calls = [f"{name} {arguments}" for name, arguments in message.calls]
    return ", ".join(calls) or "no tool"
