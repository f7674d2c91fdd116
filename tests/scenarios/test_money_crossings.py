"""Money where it meets other features: configuration, forks, policies, maps, debuggers, SIGKILL."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Budget, Context, Failed, Graph, Result, Retry, RunFailed, agent, node
from graphorch.clock import Runtime
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import NewRun
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.models.budgets.spend_store import MemorySpend
from graphorch.models.client import ModelClient, OnText
from graphorch.models.config.accounts import AccountFactory
from graphorch.models.config.loader import parse_config
from graphorch.models.messages import Request, Response
from graphorch.models.openai.client import CallLimits, OpenAIClient
from graphorch.models.policies.call import PolicyRules
from graphorch.models.policies.hedging import Hedge
from graphorch.models.policies.policy import fallback
from graphorch.models.policies.target import Target
from graphorch.runs.clients import SharedClient
from tests.models.servers import serve
from tests.scenarios.till import (
    ASKED,
    CALL,
    CAP,
    PRICES,
    First,
    Question,
    Score,
    Second,
    State,
    Till,
    build,
    opened,
    outcome_of,
    report_of,
)


# ---- budgets of the configuration and of earlier processes ------------
def share(client: ModelClient, budgets: dict[str, Any], spend: MemorySpend) -> Any:
    """Return a client with the budgets of a configuration."""
    config = parse_config({"budgets": budgets})
    return SharedClient(client, AccountFactory(config=config, store=spend), owned=False)


def test_own_budget_survives_day() -> None:
    """A run keeps its own budget when it is resumed under the budget of a day."""

    async def main() -> None:
        till, store, flow = Till(*["length"] * 100), MemoryStore(), build()
        async with opened(till) as client:
            shared = share(client, {"day": {"usd": 100}}, MemorySpend())
            options = {"client": shared, "durable": store}
            outcome = await outcome_of(
                flow.run(ASKED, run_id="r", budget=Budget(calls=2), **options)
            )
            for _ in range(5):
                outcome = await outcome_of(flow.resume("r", **options))
        assert outcome.end_reason == "limit:calls"
        assert till.requests == 2

    asyncio.run(main())


def test_tags_survive_resume() -> None:
    """A resumed run counts at the budget of its tag, although nothing names the tag again."""

    async def main() -> None:
        till, store, flow = Till(*["length"] * 100), MemoryStore(), build()
        async with opened(till) as client:
            shared = share(client, {"tags": {"blog": {"calls": 2}}}, MemorySpend())
            options = {"client": shared, "durable": store}
            tagged = flow.run(ASKED, run_id="r", tags={"blog": "yes"}, **options)
            outcome = await outcome_of(tagged)
            for _ in range(5):
                outcome = await outcome_of(flow.resume("r", **options))
        assert outcome.end_reason == "limit:calls"
        assert till.requests == 2

    asyncio.run(main())


@pytest.mark.parametrize("is_durable", [False, True])
def test_larger_budget_stays(is_durable: bool) -> None:
    """A larger budget that a resume brings holds for the resumes after it, and counts all."""

    async def main() -> None:
        till, flow, options = Till(*["length"] * 100), build(), dict[str, Any]()
        if is_durable:
            options["durable"] = MemoryStore()
        async with opened(till) as client:
            options["client"] = client
            await outcome_of(flow.run(ASKED, run_id="r", budget=Budget(calls=1), **options))
            await outcome_of(flow.resume("r", budget=Budget(calls=3), **options))
            outcome = None
            for _ in range(5):
                outcome = await outcome_of(flow.resume("r", **options))
        assert isinstance(outcome, RunFailed)
        assert outcome.end_reason == "limit:calls"
        assert till.requests == 3

    asyncio.run(main())


@pytest.mark.parametrize("is_durable", [False, True])
def test_node_budget_counts_failures(is_durable: bool) -> None:
    """A node's own budget counts what its failed attempts were charged before a resume."""

    async def main() -> None:
        @agent(output=First, model="m", max_tokens=5)
        def begin(question: Question) -> str:
            return question.question

        @node
        def lead(question: Question) -> Score:
            return Score(score=1)

        @node
        def report(first: First) -> Second:
            return Second(second=first.first)

        graph = Graph("g", State, input=Question, output=Second)
        flow = graph.hierarchy(lead, [begin], report, shares={begin: 0.5}).build()
        till, options = Till(*["cut"] * 100), dict[str, Any]()
        if is_durable:
            options["durable"] = MemoryStore()
        async with opened(till) as client:
            options["client"] = client
            run = flow.run(ASKED, run_id="r", budget=Budget(usd=2 * CAP), **options)
            outcome = await outcome_of(run)
            for _ in range(30):
                outcome = await outcome_of(flow.resume("r", **options))
        assert "budget of 'team 'begin''" in str(outcome)
        assert 0 < till.charged <= CAP

    asyncio.run(main())


# ---- SIGKILL ------------
CHILD = """
import asyncio, sys
from graphorch import Budget
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.pricing.metering import MeteredClient
from tests.scenarios.till import ASKED, PRICES, build

client = MeteredClient(OpenAIClient(sys.argv[1], "key"), PRICES)
cap = Budget(calls=3)
asyncio.run(build().run(ASKED, run_id="r", durable=sys.argv[2], client=client, budget=cap))
"""


def test_killed_call_counts_at_worst(tmp_path: Path) -> None:
    """A call that its process did not survive counts, and the answer before it is not lost."""

    async def main() -> None:
        till, path = Till("good", "silent"), tmp_path / "runs.sqlite"
        async with serve(till.answer) as server:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-c", CHILD, server.url, str(path)
            )
            async with asyncio.timeout(60):
                await till.was_silent.wait()
            child.send_signal(signal.SIGKILL)
            await child.wait()
            # the lease of the process that died has run out
            store = await SqliteStore.open(path, clock=lambda: time.time() + 60)
            async with opened(till) as client:
                options = {"client": client, "durable": store}
                outcome = await outcome_of(build().resume("r", **options))
            await store.close()
        report = report_of(outcome)
        # one answered, one lost, one asked anew; the third call of the flow has no room
        assert outcome.end_reason == "limit:calls"
        assert (till.requests, report.usage["calls"], report.unpriced) == (3, 3, 1)
        assert report.usd == pytest.approx(2 * CALL)
        lost = next(call for call in report.paid_calls if call.charge.unpriced)
        assert "process ended" in lost.error

    asyncio.run(main())


# ---- policies, and clients that others wrote ------------
def test_hedged_loser_is_charged() -> None:
    """The copy that loses a race counts at its worst case in the run."""

    async def main() -> None:
        slow, fast = Till(*["silent"] * 9), Till()
        async with serve(slow.answer) as first, serve(fast.answer) as second:
            clients = [
                OpenAIClient(server.url, "key", limits=CallLimits(total=60))
                for server in (first, second)
            ]
            targets = [
                Target(name, client, model="m", prices=PRICES)
                for name, client in zip("ab", clients, strict=True)
            ]
            rules = PolicyRules(hedge=Hedge(after=0.2, share=1.0))
            policy = fallback("p", targets, rules=rules, runtime=Runtime())
            result = await build().run(ASKED, client=policy, budget=Budget(usd=10))
            for client in clients:
                await client.aclose()
        charge = result.record.paid_calls[0].charge
        assert (charge.requests, charge.unpriced) == (2, 1)
        assert charge.booked_usd > 2 * CALL
        assert result.record.unpriced == slow.requests

    asyncio.run(main())


class Stubborn:
    """A user's own client, which repeats whatever fails."""

    def __init__(self, client: ModelClient) -> None:
        self._client = client

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        while True:
            try:
                return await self._client.complete(request, on_text)
            except Exception as error:
                if type(error).__name__ == "CapReached":
                    raise


def test_foreign_repeats_are_charged() -> None:
    """A client of the user's that repeats by itself spends no more than the cap."""

    async def main() -> None:
        till = Till(*["cut"] * 50)
        async with serve(till.answer) as server:
            client = OpenAIClient(server.url, "key")
            outcome = await outcome_of(
                build().run(ASKED, client=Stubborn(client), budget=Budget(calls=3))
            )
            await client.aclose()
        assert outcome.end_reason == "limit:calls"
        assert till.requests == 3
        assert report_of(outcome).unpriced == 3

    asyncio.run(main())


def test_wrapped_policy_is_charged_once() -> None:
    """A client around one that has meters of its own pays nothing twice."""

    async def main() -> None:
        till = Till()
        async with opened(till) as client:
            result = await build().run(ASKED, client=Stubborn(client), budget=Budget(calls=3))
        assert result.cost == pytest.approx(till.charged)
        assert [call.charge.requests for call in result.record.paid_calls] == [1, 1, 1]

    asyncio.run(main())


# ---- kept answers: maps, sub-flows, other prompts ------------
class Items(BaseModel):
    items: list[str] = []


class Item(BaseModel):
    item: str = ""


class Texts(BaseModel):
    texts: list[str] = []


class Text(BaseModel):
    text: str = ""


class Inner(Item, Text): ...


class Outer(Items, Texts): ...


def build_map(failures: list[str]) -> Any:
    """Return a map over a sub-flow whose node fails for the items in a list, once each."""

    @node
    async def work(ctx: Context, item: Item) -> Text:
        text = await ctx.complete(f"work on {item.item}", model="m", max_tokens=5)
        if item.item in failures:
            failures.remove(item.item)
            raise OSError("the disk is full")
        return Text(text=text)

    inner = Graph("inner", Inner, input=Item, output=Text).chain(work).build()
    graph = Graph("outer", Outer, input=Items, output=Texts)
    workers = graph.map(
        "workers",
        inner,
        over=lambda state: [Item(item=item) for item in state.items],
        gather=lambda texts: Texts(texts=[text.text for text in texts]),
        max_items=9,
    )
    return graph.chain(workers).build()


@pytest.mark.parametrize("is_durable", [False, True])
def test_answers_survive_in_map(is_durable: bool) -> None:
    """Items of a map whose nodes fail after their answers get them again, and no others do."""

    async def main() -> None:
        till, options = Till(), dict[str, Any]()
        flow = build_map(["a", "c"])
        if is_durable:
            options["durable"] = MemoryStore()
        async with opened(till) as client:
            options["client"] = client
            outcome = await outcome_of(
                flow.run(Items(items=["a", "b", "c"]), run_id="r", **options)
            )
            for _ in range(5):
                if isinstance(outcome, Result):
                    break
                outcome = await outcome_of(flow.resume("r", **options))
        assert isinstance(outcome, Result)
        assert till.requests == 3
        assert outcome.cost == pytest.approx(till.charged)

    asyncio.run(main())


def test_other_model_is_asked() -> None:
    """A resume under another model asks that model: what is kept is no answer of it."""

    async def main() -> None:
        till, flow = Till(), build(broken=1)
        async with opened(till) as client:
            options: dict[str, Any] = {"client": client, "durable": MemoryStore()}
            await outcome_of(flow.run(ASKED, run_id="r", **options))
            result = await flow.resume("r", model="m2", **options)
        assert till.requests == 5
        assert result.record.unpriced == 2  # the price of the other model is not known

    asyncio.run(main())


def test_deferred_retry_is_served() -> None:
    """A retry that a stop put off until the resume is served like any resume."""

    async def main() -> None:
        till, store = Till(), MemoryStore()
        flow = build(broken=1, retry=Retry(2, first=60.0, longest=60.0))
        async with opened(till) as client:
            options: dict[str, Any] = {"client": client, "durable": store}

            def stop(event: object) -> None:
                if isinstance(event, Failed):
                    flow.stop("r")

            stopped = await outcome_of(flow.run(ASKED, run_id="r", watch=[stop], **options))
            assert isinstance(stopped, RunFailed)
            result = await flow.resume("r", **options)
        assert till.requests == 3
        assert result.cost == pytest.approx(till.charged)

    asyncio.run(main())


# ---- forks and debuggers ------------
def test_fork_pays_for_itself() -> None:
    """A fork has the budget of its origin for what it asks anew, and reports that alone."""

    async def main() -> None:
        till, store, flow = Till(), MemoryStore(), build()
        async with opened(till) as client:
            options: dict[str, Any] = {"client": client, "durable": store}
            await flow.run(ASKED, run_id="r", budget=Budget(calls=3), **options)
            again = await flow.rerun("r", start="end", run_id="f", **options)
            assert again.result.cost == pytest.approx(2 * CALL)
            assert again.result.usage["calls"] == 2
            assert again.difference.usd == pytest.approx(0)
            till.script = ["length"] * 99
            await flow.fork("r", start="begin", run_id="g", **options)
            outcome = None
            for _ in range(6):
                outcome = await outcome_of(flow.resume("g", **options))
        assert isinstance(outcome, RunFailed)
        assert outcome.end_reason == "limit:calls"
        assert till.requests == 3 + 2 + 3

    asyncio.run(main())


def test_session_counts_steps_taken_back() -> None:
    """A debugger's session shows what it spent, failed calls and steps taken back included."""
    till = Till("length")

    async def main() -> tuple[float, int]:
        async with opened(till) as client:
            session = build().debug(ASKED, client=client)
            try:
                failed = await asyncio.to_thread(session.step)
                assert failed.usd == pytest.approx(CALL)
                await asyncio.to_thread(session.step_back)
                await asyncio.to_thread(session.step)
                spent = session.controller.spent
            finally:
                await asyncio.to_thread(session.close)
        return spent.usd, spent.requests

    usd, requests = asyncio.run(main())
    assert usd == pytest.approx(till.charged)
    assert requests == till.requests == 2


# ---- figures for people who run without a budget ------------
def test_lost_call_counts_without_budget() -> None:
    """A call that its process did not survive is reported, and counts at a budget given later."""

    async def main() -> None:
        till, store = Till("silent"), MemoryStore(clock=lambda: now[0])
        now = [1e9]
        async with opened(till, seconds=60) as client:
            dying = asyncio.create_task(
                build().run(ASKED, run_id="r", client=client, durable=store)
            )
            await till.was_silent.wait()
            records = (await store.load("r")).records
            dying.cancel()
            with pytest.raises(asyncio.CancelledError):
                await dying
        # what was on the disk when the process died
        left = MemoryStore(clock=lambda: now[0])
        head = (await store.load("r")).head
        await left.create(NewRun("r", head.flow, head.fingerprint, head.format))
        lease = await left.claim("r", "dead", ttl=1)
        await left.append(lease, records, expected_last_seq=0)
        now[0] += 60
        async with opened(till) as client:
            options: dict[str, Any] = {"client": client, "durable": left}
            outcome = await outcome_of(build().resume("r", budget=Budget(calls=2), **options))
        assert outcome.end_reason == "limit:calls"
        assert (till.requests, report_of(outcome).unpriced) == (2, 1)

    asyncio.run(main())
