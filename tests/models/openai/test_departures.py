"""What an outage costs: nothing where no request left, the worst case where one may have."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from graphorch.errors import ModelError
from graphorch.models.budgets.budget import Account, Amount, Budget
from graphorch.models.budgets.charge import Receipt
from graphorch.models.openai import transport  # imports what a first call would import slowly
from graphorch.models.openai.client import CallLimits, OpenAIClient
from graphorch.models.policies.policy import fallback
from graphorch.models.policies.target import Target
from graphorch.models.pricing.metering import MeteredClient
from tests.models.fakes import Flat, Table, request_to
from tests.models.servers import (
    completion,
    hangs_up,
    never_answers,
    pieces_of,
    replies,
    serve,
    streams,
)

assert transport
PRICES = Table({"m": Flat(1e-3)})
LIMITS = CallLimits(total=0.3, connect=0.2)


@contextmanager
def deaf_port() -> Iterator[int]:
    """Yield a port at which connecting hangs, since its queue is full and stays so."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        waiting = []
        for _ in range(8):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            waiting.append(client)
        try:
            yield port
        finally:
            for client in waiting:
                client.close()


def closed_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


async def fail(
    url: str, *, calls: int = 1, text: str = "hello", limits: CallLimits = LIMITS
) -> Any:
    """Make calls that fail, and return the account that paid for them."""
    account = Account("day", Budget(usd=20, calls=1000))
    client = OpenAIClient(url, "key", limits=limits)
    for _ in range(calls):
        request = request_to("m", text, payer=account)
        with pytest.raises(ModelError):
            await MeteredClient(client, PRICES).complete(request)
    await client.aclose()
    assert account.report().reserved == Amount(0, 0, 0)
    return account


def test_refused_connections_cost_nothing() -> None:
    """Sixty calls against a refused connection leave the budget of the day as it was."""
    account = asyncio.run(fail(f"http://127.0.0.1:{closed_port()}/v1", calls=60))
    assert account.spent == Amount(0, 0, 0)


@pytest.mark.parametrize("connect", [0.1, 10.0])
def test_hanging_connections_cost_nothing(connect: float) -> None:
    """A connection that never stands costs nothing, whichever limit ends the wait for it."""
    with deaf_port() as port:
        limits = CallLimits(total=0.3, connect=connect)
        account = asyncio.run(fail(f"http://127.0.0.1:{port}/v1", limits=limits))
    assert account.spent == Amount(0, 0, 0)


def test_cancelled_connecting_costs_nothing() -> None:
    """A call that is cancelled while it connects costs nothing."""

    async def main() -> None:
        account = Account("day", Budget(usd=20))
        with deaf_port() as port:
            client = OpenAIClient(f"http://127.0.0.1:{port}/v1", "key")
            call = MeteredClient(client, PRICES).complete(request_to("m", payer=account))
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(call, 0.3)
            await client.aclose()
        assert account.spent == Amount(0, 0, 0)

    asyncio.run(main())


def test_failed_handshakes_cost_nothing() -> None:
    """A server that does not speak TLS never gets the prompt."""

    async def main() -> None:
        async with serve(never_answers) as server:
            account = await fail(server.url.replace("http:", "https:"))
        assert account.spent == Amount(0, 0, 0)

    asyncio.run(main())


def test_unsendable_prompts_cost_nothing() -> None:
    """A prompt that cannot be sent costs nothing."""

    async def main() -> None:
        async with serve(never_answers) as server:
            account = await fail(server.url, text="lone \ud800 surrogate")
            assert server.asked == []
        assert account.spent == Amount(0, 0, 0)

    asyncio.run(main())


@pytest.mark.parametrize("handler", [hangs_up, never_answers, replies("<html>"), replies({}, 500)])
def test_sent_prompts_cost_the_worst(handler: Any) -> None:
    """A prompt that left counts at the worst case, whatever came back without a bill."""

    async def main() -> None:
        async with serve(handler) as server:
            account = await fail(server.url, limits=CallLimits(total=2.0))
        assert account.spent.calls == 1
        assert account.spent.usd > 1
        assert account.report().estimated == account.spent.usd

    asyncio.run(main())


def test_second_call_on_connection_is_watched() -> None:
    """A call over a connection that stands already leaves like the first one."""

    async def main() -> None:
        async with serve(replies(completion("fine")), hangs_up) as server:
            account = Account("day", Budget(usd=20))
            client = MeteredClient(OpenAIClient(server.url, "key"), PRICES)
            await client.complete(request_to("m", payer=account))
            known = account.spent
            with pytest.raises(ModelError):
                await client.complete(request_to("m", payer=account))
            assert account.spent.calls == 2
            assert account.spent.usd > 2 * known.usd
            await client.aclose()

    asyncio.run(main())


def test_fallback_from_outage_costs_one_call() -> None:
    """A policy whose first target refuses connections pays for its second target only."""

    async def main() -> None:
        async with serve(replies(completion("fine"))) as server:
            account = Account("day", Budget(usd=20))
            urls = [f"http://127.0.0.1:{closed_port()}/v1", server.url]
            clients = [OpenAIClient(url, "key") for url in urls]
            targets = [
                Target(name, client, model="m", prices=PRICES)
                for name, client in zip("ab", clients, strict=True)
            ]
            response = await fallback("p", targets).complete(request_to("p", payer=account))
            for client in clients:
                await client.aclose()
        assert account.spent == Amount(0.01, 10, 1)
        assert response.usd == pytest.approx(0.01)

    asyncio.run(main())


class Permission:
    """Lets requests leave from some moment on, and counts how often that was waited for."""

    def __init__(self) -> None:
        self.is_given = asyncio.Event()
        self.was_asked = asyncio.Event()
        self.asked = 0

    async def wait(self) -> None:
        self.asked += 1
        self.was_asked.set()
        await self.is_given.wait()


@pytest.mark.parametrize("is_policy", [False, True], ids=["target", "policy"])
@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_prompt_leaves_once_it_is_confirmed(is_policy: bool, is_stream: bool) -> None:
    """However long loading and connecting took, a prompt leaves only while that is still right."""

    async def main() -> None:
        answer = streams(pieces_of("fi", "ne")) if is_stream else replies(completion("fine"))
        async with serve(answer) as server:
            permission = Permission()
            receipt = Receipt(confirm=permission.wait)
            client = OpenAIClient(server.url, "key")
            target = Target("a", client, model="m", prices=PRICES)
            asked = fallback("p", [target]) if is_policy else MeteredClient(client, PRICES)
            request = request_to("p" if is_policy else "m", receipt=receipt)
            on_text = (lambda text: None) if is_stream else None
            call = asyncio.create_task(asked.complete(request, on_text))
            await asyncio.wait_for(permission.was_asked.wait(), 5)
            await asyncio.sleep(0.1)
            assert server.asked == []
            permission.is_given.set()
            assert (await call).text == "fine"
            assert len(server.asked) == permission.asked == 1
            await client.aclose()

    asyncio.run(main())


def test_unconfirmed_prompts_cost_nothing() -> None:
    """A call that ends while it waits for its confirmation never left, so it costs nothing."""

    async def main() -> None:
        async with serve(replies(completion("fine"))) as server:
            account = Account("day", Budget(usd=20, calls=1000))
            client = OpenAIClient(server.url, "key", limits=CallLimits(total=0.3))
            request = request_to("m", payer=account, receipt=Receipt(confirm=Permission().wait))
            with pytest.raises(ModelError):
                await MeteredClient(client, PRICES).complete(request)
            await client.aclose()
            assert server.asked == []
        assert account.spent == account.report().reserved == Amount(0, 0, 0)

    asyncio.run(main())
