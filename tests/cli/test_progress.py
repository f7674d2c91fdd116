"""Events add up to what a run is doing."""

from __future__ import annotations

from graphorch.cli.progress import Progress, format_usage
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
