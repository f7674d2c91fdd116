"""A connection to one server: opened and closed by one task, used by any number of calls.

Theory of operation. The protocol's library ties what it opens to the task that opened it, so a task
of its own (`_own`) enters the connection, waits until it is closed or breaks, and leaves it.
Callers only send requests and wait for the answers, each with a time limit of its own.

Rules of this file:
1. A call that was sent and got no answer is never sent again: it may have acted.
2. The end of a server fails the calls under way, with what the server said last.
3. Whatever a server answers becomes a text, or an error of `errors.py`; nothing else comes out.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import os
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import anyio
import mcp_types as types
from mcp.client import Client, ClientRequestContext
from mcp.shared.exceptions import MCPError
from pydantic import TypeAdapter, ValidationError

from graphorch._version import __version__
from graphorch.agents.mcp.connections.content import write_content
from graphorch.agents.mcp.connections.elicitation import read_question, write_answer
from graphorch.agents.mcp.connections.environment import list_secrets
from graphorch.agents.mcp.connections.failures import (
    Failures,
    SessionEnded,
    list_causes,
    list_faults,
)
from graphorch.agents.mcp.connections.last_words import LastWords
from graphorch.agents.mcp.declaration import ServerDeclaration, StdioLaunch
from graphorch.agents.mcp.errors import (
    InputRequired,
    ListingRefused,
    McpError,
    ToolFailed,
    ToolsChanged,
)
from graphorch.agents.mcp.listing import HINTS, ListedTool, ToolListing, compare_listings
from graphorch.agents.mcp.names import name_tool
from graphorch.agents.mcp.questions import ServerAnswer, ServerQuestion, check_answer
from graphorch.agents.mcp.schemas import list_misfits
from graphorch.clock import outside
from graphorch.text import clean, format_error

_Answer: TypeAlias = types.CallToolResult | types.InputRequiredResult
_Replies: TypeAlias = Mapping[str, types.ElicitResult]
_ANSWER: TypeAdapter[Any] = TypeAdapter(_Answer)

_CLOSE_SECONDS: Final = 15.0  # beyond the sum of the limits of all steps of closing
_SETTLE_SECONDS: Final = 1.0  # to learn how a server ended
_MOST_PAGES: Final = 1_000
_MOST_ROUNDS: Final = 20  # of questions within one call
_POLL_SECONDS: Final = 0.25  # between two looks at a call that goes on at the server
_QUOTED: Final = 1_000  # characters of a result in a message about it


class Connection:
    """A connection to a server, for the event loop that it was made in."""

    def __init__(self, server: ServerDeclaration) -> None:
        self._server = server
        secrets = list_secrets(server, os.environ)
        self._words = LastWords(secrets)
        self._failures = Failures(server, self._words, secrets)
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[ToolListing] = self._loop.create_future()
        self._closing = asyncio.Event()
        self._client: Client | None = None
        self._unanswered: list[str] = []  # questions during calls that nobody could answer
        # Without the context of the caller, whose trace and variables the connection outlives.
        self._task = self._loop.create_task(
            self._own(), name=f"mcp-{server.name}", context=contextvars.Context()
        )

    @property
    def is_alive(self) -> bool:
        """Whether the connection is being opened, or open."""
        return not self._task.done() and not self._closing.is_set()

    async def wait_until_ready(self) -> ToolListing:
        """Return the tools of the server. Raises `ServerUnavailable` or `ListingRefused`."""
        with outside(self._loop):
            return await asyncio.shield(self._ready)

    async def close(self) -> None:
        """Close the connection and wait until nothing of it is left."""
        self._closing.set()
        with outside(self._loop):
            done, _ = await asyncio.wait([self._task], timeout=_CLOSE_SECONDS)
            if not done:
                self._task.cancel()
                await asyncio.wait([self._task])

    # ---- the task that owns the connection -------------------------------------------------------
    async def _own(self) -> None:
        """Open the connection, keep it until it is closed or breaks, and close it."""
        _keep_library_quiet()
        seconds = self._server.limits.start_seconds
        error: McpError | None = None
        try:
            with anyio.move_on_after(seconds) as scope:
                async with self._build_client() as client:
                    listing = await self._take_listing(client)
                    scope.deadline = math.inf
                    self._client = client
                    self._ready.set_result(listing)
                    await self._closing.wait()
            if scope.cancelled_caught:
                error = self._failures.unavailable(f"was not ready within {seconds:g} s")
        # The border to the library, which raises groups of anything.
        except BaseException as raised:
            error = self._failures.explain_start(raised)
            if not all(isinstance(cause, Exception) for cause in list_causes(raised)):
                raise
        finally:
            self._client = None
            if not self._ready.done():
                self._ready.set_exception(error or self._failures.unavailable("was closed"))
                self._ready.exception()  # so that nobody has to ask for it

    def _build_client(self) -> Client:
        server, transport = self._server, self._server.transport
        if isinstance(transport, StdioLaunch):
            from graphorch.agents.mcp.connections.pipes import open_pipes

            streams = open_pipes(server, transport, self._words, self._closing.set)
        else:
            from graphorch.agents.mcp.connections.http import open_http

            streams = open_http(server, transport)
        return Client(
            streams,
            cache=None,
            client_info=types.Implementation(name="graphorch", version=__version__),
            elicitation_callback=self._answer_during_call,
        )

    async def _take_listing(self, client: Client) -> ToolListing:
        """Return all pages of the server's list of tools. Raises `ListingRefused`."""
        name, most = self._server.name, self._server.limits.tools
        tools: list[types.Tool] = []
        cursor: str | None = None
        cursors: set[str] = set()
        while True:
            params = types.PaginatedRequestParams(cursor=cursor)
            page = await client.session.list_tools(params=params)
            tools += page.tools
            cursor = page.next_cursor
            if len(tools) > most:
                raise ListingRefused(
                    f"MCP server '{name}' lists more than {most:,} tools. If they are meant, raise "
                    "the limit: limits=McpLimits(tools=…).",
                    server=name,
                )
            if cursor is None:
                return ToolListing(name, tuple(_describe_tool(name, tool) for tool in tools))
            if cursor in cursors or len(cursors) > _MOST_PAGES:
                raise ListingRefused(
                    f"The list of tools of MCP server '{name}' never ends: it gives page after "
                    "page. Report this to the author of the server.",
                    server=name,
                )
            cursors.add(cursor)

    # ---- calls -----------------------------------------------------------------------------------
    async def call(
        self,
        tool: ListedTool,
        arguments: Mapping[str, Any],
        *,
        answers: Mapping[str, ServerAnswer] | None = None,
        state: str | None = None,
        consent: str = "",
    ) -> str:
        """Call a tool, and return its result as text.

        `answers` and `state` continue a call that ended with `InputRequired`; `consent` is the
        digest of a tool that changed, which a person agreed to call. Raises `McpError`.
        """
        listing = await self.wait_until_ready()
        self._require_unchanged(tool, listing, consent)
        replies = {key: write_answer(answer) for key, answer in (answers or {}).items()}
        scope = asyncio.timeout(self._server.limits.seconds)
        try:
            with outside(self._loop):
                async with scope:
                    return await self._call_until_answered(tool, arguments, replies, state)
        except TimeoutError:
            if not scope.expired():
                raise
        raise self._failures.timed_out(tool)

    def _require_unchanged(self, tool: ListedTool, listing: ToolListing, consent: str) -> None:
        """Raise `ToolsChanged` if the server's tool is neither known nor agreed to."""
        live = listing.find(tool.tool)
        if live is not None and live.digest in (tool.digest, consent):
            return
        name = self._server.name
        offered = () if live is None else (live,)
        changes = compare_listings(ToolListing(name, (tool,)), ToolListing(name, offered))
        raise ToolsChanged(
            f"A tool of MCP server '{name}' is not what it was when the run took its list: "
            f"{'; '.join(map(str, changes))}. Start a new run, which takes the list anew.",
            server=name,
            tool=tool.tool,
            consent="" if live is None else live.digest,
        )

    async def _call_until_answered(
        self,
        tool: ListedTool,
        arguments: Mapping[str, Any],
        replies: _Replies,
        state: str | None,
    ) -> str:
        """Call a tool, and go on as long as the server says that it is not done."""
        rounds = 0
        while True:
            result = await self._send(tool, arguments, replies, state)
            if isinstance(result, types.CallToolResult):
                return self._read_result(tool, result)
            state, replies = result.request_state, {}
            if not result.input_requests:  # it is not done: look again until the time is over
                await asyncio.sleep(_POLL_SECONDS)
                continue
            rounds += 1
            if rounds > _MOST_ROUNDS:
                what = f"it asked {_MOST_ROUNDS} times without ending the call"
                raise self._failures.failed(tool, what)
            questions = self._read_questions(tool, result.input_requests)
            replies = await self._ask(tool, questions, state)

    async def _send(
        self,
        tool: ListedTool,
        arguments: Mapping[str, Any],
        replies: _Replies,
        state: str | None,
    ) -> _Answer:
        """Send one request of a call, and return what the server answers. Raises `McpError`."""
        client = self._client
        if client is None or self._closing.is_set():
            raise SessionEnded("The session has ended.", server=self._server.name, tool=tool.tool)
        params = types.CallToolRequestParams(
            name=tool.tool,
            arguments=dict(arguments),
            input_responses=dict(replies) or None,
            request_state=state,
        )
        try:
            return await client.session.send_request(types.CallToolRequest(params=params), _ANSWER)
        except MCPError as error:
            if error.code == types.CONNECTION_CLOSED:
                await self._wait_for_last_words()
            raise self._failures.explain_answer(tool, error) from None
        except ValidationError as error:
            what = f"its answer does not follow the protocol: {list_faults(error)}"
            raise self._failures.failed(tool, what) from None

    async def _wait_for_last_words(self) -> None:
        """Wait a moment for the end of a server that was started, which says why it ended."""
        if isinstance(self._server.transport, StdioLaunch):
            await asyncio.wait([self._task], timeout=_SETTLE_SECONDS)

    def _read_result(self, tool: ListedTool, result: types.CallToolResult) -> str:
        """Return a result as text. Raises `ToolFailed` if it says so, or breaks its promise."""
        text = write_content([*result.content], result.structured_content)
        unanswered, self._unanswered = self._unanswered, []
        for question in unanswered:
            text += f"\n\n(The server asked, and nobody could answer during the call: {question})"
        if result.is_error:
            raise ToolFailed(text, server=self._server.name, tool=tool.tool)
        if tool.output is None:
            return text
        faults = ["it has no structured content"]
        if result.structured_content is not None:
            faults = list_misfits(tool.output, result.structured_content)
        if faults:
            raise self._failures.failed(
                tool,
                f"it ran, and its result does not fit the schema that it promises: "
                f"{'; '.join(faults)}. It said: {clean(text, _QUOTED)}",
            )
        return text

    # ---- questions -------------------------------------------------------------------------------
    def _read_questions(
        self, tool: ListedTool, requests: Mapping[str, types.InputRequest]
    ) -> tuple[ServerQuestion, ...]:
        """Return the questions of a call. Raises `ToolFailed` for what is not one for a person."""
        questions: list[ServerQuestion] = []
        for key, request in requests.items():
            if not isinstance(request, types.ElicitRequest):
                what = f"it asks for {request.method}, which is not offered"
                raise self._failures.failed(tool, what)
            questions.append(read_question(self._server.name, key, request.params))
        return tuple(questions)

    async def _ask(
        self, tool: ListedTool, questions: tuple[ServerQuestion, ...], state: str | None
    ) -> _Replies:
        """Return the answers of the program. Raises `InputRequired` if it answers none itself."""
        ask = self._server.on_question
        if ask is None:
            raise InputRequired(questions, state, server=self._server.name, tool=tool.tool)
        replies: dict[str, types.ElicitResult] = {}
        for question in questions:
            replies[question.key] = write_answer(check_answer(question, await ask(question)))
        return replies

    async def _answer_during_call(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Answer a question of an older server, which holds the call open meanwhile."""
        question = read_question(self._server.name, str(context.request_id), params)
        ask = self._server.on_question
        if ask is None:
            self._unanswered.append(question.message)
            return types.ElicitResult(action="cancel")
        try:
            return write_answer(check_answer(question, await ask(question)))
        # The border to the program's function: the server has to hear that no answer comes.
        except Exception as error:
            self._unanswered.append(f"{question.message} ({format_error(error)})")
            return types.ElicitResult(action="cancel")


def _describe_tool(server: str, tool: types.Tool) -> ListedTool:
    hints = tool.annotations.model_dump(by_alias=True) if tool.annotations is not None else {}
    return ListedTool(
        name=name_tool(server, tool.name),
        tool=tool.name,
        description=tool.description or "",
        parameters={"type": "object", **tool.input_schema},
        output=tool.output_schema,
        annotations={hint: hints[hint] for hint in HINTS if isinstance(hints.get(hint), bool)},
    )


def _keep_library_quiet() -> None:
    """Keep the library's remarks off standard error in programs that set up no logging."""
    for name in ("mcp", "client"):
        logger = logging.getLogger(name)
        if not logger.handlers:
            logger.addHandler(logging.NullHandler())
