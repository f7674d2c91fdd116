"""Learnt speed of a target: time to the first token, and time per token.

The two are learnt apart, so that a long answer is not held against the target that gave it. After
Finagle's Peak-EWMA (`PeakEwma.scala`): a worse value counts at once, a better one in part. There
the memory fades with time; here it fades with every observation, because model calls are few and
far between, and a policy asks each target again every few calls instead of letting an idle one
look better and better. Inputs of different sizes are kept apart, since a long prompt takes longer
to read.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

from graphorch.errors import InputError
from graphorch.models.messages import Request, Response

# Borders between the size classes, in characters: about 1,000, 8,000 and 32,000 tokens.
_BUCKETS = (4_000, 32_000, 128_000)
# Seconds to the first token and per token. Only their proportion matters: it splits the time of
# an answer that was not streamed.
_TYPICAL_FIRST, _TYPICAL_PER_TOKEN = 0.5, 0.02
_EXPECTED_OUTPUT = 256  # tokens of an answer as long as nothing is known
_LENGTH_WEIGHT = 0.1  # part of a new answer length in the mean
_FAILURE_WEIGHT = 4  # calls in flight that one failure counts like


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRules:
    """Rules for learning from latencies and for choosing by them.

    `keep`: part of an old value that a better one leaves of it. `explore`: number of calls after
    which a target that was not asked goes first, since only asking shows that it has become faster.
    `near`: targets within this share of the best are equal. `expected_output`: tokens of an answer
    as long as none has been seen.

    Raises `InputError` for values out of range.
    """

    keep: float = 0.2
    explore: int = 8
    near: float = 0.1
    expected_output: float = _EXPECTED_OUTPUT

    def __post_init__(self) -> None:
        is_valid = 0 <= self.keep < 1 and self.explore >= 2 and self.near >= 0
        if not is_valid or self.expected_output <= 0:
            raise InputError(
                f"{self} makes no sense: 0 ≤ keep < 1, explore ≥ 2, near ≥ 0 and "
                "expected_output above 0."
            )


def choose_bucket(request: Request) -> int:
    """Return the size class of the input, from 0."""
    size = sum(len(message.content) for message in request.messages)
    return bisect_right(_BUCKETS, size)


class OutputLengthModel:
    """Learnt length of answers, by the size of their input.

    One for all targets of a policy, so that they are compared on equal work.
    """

    def __init__(self, rules: LatencyRules) -> None:
        self._mean = [rules.expected_output] * (len(_BUCKETS) + 1)

    def predict(self, request: Request) -> float:
        """Return the output tokens to expect, never more than the request allows."""
        expected = self._mean[choose_bucket(request)]
        return expected if request.max_tokens is None else min(expected, request.max_tokens)

    def observe(self, request: Request, response: Response) -> None:
        """Learn from an answer."""
        bucket = choose_bucket(request)
        difference = response.usage.output_tokens - self._mean[bucket]
        self._mean[bucket] += _LENGTH_WEIGHT * difference


class LatencyModel:
    """Learnt speed of one target, and its calls in flight (`pending`, counted by the caller)."""

    def __init__(self, rules: LatencyRules | None = None) -> None:
        self._keep = (rules or LatencyRules()).keep
        # By size class: seconds to the first token, and seconds per token.
        self._known: dict[int, tuple[float, float]] = {}
        self._failures_in_a_row = 0
        self.pending = 0

    def predict_first_token(self, request: Request) -> float | None:
        """Return the seconds to the first token; None if this size of input is not known."""
        known = self._known.get(choose_bucket(request))
        return None if known is None else known[0]

    def predict(self, request: Request, output_tokens: float) -> float | None:
        """Return the seconds that an answer of that length takes; None if not known."""
        known = self._known.get(choose_bucket(request))
        if known is None:
            return None
        first, per_token = known
        return first + output_tokens * per_token

    def predict_wait(self, request: Request, *, is_streamed: bool) -> float | None:
        """Return the seconds to the first text of a streamed answer, or to the whole of another.

        None if this size of input is not known.
        """
        if is_streamed:
            return self.predict_first_token(request)
        return self.predict(request, request.max_tokens or _EXPECTED_OUTPUT)

    @property
    def load_factor(self) -> int:
        """Factor on a prediction: calls in flight with this one, and more after failures."""
        return 1 + self.pending + _FAILURE_WEIGHT * self._failures_in_a_row

    def observe(self, request: Request, response: Response) -> None:
        """Learn from an answer."""
        self._failures_in_a_row = 0
        bucket = choose_bucket(request)
        known = self._known.get(bucket)
        if known is None:
            self._known[bucket] = _split_time(response, _TYPICAL_FIRST, _TYPICAL_PER_TOKEN)
            return
        first, per_token = _split_time(response, *known)
        self._known[bucket] = self._blend(known[0], first), self._blend(known[1], per_token)

    def observe_failure(self) -> None:
        """Count a failure. Its time is ignored: fast failures say nothing about fast answers."""
        self._failures_in_a_row += 1

    def _blend(self, old: float, new: float) -> float:
        if new > old:
            return new
        return old * self._keep + new * (1 - self._keep)


def _split_time(response: Response, first: float, per_token: float) -> tuple[float, float]:
    """Return the seconds to the first token of an answer, and its seconds per token.

    An answer that was not streamed has only the sum of both, which is split in the proportion of
    `first` and `per_token`.
    """
    tokens = max(1, response.usage.output_tokens)
    if response.first_token_seconds is not None:
        rest = max(0.0, response.seconds - response.first_token_seconds)
        return response.first_token_seconds, rest / tokens
    factor = response.seconds / max(1e-9, first + tokens * per_token)
    return first * factor, per_token * factor
