"""Checks of `build()`: each module proves one property of a graph.

Otherwise it reports where the graph is wrong and how to fix it.

A check is a function from a `CheckedGraph` to its problems. No check stops at its first problem,
and none relies on another one having passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from graphorch.errors import Problem
from graphorch.graph.checks import (
    assignment,
    early_reads,
    error_edges,
    events,
    joins,
    loop_leaks,
    loops,
    memory,
    names,
    nesting,
    options,
    quorums,
    races,
    reachability,
    routes,
    slices,
    unused_fields,
)
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.checks.early_ends import cancel_on
from graphorch.graph.checks.effects import undos
from graphorch.graph.edges import MarkedFlow, Topology
from graphorch.graph.exclusive.regions import check_regions
from graphorch.graph.information_flow.analysis import prove_flow
from graphorch.graph.spec import GraphSpec
from graphorch.graph.topology import build_topology

Check = Callable[[CheckedGraph], Iterable[Problem]]

CHECKS: tuple[Check, ...] = (
    names.check,
    slices.check,
    reachability.check,
    routes.check,
    loops.check,
    options.check_returns,
    loop_leaks.check,
    error_edges.check,
    joins.check,
    quorums.check,
    events.check,
    options.check,
    undos.check,
    nesting.check,
    cancel_on.check,
    assignment.check,
    races.check,
    unused_fields.check,
    early_reads.check,
    memory.check,
)
# A node that is not connected would run beside all others: what these would find follows from it.
ORDER_CHECKS = (assignment.check, races.check, unused_fields.check, early_reads.check)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of all checks.

    `regions` gives for each `need=k` join the nodes between its immediate dominator and it, and
    `marked` where marked values are, if there are any.
    """

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    regions: Mapping[int, frozenset[int]]
    marked: MarkedFlow | None


def check(spec: GraphSpec, topology: Topology) -> CheckResult:
    """Return all errors and warnings about a graph, in a stable order and without repetition."""
    graph = CheckedGraph(spec, topology)
    connected = _drop_unconnected(graph)
    everything = dict.fromkeys(spec.problems)  # an ordered set
    for run_check in CHECKS:
        checked = connected if run_check in ORDER_CHECKS else graph
        everything.update(dict.fromkeys(run_check(checked)))
    everything.update(dict.fromkeys(check_regions(spec)))
    marked, flow_problems = prove_flow(connected.spec, connected.topology, connected.analysis)
    everything.update(dict.fromkeys(flow_problems))
    problems = tuple(problem for problem in everything if problem.severity == "error")
    warnings = tuple(problem for problem in everything if problem.severity != "error")
    return CheckResult(problems, warnings, graph.regions, marked)


def _drop_unconnected(graph: CheckedGraph) -> CheckedGraph:
    """Return the graph without the nodes that nothing connects; itself if there are none."""
    spec = graph.spec
    left_out = set(graph.topology.names) - spec.connected
    if not left_out:
        return graph

    def keep(declared: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in declared.items() if name not in left_out}

    fewer = replace(
        spec,
        nodes=keep(spec.nodes),
        maps=keep(spec.maps),
        subs=keep(spec.subs),
        asks=keep(spec.asks),
        events=keep(spec.events),
        firsts=keep(spec.firsts),
    )
    return CheckedGraph(fewer, build_topology(fewer))
