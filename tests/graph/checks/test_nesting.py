"""Maps, sub-flows and questions whose two sides do not fit."""

from __future__ import annotations

from typing import Any

import pytest

from graphorch.graph.build import build_plan
from graphorch.graph.options import NodeSettings
from tests.graph.content import (
    Draft,
    Job,
    Notes,
    Report,
    Sketch,
    Topic,
    Verdict,
    dash,
    dig,
    jobs_of,
    judge,
    list_problems,
    maybe,
    note,
    notes_of,
    notes_of_some,
)


class Urgent(Job):
    hours: int = 1


def drafts_of(t: Topic) -> list[Draft]:
    return []


def urgent_of(t: Topic) -> tuple[Urgent, ...]:
    return ()


def one_of(t: Topic) -> Job:
    return Job(job="")


def from_drafts(results: list[Draft]) -> Notes:
    return Notes()


def to_draft(t: Topic) -> Draft:
    return Draft(draft="")


def to_topic(t: Topic) -> Topic:
    return t


def from_topic(t: Topic) -> Notes:
    return Notes()


def from_draft(d: Draft) -> Notes:
    return Notes()


def question(t: Topic) -> str:
    return "?"


INNER = build_plan(Sketch(output=Draft).chain(dash).spec)


def mapping(
    worker: Any = dig, over: Any = jobs_of, gather: Any = notes_of, **options: Any
) -> list[str]:
    sketch = Sketch()
    sketch.chain(sketch.map("digs", worker, over, gather, **options))
    return list_problems(sketch)


def nesting(enter: Any, leave: Any) -> list[str]:
    sketch = Sketch()
    sketch.chain(sketch.sub("team", INNER, enter, leave))
    return list_problems(sketch)


@pytest.mark.parametrize(
    "over", [jobs_of, urgent_of, lambda state: []], ids=["jobs", "a subclass", "a lambda"]
)
def test_map_items_matching_worker_are_fine(over: Any) -> None:
    """Items that the worker takes are fine."""
    assert mapping(over=over) == []


def test_map_items_of_other_type_are_refused() -> None:
    """Items of another type are refused."""
    assert mapping(over=drafts_of) == [
        "MAP_ITEMS at map 'digs': over 'drafts_of' returns items of Draft, but the "
        "worker takes Job\n    fix: return list[Job], or use another worker"
    ]


def test_over_must_return_list() -> None:
    """`over` must return a list."""
    assert mapping(over=one_of) == [
        "MAP_ITEMS at map 'digs': over 'one_of' returns Job, which is not a list\n    "
        "fix: return list[Job]"
    ]


def test_gather_must_take_worker_results() -> None:
    """`gather` must take what the worker writes."""
    assert mapping(gather=from_drafts) == [
        "MAP_RESULTS at map 'digs': gather 'from_drafts' takes list[Draft], but the "
        "worker writes Report\n    fix: take list[Report]"
    ]
    assert [line.split(",")[0] for line in mapping(gather=from_draft)] == [
        "MAP_RESULTS at map 'digs': gather 'from_draft' takes Draft"
    ]


def test_collect_needs_gather_with_missing() -> None:
    """`on_item_error="collect"` needs a `gather` that takes the missing items."""
    assert mapping(on_item_error="collect") == [
        "MAP_RESULTS at map 'digs': on_item_error=\"collect\", but gather 'notes_of' "
        "does not take the missing items\n"
        '    fix: add a second parameter, missing: list[Missing], or use on_item_error="skip"'
    ]
    assert mapping(on_item_error="collect", gather=notes_of_some) == []


@pytest.mark.parametrize("worker", [judge, maybe], ids=["two slices", "may write nothing"])
def test_worker_takes_item_and_gives_result(worker: Any) -> None:
    """A worker takes one item and gives one result."""
    assert mapping(worker)[0] == (
        f"MAP_WORKER at map 'digs': worker '{worker.name}' must read one item and always "
        "write one result\n"
        "    fix: let the item carry what else it needs, or use a flow as the worker"
    )


def test_worker_of_other_items_is_refused() -> None:
    """A worker of other items is refused."""
    assert mapping(dash)[0] == (
        "MAP_WORKER at map 'digs': the worker takes Topic, but an item is Job\n    fix: "
        "use a worker that takes the items, or items that it takes"
    )


def test_map_bounds_are_positive_numbers() -> None:
    """The bounds of a map are numbers from 1 on."""
    count = "    fix: give a whole number from 1 on"
    assert mapping(max_items=0, concurrency=True) == [
        f"MAP_OPTION at map 'digs': max_items=0 is not a bound\n{count}",
        f"MAP_OPTION at map 'digs': concurrency=True is not a bound\n{count}",
    ]
    assert mapping(need=5) == [
        "MAP_OPTION at map 'digs': need=5 is out of range for max_items=4\n    fix: give "
        "a number from 1 to 4"
    ]
    assert mapping(on_item_error="ignore") == [
        "MAP_OPTION at map 'digs': on_item_error='ignore' is not possible\n    fix: "
        'give "fail", "skip" or "collect"'
    ]


def test_map_quorum_refuses_once_effect() -> None:
    """A map that cancels items must not hold an effect that happens once."""
    once = type(dig)(dig.fn, dig.signature, name="dig", options=NodeSettings(effect="once"))
    assert mapping(once, need=2) == [
        "MAP_OPTION at map 'digs': need=2 may cancel 'dig', which has effect=\"once\"\n  "
        '  fix: let it finish with rest="finish", need all items, or move the effect after the map'
    ]
    assert mapping(once) == []
    assert mapping(once, need=2, rest="finish") == []


def test_map_rest_and_short_belong_to_need() -> None:
    """What becomes of the rest, and of too few results, is a word that need=k gives a meaning."""
    assert mapping(need=2, rest="stop", short="skip") == [
        "MAP_OPTION at map 'digs': rest='stop' is not possible\n    fix: "
        'give "cancel" or "finish"',
        "MAP_OPTION at map 'digs': short='skip' is not possible\n    fix: "
        'give "fail" or "fire"',
    ]
    assert mapping(rest="finish", short="fire") == [
        f"MAP_OPTION at map 'digs': {option} has no meaning without {needs}: all items are needed"
        f"\n    fix: give {needs}, or leave {option.partition('=')[0]} out"
        for option, needs in (('rest="finish"', "need or until"), ('short="fire"', "need"))
    ]


def test_enter_and_leave_must_fit_inner_flow() -> None:
    """`enter` and `leave` must fit the inner flow."""
    assert nesting(to_topic, from_draft) == []
    assert nesting(lambda state: None, lambda draft: None) == []
    assert nesting(to_draft, from_topic) == [
        "SUB_ENTER at sub 'team': enter 'to_draft' returns Draft, but flow 'content' "
        "takes Topic\n    fix: return a Topic",
        "SUB_LEAVE at sub 'team': leave 'from_topic' takes Topic, but flow 'content' "
        "gives Draft\n    fix: take a Draft",
    ]


def test_question_must_return_text() -> None:
    """A question must return text."""
    sketch = Sketch()
    sketch.chain(note, sketch.ask("ok", to_draft, Verdict))
    assert list_problems(sketch) == [
        "ASK_QUESTION at question of 'ok': 'to_draft' returns Draft, but a question is "
        "text\n    fix: return the str that the person should read"
    ]
    fine = Sketch()
    fine.chain(note, fine.ask("ok", question, Verdict))
    assert list_problems(fine) == []


def test_flow_worker_of_wrong_result_is_refused() -> None:
    """A flow as worker whose result does not fit is refused."""

    def gather(results: list[Report]) -> Notes:
        return Notes()

    sketch = Sketch()
    sketch.chain(sketch.map("digs", INNER, lambda state: [], gather))
    assert [line.splitlines()[0] for line in list_problems(sketch)] == [
        "MAP_RESULTS at map 'digs': gather 'gather' takes list[Report], but the worker writes Draft"
    ]
