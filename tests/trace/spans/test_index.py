"""The index beside the records: it catches up, holds no content, and goes when its run goes."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest

from graphorch.journal.errors import StoreUnavailable
from graphorch.journal.memory import MemoryStore
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.trace.analysis import statistics
from graphorch.trace.analysis.selection import Selection
from graphorch.trace.spans.index import SpanIndex
from graphorch.trace.spans.sampling import Sampling
from tests.trace.running import ran


def test_catch_up_reads_new_runs() -> None:
    """Only runs that changed are read."""

    async def main() -> None:
        store = await ran("a")
        with SpanIndex.open(store) as index:
            assert (await index.catch_up(store)).runs == 1
            assert (await index.catch_up(store)).runs == 0
            await ran("b", 12, store=store)
            assert (await index.catch_up(store)).runs == 1
            assert sum(row.runs for row in statistics.runs(index)) == 2

    asyncio.run(main())


def test_empty_journal_gives_empty_tables() -> None:
    async def main() -> None:
        store = MemoryStore()
        with SpanIndex.open(store) as index:
            assert (await index.catch_up(store)).runs == 0
            makers = (
                statistics.calls,
                statistics.steps,
                statistics.errors,
                statistics.runs,
                statistics.loops,
                statistics.findings,
            )
            assert [list(make(index)) for make in makers] == [[]] * 6

    asyncio.run(main())


def test_rows_stay_in_journal_file(
    tmp_path: Path,
) -> None:
    """The rows are in the file of the journal, and are there the next time."""

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db", sync="normal")
        await ran("a", store=store)
        with SpanIndex.open(store) as index:
            await index.catch_up(store)
        await store.close()
        again = await SqliteStore.open(tmp_path / "runs.db", sync="normal")
        with SpanIndex.open(again) as index:
            assert (await index.catch_up(again)).runs == 0
            assert sum(row.calls for row in statistics.calls(index)) == 2
        await again.close()

    asyncio.run(main())
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]


def test_index_holds_no_content(tmp_path: Path) -> None:
    """The index holds neither prompts nor answers nor state."""

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db", sync="normal")
        await ran("a", store=store)
        with SpanIndex.open(store) as index:
            await index.catch_up(store)
            rows = [*index.query("SELECT * FROM spans"), *index.query("SELECT * FROM traces")]
        await store.close()
        assert rows
        assert "tides" not in repr(rows)

    asyncio.run(main())


@pytest.mark.parametrize("how", ["erase", "prune"])
def test_erased_runs_lose_rows(tmp_path: Path, how: str) -> None:
    """Erasing or pruning a run takes its rows along."""

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db", sync="normal")
        await ran("a", store=store)
        await ran("b", store=store)
        with SpanIndex.open(store) as index:
            await index.catch_up(store)
            if how == "erase":
                await store.erase("a")
            else:
                await store.prune(before=time.time() + 1, statuses=["succeeded"])
            assert [row[0] for row in index.query("SELECT run_id FROM traces")] == (
                ["b"] if how == "erase" else []
            )
            assert len(index.query("SELECT DISTINCT run FROM spans")) == (
                1 if how == "erase" else 0
            )
        await store.close()

    asyncio.run(main())


def test_gone_run_leaves_index() -> None:
    """A run that left another store leaves its index."""

    async def main() -> None:
        store = await ran("a")
        with SpanIndex.open(store) as index:
            await index.catch_up(store)
            await store.prune(before=time.time() + 1, statuses=["succeeded"])
            await index.catch_up(store)
            assert not list(statistics.runs(index))

    asyncio.run(main())


def test_damaged_run_is_named(tmp_path: Path) -> None:
    """A damaged run is named and hides no other."""

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db", sync="normal")
        await ran("a", store=store)
        await ran("b", store=store)
        raw = sqlite3.connect(tmp_path / "runs.db")
        raw.execute("UPDATE records SET body = x'7b7d' WHERE run = 1 AND seq = 3")
        raw.commit()
        raw.close()
        with SpanIndex.open(store) as index:
            caught = await index.catch_up(store)
            assert (list(caught.damaged), caught.runs) == (["a"], 1)
            assert "Run 'a', record 3" in caught.damaged["a"]
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    "script",
    [
        "UPDATE traces SET tags = '{bad'",
        "UPDATE spans SET findings = '[1' WHERE kind = 'call'",
        "UPDATE traces SET tags = CAST(x'ff' AS TEXT)",
    ],
)
def test_altered_rows_are_made_anew(script: str, tmp_path: Path) -> None:
    """Rows that were not written are removed with an error, and then made of the records."""
    path = tmp_path / "runs.db"

    async def main() -> None:
        store = await SqliteStore.open(path, sync="normal")
        await ran("a", store=store)
        with SpanIndex.open(store) as index:
            await index.catch_up(store)
        with sqlite3.connect(path) as raw:
            raw.execute(script)
        raw.close()
        with SpanIndex.open(store) as index:
            with pytest.raises(StoreUnavailable, match=r"were removed\. Repeat the call"):
                _ = [statistics.runs(index, ["team"]), statistics.findings(index)]
            assert (await index.catch_up(store)).runs == 1
            assert sum(row.runs for row in statistics.runs(index, ["team"])) == 1
        await store.close()

    asyncio.run(main())


def test_sampling_keeps_failed_runs() -> None:
    """Sampling keeps the runs that failed."""

    async def main() -> None:
        store = await ran("good")
        await ran("bad", 12, store=store)
        with SpanIndex.open(store, sampling=Sampling(share=0.0)) as index:
            await index.catch_up(store)
            assert {row.key for row in statistics.steps(index, ["run"])} == {("bad",)}
            assert {row.key[0] for row in statistics.runs(index, ["run"])} == {"good", "bad"}

    asyncio.run(main())


def test_index_and_appends_coexist(tmp_path: Path) -> None:
    """Writing rows while runs append disturbs neither."""

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.db", sync="normal")
        with SpanIndex.open(store) as index:
            async with asyncio.TaskGroup() as group:
                for number in range(8):
                    group.create_task(ran(f"r{number}", store=store))
                group.create_task(index.catch_up(store))
            await index.catch_up(store)
            assert sum(row.succeeded for row in statistics.runs(index)) == 8
            assert (
                sum(
                    row.runs
                    for row in statistics.runs(
                        index, ["run"], Selection(where={"status": "succeeded"})
                    )
                )
                == 8
            )
        await store.close()

    asyncio.run(main())
