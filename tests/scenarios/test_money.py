"""What an endpoint charges, against what the run reports and what its budget allows.

The endpoint is a real HTTP server that charges for whatever a model may have done, also when its
answer is cut off, useless, or arrives nowhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphorch import Budget, Graph, NodeError, Result, Retry, agent
from graphorch.errors import JournalError
from graphorch.journal.memory import MemoryStore
from tests.contracts.faulty_store import FaultyStore
from tests.models.servers import completion
from tests.scenarios.till import (
    ASKED,
    CALL,
    CAP,
    ONCE,
    First,
    Question,
    Score,
    State,
    Till,
    build,
    opened,
    outcome_of,
    report_of,
)


# ---- what failed is counted ------------
@pytest.mark.parametrize("action", ["length", "refuses"])
def test_useless_answer_is_charged(action: str) -> None:
    """An answer that was charged and is of no use counts in the run that failed of it."""

    async def main() -> None:
        till = Till(action)
        async with opened(till) as client:
            report = report_of(await outcome_of(build().run(ASKED, client=client)))
        assert report.usd == pytest.approx(till.charged)
        assert report.usage == {"input_tokens": 7, "output_tokens": 3, "calls": 1}
        (step,) = report.steps()
        assert (step.calls, step.input_tokens, step.usd) == (1, 7, pytest.approx(CALL))
        assert report.unpriced == 0

    asyncio.run(main())


@pytest.mark.parametrize("action", ["cut", "fails", "silent", "zeros", "no usage", "web page"])
def test_cost_without_bill_is_unknown(action: str) -> None:
    """A request without a bill that can be is unpriced, and booked at the worst case."""

    async def main() -> None:
        till, budget = Till(action), Budget(usd=CAP)
        async with opened(till) as client:
            outcome = await outcome_of(build().run(ASKED, client=client, budget=budget))
        report = report_of(outcome)
        assert report.unpriced == till.unbilled == 1
        charges = [call.charge for call in report.paid_calls]
        assert charges[0].usd == 0
        assert charges[0].booked_usd >= CALL

    asyncio.run(main())


def test_busy_endpoint_charges_nothing() -> None:
    """A request that the endpoint turned away costs nothing, and is known to."""

    async def main() -> None:
        till = Till("busy")
        async with opened(till) as client:
            report = report_of(await outcome_of(build().run(ASKED, client=client)))
        assert (report.usd, report.unpriced, till.charged) == (0, 0, 0)

    asyncio.run(main())


def test_resumed_failures_count() -> None:
    """Failures of earlier attempts count at the cap of a run that is resumed again and again."""

    async def main(store: MemoryStore | None) -> None:
        till, flow = Till(*["length"] * 100), build()
        options: dict[str, Any] = {} if store is None else {"durable": store}
        async with opened(till) as client:
            outcome = await outcome_of(
                flow.run(ASKED, run_id="r", client=client, budget=Budget(usd=CAP), **options)
            )
            for _ in range(100):
                assert report_of(outcome).usd == pytest.approx(till.charged)
                outcome = await outcome_of(flow.resume("r", client=client, **options))
        assert outcome.end_reason == "limit:usd"
        assert 0.7 * CAP < till.charged <= CAP + 1e-9

    asyncio.run(main(None))
    asyncio.run(main(MemoryStore()))


def test_resumed_calls_count() -> None:
    """Failed calls count at a cap on calls, in whatever process they were made."""

    async def main() -> None:
        till, flow, store = Till(*["cut"] * 100), build(), MemoryStore()
        async with opened(till) as client:
            budget, options = Budget(calls=2), {"client": client, "durable": store}
            outcome = await outcome_of(flow.run(ASKED, run_id="r", budget=budget, **options))
            for _ in range(5):
                outcome = await outcome_of(flow.resume("r", **options))
        assert outcome.end_reason == "limit:calls"
        assert till.requests == 2

    asyncio.run(main())


def test_retries_of_client_are_charged() -> None:
    """Each attempt of a client that repeats is reserved, charged and counted by itself."""

    async def main() -> None:
        till = Till("fails", "fails", "busy", "good")
        async with opened(till, attempts=4) as client:
            budget = Budget(usd=1)
            result = await build().run(ASKED, client=client, budget=budget)
        first = result.record.paid_calls[0].charge
        assert (first.requests, first.unpriced) == (4, 2)
        assert first.usd == pytest.approx(CALL)
        assert result.cost == pytest.approx(3 * CALL)
        assert result.record.unpriced == 2

    asyncio.run(main())


def test_retries_of_client_stop_at_cap() -> None:
    """A client that repeats stops where the next attempt does not fit, and all before it count."""

    async def main() -> None:
        till = Till(*["fails"] * 50)
        async with opened(till, attempts=50) as client:
            work = build().run(ASKED, client=client, budget=Budget(calls=3))
            outcome = await outcome_of(work)
        assert outcome.end_reason == "limit:calls"
        assert till.requests == 3
        assert report_of(outcome).unpriced == 3

    asyncio.run(main())


def test_cancelled_call_is_charged() -> None:
    """A call that the time limit of its node cut off counts at the worst case."""

    async def main() -> None:
        till, store = Till("silent"), MemoryStore()

        @agent(output=First, model="m", max_tokens=5, timeout=0.5)
        def hurry(question: Question) -> str:
            return question.question

        flow = Graph("hurry", State, input=Question, output=First).chain(hurry).build()
        async with opened(till, seconds=60) as client:
            options = {"client": client, "durable": store}
            budget = Budget(calls=1)
            failed = await outcome_of(flow.run(ASKED, run_id="r", budget=budget, **options))
            assert report_of(failed).unpriced == 1
            again = await outcome_of(flow.resume("r", **options))
        assert again.end_reason == "limit:calls"
        assert till.requests == 1

    asyncio.run(main())


# ---- answers are kept ------------
@pytest.mark.parametrize("is_durable", [False, True])
def test_answers_survive_failed_node(is_durable: bool) -> None:
    """A node that fails after its answers gets the same ones in every resume, and pays once."""

    async def main() -> None:
        till, flow, options = Till(), build(broken=3), {}
        if is_durable:
            options["durable"] = MemoryStore()
        async with opened(till) as client:
            outcome = await outcome_of(flow.run(ASKED, run_id="r", client=client, **options))
            while not isinstance(outcome, Result):
                outcome = await outcome_of(flow.resume("r", client=client, **options))
        assert till.requests == 3
        assert outcome.cost == pytest.approx(till.charged)

    asyncio.run(main())


def test_retry_asks_anew() -> None:
    """A retry within the run asks the model again."""

    async def main() -> None:
        till = Till()
        async with opened(till) as client:
            flow = build(broken=1, retry=Retry(2, first=0.0))
            result = await flow.run(ASKED, client=client)
        assert till.requests == 5
        assert result.cost == pytest.approx(till.charged)

    asyncio.run(main())


def test_unfit_answers_are_asked_anew() -> None:
    """A resume does not serve two answers that did not fit for ever: it asks the model again."""

    @agent(output=Score, model="m", max_tokens=5)
    def judge(question: Question) -> str:
        return question.question

    async def main() -> None:
        till = Till()
        till.describe = lambda action: (200, completion(texts.pop(0)))
        flow = Graph("judge", State, input=Question, output=Score).chain(judge).build()
        async with opened(till) as client:
            options = {"client": client, "durable": MemoryStore()}
            failed = await outcome_of(flow.run(ASKED, run_id="r", **options))
            assert isinstance(failed.exceptions[0], NodeError)
            result = await flow.resume("r", **options)
        assert (result.output.score, till.requests) == (7, 3)
        assert result.cost == pytest.approx(till.charged)

    texts = ["much", "very much", '{"score": 7, "remark": "good"}']
    asyncio.run(main())


# ---- the law ------------
ACTIONS = ("good", "cut", "length", "refuses", "fails", "busy", "zeros", "no usage", "web page")


async def live_through(seed: int) -> None:
    """Run, crash, resume and fork at random; the endpoint never gets more than a cap allows."""
    chance = random.Random(seed)
    till = Till(*chance.choices(ACTIONS, k=40))
    now = [1e9]
    store = MemoryStore(clock=lambda: now[0])
    retry = chance.choice([ONCE, Retry(2, first=0.0)])
    flow = build(broken=chance.randint(0, 3), retry=retry)
    cap = chance.choice([Budget(usd=CAP), Budget(usd=CAP / 4), Budget(calls=chance.randint(1, 5))])

    def check(before: tuple[float, int]) -> None:
        usd, requests = till.charged - before[0], till.requests - before[1]
        assert usd <= (cap.usd or 1e9) + 1e-9
        assert requests <= (cap.calls or 1_000)

    async def try_once(begin: Callable[[Any], Any]) -> Any:
        """Let the process die at some call of the store, or at none."""
        kept = FaultyStore(store, "fails", chance.choice([0, 0, *range(3, 25)]))
        now[0] += 60  # the lease of a process that died has run out
        with contextlib.suppress(JournalError, NodeError):
            return await outcome_of(begin(kept))

    async with opened(till, attempts=chance.choice([1, 3])) as client:
        before = (0.0, 0)
        options = {"client": client}
        outcome = await try_once(
            lambda kept: flow.run(ASKED, run_id="r", budget=cap, durable=kept, **options)
        )
        for _ in range(chance.randint(1, 8)):
            if not (await store.load("r")).records:
                return
            outcome = await try_once(lambda kept: flow.resume("r", durable=kept, **options))
            check(before)
        if outcome is None:
            return
        unpriced = report_of(outcome).unpriced
        assert report_of(outcome).usd <= till.charged + 1e-9
        assert report_of(outcome).usd == pytest.approx(till.charged) or unpriced
        if isinstance(outcome, Result):
            before = (till.charged, till.requests)
            await flow.fork("r", start="end", run_id="f", durable=store, **options)
            for _ in range(3):
                forked = await outcome_of(flow.resume("f", durable=store, **options))
                check(before)
                assert report_of(forked).usd <= till.charged - before[0] + 1e-9


@given(st.integers(0, 2**32))
@settings(max_examples=20, deadline=None)
def test_endpoint_never_charges_more_than_cap(seed: int) -> None:
    """Whatever fails, dies, resumes, repeats or forks: no cap is exceeded, no cost is invented."""
    asyncio.run(live_through(seed))


@pytest.mark.slow
@given(st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_no_life_charges_more_than_cap(seed: int) -> None:
    """Ten times as many lives of a run exceed no cap either."""
    asyncio.run(live_through(seed))
