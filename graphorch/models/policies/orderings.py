"""In which order a policy asks its candidates. Each order is a small value with two methods: rank, and learn from an answer."""

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
"""The entry of `Request.metadata` that keeps calls with equal values at one target of a weighted policy."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate in its place. `excluded` says why the order leaves it out, or is empty."""

    candidate: Candidate
    score: float | None
    excluded: str = ""


class Ordering(Protocol):
    """Puts candidates in order."""

    @property
    def kind(self) -> str:
        """The word for it in decisions and files."""
        ...

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        """Every candidate, the first to ask first."""
        ...

    def observe(self, request: Request, response: Response) -> None:
        """See an answer."""
        ...


class ListedOrder:
    """The order in which they were given: a fallback, or a cascade from cheap to dear."""

    def __init__(self, kind: str = "fallback") -> None:
        self.kind = kind

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        """See `Order`; the score is the place."""
        return [Ranked(candidate, float(place)) for place, candidate in enumerate(candidates)]

    def observe(self, request: Request, response: Response) -> None:
        """Nothing to learn."""


class WeightedOrder:
    """At random by weight, or by a hash of the sticky key: equal keys have an equal order, whoever else comes and goes.

    Each candidate draws -ln(u) / weight and the smallest is first (Efraimidis and Spirakis, 2006; with a hash: weighted rendezvous).
    Raises `InputError` for weights without sense.
    """

    kind = "weighted"

    def __init__(self, weights: Sequence[float], random: Callable[[], float]) -> None:
        if any(not 0 <= weight < math.inf for weight in weights) or sum(weights) <= 0:
            raise InputError(
                f"Weights {list(weights)} make no sense: each is 0 or more, and one of them is above 0."
            )
        self._weights = tuple(weights)
        self._random = random

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        """See `Order`; the score is the draw."""
        key = request.metadata.get(STICKY_KEY)
        drawn: list[Ranked] = []
        for weight, candidate in zip(self._weights, candidates, strict=True):
            if weight == 0:
                drawn.append(Ranked(candidate, None, "its weight is 0"))
                continue
            number = self._random() if key is None else _hashed(f"{key}\n{candidate.name}")
            drawn.append(Ranked(candidate, -math.log(1 - number) / weight))
        return sorted(drawn, key=_place)

    def observe(self, request: Request, response: Response) -> None:
        """Nothing to learn."""


class CheapestFirst:
    """The lowest price for this very request first. What is below the quality floor is left out; an unknown price comes last."""

    kind = "cheapest"

    def __init__(self, qualities: Sequence[float], floor: float) -> None:
        if qualities and max(qualities) < floor:
            raise InputError(
                f"The quality floor {floor:g} leaves no target: the best has {max(qualities):g}. Lower the floor."
            )
        self._qualities = tuple(qualities)
        self._floor = floor
        self._outputs = OutputLengthModel(LatencyRules())

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        """See `Order`; the score is dollars."""
        tokens = self._outputs.predict(request)
        priced: list[Ranked] = []
        for quality, candidate in zip(self._qualities, candidates, strict=True):
            low = (
                f"its quality {quality:g} is below the floor {self._floor:g}"
                if quality < self._floor
                else ""
            )
            priced.append(Ranked(candidate, candidate.estimate_usd(request, tokens), low))
        return sorted(priced, key=_place)

    def observe(self, request: Request, response: Response) -> None:
        """How long answers are."""
        self._outputs.observe(request, response)


class FastestFirst:
    """The shortest predicted time first, with the calls that are on their way counted in; see `speed.py`."""

    kind = "fastest"

    def __init__(self, rules: LatencyRules, random: Callable[[], float]) -> None:
        self._rules = rules
        self._random = random
        self._outputs = OutputLengthModel(rules)
        self._calls = 0
        # by name, the number of the call at which it was last in front
        self._asked_at: dict[str, int] = {}

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        """See `Order`; the score is predicted seconds times the calls in flight."""
        self._calls += 1
        tokens = self._outputs.predict(request)
        times = [item.latency.predict(request, tokens) for item in candidates]
        known = [seconds for seconds in times if seconds is not None]
        typical = sum(known) / len(known) if known else 1.0
        ranked: list[tuple[float, Ranked]] = []
        for seconds, candidate in zip(times, candidates, strict=True):
            crowd = candidate.latency.load_factor
            is_news = seconds is None and crowd == 1  # nothing is known and nobody is finding out
            load = 0.0 if is_news else (typical if seconds is None else seconds) * crowd
            ranked.append((load, Ranked(candidate, None if seconds is None else load)))
        ranked.sort(key=lambda pair: pair[0])
        front = self._front(ranked)
        ranked.insert(0, ranked.pop(front))
        self._asked_at[ranked[0][1].candidate.name] = self._calls
        return [item for _, item in ranked]

    def observe(self, request: Request, response: Response) -> None:
        """How long answers are."""
        self._outputs.observe(request, response)

    def _front(self, ranked: Sequence[tuple[float, Ranked]]) -> int:
        """Which of them goes first: one that was not asked for long, else any of those about as good as the best."""
        best = ranked[0][0]
        overdue = [
            self._overdue(ranked[place], best, len(ranked)) for place in range(1, len(ranked))
        ]
        if best and overdue and max(overdue) >= 0:
            return 1 + overdue.index(max(overdue))
        equals = sum(load <= best * (1 + self._rules.near) for load, _ in ranked)
        return int(self._random() * equals)

    def _overdue(self, ranked: tuple[float, Ranked], best: float, width: int) -> float:
        """For how many calls it should have been asked again. What is more than four times slower is asked less often, in proportion."""
        load, item = ranked
        every = self._rules.explore * (width - 1) * max(1.0, load / (4 * best)) if best else 0.0
        return self._calls - self._asked_at.get(item.candidate.name, 0) - every


def _place(ranked: Ranked) -> tuple[bool, float]:
    return bool(ranked.excluded), math.inf if ranked.score is None else ranked.score


def _hashed(text: str) -> float:
    """A number in [0, 1) that depends on the text only, equal in every process."""
    return (
        int.from_bytes(
            hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).digest()
        )
        / 2**48
    )
