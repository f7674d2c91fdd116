"""Read an answer from its bytes: one that comes whole, or the events of a stream.

Both are read in the same way, because some endpoints stream what was asked for whole, and others
send whole what was to be streamed.

Rules of this file:
1. What reports an error is never taken for an answer, and its words are kept.
2. One choice is asked for, so only the first one counts: that with index 0, else the lowest.
3. Events of other kinds are left out; if no answer comes, the error quotes them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, cast

from pydantic import ValidationError

from graphorch.models.openai.error_bodies import USUAL_EVENTS, find_error
from graphorch.models.openai.errors import Malformed, Reported
from graphorch.models.openai.event_stream import Event, EventDecoder
from graphorch.models.openai.surrogates import HalfJoiner, join_halves
from graphorch.models.openai.tool_calls import ToolCallAssembler
from graphorch.models.openai.usage import Bill
from graphorch.models.openai.wire import (
    Choice,
    Completion,
    ToolCallDelta,
    describe_mismatch,
    find_field,
    read_index,
    read_text,
)

_LONGEST_QUOTE = 4_000


@dataclass(slots=True)
class PartialAnswer:
    """An answer, as far as it has arrived; a stream fills it piece by piece.

    `left_out` are the types of parts of its content that are not text.
    """

    calls: ToolCallAssembler = field(default_factory=ToolCallAssembler)
    refusals: list[str] = field(default_factory=list[str])
    finish_reason: str = ""
    left_out: set[str] = field(default_factory=set[str])
    _pieces: list[str] = field(default_factory=list[str])
    _halves: HalfJoiner = field(default_factory=HalfJoiner)

    @property
    def text(self) -> str:
        """Text of the answer, with the thoughts that some endpoints leave in it."""
        return "".join(self._pieces)

    @property
    def refusal(self) -> str:
        """Words in which the model declined, or ""."""
        return "".join(self.refusals)

    def add(self, choice: Choice) -> str:
        """Add a choice, or a piece of one, and return its text.

        Raises `ValueError` for half a character.
        """
        self.finish_reason = choice.finish_reason or self.finish_reason
        message = choice.message if choice.delta is None else choice.delta
        if message is None:
            return ""
        text, refusal, others = read_text(message.content)
        self.left_out.update(others)
        if refusal or message.refusal:
            self.refusals.append(refusal or message.refusal or "")
        calls = message.tool_calls or []
        if message.function_call is not None:
            calls = [*calls, ToolCallDelta(function=message.function_call)]
        if calls and choice.delta is None:
            self.calls.add_whole(calls)
        elif calls:
            self.calls.add_pieces(calls)
        piece = self._halves.add(text) if text else ""
        if piece:
            self._pieces.append(piece)
        return piece

    def finish(self) -> None:
        """End the answer. Raises `ValueError` for half a character."""
        self._halves.finish()
        self.refusals = [join_halves(self.refusal)]


class AnswerReader:
    """Reads one answer; feed it the bytes as they come, then call `end` and `finish`.

    Every method raises `Reported` for an error that the endpoint reports, `Malformed` for what is
    not the protocol, and `ValueError` for broken text.
    """

    def __init__(self, *, is_whole: bool) -> None:
        self._is_whole = is_whole
        self._decoder = EventDecoder()
        self._answers: dict[int, PartialAnswer] = {}
        self._unread = ""  # the last event of another kind
        self.bill = Bill()
        self.model = ""
        self.has_begun = False  # text, a thought or a tool call has come
        self.events = 0  # number of events with choices

    @property
    def answer(self) -> PartialAnswer:
        """The first choice, as far as it has arrived."""
        return self._answers[min(self._answers)] if self._answers else PartialAnswer()

    @property
    def is_finished(self) -> bool:
        """Whether the finish reason has come."""
        first = self._answers.get(0)
        return first is not None and bool(first.finish_reason)

    @property
    def is_done(self) -> bool:
        """Whether the endpoint said that nothing follows."""
        return self._decoder.is_done

    def feed(self, data: bytes) -> str:
        """Add bytes, and return the text that they bring."""
        return "".join([self._take(event) for event in self._decoder.feed(data)])

    def end(self) -> str:
        """Add what the end of the bytes completes, and return the text that it brings."""
        return "".join([self._take(event) for event in self._decoder.finish()])

    def finish(self) -> str:
        """Check the whole answer, and return its text if none of it was returned before."""
        if not self._answers:
            self._raise_if_not_protocol()
        if self._decoder.has_lost_text:
            raise Malformed("its stream holds a choice outside of an event")
        answer = self.answer
        answer.finish()
        return answer.text if self._answers and 0 not in self._answers else ""

    def _take(self, event: Event) -> str:
        """Add an event, and return its text. The cases, the usual one first."""
        value = event.value
        if event.is_json and isinstance(value, dict):
            fields = cast("dict[str, Any]", value)
            error = find_error(fields, name=event.name, is_whole=self._is_whole)
            if error is not None:
                raise Reported(error)
            self._take_circumstances(fields)
            if fields.get("choices"):
                return self._take_choices(fields)
        elif (error := find_error(value or event.text, name=event.name)) is not None:
            raise Reported(error)
        elif event.name in USUAL_EVENTS:
            if event.is_json and value and not isinstance(value, str | int | float):
                raise self._mismatch(f"{type(value).__name__} instead of an object")
            if not event.is_json and event.text[0] in '{["':
                raise self._mismatch("")
        self._unread = event.text[:_LONGEST_QUOTE]
        return ""

    def _take_circumstances(self, fields: dict[str, Any]) -> None:
        """Note the usage and the model, which may come in any event."""
        if fields.get("usage") is not None:
            self.bill.add(fields["usage"])
        if fields.get("x_groq") is not None:
            self.bill.add(find_field(fields["x_groq"], "usage"))
        model = fields.get("model")
        if model and isinstance(model, str):
            self.model = model

    def _take_choices(self, fields: dict[str, Any]) -> str:
        try:
            completion = Completion.model_validate(fields)
        except ValidationError as error:
            mismatch = self._mismatch(describe_mismatch(error))
        else:
            return self._add_choices(completion.choices)
        raise mismatch

    def _add_choices(self, choices: list[Choice]) -> str:
        text = ""
        for position, choice in enumerate(choices):
            index = read_index(choice.index, position)
            answer = self._answers.get(index)
            if answer is None:
                answer = self._answers[index] = PartialAnswer()
            piece = answer.add(choice)
            if choice.usage is not None:
                self.bill.add(choice.usage)
            if index == 0:
                text += piece
            self.has_begun = self.has_begun or bool(piece) or _brings_more(choice)
        self.events += 1
        return text

    def _raise_if_not_protocol(self) -> None:
        """Raise `Malformed` if something came that is no answer."""
        words = self._unread or self._decoder.stray.strip()
        if re.match(r"<(!doctype|html|head|body|\?xml)", words, re.IGNORECASE):
            raise Malformed("what came is not JSON but a web page")
        if self._is_whole and not words:
            raise Malformed("what came is not JSON: it is empty")
        if words:
            raise Malformed(f"what came is not a chat completion: it has no choices: {words}")

    def _mismatch(self, what: str) -> Malformed:
        """Return the error for an event that is broken JSON (no `what`), or of another shape."""
        if self._is_whole:
            return Malformed(
                f"what came is JSON but not a chat completion ({what})"
                if what
                else "what came is not JSON: it breaks off, or is broken"
            )
        holds = f"not a chat completion chunk ({what})" if what else "broken JSON"
        return Malformed(f"its stream holds an event that is {holds}")


def _brings_more(choice: Choice) -> bool:
    """Return whether a choice brings a thought, a refusal or a tool call."""
    message = choice.delta or choice.message
    if message is None:
        return False
    thinks = message.reasoning_content or message.reasoning
    return bool(thinks or message.tool_calls or message.function_call or message.refusal)
