"""Figures of many runs over HTTP."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from graphorch import RunFailed
from graphorch.journal.records import RunQuery
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.runs.stores import open_store
from graphorch.server.app import build_app
from graphorch.trace.spans.index import SpanIndex
from tests.server.routes.test_run import get, run_shop
from tests.server.serving import Client, application, opened
from tests.trace.flows import Model, Order, SilentModel, shop
from tests.views.many_runs import copy_many

STATISTICS = "/api/statistics"


async def keep(folder: Path, run_id: str, amount: int = 3, **options: Any) -> None:
    """Keep a run of the shop, also one that fails."""
    given = {"client": Model(), "durable": str(folder / "runs.sqlite"), **options}
    with suppress(RunFailed):
        await shop().run(Order(order="tides", amount=amount), run_id=run_id, **given)


def test_figures_are_those_of_list(tmp_path: Path) -> None:
    """Figures by every word add up to the costs, calls and errors of the list of runs."""

    async def main() -> None:
        await keep(tmp_path, "a", tags={"team": "ads"})
        await keep(tmp_path, "b", tags={"team": "sea"})
        await keep(tmp_path, "c", amount=50)
        async with application(tmp_path) as ask:
            rows = (await get(ask, "/api/runs"))["runs"]
            tables = {
                by: await get(ask, STATISTICS, f"by={by}")
                for by in ("agent", "model", "tag", "node", "flow")
            }
            heat = await get(ask, f"{STATISTICS}/heat")
        usd = sum(row["figures"]["usage"]["usd"] for row in rows)
        calls = sum(row["figures"]["usage"]["calls"] for row in rows)
        errors = sum(row["figures"]["errors"] for row in rows)
        for table in tables.values():
            assert table["total"]["usd"] == pytest.approx(usd, abs=1e-8)
            assert sum(row["usd"] for row in table["rows"]) == pytest.approx(usd, abs=1e-8)
            assert table["total"]["calls"]["calls"] == calls
            assert table["total"]["errors"] == errors > 0
            assert table["total"]["of_runs"]["failed"] == 1
            assert table["left_out"] == {"unreadable": [], "erased": 0}
        assert {tuple(row["key"]) for row in tables["tag"]["rows"]} == {("ads",), ("sea",), ("",)}
        assert (tables["tag"]["tag"], tables["tag"]["tags"]) == ("team", ["team"])
        assert ["order", "plan"] in [row["key"] for row in tables["node"]["rows"]]
        cells = [cell for row in heat["rows"] for cell in row["cells"]]
        assert sum(cell["usd"] for cell in cells) == pytest.approx(usd, abs=1e-8)
        assert sum(cell["errors"] for cell in cells) == errors

    asyncio.run(main())


@pytest.mark.parametrize(
    ("query", "runs"),
    [("", 2), ("tag=team%3Dads", 1), ("flow=order", 2), ("flow=others", 0), ("until=10", 0)],
)
def test_figures_are_narrowed(tmp_path: Path, query: str, runs: int) -> None:
    """Flow, tag and time narrow what is counted; nothing is a row of zeros."""

    async def main() -> None:
        await keep(tmp_path, "a", tags={"team": "ads"})
        await keep(tmp_path, "b")
        async with application(tmp_path) as ask:
            figures = await get(ask, STATISTICS, query)
            heat = await get(ask, f"{STATISTICS}/heat", query)
        assert figures["total"]["runs"] == runs
        assert (figures["total"]["usd"] > 0) == (runs > 0)
        assert bool(heat["rows"]) == bool(figures["times"]) == (runs > 0)

    asyncio.run(main())


def test_percentile_of_few_values_is_null(tmp_path: Path) -> None:
    """A 99th percentile needs 100 values; the median does not."""

    async def main() -> None:
        await run_shop(tmp_path)
        async with application(tmp_path) as ask:
            few = (await get(ask, STATISTICS))["total"]
            await multiply(tmp_path, 99)
            many = (await get(ask, STATISTICS))["total"]
        assert few["steps"]["latency"]["p50"] is not None
        assert few["of_runs"]["latency"]["p99"] is None
        assert many["of_runs"]["latency"]["p99"] is not None

    asyncio.run(main())


def test_estimated_calls_are_counted(tmp_path: Path) -> None:
    """Calls whose tokens no endpoint reported are as many in figures, list and page of a run."""

    async def main() -> None:
        await keep(tmp_path, "a")
        await keep(tmp_path, "b", client=SilentModel())
        async with application(tmp_path) as ask:
            figures = await get(ask, STATISTICS, "by=model")
            rows = {row["run_id"]: row for row in (await get(ask, "/api/runs"))["runs"]}
            page = await get(ask, "/api/runs/b")
        listed = {run_id: row["figures"]["usage"]["estimated"] for run_id, row in rows.items()}
        calls = figures["total"]["calls"]
        assert calls["estimated"] == calls["calls"] / 2 == listed["b"]
        assert figures["total"]["of_runs"]["estimated"] == listed["b"]
        assert sum(row["calls"]["estimated"] for row in figures["rows"]) == listed["b"]
        assert page["row"]["figures"]["usage"]["estimated"] == listed["b"] > listed["a"] == 0

    asyncio.run(main())


def test_served_answers_cost_nothing_again(tmp_path: Path) -> None:
    """What a fork takes over from the record is counted as served, and paid by its source alone."""

    async def main() -> None:
        await keep(tmp_path, "a")
        async with application(tmp_path) as ask:
            before = (await get(ask, STATISTICS))["total"]
            given: Any = {"durable": str(tmp_path / "runs.sqlite")}
            fork = await shop().fork("a", start="answer", run_id="f", **given)
            with suppress(RunFailed):
                await shop().resume(fork, client=Model(), **given)
            after = (await get(ask, STATISTICS))["total"]
            by_agent = (await get(ask, STATISTICS, "by=agent"))["rows"]
        assert (before["served"], after["served"]) == (0, 1)
        assert after["calls"]["calls"] == before["calls"]["calls"] + 1
        served = {row["key"][0]: row["served"] for row in by_agent}
        assert served == {"plan": 1, "answer": 0}

    asyncio.run(main())


def test_unreadable_runs_are_named(tmp_path: Path) -> None:
    """Erased runs are counted and damaged ones named; neither is part of a sum."""

    async def main() -> None:
        for run_id in ("good", "gone", "bad"):
            await keep(tmp_path, run_id)
        async with application(tmp_path) as ask:
            whole = await get(ask, STATISTICS)
            async with open_store(tmp_path / "runs.sqlite") as store:
                await store.erase("gone")
            damage(tmp_path / "runs.sqlite", "bad")
            figures = await get(ask, STATISTICS)
        assert whole["total"]["runs"] == 3
        assert figures["total"]["runs"] == 1
        assert figures["left_out"]["erased"] == 1
        [left_out] = figures["left_out"]["unreadable"]
        assert (left_out["run_id"], left_out["problem"]) == ("bad", "damaged")

    asyncio.run(main())


def damage(path: Path, run_id: str) -> None:
    """Alter a record of a run, and the mark that it has been counted."""
    with sqlite3.connect(path) as db:
        [(run,)] = db.execute("SELECT id FROM runs WHERE run_id = ?", (run_id,))
        db.execute("UPDATE records SET body = x'7b7d' WHERE run = ? AND seq = 3", (run,))
        db.execute("UPDATE traces SET seq = 0 WHERE run_id = ?", (run_id,))
    db.close()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("by=colour", "by"),
        ("since=soon", "since"),
        ("since=nan", "since"),
        ("since=20&until=10", "ends before it begins"),
        ("tag=team", "Write name=value"),
        ("flow=%0A", "not the name of a flow"),
        ("by=tag&name=%0A", "not the name of a tag"),
        ("by=model&name=team", "by=tag"),
        ("utc_offset=86400", "utc_offset"),
        ("colour=red", "colour"),
    ],
)
def test_wrong_window_is_explained(tmp_path: Path, query: str, words: str) -> None:
    """A parameter that nothing can have is one message with its place."""

    async def main() -> None:
        async with application(tmp_path) as ask:
            answer = await ask("GET", STATISTICS, query=query)
        assert (answer.status, answer.problem) == (422, "input")
        assert words in str(answer.value)

    asyncio.run(main())


async def multiply(folder: Path, count: int) -> None:
    """Copy the run "one" many times."""
    store = await SqliteStore.open(folder / "runs.sqlite")
    try:
        await copy_many(store, await store.load("one"), count)
    finally:
        await store.close()


def test_figures_asked_again_are_known(tmp_path: Path) -> None:
    """The same figures read no row of spans again, until a run of any process changes."""

    async def main() -> None:
        await run_shop(tmp_path)
        async with opened(tmp_path) as context:
            ask = Client(build_app(context))
            await get(ask, f"{STATISTICS}/heat")
            statements: list[str] = []
            async with context.reader.open_index() as index:
                index._db.set_trace_callback(statements.append)

            async def count_questions(query: str) -> int:
                statements.clear()
                await get(ask, STATISTICS, query)
                return sum("FROM spans" in statement for statement in statements)

            asked = [await count_questions(f"by={by}") for by in ("flow", "flow", "agent", "flow")]
            before = (await get(ask, STATISTICS))["total"]
            # Another process reads a new run into the rows, so that nothing is left to read here.
            await keep(tmp_path, "two")
            async with open_store(tmp_path / "runs.sqlite") as store:
                with SpanIndex.open(store) as elsewhere:
                    assert (await elsewhere.catch_up(store)).runs == 1
            after = (await get(ask, STATISTICS))["total"]
        assert asked[1] == asked[3] == 0 < asked[2] < asked[0] / 2
        assert (before["runs"], after["runs"]) == (1, 2)
        assert after["usd"] == pytest.approx(2 * before["usd"])

    asyncio.run(main())


def test_window_reads_no_earlier_runs(tmp_path: Path) -> None:
    """Runs in which nothing happened in the window are not read for its figures."""

    async def main() -> None:
        await run_shop(tmp_path)
        async with opened(tmp_path) as context:
            ask = Client(build_app(context))
            counts: list[tuple[int, int]] = []
            for query in (f"since={time.time() + 10_000}", f"since={time.time() - 10_000}"):
                figures = await get(ask, STATISTICS, query)
                async with context.reader.open_index() as index:
                    counts.append((len(index.find_known()), figures["total"]["runs"]))
        assert counts == [(0, 0), (1, 1)]

    asyncio.run(main())


@pytest.mark.slow
def test_figures_equal_journal_on_many_calls(tmp_path: Path) -> None:
    """Dollars, tokens and calls are those that plain reading of 10,000 calls' records finds."""

    async def main() -> None:
        await run_shop(tmp_path)
        await multiply(tmp_path, 4_999)
        async with open_store(tmp_path / "runs.sqlite") as store:
            calls = tokens = 0
            usd = 0.0
            query: RunQuery | None = RunQuery(limit=500)
            while query is not None:
                page = await store.list_runs(query)
                for head in page.runs:
                    for record in (await store.load(head.run_id)).records:
                        if record.kind == "call":
                            response = record.body["response"]
                            calls += 1
                            tokens += response["usage"]["input_tokens"]
                            usd += response["usd"]
                query = RunQuery(limit=500, after=page.next) if page.next else None
        async with application(tmp_path) as ask:
            total = (await get(ask, STATISTICS))["total"]
        assert calls == 10_000
        assert (total["calls"]["calls"], total["calls"]["input_tokens"]) == (calls, tokens)
        assert total["usd"] == pytest.approx(usd, abs=1e-6)

    asyncio.run(main())
