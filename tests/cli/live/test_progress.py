"""Events add up to what a run is doing."""

from __future__ import annotations

import pytest

from graphorch.cli.live.progress import Progress, format_items, format_usage
from graphorch.engine import events


def called(path: str, usd: float, source: str = "table") -> events.ModelCalled:
    return events.ModelCalled(path, path, "m", 100, 20, usd, source, 0.5, "")


def test_node_adds_up_over_visits() -> None:
    """A node adds up over its activations."""
    progress = Progress(clock=lambda: 10.0)
    for at in (10.0, 12.0):
        progress.feed(events.Started("write", "write", 1, at))
        progress.feed(called("write", 0.25))
        progress.feed(events.Committed("write", "write", {}, ("review",), 1.5, at + 1.5))
    row = progress.rows["write"]
    assert (row.status, row.visits, row.calls, row.tokens, row.usd, row.seconds) == (
        "done",
        2,
        2,
        240,
        0.5,
        3.0,
    )


def test_event_decides_status() -> None:
    """Each event leads to its status."""
    progress = Progress()
    for event, status in (
        (events.Started("a", "a", 1, 0.0), "running"),
        (events.Failed("a", "a", 1, "no", 0.5, False, 0.0), "running"),
        (events.Failed("a", "a", 2, "no", None, False, 0.0), "failed"),
        (events.Skipped("a", "a", "no"), "skipped"),
        (events.Cancelled("a", "a", "no"), "cancelled"),
        (events.QuestionAsked("a", "a", "?"), "waiting"),
        (events.Committed("a", "a", {}, (), 0.0, 0.0), "done"),
    ):
        progress.feed(event)
        assert progress.rows["a"].status == status


def test_long_answer_keeps_tail() -> None:
    """Only the end of a long answer is kept."""
    progress = Progress()
    for number in range(1000):
        progress.feed(events.TextDelta("a", "a", f" {number}"))
    assert progress.rows["a"].tail.endswith(" 999")
    assert len(progress.rows["a"].tail) == 200


def test_total_notes_unknown_price() -> None:
    """The total says if the price of a call is unknown."""
    progress = Progress()
    progress.feed(called("a", 0.25))
    assert format_usage(progress.total) == "1 call, 120 tokens, $0.2500"
    progress.feed(called("b", 0.0, "none"))
    assert format_usage(progress.total) == "2 calls, 240 tokens, $0.2500 and calls of unknown price"


def test_no_call_has_no_usage() -> None:
    """A node that called no model used nothing."""
    progress = Progress()
    progress.feed(events.Started("a", "a", 1, 0.0))
    assert format_usage(progress.total) == ""


# ---- maps ----------------------------------------------------------------------------------------
def start_map(count: int) -> Progress:
    progress = Progress(clock=lambda: 14.0)
    progress.feed(events.Started("dig", "dig", 1, 10.0))
    progress.feed(events.Expanded("dig", "dig", count, 10.0))
    for index in range(count):
        progress.feed(events.Started(f"dig[{index}]/work", "work", 1, 10.0))
    return progress


def test_large_map_has_one_row() -> None:
    """The items of a large map have one row, with what they spent; few items have their own."""
    progress = start_map(50)
    progress.feed(called("dig[3]/work", 0.25))
    progress.feed(called("dig[4]/deep[1]/x", 0.5))
    assert list(progress.rows) == ["dig"]
    assert (progress.total.calls, progress.total.usd) == (2, 0.75)
    assert list(start_map(2).rows) == ["dig", "dig[0]/work", "dig[1]/work"]


def test_growing_map_has_one_row() -> None:
    """A map that may grow counts its items from the first one on, and so those that it grew."""
    progress = Progress(clock=lambda: 14.0)
    progress.feed(events.Started("dig", "dig", 1, 10.0))
    progress.feed(events.Expanded("dig", "dig", 1, 10.0, grows=True))
    progress.feed(events.Committed("dig[0]/work", "work", {}, ("END",), 1.0, 11.0))
    progress.feed(events.Expanded("dig", "dig", 3, 11.0, grows=True))
    progress.feed(events.Committed("dig[0.1]/work", "work", {}, ("END",), 1.0, 12.0))
    items = progress.rows["dig"].items
    assert items is not None
    assert list(progress.rows) == ["dig"]
    assert format_items(items, 14.0).startswith("2/3 items")


def test_map_counts_its_items() -> None:
    """An item counts when it reaches its end, not when a node or an inner flow of it does."""
    progress = start_map(50)
    items = progress.rows["dig"].items
    assert items is not None
    for path, to in (("dig[1]/work", "more"), ("dig[1]/team/x", "END"), ("dig[1]/in[0]/x", "END")):
        progress.feed(events.Committed(path, "x", {}, (to,), 1.0, 11.0))
    assert items.ended == 0
    progress.feed(events.Committed("dig[1]/more", "more", {}, ("END",), 1.0, 12.0))
    assert items.ended == 1


def test_failed_items_are_counted_apart() -> None:
    """An item that failed has ended, too; one that is tried again has not, and may end well."""
    progress = start_map(50)
    items = progress.rows["dig"].items
    assert items is not None
    progress.feed(events.Failed("dig[1]/work", "work", 1, "no", 0.5, False, 11.0))
    progress.feed(events.Failed("dig[2]/work", "work", 1, "no", None, True, 11.0))
    assert format_items(items, 14.0) == "0/50 items"
    progress.feed(events.Failed("dig[1]/work", "work", 2, "no", None, False, 12.0))
    progress.feed(events.QuestionAsked("dig[3]/ask", "ask", "?"))
    assert format_items(items, 14.0) == "1/50 items, 1 failed, 1 waiting, 0.25/s, 196 s left"


@pytest.mark.parametrize(
    ("done", "text"),
    [(0, "0/50 items"), (20, "20/50 items, 5/s, 6 s left"), (50, "50/50 items")],
)
def test_map_promises_its_end(done: int, text: str) -> None:
    """The rate so far promises when the rest is done; before the first item nothing does."""
    progress = start_map(50)
    for index in range(done):
        progress.feed(events.Committed(f"dig[{index}]/work", "work", {}, ("END",), 1.0, 12.0))
    items = progress.rows["dig"].items
    assert items is not None
    assert format_items(items, 14.0) == text


# ---- time ----------------------------------------------------------------------------------------
def test_stopped_nodes_keep_their_time() -> None:
    """A node that failed or was stopped shows how long it ran, earlier attempts included."""
    progress = Progress(clock=lambda: 14.0)
    progress.feed(events.Started("a", "a", 1, 10.0))
    progress.feed(events.Cancelled("a", "a", "interrupted"))
    progress.feed(events.Started("b", "b", 1, 10.0))
    progress.feed(events.Failed("b", "b", 1, "no", 0.5, False, 11.0))
    progress.feed(events.Started("b", "b", 2, 11.5))
    progress.feed(events.Failed("b", "b", 2, "no", None, False, 13.0))
    rows = progress.rows
    assert (rows["a"].seconds, rows["a"].remark) == (4.0, "interrupted")
    assert (rows["b"].seconds, rows["b"].status) == (3.0, "failed")


def test_calls_of_tools_are_no_steps() -> None:
    """A call of a tool has a row, and is no step; its agent waits where only people can go on."""
    progress = Progress(clock=lambda: 10.0)
    path = "write/r1/send#0"
    progress.feed(events.Started("write", "write", 1, 1.0))
    progress.feed(events.Started(path, "send#0", 1, 2.0, tool="send"))
    told = {"outcome": "failed", "text": "Error: no"}
    progress.feed(events.Committed(path, "send#0", told, (), 1.0, 3.0, tool="send"))
    progress.feed(events.Ended("waiting", "waiting", "r", 5.0))
    row = progress.rows[path]
    assert (row.name, row.status, row.remark, progress.total.visits) == (
        "r1/send#0",
        "done",
        "error told",
        0,
    )
    assert (progress.rows["write"].status, progress.rows["write"].seconds) == ("waiting", 4.0)
