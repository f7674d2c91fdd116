"""Journals of runs: where they are, and that the runs of a process share them."""

from __future__ import annotations

import asyncio
from pathlib import Path, PureWindowsPath
from typing import Any, cast

import pytest

from graphorch import InputError
from graphorch.journal.memory import MemoryStore
from graphorch.runs.stores import VARIABLE, open_store, resolve_address


def test_default_path_follows_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the variable it is a file in the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert resolve_address(True).text == str(tmp_path / "graphorch.sqlite")
    monkeypatch.setenv(VARIABLE, "other.sqlite")
    assert resolve_address(True).text == str(tmp_path / "other.sqlite")
    assert resolve_address(Path("runs.sqlite")).text == str(tmp_path / "runs.sqlite")


@pytest.mark.parametrize("name", ["", " ", False])
def test_path_without_name_is_refused(name: str | bool) -> None:
    with pytest.raises(InputError, match=r"does not name a journal\. Give a path such as"):
        resolve_address(name)


def test_path_with_nul_is_refused() -> None:
    """What may be a URL with a password is not repeated."""
    with pytest.raises(InputError, match=r"^The name of the journal holds a NUL character\."):
        resolve_address("postgresql://u:secret@h/d\0")


def test_url_is_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL names a database, as an option and in the variable."""
    url = "postgresql://u:secret@h/d"
    assert resolve_address(url).is_database
    monkeypatch.setenv(VARIABLE, url)
    assert resolve_address(True).text == url


def test_own_store_is_yielded() -> None:
    async def main() -> None:
        store = MemoryStore()
        async with open_store(store) as opened:
            assert opened is store

    asyncio.run(main())


@pytest.mark.parametrize("durable", [b"runs.sqlite", 1, None, PureWindowsPath("runs.sqlite")])
def test_neither_path_nor_store_is_refused(durable: Any) -> None:
    async def main() -> None:
        with pytest.raises(
            InputError, match=r"neither a path or URL nor a store\. Give a path such as"
        ):
            await open_store(durable).__aenter__()

    asyncio.run(main())


def test_users_share_store_until_last(tmp_path: Path) -> None:
    """Two names of a file are the file; after the last user it is opened again."""
    path = tmp_path / "runs.sqlite"

    async def main() -> None:
        async with open_store(path) as first:
            async with open_store(f"{tmp_path}/./runs.sqlite") as second:
                assert second is first
            assert (await first.list_runs()).runs == ()
        async with open_store(path) as third:
            assert third is not first

    asyncio.run(main())


def test_store_that_passes_on_is_a_store() -> None:
    """A store around another one may leave what it does not change to `__getattr__`."""

    class Around:
        def __init__(self, store: MemoryStore) -> None:
            self._store = store

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

    async def main() -> None:
        async with open_store(cast("Any", Around(MemoryStore()))) as store:
            assert isinstance(store, Around)
        with pytest.raises(InputError, match="neither a path or URL nor a store"):
            async with open_store(cast("Any", object())):
                pass

    asyncio.run(main())
