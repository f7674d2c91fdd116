"""Simulated targets in virtual time, and an oracle that knows them, to compare policies with."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graphorch.clock import Runtime
from graphorch.errors import ModelError
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.policies.latency import LatencyRules
from graphorch.models.policies.orderings import Ranked
from graphorch.models.policies.policy import Policy, fastest
from graphorch.models.policies.target import Candidate, Target
from tests.models.fakes import ignore, request_to, status
from tests.models.virtual import run


@dataclass(frozen=True)
class Speed:
    """What a target does at one time.

    The first token takes `first` seconds and each further one `per_token`, both times a factor of
    mean 1: `noise` is the deviation of its logarithm, and in a share of the calls it is
    `straggler` times as much. Above `capacity` calls in flight, all share the speed of so many.
    `failing` is the share of requests that are refused, after `failing_seconds`. `cold` seconds
    are what the very first request takes longer: a connection, or a model that is loaded.
    """

    first: float = 0.5
    per_token: float = 0.01
    noise: float = 0.2
    straggling: float = 0.0
    straggler: float = 1.0
    capacity: float = float("inf")
    failing: float = 0.0
    failing_seconds: float = 0.05
    cold: float = 0.0

    def find_slowdown(self, running: int) -> float:
        return max(1.0, running / self.capacity)

    def find_mean(self, tokens: int, running: int) -> float:
        usual = 1 + self.straggling * (self.straggler - 1)
        return (self.first + tokens * self.per_token) * usual * self.find_slowdown(running)


Plan = Callable[[float], Speed]
"""The speed of a target at a time in seconds."""


class SimulatedModel:
    """Model client whose speed follows a plan; `tokens_of` is how long answers are."""

    def __init__(self, runtime: Runtime, plan: Plan, chance: random.Random) -> None:
        self.runtime = runtime
        self.plan = plan
        self.chance = chance
        self.running = 0
        self.asked = 0

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        began = self.runtime.clock()
        speed = self.plan(began)
        self.asked += 1
        self.running += 1
        try:
            if self.asked == 1:
                await self.runtime.sleep(speed.cold)
            if self.chance.random() < speed.failing:
                await self.runtime.sleep(speed.failing_seconds)
                raise status(500)
            factor = self.chance.lognormvariate(-(speed.noise**2) / 2, speed.noise)
            if self.chance.random() < speed.straggling:
                factor *= speed.straggler
            factor *= speed.find_slowdown(self.running)
            tokens = int(request.metadata["tokens"])
            await self.runtime.sleep(speed.first * factor)
            if on_text is not None:
                on_text("text")
            first = self.runtime.clock() - began
            await self.runtime.sleep(tokens * speed.per_token * factor)
        finally:
            self.running -= 1
        seconds = self.runtime.clock() - began
        streamed = first if on_text is not None else None
        return Response(
            "text", request.model, Usage(10, tokens), 0.0, "free", "stop", 1, seconds, streamed
        )


class OracleOrder:
    """Order that knows the speed of every target now, and the length of the answer."""

    kind = "oracle"

    def __init__(self, models: dict[str, SimulatedModel], aim: str) -> None:
        self.models = models
        self.aim = aim

    def find_exclusion(self, place: int) -> str:
        return ""

    def rank(self, request: Request, candidates: Sequence[Candidate]) -> list[Ranked]:
        times: dict[str, float] = {}
        tokens = int(request.metadata["tokens"]) if self.aim == "answer" else 0
        for candidate in candidates:
            model = self.models[candidate.name]
            speed = model.plan(model.runtime.clock())
            times[candidate.name] = speed.find_mean(tokens, model.running + 1)
        best = min(times.values())
        for candidate in candidates:
            model = self.models[candidate.name]
            speed = model.plan(model.runtime.clock())
            lost = speed.failing * (best + speed.failing_seconds)
            times[candidate.name] = times[candidate.name] * (1 - speed.failing) + lost
        ranking = [Ranked(candidate, times[candidate.name]) for candidate in candidates]
        return sorted(ranking, key=lambda ranked: ranked.score or 0.0)

    def observe(self, request: Request, candidate: Candidate, response: Response) -> None: ...


@dataclass(frozen=True)
class Scenario:
    """Targets, the lengths of answers in tokens, and what the policy is to make short."""

    plans: Sequence[Plan]
    lengths: Sequence[int] = (100,)
    streamed: bool = False
    aim: str = "answer"


@dataclass
class Outcome:
    """Seconds of each call, and the requests that each target got.

    `first_wave` are those of the calls that were made before anything could be known.
    """

    seconds: list[float] = field(default_factory=list[float])
    first_wave: list[float] = field(default_factory=list[float])
    asked: list[int] = field(default_factory=list[int])
    failed: int = 0

    @property
    def mean(self) -> float:
        return sum(self.seconds) / len(self.seconds)

    def quantile(self, share: float) -> float:
        return sorted(self.seconds)[int(share * (len(self.seconds) - 1))]


MakePolicy = Callable[[Sequence[Target], dict[str, SimulatedModel], Runtime], Policy]


def simulate(
    scenario: Scenario, make: MakePolicy, *, callers: int, calls: int, seed: int
) -> Outcome:
    """Return what becomes of the calls of a scenario, made by so many callers at once."""
    outcome = Outcome()

    async def main(runtime: Runtime) -> None:
        chance = random.Random(seed)
        models = {
            name: SimulatedModel(runtime, plan, random.Random(f"{seed} {name}"))
            for name, plan in zip("abcdef", scenario.plans, strict=False)
        }
        targets = [Target(name, model, runtime=runtime) for name, model in models.items()]
        policy = make(targets, models, runtime)
        left = calls

        async def work() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                is_first = left >= calls - callers
                tokens = chance.choice(scenario.lengths)
                request = request_to(max_tokens=tokens + 20, metadata={"tokens": str(tokens)})
                on_text = ignore if scenario.streamed else None
                try:
                    response = await policy.complete(request, on_text)
                except ModelError:
                    outcome.failed += 1
                    continue
                aims_at_first = scenario.aim == "first token"
                seconds = response.first_token_seconds if aims_at_first else response.seconds
                wave = outcome.first_wave if is_first else outcome.seconds
                wave.append(seconds or 0.0)

        await asyncio.gather(*(work() for _ in range(callers)))
        outcome.asked = [model.asked for model in models.values()]

    run(main, seed=seed)
    return outcome


def make_fastest(aim: str) -> MakePolicy:
    def make(
        targets: Sequence[Target], models: dict[str, SimulatedModel], runtime: Runtime
    ) -> Policy:
        rules = LatencyRules(aim=aim)  # type: ignore[arg-type]
        return fastest("p", targets, latency=rules, runtime=runtime)

    return make


def make_oracle(aim: str) -> MakePolicy:
    def make(
        targets: Sequence[Target], models: dict[str, SimulatedModel], runtime: Runtime
    ) -> Policy:
        return Policy("oracle", OracleOrder(models, aim), targets, runtime=runtime)

    return make


# ---- scenarios -----------------------------------------------------------------------------------


def always(**fields: float) -> Plan:
    speed = Speed(**fields)
    return lambda time: speed


def changing(at: float, before: Speed, after: Speed) -> Plan:
    return lambda time: before if time < at else after


def slow(factor: float, **fields: float) -> Speed:
    return Speed(first=0.5 * factor, per_token=0.01 * factor, **fields)


SCENARIOS = {
    "steady": Scenario([always(), lambda t: slow(1.5), lambda t: slow(3)]),
    "steady, streamed": Scenario([always(), lambda t: slow(1.5), lambda t: slow(3)], streamed=True),
    "equal": Scenario([always(), always(), always()]),
    "near": Scenario([lambda t: slow(1.2), always(), lambda t: slow(1.1)]),
    "noisy": Scenario([lambda t: slow(1.5, noise=0.7), lambda t: slow(1, noise=0.7)]),
    "one very slow": Scenario([lambda t: slow(20), always(), lambda t: slow(1.3)]),
    "first becomes slow": Scenario(
        [changing(150, slow(1), slow(6)), lambda t: slow(1.5), lambda t: slow(3)]
    ),
    "last becomes fast": Scenario([lambda t: slow(1), changing(150, slow(4), slow(0.3))]),
    "turns": Scenario(
        [
            lambda t: slow(1 if int(t / 200) % 2 == 0 else 3),
            lambda t: slow(3 if int(t / 200) % 2 == 0 else 1),
        ]
    ),
    "stragglers": Scenario(
        [lambda t: slow(0.7, straggling=0.1, straggler=20.0), lambda t: slow(1.2)]
    ),
    "rare stragglers": Scenario(
        [lambda t: slow(0.8, straggling=0.03, straggler=25.0), lambda t: slow(1)]
    ),
    "long and short answers": Scenario(
        [always(first=0.2, per_token=0.03), always(first=2.0, per_token=0.005)],
        lengths=(20, 40, 400, 800),
    ),
    "long and short answers, streamed": Scenario(
        [always(first=0.2, per_token=0.03), always(first=2.0, per_token=0.005)],
        lengths=(20, 40, 400, 800),
        streamed=True,
    ),
    "first tokens": Scenario(
        [always(first=0.2, per_token=0.03), always(first=1.0, per_token=0.005)],
        lengths=(100, 400),
        streamed=True,
        aim="first token",
    ),
    "limited": Scenario([always(capacity=30), lambda t: slow(2, capacity=30), lambda t: slow(3)]),
    "narrow": Scenario([always(capacity=5), lambda t: slow(1.5, capacity=20), lambda t: slow(4)]),
    "unlimited": Scenario([lambda t: slow(2), always(), lambda t: slow(4)]),
    "cold start": Scenario([always(cold=15.0), lambda t: slow(3), lambda t: slow(6)]),
    "cold start of all": Scenario([lambda t: slow(2, cold=9.0), always(cold=15.0)]),
    "failing now and then": Scenario([always(failing=0.2), lambda t: slow(1.6)]),
    "failing, useless": Scenario([always(failing=0.7, failing_seconds=1.5), lambda t: slow(1.6)]),
}
