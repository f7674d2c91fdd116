"""Response caches for tests: a request, a clock, and programs that use a cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphorch.models.messages import Message, Request
from graphorch.models.response_cache import CachingClient

ASKED = Request("m", (Message(content="What is the tide?"),))


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


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
