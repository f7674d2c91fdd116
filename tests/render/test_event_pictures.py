"""Signals, timers and firsts in pictures: boxes of their own, lines, tooltips, and runs."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from graphorch import START, Flow, Graph
from graphorch.render.dot import to_dot
from graphorch.render.mermaid import to_mermaid
from graphorch.render.plan_picture import draw_plan
from graphorch.runs.drawing.run_picture import build_overlay
from tests.scenarios.events.shop import (
    Done,
    Order,
    Payment,
    State,
    first_flow,
    key_of,
    map_flow,
    remind,
    ship_paid,
)


def ring(order: Order) -> timedelta:
    return timedelta(hours=1)


def next_day(order: Order) -> datetime:
    return datetime(2030, 1, 2, tzinfo=UTC)


def timed(**time: Any) -> Flow[Order, Done, State]:
    graph = Graph("timed", State, input=Order, output=Done)
    return graph.chain(START, graph.timer("later", **time), remind).build()


def test_first_leads_to_its_events() -> None:
    """A first is a box of its own; all of its events are waited for, and the first one decides."""
    picture = draw_plan(first_flow().plan)
    boxes = {box.id: (box.kind, box.detail) for box in picture.boxes}
    assert boxes["decided"] == ("first", "first of 3")
    assert boxes["approve"] == ("ask", "asks for Verdict")
    assert boxes["paid"] == ("signal", "signal · Payment")
    assert boxes["later"] == ("timer", "after 3 days")
    ways = {(line.source, line.target): (line.kind, line.label) for line in picture.lines}
    assert ways["decided", "paid"] == ("always", "")
    assert ways["paid", "ship_paid"] == ("conditional", "if first")
    assert ways["approve", "ship"] == ("conditional", "if first")


@pytest.mark.parametrize(
    ("time", "text"),
    [
        ({"after": timedelta(days=3)}, "after 3 days"),
        ({"after": timedelta(minutes=90)}, "after 1 hour 30 minutes"),
        ({"after": timedelta(seconds=1.5)}, "after 1.5 s"),
        ({"at": datetime(2027, 1, 1, 9, tzinfo=UTC)}, "until 2027-01-01 09:00:00 UTC"),
        ({"after": ring}, "after ring"),
        ({"at": next_day}, "until next_day"),
        ({"after": lambda order: timedelta(hours=1)}, "after a computed time"),
    ],
    ids=["days", "hours", "seconds", "date", "function", "function of date", "lambda"],
)
def test_timer_says_when(time: dict[str, Any], text: str) -> None:
    """The second line of a timer is its duration, its date, or the function that returns one."""
    (box,) = [box for box in draw_plan(timed(**time).plan).boxes if box.kind == "timer"]
    assert box.detail == text


def test_signal_tooltip_names_its_options() -> None:
    """The tooltip of a signal says its key, how many are kept, and how long it is waited for."""
    graph = Graph("paid", State, input=Order, output=Done)
    paid = graph.signal("paid", Payment, keep=3, key=key_of, expires=86_400.0)
    flow = graph.chain(START, paid, ship_paid).build()
    (box,) = [box for box in draw_plan(flow.plan).boxes if box.kind == "signal"]
    assert box.tooltip.splitlines() == [
        "writes Payment",
        "with the key that key_of returns",
        "up to 3 kept that come early",
        "waited for 1 day",
    ]


def test_writers_know_events() -> None:
    """DOT and Mermaid have a shape for each kind."""
    picture = draw_plan(first_flow().plan)
    mermaid, dot = to_mermaid(picture), to_dot(picture)
    for part in ('{{"decided<br/>', '>"paid<br/>', '(["later<br/>', '|"if first"|'):
        assert part in mermaid
    assert "peripheries=2" in dot
    assert "after 3 days" in dot
    assert "paid (signal)" in dot


def test_run_picture_colours_events() -> None:
    """What waits is waiting, with a remark; once one has come, the others are withdrawn."""

    async def check() -> None:
        flow = first_flow()
        waiting = build_overlay((await flow.run(Order(), run_id="r")).record)
        states = {name: waiting.marks[name].status for name in ("decided", "approve", "paid")}
        assert states == {"decided": "done", "approve": "waiting", "paid": "waiting"}
        assert "paid waits for the signal 'paid'" in waiting.remarks
        assert any(text.startswith("later waits for its time, 20") for text in waiting.remarks)
        done = build_overlay((await flow.send("r", "paid", Payment(amount=3))).record)
        assert {(mark.status, mark.note) for mark in done.marks.values()} == {
            ("done", ""),
            ("cancelled", "withdrawn"),
        }

    asyncio.run(check())


def test_event_inside_map_is_drawn() -> None:
    """Inside a map a signal has its own box, and the drawing is the same each time."""
    flow = map_flow()
    picture = draw_plan(flow.plan)
    assert ("each/paid", "signal", "each") in [
        (box.id, box.kind, box.group) for box in picture.boxes
    ]
    assert flow.svg() == flow.svg()
    assert "signal" in flow.svg()
