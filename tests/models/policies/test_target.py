"""One target: what a call passes on its way, and what it learns from how the call went."""

from __future__ import annotations

import asyncio

import pytest

from graphorch.clock import Runtime
from graphorch.errors import ModelError
from graphorch.models.budgets.budget import Account, Budget
from graphorch.models.errors import Refused
from graphorch.models.policies.circuit_breaker import CircuitOpen
from graphorch.models.policies.rate_limiter import RateLimits, Throttled
from graphorch.models.policies.target import Target, TargetRules
from tests.models.fakes import Answer, FakeModel, Flat, Table, request_to, status
from tests.models.virtual import run


def test_open_circuit_fails_at_once() -> None:
    """A target whose circuit is open fails without a request."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(*[status(500)] * 5, Answer("back"))
        target = Target("m", model, runtime=runtime)
        for _ in range(5):
            with pytest.raises(ModelError, match="500"):
                await target.complete(request_to())
        with pytest.raises(CircuitOpen, match=r"may be tried again in 30 s") as caught:
            await target.complete(request_to())
        assert (len(model.requests), caught.value.retryable, caught.value.retry_after) == (
            5,
            True,
            30,
        )
        await runtime.sleep(30)
        assert (await target.complete(request_to())).text == "back"

    run(main)


@pytest.mark.parametrize(
    "failure", [status(400), status(422), Refused("no", model="m", retryable=False)]
)
def test_faulty_request_spares_circuit(failure: ModelError) -> None:
    """A request that is at fault does not open the circuit."""

    async def main(runtime: Runtime) -> None:
        target = Target("m", FakeModel(failure), runtime=runtime)
        for _ in range(20):
            with pytest.raises(type(failure)):
                await target.complete(request_to())
        assert target.breaker.state == "closed"

    run(main)


def test_rate_limit_spares_circuit() -> None:
    """A target that is asked too often is at no fault: its circuit stays closed."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(status(429))
        target = Target("m", model, runtime=runtime)
        for _ in range(50):
            with pytest.raises(ModelError, match="429"):
                await target.complete(request_to())
        assert target.breaker.state == "closed"
        assert target.latency.failure_share == 0

    run(main)


@pytest.mark.parametrize("asked_for", [1.0, 59.0, 3600.0, 86_400.0])
def test_requested_pause_is_capped(asked_for: float) -> None:
    """A pause holds as long as the target asks for, and at most a minute."""

    async def main(runtime: Runtime) -> None:
        target = Target("m", FakeModel(status(429, retry_after=asked_for)), runtime=runtime)
        with pytest.raises(ModelError) as caught:
            await target.complete(request_to())
        assert caught.value.retry_after == asked_for
        assert target.limiter.blocked_for == pytest.approx(min(asked_for, 60))

    run(main)


def test_cancelled_probe_frees_place() -> None:
    """A probe that is cancelled lets the next call probe."""

    async def main(runtime: Runtime) -> None:
        target = Target(
            "m", FakeModel(*[status(500)] * 5, Answer(first=100), Answer("back")), runtime=runtime
        )
        await asyncio.gather(
            *(target.complete(request_to()) for _ in range(5)), return_exceptions=True
        )
        await runtime.sleep(30)
        probe = asyncio.create_task(target.complete(request_to()))
        await runtime.sleep(1)
        probe.cancel()
        await asyncio.wait([probe])
        assert (await target.complete(request_to())).text == "back"

    run(main)


def test_cancelled_turn_costs_nothing() -> None:
    """A call that is cancelled while it waits for its turn costs nothing."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(Answer(first=10))
        rules = TargetRules(limits=RateLimits(concurrency=1))
        target = Target(
            "m", model, model="m", rules=rules, prices=Table({"m": Flat(1e-6)}), runtime=runtime
        )
        account = Account("run", Budget(usd=1))
        first = asyncio.create_task(target.complete(request_to(payer=account, max_tokens=10)))
        await runtime.sleep(1)
        second = asyncio.create_task(target.complete(request_to(payer=account, max_tokens=10)))
        await runtime.sleep(1)
        second.cancel()
        await first
        assert (len(model.requests), account.spent.calls, account.report().estimated) == (1, 1, 0)

    run(main)


def test_throttled_call_costs_nothing() -> None:
    """A throttled call is not sent and costs nothing."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel()
        target = Target("m", model, rules=TargetRules(limits=RateLimits(rpm=1)), runtime=runtime)
        account = Account("run")
        await target.complete(request_to(payer=account))
        with pytest.raises(Throttled):
            await target.complete(request_to(payer=account, timeout=5))
        assert (len(model.requests), account.spent.calls, target.breaker.state) == (1, 1, "closed")

    run(main)


def test_waiting_for_money_holds_no_place() -> None:
    """A call that waits for money lets others use the target."""

    async def main(runtime: Runtime) -> None:
        rules = TargetRules(limits=RateLimits(concurrency=1))
        target = Target(
            "m",
            FakeModel(Answer(first=1)),
            model="m",
            rules=rules,
            prices=Table({"m": Flat(1e-3)}),
            runtime=runtime,
        )
        poor, rich = Account("poor", Budget(usd=0.2)), Account("rich")
        from_elsewhere = await poor.reserve(target.meter.worst(request_to("m", max_tokens=100)))
        waiting = asyncio.create_task(target.complete(request_to(payer=poor, max_tokens=100)))
        await asyncio.sleep(0)
        await target.complete(request_to(payer=rich, max_tokens=100))
        assert not waiting.done()
        from_elsewhere.release()
        await waiting

    run(main)


def test_output_limit_counts_and_comes_back() -> None:
    """Tokens per minute are taken with the limit on the output, and the unused ones come back."""

    async def main(runtime: Runtime) -> None:
        target = Target(
            "m",
            FakeModel(Answer(first=0, tokens=10)),
            rules=TargetRules(limits=RateLimits(tpm=6_000)),
            runtime=runtime,
        )
        for _ in range(20):
            await target.complete(request_to(max_tokens=590))
        assert runtime.clock() < 5

    run(main)
