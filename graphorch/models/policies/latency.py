"""How long a target takes: the time to its first token and the time per token, learnt apart, so that a long answer is not held against it.

After Finagle's Peak-EWMA (`PeakEwma.scala`): a worse value counts at once, a better one in part. There the memory fades with time; here
it fades with every observation, because model calls are few and far between, and a policy asks each target again every few calls
instead of letting an idle one look better and better. Kept apart by the size of the input, since a long prompt takes longer to read.
"""

from __future__ import annotations

from dataclasses import dataclass

from graphorch.errors import InputError
from graphorch.models.messages import Request, Response

# Where one size of input ends and the next begins, in characters: about 1,000, 8,000 and 32,000 tokens.
_BUCKETS = (4_000, 32_000, 128_000)
# only their proportion matters: how a time that was not streamed is split
_TYPICAL_FIRST, _TYPICAL_PER_TOKEN = 0.5, 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRules:
    """`keep`: the part of an old value that a better one leaves of it. `explore`: every so many calls, a target that was not asked
    for long goes first, since only asking shows that it has become faster. `near`: targets within this share of the best are equal.

    `expected_output`: tokens of an answer as long as none has been seen.
    """

    keep: float = 0.2
    explore: int = 8
    near: float = 0.1
    expected_output: float = 256.0

    def __post_init__(self) -> None:
        if not 0 <= self.keep < 1 or self.explore < 2 or self.near < 0 or self.expected_output <= 0:
            raise InputError(
                f"{self} makes no sense: 0 ≤ keep < 1, explore ≥ 2, near ≥ 0 and expected_output above 0."
            )


def choose_bucket(request: Request) -> int:
    """The size class of the input."""
    size = sum(len(message.content) for message in request.messages)
    return sum(size >= edge for edge in _BUCKETS)


class OutputLengthModel:
    """How long answers are, by the size of their input: one for all targets of a policy, so that they are compared on the same job."""

    def __init__(self, rules: LatencyRules) -> None:
        self._mean = [rules.expected_output] * (len(_BUCKETS) + 1)

    def predict(self, request: Request) -> float:
        """Output tokens to expect; never more than the request allows."""
        expected = self._mean[choose_bucket(request)]
        return expected if request.max_tokens is None else min(expected, request.max_tokens)

    def observe(self, request: Request, response: Response) -> None:
        """Learn from an answer."""
        bucket = choose_bucket(request)
        self._mean[bucket] += 0.1 * (response.usage.output_tokens - self._mean[bucket])


class LatencyModel:
    """What is known about the speed of one target."""

    def __init__(self, rules: LatencyRules | None = None) -> None:
        self._keep = (rules or LatencyRules()).keep
        # by size of input: seconds to the first token, and per token
        self._known: dict[int, tuple[float, float]] = {}
        self._in_a_row = 0  # failures since the last answer
        self.pending = 0

    def predict_first_token(self, request: Request) -> float | None:
        """Seconds to the first token, or None if nothing is known for this size of input."""
        known = self._known.get(choose_bucket(request))
        return None if known is None else known[0]

    def predict(self, request: Request, output_tokens: float) -> float | None:
        """Seconds that an answer of that length takes, or None."""
        known = self._known.get(choose_bucket(request))
        return None if known is None else known[0] + output_tokens * known[1]

    @property
    def load_factor(self) -> int:
        """What a prediction is multiplied by: the calls on their way and this one, and more after failures."""
        return 1 + self.pending + 4 * self._in_a_row

    def observe(self, request: Request, response: Response) -> None:
        """Learn from an answer."""
        self._in_a_row = 0
        bucket = choose_bucket(request)
        known = self._known.get(bucket)
        first, per_token = _split(response, known or (_TYPICAL_FIRST, _TYPICAL_PER_TOKEN))
        if known is not None:
            first, per_token = self._blend(known[0], first), self._blend(known[1], per_token)
        self._known[bucket] = first, per_token

    def observe_failure(self) -> None:
        """It did not answer. How fast it failed says nothing about how fast it answers."""
        self._in_a_row += 1

    def _blend(self, old: float, new: float) -> float:
        return new if new > old else old * self._keep + new * (1 - self._keep)


def _split(response: Response, proportion: tuple[float, float]) -> tuple[float, float]:
    """The two times of an answer; one that was not streamed has only their sum, which is split in the proportion known so far."""
    tokens = max(1, response.usage.output_tokens)
    if response.first_token_seconds is not None:
        return response.first_token_seconds, max(
            0.0, response.seconds - response.first_token_seconds
        ) / tokens
    first, per_token = proportion
    factor = response.seconds / max(1e-9, first + tokens * per_token)
    return first * factor, per_token * factor
