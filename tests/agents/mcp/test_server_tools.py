"""Tools made of a server's list, and what is said about lists that make none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from graphorch import GraphError
from graphorch.agents.mcp.errors import ListingRefused, ToolFailed
from graphorch.agents.mcp.listing import describe_listing, restore_listing
from graphorch.agents.mcp.server import McpServer
from graphorch.agents.tool_sources import ServerTools
from graphorch.graph.payloads import ToolArguments
from tests.agents.mcp.listings import TEXT, listed, listing
from tests.agents.mcp.servers import start_hostile, use

SERVER = McpServer.stdio("files", "no-such-program")


def test_tools_follow_list() -> None:
    """A tool has the name, description and schema of the list, and an effect that is careful."""
    (tool,) = SERVER.build_tools(listing(listed("read", annotations={"readOnlyHint": True})))
    assert (tool.name, tool.spec.description) == ("files__read", "Tool read.")
    assert tool.spec.parameters == TEXT
    assert (tool.effect, tool.approve, tool.tells) == ("once", False, (ToolFailed,))
    assert tool.is_barrier
    assert tool.read_arguments('{"text": "x"}') == {"text": "x"}


def test_options_of_author_count() -> None:
    """Options that the author gives are the tool's, and the server's failures are told as well."""
    offered = listing(listed("read"), listed("wipe", annotations={"destructiveHint": True}))
    (read,) = SERVER.build_tools(
        offered,
        {"read": {"effect": "pure", "max_calls": 2, "tells": (OSError,)}},
        all_tools=False,
    )
    assert (read.effect, read.max_calls) == ("pure", 2)
    assert read.tells == (ToolFailed, OSError)
    _, wipe = SERVER.build_tools(offered)
    assert wipe.approve is True
    (trusted,) = SERVER.build_tools(offered, {"wipe": {"approve": False}}, all_tools=False)
    assert trusted.approve is False


def test_approval_reads_arguments() -> None:
    """A predicate reads arguments of the server's schema by their names."""
    rule: Any = lambda text: text == "all"  # noqa: E731
    (tool,) = SERVER.build_tools(listing(listed("wipe")), {"wipe": {"approve": rule}})
    assert tool.needs_approval({"text": "all"})
    assert not tool.needs_approval({"text": "one"})
    wrong: Any = lambda path: True  # noqa: E731
    with pytest.raises(GraphError, match="approve reads path, which is no argument of it"):
        SERVER.build_tools(listing(listed("wipe")), {"wipe": {"approve": wrong}})


def test_once_forbids_retry() -> None:
    """A tool that acts once cannot be retried, as for functions."""
    from graphorch import Retry

    with pytest.raises(GraphError, match='effect="once" forbids retry'):
        SERVER.build_tools(listing(listed("send")), {"send": {"retry": Retry(3)}})


@pytest.mark.parametrize(
    ("tools", "chosen", "problem"),
    [
        ([listed("read")], {"raed": {}}, "there is no tool 'raed' (Did you mean 'read'?"),
        ([], {"read": {}}, "there is no tool 'read' (There are none.)"),
        ([listed("a"), listed("a")], None, "2 tools are called 'a'. To use the others, choose"),
        ([listed("a"), listed("a")], {"a": {}}, "2 tools are called 'a'."),
        (
            [listed("a"), listed("b", name="files__a")],
            None,
            "'a' has the name files__a for models, like another one",
        ),
        (
            [listed("a", parameters={"type": "object", "required": "n"})],
            None,
            "'a': its schema is not a JSON schema at required",
        ),
        ([listed("a", parameters={"type": "array"})], None, "'a': its arguments are 'array'"),
    ],
)
def test_unusable_list_is_refused(tools: Any, chosen: Any, problem: str) -> None:
    """What cannot be a tool is named, and not left out."""
    with pytest.raises(ListingRefused) as caught:
        SERVER.build_tools(listing(*tools), chosen, all_tools=chosen is None)
    assert problem in str(caught.value)


def test_other_tools_are_no_hindrance() -> None:
    """A tool that nobody chose may be unusable."""
    offered = listing(listed("read"), listed("odd", parameters={"type": "array"}))
    (tool,) = SERVER.build_tools(offered, {"read": {}}, all_tools=False)
    assert tool.name == "files__read"


def test_stored_list_needs_no_server() -> None:
    """The tools of a record are those of the server, and making them starts nothing."""
    taken = use(start_hostile(), lambda server: server.take_listing())
    stored = restore_listing(describe_listing(taken))
    tools = SERVER.build_tools(stored)
    assert [tool.spec for tool in tools] == [tool.spec for tool in SERVER.build_tools(taken)]
    assert len({tool.name for tool in tools}) == len(tools) == 14


def test_call_reaches_server() -> None:
    """The node of a tool calls the server with the arguments, whatever their names are."""

    async def work(server: McpServer) -> list[str]:
        tools = {tool.name: tool for tool in server.build_tools(await server.take_listing())}
        arguments = ToolArguments(arguments={"self": 1, "ctx": 2, "fn": 3, "a-b": 4})
        context = SimpleNamespace(consent="")
        outcome = await tools["files__echo"].node.fn(context, arguments)
        with pytest.raises(ToolFailed, match="no such file"):
            await tools["files__fail"].node.fn(context, ToolArguments(arguments={}))
        return [outcome.outcome, outcome.text]

    assert use(start_hostile(), work) == ["ok", '{"a-b": 4, "ctx": 2, "fn": 3, "self": 1}']


def test_results_are_untrusted_unless_declared() -> None:
    """What a server returns comes from outside, unless its author or a tool's options say no."""
    offered = listing(listed("read"))
    trusted = McpServer.stdio("files", "no-such-program", trust=True)
    assert [tool.untrusted for tool in SERVER.build_tools(offered)] == [True]
    assert [tool.untrusted for tool in trusted.build_tools(offered)] == [False]
    for server in (SERVER, trusted):
        for declared in (True, False):
            (tool,) = server.build_tools(offered, {"read": {"untrusted": declared}})
            assert tool.untrusted is declared


def test_marks_of_servers_before_a_run() -> None:
    """What is known of a server's tools without asking it: its author's options, and trust."""
    trusted = McpServer.stdio("files", "no-such-program", trust=True)
    chosen: Any = {"read": {"effect": "pure", "untrusted": True}, "wipe": {"approve": True}}
    for server, untrusted in ((SERVER, ("read", "wipe", "files")), (trusted, ("read",))):
        everything = ServerTools(server, chosen, all_tools=True)
        assert everything.list_untrusted() == untrusted
        assert everything.list_acting() == ("files",)
        assert everything.declares_untrusted
        assert ServerTools(server, chosen, all_tools=False).list_acting() == ()
    assert not ServerTools(SERVER, {}, all_tools=True).declares_untrusted
