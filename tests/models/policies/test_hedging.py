"""Second copies of slow calls."""

from __future__ import annotations

import asyncio

import pytest

from graphorch.clock import Runtime
from graphorch.errors import ExitRefused
from graphorch.models.budgets.budget import Account, Budget
from graphorch.models.messages import Request
from graphorch.models.policies.call import PolicyRules
from graphorch.models.policies.failure_kinds import NotAnswered
from graphorch.models.policies.hedging import Hedge
from graphorch.models.policies.policy import Policy, fallback
from graphorch.models.policies.retry_budget import RetryRules
from tests.models.fakes import (
    Answer,
    FakeModel,
    Flat,
    Table,
    hangs,
    ignore,
    request_to,
    status,
)
from tests.models.policies.targets import make_targets
from tests.models.virtual import run


def make_hedged_policy(
    runtime: Runtime, *models: FakeModel, share: float = 1.0, prices: Table | None = None
) -> Policy:
    rules = PolicyRules(hedge=Hedge(after=2.0, share=share))
    return fallback(
        "p", make_targets(runtime, *models, prices=prices), rules=rules, runtime=runtime
    )


def test_hedge_wins_over_slow_call() -> None:
    """A slow call is copied to the next target, and the first to begin wins."""

    async def main(runtime: Runtime) -> None:
        slow, quick = (
            FakeModel(Answer("slow", first=9)),
            FakeModel(Answer("quick", first=1, per_token=0.1)),
        )
        heard: list[str] = []
        response = await make_hedged_policy(runtime, slow, quick).complete(
            request_to(), heard.append
        )
        assert (response.text, heard, runtime.clock()) == ("quick", ["quick"], pytest.approx(4))
        assert (slow.cancelled, slow.running) == (1, 0)
        assert response.attempts == 2
        assert response.decision is not None
        tried = [
            (attempt.target, attempt.outcome, attempt.is_hedge)
            for attempt in response.decision.attempts
        ]
        assert tried == [("b", "ok", True), ("a", "cancelled", False)]
        assert response.decision.answered_by == "b"

    run(main)


def test_hedge_is_not_sent_after_token() -> None:
    """No copy is sent once the first token is there."""

    async def main(runtime: Runtime) -> None:
        first, second = FakeModel(Answer("long", first=1, per_token=1, tokens=30)), FakeModel()
        assert (
            await make_hedged_policy(runtime, first, second).complete(request_to(), ignore)
        ).text == "long"
        assert second.requests == []

    run(main)


def test_failed_hedge_is_ignored() -> None:
    """A copy that fails does not end the call."""

    async def main(runtime: Runtime) -> None:
        first, second = FakeModel(Answer("late", first=5)), FakeModel(status(500))
        assert (
            await make_hedged_policy(runtime, first, second).complete(request_to())
        ).text == "late"

    run(main)


def test_hedge_answers_after_failed_first() -> None:
    """If the first fails while its copy runs, the copy answers."""

    async def main(runtime: Runtime) -> None:
        first, second = FakeModel(Answer("first", first=4)), FakeModel(Answer("copy", first=5))
        rules = PolicyRules(
            hedge=Hedge(after=2.0, share=1.0),
            check=lambda request, response: response.text == "copy",
        )
        rejecting = fallback(
            "p", make_targets(runtime, first, second), rules=rules, runtime=runtime
        )
        assert (await rejecting.complete(request_to())).text == "copy"
        assert len(second.requests) == 1

    run(main)


def test_failed_hedge_is_not_repeated() -> None:
    """A target whose copy failed is not asked again in that round."""

    async def main(runtime: Runtime) -> None:
        second = FakeModel(status(500))
        rules = PolicyRules(
            hedge=Hedge(after=2.0, share=1.0),
            check=lambda request, response: False,
            retry=RetryRules(rounds=1),
        )
        policy = fallback(
            "p",
            make_targets(runtime, FakeModel(Answer(first=5)), second),
            rules=rules,
            runtime=runtime,
        )
        with pytest.raises(NotAnswered):
            await policy.complete(request_to())
        assert len(second.requests) == 1

    run(main)


def test_hedges_keep_their_share() -> None:
    """Copies are limited to their share of the calls."""

    async def main(runtime: Runtime) -> None:
        second = FakeModel(Answer(first=1))
        policy = make_hedged_policy(runtime, FakeModel(Answer(first=4)), second, share=0.05)
        for _ in range(100):
            await policy.complete(request_to())
        assert 5 <= len(second.requests) <= 6

    run(main)


def test_losing_hedge_is_paid_in_full() -> None:
    """The copy that loses is booked at its worst case."""

    async def main(runtime: Runtime) -> None:
        prices = Table({"a": Flat(1e-6), "b": Flat(1e-6)})
        account = Account("run", Budget(usd=1.0))
        policy = make_hedged_policy(
            runtime,
            FakeModel(Answer("slow", first=9)),
            FakeModel(Answer("quick", first=1)),
            prices=prices,
        )
        response = await policy.complete(request_to(payer=account, max_tokens=100))
        report = account.report()
        assert report.spent.calls == response.attempts == 2
        assert response.usd == pytest.approx(report.spent.usd)
        assert "1 request without a bill, counted at the worst case: $" in response.note
        assert report.estimated == pytest.approx(report.spent.usd - 12e-6)
        assert report.reserved.usd == 0

    run(main)


def test_hedge_needs_free_budget() -> None:
    """No copy is sent while the budget has no room for it."""

    async def main(runtime: Runtime) -> None:
        prices = Table({"a": Flat(1e-3), "b": Flat(1e-3)})
        second = FakeModel()
        policy = make_hedged_policy(runtime, FakeModel(Answer(first=3)), second, prices=prices)
        account = Account("run", Budget(usd=0.25))
        request = request_to(payer=account, max_tokens=100)
        await asyncio.gather(*(policy.complete(request) for _ in range(2)))
        assert second.requests == []

    run(main)


def test_cancelled_hedge_ends_both_copies() -> None:
    """Cancelling a hedged call ends both requests."""

    async def main(runtime: Runtime) -> None:
        models = FakeModel(hangs()), FakeModel(hangs())
        task = asyncio.create_task(make_hedged_policy(runtime, *models).complete(request_to()))
        await runtime.sleep(5)
        assert [model.running for model in models] == [1, 1]
        task.cancel()
        await asyncio.wait([task])
        assert [model.running for model in models] == [0, 0]

    run(main)


def leave(_: Request) -> Answer:
    """Do what a client of a user must not do: end the program."""
    raise SystemExit(3)


def test_exit_of_copy_is_its_failure() -> None:
    """A client that ends the program in a copy ends neither the loop nor the call."""

    async def main(runtime: Runtime) -> None:
        slow = FakeModel(Answer("slow", first=9))
        policy = make_hedged_policy(runtime, slow, FakeModel(leave))
        assert (await policy.complete(request_to())).text == "slow"

    run(main)


def test_exit_of_hedged_call_is_its_failure() -> None:
    async def main(runtime: Runtime) -> None:
        policy = make_hedged_policy(runtime, FakeModel(leave), FakeModel())
        with pytest.raises(ExitRefused, match=r"It called sys\.exit\(3\)"):
            await policy.complete(request_to())

    run(main)
