"""Approvals of tools that expire: at rest, under way, killed, replayed, retried, cancelled."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from graphorch import (
    START,
    Context,
    Expired,
    Graph,
    GraphError,
    InputError,
    QuestionClosed,
    QuestionEvent,
    Retry,
    RunFailed,
    ToolApproval,
    node,
    tool,
)
from graphorch.debugger.notebook.export import render_static_html
from graphorch.debugger.notebook.view import build_view
from graphorch.engine.replay import rebuild
from graphorch.graph.node import summarize_tools
from graphorch.journal.memory import MemoryStore
from graphorch.journal.sqlite.store import SqliteStore
from graphorch.testing import run_virtual
from graphorch.trace import build_conversation
from graphorch.views.asking.closed_questions import find_closed_question
from graphorch.views.reading.open_run import OpenRun
from tests.engine.tool_calls.test_loop import Draft, Found, Model, State, Topic, flow_of
from tests.scenarios.crashed_copies import copy_run
from tests.scenarios.events.test_event_runs import clock

DAY = 86_400.0
YES = ToolApproval(approved=True)
REFUSED = "Refused: no person decided about this call of 'pay' within 86400 s."


class Shop:
    """A tool that asks before it acts, the model that calls it, and a clock that a test sets."""

    def __init__(self, *numbers: int, expires: float | None = DAY, **options: Any) -> None:
        self.paid: list[int] = []
        self.now = 1_000.0
        self.model = Model([("pay", f'{{"number": {number}}}') for number in numbers], "done")
        self.store: Any = MemoryStore(clock=lambda: self.now)
        given: Any = {"expires": expires} if expires else {}

        def pay(number: int) -> str:
            self.paid.append(number)
            return f"paid {number}"

        self.flow: Any = flow_of(tool(approve=True, **given)(pay), **options)

    @property
    def options(self) -> dict[str, Any]:
        """Return what each call of the flow is given."""
        return {"durable": self.store, "client": self.model, "clock": lambda: self.now}


def test_unanswered_call_is_refused() -> None:
    """A call about which no person decides in time is refused, its model reads why, and goes on."""
    shop = Shop(1)

    async def check() -> None:
        waiting = await shop.flow.run(Topic(), run_id="r", **shop.options)
        assert waiting.due == waiting.questions[0].expires == shop.now + DAY
        shop.now += DAY - 1
        assert (await shop.flow.resume("r", **shop.options)).status == "waiting"
        shop.now += 1
        done = await shop.flow.resume("r", **shop.options)
        assert (done.output.draft, shop.model.results, shop.paid) == ("done", [REFUSED], [])
        assert (await shop.flow.replay("r", durable=shop.store)).output == done.output

    run_virtual(check())


def test_late_approval_is_refused() -> None:
    """An approval after the time changes nothing: it is too late, before the refusal and after."""
    shop = Shop(1)

    async def check() -> None:
        await shop.flow.run(Topic(), run_id="r", **shop.options)
        shop.now += DAY
        done = await shop.flow.answer("r", "write/r1/pay#0", YES, **shop.options)
        assert (shop.model.results, shop.paid) == ([REFUSED], [])
        assert done.status == "succeeded"

    run_virtual(check())


def test_late_approval_beside_open_call_says_why() -> None:
    """While another call is open, who approves the expired one is told that its time is over."""
    shop = Shop(1, 2)

    async def check() -> None:
        first = await shop.flow.run(Topic(), run_id="r", **shop.options)
        assert [question.expires for question in first.questions] == [shop.now + DAY] * 2
        half = await shop.flow.answer("r", "write/r1/pay#0", YES, **shop.options)
        assert half.status == "waiting"
        shop.now += DAY
        done = await shop.flow.resume("r", **shop.options)
        assert shop.model.results == ["paid 1", REFUSED]
        assert (shop.paid, done.status) == ([1], "succeeded")

    run_virtual(check())


@pytest.mark.parametrize("calls", [1, 2])
def test_killed_run_refuses_once(calls: int) -> None:
    """Killed after each record and resumed after the time, a run ends alike, and replays."""
    shop = Shop(*range(calls))

    async def check() -> None:
        await shop.flow.run(Topic(), run_id="r", **shop.options)
        shop.now += DAY
        whole = await shop.flow.resume("r", **shop.options)
        log = await shop.store.load("r")
        for seq in range(1, len(log.records) + 1):
            rebuild(shop.flow.plan, "r", log.records[:seq])
            copy = MemoryStore(clock=lambda: shop.now)
            await copy_run(log.head, log.records[:seq], copy)
            options = {**shop.options, "durable": copy}
            result = await shop.flow.resume("r", **options)
            if result.status == "waiting":  # a question was not stored, and is asked anew
                shop.now += DAY
                result = await shop.flow.resume("r", **options)
            assert result.output == whole.output
            assert shop.model.results == [REFUSED] * calls
            assert (await shop.flow.replay("r", durable=copy)).output == whole.output

    run_virtual(check())
    assert shop.paid == []


def test_answer_in_time_survives_late_owner(tmp_path: Path) -> None:
    """An approval that was stored in time counts, however late it is taken in."""
    shop = Shop(1, expires=0.3)
    shop.store = str(tmp_path / "j.sqlite")

    async def check() -> None:
        options: Any = {"durable": shop.store, "client": shop.model}
        await shop.flow.run(Topic(), run_id="r", **options)
        await shop.flow.send_answer("r", "write/r1/pay#0", YES, wait=False, durable=shop.store)
        await asyncio.sleep(0.4)
        await shop.flow.resume("r", **options)
        assert shop.model.results == ["paid 1"]

    asyncio.run(check())


def test_late_letter_is_refused_with_reason(tmp_path: Path) -> None:
    """An approval from another process after the time is refused as late, and the call, too."""
    shop = Shop(1, expires=0.2)
    shop.store = str(tmp_path / "j.sqlite")

    async def check() -> None:
        options: Any = {"durable": shop.store, "client": shop.model}
        await shop.flow.run(Topic(), run_id="r", **options)
        await asyncio.sleep(0.3)
        await shop.flow.send_answer("r", "write/r1/pay#0", YES, wait=False, durable=shop.store)
        await shop.flow.resume("r", **options)
        assert (shop.paid, len(shop.model.results)) == ([], 1)
        store = await SqliteStore.open(shop.store)
        (letter,) = await store.list_letters("r")
        await store.close()
        assert letter.outcome is not None
        assert letter.outcome.error == "Expired"
        assert "was not answered within 0.2 s" in letter.outcome.message
        with pytest.raises(Expired, match="its time is over"):
            await shop.flow.answer("r", "write/r1/pay#0", YES, **options)

    asyncio.run(check())


def test_retried_agent_repeats_no_refusal() -> None:
    """An agent that is tried again is served the refusal, and asks no person a second time."""
    shop = Shop(1, retry=Retry(2))
    answer, asked = shop.model.complete, [0]

    async def fail_once(*given: Any) -> Any:
        response = await answer(*given)
        asked[0] += 1
        if asked[0] == 2:
            raise ConnectionError("away")
        return response

    shop.model.complete = fail_once  # pyright: ignore[reportAttributeAccessIssue]

    async def check() -> None:
        await shop.flow.run(Topic(), run_id="r", **shop.options)
        shop.now += DAY
        done = await shop.flow.resume("r", **shop.options)
        assert (done.status, shop.model.results, asked[0]) == ("succeeded", [REFUSED], 3)

    run_virtual(check())


def test_rerun_asks_with_new_time() -> None:
    """A rerun of the agent asks again, with a time of its own."""
    shop = Shop(1)

    async def check() -> None:
        await shop.flow.run(Topic(), run_id="r", **shop.options)
        shop.now += DAY
        await shop.flow.resume("r", **shop.options)
        again = await shop.flow.rerun("r", start="write", **shop.options)
        assert again.result.questions[0].expires == shop.now + DAY

    run_virtual(check())


def test_fork_asks_with_new_time() -> None:
    """A fork at the agent asks again, with a time of its own, and ends as the run did."""
    shop = Shop(1)

    async def check() -> None:
        await shop.flow.run(Topic(), run_id="r", **shop.options)
        shop.now += DAY
        done = await shop.flow.resume("r", **shop.options)
        forked = await shop.flow.fork("r", start="write", durable=shop.store)
        waiting = await shop.flow.resume(forked, **shop.options)
        assert waiting.due == shop.now + DAY
        shop.now += DAY
        assert (await shop.flow.resume(forked, **shop.options)).output == done.output
        assert shop.paid == []

    run_virtual(check())


def test_cancelled_run_refuses_nothing() -> None:
    """A cancelled run stays cancelled after the time of its approval."""
    shop = Shop(1)

    async def check() -> None:
        await shop.flow.run(Topic(), run_id="r", **shop.options)
        await shop.flow.cancel("r", durable=shop.store)
        shop.now += DAY
        with pytest.raises(InputError, match="cancelled"):
            await shop.flow.resume("r", **shop.options)
        with pytest.raises(InputError, match="cancelled"):
            await shop.flow.answer("r", "write/r1/pay#0", YES, **shop.options)
        kinds = [record.kind for record in (await shop.store.load("r")).records]
        assert "commit" not in kinds
        assert (await shop.store.read_head("r")).status == "cancelled"

    run_virtual(check())


def test_open_approval_keeps_its_time() -> None:
    """A call that asked before its tool had a time, or has none now, keeps what it had."""

    async def check(first: float | None, then: float | None) -> list[str]:
        shop, later = Shop(1, expires=first), Shop(1, expires=then)
        await shop.flow.run(Topic(), run_id="r", **shop.options)
        shop.now += 2 * DAY
        options = {**shop.options, "client": later.model}
        await later.flow.answer("r", "write/r1/pay#0", YES, **options)
        return later.model.results

    assert run_virtual(check(None, DAY)) == ["paid 1"]
    (text,) = run_virtual(check(DAY, None))
    assert text == "Refused: no person decided about this call of 'pay' in time."


def test_hook_hears_that_approval_expired() -> None:
    """A hook is told until when an approval counts, and that its time was over."""
    shop, heard = Shop(1), list[QuestionEvent]()

    async def check() -> None:
        options = {**shop.options, "on_question": heard.append}
        await shop.flow.run(Topic(), run_id="r", **options)
        shop.now += DAY
        await shop.flow.resume("r", **options)

    run_virtual(check())
    assert [(event.kind, event.expires) for event in heard] == [
        ("opened", 1_000.0 + DAY),
        ("expired", 1_000.0 + DAY),
    ]


def test_session_lets_approval_expire() -> None:
    """A person in a session lets the time of an approval come."""
    shop = Shop(1)
    with shop.flow.debug(Topic(), client=shop.model) as session:
        session.run_until()
        (question,) = build_view(session)["questions"]
        assert question["is_timed"]
        assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", question["until"])
        assert f"(until {question['until']})" in render_static_html(session)
        session.skip_wait()
        session.run_until()
        assert session.result.output.draft == "done"
    assert shop.model.results == [REFUSED]


def test_wrong_expiry_is_refused() -> None:
    """A time that is none, or for a tool that asks nobody, is a mistake with one message."""
    with pytest.raises(GraphError, match="expires=3 means nothing: no person approves its calls"):
        tool(expires=3)(show)
    for wrong in (0, -1, float("nan"), True):
        with pytest.raises(GraphError, match=r"expires=.* is not possible"):
            tool(approve=True, expires=wrong)(show)


def show(number: int) -> str:
    return str(number)


def test_readers_name_no_person_who_refused() -> None:
    """A conversation shows that the call was refused and by nobody; its question has expired."""
    shop = Shop(1)

    async def check() -> None:
        await shop.flow.run(Topic(), run_id="r", **shop.options)
        shop.now += DAY
        await shop.flow.resume("r", **shop.options)
        log = await shop.store.load("r")
        run = OpenRun(log.head)
        run.take(log.head, log.records)
        asked = next(record for record in log.records if record.kind == "asked")
        closed = find_closed_question(run, asked.body["id"])
        assert closed is not None
        assert closed.outcome == "expired"
        turns = build_conversation(log.head, log.records).turns
        (turn,) = [turn for turn in turns if turn.text == REFUSED]
        assert (turn.kind, turn.note) == ("returns", "refused")

    run_virtual(check())


def test_words_of_person_are_no_expiry() -> None:
    """A person who answers with the words of an expired call has answered, for every reader."""
    shop = Shop(1)

    async def check() -> None:
        await shop.flow.run(Topic(), run_id="r", **shop.options)
        instead = ToolApproval(approved=False, answer=REFUSED)
        await shop.flow.answer("r", "write/r1/pay#0", instead, **shop.options)
        with pytest.raises(QuestionClosed):
            await shop.flow.answer("r", "write/r1/pay#0", YES, **shop.options)
        log = await shop.store.load("r")
        run = OpenRun(log.head)
        run.take(log.head, log.records)
        asked = next(record for record in log.records if record.kind == "asked")
        closed = find_closed_question(run, asked.body["id"])
        assert closed is not None
        assert closed.outcome == "answered"
        turns = build_conversation(log.head, log.records).turns
        (turn,) = [turn for turn in turns if turn.text == REFUSED]
        assert (turn.kind, turn.speaker) == ("answers", "person")

    run_virtual(check())


# ---- inside of other things ----------------------------------------------------------------------
class Topics(Draft):
    topics: list[Topic] = []


def list_topics(topics: Topics) -> Sequence[Topic]:
    return topics.topics


def collect(drafts: list[Draft]) -> Draft:
    return Draft(draft=" ".join(draft.draft for draft in drafts))


def test_approvals_of_items_expire_alone() -> None:
    """In a map of agents each call has its own time, and the others go on."""
    shop = Shop(1)
    graph = Graph("many", Topics, input=Topics, output=Draft)
    each = graph.map("each", shop.flow, over=list_topics, gather=collect, max_items=3)
    flow = graph.chain(START, each).build()

    async def check() -> None:
        topics = Topics(topics=[Topic(topic="a"), Topic(topic="b")])
        await flow.run(topics, run_id="r", **shop.options)
        await flow.answer("r", "each[1]/write/r1/pay#0", YES, **shop.options)
        assert (shop.paid, shop.model.results) == ([1], ["paid 1"])
        shop.now += DAY
        done = await flow.resume("r", **shop.options)
        assert (done.output.draft, shop.model.results) == ("done done", [REFUSED])
        assert (await flow.replay("r", durable=shop.store)).output == done.output

    run_virtual(check())


def test_approval_expires_while_run_works() -> None:
    """A call expires by itself while another node of the run works, and its agent goes on."""
    shop = Shop(1, expires=0.2)
    write = shop.flow.plan.steps[0].node

    @node
    async def look(t: Topic) -> Found:
        await asyncio.sleep(1.0)
        return Found(place=f"after {len(shop.model.results)} refusal")

    flow = Graph("busy", State, input=Topic, output=State).chain(START, [write, look])

    async def check() -> None:
        done = await flow.build().run(Topic(), client=shop.model, clock=clock)
        assert (done.output.place, done.output.draft) == ("after 1 refusal", "done")

    run_virtual(check())


def test_flow_as_tool_is_refused_in_time() -> None:
    """A flow that a model calls may have a time for its approval, too."""
    inner = Shop(2)
    tool_flow = inner.flow.as_tool("ask_shop", approve=True, expires=DAY)
    shop = Shop(1)
    flow: Any = flow_of(tool_flow)
    model = Model([("ask_shop", '{"topic": "tea"}')], "done")

    async def check() -> None:
        options = {**shop.options, "client": model}
        await flow.run(Topic(), run_id="r", **options)
        shop.now += DAY
        done = await flow.resume("r", **options)
        assert (done.status, model.results) == ("succeeded", [REFUSED.replace("pay", "ask_shop")])

    run_virtual(check())
    assert "a person within 1 day" in str(summarize_tools(flow.plan.steps[0].node)[0])


def test_tool_that_only_a_node_knows_expires() -> None:
    """A call of a tool that a node gives to its model expires for the process that finds it."""
    shop = Shop(1)

    @tool(approve=True, expires=DAY)
    def pay(number: int) -> str:
        return f"paid {number}"

    def build() -> Any:
        @node
        async def write(ctx: Context, t: Topic) -> Draft:
            answer = await ctx.complete(t.topic, tools=[pay])
            return Draft(draft=str(answer))

        return Graph("harbour", State, input=Topic, output=Draft).chain(write).build()

    async def check() -> None:
        waiting = await build().run(Topic(), run_id="r", **shop.options)
        assert waiting.due == shop.now + DAY
        shop.now += DAY
        done = await build().resume("r", **shop.options)
        assert shop.model.results == [
            "Refused: no person decided about this call of 'pay' in time."
        ]
        assert (await build().replay("r", durable=shop.store)).output == done.output

    run_virtual(check())


# ---- races ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("after", [0.0, 0.29, 0.3, 0.4])
def test_answer_races_with_time(after: float, tmp_path: Path) -> None:
    """An answer by the mailbox about when the time ends acts or is refused, and never both."""
    shop, journal = Shop(1, expires=0.3), str(tmp_path / "j.sqlite")
    other = Shop(1, expires=0.3)

    @node
    async def look(t: Topic) -> Found:
        await asyncio.sleep(0.6)
        return Found()

    def build(shop: Shop) -> Any:
        graph = Graph("busy", State, input=Topic, output=State)
        return graph.chain(START, [shop.flow.plan.steps[0].node, look]).build()

    async def answer(opened: asyncio.Event) -> str:
        await opened.wait()
        await asyncio.sleep(after)
        try:
            await build(other).send_answer("r", "write/r1/pay#0", YES, durable=journal)
        except Expired as error:
            return str(error)
        return ""

    async def check() -> None:
        opened = asyncio.Event()
        options: Any = {"client": shop.model, "on_question": lambda event: opened.set()}
        run = build(shop).run(Topic(), run_id="r", durable=journal, **options)
        done, refusal = await asyncio.gather(run, answer(opened))
        assert (done.status, other.paid) == ("succeeded", [])
        if refusal:
            assert "not answered within 0.3 s" in refusal or "its time is over" in refusal
        assert (shop.paid, len(shop.model.results)) == ([] if refusal else [1], 1)
        assert shop.model.results[0].startswith("Refused" if refusal else "paid 1")
        assert (await build(shop).replay("r", durable=journal)).output == done.output

    asyncio.run(check())


def test_stopped_run_expires_on_resume() -> None:
    """A run that was stopped beside an open approval refuses the call when it is resumed."""
    shop = Shop(1, expires=5.0)
    stops = [True]

    @node
    async def look(ctx: Context, t: Topic) -> Found:
        if stops:
            stops.clear()
            await shop_flow.stop("r")
            await asyncio.sleep(60.0)
        return Found(place="there")

    graph = Graph("busy", State, input=Topic, output=State)
    shop_flow: Any = graph.chain(START, [shop.flow.plan.steps[0].node, look]).build()

    async def check() -> None:
        options = {"durable": shop.store, "client": shop.model, "clock": lambda: shop.now}
        with pytest.raises(RunFailed):
            await shop_flow.run(Topic(), run_id="r", **options)
        shop.now += 5.0
        done = await shop_flow.resume("r", **options)
        assert (done.output.place, shop.paid) == ("there", [])
        assert [text[:7] for text in shop.model.results] == ["Refused"]

    run_virtual(check())
