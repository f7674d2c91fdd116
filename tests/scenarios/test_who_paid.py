"""Who was asked, who failed and what it cost: every account against the ledger of the server.

The server is a real one on loopback. Beside each request it writes down the model, what it did, and
what it charges; the runs fail over, hedge, retry, are cancelled, die, are resumed and forked.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Budget, Context, Graph, InputError, Retry, agent, node
from graphorch.engine.report import RunReport
from graphorch.journal import MemoryStore
from graphorch.models.config.loader import parse_config
from graphorch.models.config.router import Router
from graphorch.models.openai import transport  # imports what a first call would import slowly
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.explain import explain_run
from graphorch.trace.analysis.statistics import Calls
from graphorch.trace.spans.builder import build_trace
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.redaction import Redaction
from graphorch.views.runs.steps import build_step_rows
from tests.models.servers import Asked, completion, serve
from tests.scenarios.till import outcome_of, report_of
from tests.views.agreement import check_sums

assert transport
TOKEN = 1e-6
IN, OUT = 7, 3
QUICK = ("good", "good", "good", "fails", "length", "invalid", "cut", "slow", "silent")
ALL = (*QUICK, "busy")  # after which targets rest for some seconds


class Ledger:
    """Server that plays a script by model, and keeps its own book."""

    def __init__(
        self,
        script: dict[str, list[str]] | None = None,
        actions: Sequence[str] = QUICK,
        seed: int = 0,
    ) -> None:
        self.script = script or {}
        self.possible = actions
        self.random = random.Random(seed)
        self.requests: Counter[str] = Counter()  # by model
        self.actions: Counter[tuple[str, str]] = Counter()
        self.billed: Counter[str] = Counter()  # tokens by model whose bill was sent
        self.was_silent = asyncio.Event()

    def _choose(self, model: str) -> str:
        if self.script:
            left = self.script.get(model, [])
            return left.pop(0) if left else "good"
        return self.random.choice(self.possible)

    async def answer(self, asked: Asked) -> None:
        model = str(asked.body["model"])
        action = self._choose(model)
        self.requests[model] += 1
        self.actions[model, action] += 1
        if action == "cut":
            await asked.send(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{")
            asked.close()
            return
        if action == "silent":
            self.was_silent.set()
            await asked.until_closed()
            return
        if action == "slow":
            await asyncio.sleep(0.05)
        status, body = self._describe(action, model)
        content = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-type: application/json\r\n"
        head += "retry-after: 0\r\n"
        with suppress(ConnectionError):
            await asked.send(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)

    def _describe(self, action: str, model: str) -> tuple[int, dict[str, Any]]:
        if action == "fails":
            return 500, {"error": {"message": "it broke"}}
        if action == "busy":
            return 429, {"error": {"message": "later"}}
        if action == "length":
            return 200, {**completion('{"first"', "length"), "model": model}
        text = '{"oops": 1}' if action == "invalid" else '{"first": "fine", "why": 1}'
        return 200, {**completion(text), "model": model}


class Question(BaseModel):
    question: str = ""


class First(BaseModel):
    first: str = ""
    why: int = 0


class Second(BaseModel):
    second: str = ""


class State(Question, First, Second): ...


class World:
    """A ledger, a router with policies over its models, and a store."""

    def __init__(self, url: str, folder: Path, attempt_timeout: float = 5.0) -> None:
        self.kept = folder / "spend.db"
        self.router = Router(
            parse_config(
                {
                    "endpoints": {"local": {"base_url": url, "key_env": "KEY"}},
                    "prices": {name: {"input": 1, "output": 1} for name in "abc"},
                    "breaker": {"in_a_row": 1000, "ratio": 1.0, "volume": 1000},
                    "budgets": {"day": {"usd": 1000}, "kept": str(self.kept)},
                    "policies": {
                        "main": {
                            "kind": "fallback",
                            "targets": ["a", "b"],
                            "rounds": 2,
                            "attempt_timeout": attempt_timeout,
                            "retry": {"first": 0.001, "longest": 0.002, "reserve": 1000},
                        },
                        "hedged": {
                            "kind": "fallback",
                            "targets": ["policy/main", "c"],
                            "hedge_after": 0.02,
                            "hedge_share": 1.0,
                            "retry": {"first": 0.001, "longest": 0.002, "reserve": 1000},
                        },
                    },
                }
            ),
            environment={"KEY": "secret"},
        )
        self.store = MemoryStore()
        self.reports: list[RunReport] = []

    async def keep(self, work: Any) -> None:
        """Await a run, and keep its report however it ended."""
        self.reports.append(report_of(await outcome_of(work)))

    def read_spent(self) -> tuple[float, int, int]:
        """Return what the budget of the day booked: dollars, tokens and requests."""
        import sqlite3

        with sqlite3.connect(self.kept) as db:
            (row,) = db.execute("SELECT total(usd), sum(tokens), sum(calls) FROM spend")
        db.close()
        return row[0] / 1e12, row[1], row[2]


def build(
    model: str, broken: list[int] | None = None, retry: int = 1, timeout: float = 60.0
) -> Any:
    broken = broken or [0]

    @agent(
        output=First, model=model, max_tokens=5, timeout=timeout, retry=Retry(retry, first=0.001)
    )
    def begin(question: Question) -> str:
        return f"begin {question.question}"

    @node(timeout=timeout)
    async def end(ctx: Context, first: First) -> Second:
        text = await ctx.complete(f"end {first.first}", model=model, max_tokens=5)
        if broken[0]:
            broken[0] -= 1
            raise OSError("the disk is full")
        return Second(second=text)

    return Graph("paying", State, input=Question, output=Second).chain(begin, end).build()


async def read_calls(store: MemoryStore, *by: str) -> dict[str, Calls]:
    with SpanIndex.open(store) as index:
        await index.catch_up(store)
        return {row.key[0]: row for row in statistics.calls(index, by)}


def total(rows: Iterable[Any], name: str) -> float:
    return math.fsum(getattr(row, name) for row in rows)


MODELS = ("a", "policy/main", "policy/hedged")
GROUPS = (
    ("model",),
    ("endpoint",),
    ("agent",),
    ("step",),
    ("run",),
    ("policy",),
    ("agent", "model"),
)
SUMS = (
    "requests", "failed_requests", "unusable", "retries", "fallbacks", "hedges", "input_tokens",
    "output_tokens", "usd", "unpriced", "booked_usd",
)  # fmt: skip


async def run_mixed(world: World, number: int, rng: random.Random) -> None:
    """Begin a run, resume it if it failed, and perhaps fork it."""
    run_id, model = f"r{number}", rng.choice(MODELS)
    flow = build(model, [rng.randrange(2)], rng.randrange(1, 3), timeout=0.25)
    options: dict[str, Any] = {"durable": world.store, "client": world.router}
    work = asyncio.create_task(
        world.keep(
            flow.run(Question(question=run_id), run_id=run_id, budget=Budget(usd=1), **options)
        )
    )
    if rng.random() < 0.3:
        await asyncio.sleep(rng.random() * 0.1)
        with suppress(InputError):  # it has ended already
            flow.stop(run_id)
    await work
    if world.reports[-1].run.status != "succeeded":
        world.reports.pop()
        await world.keep(flow.resume(run_id, **options))
    if rng.random() < 0.4:
        with suppress(InputError):  # its first node has no result
            fork = await flow.fork(run_id, start="begin", run_id=f"f{number}", **options)
            await world.keep(flow.resume(fork, **options))


async def check_law(seed: int, runs: int, folder: Path, actions: Sequence[str] = ALL) -> Ledger:
    rng, ledger = random.Random(seed), Ledger(actions=actions, seed=seed)
    async with serve(ledger.answer) as server:
        world = World(server.url, folder, attempt_timeout=0.1)
        for number in range(runs):
            await run_mixed(world, number, rng)
        await world.router.aclose()
    usd, tokens, requests = world.read_spent()
    charges = [call.charge for report in world.reports for call in report.paid_calls]
    # 1. What budgets booked is what the runs report, call by call.
    assert math.isclose(math.fsum(charge.booked_usd for charge in charges), usd)
    assert sum(charge.booked_tokens for charge in charges) == tokens
    assert sum(charge.requests for charge in charges) == requests
    assert requests == ledger.requests.total()
    parts = [
        part.charge
        for report in world.reports
        for call in report.paid_calls
        for part in call.requests
    ]
    assert math.isclose(math.fsum(charge.booked_usd for charge in parts), usd)
    # 2. However calls are grouped, they come to the same, and to what the runs report.
    totals = {
        by: {name: total((await read_all(world.store, by)), name) for name in SUMS} for by in GROUPS
    }
    for sums in totals.values():
        assert sums == pytest.approx(totals["agent",])
    assert totals["model",]["booked_usd"] == pytest.approx(usd)
    assert totals["model",]["requests"] == requests
    assert totals["model",]["usd"] == pytest.approx(
        math.fsum(report.usd for report in world.reports)
    )
    # 3. Each model has the requests that it was sent.
    by_model = await read_calls(world.store, "model")
    asked = {name: row.requests for name, row in by_model.items() if row.requests}
    assert asked == dict(ledger.requests)
    for name, row in by_model.items():
        cut, invalid = ledger.actions[name, "length"], ledger.actions[name, "invalid"]
        assert row.unusable <= cut + invalid  # a cancelled one is neither
        assert row.booked_usd >= (ledger.actions[name, "good"] * (IN + OUT) * TOKEN) - 1e-12
    # 4. A run's own page says the same.
    for report in world.reports:
        rows, _, faults = build_step_rows(await world.store.load(report.run_id))
        assert not faults
        assert total(rows, "booked_usd") == pytest.approx(report.booked_usd)
        assert total(rows, "usd") == pytest.approx(report.usd)
        assert sum(row.unpriced for row in rows) == report.unpriced
    # 5. So do a list of runs and the nodes of each.
    assert await check_sums(world.store) >= len(world.reports)
    return ledger


async def read_all(store: MemoryStore, by: tuple[str, ...]) -> list[Calls]:
    with SpanIndex.open(store) as index:
        await index.catch_up(store)
        return list(statistics.calls(index, by))


def test_accounts_agree_with_ledger(tmp_path: Path) -> None:
    """Budgets, results, records and statistics agree with each other and with the server."""
    ledger = asyncio.run(check_law(4, 2, tmp_path, QUICK))
    assert len({action for _, action in ledger.actions}) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 8))
def test_many_accounts_agree_with_ledger(seed: int, tmp_path: Path) -> None:
    asyncio.run(check_law(seed, 8, tmp_path))


# ---- who failed, one case at a time --------------------------------------------------------------
async def run_scripted(
    script: dict[str, list[str]], model: str, folder: Path, **options: Any
) -> tuple[World, Ledger]:
    ledger = Ledger(script)
    async with serve(ledger.answer) as server:
        world = World(server.url, folder)
        flow = build(model)
        work = flow.run(Question(), run_id="r", durable=world.store, client=world.router, **options)
        await world.keep(work)
        await world.router.aclose()
    return world, ledger


@pytest.mark.parametrize("by", ["model", "endpoint"])
def test_failing_primary_has_its_own_row(by: str, tmp_path: Path) -> None:
    """A model that failed behind a fallback is listed with its requests, and the other with its."""

    async def main() -> None:
        world, _ = await run_scripted({"a": ["fails", "fails"], "b": []}, "policy/main", tmp_path)
        rows = await read_calls(world.store, by)
        assert sorted(rows) == ["a", "b"]
        primary, other = rows["a"], rows["b"]
        assert (primary.calls, primary.failed, primary.requests) == (2, 2, 2)
        assert (primary.failed_requests, primary.unusable, primary.fallbacks) == (2, 0, 0)
        assert (other.calls, other.failed, other.requests) == (2, 0, 2)
        assert (other.failed_requests, other.fallbacks) == (0, 2)
        assert (primary.usd, primary.unpriced) == (0, 2)
        assert primary.booked_usd > other.booked_usd == pytest.approx(2 * (IN + OUT) * TOKEN)
        (by_flow,) = (await read_calls(world.store, "flow")).values()
        assert (by_flow.calls, by_flow.failed, by_flow.requests) == (2, 0, 4)

    asyncio.run(main())


def test_invalid_answer_is_no_failed_request(tmp_path: Path) -> None:
    """An answer that does not fit was answered: it is unusable, and its request has not failed."""

    async def main() -> None:
        world, _ = await run_scripted({"a": ["invalid"], "b": []}, "policy/main", tmp_path)
        rows = await read_calls(world.store, "model")
        assert (rows["a"].failed_requests, rows["a"].unusable) == (0, 1)
        assert rows["a"].usd == pytest.approx(2 * (IN + OUT) * TOKEN)

    asyncio.run(main())


@pytest.mark.parametrize(
    "action, asked", [("length", {"a": 1}), ("fails", {"a": 2, "b": 2})], ids=["at once", "all"]
)
def test_failed_call_has_endpoint(action: str, asked: dict[str, int], tmp_path: Path) -> None:
    """A call without an answer is put down to the targets that it asked, all of them or one."""

    async def main() -> None:
        world, _ = await run_scripted(
            {name: [action] * 9 for name in "ab"}, "policy/main", tmp_path
        )
        rows = await read_calls(world.store, "endpoint")
        assert {name: row.requests for name, row in rows.items()} == asked
        assert all(row.failed == 1 for row in rows.values())

    asyncio.run(main())


def test_loser_of_hedge_is_listed(tmp_path: Path) -> None:
    """The copy that lost is in the report, the record and the statistics, with what was booked."""

    async def main() -> None:
        script = {"a": ["silent"], "b": [], "c": []}
        world, _ = await run_scripted(script, "policy/hedged", tmp_path)
        call = world.reports[0].paid_calls[0]
        loser, winner = sorted(call.requests, key=lambda request: request.target)
        assert (loser.target, loser.outcome, loser.is_hedge) == ("a", "cancelled", False)
        assert (winner.target, winner.outcome, winner.is_hedge) == ("c", "ok", True)
        assert loser.began < winner.began
        assert loser.charge.unpriced == 1
        assert call.charge.booked_usd == pytest.approx(
            loser.charge.booked_usd + winner.charge.booked_usd
        )
        rows = await read_calls(world.store, "model")
        assert rows["a"].booked_usd >= loser.charge.booked_usd > 0
        assert (rows["c"].hedges, rows["c"].requests) == (1, 1)

    asyncio.run(main())


def test_cut_call_shows_what_was_booked(tmp_path: Path) -> None:
    """A run that failed of a cut answer says what its budget booked, everywhere alike."""

    async def main() -> None:
        world, _ = await run_scripted({"a": ["cut"] * 9}, "a", tmp_path, budget=Budget(usd=1))
        (report,) = world.reports
        booked, _, _ = world.read_spent()
        assert (report.usd, report.run.status) == (0, "failed")
        assert booked > 0
        assert report.booked_usd == pytest.approx(booked)
        (step,) = report.steps()
        rows = build_step_rows(await world.store.load("r"))[0]
        (row,) = (await read_calls(world.store, "model")).values()
        assert step.booked_usd == rows[0].booked_usd == pytest.approx(booked)
        assert row.booked_usd == pytest.approx(booked)
        assert row.unpriced == step.unpriced == rows[0].unpriced == report.unpriced
        log = await world.store.load("r")
        trace = build_trace(log.head, log.records)
        told = explain_run(report.run, trace, Redaction(values=())).cost
        assert told[-1] == f"{booked / 1:.0%} of its budget of $1 is booked"
        assert f"at most ${booked:.6f} in all" in told[0]

    asyncio.run(main())


def test_fork_pays_for_itself_and_inherits_tags(tmp_path: Path) -> None:
    """What a rerun paid is apart from what the old run had paid, and it keeps the tags of that."""

    async def main() -> None:
        ledger = Ledger({"a": []})
        async with serve(ledger.answer) as server:
            world, flow = World(server.url, tmp_path), build("a")
            options: dict[str, Any] = {"durable": world.store, "client": world.router}
            caller = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            tags = {"team": "search", "week": "1", "traceparent": caller}
            await flow.run(Question(), run_id="old", tags=tags, **options)
            changed = await flow.rerun(
                "old", start="end", run_id="new", tags={"week": "2"}, **options
            )
            fork = await flow.fork("old", start="end", run_id="fork", **options)
            await world.router.aclose()
        price = (IN + OUT) * TOKEN
        assert changed.result.cost == pytest.approx(price)
        difference = changed.difference
        assert (difference.paid_usd, difference.kept_usd) == pytest.approx((price, price))
        assert f"paid ${price:.6f} for what it ran; what it took over" in str(difference)
        by_run = await read_calls(world.store, "run")
        assert by_run["new"].usd == pytest.approx(price)
        assert by_run["old"].usd == pytest.approx(2 * price)
        heads = {head.run_id: head for head in (await world.store.list_runs()).runs}
        assert heads["new"].tags == {"team": "search", "week": "2"}
        assert heads[fork].tags == {"team": "search", "week": "1"}

    asyncio.run(main())
