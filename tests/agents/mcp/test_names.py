"""Names of the tools of MCP servers, as models call them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.agents.mcp.names import name_tool
from graphorch.models.config.server_names import is_server_name

SERVER_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,30}[A-Za-z0-9]", fullmatch=True).filter(
    is_server_name
)


def test_name_is_server_and_tool() -> None:
    """A plain name is the server's, two underscores, and the tool's."""
    assert name_tool("files", "read_file") == "files__read_file"


def test_name_of_long_tool_has_hash() -> None:
    """A name beyond 64 characters is cut, and a hash of the whole keeps it apart from others."""
    long = "list_all_of_the_things_that_anybody_could_ever_want_to_have_listed"
    first, second = name_tool("files", long), name_tool("files", f"{long}_too")
    assert first == "files__list_all_of_the_things_that_anybody_could_ever_w_" + first[-8:]
    assert len(first) == len(second) == 64
    assert first != second


@pytest.mark.parametrize("tool", ["a.b", "a b", "märchen", "a/b", "", "😀"])
def test_name_of_odd_tool_is_readable(tool: str) -> None:
    """Signs that endpoints refuse become underscores, and a hash tells the results apart."""
    name = name_tool("files", tool)
    assert re.fullmatch(r"files__[A-Za-z0-9_-]*", name)
    assert (name == "files__") == (not tool)
    assert name_tool("files", "a.b") != name_tool("files", "a b") != name_tool("files", "a_b")


@given(SERVER_NAMES, st.text(max_size=80), SERVER_NAMES, st.text(max_size=80))
def test_names_differ_for_different_tools(
    server: str, tool: str, other_server: str, other: str
) -> None:
    """Any two tools have two names, which every endpoint accepts."""
    first, second = name_tool(server, tool), name_tool(other_server, other)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", first)
    assert (first == second) == ((server, tool) == (other_server, other))
