"""Bursts at targets whose limits nobody has configured: every call is answered, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from graphorch.clock import Runtime
from graphorch.errors import ModelError
from graphorch.models.messages import Request
from graphorch.models.policies.adaptive_window import AdaptiveWindow
from graphorch.models.policies.failure_kinds import NotAnswered
from graphorch.models.policies.policy import Policy, fallback
from graphorch.models.policies.rate_limiter import RateLimits
from graphorch.models.policies.target import Target, TargetRules
from graphorch.models.rate_status import RateStatus
from tests.models.fakes import Answer, FakeModel, request_to, status
from tests.models.policies.targets import list_outcomes, make_targets
from tests.models.virtual import run

CALLS = 300


class Endpoint(FakeModel):
    """Fake model that refuses what is above its limit; `allows` is that limit."""

    def __init__(self, runtime: Runtime, seconds: float) -> None:
        super().__init__(self._answer)
        self.runtime = runtime
        self.seconds = seconds

    def _answer(self, request: Request) -> Answer | ModelError:
        if self.allows():
            return Answer(first=self.seconds)
        return status(429, retry_after=self.find_retry_after())

    def allows(self) -> bool:
        raise NotImplementedError

    def find_retry_after(self) -> float | None:
        return None


class AtOnce(Endpoint):
    """Takes so many requests at once."""

    def __init__(self, runtime: Runtime, seconds: float, width: int) -> None:
        super().__init__(runtime, seconds)
        self.width = width

    def allows(self) -> bool:
        return self.running < self.width


@dataclass
class Tokens:
    level: float
    at: float = 0.0


class PerSecond(Endpoint):
    """Takes so many requests per second after a burst."""

    def __init__(self, runtime: Runtime, seconds: float, rate: float, burst: int) -> None:
        super().__init__(runtime, seconds)
        self.rate, self.burst, self.bucket = rate, burst, Tokens(burst)

    def allows(self) -> bool:
        now = self.runtime.clock()
        refilled = self.bucket.level + (now - self.bucket.at) * self.rate
        self.bucket = Tokens(min(self.burst, refilled), now)
        if self.bucket.level < 1:
            return False
        self.bucket.level -= 1
        return True


class PerWindow(Endpoint):
    """Takes so many requests per window, and says when the next one begins."""

    def __init__(self, runtime: Runtime, seconds: float, width: int, span: float) -> None:
        super().__init__(runtime, seconds)
        self.width, self.span, self.taken = width, span, dict[int, int]()

    def allows(self) -> bool:
        window = int(self.runtime.clock() / self.span)
        self.taken[window] = self.taken.get(window, 0) + 1
        return self.taken[window] <= self.width

    def find_retry_after(self) -> float | None:
        return self.span - self.runtime.clock() % self.span


ENDPOINTS: dict[str, tuple[Callable[[Runtime], Endpoint], float]] = {
    "16 at once": (lambda runtime: AtOnce(runtime, 0.5, 16), CALLS * 0.5 / 16),
    "4 at once": (lambda runtime: AtOnce(runtime, 2.0, 4), CALLS * 2.0 / 4),
    "100 at once": (lambda runtime: AtOnce(runtime, 1.0, 100), 3.0),
    "10 per second": (lambda runtime: PerSecond(runtime, 0.1, 10, 17), 28.3),
    "10 per second, slow": (lambda runtime: PerSecond(runtime, 2.0, 10, 17), 30.3),
    "1 per second": (lambda runtime: PerSecond(runtime, 0.5, 1, 17), 283.0),
    "60 per minute": (lambda runtime: PerWindow(runtime, 0.5, 60, 60.0), 240.5),
    "20 per 10 s": (lambda runtime: PerWindow(runtime, 0.5, 20, 10.0), 140.5),
}


@pytest.mark.parametrize("name", ENDPOINTS)
def test_burst_is_answered_within_limits(name: str) -> None:
    """Of 300 calls at once none fails, in at most 1.6 times the shortest time that there is."""

    async def main(runtime: Runtime) -> None:
        make, shortest = ENDPOINTS[name]
        endpoint = make(runtime)
        policy = fallback("p", [Target("m", endpoint, runtime=runtime)], runtime=runtime)
        answers = await asyncio.gather(*(policy.complete(request_to()) for _ in range(CALLS)))
        assert {answer.text for answer in answers} == {"fine"}
        assert runtime.clock() <= 1.6 * shortest
        assert len(endpoint.requests) <= 4 * CALLS
        assert sum(answer.attempts for answer in answers) == len(endpoint.requests)

    run(main)


def test_second_burst_is_spread_from_start() -> None:
    """What the first burst has taught holds for the next: hardly a call of it is refused."""

    async def main(runtime: Runtime) -> None:
        endpoint = AtOnce(runtime, 0.5, 16)
        policy = fallback("p", [Target("m", endpoint, runtime=runtime)], runtime=runtime)
        for most in (3 * CALLS, 1.1 * CALLS):
            before = len(endpoint.requests)
            await asyncio.gather(*(policy.complete(request_to()) for _ in range(CALLS)))
            assert len(endpoint.requests) - before <= most
            await runtime.sleep(600)

    run(main)


def test_refused_call_moves_to_next_target() -> None:
    """With another target, a refused call does not wait."""

    async def main(runtime: Runtime) -> None:
        policy = fallback(
            "p",
            make_targets(runtime, FakeModel(status(429, retry_after=30)), FakeModel()),
            runtime=runtime,
        )
        response = await policy.complete(request_to())
        assert list_outcomes(response) == [("a", "rate_limit"), ("b", "ok")]
        assert runtime.clock() < 0.2

    run(main)


@pytest.mark.parametrize("timeout", [None, 60.0])
def test_burst_waits_for_limited_target(timeout: float | None) -> None:
    """With the first target down, each call of a burst gets its turn at a limited second one."""

    async def main(runtime: Runtime) -> None:
        policy = fallback(
            "p",
            make_targets(runtime, FakeModel(status(503)), AtOnce(runtime, 0.5, 8)),
            runtime=runtime,
        )
        calls = [policy.complete(request_to(timeout=timeout)) for _ in range(CALLS)]
        answers = await asyncio.gather(*calls)
        assert {answer.text for answer in answers} == {"fine"}

    run(main)


@pytest.mark.parametrize(("timeout", "longest"), [(None, 121), (10.0, 10)])
def test_endless_refusals_end_call(timeout: float | None, longest: float) -> None:
    """A target that refuses everything ends a call at its deadline, or after two minutes."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(status(429))
        policy = fallback("p", make_targets(runtime, model), runtime=runtime)
        with pytest.raises(NotAnswered, match="a: rate_limit"):
            await policy.complete(request_to(timeout=timeout))
        assert runtime.clock() <= longest
        assert len(model.requests) < 20

    run(main)


def test_long_pause_is_tried_with_one_call() -> None:
    """After a minute of a pause of a day, one call finds out whether it still holds."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(status(429, retry_after=86_400))
        (target,) = make_targets(runtime, model)
        with pytest.raises(ModelError, match="429"):
            await target.complete(request_to())
        await runtime.sleep(60)
        calls = [asyncio.ensure_future(target.complete(request_to())) for _ in range(20)]
        await runtime.sleep(50)
        assert len(model.requests) == 2
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)

    run(main)


# ---- what the headers say


def reports(**fields: float) -> Answer:
    return Answer(first=0.1, limits=RateStatus(**fields))


def test_nothing_left_waits_for_reset() -> None:
    """When the endpoint says that nothing is left, no request is sent until the limit is back."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(reports(requests=0, requests_reset=7), Answer(first=0.1))
        (target,) = make_targets(runtime, model)
        await target.complete(request_to())
        refused = target.check_availability(request_to(), None)
        assert refused is not None
        assert refused.seconds == pytest.approx(7)
        await target.complete(request_to())
        assert runtime.clock() == pytest.approx(7.2)

    run(main)


def test_calls_in_flight_use_up_what_is_left() -> None:
    """Calls that were sent after the one that brought the report are counted against it."""

    async def main(runtime: Runtime) -> None:
        sent: list[float] = []

        def answer(request: Request) -> Answer:
            sent.append(runtime.clock())
            left = 4 - len(sent)
            return reports(requests=left, requests_reset=10, requests_limit=4)

        (target,) = make_targets(runtime, FakeModel(answer))
        await target.complete(request_to())
        await asyncio.gather(*(target.complete(request_to()) for _ in range(5)))
        assert [round(time) for time in sent] == [0, 0, 0, 0, 10, 10]

    run(main)


def test_tokens_left_hold_back_large_call() -> None:
    """A call that needs more tokens than are left waits, and a small one does not."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(reports(tokens=500, tokens_reset=20), Answer(first=0))
        (target,) = make_targets(runtime, model)
        await target.complete(request_to(max_tokens=10))
        await target.complete(request_to(max_tokens=100))
        assert runtime.clock() == pytest.approx(0.1)
        await target.complete(request_to(max_tokens=1000))
        assert runtime.clock() == pytest.approx(20.1)

    run(main)


@pytest.mark.parametrize("fields", [{"requests": 0}, {"requests_reset": 5}, {}])
def test_half_a_report_says_nothing(fields: dict[str, float]) -> None:
    """A report without what is left, or without a time, holds nothing back."""

    async def main(runtime: Runtime) -> None:
        (target,) = make_targets(runtime, FakeModel(reports(**fields)))
        for _ in range(3):
            await target.complete(request_to())
        assert runtime.clock() == pytest.approx(0.3)

    run(main)


# ---- what is configured


def limit(runtime: Runtime, *models: FakeModel, **limits: float) -> Policy:
    rules = TargetRules(limits=RateLimits(**limits))  # type: ignore[arg-type]
    first, *rest = models
    targets = make_targets(runtime, first, rules=rules)
    targets += [Target("spare", model, runtime=runtime) for model in rest]
    return fallback("p", targets, runtime=runtime)


def test_call_above_limit_is_not_sent() -> None:
    """A call that alone is larger than the tokens of a minute goes to the next target unsent."""

    async def main(runtime: Runtime) -> None:
        small, large = FakeModel(), FakeModel(Answer("large"))
        policy = limit(runtime, small, large, tpm=1000)
        response = await policy.complete(request_to(text="月" * 900, max_tokens=200))
        assert list_outcomes(response) == [("a", "above_limit"), ("spare", "ok")]
        assert (small.requests, response.attempts) == ([], 1)
        with pytest.raises(NotAnswered, match="above_limit") as caught:
            await limit(runtime, small, tpm=1000).complete(request_to(max_tokens=2000))
        assert "takes about 2,003 tokens" in str(caught.value.__cause__)
        assert not caught.value.retryable
        assert runtime.clock() < 1

    run(main)


def test_overuse_is_charged_afterwards() -> None:
    """Tokens beyond those that were taken hold back the calls that follow."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(Answer(first=0, tokens=3000))
        policy = limit(runtime, model, tpm=6000)
        for _ in range(4):
            await policy.complete(request_to())
        assert runtime.clock() >= 60  # 12,000 tokens at 6,000 a minute, a tenth of them at once

    run(main)


def test_window_never_closes() -> None:
    """However many refusals come, one call may be in flight; answers widen the window again."""
    window = AdaptiveWindow()
    for number in range(50):
        window.note_refusal(number, number + 1, 0)
    assert window.size == 1
    assert window.has_room(0)
    for _ in range(20):
        window.note_answer(int(window.size))
    assert window.size > 5
