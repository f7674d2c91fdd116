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
    maybe,
    note,
    notes_of,
    notes_of_some,
    said,
)


class Urgent(Job):
    hours: int = 1


def drafts_of(t: Topic) -> list[Draft]:
    return []


def urgent_of(t: Topic) -> tuple[Urgent, ...]:
    return ()


def one_of(t: Topic) -> Job:
    return Job(job="")


def from_drafts(found: list[Draft]) -> Notes:
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
    return said(sketch)


def nesting(enter: Any, leave: Any) -> list[str]:
    sketch = Sketch()
    sketch.chain(sketch.sub("team", INNER, enter, leave))
    return said(sketch)


@pytest.mark.parametrize(
    "over", [jobs_of, urgent_of, lambda state: []], ids=["jobs", "a subclass", "a lambda"]
)
def test_items_that_the_worker_takes_are_fine(over: Any) -> None:
    assert mapping(over=over) == []


def test_items_of_another_type_are_refused() -> None:
    assert mapping(over=drafts_of) == [
        "MAP_ITEMS at map 'digs': over 'drafts_of' returns items of Draft, but the worker takes Job\n    fix: return list[Job], or use another worker"
    ]


def test_over_must_return_a_list() -> None:
    assert mapping(over=one_of) == [
        "MAP_ITEMS at map 'digs': over 'one_of' returns Job, which is not a list\n    fix: return list[Job]"
    ]


def test_gather_must_take_what_the_worker_writes() -> None:
    assert mapping(gather=from_drafts) == [
        "MAP_RESULTS at map 'digs': gather 'from_drafts' takes list[Draft], but the worker writes Report\n    fix: take list[Report]"
    ]
    assert [line.split(",")[0] for line in mapping(gather=from_draft)] == [
        "MAP_RESULTS at map 'digs': gather 'from_draft' takes Draft"
    ]


def test_collecting_failures_needs_a_gather_that_takes_them() -> None:
    assert mapping(on_item_error="collect") == [
        "MAP_RESULTS at map 'digs': on_item_error=\"collect\", but gather 'notes_of' does not take the missing items\n"
        '    fix: add a second parameter, missing: list[Missing], or use on_item_error="skip"'
    ]
    assert mapping(on_item_error="collect", gather=notes_of_some) == []


@pytest.mark.parametrize("worker", [judge, maybe], ids=["two slices", "may write nothing"])
def test_a_worker_takes_one_item_and_gives_one_result(worker: Any) -> None:
    assert mapping(worker)[0] == (
        f"MAP_WORKER at map 'digs': worker '{worker.name}' must read one item and always write one result\n"
        "    fix: let the item carry what else it needs, or use a flow as the worker"
    )


def test_a_worker_of_other_items_is_refused() -> None:
    assert mapping(dash)[0] == (
        "MAP_WORKER at map 'digs': the worker takes Topic, but an item is Job\n    fix: use a worker that takes the items, or items that it takes"
    )


def test_the_bounds_of_a_map_are_numbers_from_1_on() -> None:
    count = "    fix: give a whole number from 1 on"
    assert mapping(max_items=0, concurrency=True) == [
        f"MAP_OPTION at map 'digs': max_items=0 is not a bound\n{count}",
        f"MAP_OPTION at map 'digs': concurrency=True is not a bound\n{count}",
    ]
    assert mapping(need=5) == [
        "MAP_OPTION at map 'digs': need=5 is out of range for max_items=4\n    fix: give a number from 1 to 4"
    ]
    assert mapping(on_item_error="ignore") == [
        'MAP_OPTION at map \'digs\': on_item_error=\'ignore\' is not possible\n    fix: give "fail", "skip" or "collect"'
    ]


def test_a_map_that_cancels_items_must_not_hold_an_effect_that_happens_once() -> None:
    once = type(dig)(dig.fn, dig.signature, name="dig", options=NodeSettings(effect="once"))
    assert mapping(once, need=2) == [
        "MAP_OPTION at map 'digs': need=2 may cancel 'dig', which has effect=\"once\"\n    fix: need all items, or move the effect after the map"
    ]
    assert mapping(once) == []


def test_enter_and_leave_must_fit_the_inner_flow() -> None:
    assert nesting(to_topic, from_draft) == []
    assert nesting(lambda state: None, lambda draft: None) == []
    assert nesting(to_draft, from_topic) == [
        "SUB_ENTER at sub 'team': enter 'to_draft' returns Draft, but flow 'content' takes Topic\n    fix: return a Topic",
        "SUB_LEAVE at sub 'team': leave 'from_topic' takes Topic, but flow 'content' gives Draft\n    fix: take a Draft",
    ]


def test_a_question_is_text() -> None:
    sketch = Sketch()
    sketch.chain(note, sketch.ask("ok", to_draft, Verdict))
    assert said(sketch) == [
        "ASK_QUESTION at question of 'ok': 'to_draft' returns Draft, but a question is text\n    fix: return the str that the person should read"
    ]
    fine = Sketch()
    fine.chain(note, fine.ask("ok", question, Verdict))
    assert said(fine) == []


def test_a_result_of_the_wrong_kind_in_a_flow_as_worker_is_refused() -> None:
    def gather(found: list[Report]) -> Notes:
        return Notes()

    sketch = Sketch()
    sketch.chain(sketch.map("digs", INNER, lambda state: [], gather))
    assert [line.splitlines()[0] for line in said(sketch)] == [
        "MAP_RESULTS at map 'digs': gather 'gather' takes list[Report], but the worker writes Draft"
    ]
