"""Servers of tools among the tools of an agent: what is known of them before a run."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, GraphError, McpServer, Untrusted, agent
from graphorch.agents.tool_sources import split_sources

FILES = McpServer.stdio("files", "no-such-program")


class Page(BaseModel):
    page: Untrusted[str]


class Report(BaseModel):
    report: str = ""


class State(Page, Report): ...


def build(*tools: Any) -> None:
    """Build a graph in which an agent with tools reads what came from outside."""

    @agent(output=Report, tools=tools)
    def write(page: Page) -> str:
        return f"Summarise {page.page}."

    Graph("report", State, input=Page, output=Report).chain(write).build()


def test_sources_are_parted() -> None:
    """Functions stay as they are, and what an agent gets of a server is put together."""

    def look_up(word: str) -> str:
        return word

    functions, (files,) = split_sources([look_up, FILES, *FILES.tools("wipe", approve=True)])
    assert functions == [look_up]
    assert (files.name, files.all_tools) == ("files", True)
    assert files.chosen == {"wipe": {"approve": True}}


@pytest.mark.parametrize(
    ("tools", "acting", "untrusted"),
    [
        ([FILES], ["files"], ["files"]),
        (FILES.tools("read"), ["read"], ["read"]),
        (FILES.tools("read", effect="pure"), [], ["read"]),
        (FILES.tools("read", effect="pure", untrusted=False), [], []),
        (FILES.tools("wipe", approve=True), [], ["wipe"]),
        ([FILES, *FILES.tools("wipe", approve=True)], ["files"], ["wipe", "files"]),
    ],
)
def test_server_may_do_what_is_not_ruled_out(
    tools: Any, acting: list[str], untrusted: list[str]
) -> None:
    """Before its list is known, a server may do whatever the author does not rule out."""
    _, (files,) = split_sources(tools)
    assert [*files.list_acting()] == acting
    assert [*files.list_untrusted()] == untrusted


@pytest.mark.parametrize(
    "tools",
    [FILES.tools("read", effect="pure"), FILES.tools("wipe", approve=True)],
    ids=["pure", "approved"],
)
def test_harmless_tools_may_read_untrusted(tools: Any) -> None:
    """An agent that reads untrusted text may call what changes nothing, or what a person saw."""
    build(*tools)


@pytest.mark.parametrize("tools", [[FILES], FILES.tools("send")], ids=["all", "chosen"])
def test_acting_tools_may_not_read_untrusted(tools: Any) -> None:
    """A server that may act is no tool for an agent that reads untrusted text."""
    with pytest.raises(GraphError, match="reach the arguments of its tool"):
        build(*tools)
