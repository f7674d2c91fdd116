"""Proof that no marked value gets where its mark forbids it, with the flows inside of a graph.

A flow inside another one is looked at as it is used there: its input is marked if the function that
makes it reads a marked value. So each flow is looked at a few times at most, once for each answer
to "is its input marked?" and "do untrusted values decide whether it runs?". A graph that runs
itself is one graph at every level: what it gives back is the least fixed point of what it gives
itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from graphorch.errors import Problem
from graphorch.graph.analysis import Analysis
from graphorch.graph.edges import START_INDEX, MarkedFlow, Topology
from graphorch.graph.information_flow.inspected_graph import (
    MARKS,
    InspectedGraph,
    InspectedNode,
    find_tools,
    inspect_plan,
    inspect_spec,
    inspect_worker,
)
from graphorch.graph.information_flow.paths import PathFinder, Place, Reason
from graphorch.graph.information_flow.problems import Report, list_unseen
from graphorch.graph.information_flow.propagation import Propagation
from graphorch.graph.plan import MapSpec, Plan
from graphorch.graph.spec import GraphSpec
from graphorch.state.marks import NO_MARKS, MarkName, Marks, find_field_marks, find_marks

Usage = tuple[Marks, bool]
"""How a flow is used: the marks of its input, and whether untrusted values decide that it runs."""
_SpreadKey = tuple[int, MarkName, bool, bool, bool]
_ALONE: Usage = (NO_MARKS, False)


def prove_flow(
    spec: GraphSpec, topology: Topology, analysis: Analysis
) -> tuple[MarkedFlow | None, list[Problem]]:
    """Return where the marked values of a graph are, and the problems with them.

    None for a graph without marks, which costs a look at the types of its fields.
    """
    if not _has_marks(spec):
        return None, []
    graph = inspect_spec(spec, topology, analysis)
    prover = _Prover()
    prover.adopt(graph)
    problems = list(prover.find_problems(graph, _ALONE, {}, ""))
    return prover.collect(graph, _ALONE), problems


def _has_marks(spec: GraphSpec) -> bool:
    """Return whether anything in a graph declares a mark: a field, a tool, or a flow inside."""
    if any(find_field_marks(info) for info in spec.fields.values()):
        return True
    nodes = [*spec.nodes.values()]
    nodes += [map_.worker for map_ in spec.maps.values() if map_.worker is not None]
    # What a server of tools returns is untrusted by default; that alone marks no graph.
    if any(tool.declares_untrusted for node in nodes for tool in find_tools(node)):
        return True
    if any(find_marks(map_.item) or find_marks(map_.result) for map_ in spec.maps.values()):
        return True
    flows = [sub.flow for sub in spec.subs.values()]
    flows += [map_.flow for map_ in spec.maps.values() if map_.flow is not None]
    return any(flow.marked is not None for flow in flows)


class _Prover:
    """Looks at graphs inside each other; what it has found of one it keeps."""

    def __init__(self) -> None:
        self._graphs: dict[int, InspectedGraph] = {}
        self._spreads: dict[_SpreadKey, Propagation] = {}
        self._asking: dict[int, bool] = {}
        self._marked: dict[tuple[int, Usage], MarkedFlow] = {}
        self._reported: set[tuple[int, Usage]] = set()
        self._known_problems: set[tuple[int, str, str]] = set()
        # What is looked at is kept, so that no other object gets its identity meanwhile.
        self._kept: list[Plan | MapSpec | InspectedGraph] = []

    # ---- what is inside of a node (`Inside`) -----------------------------------------------------
    def gives(
        self, inspected: InspectedNode, mark: MarkName, *, is_given: bool, is_decided: bool
    ) -> bool:
        """Return whether a node gives back marked values, if it is given some or is decided."""
        if inspected.inner is None:
            return False
        graph = self._inspect(inspected.inner)
        spread = self._spread(graph, mark, is_given=is_given, is_decided=is_decided).spread
        if spread.arriving[graph.topology.end] & graph.output:
            return True
        if not inspected.kept:
            return False
        # A signal may end it at any moment, with what is there then.
        somewhere = spread.start
        for mask in spread.leaving:
            somewhere |= mask
        return not inspected.kept.isdisjoint(graph.list_fields(somewhere))

    def asks(self, inspected: InspectedNode) -> bool:
        """Return whether a person decides inside of a sub-flow, whatever way is taken."""
        inner = inspected.inner
        if not isinstance(inner, Plan) or inspected.node.kind != "sub":
            return False
        if inspected.kept is not None:
            return False  # a signal may end it before the person is asked
        graph = self._inspect(inner)
        key = id(graph)
        if key not in self._asking:
            # Where it runs itself: the innermost run asks, or does not come to its end.
            self._asking[key] = True
            self._asking[key] = self._always_asks(graph)
        return self._asking[key]

    def _always_asks(self, graph: InspectedGraph) -> bool:
        """Return whether each way through a graph passes a person."""
        reached = {START_INDEX}
        pending = [START_INDEX]
        while pending:
            for edge in graph.topology.leaving[pending.pop()]:
                target = edge.target
                if target == graph.topology.end:
                    return False
                inspected = graph.nodes[target]
                if target not in reached and not (inspected.is_ask or self.asks(inspected)):
                    reached.add(target)
                    pending.append(target)
        return True

    def _inspect(self, inner: Plan | MapSpec) -> InspectedGraph:
        key = id(inner)
        if key not in self._graphs:
            self._kept.append(inner)
            graph = inspect_plan(inner) if isinstance(inner, Plan) else inspect_worker(inner)
            self._graphs[key] = graph
            self.adopt(graph)
        return self._graphs[key]

    def adopt(self, graph: InspectedGraph) -> None:
        """Have the nodes of a graph that run it again stand for the graph itself."""
        for inspected in graph.nodes:
            if inspected.is_recursive and inspected.inner is not None:
                self._graphs[id(inspected.inner)] = graph

    def _spread(
        self,
        graph: InspectedGraph,
        mark: MarkName,
        *,
        is_given: bool,
        is_decided: bool,
        sees_all: bool = True,
    ) -> Propagation:
        """Return the marks of a graph as it is used somewhere."""
        key = (id(graph), mark, is_given, is_decided and mark == "untrusted", sees_all)
        if key not in self._spreads and graph.is_recursive:
            self._settle_recursion(graph, mark)
        if key not in self._spreads:
            self._prepare(graph, mark, key).run()
        return self._spreads[key]

    def _settle_recursion(self, graph: InspectedGraph, mark: MarkName) -> None:
        """Find what a graph that runs itself gives back, to itself as well: both change together.

        Nothing is marked at first; marks are added until none are new. All else is computed from
        that.
        """
        keys: list[_SpreadKey] = [
            (id(graph), mark, is_given, False, True) for is_given in (False, True)
        ]
        if keys[0] in self._spreads:
            return
        both = [self._prepare(graph, mark, key) for key in keys]
        before, now = [-1], [0]
        while before != now:
            before = now
            now = [item.run().arriving[graph.topology.end] for item in both]

    def _prepare(self, graph: InspectedGraph, mark: MarkName, key: _SpreadKey) -> Propagation:
        """Return the marks of a graph before they spread, and keep them."""
        self._kept.append(graph)
        _, _, is_given, is_decided, sees_all = key
        start = graph.given[mark] | (graph.input if is_given else 0)
        propagation = Propagation(
            graph, mark, start, self, is_decided=is_decided, sees_all=sees_all
        )
        self._spreads[key] = propagation
        return propagation

    def _spread_all(self, graph: InspectedGraph, usage: Usage) -> dict[MarkName, Propagation]:
        marks, is_decided = usage
        return {
            mark: self._spread(graph, mark, is_given=mark in marks, is_decided=is_decided)
            for mark in MARKS
        }

    def _find_usage(
        self, graph: InspectedGraph, index: int, spreads: dict[MarkName, Propagation]
    ) -> Usage:
        """Return how the flow inside of a node is used.

        A map whose results decide about its items, or become items, is decided by marked results,
        or given them.
        """
        inspected = graph.nodes[index]
        is_decided = index in spreads["untrusted"].spread.decided
        is_given = {mark: bool(spreads[mark].spread.touched[index]) for mark in MARKS}
        if inspected.decides_inside and not is_decided:
            given = is_given["untrusted"]
            is_decided = self.gives(inspected, "untrusted", is_given=given, is_decided=False)
        if inspected.feeds_inside:
            for mark in MARKS:
                is_given[mark] = is_given[mark] or self.gives(
                    inspected, mark, is_given=False, is_decided=is_decided
                )
        return frozenset(mark for mark in MARKS if is_given[mark]), is_decided

    # ---- problems --------------------------------------------------------------------------------
    def find_problems(
        self,
        graph: InspectedGraph,
        usage: Usage,
        before: Mapping[Reason, Sequence[str]],
        prefix: str,
    ) -> Iterator[Problem]:
        """Yield the problems of a graph at the path `prefix`, and of those inside.

        `before` are the ways around it that a mark, or a decision, came by. A flow that is used in
        several places in the same way is looked at in the first one.
        """
        if (id(graph), usage) in self._reported:
            return
        self._reported.add((id(graph), usage))
        spreads = self._spread_all(graph, usage)
        finders = {mark: PathFinder(graph, item, self) for mark, item in spreads.items()}
        for finder in finders.values():
            for problem in Report(graph, finder, before, prefix).list_problems():
                if not self._is_known(graph, problem, prefix):
                    yield problem
        yield from self._warn_of_unseen(graph, usage, prefix)
        for index, inspected in enumerate(graph.nodes):
            if inspected.inner is None:
                continue
            inner_usage = self._find_usage(graph, index, spreads)
            # What a map gives itself begins inside of it.
            own = [f"results of map '{prefix}{inspected.node.name}'"]
            ways: dict[Reason, list[str]] = {
                mark: finders[mark].lead_to(Place("touched", index), before, prefix)
                if spreads[mark].spread.touched[index]
                else own
                for mark in inner_usage[0]
            }
            if index in spreads["untrusted"].spread.decided:
                way = finders["untrusted"].lead_to(Place("decided", index), before, prefix)
                ways["decided"] = way
            elif inner_usage[1]:
                ways["decided"] = own
            inner = self._inspect(inspected.inner)
            yield from self.find_problems(
                inner, inner_usage, ways, f"{prefix}{inspected.node.name}/"
            )

    def _is_known(self, graph: InspectedGraph, problem: Problem, prefix: str) -> bool:
        """Return whether a level of a recursion further out has the same problem."""
        if not graph.is_recursive:
            return False
        what = problem.what.partition(":")[0]
        key = (id(graph), problem.where.replace(prefix, "", 1), what)
        is_known = key in self._known_problems
        self._known_problems.add(key)
        return is_known

    def _warn_of_unseen(
        self, graph: InspectedGraph, usage: Usage, prefix: str
    ) -> Iterator[Problem]:
        """Yield questions that do not show what they let through to an effect."""
        if not any(inspected.is_ask for inspected in graph.nodes):
            return
        marks, is_decided = usage
        is_given = "untrusted" in marks
        loose = self._spread(graph, "untrusted", is_given=is_given, is_decided=is_decided)
        strict = self._spread(
            graph, "untrusted", is_given=is_given, is_decided=is_decided, sees_all=False
        )
        yield from list_unseen(graph, loose.spread, strict.spread, prefix)

    # ---- what is kept of it ----------------------------------------------------------------------
    def collect(self, graph: InspectedGraph, usage: Usage) -> MarkedFlow:
        """Return where the marked values of a graph and of those inside are."""
        key = (id(graph), usage)
        if key not in self._marked:
            inside: dict[int, MarkedFlow] = {}
            # Kept before what is inside is known, which may be the same graph.
            self._marked[key] = self._collect_own(graph, usage, inside)
            spreads = self._spread_all(graph, usage)
            for index, inspected in enumerate(graph.nodes):
                if inspected.inner is not None:
                    inner_usage = self._find_usage(graph, index, spreads)
                    inside[index] = self.collect(self._inspect(inspected.inner), inner_usage)
        return self._marked[key]

    def _collect_own(
        self, graph: InspectedGraph, usage: Usage, inside: Mapping[int, MarkedFlow]
    ) -> MarkedFlow:
        spreads = self._spread_all(graph, usage)
        live = _find_live(graph)
        edges: dict[int, dict[MarkName, tuple[str, ...]]] = {}
        for edge in graph.topology.edges:
            fields: dict[MarkName, tuple[str, ...]] = {}
            for mark, propagation in spreads.items():
                mask = propagation.spread.along(edge) & live[edge.target]
                if mask:
                    fields[mark] = tuple(graph.list_fields(mask))
            if fields:
                edges[edge.index] = fields
        nodes: dict[int, Marks] = {}
        secrets = spreads["secret"].spread.start
        for index in range(len(graph.nodes)):
            secrets |= spreads["secret"].spread.leaving[index]
            inner_usage = self._find_usage(graph, index, spreads)
            if inner_usage[0]:
                nodes[index] = inner_usage[0]
        names = frozenset(graph.list_fields(secrets | graph.declared["secret"]))
        return MarkedFlow(edges, nodes, inside, names)


def _find_live(graph: InspectedGraph) -> list[int]:
    """Return for each node the fields that it or something after it reads, END included."""
    end = graph.topology.end
    live = [0] * (end + 1)
    live[end] = graph.output | graph.remembered
    has_changed = True
    while has_changed:
        has_changed = False
        for index in reversed([node for node in graph.analysis.order if 0 <= node < end]):
            inspected = graph.nodes[index]
            after = inspected.decides
            for edge in graph.topology.leaving[index]:
                after |= live[edge.target]
            mask = inspected.reads | inspected.key_reads | after & ~inspected.replaces
            if mask != live[index]:
                live[index], has_changed = mask, True
    return live
