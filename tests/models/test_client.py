"""What a client can do beside answering is found out by looking at it."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from unittest.mock import AsyncMock

import pytest

from graphorch import Graph, InputError
from graphorch.models.client import ModelClient, OnText, close, prepare, unwrap
from graphorch.models.messages import Request, Response
from graphorch.models.retry import RetryingClient
from tests.scenarios.flows import State, up


class Connected:
    """Client that notes what is asked of it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        raise NotImplementedError

    async def prepare(self) -> None:
        self.calls.append("prepare")

    async def aclose(self) -> None:
        self.calls.append("close")


class PassingOn:
    """Client around another one that leaves all that it does not change to `__getattr__`."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        return await self._client.complete(request, on_text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_client_that_passes_on_is_prepared_and_closed() -> None:
    """What a client passes on to the one that it is around counts on every version of Python."""
    connected = Connected()

    async def main() -> None:
        await prepare(PassingOn(connected))
        await close(PassingOn(connected))

    asyncio.run(main())
    assert connected.calls == ["prepare", "close"]


def test_client_that_passes_on_is_a_wrapper() -> None:
    """The chain of clients goes on behind it."""
    connected = Connected()
    assert list(unwrap(PassingOn(RetryingClient(connected))))[1:] == [connected]


@pytest.mark.parametrize("make", [AsyncMock, lambda: _around_itself()], ids=["mock", "itself"])
def test_endless_chain_is_an_error(make: Any) -> None:
    """A mock has every attribute, also `inner`: that is said, and nothing hangs."""
    flow = Graph("g", State).chain(up("a")).build()
    with pytest.raises(InputError, match="leads on to more than 100 clients"):
        list(unwrap(make()))
    with pytest.raises(InputError, match="spec=ModelClient"):
        flow.run_sync(State(), client=make())


def test_mock_of_model_client_is_a_client() -> None:
    """A mock that has the attributes of a client alone is one."""
    client = cast("ModelClient", AsyncMock(spec=ModelClient))
    assert list(unwrap(client)) == [client]


def _around_itself() -> Any:
    client = PassingOn(None)
    vars(client)["inner"] = client
    return client
