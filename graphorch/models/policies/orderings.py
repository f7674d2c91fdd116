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
from graphorch.models.messages import Request, Response
from graphorch.models.policies.latency import LatencyRules, OutputLengthModel
from graphorch.models.policies.target import Candidate

STICKY_KEY = "sticky_key"
"""Entry of `Request.metadata` that keeps calls with equal values at one target of `weighted`."""

_HASH_BYTES = 6  # 48 bits, which a float holds exactly
_MUCH_SLOWER = 4  # times the best; from there on a target is tried again less often


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

    def observe(self, request: Request, response: Response) -> None:
        """Learn from an answer."""
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

    def observe(self, request: Request, response: Response) -> None:
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

    def observe(self, request: Request, response: Response) -> None:
        """Do nothing: weights are fixed."""


class CheapestFirst:
    """Order by the price of the request at hand, in dollars, which is the score.

    Candidates below the quality floor are left out; an unknown price comes last.

    Raises `InputError` if the floor leaves no candidate.
    """

    kind = "cheapest"

    def __init__(self, qualities: Sequence[float], floor: float) -> None:
        if qualities and max(qualities) < floor:
            raise InputError(
                f"The quality floor {floor:g} leaves no target: the best has {max(qualities):g}. "
                "Lower the floor."
            )
        self._qualities = tuple(qualities)
        self._floor = floor
        self._lengths = OutputLengthModel(LatencyRules())

    def find_exclusion(self, place: int) -> str:
        """Return why a candidate is below the quality floor, or ""."""
        quality = self._qualities[place]
        if quality >= self._floor:
            return ""
        return f"its quality {quality:g} is below the floor {self._floor:g}"

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        """Return the candidates by their price for an answer of the expected length."""
        tokens = self._lengths.predict(request)
        priced = [
            Ranked(candidate, candidate.estimate_usd(request, tokens), self.find_exclusion(place))
            for place, candidate in enumerate(candidates)
        ]
        return sorted(priced, key=_sort_key)

    def observe(self, request: Request, response: Response) -> None:
        """Learn how long answers are."""
        self._lengths.observe(request, response)


class FastestFirst:
    """Order by the predicted time to the whole answer, with the calls in flight counted in.

    The score is the predicted seconds times the load factor of `latency.py`. One candidate is
    moved to the front: one that was not asked for long, so that a target that has become faster is
    noticed; or any of those about as good as the best, so that calls do not herd to one of them.
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
        """Return the candidates by their predicted time, with one of them moved to the front."""
        self._calls += 1
        loaded = self._predict_loads(request, candidates)
        loaded.sort(key=lambda pair: pair[0])
        front = self._choose_front(loaded)
        loaded.insert(0, loaded.pop(front))
        ranking = [ranked for _, ranked in loaded]
        self._asked_at[ranking[0].candidate.name] = self._calls
        return ranking

    def observe(self, request: Request, response: Response) -> None:
        """Learn how long answers are."""
        self._lengths.observe(request, response)

    def _predict_loads(
        self, request: Request, candidates: Sequence[Candidate]
    ) -> list[tuple[float, Ranked]]:
        """Return each candidate with its load: predicted seconds times its load factor.

        A candidate that nothing is known about has a load of 0, so that it is asked first; while
        the call that finds out is in flight, it counts like the mean of the known ones.
        """
        tokens = self._lengths.predict(request)
        times = [candidate.latency.predict(request, tokens) for candidate in candidates]
        known = [seconds for seconds in times if seconds is not None]
        typical = sum(known) / len(known) if known else 1.0
        loaded: list[tuple[float, Ranked]] = []
        for seconds, candidate in zip(times, candidates, strict=True):
            factor = candidate.latency.load_factor
            if seconds is not None:
                load = seconds * factor
                loaded.append((load, Ranked(candidate, load)))
            else:
                is_being_tried = factor > 1
                load = typical * factor if is_being_tried else 0.0
                loaded.append((load, Ranked(candidate, None)))
        return loaded

    def _choose_front(self, loaded: Sequence[tuple[float, Ranked]]) -> int:
        """Return the index of the candidate to ask first, of candidates sorted by load."""
        best = loaded[0][0]
        # A load of 0 is a candidate that nothing is known about: it goes first in any case.
        if best:
            overdue = [self._calls_overdue(pair, best, len(loaded)) for pair in loaded[1:]]
            if overdue and max(overdue) >= 0:
                return 1 + overdue.index(max(overdue))
        equals = sum(load <= best * (1 + self._rules.near) for load, _ in loaded)
        return int(self._random() * equals)

    def _calls_overdue(self, pair: tuple[float, Ranked], best: float, width: int) -> float:
        """Return for how many calls a candidate should have been tried again; negative: not yet.

        One that is more than four times slower than the best is tried less often, in proportion.
        """
        load, ranked = pair
        slowness = max(1.0, load / (_MUCH_SLOWER * best))
        interval = self._rules.explore * (width - 1) * slowness
        return self._calls - self._asked_at.get(ranked.candidate.name, 0) - interval


def _sort_key(ranked: Ranked) -> tuple[bool, float]:
    """Sort excluded candidates last, and before them those without a score."""
    return bool(ranked.excluded), math.inf if ranked.score is None else ranked.score


def _hash_to_unit(text: str) -> float:
    """Return a number in [0, 1) that depends on the text only, equal in every process."""
    encoded = text.encode("utf-8", "surrogatepass")
    digest = hashlib.blake2b(encoded, digest_size=_HASH_BYTES).digest()
    return int.from_bytes(digest) / 2 ** (8 * _HASH_BYTES)
