"""File of the response cache: eviction, access, sharing, and files that cannot be used."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from graphorch.models.messages import Message, Request, Response
from graphorch.models.response_cache import CacheLimits, CacheWarning, CachingClient
from graphorch.models.response_cache_store import CacheStore
from tests.forks import run_in_fork
from tests.models.caching import ASKED, Clock, build_cache, run_with
from tests.models.guardrails.fakes import Parrot


def test_cache_evicts_least_recently_used(tmp_path: Path) -> None:
    """Remove the answers that were unused for longest when the file is full."""
    clock, parrot = Clock(), Parrot()

    async def fill(client: CachingClient) -> None:
        for content in (
            "a" * 300,
            "b" * 300,
            "a" * 300,
            "c" * 300,
            "d" * 300,
            "a" * 300,
            "b" * 300,
        ):
            clock.now += 1
            await client.complete(Request("m", (Message(content=content),)))

    run_with(build_cache(parrot, tmp_path, limits=CacheLimits(max_bytes=1800), clock=clock), fill)
    assert [text[0] for text in parrot.heard] == ["a", "b", "c", "d", "b"]


def test_cache_file_is_private(tmp_path: Path) -> None:
    """Let only the owner read and write the files of the cache."""
    path = tmp_path / "deep" / "cache.db"
    path.parent.mkdir()
    path.touch(0o644)
    modes: list[int] = []

    async def look(client: CachingClient) -> None:
        await client.complete(ASKED)
        modes.extend(stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir())

    run_with(CachingClient(Parrot(), path, endpoint="x"), look)
    assert len(modes) >= 2
    assert set(modes) == {0o600}


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere.db"))


def broken_file(path: Path) -> None:
    path.write_bytes(b"this is no database, and it is long enough to have a header" * 50)


def newer_file(path: Path) -> None:
    run_with(CachingClient(Parrot(), path, endpoint="x"), lambda client: client.complete(ASKED))
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


def folder(path: Path) -> None:
    path.mkdir()


def other_database(path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE answers (key TEXT PRIMARY KEY, used REAL, size INTEGER)")
    db.close()


@pytest.mark.parametrize(
    "spoil, warning",
    [
        (broken_file, "not a database"),
        (newer_file, r"newer version \(format 99, this one reads 1\)"),
        (folder, "is not a file but a folder"),
        (link_to_nothing, "nothing is created through a link"),
        (other_database, "not a cache of graphorch"),
    ],
)
def test_unusable_cache_warns_once(
    tmp_path: Path, spoil: Callable[[Path], None], warning: str
) -> None:
    """Warn once about an unusable file, ask the model, and leave the file as it is."""
    path = tmp_path / "cache.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    parrot = Parrot()

    async def twice(client: CachingClient) -> list[Response]:
        return [await client.complete(ASKED), await client.complete(ASKED)]

    with pytest.warns(CacheWarning, match=warning) as caught:
        responses = run_with(build_cache(parrot, tmp_path), twice)
    assert len(caught) == 1
    assert [response.text for response in responses] == ["What is the tide?"] * 2
    assert len(parrot.heard) == 2
    assert not path.is_file() or path.read_bytes() == before


def test_cache_replaces_invalid_row(tmp_path: Path) -> None:
    """Replace a row that does not hold an answer."""
    run_with(build_cache(Parrot(), tmp_path), lambda client: client.complete(ASKED))
    with sqlite3.connect(tmp_path / "cache.db") as db:
        db.execute("UPDATE answers SET answer = ?", ('{"text": 5}',))
    db.close()
    parrot = Parrot()

    async def twice(client: CachingClient) -> list[str]:
        return [
            (await client.complete(ASKED)).usd_source,
            (await client.complete(ASKED)).usd_source,
        ]

    with pytest.warns(CacheWarning, match="holds a row that is not an answer"):
        assert run_with(build_cache(parrot, tmp_path), twice) == ["reported", "free"]


def test_clients_share_cache_file(tmp_path: Path) -> None:
    """Serve two clients from the same file."""
    parrots = Parrot(), Parrot()

    async def both(first: CachingClient) -> None:
        second = build_cache(parrots[1], tmp_path)
        for number in range(5):
            await first.complete(Request("m", (Message(content=str(number)),)))
            await second.complete(Request("m", (Message(content=str(number)),)))
        await second.aclose()

    run_with(build_cache(parrots[0], tmp_path), both)
    assert (len(parrots[0].heard), parrots[1].heard) == (5, [])


def test_fork_uses_the_same_cache(tmp_path: Path) -> None:
    """A forked child finds and keeps answers through a connection of its own."""
    store = CacheStore(tmp_path / "cache.db", 10_000)
    store.keep("parent", "from the parent", 1.0)

    def use() -> bool:
        store.keep("child", "from the child", 2.0)
        found = store.find("parent", 0.0, 2.0)
        store.close()
        return found == "from the parent"

    assert run_in_fork(use)
    assert store.find("child", 0.0, 3.0) == "from the child"
    store.close()
