"""Values that go into a map or sub-flow, and come out of it, fit the other side's annotations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphorch.errors import Problem
from graphorch.graph.checks.annotations import (
    find_element,
    format_hint,
    is_clash,
    read_parameter,
    read_return,
)
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.checks.quorums import list_once
from graphorch.graph.edges import START_INDEX
from graphorch.graph.options import is_count
from graphorch.graph.plan import MapSpec, Plan, SubSpec
from graphorch.graph.spec import ENOUGH, GraphSpec

MAX_LEVELS = 100
"""Levels of flows inside each other: what describes, draws and estimates them is recursive."""
MAX_NODES = 100_000
"""Nodes of a graph with those of its sub-flows, each as often as it occurs."""


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """What does not fit between a graph and the flows inside it.

    `MAP_WORKER`, `MAP_ITEMS`, `MAP_RESULTS`, `MAP_UNTIL`, `MAP_GROW`, `MAP_OPTION`, `SUB_ENTER`,
    `SUB_LEAVE`, `ASK_QUESTION`, `NESTED_TOO_DEEPLY`, `TOO_MANY_NODES`, `RECURSION_BOUND` and
    `RECURSION_ENDLESS`.
    """
    for name, spec in graph.spec.maps.items():
        where = f"map '{name}'"
        yield from _check_worker(spec, where)
        yield from _check_items(spec, where)
        yield from _check_results(spec, where)
        yield from _check_until(spec, where)
        yield from _check_grow(spec, where)
        yield from _check_bounds(graph, spec, where)
    for name, sub in graph.spec.subs.items():
        yield from _check_sub(sub, f"sub '{name}'")
    yield from _check_extent(graph)
    yield from _check_recursion(graph)
    for name, ask in graph.spec.asks.items():
        text = read_return(ask.question.fn)
        if is_clash(text, str):
            what = f"'{ask.question.name}' returns {format_hint(text)}, but a question is text"
            yield Problem(
                "ASK_QUESTION",
                f"question of '{name}'",
                what,
                "return the str that the person should read",
            )


def _check_extent(graph: CheckedGraph) -> Iterator[Problem]:
    """Yield flows that are nested too deeply, or too often, for records and pictures."""
    size = len(graph.nodes)
    for where, flow in _list_flows(graph.spec):
        size += flow.size
        if flow.levels >= MAX_LEVELS:
            what = f"flow '{flow.name}' has {flow.levels} levels of flows inside each other already"
            fix = f"nest flows at most {MAX_LEVELS} levels deep: call what repeats in a loop"
            yield Problem("NESTED_TOO_DEEPLY", where, what, fix)
    if size > MAX_NODES:
        what = f"with those of its sub-flows, as often as they occur, it has {size:,} nodes"
        fix = f"at most {MAX_NODES:,} are possible: use a map over a list, or a loop"
        yield Problem("TOO_MANY_NODES", f"graph '{graph.spec.name}'", what, fix)


def _list_flows(spec: GraphSpec) -> list[tuple[str, Plan]]:
    """Return the flows inside of a graph, itself left out, each with the place of its node."""
    maps = ((f"map '{name}'", map_.flow) for name, map_ in spec.maps.items())
    subs = ((f"sub '{name}'", sub.flow) for name, sub in spec.subs.items())
    return [
        (where, flow) for where, flow in (*maps, *subs) if flow is not None and not flow.is_floor
    ]


def _check_recursion(graph: CheckedGraph) -> Iterator[Problem]:
    """Yield recursions without a bound that can be kept, and those that no way leads out of."""
    bounds = list_recursions(graph.spec)
    others = (flow.levels for _, flow in _list_flows(graph.spec))
    room = MAX_LEVELS - 1 - max(others, default=0)
    for name, bound in bounds.items():
        where = f"{graph.spec.nodes[name].kind} '{name}'"
        if not is_count(bound):
            what = f"max_depth={bound!r} is not a bound"
            fix = "give a whole number from 1 on: how often the flow may be inside itself"
            yield Problem("RECURSION_BOUND", where, what, fix)
        elif bound > room:
            what = f"max_depth={bound} nests flows more than {MAX_LEVELS} levels deep"
            yield Problem("NESTED_TOO_DEEPLY", where, what, f"give at most {room}")
    # A map that runs the flow ends where there are no items.
    always = [name for name in bounds if name in graph.spec.subs]
    if always and not _can_end(graph, {graph.number[name] for name in always}):
        yield Problem(
            "RECURSION_ENDLESS",
            f"graph '{graph.spec.name}'",
            "each way to END runs the graph again, in "
            f"{graph.named(graph.number[name] for name in always)}, so no run could end",
            "add a way that does not: a route past it, or on_error(…, when=RecursionLimit)",
        )


def _can_end(graph: CheckedGraph, recursive: set[int]) -> bool:
    """Return whether END can be reached if nodes that run the graph again can only fail.

    All edges of a choice must lead there, or with a `need=k` join any: the rest is cancelled.
    """
    analysis, end = graph.analysis, graph.topology.end
    enough = any if graph.quorums else all
    ending = {end}
    has_changed = True
    while has_changed:
        has_changed = False
        for node in reversed(analysis.order):
            if node in ending:
                continue
            choices = analysis.choices[node]
            if node in recursive:
                choices = [choice for choice in choices if choice[0].kind == "error"]
            if any(enough(edge.target in ending for edge in choice) for choice in choices):
                ending.add(node)
                has_changed = True
    return START_INDEX in ending


def list_recursions(spec: GraphSpec) -> dict[str, int]:
    """Return the nodes that run the graph itself, with their `max_depth` as it was given."""
    return {
        name: inner.max_depth
        for name, inner in (*spec.maps.items(), *spec.subs.items())
        if inner.flow is not None and inner.flow.is_floor
    }


def _check_worker(spec: MapSpec, where: str) -> Iterator[Problem]:
    if spec.worker is not None:
        given = spec.worker.signature
        if len(given.reads) != 1 or len(given.writes) != 1 or given.may_skip:
            what = f"worker '{spec.worker.name}' must read one item and always write one result"
            yield Problem(
                "MAP_WORKER",
                where,
                what,
                "let the item carry what else it needs, or use a flow as the worker",
            )
            return
        takes = given.reads[0].model
    else:
        takes = spec.flow.input if spec.flow is not None else None
    if is_clash(spec.item, takes):
        what = f"the worker takes {format_hint(takes)}, but an item is {format_hint(spec.item)}"
        yield Problem(
            "MAP_WORKER", where, what, "use a worker that takes the items, or items that it takes"
        )


def _check_items(spec: MapSpec, where: str) -> Iterator[Problem]:
    hint = read_return(spec.over.fn)
    items = find_element(hint)
    if hint is not None and items is None:
        what = f"over '{spec.over.name}' returns {format_hint(hint)}, which is not a list"
        yield Problem("MAP_ITEMS", where, what, f"return list[{format_hint(spec.item)}]")
    elif is_clash(items, spec.item):
        what = (
            f"over '{spec.over.name}' returns items of {format_hint(items)}, but the worker takes "
            f"{format_hint(spec.item)}"
        )
        yield Problem(
            "MAP_ITEMS",
            where,
            what,
            f"return list[{format_hint(spec.item)}], or use another worker",
        )


def _check_results(spec: MapSpec, where: str) -> Iterator[Problem]:
    takes = read_parameter(spec.gather, 0)
    results = find_element(takes)
    name = getattr(spec.gather, "__name__", "function")
    if (takes is not None and results is None) or is_clash(spec.result, results):
        result = format_hint(spec.result)
        what = f"gather '{name}' takes {format_hint(takes)}, but the worker writes {result}"
        yield Problem("MAP_RESULTS", where, what, f"take list[{result}]")
    if spec.on_item_error == "collect" and not spec.wants_missing:
        what = f"on_item_error=\"collect\", but gather '{name}' does not take the missing items"
        yield Problem(
            "MAP_RESULTS",
            where,
            what,
            'add a second parameter, missing: list[Missing], or use on_item_error="skip"',
        )


def _check_until(spec: MapSpec, where: str) -> Iterator[Problem]:
    if spec.until is None:
        return
    name = getattr(spec.until, "__name__", "function")
    takes, given = read_parameter(spec.until, 0), read_return(spec.until)
    results = find_element(takes)
    if (takes is not None and results is None) or is_clash(spec.result, results):
        result = format_hint(spec.result)
        what = f"until '{name}' takes {format_hint(takes)}, but the worker writes {result}"
        yield Problem("MAP_UNTIL", where, what, f"take list[{result}], the results so far")
    if is_clash(given, bool):
        what = f"until '{name}' returns {format_hint(given)}, which is neither True nor False"
        yield Problem("MAP_UNTIL", where, what, ENOUGH)


def _check_grow(spec: MapSpec, where: str) -> Iterator[Problem]:
    if spec.unique is not False and (spec.unique is not True or spec.grow is None):
        what = f"unique={spec.unique!r} is not possible here"
        yield Problem("MAP_OPTION", where, what, "give True for a map with grow=…, or leave it out")
    if spec.grow is None:
        return
    name, item = getattr(spec.grow, "__name__", "function"), format_hint(spec.item)
    takes, given = read_parameter(spec.grow, 0), read_return(spec.grow)
    items = find_element(given)
    takes_list = takes is not Any and find_element(takes) is not None
    if takes_list or is_clash(spec.result, takes):
        result = format_hint(spec.result)
        what = f"grow '{name}' takes {format_hint(takes)}, but the worker writes {result}"
        yield Problem("MAP_GROW", where, what, f"take one {result}")
    if (given is not None and items is None) or is_clash(items, spec.item):
        what = f"grow '{name}' returns {format_hint(given)}, but the worker takes {item}"
        yield Problem("MAP_GROW", where, what, f"return list[{item}], and [] to add nothing")


def _check_bounds(graph: CheckedGraph, spec: MapSpec, where: str) -> Iterator[Problem]:
    bounds = [("max_items", spec.max_items)]
    if spec.concurrency is not None:
        bounds.append(("concurrency", spec.concurrency))
    for option, value in bounds:
        if not is_count(value):
            yield Problem(
                "MAP_OPTION",
                where,
                f"{option}={value!r} is not a bound",
                "give a whole number from 1 on",
            )
    if spec.on_item_error not in ("fail", "skip", "collect"):
        yield Problem(
            "MAP_OPTION",
            where,
            f"on_item_error={spec.on_item_error!r} is not possible",
            'give "fail", "skip" or "collect"',
        )
    yield from _check_rest(spec, where)
    if spec.need is None and spec.until is None:
        return
    if spec.need is not None and (
        not is_count(spec.need) or (is_count(spec.max_items) and spec.need > spec.max_items)
    ):
        what = f"need={spec.need!r} is out of range for max_items={spec.max_items!r}"
        yield Problem("MAP_OPTION", where, what, f"give a number from 1 to {spec.max_items}")
    once = next(list_once(graph, spec, None), None)
    if once is not None and spec.rest == "cancel":
        option = "until" if spec.need is None else f"need={spec.need}"
        what = f"{option} may cancel '{once}', which has effect=\"once\""
        fix = 'let it finish with rest="finish", need all items, or move the effect after the map'
        yield Problem("MAP_OPTION", where, what, fix)


def _check_rest(spec: MapSpec, where: str) -> Iterator[Problem]:
    """Yield what is wrong with the options that say what follows from `need` and `until`."""
    for option, value, choices, has_meaning, needs in (
        (
            "rest",
            spec.rest,
            ("cancel", "finish"),
            spec.need is not None or spec.until is not None,
            "need or until",
        ),
        ("short", spec.short, ("fail", "fire"), spec.need is not None, "need"),
    ):
        first, second = choices
        if value not in choices:
            what, fix = f"{option}={value!r} is not possible", f'give "{first}" or "{second}"'
            yield Problem("MAP_OPTION", where, what, fix)
        elif value == second and not has_meaning:
            what = f'{option}="{value}" has no meaning without {needs}: all items are needed'
            yield Problem("MAP_OPTION", where, what, f"give {needs}, or leave {option} out")


def _check_sub(sub: SubSpec, where: str) -> Iterator[Problem]:
    given, taken = read_return(sub.enter.fn), read_parameter(sub.leave, 0)
    if is_clash(given, sub.flow.input):
        what = (
            f"enter '{sub.enter.name}' returns {format_hint(given)}, but flow '{sub.flow.name}' "
            f"takes {format_hint(sub.flow.input)}"
        )
        yield Problem("SUB_ENTER", where, what, f"return a {format_hint(sub.flow.input)}")
    if is_clash(sub.flow.output, taken):
        name = getattr(sub.leave, "__name__", "function")
        what = (
            f"leave '{name}' takes {format_hint(taken)}, but flow '{sub.flow.name}' gives "
            f"{format_hint(sub.flow.output)}"
        )
        yield Problem("SUB_LEAVE", where, what, f"take a {format_hint(sub.flow.output)}")
