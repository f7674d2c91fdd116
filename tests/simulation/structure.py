"""Structure of a graph as the specification words it: edges, loop bodies, blockers, validity.

Derived from the blueprint alone, by path search, without the product's shape, analysis or plan: a
second opinion on all three.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import combinations
from typing import Any

from graphorch.graph.spec import GraphSpec, LoopSpec, RouteSpec


@dataclass(frozen=True, slots=True)
class Arc:
    """Edge by name. Two arcs are equal if all of this is equal."""

    source: str
    target: str
    kind: str  # always, routed, loop, exhausted, error
    labels: tuple[Any, ...] = ()
    loop: int = -1


@dataclass(slots=True)
class Structure:
    """Arcs of a blueprint, implicit ones included, and what follows from them."""

    blueprint: GraphSpec
    names: list[str]
    arcs: list[Arc]
    routes: dict[str, RouteSpec]
    loops: list[LoopSpec]
    # header -> its natural loop, over all its loop edges
    bodies: dict[str, frozenset[str]] = field(default_factory=dict)
    known: dict[tuple[str, str], bool] = field(default_factory=dict)
    out: dict[str, list[Arc]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for arc in self.arcs:
            self.out.setdefault(arc.source, []).append(arc)

    def add(self, arc: Arc) -> None:
        self.arcs.append(arc)
        self.out.setdefault(arc.source, []).append(arc)

    def leaving(self, node: str) -> list[Arc]:
        return self.out.get(node, [])

    def entering(self, node: str) -> list[Arc]:
        return [arc for arc in self.arcs if arc.target == node]

    def order(self, node: str) -> int:
        """Return the declaration index of a node."""
        return self.names.index(node) if node != "END" else len(self.names)

    def around(self, node: str) -> list[str]:
        """Return the headers whose body holds a node."""
        return [header for header, body in self.bodies.items() if node in body]

    def blocks(self, position: str, node: str) -> bool:
        """Return whether a live node can still bring another one a token of the same iteration."""
        if (position, node) not in self.known:
            self.known[position, node] = position != node and self._leads(position, node)
        return self.known[position, node]

    def latch_blocks(self, header: str, node: str) -> bool:
        """Return whether a token in a latch can still bring `node` one of its iteration."""
        return node not in self.bodies[header] and self.blocks(header, node)

    def _leads(self, position: str, node: str) -> bool:
        closed = [header for header in self.around(node) if header != node]
        seen: set[str] = set()
        pending = [position]
        while pending:
            here = pending.pop()
            for arc in self.leaving(here):
                if arc.kind == "loop" and arc.target in closed:
                    continue
                if arc.target == node:
                    return True
                if arc.target not in seen:
                    seen.add(arc.target)
                    pending.append(arc.target)
        return False

    def together(self, left: Arc, right: Arc) -> bool:
        """Return whether a commit of their common source can take both arcs."""
        if {left.kind, right.kind} & {"loop", "exhausted", "error"}:
            return False
        if left.kind == right.kind == "routed":
            if left.source in self.blueprint.firsts:
                return False  # of several events, one alone comes
            return self.routes[left.source].is_multi or bool({*left.labels} & {*right.labels})
        return True

    def reached(self, start: Iterable[str], *, without: Iterable[str] = ()) -> set[str]:
        """Return the nodes on paths from `start` that pass none of `without`."""
        barred = {*without}
        pending = [node for node in start if node not in barred]
        seen = {*pending}
        while pending:
            for arc in self.leaving(pending.pop()):
                if arc.target not in seen and arc.target not in barred:
                    seen.add(arc.target)
                    pending.append(arc.target)
        return seen


def structure_of(blueprint: GraphSpec) -> Structure:
    """Return the structure of a blueprint, implicit arcs included."""
    names = [name for name in blueprint.nodes if name not in ("START", "END")]
    arcs = [Arc(source, target, "always") for source, target in dict.fromkeys(blueprint.edges)]
    routes = {route.source: route for route in blueprint.routes}
    for route in blueprint.routes:
        cases = [
            *route.cases,
            *((label, route.otherwise) for label in rest_of(route) if route.otherwise is not None),
        ]
        targets = dict.fromkeys(target for _, case in cases for target in case)
        arcs += [
            Arc(
                route.source,
                target,
                "routed",
                tuple(label for label, case in cases if target in case),
            )
            for target in targets
        ]
    arcs += [
        Arc(name, event, "routed", (event,))
        for name, events in blueprint.firsts.items()
        for event in events
    ]
    for number, loop in enumerate(blueprint.loops):
        for source in dict.fromkeys(loop.sources):
            arcs.append(Arc(source, loop.header, "loop", (), number))
            if loop.exhausted_is_node:
                arcs.append(Arc(source, loop.exhausted, "exhausted", (), number))
    arcs += [Arc(error.source, error.handler, "error", error.when) for error in blueprint.errors]
    made = Structure(blueprint, names, arcs, routes, list(blueprint.loops))
    _add_implicit(made)
    for loop in blueprint.loops:
        made.bodies[loop.header] = _body(made, loop.header)
    return made


def rest_of(route: RouteSpec) -> list[Any]:
    """Return the labels that `otherwise` stands for."""
    return [
        label for label in route.labels or () if label not in [named for named, _ in route.cases]
    ]


def activation_key(path: str, consumed: Iterable[tuple[str, str, str, int]]) -> str:
    """Return a key of an activation: its path, and the tokens that it consumed.

    A token is the key of its source, target, kind and loop.
    """
    return f"{path}#{blake2b(repr(sorted(consumed)).encode(), digest_size=8).hexdigest()}"


def _add_implicit(made: Structure) -> None:
    starts = [name for name in made.names if all(arc.kind == "loop" for arc in made.entering(name))]
    for name in starts:
        made.add(Arc("START", name, "always"))
    bare = [
        name
        for name in made.names
        if all(arc.kind in ("loop", "error") for arc in made.leaving(name))
    ]
    for name in bare:
        if all(
            source in bare for loop in made.loops if name in loop.sources for source in loop.sources
        ):
            made.add(Arc(name, "END", "always"))


def _body(made: Structure, header: str) -> frozenset[str]:
    sources = [source for loop in made.loops if loop.header == header for source in loop.sources]
    return frozenset(
        {header}
        | {
            name
            for name in made.names
            if name != header and made.reached([name], without=[header]) & {*sources}
        }
    )


# ---- what makes a graph valid ------------------------------------------------------------------
def mistakes(made: Structure) -> Iterator[str]:
    """Yield why a graph must not be run. Slow: simple paths are enumerated."""
    forward = Structure(
        made.blueprint,
        made.names,
        [arc for arc in made.arcs if arc.kind != "loop"],
        made.routes,
        [],
    )
    reachable = made.reached(["START"])
    for name in made.names:
        if name in forward.reached(arc.target for arc in forward.leaving(name)):
            yield f"undeclared cycle through {name}"
        if name not in reachable:
            yield f"{name} is unreachable"
        if "END" not in forward.reached([name]):
            yield f"{name} has no way to END"
    for loop in made.loops:
        for source in loop.sources:
            if source != loop.header and source in made.reached(["START"], without=[loop.header]):
                yield f"the loop {source} → {loop.header} has two entries"
            if not any(arc.kind in ("always", "routed") for arc in made.leaving(source)):
                yield f"the loop source {source} cannot stop"
        if loop.exhausted_is_node and loop.exhausted in made.bodies[loop.header]:
            yield f"the exhausted node {loop.exhausted} is inside its loop"
    for header in made.bodies:
        if _leaks(made, header):
            yield f"the loop of {header} leaks"
    for join in made.blueprint.joins:
        if isinstance(join.need, int) and region_of(made, join.node) is None:
            yield f"{join.node} has no region"


def _leaks(made: Structure, header: str) -> bool:
    """Return whether disjoint paths from two arcs lead to a loop source and out of the body."""
    body = made.bodies[header]
    sources = {source for loop in made.loops if loop.header == header for source in loop.sources}
    for node in body:
        for item, other in combinations(
            [arc for arc in made.leaving(node) if arc.kind != "loop"], 2
        ):
            if made.together(item, other) and (
                _escapes(made, body, sources, header, item, other)
                or _escapes(made, body, sources, header, other, item)
            ):
                return True
    return False


def _escapes(
    made: Structure, body: frozenset[str], sources: set[str], header: str, back: Arc, out: Arc
) -> bool:
    """Return whether a path from `back` to a source leaves a disjoint one from `out` outside."""
    if back.target not in body or back.target == header:
        return False
    if out.target not in body:
        return bool(made.reached([back.target], without=[header]) & sources)
    return any(
        _leaves(made, body, out.target, {header, *path})
        for path in _paths(made, body - {header}, back.target, sources)
    )


def _leaves(made: Structure, body: frozenset[str], start: str, barred: set[str]) -> bool:
    if start in barred:
        return False
    inside = made.reached([start], without=barred)
    return any(name not in body for name in inside)


def _paths(
    made: Structure, within: frozenset[str], start: str, goals: set[str]
) -> Iterator[tuple[str, ...]]:
    """Yield every simple path inside `within` from a node to a goal."""
    pending: list[tuple[str, ...]] = [(start,)] if start in within else []
    while pending:
        path = pending.pop()
        if path[-1] in goals:
            yield path
        pending += [
            (*path, arc.target)
            for arc in made.leaving(path[-1])
            if arc.target in within and arc.target not in path
        ]


def region_of(made: Structure, join: str) -> frozenset[str] | None:
    """Return the nodes between a `need=k` join and its dominator, or None if not a region."""
    dominators = [
        name
        for name in made.names
        if name != join and join not in made.reached(["START"], without=[name])
    ]
    nearest = next(
        (
            dominator
            for dominator in dominators
            if all(
                other == dominator or dominator not in made.reached(["START"], without=[other])
                for other in dominators
            )
        ),
        None,
    )
    if nearest is None:
        return None
    between = {
        name
        for name in made.reached(
            [arc.target for arc in made.leaving(nearest)], without=[join, nearest]
        )
        if name != "END"
    }
    between = {name for name in between if join in made.reached([name], without=[nearest])}
    for arc in made.arcs:
        if arc.target in between and arc.source not in {*between, nearest}:
            return None
        if arc.source in between and arc.target not in {*between, join}:
            return None
        if arc.source in between and arc.kind == "loop" and join in made.bodies[arc.target]:
            return None
        if arc.target == join and arc.source not in {*between, nearest}:
            return None
    return frozenset(between)
