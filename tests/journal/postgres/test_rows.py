"""What only rows of a database can get wrong: other processes at once, and altered rows."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from graphorch.journal.codec import LIMITS
from graphorch.journal.errors import JournalDamaged, LeaseHeld, RunNotFound, WrongKey
from graphorch.journal.postgres import statements
from graphorch.journal.postgres.process_lease import ProcessLease
from graphorch.journal.postgres.setup import initialize
from graphorch.journal.postgres.store import PostgresStore
from graphorch.journal.records import NewLetter, NewRun, Outcome, RunQuery, Settlement
from graphorch.journal.store import Store
from graphorch.journal.tables import RunRow
from tests.contracts.store_contract import (
    NEW,
    SCENARIOS,
    Bench,
    FakeClock,
    Scenario,
    entries,
    run,
)
from tests.postgres.cluster import Cluster
from tests.postgres.databases import DatabaseClock, empty_tables

KEY = "correct horse battery staple"
# Appends alone have a way of their own; the others are slow beside what they can find.
CHECKS = [
    pytest.param(
        check,
        id=check.__name__,
        marks=[] if "append" in check.__name__ else [pytest.mark.slow],
    )
    for check in SCENARIOS
]


def execute(url: str, statement: str, *values: Any) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode(), values)


async def open_two(url: str) -> tuple[Bench, Bench]:
    """Return two stores of one database, as two processes have them."""
    return Bench(await PostgresStore.open(url)), Bench(await PostgresStore.open(url))


async def close(*benches: Bench) -> None:
    for bench in benches:
        await bench.store.close()


# ---- with a key ----------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def timed(cluster: Cluster) -> Iterator[str]:
    """A database whose clock a test sets."""
    url = cluster.create_database()
    initialize(url)
    yield url
    cluster.drop_database(url)


@pytest.mark.parametrize("check", CHECKS)
def test_contract_with_key(check: Scenario, timed: str) -> None:
    """The store keeps the contract with a key, too."""
    empty_tables(timed)
    clock = DatabaseClock(timed)

    async def make(_: FakeClock) -> Store:
        return await PostgresStore.open(timed, key=KEY)

    run(check, make, clock)
    clock.close()


def test_key_is_needed_to_go_on(url: str) -> None:
    """A run with a key goes on with that key alone, also where its end is known already."""

    async def main() -> None:
        keyed, other = await PostgresStore.open(url, key=KEY), await PostgresStore.open(url)
        bench = Bench(keyed)
        lease = await bench.begin()
        for last in range(3):
            await bench.add(lease, last, after=last)
        with pytest.raises(WrongKey):
            await other.append(lease, entries("x", after=3), expected_last_seq=3)
        assert await bench.bodies() == [0, 1, 2]
        await close(bench, Bench(other))

    asyncio.run(main())


# ---- at once -------------------------------------------------------------------------------------
def test_claims_of_two_processes_have_one_winner(url: str) -> None:
    """Of claims of two processes at once, each run has one winner, and only that one appends."""

    async def main() -> None:
        one, two = await open_two(url)
        names = [f"run-{number}" for number in range(20)]
        for name in names:
            await one.store.create(NewRun(name, "content", "f1", 1))
        claims = await asyncio.gather(
            *(
                bench.store.claim(name, owner, ttl=30)
                for name in names
                for bench, owner in ((one, "one"), (two, "two"))
            ),
            return_exceptions=True,
        )
        for number, name in enumerate(names):
            pair = claims[2 * number : 2 * number + 2]
            assert sorted(type(claim).__name__ for claim in pair) == ["Lease", "LeaseHeld"], name
        await close(one, two)

    asyncio.run(main())


def test_region_holds_one_run_of_two_processes(url: str) -> None:
    """Runs of two processes that enter a region at once do not both get in."""

    async def main() -> None:
        one, two = await open_two(url)
        first, second = await one.begin("run-1"), await two.begin("run-2")
        for number in range(20):
            names = [f"a{number}", f"b{number}"]
            entered = await asyncio.gather(
                one.store.enter_regions(first, names),
                two.store.enter_regions(second, names[::-1]),
            )
            assert sorted(entered) == [False, True]
            await asyncio.gather(
                one.store.leave_regions(first, names), two.store.leave_regions(second, names)
            )
        await close(one, two)

    asyncio.run(main())


def test_prunings_at_once_count_each_run_once(url: str) -> None:
    """Two processes that delete the same runs count each of them once, and spare owned runs."""

    async def main() -> None:
        one, two = await open_two(url)
        for number in range(120):
            await one.store.create(NewRun(f"run-{number}", "f", "f", 1, status="failed"))
        lease = await one.store.claim("run-7", "me", ttl=30)
        pruned = await asyncio.gather(
            *(bench.store.prune(before=1e12, statuses=["failed"]) for bench in (one, two))
        )
        assert sum(each.count for each in pruned) == 119
        assert [head.run_id for head in (await two.store.list_runs()).runs] == ["run-7"]
        await one.store.release(lease)
        assert (await two.store.prune(before=1e12, statuses=["failed"])).count == 1
        await close(one, two)

    asyncio.run(main())


def test_letters_of_two_processes_arrive_in_order(url: str) -> None:
    """An owner that reads letters by rising number misses none, whoever posts."""

    async def main() -> None:
        one, two = await open_two(url)
        await one.begin()
        read, last = list[str](), 0

        async def post(bench: Bench, name: str) -> None:
            for number in range(25):
                await bench.store.post(NewLetter("run-1", f"{name}{number}", "stop", {}))

        async def follow() -> None:
            nonlocal last
            while len(read) < 50:
                for letter in await one.store.list_letters("run-1", after=last):
                    read.append(letter.letter_id)
                    last = letter.number

        await asyncio.wait_for(asyncio.gather(post(one, "a"), post(two, "b"), follow()), 20)
        assert sorted(read) == sorted(f"{name}{n}" for name in "ab" for n in range(25))
        await close(one, two)

    asyncio.run(main())


def test_owner_that_does_not_renew_loses_run(url: str) -> None:
    """The lease of a run ends if its owner does not renew it, though its process renews others."""
    now = 0.0
    lease = ProcessLease(monotonic=lambda: now)

    def claim(cursor: psycopg.Cursor[Any], run_id: str, at: float) -> None:
        row = RunRow(
            0, run_id, "f", "f", 1, None, b"{}", 0.0, 0.0, "running", 0, b"", b"", b"", 0,
            "me", 1, 0.0, 0.0, b"",
        )  # fmt: skip
        lease.claim(cursor, row, at, 30.0)

    async def main() -> None:
        nonlocal now
        store = await PostgresStore.open(url)
        for run_id in ("run-1", "run-2"):
            await store.create(NewRun(run_id, "f", "f", 1))
            await store.claim(run_id, "me", ttl=30)
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.cursor()
            row = cursor.execute(statements.GET_TIME).fetchone()
            assert row is not None
            for run_id in ("run-1", "run-2"):
                claim(cursor, run_id, row[0] - 31)
            now = 20.0
            claim(cursor, "run-2", row[0] - 11)
            now = 31.0
            claim(cursor, "run-2", row[0])
        await store.claim("run-1", "other", ttl=30)
        with pytest.raises(LeaseHeld):
            await store.claim("run-2", "other", ttl=30)
        await store.close()

    asyncio.run(main())


# ---- contents ------------------------------------------------------------------------------------
@pytest.mark.slow
def test_extreme_contents_come_back(url: str) -> None:
    """The largest body, the deepest one, and texts with NUL come back."""
    deep: Any = 1
    for _ in range(LIMITS.max_depth - 1):
        deep = [deep]
    large = "\0é" * (LIMITS.max_bytes // 17)
    outcome = Outcome("InputError", "a\0b")

    async def main() -> None:
        store = await PostgresStore.open(url)
        bench = Bench(store)
        lease = await bench.begin()
        await bench.add(lease, deep, large)
        await bench.add(lease, large, after=2)
        assert await bench.bodies() == [deep, large, large]
        letter = await store.post(NewLetter("run-1", "l", "stop", large))
        settled = [Settlement(letter.number, outcome)]
        await store.append(lease, [], expected_last_seq=3, settled=settled)
        assert [each.outcome for each in await store.list_letters("run-1")] == [outcome]
        await store.close()

    asyncio.run(main())


ALTERED = {
    "body": "UPDATE graphorch.records SET body = '\"x\"' WHERE seq = 2",
    "kind": "UPDATE graphorch.records SET kind = 'other' WHERE seq = 2",
    "lost": "DELETE FROM graphorch.records WHERE seq = 2",
    "moved": "UPDATE graphorch.records SET seq = seq + 10 WHERE seq = 3",
    "link": "UPDATE graphorch.records SET link = 'x' WHERE seq = 2",
    "status": "UPDATE graphorch.runs SET status = 'succeeded'",
    "end": "UPDATE graphorch.runs SET last_seq = 2",
    "tags": "UPDATE graphorch.runs SET tags = '{\"team\": 1}'",
}


@pytest.mark.parametrize("what", ALTERED)
def test_altered_row_is_damage(what: str, url: str) -> None:
    """A row that was altered in the database is found, and hides no other run."""

    async def main() -> None:
        store = await PostgresStore.open(url)
        bench = Bench(store)
        await bench.add(await bench.begin(), "a", "b", "c")
        execute(url, ALTERED[what])
        await bench.begin("run-2")
        with pytest.raises(JournalDamaged):
            await store.load("run-1")
        page = await store.list_runs(RunQuery())
        assert "run-2" in {head.run_id for head in page.runs}
        await store.close()

    asyncio.run(main())


def test_dropped_tables_are_named(url: str, cluster: Cluster) -> None:
    """Tables that are dropped under a store are one clear error, and no run is lost in silence."""
    own = cluster.create_database()
    initialize(own)

    async def main() -> None:
        store = await PostgresStore.open(own)
        await store.create(NEW)
        execute(own, "DROP SCHEMA graphorch CASCADE")
        with pytest.raises(Exception, match="tables of graphorch were deleted") as caught:
            await store.load("run-1")
        assert type(caught.value).__name__ == "StoreReplaced"
        initialize(own)
        with pytest.raises(RunNotFound):
            await store.load("run-1")
        await store.close()

    asyncio.run(main())
    cluster.drop_database(own)
