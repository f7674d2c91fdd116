"""What a model sees of the results of its tools: all of a short text, the ends of a long one.

Rules of this file:
1. A result that is too long for the prompt is kept whole. The model sees its head, its tail and its
   size, and reads the rest by range with a tool that is offered from then on.
2. How much of a result is shown depends on the number of calls in its round and on the limit of the
   prompt alone, so the same results make the same prompt.
"""

from __future__ import annotations

from collections.abc import Collection

from pydantic import BaseModel, ConfigDict, Field

from graphorch.agents.tool_arguments import FunctionArguments
from graphorch.models.messages import ToolSpec
from graphorch.models.token_estimate import estimate_tokens
from graphorch.text import escape_surrogates

_LONGEST = 20_000  # characters of one result
_LONGEST_ROUND = 60_000  # characters of the results of one round together
_SHORTEST = 200  # characters of a result that are shown at least
_READER = "read_result"
_EMPTY = "(The result is an empty text.)"  # some endpoints refuse a message without text


class ReadResult(BaseModel):
    """Arguments of the tool that reads a range of a result."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="the id that stands in the shortened result")
    start: int = Field(default=0, ge=0, description="the first character, counted from 0")
    length: int = Field(default=_LONGEST, ge=1, description="the number of characters")


READ_RANGE = FunctionArguments(ReadResult, ReadResult.model_json_schema(), False, None)
"""Reads the arguments of the tool that reads a range of a result."""


class ShownResults:
    """Results of one loop, whole, and what the model sees of them."""

    def __init__(self, taken_names: Collection[str], *, keep_tokens: int | None = None) -> None:
        self._whole: dict[str, str] = {}
        self._keep_tokens = keep_tokens
        self.reader_name = _choose_name(taken_names)

    @property
    def has_long(self) -> bool:
        """Whether a result was too long to be shown whole."""
        return bool(self._whole)

    @property
    def reader(self) -> ToolSpec | None:
        """The tool that reads a range of a result, if there is one that needs it."""
        if not self._whole:
            return None
        return ToolSpec(
            name=self.reader_name,
            description="Read a part of a result that was too long to be shown whole.",
            parameters=READ_RANGE.schema,
        )

    def show(self, result_id: str, text: str, calls: int) -> str:
        """Return what the model sees of a result; `calls` is the number of calls of its round."""
        text = escape_surrogates(text)
        if not text.strip():
            return _EMPTY
        longest = min(self._limit_length(calls), len(text))
        if len(text) <= _SHORTEST or (len(text) == longest and self._fits(text, calls)):
            return text
        self._whole[result_id] = text
        shown = self._shorten(result_id, text, longest)  # of nothing, if only tokens are too many
        while longest > _SHORTEST and not self._fits(shown, calls):
            longest = max(_SHORTEST, longest // 2)
            shown = self._shorten(result_id, text, longest)
        return shown

    def read(self, asked: ReadResult, calls: int) -> str:
        """Return a range of a result, or what is wrong with the request for it."""
        whole = self._whole.get(asked.id)
        if whole is None:
            known = ", ".join(self._whole)
            return f"Error: there is no shortened result '{asked.id}'. There are: {known}."
        if asked.start >= len(whole):
            return f"Error: the result '{asked.id}' has {len(whole):,} characters, from 0 on."
        length = min(asked.length, self._limit_length(calls))
        part = whole[asked.start : asked.start + length]
        while len(part) > _SHORTEST and not self._fits(part, calls):
            part = part[: max(_SHORTEST, len(part) // 2)]
        end = asked.start + len(part)
        head = f"Characters {asked.start:,} to {end - 1:,} of {len(whole):,} of '{asked.id}':"
        return f"{head}\n{part}"

    def _limit_length(self, calls: int) -> int:
        return max(_SHORTEST, min(_LONGEST, _LONGEST_ROUND // max(calls, 1)))

    def _fits(self, text: str, calls: int) -> bool:
        """Return whether the results of a round, if all are such, leave half of the prompt free."""
        if self._keep_tokens is None:
            return True
        return estimate_tokens(text) * calls <= self._keep_tokens / 2

    def _shorten(self, result_id: str, text: str, longest: int) -> str:
        head = longest * 3 // 4
        tail = longest - head
        left_out = len(text) - head - tail
        return (
            f"{text[:head]}\n"
            f"[… {left_out:,} of the {len(text):,} characters of this result are left out here. "
            f"{self.reader_name}(id={result_id!r}, start={head}) reads on from here; the end of "
            f"the result follows …]\n{text[len(text) - tail :]}"
        )


def _choose_name(taken: Collection[str]) -> str:
    name, number = _READER, 1
    while name in taken:
        number += 1
        name = f"{_READER}_{number}"
    return name
