"""Learnt speed of a target: time to the first token, time per token, and what load adds to both.

Theory of operation. The time of an answer is taken as `(first + tokens * per_token) * (1 + slope *
load)`, where load is the number of calls in flight at the target. The last answers are kept in a
window, and the three numbers are fitted to it by least squares, in turn: the shape from the times
without the load, and the load from the times without the shape. Rules of this file:
1. The mean of the whole window counts, so that a target that is slow now and then is known for it.
2. A target that has changed is noticed by answers in a row that lie outside of the window; then the
   window begins anew with these. One of them may be chance.
3. What the window cannot tell stays as it was: the proportion of the first token if all answers
   were equally long, and the slope of the load if it was always the same.
4. Inputs of different sizes have windows of their own, since a long prompt takes longer to read.
5. A first answer that took longer than the second is forgotten: it had to connect, and its model
   may have had to be loaded.
6. Calls that are still in flight although they should have ended count for what they have taken so
   far: the slow answers of a target come after its quick ones.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from graphorch.errors import InputError
from graphorch.models.messages import Request, Response

# Borders between the size classes, in characters: about 1,000, 8,000 and 32,000 tokens.
_BUCKETS = (4_000, 32_000, 128_000)
# Tokens that take as long as the first one does, as long as nothing is known: 0.5 s and 0.02 s.
_TYPICAL_PROPORTION = 25.0
_EXPECTED_OUTPUT = 256  # tokens of an answer as long as nothing is known
_LENGTH_WEIGHT = 0.1  # part of a new answer length in the mean
_FAILURE_WEIGHT = 0.1  # part of a new failure, or answer, in the share of failures
_FAILURE_SECONDS_WEIGHT = 0.3
_WINDOW = 100  # answers
_FITS_PER_WINDOW = 12
_MOST_KINDS = 1_000  # of requests whose answer length is remembered
_LEAST_FOR_CHANGE = 3  # answers in a row
_CHANGE = 1.25  # times the slow, or the fast, answers of the window
_TAIL = 0.1  # part of the window that counts as its slow, and as its fast, answers
_STRAGGLING = 0.75  # mean of the quick answers as a part of that of all, with stragglers among them
_LOAD_PRIOR = 1.0  # the load may double the time per mean load, as far as one expects


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRules:
    """Rules for choosing by latency.

    `aim`: what is to be short, the whole answer or the time to its first token. `explore`: number
    of calls after which a target that was not asked goes first, since only asking shows that it has
    become faster; one that is slower by more than `effort` is asked more rarely, so that looking
    for a faster target costs at most that part of the time. `near`: targets within this share of
    the best are equal. `expected_output`: tokens of an answer as long as none has been seen.

    Raises `InputError` for values out of range.
    """

    aim: Literal["answer", "first token"] = "answer"
    explore: int = 8
    effort: float = 0.06
    near: float = 0.02
    expected_output: float = _EXPECTED_OUTPUT

    def __post_init__(self) -> None:
        is_valid = self.explore >= 2 and 0 < self.effort <= 1 and 0 <= self.near < 1
        if not is_valid or not 0 < self.expected_output < float("inf"):
            raise InputError(
                f"{self} makes no sense: explore ≥ 2, 0 < effort ≤ 1, 0 ≤ near < 1 and "
                "expected_output above 0."
            )
        if self.aim not in ("answer", "first token"):
            raise InputError(f"aim={self.aim!r}: it is 'answer' or 'first token'.")


def choose_bucket(request: Request) -> int:
    """Return the size class of the input, from 0."""
    size = 0
    for message in request.messages:
        size += len(message.content)
    return bisect_right(_BUCKETS, size)


class OutputLengthModel:
    """Learnt length of answers, by the node that asks, the size of the input and the limit.

    One for all targets of a policy, so that they are compared on equal work.
    """

    def __init__(self, rules: LatencyRules) -> None:
        self._mean = rules.expected_output
        self._means: dict[tuple[str, int, int], float] = {}

    def predict(self, request: Request) -> float:
        """Return the output tokens to expect, never more than the request allows."""
        expected = self._means.get(_find_kind(request), self._mean)
        return expected if request.max_tokens is None else min(expected, request.max_tokens)

    def observe(self, request: Request, response: Response) -> None:
        """Learn from an answer."""
        kind, tokens = _find_kind(request), response.usage.output_tokens
        known = self._means.pop(kind, tokens)
        self._means[kind] = known + _LENGTH_WEIGHT * (tokens - known)
        self._mean += _LENGTH_WEIGHT * (tokens - self._mean)
        if len(self._means) > _MOST_KINDS:
            del self._means[next(iter(self._means))]


def _find_kind(request: Request) -> tuple[str, int, int]:
    """Return what an answer's length depends on, as far as a request shows it."""
    limit = -1 if request.max_tokens is None else request.max_tokens.bit_length()
    return request.metadata.get("node", ""), choose_bucket(request), limit


@dataclass(frozen=True, slots=True)
class _Sample:
    """One answer: its tokens, its times, and the calls that were in flight meanwhile."""

    tokens: int
    seconds: float
    first: float | None
    load: float


class _Window:
    """The last answers to inputs of one size, and the numbers that fit them."""

    __slots__ = (
        "_new",
        "_samples",
        "_unfitted",
        "first",
        "mean_seconds",
        "odd",
        "per_token",
        "quick_part",
        "slope",
        "slow_seconds",
    )

    def __init__(self) -> None:
        self._new: list[_Sample] = []  # answers that nobody has asked about yet
        self._samples: list[_Sample] = []
        self._unfitted = 0  # answers since the numbers were fitted
        self.first: float = 0.0
        self.per_token: float = 0.0
        self.slope: float = 0.0
        self.mean_seconds: float = 0.0
        self.slow_seconds: float = 0.0
        """Seconds that nine of ten answers stay below."""
        self.quick_part: float = 1.0
        """Mean of those nine, as a part of the mean of all."""
        self.odd: int = 0
        """Answers in a row that lay outside of the window: above 0 too slow, below 0 too fast."""

    def __len__(self) -> int:
        return len(self._samples) + len(self._new)

    def add(self, sample: _Sample) -> None:
        """Keep an answer until a prediction needs it: most policies never ask for one."""
        self._new.append(sample)
        if len(self._new) > 2 * _WINDOW:
            del self._new[:_WINDOW]

    def absorb(self) -> None:
        """Learn from the answers that are new."""
        if self._new:
            new, self._new = self._new, []
            for sample in new:
                self._absorb(sample)
        self._fit()

    def _absorb(self, sample: _Sample) -> None:
        """Learn from an answer, and begin anew if the target has changed."""
        if self._samples:
            self._look_for_change(sample)
        if len(self._samples) == 1 and self.odd < 0:
            # What happens once, such as connecting, was part of the first answer alone.
            self._samples.clear()
            self._unfitted = self.odd = 0
        self._samples.append(sample)
        if abs(self.odd) >= _LEAST_FOR_CHANGE:
            del self._samples[: -abs(self.odd)]
            self.odd = 0
            self._unfitted = len(self._samples)
        elif len(self._samples) > _WINDOW:
            del self._samples[0]
        self._unfitted += 1

    def predict(self, tokens: float, load: float) -> float:
        """Return the seconds of an answer of that length under that load."""
        return (self.first + tokens * self.per_token) * (1 + self.slope * load)

    def _look_for_change(self, sample: _Sample) -> None:
        """Count the answers in a row that are slower, or faster, than nearly all of the window."""
        self._fit()
        expected = self.predict(sample.tokens, sample.load)
        # The window is looked through only for an answer that is far from its mean.
        if expected / _CHANGE <= sample.seconds <= expected * _CHANGE:
            self.odd = 0
            return
        earlier = self._samples[: len(self._samples) - abs(self.odd)]
        ratios = sorted(self._compare(item) for item in earlier)
        tail = int(len(ratios) * _TAIL)
        ratio = self._compare(sample)
        if ratio > ratios[-1 - tail] * _CHANGE:
            self.odd = max(0, self.odd) + 1
        elif ratio < ratios[tail] / _CHANGE:
            self.odd = min(0, self.odd) - 1
        else:
            self.odd = 0

    def _compare(self, sample: _Sample) -> float:
        return sample.seconds / max(1e-9, self.predict(sample.tokens, sample.load))

    def _fit(self) -> None:
        """Fit the numbers if part of the window is new; a few answers among many change little."""
        if self._unfitted * _FITS_PER_WINDOW >= len(self._samples):
            self._unfitted = 0
            self._fit_shape()
            self._fit_slope()
            self._find_tail()

    def _find_tail(self) -> None:
        """Find what most answers took, without those that took unusually long."""
        seconds = sorted([sample.seconds for sample in self._samples])
        quick = seconds[: len(seconds) - int(len(seconds) * _TAIL)]
        self.slow_seconds = quick[-1] * _CHANGE
        self.mean_seconds = sum(seconds) / len(seconds)
        mean = max(self.mean_seconds, 1e-9)
        self.quick_part = sum(quick) / len(quick) / mean

    def _fit_shape(self) -> None:
        """Fit the first token and the time per token to the times without the load."""
        # 1. Sums of all answers, and of those whose first token was seen.
        count = tokens_sum = seconds_sum = tokens_squared = products = seconds_squared = 0.0
        streamed = streamed_tokens = firsts = rests = 0.0
        for sample in self._samples:
            scale = 1 + self.slope * sample.load
            seconds = sample.seconds / scale
            count += 1
            tokens_sum += sample.tokens
            seconds_sum += seconds
            tokens_squared += sample.tokens * sample.tokens
            products += sample.tokens * seconds
            seconds_squared += seconds * seconds
            if sample.first is not None:
                streamed += 1
                streamed_tokens += sample.tokens
                firsts += sample.first / scale
                rests += seconds - sample.first / scale
        tokens, seconds = tokens_sum / count, seconds_sum / count
        # 2. Where the first token was seen, it says how the time is divided.
        if streamed:
            first, per_token = firsts / streamed, rests / max(1.0, streamed_tokens)
            factor = seconds / max(1e-9, first + per_token * tokens)
            self.first, self.per_token = first * factor, per_token * factor
            return
        # 3. Else the slope does, as far as the lengths differ by more than the noise.
        tokens_variance = tokens_squared / count - tokens * tokens
        covariance = products / count - tokens * seconds
        usual = seconds / (_TYPICAL_PROPORTION + tokens)
        per_token = usual
        if tokens_variance > 1e-9:
            fitted = covariance / tokens_variance
            noise = max(0.0, seconds_squared / count - seconds**2 - fitted * covariance)
            signal = count * tokens_variance * usual * usual
            weight = signal / (signal + noise) if signal + noise > 0 else 0.0
            per_token = weight * fitted + (1 - weight) * usual
        # 4. Neither part is negative.
        most = seconds / tokens if tokens > 0 else 0.0
        self.per_token = min(max(per_token, 0.0), most)
        self.first = seconds - self.per_token * tokens

    def _fit_slope(self) -> None:
        """Fit what load adds to the times without the shape."""
        count = len(self._samples)
        load_sum = ratio_sum = load_squared = products = ratio_squared = 0.0
        for sample in self._samples:
            shape = self.first + sample.tokens * self.per_token
            ratio = sample.seconds / shape if shape > 0 else 1.0
            load_sum += sample.load
            ratio_sum += ratio
            load_squared += sample.load * sample.load
            products += sample.load * ratio
            ratio_squared += ratio * ratio
        load, ratio = load_sum / count, ratio_sum / count
        load_variance = load_squared / count - load * load
        if load_variance < 1e-9 or ratio <= 0:
            return
        covariance = products / count - load * ratio
        fitted = covariance / load_variance
        noise = max(0.0, ratio_squared / count - ratio * ratio - fitted * covariance)
        usual = _LOAD_PRIOR * ratio / max(1.0, load)
        signal = count * load_variance * usual * usual
        weight = signal / (signal + noise) if signal + noise > 0 else 0.0
        # The time without load is what the line gives there, and never below a tenth of the mean.
        unloaded = max(0.1 * ratio, ratio - fitted * load)
        slope = max(0.0, fitted / unloaded)
        self.slope = weight * slope + (1 - weight) * self.slope
        # The shape holds at the mean load: it is the times divided by the new slope.
        scale = ratio / (1 + self.slope * load)
        self.first *= scale
        self.per_token *= scale


@dataclass(frozen=True, slots=True)
class CallInFlight:
    """A call that has begun: its number among all, its time, and the calls in flight besides it."""

    number: int
    began: float
    load: int


class LatencyModel:
    """Learnt speed of one target, and its calls in flight.

    Each call is reported by `begin`, and then by `observe` or `observe_failure` if it says
    anything, and by `end` in any case.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._windows: dict[int, _Window] = {}
        self._in_flight: dict[int, CallInFlight] = {}
        self._begun = 0
        self.failure_share = 0.0
        """Part of the latest requests that failed, from 0 to 1."""
        self.failure_seconds = 0.0
        """Seconds until a request fails."""
        self._slowest = 0.0

    @property
    def pending(self) -> int:
        """Calls in flight."""
        return len(self._in_flight)

    def begin(self) -> CallInFlight:
        """Count a call that begins."""
        call = CallInFlight(self._begun, self._clock(), len(self._in_flight))
        self._in_flight[call.number] = call
        self._begun += 1
        return call

    def end(self, call: CallInFlight) -> None:
        """Count a call that has ended, however it did."""
        del self._in_flight[call.number]

    def count(self, request: Request) -> int:
        """Return how many answers to inputs of this size are known."""
        window = self._find_window(request)
        return 0 if window is None else len(window)

    def has_stragglers(self, request: Request) -> bool:
        """Return whether a few answers took much longer than most."""
        window = self._find_window(request)
        return window is not None and window.quick_part < _STRAGGLING

    def looks_changed(self, request: Request) -> bool:
        """Return whether the latest answers were faster than all others: asking again will tell."""
        window = self._find_window(request)
        return window is not None and window.odd < 0

    def predict_first_token(self, request: Request) -> float | None:
        """Return the seconds to the first token; None if this size of input is not known."""
        window = self._find_window(request)
        return None if window is None else window.predict(0, len(self._in_flight))

    def predict(self, request: Request, output_tokens: float) -> float | None:
        """Return the seconds that an answer of that length takes; None if not known."""
        window = self._find_window(request)
        if window is None:
            return None
        usual = window.predict(output_tokens, len(self._in_flight))
        if self._clock() - self._find_oldest() <= window.slow_seconds:
            return usual
        return max(usual, usual * window.quick_part + self._find_delay(window))

    def _find_window(self, request: Request) -> _Window | None:
        window = self._windows.get(choose_bucket(request))
        if window is not None:
            window.absorb()
        return window

    def _find_oldest(self) -> float:
        """Return when the oldest call in flight began."""
        for call in self._in_flight.values():
            return call.began
        return math.inf

    def _find_delay(self, window: _Window) -> float:
        """Return the seconds per call that the calls which are late already will take longer.

        A call that is late is expected to take as long again: the longer it has taken, the longer
        it will, since the slow answers of a target are of no typical length.
        """
        now, late, count, first = self._clock(), 0.0, 0, self._begun
        for call in self._in_flight.values():  # the oldest first
            age = now - call.began
            if age <= window.slow_seconds:
                break
            first = min(first, call.number)
            late += 2 * age - window.mean_seconds
            count += 1
        # Calls that began too late to be late say nothing yet.
        young = len(self._in_flight) - count
        return late / max(len(window), self._begun - first - young)

    def predict_wait(self, request: Request, *, is_streamed: bool) -> float | None:
        """Return the seconds to the first text of a streamed answer, or to the whole of another.

        None if this size of input is not known.
        """
        if is_streamed:
            return self.predict_first_token(request)
        return self.predict(request, request.max_tokens or _EXPECTED_OUTPUT)

    def is_surely_below(self, seconds: float) -> bool:
        """Return whether no answer has taken that long yet."""
        return self._slowest < seconds

    def observe(self, request: Request, response: Response, call: CallInFlight) -> None:
        """Learn from an answer and what it took, its wait for a turn included."""
        seconds = self._clock() - call.began
        first = response.first_token_seconds
        if first is not None:
            first += seconds - response.seconds
        # The load while the call ran: between that of its beginning and that of its end.
        load = (call.load + len(self._in_flight) - 1) / 2
        sample = _Sample(response.usage.output_tokens, seconds, first, load)
        bucket = choose_bucket(request)
        window = self._windows.get(bucket)
        if window is None:
            self._windows[bucket] = window = _Window()
        window.add(sample)
        if seconds > self._slowest:
            self._slowest = seconds
        self.failure_share *= 1 - _FAILURE_WEIGHT

    def observe_failure(self, call: CallInFlight) -> None:
        """Learn that a request failed; its time says nothing about that of answers."""
        seconds = self._clock() - call.began
        self.failure_seconds += (seconds - self.failure_seconds) * _FAILURE_SECONDS_WEIGHT
        self.failure_share += _FAILURE_WEIGHT * (1 - self.failure_share)
