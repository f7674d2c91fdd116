"""Response cache: what it stores, which calls it shares, and a broken file that holds nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
import stat
import warnings
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch.errors import InputError, ModelError
from graphorch.models.client import OnText
from graphorch.models.errors import TimedOut
from graphorch.models.guardrails.client import Guard, GuardedClient, personal_data
from graphorch.models.messages import Message, Request, Response, Usage
from graphorch.models.response_cache import CacheLimits, CacheWarning, CachingClient, compute_key
from tests.models.guardrails.fakes import Parrot, answer

ASKED = Request("m", (Message(content="What is the tide?"),))


class Tide(BaseModel):
    height: float


class Wave(BaseModel):
    height: float
    length: float = 0


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Gate:
    """Model client that waits for `opened` and then plays its outcomes."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    outcomes: list[Response | Exception] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        self.asked.append(request)
        self.called.set()
        await self.opened.wait()
        outcome = self.outcomes.pop(0) if self.outcomes else answer("high")
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def build_cache(client: Any, folder: Path, **options: Any) -> CachingClient:
    return CachingClient(
        client, folder / "cache.db", endpoint="https://models.example/v1", **options
    )


def run_with(
    client: CachingClient, program: Callable[[CachingClient], Coroutine[Any, Any, Any]]
) -> Any:
    """Return the result of the program and close the cache."""

    async def run() -> Any:
        try:
            return await program(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


def test_cache_answers_equal_request_free(tmp_path: Path) -> None:
    """Answer an equal request from the cache without a call and without cost."""
    parrot = Parrot()

    async def twice(client: CachingClient) -> tuple[Response, Response]:
        return await client.complete(ASKED), await client.complete(ASKED)

    first, second = run_with(build_cache(parrot, tmp_path), twice)
    assert len(parrot.heard) == 1
    assert (first.usd, first.usd_source, first.note) == (0.001, "reported", "")
    assert second.text == first.text
    assert (second.usd, second.usd_source, second.attempts, second.usage) == (
        0.0,
        "free",
        0,
        Usage(0, 0),
    )
    assert second.note == "from the cache; saved $0.001000 and 15 tokens"


def test_cache_outlives_its_client(tmp_path: Path) -> None:
    """Find an answer that an earlier client stored in the file."""
    run_with(build_cache(Parrot(), tmp_path), lambda client: client.complete(ASKED))
    parrot = Parrot()
    assert (
        run_with(build_cache(parrot, tmp_path), lambda client: client.complete(ASKED)).usd_source
        == "free"
    )
    assert parrot.heard == []


def test_cache_streams_stored_text(tmp_path: Path) -> None:
    """Deliver a stored answer to a streaming caller in a single piece."""
    pieces: list[str] = []

    async def twice(client: CachingClient) -> None:
        await client.complete(ASKED)
        await client.complete(ASKED, pieces.append)

    run_with(build_cache(Parrot(), tmp_path), twice)
    assert pieces == ["What is the tide?"]


DIFFERENT = {
    "model": replace(ASKED, model="n"),
    "text": replace(ASKED, messages=(Message(content="What is the tide"),)),
    "role": replace(ASKED, messages=(Message(role="system", content="What is the tide?"),)),
    "split": replace(ASKED, messages=(Message(content="What is"), Message(content=" the tide?"))),
    "schema": replace(ASKED, schema=Tide),
    "other schema": replace(ASKED, schema=Wave),
    "max_tokens": replace(ASKED, max_tokens=5),
    "temperature": replace(ASKED, temperature=0.0),
    "surrogates": replace(ASKED, messages=(Message(content="\ud800"),)),
}


def test_key_covers_every_influence() -> None:
    """Give different keys to requests that may be answered differently."""
    keys = {name: compute_key(request, "here") for name, request in DIFFERENT.items()} | {
        "plain": compute_key(ASKED, "here"),
        "there": compute_key(ASKED, "there"),
    }
    assert len(set(keys.values())) == len(keys)


def test_key_ignores_timeout_and_metadata() -> None:
    """Leave out of the key what cannot change the answer."""
    other = replace(ASKED, timeout=3.0, metadata={"run": "r1"})
    assert compute_key(other, "here") == compute_key(ASKED, "here")


def test_key_covers_future_fields() -> None:
    """Cover fields that `Request` may get later, so that no list of fields has to be maintained."""
    later = dataclasses.make_dataclass("Later", [("voice", str, "")], bases=(Request,), frozen=True)
    plain, loud = later("m", ASKED.messages), later("m", ASKED.messages, voice="loud")
    assert compute_key(plain, "here") != compute_key(loud, "here")


def test_cache_forgets_expired_answers(tmp_path: Path) -> None:
    """Ask the model again once the time to live of an answer is over."""
    clock, parrot = Clock(), Parrot()

    async def later(client: CachingClient) -> list[str]:
        sources: list[str] = []
        for passed in (0, 59, 2):
            clock.now += passed
            sources.append((await client.complete(ASKED)).usd_source)
        return sources

    assert run_with(
        build_cache(parrot, tmp_path, limits=CacheLimits(ttl=60), clock=clock), later
    ) == [
        "reported",
        "free",
        "reported",
    ]


def test_cache_skips_answers_from_future(tmp_path: Path) -> None:
    """Skip an answer of unknown age, because the clock was set back since it was stored."""
    clock, parrot = Clock(), Parrot()

    async def back(client: CachingClient) -> None:
        await client.complete(ASKED)
        clock.now -= 10
        await client.complete(ASKED)

    run_with(build_cache(parrot, tmp_path, clock=clock), back)
    assert len(parrot.heard) == 2


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


def test_cache_skips_oversized_answers(tmp_path: Path) -> None:
    """Do not keep an answer that is larger than the whole cache."""
    parrot = Parrot()

    async def twice(client: CachingClient) -> None:
        await client.complete(ASKED)
        await client.complete(ASKED)

    run_with(build_cache(parrot, tmp_path, limits=CacheLimits(max_bytes=50)), twice)
    assert len(parrot.heard) == 2


@pytest.mark.parametrize(
    "request_, reply",
    [
        (ASKED, answer("cut", finish_reason="length")),
        (ASKED, answer("?", finish_reason="strange")),
        (ASKED, answer(" ")),
        (replace(ASKED, schema=Tide), answer('{"height": "high"}')),
        (replace(ASKED, schema=Tide), answer("no JSON")),
    ],
    ids=["cut", "unknown finish", "empty", "wrong type", "no JSON"],
)
def test_cache_skips_incomplete_answers(tmp_path: Path, request_: Request, reply: Response) -> None:
    """Do not keep an answer that is incomplete or does not fit its schema."""
    gate = Gate(outcomes=[reply, reply])

    async def twice(client: CachingClient) -> None:
        gate.opened.set()
        await client.complete(request_)
        await client.complete(request_)

    run_with(build_cache(gate, tmp_path), twice)
    assert len(gate.asked) == 2


def test_cache_joins_concurrent_calls(tmp_path: Path) -> None:
    """Make one call for equal requests that arrive at the same time."""
    gate = Gate()

    async def many(client: CachingClient) -> list[Response]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.complete(ASKED)) for _ in range(5)]
            await gate.called.wait()
            gate.opened.set()
        return [task.result() for task in tasks]

    responses = run_with(build_cache(gate, tmp_path), many)
    assert len(gate.asked) == 1
    assert [response.text for response in responses] == ["high"] * 5
    assert sum(response.usd for response in responses) == 0.001
    assert (
        responses[1].note
        == "shared the answer of an equal call that was under way; saved $0.001000 and 15 tokens"
    )


def test_cache_waiter_retries_failed_call(tmp_path: Path) -> None:
    """Make a call of its own for a request whose shared call failed."""
    gate = Gate(outcomes=[ModelError("no", model="m"), answer("high")])

    async def two(client: CachingClient) -> list[Any]:
        tasks = [asyncio.ensure_future(client.complete(ASKED)) for _ in range(2)]
        await gate.called.wait()
        gate.opened.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second = run_with(build_cache(gate, tmp_path), two)
    assert isinstance(first, ModelError)
    assert second.text == "high"


def test_cache_waiter_retries_cancelled_call(tmp_path: Path) -> None:
    """Make a call of its own for a request whose shared call was cancelled."""
    gate = Gate()

    async def two(client: CachingClient) -> Response:
        first, second = (asyncio.ensure_future(client.complete(ASKED)) for _ in range(2))
        await gate.called.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.opened.set()
        return await second

    assert run_with(build_cache(gate, tmp_path), two).text == "high"
    assert len(gate.asked) == 2


def test_cache_waiter_cancelled_alone(tmp_path: Path) -> None:
    """Cancel a waiting request without cancelling the call that it waits for."""
    gate = Gate()

    async def two(client: CachingClient) -> Response:
        first, second = (asyncio.ensure_future(client.complete(ASKED)) for _ in range(2))
        await gate.called.wait()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.opened.set()
        return await first

    assert run_with(build_cache(gate, tmp_path), two).text == "high"


def test_cache_waiter_times_out(tmp_path: Path) -> None:
    """End the wait for an equal call when the timeout of the request is over."""
    gate = Gate()

    async def two(client: CachingClient) -> None:
        first = asyncio.ensure_future(client.complete(ASKED))
        await gate.called.wait()
        with pytest.raises(TimedOut, match=r"an equal call was under way for all of the 0\.01 s"):
            await client.complete(replace(ASKED, timeout=0.01))
        gate.opened.set()
        await first

    run_with(build_cache(gate, tmp_path), two)


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
        (folder, "IsADirectoryError"),
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


def test_closed_cache_opens_again(tmp_path: Path) -> None:
    """Close the client along with the cache, and open the file again on demand."""
    parrot = Parrot()
    client = build_cache(parrot, tmp_path)
    run_with(client, lambda caching_client: caching_client.complete(ASKED))
    assert parrot.is_closed
    assert (
        run_with(client, lambda caching_client: caching_client.complete(ASKED)).usd_source == "free"
    )


def test_cache_behind_guard_stores_masked(tmp_path: Path) -> None:
    """Store only masked text if the cache is behind a guard."""
    caching = build_cache(Parrot(), tmp_path)
    guarded = GuardedClient(caching, Guard(personal_data(), "pseudonymise"))

    async def two(_: CachingClient) -> list[Response]:
        return [
            await guarded.complete(Request("m", (Message(content=f"Greet {name}@example.com"),)))
            for name in ("anna", "bob")
        ]

    first, second = run_with(caching, two)
    assert (first.text, second.text) == ("Greet anna@example.com", "Greet bob@example.com")
    assert second.usd_source == "free"  # the model was shown the same
    assert all(b"@example" not in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize(
    "make",
    [
        lambda: CacheLimits(ttl=0),
        lambda: CacheLimits(ttl=float("nan")),
        lambda: CacheLimits(max_bytes=0),
    ],
)
def test_cache_limits_are_checked(make: Callable[[], CacheLimits]) -> None:
    """Refuse limits that make no sense."""
    with pytest.raises(InputError, match=r"CacheLimits\(.*makes no sense"):
        make()


def test_cache_is_silent_normally(tmp_path: Path) -> None:
    """Give no warning when the file can be used."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_with(build_cache(Parrot(), tmp_path), lambda client: client.complete(ASKED))
