"""A masked store keeps the contract, and no secret that the mask knows is stored."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from graphorch.journal.errors import InvalidName
from graphorch.journal.memory import MemoryStore
from graphorch.journal.records import NewRun, Record, Snapshot
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.journal.store import Store
from graphorch.journal.wrappers import MaskedStore
from tests.contracts.store_contract import NEW, Bench, FakeClock, Scenario, every_scenario, run

CANARY = "sk-canary-5f1c"


def mask(body: Any) -> Any:
    """Replace texts with the canary by stars, keys, too."""
    if isinstance(body, str):
        return body.replace(CANARY, "***")
    if isinstance(body, list):
        return [mask(item) for item in body]
    return {mask(key): mask(item) for key, item in body.items()} if isinstance(body, dict) else body


@every_scenario
def test_contract(check: Scenario) -> None:
    """A masked store keeps the contract."""

    async def make(clock: FakeClock) -> Store:
        return MaskedStore(MemoryStore(clock=clock), mask)

    run(check, make)


SECRET = {"headers": [{"authorization": f"Bearer {CANARY}"}], CANARY: 1}


async def store_secrets(store: Store) -> None:
    """Put the canary into everything that a run stores, and repeat an append."""
    await store.create(NewRun("run-1", "flow", "f", 1, tags={"key": CANARY}))
    lease = await store.claim("run-1", "me", ttl=1e9)
    for _ in range(2):
        await store.append(
            lease, [Record(1, "call", SECRET), Record(2, "commit", CANARY)], expected_last_seq=0
        )
    await store.save_snapshot(lease, Snapshot(2, SECRET))


def found_in(folder: Path) -> list[str]:
    return [path.name for path in sorted(folder.iterdir()) if CANARY.encode() in path.read_bytes()]


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "not masked"])
def test_masked_store_hides_secret_from_files(tmp_path: Path, masked: bool) -> None:
    """A secret is in no file of a masked store, but in those of a plain one."""

    async def stored() -> list[str]:
        plain = await SqliteStore.open(tmp_path / "runs.db")
        await store_secrets(MaskedStore(plain, mask) if masked else plain)
        before = found_in(tmp_path)
        await plain.close()
        return before + found_in(tmp_path)

    assert asyncio.run(stored()) == ([] if masked else ["runs.db-wal", "runs.db"])


def test_mask_leaves_callers_records() -> None:
    """The records of the caller stay as they were."""
    body = {"a": [CANARY]}

    async def appended() -> Any:
        bench = Bench(MaskedStore(MemoryStore(), mask))
        await bench.add(await bench.begin(), body)
        return await bench.bodies()

    assert asyncio.run(appended()) == [{"a": ["***"]}]
    assert body == {"a": [CANARY]}


def test_failing_mask_stores_nothing() -> None:
    """A mask that fails stores nothing."""

    def broken(body: Any) -> Any:
        if isinstance(body, str):
            raise ZeroDivisionError
        return body

    async def appended() -> None:
        bench = Bench(MaskedStore(MemoryStore(), broken))
        lease = await bench.begin()
        with pytest.raises(ZeroDivisionError):
            await bench.add(lease, {}, "text")
        assert await bench.bodies() == []

    asyncio.run(appended())


def test_mask_with_wrong_tags_is_refused() -> None:
    """A mask that does not return tags for tags is refused."""
    with pytest.raises(
        InvalidName, match="The mask returned a NoneType for the tags of run 'run-1'"
    ):
        asyncio.run(MaskedStore(MemoryStore(), lambda body: None).create(NEW))
