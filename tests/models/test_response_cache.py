"""The answer cache: what is remembered, what is asked once, and that a broken cache is a cache that finds nothing."""

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
    """A model that answers when it is told to, or fails."""

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


def cached(client: Any, folder: Path, **options: Any) -> CachingClient:
    return CachingClient(
        client, folder / "cache.db", endpoint="https://models.example/v1", **options
    )


def using(
    client: CachingClient, program: Callable[[CachingClient], Coroutine[Any, Any, Any]]
) -> Any:
    """What the program gives; the cache is closed behind it."""

    async def run() -> Any:
        try:
            return await program(client)
        finally:
            await client.aclose()

    return asyncio.run(run())


def test_an_equal_question_is_answered_from_the_cache_for_nothing(tmp_path: Path) -> None:
    parrot = Parrot()

    async def twice(client: CachingClient) -> tuple[Response, Response]:
        return await client.complete(ASKED), await client.complete(ASKED)

    first, second = using(cached(parrot, tmp_path), twice)
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


def test_the_cache_outlives_the_process(tmp_path: Path) -> None:
    using(cached(Parrot(), tmp_path), lambda client: client.complete(ASKED))
    parrot = Parrot()
    assert (
        using(cached(parrot, tmp_path), lambda client: client.complete(ASKED)).usd_source == "free"
    )
    assert parrot.heard == []


def test_a_streamed_question_gets_the_remembered_text_at_once(tmp_path: Path) -> None:
    pieces: list[str] = []

    async def twice(client: CachingClient) -> None:
        await client.complete(ASKED)
        await client.complete(ASKED, pieces.append)

    using(cached(Parrot(), tmp_path), twice)
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


def test_everything_that_can_change_the_answer_is_in_the_key() -> None:
    keys = {name: compute_key(request, "here") for name, request in DIFFERENT.items()} | {
        "plain": compute_key(ASKED, "here"),
        "there": compute_key(ASKED, "there"),
    }
    assert len(set(keys.values())) == len(keys)


def test_what_cannot_change_the_answer_is_not_in_the_key() -> None:
    other = replace(ASKED, timeout=3.0, metadata={"run": "r1"})
    assert compute_key(other, "here") == compute_key(ASKED, "here")


def test_a_field_that_requests_get_one_day_is_in_the_key() -> None:
    """`Request` as it may be later: no list of fields has to be kept up to date."""
    later = dataclasses.make_dataclass("Later", [("voice", str, "")], bases=(Request,), frozen=True)
    plain, loud = later("m", ASKED.messages), later("m", ASKED.messages, voice="loud")
    assert compute_key(plain, "here") != compute_key(loud, "here")


def test_an_answer_is_forgotten_after_its_time(tmp_path: Path) -> None:
    clock, parrot = Clock(), Parrot()

    async def later(client: CachingClient) -> list[str]:
        sources: list[str] = []
        for passed in (0, 59, 2):
            clock.now += passed
            sources.append((await client.complete(ASKED)).usd_source)
        return sources

    assert using(cached(parrot, tmp_path, limits=CacheLimits(ttl=60), clock=clock), later) == [
        "reported",
        "free",
        "reported",
    ]


def test_an_answer_from_the_future_is_not_used(tmp_path: Path) -> None:
    """The clock was set back: how old the answer is cannot be known."""
    clock, parrot = Clock(), Parrot()

    async def back(client: CachingClient) -> None:
        await client.complete(ASKED)
        clock.now -= 10
        await client.complete(ASKED)

    using(cached(parrot, tmp_path, clock=clock), back)
    assert len(parrot.heard) == 2


def test_the_longest_unused_answers_make_room(tmp_path: Path) -> None:
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

    using(cached(parrot, tmp_path, limits=CacheLimits(max_bytes=1800), clock=clock), fill)
    assert [text[0] for text in parrot.heard] == ["a", "b", "c", "d", "b"]


def test_an_answer_larger_than_the_cache_is_not_kept(tmp_path: Path) -> None:
    parrot = Parrot()

    async def twice(client: CachingClient) -> None:
        await client.complete(ASKED)
        await client.complete(ASKED)

    using(cached(parrot, tmp_path, limits=CacheLimits(max_bytes=50)), twice)
    assert len(parrot.heard) == 2


@pytest.mark.parametrize(
    "request_, reply",
    [(ASKED, answer("cut", finish_reason="length")), (ASKED, answer("?", finish_reason="strange")), (ASKED, answer(" ")),
     (replace(ASKED, schema=Tide), answer('{"height": "high"}')), (replace(ASKED, schema=Tide), answer("no JSON"))],
    ids=["cut", "unknown finish", "empty", "wrong type", "no JSON"],
)  # fmt: skip
def test_an_answer_that_is_incomplete_or_does_not_fit_is_not_kept(
    tmp_path: Path, request_: Request, reply: Response
) -> None:
    gate = Gate(outcomes=[reply, reply])

    async def twice(client: CachingClient) -> None:
        gate.opened.set()
        await client.complete(request_)
        await client.complete(request_)

    using(cached(gate, tmp_path), twice)
    assert len(gate.asked) == 2


def test_equal_questions_at_the_same_time_are_asked_once(tmp_path: Path) -> None:
    gate = Gate()

    async def many(client: CachingClient) -> list[Response]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(client.complete(ASKED)) for _ in range(5)]
            await gate.called.wait()
            gate.opened.set()
        return [task.result() for task in tasks]

    responses = using(cached(gate, tmp_path), many)
    assert len(gate.asked) == 1
    assert [response.text for response in responses] == ["high"] * 5
    assert sum(response.usd for response in responses) == 0.001
    assert (
        responses[1].note
        == "shared the answer of an equal call that was under way; saved $0.001000 and 15 tokens"
    )


def test_who_waited_for_a_call_that_failed_makes_one_of_its_own(tmp_path: Path) -> None:
    gate = Gate(outcomes=[ModelError("no", model="m"), answer("high")])

    async def two(client: CachingClient) -> list[Any]:
        tasks = [asyncio.ensure_future(client.complete(ASKED)) for _ in range(2)]
        await gate.called.wait()
        gate.opened.set()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second = using(cached(gate, tmp_path), two)
    assert isinstance(first, ModelError)
    assert second.text == "high"


def test_who_waited_for_a_call_that_was_cancelled_makes_one_of_its_own(tmp_path: Path) -> None:
    gate = Gate()

    async def two(client: CachingClient) -> Response:
        first, second = (asyncio.ensure_future(client.complete(ASKED)) for _ in range(2))
        await gate.called.wait()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.opened.set()
        return await second

    assert using(cached(gate, tmp_path), two).text == "high"
    assert len(gate.asked) == 2


def test_cancelling_who_waits_does_not_touch_the_call(tmp_path: Path) -> None:
    gate = Gate()

    async def two(client: CachingClient) -> Response:
        first, second = (asyncio.ensure_future(client.complete(ASKED)) for _ in range(2))
        await gate.called.wait()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.opened.set()
        return await first

    assert using(cached(gate, tmp_path), two).text == "high"


def test_waiting_for_an_equal_call_ends_with_the_time_of_the_request(tmp_path: Path) -> None:
    gate = Gate()

    async def two(client: CachingClient) -> None:
        first = asyncio.ensure_future(client.complete(ASKED))
        await gate.called.wait()
        with pytest.raises(TimedOut, match=r"an equal call was under way for all of the 0\.01 s"):
            await client.complete(replace(ASKED, timeout=0.01))
        gate.opened.set()
        await first

    using(cached(gate, tmp_path), two)


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "cache.db"
    path.parent.mkdir()
    path.touch(0o644)
    modes: list[int] = []

    async def look(client: CachingClient) -> None:
        await client.complete(ASKED)
        modes.extend(stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir())

    using(CachingClient(Parrot(), path, endpoint="x"), look)
    assert len(modes) >= 2
    assert set(modes) == {0o600}


def broken_file(path: Path) -> None:
    path.write_bytes(b"this is no database, and it is long enough to have a header" * 50)


def newer_file(path: Path) -> None:
    using(CachingClient(Parrot(), path, endpoint="x"), lambda client: client.complete(ASKED))
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
    "spoil, told",
    [(broken_file, "not a database"), (newer_file, r"newer version \(format 99, this one reads 1\)"), (folder, "IsADirectoryError"),
     (other_database, "not a cache of graphorch")],
)  # fmt: skip
def test_a_cache_that_cannot_be_used_warns_once_and_the_model_is_asked(
    tmp_path: Path, spoil: Callable[[Path], None], told: str
) -> None:
    path = tmp_path / "cache.db"
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    parrot = Parrot()

    async def twice(client: CachingClient) -> list[Response]:
        return [await client.complete(ASKED), await client.complete(ASKED)]

    with pytest.warns(CacheWarning, match=told) as caught:
        responses = using(cached(parrot, tmp_path), twice)
    assert len(caught) == 1
    assert [response.text for response in responses] == ["What is the tide?"] * 2
    assert len(parrot.heard) == 2
    assert not path.is_file() or path.read_bytes() == before


def test_a_row_that_is_no_answer_is_replaced(tmp_path: Path) -> None:
    using(cached(Parrot(), tmp_path), lambda client: client.complete(ASKED))
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
        assert using(cached(parrot, tmp_path), twice) == ["reported", "free"]


def test_two_clients_share_one_file(tmp_path: Path) -> None:
    parrots = Parrot(), Parrot()

    async def both(first: CachingClient) -> None:
        second = cached(parrots[1], tmp_path)
        for number in range(5):
            await first.complete(Request("m", (Message(content=str(number)),)))
            await second.complete(Request("m", (Message(content=str(number)),)))
        await second.aclose()

    using(cached(parrots[0], tmp_path), both)
    assert (len(parrots[0].heard), parrots[1].heard) == (5, [])


def test_a_closed_cache_opens_again_and_closing_closes_the_client(tmp_path: Path) -> None:
    parrot = Parrot()
    client = cached(parrot, tmp_path)
    using(client, lambda caching_client: caching_client.complete(ASKED))
    assert parrot.is_closed
    assert using(client, lambda caching_client: caching_client.complete(ASKED)).usd_source == "free"


def test_behind_a_guard_only_masked_text_is_stored(tmp_path: Path) -> None:
    caching = cached(Parrot(), tmp_path)
    guarded = GuardedClient(caching, Guard(personal_data(), "pseudonymise"))

    async def two(_: CachingClient) -> list[Response]:
        return [
            await guarded.complete(Request("m", (Message(content=f"Greet {name}@example.com"),)))
            for name in ("anna", "bob")
        ]

    first, second = using(caching, two)
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
def test_limits_without_sense_are_an_input_error(make: Callable[[], CacheLimits]) -> None:
    with pytest.raises(InputError, match=r"CacheLimits\(.*makes no sense"):
        make()


def test_no_warning_when_all_is_well(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        using(cached(Parrot(), tmp_path), lambda client: client.complete(ASKED))
