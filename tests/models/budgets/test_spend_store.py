"""Stores of spending that several processes share."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from graphorch.clock import Runtime
from graphorch.errors import JournalError
from graphorch.models.budgets.budget import Account, Amount, Budget, CapReached
from graphorch.models.budgets.ledger import Persistence
from graphorch.models.budgets.spend_store import MemorySpend, SqliteSpend
from tests.models.virtual import run


@pytest.fixture(params=["memory", "sqlite"])
def stores(request: pytest.FixtureRequest, tmp_path):
    """Open one store twice, as two processes would."""
    if request.param == "memory":
        store = MemorySpend()
        yield store, store
    else:
        first, second = SqliteSpend(tmp_path / "spend.db"), SqliteSpend(tmp_path / "spend.db")
        yield first, second
        first.close()
        second.close()


def test_store_continues_the_day(stores) -> None:
    """Continue a day where an earlier process ended."""

    async def main(runtime: Runtime) -> None:
        first = Account("day", Budget(usd=1.0), persistence=Persistence(stores[0]))
        (await first.reserve(Amount(0.9))).settle(Amount(0.7))
        second = Account("day", Budget(usd=1.0), persistence=Persistence(stores[1]))
        assert second.left.usd == pytest.approx(0.3)
        with pytest.raises(CapReached):
            await second.reserve(Amount(0.4))

    run(main)


def test_store_bounds_concurrent_processes(stores) -> None:
    """Hold a cap that two processes share."""

    async def main(runtime: Runtime) -> None:
        first = Account("day", Budget(usd=1.0), persistence=Persistence(stores[0]))
        second = Account("day", Budget(usd=1.0), persistence=Persistence(stores[1]))
        held = await first.reserve(Amount(0.7))
        with pytest.raises(CapReached):
            await second.reserve(Amount(0.4))
        held.settle(Amount(0.1))
        (await second.reserve(Amount(0.4))).settle(Amount(0.4))
        assert stores[0].add("day", (0, 0, 0)) == (500_000_000_000, 0, 2)

    run(main)


def test_store_keeps_crashed_reservations(stores) -> None:
    """Keep counting the reservation of a process that crashed."""

    async def main(runtime: Runtime) -> None:
        await Account("day", Budget(usd=1.0), persistence=Persistence(stores[0])).reserve(
            Amount(0.7)
        )
        assert Account(
            "day", Budget(usd=1.0), persistence=Persistence(stores[1])
        ).left.usd == pytest.approx(0.3)

    run(main)


# ---- the file ------------------------------------------------------------------------------------
def list_modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize("mode", [None, 0o644, 0o666])
def test_spend_file_is_private(mode: int | None, tmp_path: Path) -> None:
    """Only the owner can read it, and what SQLite keeps beside it, also if it was open before."""
    path = tmp_path / "spend.db"
    before = os.umask(0)
    try:
        if mode is not None:
            sqlite3.connect(path).close()
            path.touch()
            path.chmod(mode)
        store = SqliteSpend(path)
        store.add("day", (1, 2, 3))
        assert list_modes(tmp_path) == {
            "spend.db": 0o600, "spend.db-wal": 0o600, "spend.db-shm": 0o600,
        }  # fmt: skip
        store.close()
    finally:
        os.umask(before)


def _make_journal(path: Path) -> None:
    import asyncio

    from graphorch.journal.sqlite.store import SqliteStore

    async def make() -> None:
        await (await SqliteStore.open(path)).close()

    asyncio.run(make())


def _make_other_database(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE customers (name TEXT)")
    db.close()


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (Path.mkdir, "is not a file but a folder"),
        (lambda path: path.symlink_to(path.with_name("nothing")), "nothing is created through"),
        (lambda path: path.write_text("text " * 500), "file is not a database"),
        (_make_journal, "is a database, but not one of spending"),
        (_make_other_database, "is a database, but not one of spending"),
    ],
)
def test_other_file_is_refused(
    make: Callable[[Path], object], problem: str, tmp_path: Path
) -> None:
    """What is not a file of spending is left as it is."""
    path = tmp_path / "spend.db"
    make(path)
    content = path.read_bytes() if path.is_file() else b""
    with pytest.raises(JournalError, match=problem) as caught:
        SqliteSpend(path)
    assert "Name a file of its own for `kept` in [budgets]" in str(caught.value)
    assert content == (path.read_bytes() if path.is_file() else b"")


def test_lost_file_is_noticed(tmp_path: Path) -> None:
    """A cap of a day does not begin anew because its file was deleted under the process."""
    path = tmp_path / "spend.db"
    store = SqliteSpend(path)
    store.add("day", (1, 2, 3))
    path.unlink()
    with pytest.raises(JournalError, match="It was deleted or moved while it was open"):
        store.add("day", (1, 2, 3))
    store.close()


def test_spend_file_survives_change_of_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path stays what it was when the process goes elsewhere."""
    monkeypatch.chdir(tmp_path)
    store = SqliteSpend("spend.db")
    monkeypatch.chdir("/")
    assert store.add("day", (1, 2, 3)) == (1, 2, 3)
    store.close()
