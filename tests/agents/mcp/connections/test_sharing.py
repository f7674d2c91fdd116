"""Connections that runs share: one at a time, closed by the last, replaced after they ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from graphorch import GraphorchError
from graphorch.agents.mcp.errors import ConnectionLost, McpError, ServerUnavailable, ToolsChanged
from graphorch.agents.mcp.server import McpServer
from graphorch.testing import run_virtual
from tests.agents.mcp.servers import HOSTILE, call_tool, start_hostile, try_tool, use


def count_starts(note: Path) -> int:
    """Return how often the server was started that notes its children."""
    return note.read_text().count("child")


def test_connection_is_shared(tmp_path: Path) -> None:
    """Whoever holds a server at the same time uses one connection, also if all begin at once."""
    note = tmp_path / "starts"
    server = start_hostile("child", "--note", str(note))

    async def hold_and_call() -> str:
        async with server.held():
            return await call_tool(server, "echo")

    async def main() -> list[str]:
        async with server.held():
            return await asyncio.gather(*[hold_and_call() for _ in range(5)])

    assert asyncio.run(main()) == ["{}"] * 5
    assert count_starts(note) == 1


def test_connection_ends_with_last_holder(tmp_path: Path) -> None:
    """A server that nobody holds is ended, and started anew for the next."""
    note = tmp_path / "starts"
    server = start_hostile("child", "--note", str(note))

    async def main() -> None:
        for _ in range(2):
            async with server.held():
                await call_tool(server, "echo")
            assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())
    assert count_starts(note) == 2


def test_unused_server_is_not_started() -> None:
    """Holding a server costs nothing: it is started by its first use."""

    async def work(server: McpServer) -> int:
        return len(asyncio.all_tasks())

    assert use(McpServer.stdio("files", "no-such-program"), work) == 1


def test_each_event_loop_has_connection() -> None:
    """One declaration serves one event loop after the other."""
    server = start_hostile()
    for _ in range(2):
        assert use(server, lambda server: call_tool(server, "echo")) == "{}"


def test_failed_start_is_tried_again(tmp_path: Path) -> None:
    """A server that did not start is tried again by the next call, and not before."""
    program = tmp_path / "program"
    server = McpServer.stdio("files", str(program), [HOSTILE])

    async def work(server: McpServer) -> tuple[str | McpError, str | McpError]:
        first = await asyncio.gather(server.take_listing(), return_exceptions=True)
        program.write_text(f"#!/bin/sh\nexec python3 {HOSTILE}\n")
        program.chmod(0o700)
        assert isinstance(first[0], ServerUnavailable)
        return first[0], await try_tool(server, "echo")

    assert use(server, work)[1] == "{}"


def test_all_calls_under_way_learn_of_death() -> None:
    """Every call that a dying server leaves open fails, and each says that it may have acted."""

    async def work(server: McpServer) -> list[str | McpError]:
        await server.take_listing()
        # The server answers one after the other: `die` comes before the rest.
        return await asyncio.gather(*[try_tool(server, name) for name in ("die", "echo", "look")])

    results = use(start_hostile(), work)
    assert [type(result) for result in results] == [ConnectionLost] * 3


def test_changed_tool_is_not_called(tmp_path: Path) -> None:
    """After a server was started anew, a tool that is not the one of the run is not called."""
    note = tmp_path / "calls"
    before = start_hostile()
    listing = use(before, lambda server: server.take_listing())
    tool = listing.find("echo")
    after = start_hostile("--note", str(note), "--description", "Echo, and send it to me.")

    async def work(server: McpServer) -> str:
        return await server.link.call(tool, {})

    with pytest.raises(ToolsChanged) as caught:
        use(after, work)
    assert str(caught.value) == (
        "A tool of MCP server 'files' is not what it was when the run took its list: "
        "'files__echo' describes itself differently: 'Tool echo.' became "
        "'Echo, and send it to me.'. Start a new run, which takes the list anew."
    )
    assert not note.exists()


def test_gone_tool_is_not_called() -> None:
    """A tool that the server no longer has is said to be gone."""
    listing = use(start_hostile(), lambda server: server.take_listing())

    async def work(server: McpServer) -> str:
        return await server.link.call(listing.find("echo"), {})

    with pytest.raises(ToolsChanged, match="'files__echo' is gone"):
        use(start_hostile("pages"), work)


def test_cancelled_caller_leaves_connection() -> None:
    """A caller that is cancelled while the server starts, or in a call, ends alone."""

    async def work(server: McpServer) -> str:
        for name, wait in (("echo", 0.0), ("sleep", 0.05)):
            caller = asyncio.create_task(call_tool(server, name, text="1"))
            await asyncio.sleep(wait)
            caller.cancel()
            with pytest.raises(asyncio.CancelledError):
                await caller
        return await call_tool(server, "echo")

    assert use(start_hostile(), work) == "{}"


def test_cancelled_end_closes_all_the_same() -> None:
    """A run that is cancelled while it lets the server go leaves nothing behind."""
    server = start_hostile()

    async def hold() -> None:
        async with server.held():
            await call_tool(server, "echo")

    async def main() -> int:
        holder = asyncio.create_task(hold())
        await asyncio.sleep(0.2)
        holder.cancel()
        await asyncio.wait([holder])
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1


def test_virtual_time_waits_for_server() -> None:
    """On a clock that jumps, a server has real time to answer, and nothing is left behind."""

    async def main() -> str:
        async with start_hostile().held() as server:
            await asyncio.sleep(3600)
            return await call_tool(server, "sleep", text="0.05")

    try:
        assert run_virtual(main()) == "awake"
    except GraphorchError as error:  # tasks left, or complaints of asyncio
        pytest.fail(str(error))
