"""`/mcp`: the served flows as tools over HTTP, by the Model Context Protocol.

A client that is lost has not cancelled anything: its run goes on, and is in the journal. Calls
begin no more runs than the server takes at once.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from starlette.types import ASGIApp, Receive, Scope, Send

from graphorch.errors import InputError
from graphorch.server.context import ServerContext
from graphorch.server.gate.gate import send_problem
from graphorch.server.problems import Problem
from graphorch.server.served_flow import ServedFlow

if TYPE_CHECKING:
    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

_logger = logging.getLogger(__name__)

_LEG_SECONDS: Final = 45.0  # clients often give up after 60
_MOST_SESSIONS: Final = 64
_TOO_MANY: Final = -32000  # of JSON-RPC: an error that the server defines
_CALL: Final = "tools/call"


async def refuse_tools(scope: Scope, receive: Receive, send: Send) -> None:
    """Say that this server has no tools."""
    problem = Problem(
        404,
        "no-tools",
        "This server has no tools: it was started to read only, or without a flow that can run. "
        "Start it with the flows that are to be tools: `graphorch serve FLOW…`.",
    )
    await send_problem(problem, scope, send)


async def _refuse_without_package(scope: Scope, receive: Receive, send: Send) -> None:
    problem = Problem(
        501,
        "no-tools",
        "Tools need the package mcp where the server runs: pip install 'graphorch[mcp]'.",
    )
    await send_problem(problem, scope, send)


@asynccontextmanager
async def open_tools(context: ServerContext) -> AsyncGenerator[ASGIApp]:
    """Yield the application of `/mcp`, which serves clients meanwhile.

    Raises `InputError` for flows that cannot be tools.
    """
    if context.settings.is_read_only or not context.flows:
        yield refuse_tools
        return
    if importlib.util.find_spec("mcp") is None:
        yield _refuse_without_package
        return
    flows = [served for served in context.flows.values() if _can_run(context, served)]
    if not flows:
        yield refuse_tools
        return
    manager = _build_manager(context, flows)
    try:
        async with manager.run():
            yield _ToolCalls(context, manager)
    except BaseExceptionGroup as group:  # what was raised in here, in a group of its own
        raise _unwrap(group) from None


def _unwrap(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the only exception of a group, which a group of tasks has put around it."""
    inner = list(group.exceptions)
    return inner[0] if len(inner) == 1 else group


def _can_run(context: ServerContext, served: ServedFlow) -> bool:
    """Return whether runs of a flow would have their models; say so if they would not."""
    try:
        context.runs.check(served.flow)
    except InputError as error:
        _logger.warning("Flow '%s' is no tool of this server: %s", served.flow.name, error)
        return False
    return True


def _build_manager(
    context: ServerContext, flows: Sequence[ServedFlow]
) -> StreamableHTTPSessionManager:
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
    from mcp.server.transport_security import TransportSecuritySettings

    from graphorch.mcp_server.call_state import read_key
    from graphorch.mcp_server.served_flows import ServedFlow as Tool
    from graphorch.mcp_server.server import build_server

    tools = [
        Tool(served.flow, served.reference, served.about, served.format_command) for served in flows
    ]
    key = read_key(context.journal)
    server, _ = build_server(tools, context.runs, key=key, leg_seconds=_LEG_SECONDS)
    server.middleware.append(_RunLimit(context))
    return StreamableHTTPSessionManager(
        server,
        max_request_body_size=context.settings.limits.body_bytes,
        max_sessions=_MOST_SESSIONS,
        # the gate has checked hosts and origins already, against the exact list
        security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )


class _RunLimit:
    """Refuses calls that would begin a run while as many as the server takes are under way."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context

    async def __call__(
        self, ctx: ServerRequestContext[Any, Any], call_next: CallNext
    ) -> HandlerResult:
        """Handle a message. Raises `MCPError` for a call that would be one run too many."""
        most = self._context.settings.limits.runs
        begins = ctx.method == _CALL and not (ctx.params or {}).get("requestState")
        if begins and self._context.runs.count_under_way() >= most:
            from mcp.shared.exceptions import MCPError

            message = f"This server runs {most} calls at once, and all are taken. Try again soon."
            raise MCPError(_TOO_MANY, message)
        return await call_next(ctx)


class _ToolCalls:
    """The application of `/mcp`; what it waits for ends with the server."""

    def __init__(self, context: ServerContext, manager: StreamableHTTPSessionManager) -> None:
        self._context = context
        self._manager = manager

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request; a stream of notices takes a place among the streams of the server."""
        if scope["method"] != "GET":
            await self._handle(scope, receive, send)
            return
        try:
            with self._context.streams.hold():
                await self._handle(scope, receive, send)
        except Problem as problem:
            await send_problem(problem, scope, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        handling = asyncio.ensure_future(self._manager.handle_request(scope, receive, send))
        ending = asyncio.ensure_future(self._context.ending.wait())
        try:
            await asyncio.wait([handling, ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            handling.cancel()
            ending.cancel()
            await asyncio.wait([handling, ending])
        if not handling.cancelled():
            handling.result()
