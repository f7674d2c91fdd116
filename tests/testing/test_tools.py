"""Stand-ins for tools: they follow their script, and the guards of the real tools hold."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import (
    Approval,
    Context,
    Graph,
    InputError,
    Retry,
    RunFailed,
    ToolApproval,
    agent,
    node,
    tool,
)
from graphorch.graph.fingerprint import compute_fingerprint
from graphorch.journal.memory import MemoryStore
from graphorch.testing import (
    RecordedRun,
    ScriptedModel,
    ScriptedTool,
    ScriptMismatch,
    around_nodes,
    call,
    recorded_tools,
    run_virtual,
    tool_results,
    when,
    with_tools,
)
from tests.agents.mcp.fake_server import FakeServer


class Topic(BaseModel):
    topic: str = "tides"


class Draft(BaseModel):
    draft: str = ""


class State(Topic, Draft): ...


class NotFound(Exception):
    """A word that is not in the book."""


class Meaning(BaseModel):
    word: str
    sense: str


@tool(effect="pure", tells=NotFound)
def look_up(word: str, lines: int = 1) -> Meaning:
    """Return what a word means."""
    raise AssertionError("the real tool was called")


@tool(approve=True)
def send_mail(to: str) -> str:
    """Send a mail."""
    raise AssertionError("the real tool was called")


@agent(output=Draft, tools=[look_up, send_mail])
def write(topic: Topic) -> str:
    return f"Write about {topic.topic}"


def writing() -> Any:
    return Graph("g", State).chain(write).build()


def last_result(request: Any) -> str:
    return "; ".join(tool_results(request))


def play(flow: Any, *script: Any, **options: Any) -> Any:
    with ScriptedModel(*script) as model:
        return run_virtual(flow.run(State(), client=model, **options))


LOOK_UP = call("look_up", {"word": "ebb"})


def test_results_are_given_in_order() -> None:
    """Values, whatever the tool might return, go to the model as those of the tool do."""
    with ScriptedTool("look_up", "water", Meaning(word="ebb", sense="low"), None) as book:
        result = play(
            with_tools(writing(), book),
            LOOK_UP,
            [call("look_up", {"word": "a"}), call("look_up", {"word": "b", "lines": 2})],
            last_result,
        )
    assert result.state.draft == '{"word":"ebb","sense":"low"}; null'
    assert book.calls == [
        {"word": "ebb", "lines": 1},
        {"word": "a", "lines": 1},
        {"word": "b", "lines": 2},
    ]


def test_function_goes_by_arguments() -> None:
    """A function, also an async one, gets the arguments by name, and may serve all calls."""

    async def answer(word: str, lines: int) -> str:
        await asyncio.sleep({"a": 2, "b": 1}[word])
        return f"{word}{lines}"

    with ScriptedTool("look_up", answer, repeats=True) as book:
        both = [call("look_up", {"word": "a"}), call("look_up", {"word": "b", "lines": 3})]
        assert play(with_tools(writing(), book), both, last_result).state.draft == "a1; b3"


def test_exception_is_told_or_fails_as_declared() -> None:
    """An exception that the tool declares goes to the model; any other one fails the agent."""
    with ScriptedTool("look_up", NotFound("no such word")) as book:
        draft = play(with_tools(writing(), book), LOOK_UP, last_result).state.draft
    assert draft == "Error: 'look_up' raised NotFound: no such word"
    with ScriptedTool("look_up", OSError("no book")) as book:
        with pytest.raises(RunFailed) as caught:
            play(with_tools(writing(), book), LOOK_UP)
    assert "OSError: no book" in str(caught.value.exceptions[0])


def test_wrong_arguments_do_not_reach_script() -> None:
    """Arguments are checked against the schema of the tool before the script is asked."""
    with ScriptedTool("look_up", "water") as book:
        draft = play(
            with_tools(writing(), book), call("look_up", {"wort": 1}), LOOK_UP, last_result
        ).state.draft
    assert draft == "water"
    assert book.calls == [{"word": "ebb", "lines": 1}]


@pytest.mark.parametrize("answer, outcome", [(True, "sent"), (False, "Refused: ")])
def test_approval_of_tool_holds(answer: bool, outcome: str) -> None:
    """A tool that a person approves asks for its stand-in, too; refused, it is not called."""
    mail = ScriptedTool("send_mail", "sent")

    async def main() -> Any:
        store, flow = MemoryStore(), with_tools(writing(), mail)
        model = ScriptedModel(call("send_mail", {"to": "Ada"}), last_result)
        waiting = await flow.run(State(), run_id="r", durable=store, client=model)
        assert waiting.status == "waiting"
        assert mail.calls == []
        (question,) = waiting.questions
        decision = Approval(approved=answer)
        return await flow.answer("r", question, decision, durable=store, client=model)

    assert run_virtual(main()).state.draft.startswith(outcome)
    assert mail.calls == ([{"to": "Ada"}] if answer else [])


def ring_bell(n: int) -> int:
    """Ring a bell."""
    return n


def test_stand_in_keeps_guards() -> None:
    """Name, schema, effect, approval, told exceptions and bounds are those of the tool."""

    ring = tool(
        effect="idempotent",
        max_calls=2,
        timeout=3,
        isolation="process",
        concurrent=True,
        approve=lambda n: n > 1,
    )(ring_bell)
    twin = ScriptedTool("ring_bell", 1).stand_in(ring)
    for name in ("name", "spec", "effect", "approve", "tells", "max_calls", "is_barrier"):
        assert getattr(twin, name) == getattr(ring, name)
    assert (twin.node.options.timeout, twin.node.options.isolation) == (3, "inline")
    assert ring.node.options.isolation == "process"


def test_timeout_of_tool_holds() -> None:
    """A stand-in that takes too long is late like the tool."""

    @tool(effect="pure", timeout=1, tells=TimeoutError)
    def wait() -> str:
        """Wait."""
        return ""

    @agent(output=Draft, tools=[wait])
    def patient(topic: Topic) -> str:
        return "Wait"

    flow = Graph("g", State).chain(patient).build()
    slow = ScriptedTool("wait", lambda: asyncio.sleep(5))
    try:
        outcome = play(with_tools(flow, slow), call("wait"), last_result).state.draft
    except RunFailed as error:
        outcome = str(error.exceptions[0])
    assert "1 s" in outcome
    assert slow.calls == [{}]


def test_flow_stays_as_it_is() -> None:
    """Only the copy has stand-ins, and it is the same graph."""
    flow = writing()
    twin = with_tools(flow, ScriptedTool("look_up", "x"))
    assert compute_fingerprint(twin.plan) == compute_fingerprint(flow.plan)
    with pytest.raises(RunFailed, match="failed"):
        play(flow, LOOK_UP)
    assert with_tools(flow).plan.steps[0].node is flow.plan.steps[0].node


def test_stand_in_reaches_sub_flows_and_maps() -> None:
    """Agents at any depth get the stand-in."""
    inner = writing()
    graph = Graph("outer", State)
    sub = graph.sub("team", inner, enter=lambda state: state, leave=lambda state: state)
    graph.chain(sub)
    with ScriptedTool("look_up", "water") as book:
        result = play(with_tools(graph.build(), book), LOOK_UP, last_result)
    assert result.state.draft == "water"


def test_stand_in_reaches_tools_of_functions() -> None:
    """Tools that a node gives to `ctx.complete` are replaced, and its context is whole."""

    @node
    async def ask(ctx: Context, topic: Topic) -> Draft:
        text = await ctx.complete("Go on", model="m", tools=[look_up])
        return Draft(draft=f"{ctx.path} {ctx.attempt} {text}")

    flow = Graph("g", State).chain(ask).build()
    with ScriptedTool("look_up", "water") as book:
        assert play(with_tools(flow, book), LOOK_UP, last_result).state.draft == "ask 1 water"


def test_stand_in_takes_place_of_tool_of_server() -> None:
    """A tool of a server is replaced too, in agents and in functions; the server is let go."""

    def check(make: Any) -> None:
        server = FakeServer("read", "write")
        with ScriptedTool("files__read", "from the script") as reader:
            flow = with_tools(Graph("g", State).chain(make(server)).build(), reader)
            asked = call("files__read", {"text": "x"})
            assert play(flow, asked, last_result).state.draft == "from the script"
        assert (server.lists, server.holders) == (1, 0)

    def make_agent(server: Any) -> Any:
        @agent(output=Draft, tools=[server])
        def ask(topic: Topic) -> str:
            return "Go on"

        return ask

    def make_function(server: Any) -> Any:
        @node
        async def ask(ctx: Context, topic: Topic) -> Draft:
            return Draft(draft=await ctx.complete("Go on", model="m", tools=[look_up, server]))

        return ask

    check(make_agent)
    check(make_function)


def test_stand_in_is_called_after_restart() -> None:
    """A call that waited for a person calls the stand-in in the next process, whatever is around.

    The flow is made anew each time, and so is what is known of its tools.
    """

    async def main(make: Any) -> tuple[Any, list[Any]]:
        mail = ScriptedTool("send_mail", "sent")
        with tempfile.TemporaryDirectory() as folder:
            journal = Path(folder) / "runs.sqlite"
            model = ScriptedModel(call("send_mail", {"to": "Ada"}), last_result)
            await make(mail).run(State(), run_id="r", durable=journal, client=model)
            path, yes = "write/r1/send_mail#0", Approval(approved=True)
            done = await make(mail).answer("r", path, yes, durable=journal, client=model)
        return done.state.draft, mail.calls

    async def around(ctx: Any, proceed: Any) -> Any:
        return await proceed()

    for make in (
        lambda mail: with_tools(writing(), mail),
        lambda mail: with_tools(around_nodes(writing(), around), mail),
        lambda mail: around_nodes(with_tools(writing(), mail), around),
    ):
        assert asyncio.run(main(make)) == ("sent", [{"to": "Ada"}])


def test_resources_of_replaced_tool_are_not_needed() -> None:
    """A stand-in needs none of the clients that its tool needs."""

    @tool(effect="pure")
    def count(ctx: Context[dict[str, int]], word: str) -> int:
        """Count a word."""
        return ctx.resources[word]

    @agent(output=Draft, tools=[count])
    def counting(topic: Topic) -> str:
        return "Count"

    flow = Graph("g", State).chain(counting).build()
    with ScriptedTool("count", 7) as counter:
        result = play(with_tools(flow, counter), call("count", {"word": "x"}), last_result)
    assert result.state.draft == "7"


# ---- wrong scripts
def test_call_beyond_script_is_named() -> None:
    """A call that is not in the script fails the agent and the check, and shows the call."""
    book = ScriptedTool("look_up", "water")
    text = (
        "Call 2 of tool 'look_up' is not in its script, which holds 1 result: "
        '{"word": "ebb", "lines": 1}.'
    )
    with pytest.raises(RunFailed) as caught:
        play(with_tools(writing(), book), LOOK_UP, LOOK_UP)
    assert text in str(caught.value.exceptions[0])
    with pytest.raises(ScriptMismatch, match=re.escape(text)):
        book.check()


def test_survived_call_fails_check() -> None:
    """A call beyond the script fails the check also where the model is told every exception."""

    @tool(effect="pure", tells=Exception)
    def peek() -> str:
        """Peek."""
        return ""

    @agent(output=Draft, tools=[peek])
    def peeking(topic: Topic) -> str:
        return "Peek"

    flow = Graph("g", State).chain(peeking).build()
    peeks = ScriptedTool("peek", "x")
    play(with_tools(flow, peeks), call("peek"), call("peek"), "done")
    with pytest.raises(ScriptMismatch, match="Call 2 of tool 'peek'"):
        peeks.check()


def test_unused_result_fails_check() -> None:
    with pytest.raises(ScriptMismatch, match=r"'look_up' was called 1 time, .* holds 2 results\."):
        with ScriptedTool("look_up", "a", "b", "c") as book:
            play(with_tools(writing(), book), LOOK_UP, "done")


def test_check_keeps_error_of_block() -> None:
    with pytest.raises(KeyError):
        with ScriptedTool("look_up", "unused"):
            raise KeyError("mine")


def test_unknown_tool_is_named() -> None:
    with pytest.raises(InputError, match=r"flow 'g' has a tool 'lok_up'. Did you mean 'look_up'"):
        with_tools(writing(), ScriptedTool("lok_up", "x"))


def test_second_stand_in_is_refused() -> None:
    with pytest.raises(InputError, match=r"Two stand-ins are for the tool 'look_up'\."):
        with_tools(writing(), ScriptedTool("look_up", "x"), ScriptedTool("look_up", "y"))


@pytest.mark.parametrize(
    "results, message",
    [
        ((), "ScriptedTool('look_up') has no results. Give one for each call"),
        ((OSError,), "ScriptedTool('look_up') holds the class OSError, and not an instance"),
    ],
)
def test_wrong_script_is_refused(results: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        ScriptedTool("look_up", *results)


# ---- recorded runs
calls_of_flaky = 0


@tool(effect="idempotent", retry=Retry(2, first=0.1))
def flaky(n: int) -> int:
    """Fail at first."""
    global calls_of_flaky
    calls_of_flaky += 1
    if calls_of_flaky == 1:
        raise OSError("no line")
    return n * calls_of_flaky


@tool(effect="pure", tells=NotFound)
def read(word: str) -> str:
    """Read a word."""
    if word == "x":
        raise NotFound(f"no {word}")
    return f"{word} {os.environ.get('READ_TOKEN', '')}"


@tool(approve=True)
def post(to: str, cc: str = "") -> str:
    """Post a letter."""
    return f"posted to {to}"


@agent(output=Draft, tools=[flaky, read, post])
def busy(topic: Topic) -> str:
    return "Be busy"


BUSY = Graph("busy", State).chain(busy).build()
ROUNDS = (
    [
        call("flaky", {"n": 1}),
        call("read", {"word": "x"}),
        call("read", {"word": "y"}),
        call("post", {"to": "A"}),
        call("post", {"to": "B"}),
        call("read", {"wrong": 1}),
    ],
    [call("post", {"to": "C"}), call("flaky", {"n": 1}), call("read", {"word": "y"})],
    "done",
)
DECISIONS = (
    ToolApproval(approved=True, arguments={"to": "Z"}),
    ToolApproval(approved=False, reason="no"),
    ToolApproval(approved=False, answer="later"),
)


async def finish(flow: Any, store: Any, model: Any) -> Any:
    """Run a flow to its end, with a decision for each question in the order of paths."""
    result = await flow.run(State(), run_id="r", durable=store, client=model)
    decisions = iter(DECISIONS)
    while result.status == "waiting":
        result = await flow.answer(
            "r", result.questions[0], next(decisions), durable=store, client=model
        )
    return result


def record() -> RecordedRun:
    global calls_of_flaky
    calls_of_flaky = 0

    async def main() -> RecordedRun:
        store = MemoryStore()
        with ScriptedModel(*ROUNDS) as model:
            await finish(BUSY, store, model)
        return await RecordedRun.read("r", durable=store)

    return run_virtual(main())


def test_recorded_run_holds_what_ran() -> None:
    """Each time that a tool ran is recorded, with the arguments that a person changed."""
    calls = [
        (item.tool, item.arguments, item.text, item.is_error, item.failure is not None)
        for item in record().tool_calls
    ]
    assert sorted(calls, key=repr) == [
        ("flaky", {"n": 1}, "", False, True),
        ("flaky", {"n": 1}, "2", False, False),
        ("flaky", {"n": 1}, "3", False, False),
        ("post", {"to": "Z", "cc": ""}, "posted to Z", False, False),
        ("read", {"word": "x"}, "Error: 'read' raised NotFound: no x", True, False),
        ("read", {"word": "y"}, "y ", False, False),
        ("read", {"word": "y"}, "y ", False, False),
    ]


def test_recorded_tools_play_without_tools(tmp_path: Path) -> None:
    """The run plays with model and tools from its file: retries, told errors and people too."""
    record().save(tmp_path / "run.json")
    run = RecordedRun.load(tmp_path / "run.json")
    before = calls_of_flaky
    tools = recorded_tools(run)
    with ScriptedModel(run) as model:
        result = run_virtual(finish(with_tools(BUSY, *tools), MemoryStore(), model))
    for item in tools:
        item.check()
    assert result.state.draft == "done"
    assert calls_of_flaky == before


def test_recorded_results_hold_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tool returned is cleaned like everything else in the file, and still plays."""
    monkeypatch.setenv("READ_TOKEN", "a-secret-of-mine")
    record().save(tmp_path / "run.json")
    assert "a-secret-of-mine" not in (tmp_path / "run.json").read_text()
    run = RecordedRun.load(tmp_path / "run.json")
    with ScriptedModel(run) as model:
        run_virtual(finish(with_tools(BUSY, *recorded_tools(run)), MemoryStore(), model))


def test_other_arguments_are_shown() -> None:
    """A call with other arguments than in the recorded run is shown beside the recorded ones."""
    run = record()
    model = ScriptedModel(call("read", {"word": "z"}))
    with pytest.raises(RunFailed) as caught:
        run_virtual(with_tools(BUSY, *recorded_tools(run)).run(State(), client=model))
    text = str(caught.value.exceptions[0])
    assert "Call 1 of tool 'read', with {\"word\": \"z\"}, is not in the recorded run 'r'" in text
    # The two were called side by side, so either may have ended first.
    assert re.search(r'which holds \{"word": "[xy]"\}, \{"word": "[xy]"\}\.', text)


def test_unused_call_of_recorded_tool_fails_check() -> None:
    tools = {item.name: item for item in recorded_tools(record())}
    play(with_tools(BUSY, *tools.values()), call("read", {"word": "y"}), "done")
    with pytest.raises(ScriptMismatch, match=r"'read' was called 1 time, .* holds 2 more calls"):
        tools["read"].check()


def test_repeated_call_of_recorded_tool_is_counted() -> None:
    run = record()
    model = ScriptedModel(call("read", {"word": "x"}), call("read", {"word": "x"}))
    with pytest.raises(RunFailed) as caught:
        run_virtual(with_tools(BUSY, *recorded_tools(run)).run(State(), client=model))
    text = str(caught.value.exceptions[0])
    assert "was made once in the recorded run 'r', and not again." in text


@agent(output=Draft, tools=[read])
def explain(topic: Topic) -> str:
    return f"Explain {topic.topic}"


class Words(BaseModel):
    words: list[str] = ["ebb", "flood", "ebb"]


class Book(Words, Draft): ...


def test_recorded_tools_play_in_map(tmp_path: Path) -> None:
    """Agents of a map, in a sub-flow, get the results that equal arguments had in the run."""
    inner = Graph("inner", State).chain(explain).build()
    graph = Graph("book", Book)
    graph.chain(
        graph.map(
            "each",
            inner,
            over=lambda book: [State(topic=word) for word in book.words],
            gather=lambda found: Draft(draft=", ".join(item.draft for item in found)),
            max_items=5,
        )
    )
    flow = graph.build()

    def ask(request: Any) -> Any:
        results = tool_results(request)
        word = request.messages[0].content.removeprefix("Explain ")
        return results[0].upper() if results else call("read", {"word": word})

    async def main() -> RecordedRun:
        store = MemoryStore()
        model = ScriptedModel(when("Explain", ask, repeats=True))
        await flow.run(Book(), run_id="r", durable=store, client=model)
        return await RecordedRun.read("r", durable=store)

    run_virtual(main()).save(tmp_path / "run.json")
    run = RecordedRun.load(tmp_path / "run.json")
    (reader,) = recorded_tools(run)
    with reader, ScriptedModel(run) as model:
        result = run_virtual(with_tools(flow, reader).run(Book(), client=model))
    assert result.state.draft == "EBB , FLOOD , EBB "
    assert len(reader.calls) == 3
