"""A hook hears what becomes of every question, once it is durable."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from graphorch import (
    Approval,
    Expired,
    Failure,
    QuestionEvent,
    Rejected,
    RunFailed,
    ToolApproval,
    node,
    tool,
)
from graphorch.journal.memory import MemoryStore
from graphorch.testing import run_virtual
from tests.engine.questions.asking_flows import (
    YES,
    Case,
    Done,
    Heard,
    Topic,
    Verdict,
    act,
    build_ask,
    build_map,
    new_graph,
)
from tests.engine.tool_calls import test_loop as tool_loop

PLACES = ["memory", "store", "sqlite"]
places = pytest.mark.parametrize("place", PLACES)


def choose_place(place: str, path: Path) -> Any:
    """Return the `durable` option of a run: in no journal, in memory, or in a file."""
    return {"memory": False, "store": MemoryStore(), "sqlite": path / "runs.sqlite"}[place]


# ---- answers -------------------------------------------------------------------------------------
@places
def test_question_is_opened_and_answered(place: str, tmp_path: Path) -> None:
    """The hook gets what a message needs that points to the question."""
    heard, durable = Heard(), choose_place(place, tmp_path)
    flow = build_ask()

    async def main() -> None:
        options: dict[str, Any] = {"durable": durable, "on_question": heard, "clock": lambda: 50.0}
        waiting = await flow.run(Case(), run_id="r", tags={"team": "a"}, **options)
        (question,) = waiting.questions
        [opened] = heard.events
        assert (opened.kind, opened.flow, opened.run_id) == ("opened", "case", "r")
        assert (opened.id, opened.path, opened.node) == (question.id, "ask", "ask")
        assert (opened.text, opened.expires, opened.at) == ("tides?", None, 50.0)
        assert (opened.answer_type, dict(opened.tags)) == (Verdict, {"team": "a"})
        assert list(opened.answer_schema["properties"]) == ["verdict"]
        await flow.answer("r", opened.id, YES, **options)

    run_virtual(main())
    assert heard.lines == ["ask opened", "ask answered"]
    assert heard.events[1].text == "tides?"
    assert heard.events[1].id == heard.events[0].id


def test_run_in_memory_keeps_its_hook() -> None:
    """A run in memory goes on with the hook that it began with, unless another one is given."""
    first, second = Heard(), Heard()
    flow = build_ask()

    async def main() -> None:
        for run_id in ("kept", "other"):
            await flow.run(Case(), run_id=run_id, on_question=first)
        await flow.answer("kept", "ask", YES)
        await flow.answer("other", "ask", YES, on_question=second)

    run_virtual(main())
    assert first.lines == ["ask opened", "ask opened", "ask answered"]
    assert second.lines == ["ask answered"]


@places
@pytest.mark.parametrize("is_approved", [True, False])
def test_gates_ask_hook(place: str, is_approved: bool, tmp_path: Path) -> None:
    """A gate before a node and one after it are questions; a refusal is an answer, too."""
    heard, durable = Heard(), choose_place(place, tmp_path)

    @node(gate="before")
    def first(topic: Topic) -> Done:
        return Done(done=["first"])

    @node(gate="after")
    def second(done: Done) -> Done:
        return Done(done=["second"])

    flow = new_graph().chain(first, second).build()

    async def main() -> None:
        options: dict[str, Any] = {"durable": durable, "on_question": heard}
        await flow.run(Case(), run_id="r", **options)
        await flow.answer("r", "first", Approval(approved=True), **options)
        answer = flow.answer("r", "second", Approval(approved=is_approved), **options)
        if is_approved:
            await answer
            return
        with pytest.raises(RunFailed) as caught:
            await answer
        assert isinstance(caught.value.exceptions[0].__cause__, Rejected)

    run_virtual(main())
    assert heard.lines == [
        "first opened",
        "first answered",
        "second opened",
        "second answered",
    ]
    assert {event.answer_type for event in heard.events} == {Approval}


@places
def test_tool_calls_ask_hook(place: str, tmp_path: Path) -> None:
    """Each call of a tool that a person has to approve is a question of its own."""
    heard, durable = Heard(), choose_place(place, tmp_path)

    @tool(approve=True)
    def pay(number: int) -> str:
        return "paid"

    flow = tool_loop.flow_of(pay)
    model = tool_loop.Model([("pay", '{"number": 1}'), ("pay", '{"number": 2}')], "done")
    options: dict[str, Any] = {"durable": durable, "on_question": heard, "client": model}

    async def main() -> None:
        await flow.run(tool_loop.Topic(), run_id="r", **options)
        no = ToolApproval(approved=False, reason="too dear")
        await flow.answer("r", "write/r1/pay#0", no, **options)
        await flow.answer("r", "write/r1/pay#1", Approval(approved=True), **options)

    run_virtual(main())
    assert heard.lines == [
        "write/r1/pay#0 opened",
        "write/r1/pay#1 opened",
        "write/r1/pay#0 answered",
        "write/r1/pay#1 answered",
    ]
    assert {event.answer_type for event in heard.events} == {ToolApproval}


def test_loop_asks_anew() -> None:
    """A question that is asked in every round of a loop is opened and answered in each."""
    heard = Heard()
    graph = new_graph()
    ask = graph.ask("ask", question=lambda s: "again?", answer=Verdict)
    graph.chain(ask, act)
    graph.loop(act, back_to=ask, while_=lambda s: s.verdict == "again", max_iterations=3)
    flow = graph.build()

    async def main() -> None:
        await flow.run(Case(), run_id="r", on_question=heard)
        await flow.answer("r", "ask", Verdict(verdict="again"))
        await flow.answer("r", "ask", YES)

    run_virtual(main())
    assert heard.lines == ["ask opened", "ask answered"] * 2
    assert heard.events[0].id != heard.events[2].id


@places
def test_places_inside_are_named(place: str, tmp_path: Path) -> None:
    """Questions of sub-flows and of the items of a map are told with their path."""
    heard, durable = Heard(), choose_place(place, tmp_path)
    flow = build_map()

    async def main() -> None:
        options: dict[str, Any] = {"durable": durable, "on_question": heard}
        waiting = await flow.run(Case(topics=["a", "b"]), run_id="r", **options)
        for question in reversed(waiting.questions):
            await flow.answer("r", question, YES, **options)

    run_virtual(main())
    assert sorted(heard.lines[:2]) == ["each[0]/ask opened", "each[1]/ask opened"]
    assert heard.lines[2:] == ["each[1]/ask answered", "each[0]/ask answered"]
    assert sorted(event.text for event in heard.events[:2]) == ["a?", "b?"]


def _look(topic: Topic) -> Done:
    return Done(done=[topic.topic])


# ---- expiry --------------------------------------------------------------------------------------
@places
@pytest.mark.parametrize("by", ["resume", "late answer"])
def test_expiry_is_told(place: str, by: str, tmp_path: Path) -> None:
    """A question whose time is over has expired, whoever finds that out."""
    heard, durable, now = Heard(), choose_place(place, tmp_path), [50.0]
    flow = build_ask(expires=10)
    options: dict[str, Any] = {
        "durable": durable,
        "on_question": heard,
        "clock": lambda: now[0],
    }

    async def main() -> None:
        await flow.run(Case(), run_id="r", **options)
        assert heard.events[0].expires == 60.0
        now[0] = 70.0
        work = flow.resume("r", **options)
        if by == "late answer":
            work.close()
            work = flow.answer("r", "ask", YES, **options)
        with pytest.raises(RunFailed) as caught:
            await work
        assert isinstance(caught.value.exceptions[0].__cause__, Expired)

    run_virtual(main())
    assert heard.lines == ["ask opened", "ask expired"]


@places
def test_expiry_under_way_is_told(place: str, tmp_path: Path) -> None:
    """A question whose time is over while another node works is told at that moment."""
    durable, times = choose_place(place, tmp_path), list[tuple[str, float]]()
    graph = new_graph()

    @node
    async def work(topic: Topic) -> Done:
        await asyncio.sleep(3)
        return Done(done=["worked"])

    ask = graph.ask("ask", question=lambda s: "go?", answer=Verdict, expires=1)
    graph.chain(ask)
    graph.chain(work)
    flow = graph.build()

    async def tell(event: QuestionEvent) -> None:
        times.append((event.kind, asyncio.get_running_loop().time()))

    async def main() -> None:
        with pytest.raises(RunFailed):
            await flow.run(
                Case(),
                durable=durable,
                on_question=tell,
                clock=asyncio.get_running_loop().time,
            )

    run_virtual(main())
    assert [kind for kind, _ in times] == ["opened", "expired"]
    assert 1 <= times[1][1] < 2


# ---- withdrawn -----------------------------------------------------------------------------------
@places
def test_quorum_withdraws_questions(place: str, tmp_path: Path) -> None:
    """The answer that decides a quorum withdraws the other questions, which says why."""
    heard, durable = Heard(), choose_place(place, tmp_path)
    graph = new_graph()

    @node
    def settle(done: Done) -> Done:
        return Done(done=["settled"])

    for name in ("one", "two", "six"):
        graph.chain(node(name=name, gate="before")(_look), settle)
    graph.join(settle, need=2)
    flow = graph.build()

    async def main() -> None:
        options: dict[str, Any] = {"durable": durable, "on_question": heard}
        await flow.run(Case(), run_id="r", **options)
        await flow.answer("r", "two", Approval(approved=True), **options)
        await flow.answer("r", "one", Approval(approved=True), **options)

    run_virtual(main())
    assert sorted(heard.lines[:3]) == ["one opened", "six opened", "two opened"]
    assert heard.lines[3:] == ["two answered", "one answered", "six withdrawn"]
    assert "settle" in heard.events[-1].reason


@pytest.mark.parametrize("is_durable", [False, True])
def test_work_withdraws_question(is_durable: bool) -> None:
    """A node that decides a quorum withdraws the question beside it, though it asks nobody."""
    heard = Heard()
    graph = new_graph()
    ask = graph.ask("ask", question=lambda s: "go?", answer=Verdict)

    @node
    def settle(topic: Topic) -> Done:
        return Done(done=["settled"])

    @node
    def work(topic: Topic) -> Done:
        return Done(done=["worked"])

    graph.chain(work, settle)
    graph.chain(ask, settle)
    graph.join(settle, need=1)
    flow = graph.build()
    durable: Any = MemoryStore() if is_durable else False
    run_virtual(flow.run(Case(), durable=durable, on_question=heard))
    assert heard.lines == ["ask opened", "ask withdrawn"]


def test_enough_items_withdraw_questions() -> None:
    """A map that needs some of its items withdraws the questions of the others."""
    heard = Heard()
    flow = build_map(need=1)

    async def main() -> None:
        await flow.run(Case(topics=["a", "b", "c"]), run_id="r", on_question=heard)
        await flow.answer("r", "each[1]/ask", YES)

    run_virtual(main())
    assert heard.lines[3] == "each[1]/ask answered"
    assert sorted(heard.lines[4:]) == ["each[0]/ask withdrawn", "each[2]/ask withdrawn"]
    assert heard.events[4].reason == "'each' has the 1 that it needs"


def test_failed_sub_flow_withdraws_question() -> None:
    """A sub-flow that failed and is handled withdraws the questions that are open inside it."""
    heard = Heard()
    inner = new_graph("inner")
    ask = inner.ask("ask", question=lambda s: "go?", answer=Verdict)

    @node
    def break_down(topic: Topic) -> Done:
        raise LookupError("nothing there")

    @node
    def mend(failure: Failure) -> Done:
        return Done(done=["mended"])

    inner.chain([ask, break_down], act)
    graph = new_graph()
    team = graph.sub("team", inner.build(), enter=lambda s: s, leave=lambda out: Done())
    graph.chain(team)
    graph.on_error(team, mend)
    run_virtual(graph.build().run(Case(), on_question=heard))
    assert sorted(heard.lines) == ["team/ask opened", "team/ask withdrawn"]
    assert heard.events[-1].reason == "'team' is over"


@places
def test_first_event_withdraws_question(place: str, tmp_path: Path) -> None:
    """A timer that comes before the answer withdraws the question beside it."""
    heard, durable = Heard(), choose_place(place, tmp_path)
    graph = new_graph()
    ask = graph.ask("ask", question=lambda s: "go?", answer=Verdict)
    soon = graph.timer("soon", after=timedelta(seconds=1))

    @node
    def remind(topic: Topic) -> Done:
        return Done(done=["reminded"])

    graph.chain(graph.first("wait", {ask: act, soon: remind}))
    flow = graph.build()

    async def main() -> None:
        options: dict[str, Any] = {
            "durable": durable,
            "on_question": heard,
            "clock": asyncio.get_running_loop().time,
        }
        await flow.run(Case(), run_id="r", **options)
        await asyncio.sleep(2)
        result = await flow.resume("r", **options)
        assert result.output.done == ["reminded"]

    run_virtual(main())
    assert [event.kind for event in heard.events] == ["opened", "withdrawn"]
    assert heard.events[-1].reason == "'soon' came first"


@places
def test_cancellation_withdraws_questions(place: str, tmp_path: Path) -> None:
    """A run that is cancelled while it waits withdraws its questions."""
    heard, durable = Heard(), choose_place(place, tmp_path)
    flow = build_ask()

    async def main() -> None:
        await flow.run(Case(), run_id="r", durable=durable, on_question=heard)
        await flow.cancel("r", durable=durable, on_question=heard)

    run_virtual(main())
    assert heard.lines == ["ask opened", "ask withdrawn"]
    assert heard.events[-1].reason == "the run is cancelled"


@places
def test_failed_run_keeps_question(place: str, tmp_path: Path) -> None:
    """A question of a run that failed stays open: it can be answered, and the run resumed."""
    heard, durable = Heard(), choose_place(place, tmp_path)
    graph = new_graph()
    ask = graph.ask("ask", question=lambda s: "go?", answer=Verdict)

    @node
    def break_down(topic: Topic) -> Done:
        raise LookupError("nothing there")

    graph.chain([ask, break_down], act)
    flow = graph.build()

    async def main() -> None:
        options: dict[str, Any] = {"durable": durable, "on_question": heard}
        for work in (
            flow.run(Case(), run_id="r", **options),
            flow.answer("r", "ask", YES, **options),
        ):
            with pytest.raises(RunFailed):
                await work

    run_virtual(main())
    assert heard.lines == ["ask opened", "ask answered"]


# ---- what is durable -----------------------------------------------------------------------------
def test_hook_hears_of_durable_questions(tmp_path: Path) -> None:
    """What the hook hears of is in the journal, where another process finds it."""
    store, kinds = MemoryStore(), list[str]()
    flow = build_ask()

    async def look(event: Any) -> None:
        log = await store.load(event.run_id)
        kinds.extend(record.kind for record in log.records if record.kind in ("asked", "commit"))
        kinds.append(event.kind)

    async def main() -> None:
        await flow.run(Case(), run_id="r", durable=store, on_question=look)
        await flow.answer("r", "ask", YES, durable=store, on_question=look)

    run_virtual(main())
    assert kinds[:4] == ["asked", "opened", "asked", "commit"]
    assert kinds[-1] == "answered"


def test_open_questions_are_not_told_again() -> None:
    """A process that resumes a run hears of what becomes of its questions, not that they are open.

    The result of a resume lists those.
    """
    first, second, store = Heard(), Heard(), MemoryStore()
    flow = build_ask()

    async def main() -> None:
        await flow.run(Case(), run_id="r", durable=store, on_question=first)
        waiting = await build_ask().resume("r", durable=store, on_question=second)
        assert [question.path for question in waiting.questions] == ["ask"]
        assert second.lines == []
        await build_ask().answer("r", "ask", YES, durable=store, on_question=second)

    run_virtual(main())
    assert (first.lines, second.lines) == (["ask opened"], ["ask answered"])


def test_rerun_tells_its_own_questions() -> None:
    """A rerun asks in its own name; a replay asks nobody."""
    heard, store = Heard(), MemoryStore()
    flow = build_ask()

    async def main() -> None:
        options: dict[str, Any] = {"durable": store, "on_question": heard}
        await flow.run(Case(), run_id="r", durable=store)
        await flow.answer("r", "ask", YES, durable=store)
        await flow.replay("r", durable=store)
        again = await flow.rerun("r", start="ask", run_id="again", **options)
        assert again.result.status == "waiting"

    run_virtual(main())
    assert [(event.run_id, event.kind) for event in heard.events] == [("again", "opened")]
