"""Readers of runs know signals and timers: why, spans, timelines, critical paths, conversations."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import START, Ended, Flow, Graph, Secret, WaitBegan, node
from graphorch.cli.app import main
from graphorch.cli.live.display import format_event
from graphorch.cli.live.progress import Progress
from graphorch.engine.replay import rebuild
from graphorch.journal import RunLog
from graphorch.journal.memory import MemoryStore
from graphorch.testing import run_virtual
from graphorch.trace import build_conversation, build_trace
from graphorch.trace.analysis.critical_path import collect_work
from graphorch.trace.conversation.builder import Conversation
from graphorch.trace.spans.model import Trace
from graphorch.views.runs.timeline import build_bars
from tests.scenarios.events.shop import (
    Order,
    Payment,
    ShopFlow,
    begin,
    first_flow,
    loop_flow,
    paid_flow,
    timer_flow,
)
from tests.scenarios.events.test_event_runs import clock

HOUR = 3_600.0


def paid_log(flow: ShopFlow, wait: float = HOUR) -> RunLog:
    """Run a flow that gets its payment after a while."""

    async def run() -> RunLog:
        store = MemoryStore()
        await begin(flow, store, clock)
        await asyncio.sleep(wait)
        options: dict[str, Any] = {"durable": store, "clock": clock}
        await flow.send("r", "paid", Payment(amount=3), **options)
        return await store.load("r")

    return run_virtual(run())


def read(log: RunLog) -> tuple[Trace, Conversation]:
    return (
        build_trace(log.head, log.records),
        build_conversation(log.head, log.records),
    )


def test_wait_is_a_span_of_its_kind() -> None:
    """What waits for an event is a span of kind `wait`, without attempts, over its whole time."""
    trace, _ = read(paid_log(first_flow()))
    spans = {span.path: span for span in trace.spans if span.kind == "wait"}
    assert {path: span.status for path, span in spans.items()} == {
        "paid": "ok",
        "later": "cancelled",
    }
    assert spans["paid"].seconds == pytest.approx(HOUR)
    assert not [span for span in trace.spans if span.kind == "attempt" and span.node == "paid"]


def test_waits_are_bars_of_a_timeline() -> None:
    """A timeline has a bar for each wait, which is open while the run waits."""

    async def run() -> RunLog:
        store = MemoryStore()
        await begin(first_flow(), store, clock)
        return await store.load("r")

    trace, _ = read(run_virtual(run()))
    bars = {bar.name: bar for bar in build_bars(trace, 0.0)}
    assert bars["paid"].status == bars["later"].status == "waiting"
    assert "the signal 'paid'" in bars["paid"].hint
    assert "its time, 2030" in bars["later"].hint


def test_waits_are_no_work_on_critical_path() -> None:
    """The time of a wait is nobody's work."""
    flow = paid_flow()
    log = paid_log(flow)
    run = rebuild(flow.plan, "r", log.records).run
    assert [item.seconds < 1.0 for item in collect_work(run).items] == [True, True]


def test_signal_is_a_turn_from_outside() -> None:
    """A conversation shows what came from outside, and what became of it."""
    _, conversation = read(paid_log(paid_flow()))
    turns = [(turn.kind, turn.speaker, turn.to, turn.text) for turn in conversation.turns]
    assert ("signals", "outside", ("signal paid",), '{"amount": 3}') in turns
    assert "outside" in str(conversation)


def test_stream_tells_of_waits() -> None:
    """A stream has an event for each wait, and the live view shows what is waited for."""

    async def check() -> None:
        flow, progress, lines = first_flow(), Progress(), list[str]()
        seen = [event async for event in flow.stream(Order())]
        waits = [event for event in seen if isinstance(event, WaitBegan)]
        assert {(wait.path, wait.signal, wait.due is None) for wait in waits} == {
            ("paid", "paid", True),
            ("later", "", False),
        }
        assert isinstance(seen[-1], Ended)
        for event in seen:
            progress.feed(event)
            lines.append(format_event(event))
        assert "paid waits for the signal 'paid'" in lines
        assert {path: row.status for path, row in progress.rows.items()} == {
            "decided": "done",
            "approve": "waiting",
            "paid": "waiting",
            "later": "waiting",
        }

    asyncio.run(check())


# ---- why -----------------------------------------------------------------------------------------
SHOP = """
from tests.scenarios.events.shop import *

first = first_flow()
loop = loop_flow(3)
timer = timer_flow(7200.0)
"""


def call(*words: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0, err.getvalue()
    return out.getvalue()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Write the file of a flow; return its path, beside which the journal lies."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(SHOP, "utf-8")
    return "shop.py"


def test_why_explains_what_came_first(shop: str) -> None:
    """`why` says what an event waits for, what came first, and why the others were withdrawn."""
    flow = first_flow()
    asyncio.run(flow.run(Order(), run_id="r", durable="graphorch.sqlite"))
    waiting = call("why", f"{shop}:first", "r", "paid")
    assert "waits for the signal 'paid'" in waiting
    assert "'decided' waits for it, and takes the first of its events" in waiting
    assert "'later' waits for its time, 20" in call("why", f"{shop}:first", "r")
    asyncio.run(flow.send("r", "paid", Payment(amount=3), durable="graphorch.sqlite"))
    assert "was given the signal 'paid'" in call("why", f"{shop}:first", "r", "paid")
    assert "was withdrawn: 'paid' came first" in call("why", f"{shop}:first", "r", "approve")
    assert "'approve' was withdrawn: 'paid' came first" in call("why", f"{shop}:first", "r", "ship")
    assert "'paid' came first, before 'approve', 'later', and leads here" in call(
        "why", f"{shop}:first", "r", "ship_paid"
    )


# ---- secrets -------------------------------------------------------------------------------------
class Login(BaseModel):
    user: str = ""
    token: Secret[str] = ""


class Done(BaseModel):
    done: str = ""


class Desk(Order, Login, Done): ...


@node(declassify="names the user only")
def greet(login: Login) -> Done:
    return Done(done=f"hello {login.user}")


def login_flow() -> Flow[Order, Done, Desk]:
    graph = Graph("desk", Desk, input=Order, output=Done)
    return graph.chain(START, graph.signal("login", Login), greet).build()


def test_secret_of_signal_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is secret in the value of a signal is in no text about the run."""
    monkeypatch.chdir(tmp_path)
    source = (
        "from tests.scenarios.events.test_event_readers import login_flow\nflow = login_flow()\n"
    )
    (tmp_path / "desk.py").write_text(source, "utf-8")

    async def check() -> list[object]:
        flow, seen = login_flow(), list[object]()
        await flow.run(Order(), run_id="r", durable="graphorch.sqlite")
        value = Login(user="ada", token="tok-9f3a")
        result = await flow.send(
            "r", "login", value, durable="graphorch.sqlite", watch=[seen.append]
        )
        return [seen, result.svg(), result.steps, result.output]

    texts = asyncio.run(check())
    texts += [call("conversation", "r"), call("conversation", "r", "--full")]
    texts += [call("why", "desk.py", "r", "login"), call("why", "desk.py", "r", "greet")]
    texts += [call("runs", "show", "r"), call("runs", "show", "r", "--json")]
    texts += [call("timeline", "r")]
    assert [text for text in texts if "9f3a" in str(text)] == []
    assert "[hidden]" in call("conversation", "r")


def test_early_signal_explains_absence(shop: str) -> None:
    """A node that is not reached says that nothing waits for its signal, and what is kept."""
    from tests.scenarios.events.shop import held_flow

    with open("shop.py", "a", encoding="utf-8") as file:
        file.write("held = held_flow()\n")
    flow = held_flow()

    async def begin_and_send() -> None:
        await flow.run(Order(), run_id="r", durable="graphorch.sqlite")
        await flow.send("r", "paid", Payment(amount=1), durable="graphorch.sqlite")

    asyncio.run(begin_and_send())
    text = call("why", f"{shop}:held", "r", "paid")
    assert "nothing waits for the signal 'paid'; 1 such signal came before and is kept" in text


def test_statistics_count_no_waits() -> None:
    """The time of a wait is not among the latencies of nodes."""
    trace, _ = read(paid_log(paid_flow()))
    assert [span.node for span in trace.spans if span.kind == "node"] == ["ship_paid"]


def test_readers_know_loops_and_timers() -> None:
    """Each round of a loop has a wait of its own, and a timer ends its wait by itself."""
    trace, _ = read(paid_log(loop_flow(3)))
    assert [span.status for span in trace.spans if span.node == "paid"] == ["ok", "waiting"]

    async def run() -> RunLog:
        store = MemoryStore()
        await begin(timer_flow(30.0), store, clock)
        return await store.load("r")

    trace, _ = read(run_virtual(run()))
    (span,) = [span for span in trace.spans if span.node == "later"]
    assert (span.kind, span.status, json.dumps(span.seconds)[:2]) == ("wait", "ok", "30")
