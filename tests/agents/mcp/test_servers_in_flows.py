"""Agents that call tools of servers: listed once a run, kept in the journal, ended with the run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Flow, Graph, GraphError, RunFailed, ToolApproval, agent, node
from graphorch.agents.mcp.errors import ListingRefused, ServerUnavailable, ToolsChanged
from graphorch.agents.mcp.server import McpServer
from graphorch.graph.context import Context
from graphorch.journal import MemoryStore
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.messages import ToolCall as AskedCall
from tests.agents.mcp.servers import start_hostile


class Topic(BaseModel):
    topic: str


class Draft(BaseModel):
    draft: str = ""


class Review(BaseModel):
    review: str = ""


class State(Topic, Draft, Review): ...


class Caller:
    """A model that calls tools one after the other, then says what the last one gave."""

    def __init__(self, *tools: str, arguments: str = '{"text": "hi"}') -> None:
        self.tools = tools
        self.arguments = arguments
        self.requests: list[Request] = []

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        self.requests.append(request)
        done = sum(message.role == "tool" for message in request.messages)
        calls: tuple[AskedCall, ...] = ()
        text = request.messages[-1].content
        if done < len(self.tools):
            calls = (AskedCall(id=f"c{done}", name=self.tools[done], arguments=self.arguments),)
            text = ""
        return Response(
            text=text,
            model="m",
            usage=Usage(1, 1),
            usd=0.0,
            usd_source="list",
            finish_reason="stop",
            attempts=1,
            seconds=0.0,
            first_token_seconds=None,
            tool_calls=calls,
        )


def build(*tools: Any, name: str = "essay") -> Flow[Any, Any, Any]:
    """Return a flow of one agent with tools."""

    @agent(output=Draft, tools=tools)
    def write(topic: Topic) -> str:
        return f"Write about {topic.topic}."

    return Graph(name, State, input=Topic, output=Draft).chain(write).build()


def run(flow: Flow[Any, Any, Any], client: Any, **options: Any) -> Any:
    return asyncio.run(flow.run(Topic(topic="tides"), client=client, **options)).output


def fail(flow: Flow[Any, Any, Any], client: Any, **options: Any) -> BaseException:
    """Return what an agent failed with."""
    with pytest.raises(RunFailed) as caught:
        run(flow, client, **options)
    (error,) = caught.value.exceptions
    assert error.__cause__ is not None
    return error.__cause__


def test_agent_calls_tool_of_server() -> None:
    """An agent is offered all tools of a server, and its model reads what the server says."""
    client = Caller("files__echo")
    assert run(build(start_hostile()), client).draft == '{"text": "hi"}'
    assert len(client.requests[0].tools) == 14
    assert client.requests[0].tools[0].name == "files__echo"


def test_agent_gets_chosen_tools() -> None:
    """Chosen tools stand beside functions, and the rest of the server is not offered."""

    def look_up(word: str) -> str:
        return word

    server = start_hostile()
    client = Caller()
    run(build(look_up, *server.tools("echo", "look")), client)
    names = [tool.name for tool in client.requests[0].tools]
    assert names == ["look_up", "files__echo", "files__look"]


def test_failure_of_tool_is_told() -> None:
    """What a server reports as an error is read by the model, and so are wrong arguments."""
    assert run(build(start_hostile()), Caller("files__fail")).draft == (
        "Error: 'files__fail' raised ToolFailed: no such file"
    )
    told = run(build(start_hostile()), Caller("files__count")).draft
    assert told.startswith("Error: the arguments of 'files__count' do not fit: arguments: 'n' is a")


def test_death_of_server_fails_agent(tmp_path: Path) -> None:
    """A call whose outcome is not known is not told and not repeated: the agent fails."""
    note = tmp_path / "calls"
    error = fail(build(start_hostile("--note", str(note))), Caller("files__die"))
    assert "was lost while 'die' ran, so whether it took effect is not known" in str(error)
    assert note.read_text().count("die") == 1


def test_missing_server_fails_agent() -> None:
    """A server that does not start is named with its reason."""
    error = fail(build(McpServer.stdio("files", "no-such-program")), Caller())
    assert isinstance(error, ServerUnavailable)


def test_missing_tool_fails_agent() -> None:
    """A chosen tool that the server does not have is named before the model is asked."""
    client = Caller()
    error = fail(build(*start_hostile().tools("ecko")), client)
    assert isinstance(error, ListingRefused)
    assert "there is no tool 'ecko' (Did you mean 'echo'?" in str(error)
    assert not client.requests


def test_server_ends_with_run(tmp_path: Path) -> None:
    """When a run returns, its server is gone; runs that overlap share one."""
    note = tmp_path / "starts"
    flow = build(start_hostile("child", "--note", str(note)))

    async def main() -> int:
        runs = [flow.run(Topic(topic="tides"), client=Caller("files__echo")) for _ in range(3)]
        await asyncio.gather(*runs)
        return len(asyncio.all_tasks())

    assert asyncio.run(main()) == 1
    assert note.read_text().count("child") == 1
    assert note.read_text().count("echo") == 3


def test_list_is_taken_once_per_run() -> None:
    """Two agents of a run are offered one list, which the journal holds once."""
    server = start_hostile()

    @agent(output=Draft, tools=[server])
    def write(topic: Topic) -> str:
        return "Write."

    @agent(output=Review, tools=server.tools("echo"))
    def review(draft: Draft) -> str:
        return "Review."

    flow = Graph("essay", State, input=Topic, output=Review).chain(write, review).build()
    store = MemoryStore()
    run(flow, Caller("files__echo"), durable=store, run_id="r")
    records = asyncio.run(store.load("r")).records
    (listed,) = [record for record in records if record.kind == "listed"]
    assert listed.body["server"] == "files"
    assert [tool["name"] for tool in listed.body["tools"]][:2] == ["files__echo", "files__fail"]
    kinds = [record.kind for record in records]
    assert kinds.index("listed") < kinds.index("call")


def test_replay_needs_no_server() -> None:
    """A run is replayed with the server off, and nothing is called."""
    store = MemoryStore()
    flow = build(start_hostile())
    run(flow, Caller("files__echo"), durable=store, run_id="r")
    off = build(McpServer.stdio("files", "no-such-program"))
    replayed = asyncio.run(off.replay("r", durable=store))
    assert replayed.output.draft == '{"text": "hi"}'


class Failing(Caller):
    """A model that fails after its tools were called, as long as it is told to."""

    broken = True

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        response = await super().complete(request, on_text)
        if self.broken and not response.tool_calls:
            raise ConnectionError("the model is away")
        return response


def change(tmp_path: Path) -> tuple[Any, Any, Any, Path]:
    """Return a run whose server changed since it began, its flow, its store and a note of calls."""
    note = tmp_path / "calls"
    store = MemoryStore()
    with pytest.raises(RunFailed):
        run(build(start_hostile()), Failing(), durable=store, run_id="r")
    changed = build(start_hostile("--note", str(note), "--description", "Echo to evil.example."))
    after = Caller("files__echo", arguments='{"text": "bye"}')
    waiting = asyncio.run(changed.resume("r", durable=store, client=after))
    # What models were offered is what the run took.
    assert after.requests[0].tools[0].description == "Tool echo."
    return waiting, changed, store, note


def test_changed_tool_is_a_question(tmp_path: Path) -> None:
    """A tool that changed since the run began is not called before a person has agreed to it."""
    waiting, flow, store, note = change(tmp_path)
    (question,) = waiting.questions
    assert "'Tool echo.' became 'Echo to evil.example.'" in question.text
    assert '"text": "bye"' in question.text
    assert not note.exists()
    yes = ToolApproval(approved=True)
    client = Caller("files__echo", arguments='{"text": "bye"}')
    result = asyncio.run(flow.answer("r", question, yes, durable=store, client=client))
    assert result.output.draft == '{"text": "bye"}'
    assert note.read_text().count("echo") == 1
    off = build(McpServer.stdio("files", "no-such-program"))
    assert asyncio.run(off.replay("r", durable=store)).output == result.output


def test_unanswered_call_of_server_is_refused(tmp_path: Path) -> None:
    """A call of a server's tool about which no person decides in time is not sent."""
    note, now, store = tmp_path / "calls", [1_000.0], MemoryStore()
    server = start_hostile("--note", str(note))
    flow = build(*server.tools("echo", approve=True, expires=60.0))
    client = Caller("files__echo")

    async def check() -> None:
        options: Any = {"durable": store, "client": client, "clock": lambda: now[0]}
        waiting = await flow.run(Topic(topic="tides"), run_id="r", **options)
        assert waiting.due == waiting.questions[0].expires == pytest.approx(1_060.0, abs=5.0)
        now[0] += 65.0
        done = await flow.resume("r", **options)
        assert done.output.draft.startswith("Refused: no person decided about this call")

    asyncio.run(check())
    assert not note.exists()


def test_changed_tool_may_be_refused(tmp_path: Path) -> None:
    """A person may refuse a tool that changed: the model reads why, and nothing is called."""
    waiting, flow, store, note = change(tmp_path)
    no = ToolApproval(approved=False, reason="it sends data away")
    client = Caller("files__echo", arguments='{"text": "bye"}')
    result = asyncio.run(flow.answer("r", waiting.questions[0], no, durable=store, client=client))
    assert "it sends data away" in result.output.draft
    assert not note.exists()


def test_tool_that_is_gone_fails_its_agent() -> None:
    """There is nothing to agree to where the tool is gone."""
    store = MemoryStore()
    with pytest.raises(RunFailed):
        run(build(start_hostile()), Failing(), durable=store, run_id="r")
    gone = build(start_hostile("pages"))
    with pytest.raises(RunFailed) as caught:
        asyncio.run(
            gone.resume(
                "r", durable=store, client=Caller("files__echo", arguments='{"text": "bye"}')
            )
        )
    assert isinstance(caught.value.exceptions[0].__cause__, ToolsChanged)


def test_unchanged_server_goes_on_after_resume() -> None:
    """A resumed run goes on with the list that it took, and the server that is still the same."""
    store = MemoryStore()
    with pytest.raises(RunFailed):
        run(build(start_hostile()), Failing(), durable=store, run_id="r")
    flow = build(start_hostile())
    result = asyncio.run(flow.resume("r", durable=store, client=Caller("files__echo")))
    assert result.output.draft == '{"text": "hi"}'
    records = asyncio.run(store.load("r")).records
    assert [record.kind for record in records].count("listed") == 1


def test_fork_keeps_list() -> None:
    """A rerun is offered the list of the run that it comes from."""
    store = MemoryStore()
    flow = build(start_hostile())
    run(flow, Caller("files__echo"), durable=store, run_id="r")
    other = build(start_hostile("--description", "Something else."))
    client = Caller("files__look")
    result = asyncio.run(
        other.rerun("r", start="write", durable=store, client=client, run_id="s", effects="repeat")
    )
    assert result.result.output.draft == "look"
    assert client.requests[0].tools[0].description == "Tool echo."


def test_node_calls_tools_of_server() -> None:
    """A node that asks a model itself may offer it a server."""
    server = start_hostile()

    @node
    async def write(ctx: Context, topic: Topic) -> Draft:
        return Draft(draft=await ctx.complete("Write.", tools=[*server.tools("echo")]))

    flow = Graph("essay", State, input=Topic, output=Draft).chain(write).build()
    assert run(flow, Caller("files__echo")).draft == '{"text": "hi"}'


def files__echo(text: str) -> str:
    return text


def clash(*tools: Any) -> str:
    """Return the problems of an agent that is not made."""
    with pytest.raises(GraphError) as caught:
        build(*tools)
    return str(caught.value)


def test_clashes_are_found_when_agent_is_made() -> None:
    """Names that cannot both be offered are refused before anything runs."""
    server, other = start_hostile(), start_hostile()
    assert "tool 'files__echo': 2 tools have this name" in clash(files__echo, *server.tools("echo"))
    assert "MCP server 'files': two servers have this name" in clash(server, other)
    assert "MCP server 'files': it is in tools= twice" in clash(server, server)
    assert "MCP server 'files': its tool 'echo' is in tools= twice" in clash(
        *server.tools("echo"), *server.tools("echo")
    )


def test_clash_in_run_fails_agent() -> None:
    """A name that only the list shows is refused when the list is taken."""
    error = fail(build(files__echo, start_hostile()), Caller())
    assert isinstance(error, GraphError)
    assert "tool 'files__echo': 2 tools have this name" in str(error)


def test_estimate_counts_rounds_of_servers() -> None:
    """The rounds of an agent with a server are counted without connecting to it."""
    with_server = build(McpServer.stdio("files", "no-such-program")).estimate()
    with_function = build(files__echo).estimate()
    assert with_server.worst.calls == with_function.worst.calls


def test_destructive_tool_waits_for_person(tmp_path: Path) -> None:
    """A tool whose server says that it destroys is called after a person approved it, once."""
    note = tmp_path / "calls"
    store = MemoryStore()
    flow = build(start_hostile("--note", str(note)))

    async def main() -> tuple[str, bool, int, str]:
        options: Any = {"client": Caller("files__wipe"), "durable": store}
        waiting = await flow.run(Topic(topic="tides"), run_id="r", **options)
        before = waiting.status, note.exists(), len(asyncio.all_tasks())
        decision = ToolApproval(approved=True)
        done = await flow.answer("r", waiting.questions[0].id, decision, **options)
        return (*before, done.output.draft)

    assert asyncio.run(main()) == ("waiting", False, 1, "wipe")
    assert note.read_text() == 'wipe {"text": "hi"}\n'


@pytest.mark.parametrize("is_durable", [True, False], ids=["journal", "memory"])
@pytest.mark.parametrize("tool", ["die", "sleep"])
def test_unsettled_call_is_ambiguous(tmp_path: Path, tool: str, is_durable: bool) -> None:
    """A call of which it is not known whether it acted is not made again when a run is resumed."""
    note = tmp_path / "calls"
    options: dict[str, Any] = {"durable": MemoryStore()} if is_durable else {}
    flow = build(start_hostile("--note", str(note), seconds=0.5))
    client = Caller(f"files__{tool}", arguments='{"text": "1"}')

    async def main() -> str:
        with pytest.raises(RunFailed):
            await flow.run(Topic(topic="tides"), client=client, run_id="r", **options)
        with pytest.raises(RunFailed) as caught:
            await flow.resume("r", client=client, **options)
        return caught.value.end_reason

    assert asyncio.run(main()) == "ambiguous"
    assert note.read_text() == f'{tool} {{"text": "1"}}\n'
