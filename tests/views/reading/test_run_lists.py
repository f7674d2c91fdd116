"""Lists of runs: figures, states, and runs that cannot be read."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from graphorch.errors import InputError
from graphorch.journal.chain_key import VARIABLE
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import RunQuery
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.reading.run_lists import MOST_RUNS, list_runs, parse_cursor
from graphorch.views.runs.run_row import RunList
from tests.scenarios.crashed_copies import copy_run
from tests.trace.running import ran
from tests.views.many_runs import copy_many


async def read(store: Any, **query: Any) -> RunList:
    reader = JournalReader(store)
    try:
        return await list_runs(reader, RunQuery(**query))
    finally:
        reader.close()


def damage(path: Path, sql: str) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute(sql)
    raw.close()


def test_damaged_run_hides_no_other(tmp_path: Path) -> None:
    """A damaged head is named beside the list, and damaged records are a fault of their row."""

    async def main() -> None:
        path = tmp_path / "runs.sqlite"
        store = await SqliteStore.open(path)
        for run_id in ("whole", "altered", "beheaded"):
            await ran(run_id, store=store)
        await store.close()
        damage(path, "UPDATE records SET body = x'7b7d' WHERE run = 2 AND seq = 3")
        damage(path, "UPDATE runs SET status = 'failed' WHERE id = 3")
        store = await SqliteStore.open(path)
        listed = await read(store)
        await store.close()
        rows = {row.run_id: row for row in listed.runs}
        assert rows.keys() == {"whole", "altered"}
        assert rows["whole"].figures is not None
        assert rows["whole"].fault == ""
        assert rows["altered"].figures is None
        assert "record 3" in rows["altered"].fault
        assert [(run.run_id, run.problem) for run in listed.unreadable] == [("beheaded", "damaged")]

    asyncio.run(main())


def test_run_of_another_key_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that another key protects is named with the variable that would hold its key."""

    async def main() -> None:
        monkeypatch.delenv(VARIABLE, raising=False)
        store = await SqliteStore.open(tmp_path / "runs.sqlite", key="a secret of the team")
        await ran("keyed", store=store)
        await store.close()
        store = await SqliteStore.open(tmp_path / "runs.sqlite")
        await ran("open", store=store)
        listed = await read(store)
        await store.close()
        assert [row.run_id for row in listed.runs] == ["open"]
        [run] = listed.unreadable
        assert (run.run_id, run.problem) == ("keyed", "other key")
        assert VARIABLE in run.text

    asyncio.run(main())


def test_erased_run_has_no_figures() -> None:
    """An erased run is listed as such, and nothing is told of what it was."""

    async def main() -> None:
        store = await ran("gone")
        await read(store)
        await store.erase("gone")
        [row] = (await read(store)).runs
        assert (row.status, row.figures, row.fault) == ("erased", None, "")

    asyncio.run(main())


def test_crashed_run_is_not_running() -> None:
    """A run whose process is gone is crashed: in the list, and when the list is narrowed."""

    async def main() -> None:
        store, copy = await ran("one"), MemoryStore()
        log = await store.load("one")
        await copy_run(log.head, log.records[:4], copy)
        await ran("two", store=copy)
        await copy.create(_new_run("begun"))
        await copy.claim("begun", "somebody", ttl=60.0)
        rows = {row.run_id: row for row in (await read(copy)).runs}
        assert {run_id: row.status for run_id, row in rows.items()} == {
            "one": "crashed",
            "two": "succeeded",
            "begun": "running",
        }
        figures = rows["one"].figures
        assert figures is not None
        assert figures.usage.calls >= 1
        assert [row.run_id for row in (await read(copy, status="crashed")).runs] == ["one"]
        assert [row.run_id for row in (await read(copy, status="running")).runs] == ["begun"]
        assert (await read(copy, status="queued")).runs == []

    asyncio.run(main())


def _new_run(run_id: str) -> Any:
    from graphorch.journal.records import NewRun

    return NewRun(run_id, "order", "0" * 32, 6)


def test_crashed_runs_come_page_by_page() -> None:
    """Pages of crashed runs are full, although the store knows them as running ones."""

    async def main() -> None:
        store, copies = await ran("one"), MemoryStore()
        log = await store.load("one")
        for number in range(5):
            await copies.create(_new_run(f"r{number}"))
            await copies.create(_new_run(f"w{number}"))
            await copies.claim(f"w{number}", "somebody", ttl=60.0)
        assert log.records
        found: list[str] = []
        cursor = None
        while True:
            after = None if cursor is None else parse_cursor(cursor)
            page = await read(copies, status="crashed", limit=2, after=after)
            found += [row.run_id for row in page.runs]
            cursor = page.next
            if cursor is None:
                break
            assert len(page.runs) == 2
        assert sorted(found) == [f"r{number}" for number in range(5)]

    asyncio.run(main())


def test_page_of_too_many_runs_is_refused() -> None:
    """A page has a bound, and the message says how the others are read."""

    async def main() -> None:
        with pytest.raises(InputError, match="at most 200 runs"):
            await read(MemoryStore(), limit=MOST_RUNS + 1)

    asyncio.run(main())


def test_list_reads_only_runs_of_its_page(tmp_path: Path) -> None:
    """The figures of a page are made of its own runs: those of others are not read."""

    async def main() -> None:
        store = await SqliteStore.open(tmp_path / "runs.sqlite")
        await ran("one", store=store)
        await copy_many(store, await store.load("one"), 30)
        await read(store, limit=5)
        await store.close()
        with sqlite3.connect(tmp_path / "runs.sqlite") as raw:
            [(count,)] = raw.execute("SELECT count(*) FROM traces")
        raw.close()
        assert count == 5

    asyncio.run(main())
