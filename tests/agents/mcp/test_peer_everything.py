"""The client with a server that others wrote: npm `@modelcontextprotocol/server-everything`.

To run it, in any folder, with Node 20 or later:

    npm i --prefix /tmp/everything @modelcontextprotocol/server-everything
    EVERYTHING=/tmp/everything/node_modules/@modelcontextprotocol/server-everything/dist/index.js \
        python -m pytest -m peer tests/agents/mcp
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

from graphorch.agents.mcp.errors import McpError, ToolFailed
from graphorch.agents.mcp.listing import describe_listing, restore_listing
from graphorch.agents.mcp.questions import ServerAnswer, ServerQuestion
from graphorch.agents.mcp.server import McpServer
from tests.agents.mcp.servers import call_tools, use

EVERYTHING = os.environ.get("EVERYTHING", "")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        not EVERYTHING,
        reason="EVERYTHING does not name dist/index.js of server-everything; "
        "see the docstring of the module",
    ),
]


async def answer(question: ServerQuestion) -> ServerAnswer:
    """Fill in the fields that a question requires."""
    fields = (question.schema or {}).get("properties", {})
    required = (question.schema or {}).get("required", [])
    values = {name: "Ann" for name in required if fields[name].get("type") == "string"}
    return ServerAnswer("accept", values)


@pytest.fixture(params=["stdio", "http"])
def server(request: pytest.FixtureRequest) -> Iterator[McpServer]:
    """The server, as a program and at an address."""
    if request.param == "stdio":
        yield McpServer.stdio("every", "node", [EVERYTHING, "stdio"], on_question=answer)
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        ["node", EVERYTHING, "streamableHttp"],
        env={**os.environ, "PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        yield McpServer.http("every", f"http://127.0.0.1:{port}/mcp", on_question=answer)
    finally:
        process.kill()
        process.wait()


def test_every_tool_is_offered(server: McpServer) -> None:
    """All tools of the server become tools, and survive being stored."""
    listing = use(server, lambda server: server.take_listing())
    tools = server.build_tools(restore_listing(json.loads(json.dumps(describe_listing(listing)))))
    names = [tool.name for tool in tools]
    assert len(names) == len(set(names)) >= 10
    assert {"every__echo", "every__get-sum", "every__get-structured-content"} <= set(names)
    assert {tool.effect for tool in tools} == {"once"}


@pytest.mark.parametrize(
    ("tool", "arguments", "expected"),
    [
        ("echo", {"message": "hé"}, "Echo: hé"),
        ("get-sum", {"a": 1, "b": 2}, "The sum of 1 and 2 is 3."),
        ("get-tiny-image", {}, "[image of type image/png, 4,033 bytes, not shown]"),
        ("get-structured-content", {"location": "New York"}, '"temperature"'),
        ("get-resource-reference", {"resourceType": "Text", "resourceId": 1}, "[resource demo://"),
        ("get-resource-links", {"count": 2}, "[link to demo://"),
        (
            "trigger-long-running-operation",
            {"duration": 0.2, "steps": 2},
            "Long running operation completed",
        ),
        ("trigger-elicitation-request", {}, "Ann"),
    ],
)
def test_tool_answers(server: McpServer, tool: str, arguments: Any, expected: str) -> None:
    """Each kind of content becomes text, and a question is answered by the program."""
    (result,) = call_tools(server, tool, **arguments)
    assert not isinstance(result, McpError), result
    assert expected in result


def test_wrong_arguments_are_told(server: McpServer) -> None:
    """What the server says about wrong arguments is told to the model."""
    (error,) = call_tools(server, "get-sum", a="x")
    assert isinstance(error, ToolFailed)
    assert "expected number, received string" in str(error)
