"""Policies over real connections: each fault comes from a server that has it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Coroutine
from typing import Any

from pydantic import BaseModel

from graphorch.models.messages import Response
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.policies.failure_kinds import NotAnswered
from graphorch.models.policies.policy import Policy, fallback
from graphorch.models.policies.target import Target
from tests.models.fakes import request_to
from tests.models.servers import Server, completion, never_answers, replies, serve


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
