"""Put tool calls together from their pieces, whatever the endpoint makes of index and id.

The protocol gives each call an index, and each piece of it the same one. Beside that, endpoints
send parallel calls that all have index 0 (Gemini's), calls without an index, the id in every piece,
another id in every piece, or none. So:

1. An index that is new begins a call.
2. A piece without a name continues a call: the last one of its index, else the one of its id, else
   the last one.
3. A piece with a name begins a call if the call that it would continue has another name or another
   id, or complete arguments while the piece brings more.
4. A piece that brings all of a call once more, with its id, is that call: it must not run twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from itertools import count

from graphorch.models.messages import ToolCall
from graphorch.models.openai.surrogates import join_halves
from graphorch.models.openai.wire import ToolCallDelta, read_arguments, read_id, read_index


@dataclass(slots=True)
class _PartialCall:
    """A tool call, as far as it has arrived."""

    place: int
    id: str
    name: str
    arguments: list[str] = field(default_factory=list[str])


class ToolCallAssembler:
    """Collects the pieces of the tool calls of one answer."""

    def __init__(self) -> None:
        self._calls: list[_PartialCall] = []

    def __bool__(self) -> bool:
        return bool(self._calls)

    @property
    def has_unnamed(self) -> bool:
        """Whether a call does not say which tool it is for."""
        return any(not call.name.strip() for call in self._calls)

    def add_whole(self, deltas: Sequence[ToolCallDelta]) -> None:
        """Add the calls of a whole message: each entry is one call."""
        for delta in deltas:
            self._begin(len(self._calls), delta)

    def add_pieces(self, deltas: Sequence[ToolCallDelta]) -> None:
        """Add the pieces of an event of a stream."""
        for delta in deltas:
            call = self._find_continued(delta)
            if call is not None and _repeats(call, delta):
                continue
            if call is None or _begins_another(call, delta):
                last = self._calls[-1].place if self._calls else -1
                default = last + 1 if call is None else call.place
                self._begin(read_index(delta.index, default), delta)
            else:
                self._continue(call, delta)

    def build_calls(self, earlier: Collection[str]) -> tuple[ToolCall, ...]:
        """Return the calls in the order of their places.

        A call without an id, or with one that an `earlier` call of the conversation has, gets a
        number for one. Raises `ValueError` for half a character.
        """
        calls: list[ToolCall] = []
        taken = set(earlier)
        for call in sorted(self._calls, key=lambda call: call.place):
            identifier = join_halves(call.id)
            if not identifier or identifier in taken:
                numbers = count(len(taken))
                identifier = next(free for n in numbers if (free := f"call_{n}") not in taken)
            taken.add(identifier)
            calls.append(
                ToolCall(
                    id=identifier,
                    name=join_halves(call.name).strip(),
                    arguments=join_halves("".join(call.arguments)),
                )
            )
        return tuple(calls)

    def _begin(self, place: int, delta: ToolCallDelta) -> None:
        call = _PartialCall(place, "", "")
        self._calls.append(call)
        self._continue(call, delta)

    def _continue(self, call: _PartialCall, delta: ToolCallDelta) -> None:
        call.id = call.id or read_id(delta.id)
        if delta.function is not None:
            call.name = call.name or delta.function.name or ""
            call.arguments.append(read_arguments(delta.function.arguments))

    def _find_continued(self, delta: ToolCallDelta) -> _PartialCall | None:
        """Return the call that a piece continues if it begins none."""
        place, identifier = read_index(delta.index, -1), read_id(delta.id)
        if place >= 0:
            return self._find_last(lambda call: call.place == place)
        by_id = self._find_last(lambda call: call.id == identifier) if identifier else None
        return by_id or self._find_last(lambda call: True)

    def _find_last(self, matches: Callable[[_PartialCall], bool]) -> _PartialCall | None:
        return next((call for call in reversed(self._calls) if matches(call)), None)


def _begins_another(call: _PartialCall, delta: ToolCallDelta) -> bool:
    """Return whether a piece begins a call of its own."""
    name = "" if delta.function is None else delta.function.name or ""
    if not name or not call.name:
        return False
    identifier = read_id(delta.id)
    if name != call.name:
        return True
    if identifier and call.id and identifier != call.id:
        return True
    arguments = "" if delta.function is None else read_arguments(delta.function.arguments)
    return bool(arguments.strip()) and _is_complete(call.arguments)


def _repeats(call: _PartialCall, delta: ToolCallDelta) -> bool:
    """Return whether a piece is all of a complete call once more."""
    if delta.function is None or not call.id or read_id(delta.id) != call.id:
        return False
    arguments = read_arguments(delta.function.arguments)
    is_equal = delta.function.name == call.name and arguments == "".join(call.arguments)
    return is_equal and _is_complete(call.arguments)


def _is_complete(pieces: Sequence[str]) -> bool:
    # looked at first, since joining all pieces at each of them would cost quadratic time
    if not pieces or not pieces[-1].rstrip().endswith("}"):
        return False
    try:
        json.loads("".join(pieces))
    except (ValueError, RecursionError):
        return False
    return True
