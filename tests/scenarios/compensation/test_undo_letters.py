"""Another process cancels, stops or gives up a run: its owner undoes what was committed."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from graphorch import InputError, NotUndone, RunFailed
from graphorch.journal.sqlite.store import SqliteStore
from tests.scenarios.compensation.test_undo_crashes import FileLedger
from tests.scenarios.compensation.trips import Trip, build_trip


def fork_owner(folder: Path, broken: str) -> int:
    """Fork a process that drives a run; return its id."""
    child = os.fork()
    if child:
        return child

    async def drive() -> None:
        store = await SqliteStore.open(folder / "runs.sqlite", sync="normal")
        ledger = FileLedger(folder / "ledger.txt")
        with contextlib.suppress(RunFailed):
            await build_trip().run(Trip(broken=broken), run_id="r", durable=store, resources=ledger)
        await store.close()

    try:
        asyncio.run(drive())
    finally:
        os._exit(0)


def read_names(folder: Path) -> list[str]:
    ledger = folder / "ledger.txt"
    return [line.split()[0] for line in ledger.read_text().splitlines()] if ledger.exists() else []


async def wait_for(folder: Path, name: str) -> None:
    """Return once the owner has written an entry to its ledger."""
    async with asyncio.timeout(20):
        while name not in read_names(folder):  # noqa: ASYNC110  another process writes it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("undo", [True, False])
def test_owner_undoes_what_it_committed(undo: bool, tmp_path: Path) -> None:
    """A cancellation by another process is undone by the owner, or leaves all as it is."""
    owner = fork_owner(tmp_path, "wait")

    async def cancel() -> list[str]:
        await wait_for(tmp_path, "pay")
        store = await SqliteStore.open(tmp_path / "runs.sqlite", sync="normal")
        try:
            left = await build_trip().cancel("r", durable=store, undo=undo)
            assert (await store.load("r")).head.status == "cancelled"
        finally:
            await store.close()
        return left

    left = asyncio.run(cancel())
    os.waitpid(owner, 0)
    undone = ["release", "cancel"] if undo else []
    assert read_names(tmp_path) == ["book", "hold", "pay", *undone]
    assert left == ([] if undo else ["hold", "book"])


def test_canceller_hears_what_is_not_undone(tmp_path: Path) -> None:
    """Who cancels a run of another process gets the error of an undo that failed there."""
    owner = fork_owner(tmp_path, "wait cancel")

    async def cancel() -> RunFailed:
        await wait_for(tmp_path, "pay")
        store = await SqliteStore.open(tmp_path / "runs.sqlite", sync="normal")
        try:
            with pytest.raises(RunFailed) as failed:
                await build_trip().cancel("r", durable=store)
        finally:
            await store.close()
        return failed.value

    error = asyncio.run(cancel())
    os.waitpid(owner, 0)
    assert [item.path for item in error.exceptions if isinstance(item, NotUndone)] == ["book"]


def test_other_process_stops_undos(tmp_path: Path) -> None:
    """A stop by another process interrupts the undos; a second cancellation goes on with them."""
    owner = fork_owner(tmp_path, "pay release")

    async def stop() -> None:
        await wait_for(tmp_path, "release")  # its second attempt follows a second later
        store = await SqliteStore.open(tmp_path / "runs.sqlite", sync="normal")
        flow, ledger = build_trip(), FileLedger(tmp_path / "ledger.txt")
        try:
            await flow.send_stop("r", now=True, durable=store)
            os.waitpid(owner, 0)  # noqa: ASYNC222  it is about to end
            assert (await store.load("r")).head.status == "stopped"
            with pytest.raises(RunFailed):
                await flow.cancel("r", durable=store, resources=ledger)
            assert (await store.load("r")).head.status == "cancelled"
            with pytest.raises(InputError, match="was cancelled for good"):
                await flow.cancel("r", durable=store, resources=ledger)
        finally:
            await store.close()

    asyncio.run(stop())
    names = read_names(tmp_path)
    assert names[:4] == ["book", "hold", "pay", "release"]
    assert names[-1] == "cancel"
    assert names.count("cancel") == 1
