"""Policies as clients and as candidates: nesting, budgets, decisions, errors."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import BaseModel

from graphorch.clock import Runtime
from graphorch.errors import InputError
from graphorch.models.budgets.budget import Account, Amount, Budget, CapReached
from graphorch.models.errors import TimedOut
from graphorch.models.policies.call import PolicyRules
from graphorch.models.policies.failure_kinds import NotAnswered
from graphorch.models.policies.policy import fallback
from graphorch.models.policies.retry_budget import RetryRules
from tests.models.fakes import (
    Answer,
    FakeModel,
    Flat,
    Table,
    hangs,
    html_page,
    ignore,
    request_to,
    status,
)
from tests.models.policies.targets import list_outcomes, make_targets
from tests.models.virtual import run


class Number(BaseModel):
    n: int


def test_nested_policies_show_in_decision() -> None:
    """The decision holds the record of the inner policy."""

    async def main(runtime: Runtime) -> None:
        a, b, c = make_targets(
            runtime,
            FakeModel(status(500)),
            FakeModel(status(500)),
            FakeModel(Answer("c", usd=0.002)),
        )
        once = PolicyRules(retry=RetryRules(rounds=1))
        inner = fallback("inner", [a, b], rules=once, runtime=runtime)
        response = await fallback("outer", [inner, c], rules=once, runtime=runtime).complete(
            request_to(), ignore
        )
        assert response.decision is not None
        assert response.decision.answered_by == "c"
        assert list_outcomes(response) == [("inner", "server"), ("c", "ok")]
        inner_record = response.decision.attempts[0].inner
        assert inner_record is not None
        assert [attempt.target for attempt in inner_record.attempts] == ["a", "b"]
        text = response.decision.text()
        assert "outer (fallback): answered by c" in text
        assert "    inner (fallback): no answer" in text
        assert (
            "c: ok after 0.1 s, status 200, first token after 0.1 s, 2 + 10 tokens, "
            "$0.002000 (reported)" in text
        )

    run(main)


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("rounds", [1, 2, 4])
def test_nested_policies_share_attempts(depth: int, rounds: int) -> None:
    """However deep policies are nested, a target is asked as often as its attempts say."""

    async def main(runtime: Runtime) -> None:
        models = FakeModel(status(500)), FakeModel(status(500))
        rules = PolicyRules(retry=RetryRules(rounds=rounds))
        candidates = make_targets(runtime, *models)
        policy = fallback("p", candidates, rules=rules, runtime=runtime)
        for level in range(depth - 1):
            policy = fallback(f"p{level}", [policy], rules=rules, runtime=runtime)
        with pytest.raises(NotAnswered):
            await policy.complete(request_to())
        assert [len(model.requests) for model in models] == [min(rounds, 2)] * 2

    run(main)


def test_shared_target_keeps_its_attempts() -> None:
    """A target that two inner policies lead to is asked once in a round, and twice in all."""

    async def main(runtime: Runtime) -> None:
        a, b, c = make_targets(
            runtime, FakeModel(status(500)), FakeModel(status(404)), FakeModel(status(500))
        )
        inner = [
            fallback("left", [a, b], runtime=runtime),
            fallback("right", [b, a, c], runtime=runtime),
        ]
        with pytest.raises(NotAnswered):
            await fallback("outer", inner, runtime=runtime).complete(request_to())
        asked = [len(target._client.requests) for target in (a, b, c)]  # type: ignore[attr-defined]
        assert asked == [2, 1, 2]

    run(main)


def test_attempts_count_every_request() -> None:
    """The attempts of a response are the requests that were sent, at every depth."""

    async def main(runtime: Runtime) -> None:
        models = [
            FakeModel(status(500)),
            FakeModel(Answer("not json")),
            FakeModel(status(429)),
            FakeModel(status(404)),
            FakeModel(Answer('{"n": 1}')),
        ]
        a, b, c, d, e = make_targets(runtime, *models)
        inner = fallback("inner", [a, b], runtime=runtime)
        middle = fallback("middle", [inner, c], runtime=runtime)
        response = await fallback("outer", [middle, d, e], runtime=runtime).complete(
            request_to(schema=Number)
        )
        assert response.attempts == sum(len(model.requests) for model in models) == 5

    run(main)


def test_inner_policy_moves_on_without_pause() -> None:
    """The next candidate of the outer policy is asked at once, before a second inner round."""

    async def main(runtime: Runtime) -> None:
        flaky, spare = make_targets(runtime, FakeModel(status(500)), FakeModel(Answer("spare")))
        inner = fallback("inner", [flaky], runtime=runtime)
        response = await fallback("outer", [inner, spare], runtime=runtime).complete(request_to())
        assert (response.text, response.attempts) == ("spare", 2)
        assert runtime.clock() == pytest.approx(0.11)

    run(main)


def test_outer_round_asks_inner_policy_again() -> None:
    """The second round of the outer policy asks what may have recovered inside of the inner one."""

    async def main(runtime: Runtime) -> None:
        gone, flaky = FakeModel(status(404)), FakeModel(status(500), Answer("back"))
        inner = fallback("inner", make_targets(runtime, gone, flaky), runtime=runtime)
        response = await fallback("outer", [inner], runtime=runtime).complete(request_to())
        assert (response.text, response.attempts, len(gone.requests)) == ("back", 3, 1)

    run(main)


def test_resting_nested_policy_is_skipped() -> None:
    """A nested policy whose targets all rest is passed over."""

    async def main(runtime: Runtime) -> None:
        a, b = make_targets(runtime, FakeModel(status(500)), FakeModel(Answer("b")))
        once = PolicyRules(retry=RetryRules(rounds=1))
        policy = fallback(
            "outer",
            [fallback("inner", [a], rules=once, runtime=runtime), b],
            rules=once,
            runtime=runtime,
        )
        for _ in range(5):
            await policy.complete(request_to())
        assert list_outcomes(await policy.complete(request_to())) == [("b", "ok")]

    run(main)


def test_not_answered_lists_failures() -> None:
    """The error lists the outcome of each target."""

    async def main(runtime: Runtime) -> None:
        rules = PolicyRules(retry=RetryRules(rounds=1))
        policy = fallback(
            "p",
            make_targets(runtime, FakeModel(status(500)), FakeModel(html_page())),
            rules=rules,
            runtime=runtime,
        )
        with pytest.raises(
            NotAnswered, match=r"Policy 'p' got no answer \(a: server; b: malformed\)"
        ) as caught:
            await policy.complete(request_to())
        assert "add a target of another provider" in str(caught.value)
        assert [attempt.target for attempt in caught.value.decision.attempts] == ["a", "b"]
        assert caught.value.__cause__ is caught.value.failures[-1]

    run(main)


def test_exceeded_cap_is_raised() -> None:
    """A call that the budget does not cover is not a failure of the target."""

    async def main(runtime: Runtime) -> None:
        prices = Table({"a": Flat(1.0), "b": Flat(1e-9)})
        models = FakeModel(), FakeModel()
        policy = fallback("p", make_targets(runtime, *models, prices=prices), runtime=runtime)
        with pytest.raises(CapReached):
            await policy.complete(request_to(payer=Account("run", Budget(usd=1)), max_tokens=10))
        assert [len(model.requests) for model in models] == [0, 0]

    run(main)


@pytest.mark.parametrize("known", ["a", "b"])
def test_unknown_price_is_refused_under_cap(
    known: str,
) -> None:
    """Under a cap an unknown price anywhere in a policy is refused before any call."""

    async def main(runtime: Runtime) -> None:
        models = FakeModel(), FakeModel()
        policy = fallback(
            "p", make_targets(runtime, *models, prices=Table({known: Flat(1e-6)})), runtime=runtime
        )
        with pytest.raises(InputError, match=r"its price is not known. Add it to the prices"):
            await policy.complete(request_to(payer=Account("run", Budget(usd=1))))
        assert [len(model.requests) for model in models] == [0, 0]

    run(main)


def test_policy_checks_its_targets() -> None:
    """A policy needs targets, each of them once."""

    async def main(runtime: Runtime) -> None:
        (a,) = make_targets(runtime, FakeModel())
        with pytest.raises(InputError, match="has no targets"):
            fallback("p", [])
        with pytest.raises(InputError, match="has the target 'a' twice"):
            fallback("p", [a, a])

    run(main)


def test_cancelled_call_releases_everything() -> None:
    """A cancelled call leaves no request running and no money reserved."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(hangs())
        policy = fallback(
            "p", make_targets(runtime, model, prices=Table({"a": Flat(1e-6)})), runtime=runtime
        )
        account = Account("run", Budget(usd=1))
        task = asyncio.create_task(policy.complete(request_to(payer=account, max_tokens=10)))
        await runtime.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert (model.running, policy.latency.pending, policy.candidates[0].latency.pending) == (
            0,
            0,
            0,
        )
        report = account.report()
        assert report.reserved.usd == 0
        assert report.estimated == report.spent.usd > 0

    run(main)


def test_budget_seconds_end_running_call() -> None:
    """A budget of seconds ends a call that is under way."""

    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(seconds=3), clock=runtime.clock)
        with pytest.raises(CapReached) as caught:
            await fallback(
                "p", make_targets(runtime, FakeModel(hangs())), runtime=runtime
            ).complete(request_to(payer=account))
        assert (caught.value.limit, runtime.clock()) == ("seconds", 3)

    run(main)


def test_budget_seconds_end_failing_call() -> None:
    """A call for which the budget left no time says so, not that its targets gave no answer."""

    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(seconds=1), clock=runtime.clock)
        targets = make_targets(runtime, FakeModel(status(503)), FakeModel(status(503)))
        policy = fallback("p", targets, runtime=runtime)
        await runtime.sleep(1)
        with pytest.raises(CapReached) as caught:
            await policy.complete(request_to(payer=account))
        assert caught.value.limit == "seconds"

    run(main)


def test_timeout_before_sending_spares_breaker() -> None:
    """A timeout while waiting for money is not held against the target."""

    async def main(runtime: Runtime) -> None:
        (target,) = make_targets(runtime, FakeModel(), prices=Table({"a": Flat(1.0)}))
        account = Account("run", Budget(usd=100))
        held = await account.reserve(Amount(100))
        for _ in range(6):
            with pytest.raises(TimedOut, match="nothing was sent"):
                await target.complete(request_to(payer=account, max_tokens=1, timeout=1))
        assert target.breaker.state == "closed"
        held.release()

    run(main)
