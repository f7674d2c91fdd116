"""The checks of `build()`: each module proves one thing about a graph, or says where it is wrong and how to fix it.

A check is a function from a `Subject` to its problems. None stops at the first, none needs another to have passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from graphorch.errors import Problem
from graphorch.graph.checks import (
    assignment,
    error_edges,
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
from graphorch.graph.checks.subject import CheckedGraph
from graphorch.graph.edges import Topology
from graphorch.graph.spec import GraphSpec

Check = Callable[[CheckedGraph], Iterable[Problem]]

CHECKS: tuple[Check, ...] = (
    names.check,
    slices.check,
    reachability.check,
    routes.check,
    loops.check,
    loop_leaks.check,
    error_edges.check,
    joins.check,
    quorums.check,
    options.check,
    nesting.check,
    assignment.check,
    races.check,
    unused_fields.check,
    memory.check,
)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What the checks found. `regions` gives for each `need=k` join the nodes between its immediate dominator and it."""

    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]
    regions: Mapping[int, frozenset[int]]


def check(blueprint: GraphSpec, shape: Topology) -> CheckResult:
    """Everything that is wrong with a graph, or suspicious about it, in a stable order; each thing once."""
    subject = CheckedGraph(blueprint, shape)
    found = dict.fromkeys(blueprint.problems)
    for item in CHECKS:
        found.update(dict.fromkeys(item(subject)))
    problems = tuple(problem for problem in found if problem.severity == "error")
    warnings = tuple(problem for problem in found if problem.severity != "error")
    return CheckResult(problems, warnings, quorums.regions(subject))
