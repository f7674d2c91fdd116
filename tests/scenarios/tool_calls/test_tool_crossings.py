"""Tool calls where they meet other features of a run."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import (
    Budget,
    Context,
    Failure,
    Flow,
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
from graphorch.journal.errors import WrongKey
from graphorch.journal.memory import MemoryStore
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.models.messages import Request, Response
from graphorch.testing import run_virtual
from tests.engine.tool_calls.test_loop import Draft, Model, State, Topic, flow_of

TWO = [("act", '{"number": 1}'), ("act", '{"number": 2}')]
YES = ToolApproval(approved=True)


class Log:
    """What a tool did, and the tools that do it."""

    def __init__(self) -> None:
        self.acted: list[int] = []
        self.keys: list[str] = []

    def build(self, name: str = "act", **options: Any) -> Any:
        async def act(ctx: Context, number: int) -> str:
            self.acted.append(number)
            self.keys.append(ctx.key)
            await asyncio.sleep(1)
            return f"did {number}"

        return tool(name=name, **options)(act)


class Many(BaseModel):
    topics: list[str] = ["a", "b", "c"]
    drafts: list[str] = []


class Drafts(BaseModel):
    drafts: list[str] = []


def map_over(flow: Flow[Any, Any, Any], **options: Any) -> Flow[Any, Any, Any]:
    graph: Graph[Any, Any, Any] = Graph("many", Many)
    each = graph.map(
        "each",
        flow,
        over=lambda many: [Topic(topic=topic) for topic in many.topics],
        gather=lambda items: Drafts(drafts=[item.draft for item in items]),
        max_items=9,
        **options,
    )
    return graph.chain(each).build()


async def run_twice(
    build: Callable[[], Flow[Any, Any, Any]], input: Any, model: Model, **options: Any
) -> tuple[Any, MemoryStore]:
    """Run a flow with a journal, approve all that is asked, and replay it."""
    store = MemoryStore()
    result = await build().run(input, run_id="r", durable=store, client=model, **options)
    while result.status == "waiting":
        result = await build().answer("r", result.questions[-1], YES, durable=store, client=model)
    replayed = await build().replay("r", durable=store)
    assert replayed.output == result.output
    return result, store


# ---- inside of what ------------------------------------------------------------------------------
@pytest.mark.parametrize("approve", [False, True])
def test_agent_in_map_items(approve: bool) -> None:
    """Each item of a map has calls of its own, and questions of its own."""
    log, model = Log(), Model(TWO, "done")
    build = lambda: map_over(flow_of(log.build(approve=approve)))  # noqa: E731
    result, _ = run_virtual(run_twice(build, Many(), model))
    assert result.output.drafts == ["done"] * 3
    assert sorted(log.acted) == [1, 1, 1, 2, 2, 2]
    assert len(set(log.keys)) == 6
    assert len(model.asked) == 6


def test_map_that_needs_some_cancels_open_approvals() -> None:
    """A map that needs one item withdraws the questions of the others; late answers are refused."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        model = Model([("act", '{"number": 1}')], "done")
        build = lambda: map_over(flow_of(log.build(approve=True)), need=1)  # noqa: E731
        options: Any = {"durable": store, "client": model}
        result = await build().run(Many(), run_id="r", **options)
        first, second, _ = result.questions
        result = await build().answer("r", second, YES, **options)
        assert (result.status, log.acted) == ("succeeded", [1])
        with pytest.raises(InputError) as caught:
            await build().answer("r", first, YES, **options)
        assert "each[0]/write/r1/act#0" in str(caught.value)
        assert log.acted == [1]
        await build().replay("r", durable=store)

    run_virtual(main())


def test_agent_in_sub_flow_and_loop() -> None:
    """An agent that is visited again makes its calls again, each under a key of its own."""

    def build() -> Flow[Any, Any, Any]:
        graph: Graph[Any, Any, Any] = Graph("outer", State)
        sub = graph.sub(
            "sub",
            flow_of(log.build()),
            enter=lambda state: Topic(topic=state.topic),
            leave=lambda state: Draft(draft=state.draft),
        )
        graph.chain(sub)
        graph.loop(sub, back_to=sub, while_=lambda state: True, max_iterations=3)
        return graph.build()

    log, model = Log(), Model(TWO, "done")
    result, _ = run_virtual(run_twice(build, State(), model))
    assert result.output.draft == "done"
    assert log.acted == [1, 2] * 3
    assert len(set(log.keys)) == 6
    assert len(model.asked) == 6


def test_error_edge_of_agent_leaves_its_calls_behind() -> None:
    """What is open in an agent whose failure an edge handles is cancelled, questions included."""

    async def main() -> None:
        log, store = Log(), MemoryStore()

        @tool(effect="pure")
        def boom() -> str:
            raise KeyError("stock")

        act = log.build(approve=True, concurrent=True)

        @agent(output=Draft, tools=[act, boom], name="write")
        def write(t: Topic) -> str:
            return t.topic

        @node
        def instead(failure: Failure) -> Draft:
            return Draft(draft=failure.error)

        graph = Graph("harbour", State, input=Topic, output=Draft).chain(write)
        graph.on_error(write, instead, when=LookupError)
        flow = graph.build()
        model = Model([("act", '{"number": 1}'), ("boom", "{}")], "x")
        result = await flow.run(Topic(), run_id="r", durable=store, client=model)
        assert (result.status, result.questions, log.acted) == ("succeeded", [], [])
        replayed = await flow.replay("r", durable=store)
        assert replayed.output == result.output

    run_virtual(main())


# ---- attempts of the agent -----------------------------------------------------------------------
class Flaky(Model):
    """A model that is down at its first `times` answers after all calls."""

    def __init__(self, *steps: Any, times: int) -> None:
        super().__init__(*steps)
        self.times = times

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        response = await super().complete(request, on_text)
        if not response.tool_calls and self.times:
            self.times -= 1
            raise OSError("down")
        return response


@pytest.mark.parametrize("is_durable", [False, True])
def test_retried_agent_keeps_its_rounds(is_durable: bool) -> None:
    """A retry of the agent repeats no round: only the answer that failed is asked anew."""
    log, model = Log(), Flaky(TWO[:1], TWO[1:], "done", times=2)
    flow = flow_of(log.build(), retry=Retry(attempts=3, on=(OSError,)))
    options: Any = {"durable": MemoryStore()} if is_durable else {}
    result = run_virtual(flow.run(Topic(), client=model, **options))
    assert result.output.draft == "done"
    assert log.acted == [1, 2]
    rounds = [sum(item.role == "assistant" for item in asked.messages) for asked in model.asked]
    assert rounds == [0, 1, 2, 2, 2]


@pytest.mark.parametrize("ambiguous", ["stop", "fail", "repeat"])
def test_timeout_in_round_leaves_call_ambiguous(ambiguous: Any) -> None:
    """An agent that is late while a tool acts does not have it act again, unless told so."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        flow = flow_of(log.build(), timeout=1.5)
        options: Any = {"durable": store, "client": Model(TWO, "done")}
        with pytest.raises(RunFailed, match="failed"):
            await flow.run(Topic(), run_id="r", **options)
        assert log.acted == [1, 2]
        if ambiguous == "repeat":
            result = await flow.resume("r", ambiguous="repeat", **options)
            assert (result.output.draft, log.acted) == ("done", [1, 2, 2])
            assert len(set(log.keys)) == 2
            return
        with pytest.raises(RunFailed) as caught:
            await flow.resume("r", ambiguous=ambiguous, **options)
        wanted = "ambiguous" if ambiguous == "stop" else "Ambiguous: 'write/r1/act#1' began"
        assert wanted in str(caught.value)
        assert log.acted == [1, 2]

    run_virtual(main())


def test_retry_does_not_repeat_ambiguous_call() -> None:
    """A retry of an agent cannot settle whether a call acted, so there is none for that."""
    log = Log()
    flow = flow_of(log.build(), timeout=1.5, retry=Retry(attempts=3))
    with pytest.raises(RunFailed) as caught:
        run_virtual(flow.run(Topic(), client=Model(TWO, "done")))
    assert log.acted == [1, 2]
    assert "Ambiguous: 'write/r1/act#1' began and did not finish" in str(caught.value)
    assert len(caught.value.exceptions) == 1, "it failed once"


@pytest.mark.parametrize("is_durable", [False, True])
def test_retried_agent_takes_up_failed_call(is_durable: bool) -> None:
    """A retry of the agent repeats the call that failed, and what it failed with is made good."""
    log, times = Log(), [0]

    @tool(effect="pure")
    def boom() -> str:
        times[0] += 1
        if times[0] < 3:
            raise OSError("down")
        return "up"

    model = Model([TWO[0], ("boom", "{}")], "done")
    flow = flow_of(log.build(), boom, retry=Retry(attempts=3, on=(OSError,)))
    options: Any = {"durable": MemoryStore()} if is_durable else {}
    result = run_virtual(flow.run(Topic(), client=model, **options))
    assert (result.status, result.output.draft) == ("succeeded", "done")
    assert (log.acted, times, len(model.asked)) == ([1], [3], 2)


@pytest.mark.parametrize("on_failure", ["drain", "cancel", "isolate"])
def test_failed_call_under_each_policy(on_failure: Any) -> None:
    """A failed call fails its agent; a resume repeats what has no outcome, and nothing else."""

    async def main() -> None:
        log, store, broken = Log(), MemoryStore(), [True]

        @tool(effect="pure")
        async def boom() -> str:
            await asyncio.sleep(0.5)
            if broken:
                raise KeyError("stock")
            return "mended"

        @node
        async def beside(t: Topic) -> Draft:
            await asyncio.sleep(0.1)
            return Draft(draft="beside")

        inner = flow_of(log.build(effect="pure"), boom)
        model = Model([TWO[0], ("boom", "{}"), TWO[1]], "done")
        options: Any = {"durable": store, "client": model}
        with pytest.raises(RunFailed) as caught:
            await inner.run(Topic(), run_id="r", on_failure=on_failure, **options)
        assert "KeyError: 'stock' (at write/r1/boom#1" in str(caught.value)
        broken.clear()
        if on_failure == "isolate":
            return
        result = await inner.resume("r", **options)
        assert result.output.draft == "done"
        assert sorted(log.acted) == ([1, 2] if on_failure == "drain" else [1, 1, 2, 2])
        assert len(set(log.keys)) == 2
        assert len(model.asked) == 2
        await inner.replay("r", durable=store)

    run_virtual(main())


# ---- limits --------------------------------------------------------------------------------------
class Thinking(Model):
    """A model that a tool asks, too."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        if request.messages[-1].content == "think":
            self.asked.append(request)
            return Response("thought", "m", self.usage, 0.5, "table", "stop", 1, 1.0, None)
        return await super().complete(request, on_text)

    @property
    def usage(self) -> Any:
        from graphorch.models.messages import Usage

        return Usage(10, 5)


@tool(effect="pure", tells=ValueError)
async def think(ctx: Context, number: int) -> str:
    left = ctx.budget_left.calls
    return f"{left}: {await ctx.complete('think')}"


def test_tool_draws_on_budget_of_run() -> None:
    """What a tool asks a model is paid from the budget of the run, and a limit stops it."""
    calls = [("think", f'{{"number": {number}}}') for number in range(3)]
    model = Thinking(calls, "done")
    result = run_virtual(flow_of(think).run(Topic(), client=model, budget=Budget(calls=5)))
    assert (result.output.draft, len(model.asked)) == ("done", 5)
    assert sum(step.calls for step in result.steps) == 5
    with pytest.raises(RunFailed) as caught:
        run_virtual(
            flow_of(think).run(Topic(), client=Thinking(calls, "x"), budget=Budget(calls=3))
        )
    assert re.search("limit:calls", str(caught.value), re.DOTALL)


@pytest.mark.parametrize("now", [False, True])
def test_stopped_run_takes_up_its_calls(now: bool) -> None:
    """A stop lets an agent finish with its rounds, or interrupts it, and a resume goes on there."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        flow, model = flow_of(log.build(effect="idempotent")), Model(TWO[:1], TWO[1:], "done")
        options: Any = {"durable": store, "client": model}
        task = asyncio.create_task(flow.run(Topic(), run_id="r", **options))
        await asyncio.sleep(0.5)
        flow.stop("r", now=now)
        if now:
            with pytest.raises(RunFailed):
                await task
        result = await (flow.resume("r", **options) if now else task)
        assert result.output.draft == "done"
        assert log.acted == ([1, 1, 2] if now else [1, 2])
        assert len(set(log.keys)) == 2
        assert len(model.asked) == 3
        await flow.replay("r", durable=store)

    run_virtual(main())


@pytest.mark.parametrize("approve", [False, True])
def test_cancelled_run_ends_its_calls(approve: bool) -> None:
    """A run that is cancelled withdraws questions and interrupts calls, for good."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        flow = flow_of(log.build(approve=approve))
        options: Any = {"durable": store, "client": Model(TWO, "done")}
        task = asyncio.create_task(flow.run(Topic(), run_id="r", **options))
        await asyncio.sleep(0.5)
        await flow.cancel("r", durable=store)
        if approve:
            question = (await task).questions[0]
            with pytest.raises(InputError, match="cancelled"):
                await flow.answer("r", question, YES, **options)
        else:
            with pytest.raises(RunFailed, match="cancelled"):
                await task
        assert log.acted == ([] if approve else [1])
        with pytest.raises(InputError, match="cancelled"):
            await flow.resume("r", **options)

    run_virtual(main())


def test_cancelled_task_leaves_calls_to_resume() -> None:
    """A program that ends amid a round leaves its calls to a resume; one that acts is in doubt."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        flow = flow_of(log.build(), log.build("read", effect="pure"))
        calls = [("read", '{"number": 7}'), *TWO]
        options: Any = {"durable": store, "client": Model(calls, "done")}
        task = asyncio.create_task(flow.run(Topic(), run_id="r", **options))
        await asyncio.sleep(1.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert log.acted == [7, 1]
        with pytest.raises(RunFailed, match=r"ambiguous"):
            await flow.resume("r", **options)
        result = await flow.resume("r", ambiguous="repeat", **options)
        assert (result.output.draft, log.acted) == ("done", [7, 1, 1, 2])

    run_virtual(main())


def test_equal_loops_of_a_node_ask_side_by_side() -> None:
    """Two equal loops of one node each have an approval, which are answered one by one."""

    def build() -> Flow[Any, Any, Any]:
        @node
        async def write(ctx: Context, t: Topic) -> Draft:
            both = [ctx.complete(t.topic, tools=[log.build(approve=True)]) for _ in range(2)]
            return Draft(draft=" ".join(await asyncio.gather(*both)))

        return Graph("harbour", State, input=Topic, output=Draft).chain(write).build()

    log, model = Log(), Model([("act", '{"number": 1}')], "done")
    result, _ = run_virtual(run_twice(build, Topic(), model))
    assert result.output.draft == "done done"
    assert log.acted == [1, 1]
    assert len(set(log.keys)) == 2
    calls = sorted(step.path for step in result.steps if "act" in step.path)
    assert calls == ["write/2.r1/act#0", "write/r1/act#0"]


# ---- agents that ask something else --------------------------------------------------------------
def build_asking(log: Log, prompts: list[str], **options: Any) -> Flow[Any, Any, Any]:
    """Return an agent that asks the last of these prompts."""

    @agent(output=Draft, tools=[log.build(**options)], name="write", timeout=4.5, retry=TWICE)
    def write(t: Topic) -> str:
        return prompts.pop() if len(prompts) > 1 else prompts[0]

    return Graph("harbour", State, input=Topic, output=Draft).chain(write).build()


TWICE = Retry(attempts=2)


def test_other_prompt_abandons_open_round() -> None:
    """An agent that asks something else than before withdraws the round that nothing takes up."""

    async def main() -> None:
        log, store, prompts = Log(), MemoryStore(), ["before"]
        options: Any = {"durable": store, "client": Model(TWO, "done")}
        result = await build_asking(log, prompts, approve=True).run(Topic(), run_id="r", **options)
        prompts[0] = "after"
        flow = build_asking(log, prompts, approve=True)
        result = await flow.answer("r", result.questions[0], YES, **options)
        paths = [question.path for question in result.questions]
        assert paths == ["write/2.r1/act#0", "write/2.r1/act#1"]
        assert log.acted == []
        while result.status == "waiting":
            flow = build_asking(log, prompts, approve=True)
            result = await flow.answer("r", result.questions[-1], YES, **options)
        assert (result.output.draft, log.acted) == ("done", [1, 2])
        replayed = await flow.replay("r", durable=store)
        assert replayed.output == result.output

    run_virtual(main())


def test_other_prompt_repeats_no_effect() -> None:
    """An agent that asks something else is given what an equal call did, or a person decided."""

    async def main() -> None:
        log, store, prompts = Log(), MemoryStore(), ["before"]
        calls = [("act", '{"number": 1}'), ("ask", '{"number": 2}'), ("ask", '{"number": 3}')]
        options: Any = {"durable": store, "client": Model(calls, "done")}

        def build() -> Flow[Any, Any, Any]:
            tools = [log.build(), log.build("ask", approve=True)]

            @agent(output=Draft, tools=tools, name="write")
            def write(t: Topic) -> str:
                return prompts[0]

            return Graph("harbour", State, input=Topic, output=Draft).chain(write).build()

        result = await build().run(Topic(), run_id="r", **options)
        first, second = result.questions
        refused = ToolApproval(approved=False)
        await build().answer("r", first, refused, **options)
        prompts[0] = "after"
        result = await build().answer("r", second, YES, **options)
        assert [question.path for question in result.questions] == ["write/2.r1/ask#2"]
        assert log.acted == [1]
        result = await build().answer("r", result.questions[0], YES, **options)
        assert (result.output.draft, log.acted) == ("done", [1, 3])
        assert (await build().replay("r", durable=store)).output == result.output

    run_virtual(main())


def test_other_prompt_does_not_repeat_call_in_doubt() -> None:
    """A retry that asks something else does not act again while a call may have acted."""
    log, prompts = Log(), ["after", "before"]
    six = [("act", f'{{"number": {number}}}') for number in range(1, 7)]
    flow = build_asking(log, prompts)
    with pytest.raises(RunFailed) as caught:
        run_virtual(flow.run(Topic(), client=Model(six, "done")))
    assert log.acted == [1, 2, 3, 4, 5]
    assert "Ambiguous: 'write/r1/act#4' began and did not finish" in str(caught.value)


# ---- effect classes, joins and keys --------------------------------------------------------------
@pytest.mark.parametrize("is_durable", [False, True])
def test_acting_agent_waits_for_approvals(is_durable: bool) -> None:
    """An agent with effect once waits for a person and goes on: that leaves nothing in doubt."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        flow = flow_of(log.build(approve=True), effect="once")
        options: Any = {"client": Model(TWO, "done")}
        options |= {"durable": store} if is_durable else {}
        result = await flow.run(Topic(), run_id="r", **options)
        while result.status == "waiting":
            if is_durable:
                flow = flow_of(log.build(approve=True), effect="once")
            result = await flow.answer("r", result.questions[-1], YES, **options)
        assert (result.output.draft, log.acted) == ("done", [1, 2])

    run_virtual(main())


def test_acting_node_is_refused_tools_that_ask() -> None:
    """A plain node with effect once would run again after an approval, so it gets no such tool."""
    log = Log()

    @node(effect="once")
    async def write(ctx: Context, t: Topic) -> Draft:
        return Draft(draft=await ctx.complete(t.topic, tools=[log.build(approve=True)]))

    flow = Graph("harbour", State, input=Topic, output=Draft).chain(write).build()
    model = Model(TWO, "done")
    with pytest.raises(RunFailed, match="failed") as caught:
        run_virtual(flow.run(Topic(), client=model))
    assert "'write' has effect once, and would run again after a person approved" in str(
        caught.value
    )
    assert (model.asked, log.acted) == ([], [])


class Other(BaseModel):
    other: str = ""


class Both(State, Other): ...


def test_quorum_withdraws_open_approvals() -> None:
    """A join that needs one branch cancels an agent that waits for people, calls and all."""

    async def main() -> None:
        log, store = Log(), MemoryStore()

        @agent(output=Draft, tools=[log.build(approve=True)], name="write")
        def write(t: Topic) -> str:
            return t.topic

        @node
        async def fast(t: Topic) -> Other:
            await asyncio.sleep(3)
            return Other(other="fast")

        @node
        async def end(state: Both) -> Draft:
            return Draft(draft=f"{state.other} {state.draft}")

        graph: Graph[Any, Any, Any] = Graph("harbour", Both, input=Topic, output=Draft)
        graph.chain([write, fast], end)
        graph.join(end, need=1)
        flow = graph.build()
        model = Model(TWO, "done")
        result = await flow.run(Topic(), run_id="r", durable=store, client=model)
        assert (result.output.draft, result.questions, log.acted) == ("fast ", [], [])
        replayed = await flow.replay("r", durable=store)
        assert replayed.output == result.output

    run_virtual(main())


def test_keyed_journal_holds_tool_calls(tmp_path: Path) -> None:
    """A journal with a key takes approvals and calls, and refuses them to whoever has another."""

    async def main() -> None:
        log, path = Log(), tmp_path / "runs.sqlite"
        model = Model(TWO, "done")
        flow = flow_of(log.build(approve=True))
        store = await SqliteStore.open(path, key="a key")
        result = await flow.run(Topic(), run_id="r", durable=store, client=model)
        await store.close()
        other = await SqliteStore.open(path, key="another key")
        with pytest.raises(WrongKey):
            await flow.answer("r", result.questions[0], YES, durable=other, client=model)
        await other.close()
        store = await SqliteStore.open(path, key="a key")
        while result.status == "waiting":
            question = result.questions[0]
            result = await flow.answer("r", question, YES, durable=store, client=model)
        assert (result.output.draft, log.acted) == ("done", [1, 2])
        await store.close()

    asyncio.run(main())


def test_migrated_run_takes_up_its_calls() -> None:
    """A run whose agent has another name since goes on with its calls, and keeps its keys."""

    async def main() -> None:
        log, store = Log(), MemoryStore()
        options: Any = {"durable": store, "client": Model(TWO[:1], TWO[1:], "done")}

        def build(name: str) -> Graph[Any, Any, Any]:
            @agent(output=Draft, tools=[log.build(approve=True)], name=name)
            def write(t: Topic) -> str:
                return t.topic

            return Graph("harbour", State, input=Topic, output=Draft).chain(write)

        def rename(record: dict[str, Any]) -> dict[str, Any]:
            if "path" in record:
                record["path"] = record["path"].replace("write", "compose")
            return record

        old = build("write").build()
        result = await old.run(Topic(), run_id="r", **options)
        await old.answer("r", result.questions[0], YES, **options)
        new = build("compose")
        new.migration(from_=compute_fingerprint(old.plan), change=rename)
        flow = new.build()
        result = await flow.resume("r", **options)
        assert [question.path for question in result.questions] == ["compose/r2/act#0"]
        result = await flow.answer("r", result.questions[0], YES, **options)
        assert (result.output.draft, log.acted) == ("done", [1, 2])
        assert (await flow.replay("r", durable=store)).output == result.output

    run_virtual(main())


@pytest.mark.parametrize("seed", range(12))
def test_changing_prompts_end_all_the_same(seed: int) -> None:
    """However often an agent asks something else between answers, the run goes on and acts once."""

    async def main() -> None:
        chance, store = random.Random(seed), MemoryStore()
        logs = [Log() for _ in range(3)]

        def build() -> Flow[Any, Any, Any]:
            tools = [
                logs[0].build("act", approve=True),
                logs[1].build("post", approve=True, concurrent=True),
                logs[2].build("see", effect="pure"),
            ]

            @agent(output=Draft, tools=tools, name="write")
            def write(t: Topic) -> str:
                return chance.choice("aaab")

            return Graph("harbour", State, input=Topic, output=Draft).chain(write).build()

        def choose() -> list[tuple[str, str]]:
            names = chance.choices(["act", "post", "see"], k=chance.randint(1, 4))
            return [(name, f'{{"number": {number}}}') for number, name in enumerate(names)]

        rounds = choose(), choose()
        options: Any = {"durable": store, "client": Model(*rounds, "done")}
        result = await build().run(Topic(), run_id="r", **options)
        decisions = [YES, ToolApproval(approved=False), ToolApproval(approved=False, answer="x")]
        for _ in range(200):
            if result.status != "waiting":
                break
            question = chance.choice(result.questions)
            result = await build().answer("r", question, chance.choice(decisions), **options)
        assert result.output.draft == "done"
        for log in logs[:2]:
            assert len(set(log.keys)) == len(log.keys)
        for name, log in zip(("act", "post"), logs, strict=False):
            wanted = [call for calls in rounds for call in calls if call[0] == name]
            assert len(log.acted) <= len(wanted), "an effect was repeated"
        assert (await build().replay("r", durable=store)).output == result.output

    run_virtual(main())
