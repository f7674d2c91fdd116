"""Response cache: what it stores, which calls it shares, and a broken file that holds nothing."""

from __future__ import annotations

import asyncio
import dataclasses
import warnings
from collections.abc import Callable
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
from graphorch.models.response_cache import CacheLimits, CachingClient, compute_key
from tests.models.caching import ASKED, Clock, build_cache, run_with
from tests.models.guardrails.fakes import Parrot, answer


class Tide(BaseModel):
    height: float


class Wave(BaseModel):
    height: float
    length: float = 0


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
    "tool_choice": replace(ASKED, tool_choice="none"),
    "surrogates": replace(ASKED, messages=(Message(content="\ud800"),)),
}


def test_key_covers_every_influence() -> None:
    """Give different keys to requests that may be answered differently."""
    keys = {name: compute_key(request, "here") for name, request in DIFFERENT.items()} | {
        "plain": compute_key(ASKED, "here"),
        "there": compute_key(ASKED, "there"),
    }
    assert len(set(keys.values())) == len(keys)


def test_key_stays_between_versions() -> None:
    """Answers that earlier versions stored are found: a new field with its default changes none."""
    assert compute_key(ASKED, "here") == (
        "93c67842a81463932829f9c50e066afada4d066370ac36e2392ed49820538890"
    )


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
