"""Orders in which a policy asks its candidates.

Each order is a small value with two methods: rank the candidates, and learn from an answer.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from graphorch.errors import InputError
from graphorch.models.messages import Request, Response, Usage, estimate_input
from graphorch.models.policies.latency import LatencyRules, OutputLengthModel
from graphorch.models.policies.prompt_prefixes import PromptPrefixes
from graphorch.models.policies.target import Candidate

STICKY_KEY = "sticky_key"
"""Entry of `Request.metadata` that keeps calls with equal values at one target of `weighted`."""

_HASH_BYTES = 6  # 48 bits, which a float holds exactly
_COUNT_WEIGHT = 0.3  # part of a new observation of tokens
_LEAST_REPEATED = 0.1  # part of a prompt; less than a block is not cached anyway
_FEW = 3  # answers of a target; one of so few may be far from the usual
_SLOWEST_FIRST = 2.0  # times the best, as far as the first answer of a target is believed
_UNRELIABLE = 0.5  # share of failures above which a target is no better than the next one


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate in its place. `excluded` is why the order leaves it out, or empty."""

    candidate: Candidate
    score: float | None
    excluded: str = ""


class Ordering(Protocol):
    """Order of candidates for a request."""

    @property
    def kind(self) -> str:
        """Word for the order in decisions and files."""
        ...

    def find_exclusion(self, place: int) -> str:
        """Return why the candidate at a place of the list is never asked, or ""."""
        ...

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        """Return every candidate, the first to ask first."""
        ...

    def observe(self, request: Request, candidate: Candidate, response: Response) -> None:
        """Learn from an answer of a candidate."""
        ...


class ListedOrder:
    """Order of the list: a fallback, or a cascade from cheap to dear. The score is the place."""

    def __init__(self, kind: str = "fallback") -> None:
        self.kind = kind

    def find_exclusion(self, place: int) -> str:
        """Return "": every candidate may be asked."""
        return ""

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        """Return the candidates as they are listed."""
        return [Ranked(candidate, float(place)) for place, candidate in enumerate(candidates)]

    def observe(self, request: Request, candidate: Candidate, response: Response) -> None:
        """Do nothing: a list has nothing to learn."""


class WeightedOrder:
    """Order at random by weight, or by a hash of the sticky key. The score is the draw.

    Calls with equal keys have an equal order, even if other candidates are added or removed.
    Each candidate draws -ln(u) / weight and the smallest is first: P. Efraimidis and P. Spirakis,
    "Weighted random sampling with a reservoir", 2006; with a hash: weighted rendezvous hashing.

    Raises `InputError` for weights out of range.
    """

    kind = "weighted"

    def __init__(self, weights: Sequence[float], random: Callable[[], float]) -> None:
        if any(not 0 <= weight < math.inf for weight in weights) or sum(weights) <= 0:
            raise InputError(
                f"Weights {list(weights)} make no sense: each is 0 or more, and at least one is "
                "above 0."
            )
        self._weights = tuple(weights)
        self._random = random

    def find_exclusion(self, place: int) -> str:
        """Return "its weight is 0" for a candidate without a weight."""
        return "" if self._weights[place] else "its weight is 0"

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        """Return the candidates in the order of their draws; a weight of 0 excludes."""
        key = request.metadata.get(STICKY_KEY)
        drawn: list[Ranked] = []
        for place, (weight, candidate) in enumerate(zip(self._weights, candidates, strict=True)):
            if weight == 0:
                drawn.append(Ranked(candidate, None, self.find_exclusion(place)))
                continue
            number = self._random() if key is None else _hash_to_unit(f"{key}\n{candidate.name}")
            drawn.append(Ranked(candidate, -math.log(1 - number) / weight))
        return sorted(drawn, key=_sort_key)

    def observe(self, request: Request, candidate: Candidate, response: Response) -> None:
        """Do nothing: weights are fixed."""


class CheapestFirst:
    """Order by the price of the request at hand, in dollars, which is the score.

    Candidates below the quality floor are left out; an unknown price comes last. What repeats an
    earlier prompt counts as cached, also at a candidate that has not been asked: it would be cached
    there after one call. How often it then is, and how many tokens a candidate makes of a text, is
    learnt from its answers.

    Raises `InputError` if the floor leaves no candidate.
    """

    kind = "cheapest"

    def __init__(
        self, qualities: Sequence[float], floor: float, clock: Callable[[], float]
    ) -> None:
        if qualities and max(qualities) < floor:
            raise InputError(
                f"The quality floor {floor:g} leaves no target: the best has {max(qualities):g}. "
                "Lower the floor."
            )
        self._qualities = tuple(qualities)
        self._floor = floor
        self._clock = clock
        self._lengths = OutputLengthModel(LatencyRules())
        self._prompts = PromptPrefixes(clock)
        self._counts: dict[str, _TokenCounts] = {}

    def find_exclusion(self, place: int) -> str:
        """Return why a candidate is below the quality floor, or ""."""
        quality = self._qualities[place]
        if quality >= self._floor:
            return ""
        return f"its quality {quality:g} is below the floor {self._floor:g}"

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        """Return the candidates by their price for an answer of the expected length."""
        output, repeated = self._lengths.predict(request), self._prompts.measure(request)
        priced: list[Ranked] = []
        for place, candidate in enumerate(candidates):
            usage = self._find_counts(candidate).predict(request, output, repeated)
            usd = candidate.estimate_usd(request, usage)
            priced.append(Ranked(candidate, usd, self.find_exclusion(place)))
        self._prompts.remember(request)
        return sorted(priced, key=_sort_key)

    def observe(self, request: Request, candidate: Candidate, response: Response) -> None:
        """Learn how long answers are, and how a candidate counts and caches prompts."""
        self._lengths.observe(request, response)
        self._find_counts(candidate).observe(request, response)

    def _find_counts(self, candidate: Candidate) -> _TokenCounts:
        return self._counts.setdefault(candidate.name, _TokenCounts(self._clock))


class _TokenCounts:
    """Input tokens of one candidate, learnt from what it reports."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._sent = PromptPrefixes(clock)
        # By tokens per character, since a tokenizer may be good at one script only: what was
        # reported as a part of the guess.
        self._scale: dict[int, float] = {}
        # Part of what was sent there before that its cache had; at first all, so that it is tried.
        self._cached = 1.0

    def predict(self, request: Request, output_tokens: float, repeated: float) -> Usage:
        """Return the expected usage, if such a part of the prompt repeats an earlier one."""
        guess = estimate_input(request)
        tokens = guess * self._scale.get(_find_density(request, guess), 1.0)
        cached = tokens * repeated * self._cached
        return Usage(round(tokens), round(output_tokens), round(cached))

    def observe(self, request: Request, response: Response) -> None:
        """Learn from the usage of an answer, if it was reported."""
        repeated = self._sent.measure(request)
        self._sent.remember(request)
        usage, guess = response.usage, estimate_input(request)
        if usage.is_estimated or not guess or not usage.input_tokens:
            return
        density, ratio = _find_density(request, guess), usage.input_tokens / guess
        known = self._scale.get(density, ratio)
        self._scale[density] = known + _COUNT_WEIGHT * (ratio - known)
        if repeated > _LEAST_REPEATED:
            hit = min(1.0, usage.cached_tokens / (usage.input_tokens * repeated))
            self._cached += _COUNT_WEIGHT * (hit - self._cached)


def _find_density(request: Request, tokens: int) -> int:
    """Return the tokens per character of a prompt as a class, which tells scripts apart."""
    characters = sum(len(message.content) for message in request.messages)
    return round(4 * tokens / max(1, characters))


class FastestFirst:
    """Order by the expected seconds of the call, which are the score.

    They are the predicted time of an answer under the present load, and for the share of requests
    that fail, the time until the failure and that of the best other candidate. One candidate may be
    moved to the front:
    1. one that nothing is known about, or whose latest answers were faster than all before;
    2. one that was not asked for long, so that a target that has become faster is noticed;
    3. one of those about as good as the best, so that calls do not herd to one of them.
    """

    kind = "fastest"

    def __init__(self, rules: LatencyRules, random: Callable[[], float]) -> None:
        self._rules = rules
        self._random = random
        self._lengths = OutputLengthModel(rules)
        self._calls = 0
        # By name, the number of the call at which the candidate was last in front.
        self._asked_at: dict[str, int] = {}

    def find_exclusion(self, place: int) -> str:
        """Return "": every candidate may be asked."""
        return ""

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        """Return the candidates by their expected time, with one of them moved to the front."""
        self._calls += 1
        timed = self._predict(request, candidates)
        timed.sort(key=lambda pair: pair[0])
        front = self._choose_front(request, timed)
        timed.insert(0, timed.pop(front))
        ranking = [ranked for _, ranked in timed]
        self._asked_at[ranking[0].candidate.name] = self._calls
        return ranking

    def observe(self, request: Request, candidate: Candidate, response: Response) -> None:
        """Learn how long answers are."""
        self._lengths.observe(request, response)

    def _predict(
        self, request: Request, candidates: Sequence[Candidate]
    ) -> list[tuple[float, Ranked]]:
        """Return each candidate with its expected seconds.

        One that nothing is known about has 0, so that it is asked first; while the calls that find
        out are in flight, it counts like the mean of the known ones for each of them.
        """
        if self._rules.aim == "answer":
            tokens = self._lengths.predict(request)
            times = [candidate.latency.predict(request, tokens) for candidate in candidates]
        else:
            times = [candidate.latency.predict_first_token(request) for candidate in candidates]
        known = [seconds for seconds in times if seconds is not None]
        typical = sum(known) / len(known) if known else 1.0
        timed: list[tuple[float, Ranked]] = []
        for seconds, candidate in zip(times, candidates, strict=True):
            model = candidate.latency
            if seconds is None:
                timed.append((typical * model.pending, Ranked(candidate, None)))
                continue
            others = [time for time in known if time is not seconds]
            instead = model.failure_seconds + min(others, default=seconds)
            expected = seconds + model.failure_share * (instead - seconds)
            if model.failure_share > _UNRELIABLE:
                expected = max(expected, instead)
            timed.append((expected, Ranked(candidate, expected)))
        return timed

    def _choose_front(self, request: Request, timed: Sequence[tuple[float, Ranked]]) -> int:
        """Return the index of the candidate to ask first, of candidates sorted by their time."""
        best, first = timed[0]
        # A candidate that nothing is known about is in front if nobody is finding out yet.
        if first.score is None and best == 0:
            return 0
        for place, (_, ranked) in enumerate(timed):
            model = ranked.candidate.latency
            if model.looks_changed(request) and not model.pending:
                return place
        if best > 0:
            overdue = [self._calls_overdue(request, pair, best, len(timed)) for pair in timed[1:]]
            if overdue and max(overdue) >= 0:
                return 1 + overdue.index(max(overdue))
        equals = sum(time <= best * (1 + self._rules.near) for time, _ in timed)
        return int(self._random() * equals)

    def _calls_overdue(
        self, request: Request, pair: tuple[float, Ranked], best: float, width: int
    ) -> float:
        """Return for how many calls a candidate should have been tried again; negative: not yet.

        What it takes longer than the best, spread over the calls between, stays within the effort.
        While little is known about a candidate, it may be twice as much; and a fourth if its
        answers may take very long, since few of them are enough to be felt. The only answer of a
        candidate may have been slow for a reason that is gone, so it is believed in part.
        """
        time, ranked = pair
        effort = self._rules.effort
        known = ranked.candidate.latency.count(request)
        if known == 1:
            time = min(time, best * _SLOWEST_FIRST)
        if known < _FEW:
            effort *= 2
        elif ranked.candidate.latency.has_stragglers(request):
            effort /= 4
        extra = (time / best - 1) * (width - 1) / effort
        interval = max(self._rules.explore * (width - 1), extra)
        return self._calls - self._asked_at.get(ranked.candidate.name, 0) - interval


def _sort_key(ranked: Ranked) -> tuple[bool, float]:
    """Sort excluded candidates last, and before them those without a score."""
    return bool(ranked.excluded), math.inf if ranked.score is None else ranked.score


def _hash_to_unit(text: str) -> float:
    """Return a number in [0, 1) that depends on the text only, equal in every process."""
    encoded = text.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(encoded, digest_size=_HASH_BYTES).digest()
    return int.from_bytes(digest) / 2 ** (8 * _HASH_BYTES)
