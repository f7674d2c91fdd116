"""Maps, sub-flows and questions whose two sides do not fit."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from graphorch import Graph, GraphError, RecursionLimit, node
from graphorch.graph.build import build_plan
from graphorch.graph.options import NodeSettings
from tests.graph.content import (
    Content,
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


# ---- a graph inside itself -----------------------------------------------------------------------
def keep(draft: Draft) -> Draft:
    return draft


def is_short(topic: Topic) -> Literal["short", "long"]:
    return "short"


def jobs(topic: Topic) -> list[Topic]:
    return []


def first_of(drafts: list[Draft]) -> Draft:
    return drafts[0]


@node
def look(topic: Topic) -> None: ...


@node
def guess(topic: Topic) -> Draft:
    return Draft(draft="a guess")


def recursing(**bounds: Any) -> Graph[Content, Topic, Draft]:
    """Make a graph of one recursive node for each bound: maps are those called `each`."""
    graph = Graph("recursing", Content, input=Topic, output=Draft)
    for name, bound in bounds.items():
        itself = graph.itself(max_depth=bound)
        if name == "each":
            graph.map(name, itself, over=jobs, gather=first_of, max_items=2)
        else:
            graph.sub(name, itself, enter=to_topic, leave=keep)
    return graph


def list_build_problems(graph: Graph[Any, Any, Any]) -> list[str]:
    with pytest.raises(GraphError) as failed:
        graph.build()
    return [str(problem) for problem in failed.value.problems]


@pytest.mark.parametrize("bound", [0, -1, True, 2.5, None, "3"], ids=repr)
def test_recursion_needs_bound(bound: Any) -> None:
    """`max_depth` is a whole number from 1 on."""
    graph = recursing(deeper=bound)
    deeper = graph.spec.nodes["deeper"]
    graph.route(look, is_short).when("short", guess).when("long", deeper).exhaustive()
    assert list_build_problems(graph) == [
        f"RECURSION_BOUND at sub 'deeper': max_depth={bound!r} is not a bound\n    fix: give a "
        "whole number from 1 on: how often the flow may be inside itself"
    ]


def test_recursion_nests_no_deeper_than_flows() -> None:
    """A bound counts as levels of flows inside each other, of which there may be 100."""
    graph = recursing(deeper=99)
    deeper = graph.spec.nodes["deeper"]
    graph.route(look, is_short).when("short", guess).when("long", deeper).exhaustive()
    assert graph.build().plan.levels == 100
    graph = recursing(deeper=99)
    inner: Any = Graph("inner", Content, input=Topic, output=Draft).chain(guess).build()
    team = graph.sub("team", inner, enter=to_topic, leave=keep)
    deeper = graph.spec.nodes["deeper"]
    graph.route(look, is_short).when("short", team).when("long", deeper).exhaustive()
    assert list_build_problems(graph) == [
        "NESTED_TOO_DEEPLY at sub 'deeper': max_depth=99 nests flows more than 100 levels deep\n"
        "    fix: give at most 98"
    ]


ENDLESS = (
    "RECURSION_ENDLESS at graph 'recursing': each way to END runs the graph again, in {}, so no "
    "run could end\n    fix: add a way that does not: a route past it, or "
    "on_error(…, when=RecursionLimit)"
)


def test_recursion_without_way_out_is_refused() -> None:
    """A graph whose every way runs it again does not build, be there a fork or a route."""
    graph = recursing(deeper=3)
    graph.chain(look, graph.spec.nodes["deeper"])
    assert list_build_problems(graph) == [ENDLESS.format("'deeper'")]
    graph = recursing(deeper=3)
    graph.chain(look, [graph.spec.nodes["deeper"], note])
    assert list_build_problems(graph)[0] == ENDLESS.format("'deeper'")
    graph = recursing(left=3, right=2)
    left, right = graph.spec.nodes["left"], graph.spec.nodes["right"]
    graph.route(look, is_short).when("short", left).when("long", right).exhaustive()
    assert list_build_problems(graph) == [ENDLESS.format("'left' and 'right'")]


def test_recursion_with_way_out_builds() -> None:
    """A route past it, an error edge, or a map that may have no items are ways out."""
    graph = recursing(deeper=3)
    deeper = graph.spec.nodes["deeper"]
    graph.chain(look, deeper).on_error(deeper, guess, when=RecursionLimit)
    assert graph.build().warnings == ()
    graph = recursing(each=3)
    assert graph.chain(look, graph.spec.nodes["each"]).build().warnings == ()


def test_recursion_of_other_graph_is_refused() -> None:
    """The handle of another graph is refused: only a built flow can be inside of this one."""
    other = recursing()
    graph = recursing()
    deeper = graph.sub("deeper", other.itself(max_depth=2), enter=to_topic, leave=keep)
    graph.route(look, is_short).when("short", guess).when("long", deeper).exhaustive()
    assert list_build_problems(graph) == [
        "RECURSION_GRAPH at sub 'deeper': itself() is of another graph, 'recursing'\n    fix: call "
        "itself() of the graph that gets the node, or build the other graph and give its flow"
    ]


def test_recursion_that_bounds_nothing_is_named() -> None:
    """A bound within which millions of nodes may run is a warning, and beyond counting an error."""
    warned, refused = (list_excess(depth) for depth in (12, 40))
    assert warned == [
        "RECURSION_COST at map 'each', sub 'deeper': at worst, 2,391,483 activations run within "
        "its bounds\n    fix: lower max_depth, max_items of maps or bounds of loops, so that they "
        "say what may happen"
    ]
    assert "more than 10^15 activations" in refused[0]
    assert list_excess(5) == []


def list_excess(depth: int) -> list[str]:
    graph = recursing(each=depth, deeper=depth)
    each, deeper = graph.spec.nodes["each"], graph.spec.nodes["deeper"]
    graph.chain(each, deeper).on_error(deeper, guess)
    try:
        return [str(problem) for problem in graph.build().warnings]
    except GraphError as error:
        return [str(problem) for problem in error.problems]


def test_recursive_node_must_not_hold_what_it_waits_for() -> None:
    """A node that holds an exclusive region cannot run the graph again, which waits for it."""
    graph = recursing(deeper=3)
    deeper = graph.spec.nodes["deeper"]
    graph.route(look, is_short).when("short", guess).when("long", deeper).exhaustive()
    graph.exclusive("db", [deeper, guess])
    assert list_build_problems(graph) == [
        "EXCLUSIVE_DEADLOCK at exclusive region 'db': it can wait for itself for ever: 'deeper' "
        "holds 'db' while 'deeper/deeper' inside of it waits for 'db'\n    fix: leave the outer "
        "node out of its region, or give the region inside another name"
    ]


def test_recursive_need_must_not_cancel_effect() -> None:
    """A map that needs only some results of the graph itself may cancel no effect of it."""
    act: Any = node(effect="once", name="act")(guess.fn)
    graph = recursing()
    each = graph.map(
        "each", graph.itself(max_depth=2), over=jobs, gather=first_of, max_items=3, need=1
    )
    graph.route(look, is_short).when("short", act).when("long", each).exhaustive()
    assert list_build_problems(graph) == [
        "MAP_OPTION at map 'each': need=1 may cancel 'act', which has effect=\"once\"\n    fix: "
        'let it finish with rest="finish", need all items, or move the effect after the map'
    ]
