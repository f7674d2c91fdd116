"""Declarations of servers: what they accept, and what they say about the rest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from graphorch import InputError
from graphorch.agents.mcp.declaration import McpLimits
from graphorch.agents.mcp.server import McpServer

URL = "https://tracker.example/mcp"


def test_server_shows_no_values() -> None:
    """What a server shows of itself has the names of variables, and no values of them."""
    server = McpServer.stdio("files", "npx", ["-y"], env={"KEY": "sk-123"}, env_from=["TOKEN"])
    assert "npx" in repr(server)
    assert "sk-123" not in repr(server)
    assert "TOKEN_ENV" in repr(McpServer.http("tracker", URL, bearer_env="TOKEN_ENV"))


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"name": "my files"}, "'my files' cannot name an MCP server"),
        ({"name": "a__b"}, "'a__b' cannot name an MCP server"),
        ({"name": None}, "None cannot name an MCP server"),
        ({"command": ""}, "command='' names no program"),
        ({"command": ["npx", "-y"]}, "names no program"),
        ({"args": "-y server"}, "args='-y server' is not a list of texts"),
        ({"args": [1]}, "is not a list of texts"),
        ({"env": {"A B": "c"}}, "env does not name an environment variable"),
        ({"env": {"A": 1}}, "env['A'] is not a text"),
        ({"env_from": ["sk-proj-123"]}, "env_from does not name an environment variable"),
        ({"trust": "yes"}, "trust='yes' is no answer"),
        ({"limits": 10}, "limits=10 are not its limits"),
        ({"on_question": "yes"}, "on_question='yes' is not a function"),
    ],
)
def test_wrong_program_is_refused(options: dict[str, Any], problem: str) -> None:
    """Each mistake in the declaration of a program is named, without secrets."""
    with pytest.raises(InputError) as caught:
        McpServer.stdio(**{"name": "files", "command": "npx", **options})
    assert problem in str(caught.value)
    assert "sk-proj-123" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"url": "tracker.example"}, "its url is not an address"),
        ({"url": "https://user:pass@tracker.example"}, "its url holds more than a host"),
        ({"url": 7}, "its url is not a text"),
        ({"bearer_env": "sk-proj-123"}, "bearer_env does not name an environment variable"),
        ({"headers_env": {"X Y": "KEY"}}, "'X Y', which is not a header's name"),
        ({"headers_env": {"X-Key": "sk-proj-123"}}, "does not name an environment variable"),
        (
            {"url": "http://tracker.example/mcp", "bearer_env": "TOKEN"},
            "would send its key over plain http",
        ),
    ],
)
def test_wrong_address_is_refused(options: dict[str, Any], problem: str) -> None:
    """Each mistake in the declaration of an address is named, without secrets."""
    with pytest.raises(InputError) as caught:
        McpServer.http(**{"name": "tracker", "url": URL, **options})
    assert problem in str(caught.value)
    assert "sk-proj-123" not in str(caught.value)
    assert "user:pass" not in str(caught.value)


@pytest.mark.parametrize(
    "limits", [{"seconds": 0}, {"start_seconds": -1}, {"bytes": 0}, {"tools": 1.5}]
)
def test_impossible_limits_are_refused(limits: dict[str, Any]) -> None:
    """A limit that lets nothing through is a mistake."""
    with pytest.raises(InputError, match=next(iter(limits))):
        McpLimits(**limits)


def test_chosen_tools_have_names() -> None:
    """The names of chosen tools are known before the server is asked."""
    server = McpServer.http("tracker", URL)
    search, note = server.tools("search", "add.note", approve=True)
    assert search.name == "tracker__search"
    assert note.name == "tracker__add_note_4b4001ae"


@pytest.mark.parametrize(
    ("names", "options", "problem"),
    [
        ((), {}, "chooses nothing"),
        (("search", "search"), {}, "names 'search' twice"),
        ((7,), {}, "is not a list of texts"),
        (("search",), {"name": "find"}, "have no name of their own"),
        (("search",), {"isolation": "process"}, "have no isolation of their own"),
    ],
)
def test_wrong_choice_is_refused(names: Any, options: Any, problem: str) -> None:
    """A choice that cannot be meant is refused where it is written."""
    with pytest.raises(InputError, match=problem):
        McpServer.http("tracker", URL).tools(*names, **options)


def test_server_out_of_use_is_not_started() -> None:
    """Outside of a run and of `held`, nothing would close a connection, so none is made."""
    server = McpServer.stdio("files", "no-such-program")
    with pytest.raises(InputError, match="is not in use here"):
        asyncio.run(server.take_listing())
