"""Check that no two holders of exclusive regions can wait for each other, each inside itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import TypeAlias

from graphorch.errors import Problem
from graphorch.graph.plan import Plan, list_flows_inside
from graphorch.graph.spec import GraphSpec

Orders: TypeAlias = dict[tuple[str, str], tuple[str, str]]
"""By outer and inner region: a node that holds the first, and one inside that needs the second."""

_FIX = "leave the outer node out of its region, or give the region inside another name"


def check_circles(spec: GraphSpec) -> Iterator[Problem]:
    """Yield `EXCLUSIVE_DEADLOCK`: regions in a circle, each held while the next is waited for."""
    orders = _find_orders(spec)
    inside: dict[str, list[str]] = {}
    for outer, inner in sorted(orders):
        inside.setdefault(outer, []).append(inner)
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        # The sorter names them from the inner to the outer ones.
        circle = list(pairwise(reversed(error.args[1])))
        yield _build_deadlock([(*pair, *orders[pair]) for pair in circle])


def _build_deadlock(circle: Sequence[tuple[str, str, str, str]]) -> Problem:
    waits = [
        f"'{holder}' holds '{outer}' while '{path}' inside of it waits for '{inner}'"
        for outer, inner, holder, path in circle
    ]
    what = f"it can wait for itself for ever: {', and '.join(waits)}"
    return Problem("EXCLUSIVE_DEADLOCK", f"exclusive region '{circle[0][0]}'", what, _FIX)


def _find_orders(spec: GraphSpec) -> Orders:
    """Return which regions are held while which others are waited for, with an example of each."""
    orders: Orders = {}
    for node in spec.nodes.values():
        if node.kind == "node":
            continue
        own = [region.name for region in spec.exclusives if node.name in region.nodes]
        for flow in list_flows_inside(node, find_flow(spec, node.name)):
            if flow.is_floor:
                # It runs the graph itself, and so each region of it.
                for region in spec.exclusives:
                    pairs = ((outer, region.name) for outer in own)
                    path = f"{node.name}/{next(iter(region.nodes), '')}"
                    orders.update({pair: (node.name, path) for pair in pairs if pair not in orders})
            for outer in own:
                for name in sorted(flow.exclusive):
                    path = f"{node.name}/{_find_member(flow, name)}"
                    orders.setdefault((outer, name), (node.name, path))
            for pair in sorted(flow.exclusive_orders):
                holder, path = _find_pair(flow, pair)
                orders.setdefault(pair, (f"{node.name}/{holder}", f"{node.name}/{path}"))
    return orders


def find_flow(spec: GraphSpec, name: str) -> Plan | None:
    """Return the flow of a map or sub-flow; None for other nodes, and for a map of a node."""
    map_, sub = spec.maps.get(name), spec.subs.get(name)
    if map_ is not None:
        return map_.flow
    return sub.flow if sub is not None else None


def _find_member(plan: Plan, name: str) -> str:
    """Return the path of a node of a region, which the flow or one inside of it has."""
    for step in plan.steps:
        if name in step.exclusive:
            return step.name
        for flow in list_flows_inside(step.node, step.inner_plan):
            if name in flow.exclusive:
                return f"{step.name}/{_find_member(flow, name)}"
    return name


def _find_pair(plan: Plan, pair: tuple[str, str]) -> tuple[str, str]:
    """Return the paths of a node that holds the first region, and of one inside for the second."""
    outer, inner = pair
    for step in plan.steps:
        for flow in list_flows_inside(step.node, step.inner_plan):
            if outer in step.exclusive and inner in flow.exclusive:
                return step.name, f"{step.name}/{_find_member(flow, inner)}"
            if pair in flow.exclusive_orders:
                holder, path = _find_pair(flow, pair)
                return f"{step.name}/{holder}", f"{step.name}/{path}"
    return pair
