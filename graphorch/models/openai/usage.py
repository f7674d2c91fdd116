"""Read what an answer cost, field by field: one odd number spoils only itself.

A number counts only if it can be. What cannot be, or was not reported, is estimated and marked as
such, and a budget then counts the worst case instead.

Names and places in use (2026-11): OpenAI's; Anthropic's, whose input leaves out what was cached;
Moonshot's place in the choice and Groq's in `x_groq`, which `answer.py` looks up; DeepSeek's
`prompt_cache_hit_tokens`. Endpoints of Gemini and xAI leave thoughts out of `completion_tokens` but
not out of `total_tokens`, and charge for them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

from graphorch.models.messages import Request, Usage, estimate_usage
from graphorch.models.openai.wire import find_field

_INPUT = ("prompt_tokens", "input_tokens", "inputTokens", "promptTokens")
_OUTPUT = ("completion_tokens", "output_tokens", "outputTokens", "completionTokens")
_TOTAL = ("total_tokens", "totalTokens")
_INPUT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens")
# Anthropic's names: these two are not part of its `input_tokens`.
_CACHE_READ = "cache_read_input_tokens"
_CACHE_WRITTEN = "cache_creation_input_tokens"

# No call has more tokens than this.
_MOST_TOKENS = 10**9


@dataclass(slots=True)
class Bill:
    """What an endpoint reported, as far as it can be; None for the rest.

    A stream may report it in several events: the last sensible number of each kind counts.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    usd: float | None = None

    def add(self, usage: object) -> None:
        """Add a `usage` object of an answer; anything else is ignored."""
        if not isinstance(usage, dict):
            return
        usage = cast("dict[str, object]", usage)
        outside = _count(usage, (_CACHE_READ,)) or 0
        outside += _count(usage, (_CACHE_WRITTEN,)) or 0
        input_tokens = _count(usage, _INPUT)
        is_anthropic = "prompt_tokens" not in usage and "input_tokens" in usage
        if is_anthropic and input_tokens is not None:
            input_tokens += outside
        cached = _count(usage, (*_CACHED, _CACHE_READ))
        for name in _INPUT_DETAILS:
            cached = _later(cached, _count(find_field(usage, name), _CACHED))
        for name in _OUTPUT_DETAILS:
            reasoning = _count(find_field(usage, name), ("reasoning_tokens",))
            self.reasoning_tokens = _later(self.reasoning_tokens, reasoning)
        self.input_tokens = _later(self.input_tokens, input_tokens)
        self.output_tokens = _later(self.output_tokens, _count(usage, _OUTPUT))
        self.total_tokens = _later(self.total_tokens, _count(usage, _TOTAL))
        self.cached_tokens = _later(self.cached_tokens, cached)
        usd = _read_usd(find_field(usage, "cost"))
        self.usd = usd if usd or self.usd is None else self.usd

    def read_input(self) -> int | None:
        """Return the tokens of the prompt; None if they are not known."""
        # every prompt has tokens
        if self.input_tokens:
            return self.input_tokens
        if self.total_tokens and self.output_tokens and self.total_tokens > self.output_tokens:
            return self.total_tokens - self.output_tokens
        return None

    def read_output(self, *, is_empty: bool) -> int | None:
        """Return the tokens of the answer, thoughts included; None if they are not known.

        Only an empty answer can have none.
        """
        output = self.output_tokens
        reasoning = self.reasoning_tokens or 0
        # 1. Thoughts are a part of the output, unless there are more of them.
        if output is not None and reasoning > output:
            output += reasoning
        # 2. What the total holds beside the prompt is output too.
        if self.total_tokens and self.input_tokens:
            output = max(output or 0, self.total_tokens - self.input_tokens)
        return output if output or is_empty else None

    def read_usd(self) -> float | None:
        """Return the dollars; None if they are not known.

        Nothing for nothing is what an endpoint reports that did not count.
        """
        if not self.usd and not self.input_tokens and not self.output_tokens:
            return None
        return self.usd


def build_usage(bill: Bill, request: Request, text: str) -> tuple[Usage | None, str]:
    """Return the usage of an answer with this text, and a note on what of it is estimated.

    The usage is None if the endpoint reported no number of tokens that can be.
    """
    input_tokens = bill.read_input()
    output_tokens = bill.read_output(is_empty=not text)
    known = (input_tokens is not None, output_tokens is not None)
    if known == (False, False) or (input_tokens is None and not output_tokens):
        return None, (
            "the endpoint reported no usage: the tokens are estimated from the length of the texts"
        )
    guess = estimate_usage(request, text)
    if input_tokens is None:
        input_tokens = guess.input_tokens
    if output_tokens is None:
        output_tokens = guess.output_tokens
    # more than the whole input cannot come from the cache
    cached = min(bill.cached_tokens or 0, input_tokens)
    usage = Usage(input_tokens, output_tokens, cached, is_estimated=not all(known))
    return usage, _MISSING[known]


# The note on a usage, by whether the tokens of the input and of the output are known.
_MISSING = {
    (True, True): "",
    (False, True): "the endpoint reported no usable number of input tokens: it is estimated",
    (True, False): "the endpoint reported no usable number of output tokens: it is estimated",
}


def _count(fields: object, names: tuple[str, ...]) -> int | None:
    """Return the first number of tokens under these names that can be, or None."""
    for name in names:
        number = _read_number(find_field(fields, name))
        if number is not None and number.is_integer() and number <= _MOST_TOKENS:
            return int(number)
    return None


def _read_usd(cost: object) -> float | None:
    """Return the dollars of a cost: a number, text, or an object with a total."""
    total = find_field(cost, "total_cost")
    return _read_number(cost if total is None else total)


def _read_number(value: object) -> float | None:
    """Return a number that is finite and not negative; it may have come as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 <= number < math.inf else None


def _later(known: int | None, reported: int | None) -> int | None:
    """Return the later of two reports; a zero takes back nothing."""
    return reported if reported or known is None else known
