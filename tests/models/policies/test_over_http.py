"""Policies over real connections: each fault comes from a server that has it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Coroutine
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch.models.messages import Response
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.policies.failure_kinds import NotAnswered
from graphorch.models.policies.policy import Policy, fallback
from graphorch.models.policies.target import Target
from tests.models.fakes import ignore, request_to
from tests.models.servers import Asked, Server, completion, never_answers, replies, serve


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


def connect(name: str, server: Server) -> Target:
    return Target(name, OpenAIClient(server.url, "key"), model=name)


async def answer_all(calls: list[Awaitable[Response]]) -> Counter[str]:
    """Count the texts of the answers; a call without one counts as the name of its error."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    return Counter(
        outcome.text if isinstance(outcome, Response) else type(outcome).__name__
        for outcome in outcomes
    )


async def close_all(*policies: Policy) -> None:
    for policy in policies:
        await policy.aclose()


def test_burst_meets_unavailable_server() -> None:
    """A hundred calls at once are all answered by the second server while the first is down."""

    async def main() -> None:
        down = replies({"error": {"message": "overloaded"}}, status=503)
        async with serve(down) as first, serve(replies(completion("second"))) as second:
            policy = fallback("p", [connect("a", first), connect("b", second)])
            outcomes = await answer_all([policy.complete(request_to()) for _ in range(100)])
            assert outcomes == {"second": 100}
            assert len(first.asked) <= 100
            await close_all(policy)

    run(main())


class Number(BaseModel):
    n: int


def test_nested_policies_meet_dead_server() -> None:
    """Three policies around each other send two requests to a server that fails, not sixteen."""

    async def main() -> None:
        async with serve(replies({"error": {"message": "no"}}, status=500)) as server:
            inner = fallback("inner", [connect("a", server)])
            outer = fallback("outer", [fallback("middle", [inner])])
            assert await answer_all([outer.complete(request_to())]) == {NotAnswered.__name__: 1}
            assert len(server.asked) == 2
            await close_all(outer)

    run(main())


def test_hanging_server_leaves_time() -> None:
    """A server that takes the request and says nothing takes half of the time, not all of it."""

    async def main() -> None:
        async with serve(never_answers) as first, serve(replies(completion("second"))) as second:
            policy = fallback("p", [connect("a", first), connect("b", second)])
            outcomes = await answer_all([policy.complete(request_to(timeout=4))])
            assert outcomes == {"second": 1}
            await close_all(policy)

    run(main())


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, {"code": "context_length_exceeded", "message": "no"}),
        (400, {"code": 400, "status": "INVALID_ARGUMENT", "message": "The input token count "
               "(1200000) exceeds the maximum number of tokens allowed (1048576)."}),
        (400, {"message": "Input is too long for requested model.", "type": "ValidationException"}),
        (429, {"code": "rate_limit_exceeded", "message": "Request too large for m: Limit 3"}),
        (400, {"code": "content_filter", "message": "no",
               "innererror": {"code": "ResponsibleAIPolicyViolation"}}),
        (403, {"message": "Content violates usage guidelines."}),
    ],
)  # fmt: skip
def test_prompt_that_one_server_refuses(status: int, error: dict[str, object]) -> None:
    """A prompt that is too long for one model, or filtered by it, goes to the next, once."""

    async def main() -> None:
        refuses = replies({"error": error}, status=status)
        async with serve(refuses) as first, serve(replies(completion("second"))) as second:
            policy = fallback("p", [connect("a", first), connect("b", second)])
            assert await answer_all([policy.complete(request_to())]) == {"second": 1}
            assert (len(first.asked), policy.targets[0].breaker.state) == (1, "closed")
            await close_all(policy)

    run(main())


def test_burst_meets_limited_server() -> None:
    """A server that takes eight requests at once answers three hundred that come together."""

    async def main() -> None:
        running = 0

        async def answer(asked: Asked) -> None:
            nonlocal running
            if running >= 8:
                await replies({"error": {"message": "too many"}}, status=429)(asked)
                return
            running += 1
            await asyncio.sleep(0.02)
            running -= 1
            await replies(completion("fine"))(asked)

        async with serve(answer) as server:
            policy = fallback("p", [connect("a", server)])
            assert await answer_all([policy.complete(request_to()) for _ in range(300)]) == {
                "fine": 300
            }
            await close_all(policy)

    run(main())


def test_limits_in_headers_are_followed() -> None:
    """When a server says that nothing is left, the next request comes after its reset."""

    async def main() -> None:
        headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1.2s"}
        times: list[float] = []

        async def answer(asked: Asked) -> None:
            times.append(asyncio.get_running_loop().time())
            await replies(completion("fine"), headers=headers)(asked)

        async with serve(answer) as server:
            policy = fallback("p", [connect("a", server)])
            for on_text in (None, ignore):
                await policy.complete(request_to(), on_text)
            assert times[1] - times[0] >= 1.1
            await close_all(policy)

    run(main())


def test_short_outage_of_all_servers() -> None:
    """After a second in which no server works, every call is answered again."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        back_at = loop.time() + 1.0

        async def answer(asked: Asked) -> None:
            if loop.time() < back_at:
                await replies({"error": {"message": "down"}}, status=503)(asked)
            else:
                await replies(completion("back"))(asked)

        async with serve(answer) as first, serve(answer) as second:
            policy = fallback("p", [connect("a", first), connect("b", second)])
            while loop.time() < back_at:
                await answer_all([policy.complete(request_to()) for _ in range(10)])
            for _ in range(3):
                outcomes = await answer_all([policy.complete(request_to()) for _ in range(10)])
                assert outcomes == {"back": 10}
            await close_all(policy)

    run(main())


def test_retry_after_of_a_day_pauses_one_server() -> None:
    """A server that wants a day of rest is passed over, with its circuit closed."""

    async def main() -> None:
        rests = replies({"error": {"message": "no"}}, status=429, headers={"retry-after": "86400"})
        async with serve(rests) as first, serve(replies(completion("second"))) as second:
            policy = fallback("p", [connect("a", first), connect("b", second)])
            for _ in range(20):
                assert await answer_all([policy.complete(request_to())]) == {"second": 1}
            target = policy.targets[0]
            assert (len(first.asked), target.breaker.state) == (1, "closed")
            assert 0 < target.limiter.blocked_for <= 60
            await close_all(policy)

    run(main())
