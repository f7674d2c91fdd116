"""Compile a checked graph: names become indices, sets become bitmasks, functions are bound."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, create_model

from graphorch.graph.blockers import find_blocked, find_blockers
from graphorch.graph.edges import OTHERWISE, START_INDEX, Edge, Loop, Topology
from graphorch.graph.node import END, Node
from graphorch.graph.plan import (
    AskSpec,
    BoundFunction,
    CompiledRoute,
    EventSpec,
    ExclusiveSpec,
    LoopExit,
    MapSpec,
    Plan,
    SignalSpec,
    Step,
    SubSpec,
    has_undo,
    list_flows_inside,
)
from graphorch.graph.signature import Read, StateFunction
from graphorch.graph.spec import GraphSpec
from graphorch.graph.topology import LoopNest, build_topology
from graphorch.state.slices import (
    AnyWriter,
    Reader,
    Schema,
    ValueReader,
    ValueWriter,
    Writing,
)

UNDO = "undo"  # name of the step that undoes a node
Regions = Mapping[int, frozenset[int]]


LateWork = tuple[int, tuple[int, ...]]
"""Late work of a node in a loop: its position, and the headers that wait for its end."""
_NO_LOOPS: frozenset[int] = frozenset()


def compile_plan(spec: GraphSpec, topology: Topology, regions: Regions) -> Plan:
    """Return the plan of a graph that passed its checks.

    `regions` gives for each quorum join the nodes between its dominator and it.
    """
    schema = Schema(spec.state, spec.memory)
    latches = _number_latches(topology)
    late = _number_late_work(spec, topology, topology.end + 1 + len(latches))
    compiler = _StepCompiler(spec, topology, schema, latches, late, regions)
    signals = collect_signals(spec)
    return Plan(
        name=spec.name,
        schema=schema,
        input=spec.input,
        output=spec.output,
        steps=tuple(compiler.compile(index) for index in range(topology.end + 1)),
        starts=tuple(topology.leaving[START_INDEX]),
        topology=topology,
        read_input=schema.input_writer(spec.input),
        read_output=schema.reader(spec.output),
        read_state=schema.reader(spec.state),
        blocked=compiler.find_blocked(),
        latch_headers={position: header for header, position in latches.items()},
        reducers=frozenset(item.index for item in schema.fields if item.reduce is not None),
        memory=tuple(spec.memory),
        remember=tuple(spec.remember),
        migrations=dict(spec.migrations),
        resources=_collect_resources(spec),
        resets=_find_resets(compiler.loops_by_header),
        tags=tuple((name, BoundFunction(tag, schema)) for name, tag in spec.tags.items()),
        fallback_nodes={name: item.since for item in spec.fallbacks for name in item.nodes},
        fallback_memory=frozenset(spec.fallback_memory),
        signals=signals,
        compensate=spec.compensate,
    )


def compile_worker(spec: MapSpec) -> Plan:
    """Return the plan that runs once per item of a map: its flow, or a plan of its one node.

    The state of that plan has two fields, the item and the result, each as a whole: an item and a
    result that happen to have a field of the same name share nothing.
    """
    if spec.flow is not None:
        return spec.flow
    worker = spec.worker
    assert worker is not None
    # Compile a node without slices, then give it readers and writers of whole values.
    state: type[BaseModel] = create_model("Work", item=(spec.item, ...), result=(spec.result, ...))
    bare = _without_slices(worker)
    graph = GraphSpec(worker.name, state, state, state, nodes={worker.name: bare})
    plan = compile_plan(graph, build_topology(graph), {})
    plan.input, plan.output = spec.item, spec.result
    item, result = plan.schema.fields
    plan.read_input = ValueWriter(spec.item, item)
    plan.read_output = ValueReader(spec.result, result)
    step = plan.steps[0]
    step.node = worker
    step.reads = tuple(
        (ValueReader(spec.item, item), read.optional) for read in worker.signature.reads
    )
    step.writes = (ValueWriter(spec.result, result),)
    if worker.undo is not None:
        step.undo = _compile_undo(_without_slices(worker.undo), state, ())
        undo = step.undo.steps[0]
        undo.reads = tuple(
            (ValueReader(spec.result, result), read.optional)
            if read.model is spec.result
            else (ValueReader(spec.item, item), read.optional)
            for read in worker.undo.signature.reads
        )
        undo.__post_init__()
    plan.has_undos = has_undo(worker)
    step.__post_init__()
    return plan


def _without_slices(node: Node[Any]) -> Node[Any]:
    """Return a copy of a node that reads and writes nothing, and has no undo."""
    return Node[Any](
        node.fn,
        replace(node.signature, reads=(), writes=()),
        name=node.name,
        kind=node.kind,
        options=replace(node.options, undo=None),
    )


def _compile_undo(
    node: Node[Any], state: type[BaseModel], memory: Sequence[type[BaseModel]]
) -> Plan:
    """Return the plan of an undo: its only step, called `undo`, reads a state and writes nothing.

    It numbers the fields of the state as the plan does whose work it undoes.
    """
    undo = Node[Any](
        node.fn,
        node.signature,
        name=UNDO,
        kind="undo",
        options=replace(node.options, asks_models=False, undo=None),
    )
    graph = GraphSpec(UNDO, state, state, state, nodes={UNDO: undo}, memory=list(memory))
    return compile_plan(graph, build_topology(graph), {})


def compile_floor(spec: GraphSpec) -> Plan:
    """Return the plan without nodes that stands where a graph may not be inside itself any more."""
    empty = GraphSpec(spec.name, spec.state, spec.input, spec.output)
    plan = compile_plan(empty, build_topology(empty), {})
    return replace(plan, is_floor=True)


def compile_tool(node: Node[Any], name: str, sub: SubSpec | None = None) -> Plan:
    """Return the plan of one call of a tool: its only step, under a name, runs a node or a flow."""
    from graphorch.graph.payloads import ToolArguments, ToolOutcome, ToolState

    subs = {} if sub is None else {name: sub}
    graph = GraphSpec(
        name, ToolState, ToolArguments, ToolOutcome, nodes={name: node.named(name)}, subs=subs
    )
    return compile_plan(graph, build_topology(graph), {})


# ---- steps ---------------------------------------------------------------------------------------
class _StepCompiler:
    """Makes the steps of one plan."""

    def __init__(
        self,
        spec: GraphSpec,
        topology: Topology,
        schema: Schema,
        latches: Mapping[int, int],
        late: Mapping[int, LateWork],
        regions: Regions,
    ) -> None:
        self.spec = spec
        self.topology = topology
        self.schema = schema
        self.latches = latches
        self.late = late
        self.regions = regions
        self.loops_by_header, self.loops_by_source = _group_loops(topology)
        self.inside = _find_loops_inside(LoopNest(topology.loops), self.loops_by_header)
        self.loop_edges = _group_loop_edges(topology)
        self.blockers = find_blockers(topology, latches)
        for position, headers in late.values():
            for header in headers:
                self.blockers[header] |= 1 << position
        self.tracked = 0
        for mask in self.blockers.values():
            self.tracked |= mask
        # A check refuses a second declaration of a join or a route; the first one counts.
        self.joins = {join.node: join for join in reversed(spec.joins)}
        self.routes = {route.source: route for route in reversed(spec.routes)}
        self.rivals = _find_rivals(spec, topology)
        self.exclusive = _group_regions(spec.exclusives)
        self.shared = _group_regions(
            region for region in spec.exclusives if region.across == "journal"
        )

    def find_blocked(self) -> tuple[int, ...]:
        """Return for each position the joins that it blocks."""
        joins = 0
        for index in self.blockers:
            joins |= 1 << index
        if not joins:
            return ()
        late = [sum(1 << header for header in headers) for _, headers in self.late.values()]
        return (*find_blocked(self.topology, self.latches, joins), *late)

    def compile(self, index: int) -> Step:
        """Return the step of a node."""
        # `Failure` is a pydantic model, and the first one of a program is slow to make: the user's
        # own should be that one.
        from graphorch.graph.payloads import Failure

        topology, spec = self.topology, self.spec
        name = topology.name(index)
        node = spec.nodes[name] if index < topology.end else END
        map_, sub, ask = spec.maps.get(name), spec.subs.get(name), spec.asks.get(name)
        event = spec.events.get(name)
        is_region = map_ is not None or sub is not None
        cancel_on, cancel_key = find_cancel_signal(spec, name) if is_region else ("", None)
        over = _find_input_function(map_, sub, ask, event)
        # A node that evaluates a function first reads through that function alone.
        slices = node.signature.reads if over is None else ()
        # All events of which the first counts begin at once.
        taken = "routed" if name in spec.firsts else "always"
        failure_at = next((at for at, read in enumerate(slices) if read.model is Failure), -1)
        leaving = topology.leaving[index]
        route = self._compile_route(index)
        exits = tuple(
            self._compile_exit(index, loop) for loop in self.loops_by_source.get(index, ())
        )
        return Step(
            index=index,
            name=name,
            node=node,
            edges=tuple(edge for edge in leaving if edge.kind == taken),
            route=route,
            exits=exits,
            inside=self.inside.get(index, _NO_LOOPS),
            heads=tuple(loop.index for loop in self.loops_by_header.get(index, ())),
            joins=index in self.blockers,
            blockers=self.blockers.get(index, 0),
            tracked=bool(self.tracked >> index & 1),
            latch=self.latches.get(index, -1),
            join=self.joins.get(name),
            region=tuple(sorted(self.regions.get(index, ()))),
            reads=tuple(self._compile_read(read) for read in slices if read.model is not Failure),
            writes=self._compile_writes(node),
            map=map_,
            sub=sub,
            over=BoundFunction(over, self.schema, returns_input=True) if over else None,
            inner_plan=_find_inner_plan(map_, sub),
            errors=tuple((_error_types(edge), edge) for edge in leaving if edge.kind == "error"),
            decides=route is not None or bool(exits) or node.options.gate == "after",
            ask=ask,
            event=event,
            rivals=self.rivals.get(name, ()),
            cancel_on=cancel_on,
            cancel_key=BoundFunction(cancel_key, self.schema) if cancel_key else None,
            keep=_compile_keep(sub) if is_region else None,
            failure_at=failure_at,
            exclusive=self.exclusive.get(name, ()),
            shared_regions=self.shared.get(name, ()),
            undo=self._compile_undo(node.options.undo) if node.options.undo is not None else None,
            late=self.late[index][0] if index in self.late else -1,
        )

    def _compile_undo(self, undo: Node[Any]) -> Plan:
        return _compile_undo(undo, self.spec.state, self.spec.memory)

    def _compile_read(self, read: Read) -> tuple[Reader[Any], bool]:
        return self.schema.reader(read.model or self.schema.model), read.optional

    def _compile_writes(self, node: Node[Any]) -> tuple[Writing, ...]:
        if node.kind in ("map", "sub") and node.signature.may_skip:
            return (AnyWriter(self.schema),)
        return tuple(self.schema.writer(model) for model in node.signature.writes)

    def _compile_route(self, index: int) -> CompiledRoute | None:
        name = self.topology.name
        route = self.routes.get(name(index))
        if route is None:
            return None
        routed = [edge for edge in self.topology.leaving[index] if edge.kind == "routed"]
        labels = dict.fromkeys(label for edge in routed for label in edge.labels)
        labels.pop(OTHERWISE, None)
        edges = {label: tuple(edge for edge in routed if label in edge.labels) for label in labels}
        default = None
        if route.otherwise is not None:
            default = tuple(edge for edge in routed if name(edge.target) in route.otherwise)
        selector = BoundFunction(route.selector, self.schema)
        return CompiledRoute(selector, route.is_multi, edges, default)

    def _compile_exit(self, index: int, loop: Loop) -> LoopExit:
        own = self.loop_edges[loop.index, index]
        return LoopExit(
            loop=loop.index,
            condition=BoundFunction(loop.condition, self.schema),
            bound=loop.bound,
            back=next(edge for edge in own if edge.kind == "loop"),
            exhausted=loop.exhausted,
            instead=next((edge for edge in own if edge.kind == "exhausted"), None),
        )


def _find_input_function(
    map_: MapSpec | None, sub: SubSpec | None, ask: AskSpec | None, event: EventSpec | None
) -> StateFunction | None:
    """Return the function that a map, a sub-flow, a question or an event evaluates first."""
    if event is not None:
        return event.key if isinstance(event, SignalSpec) else event.function
    if map_ is not None:
        return map_.over
    if sub is not None:
        return sub.enter
    return ask.question if ask is not None else None


def _compile_keep(sub: SubSpec | None) -> BoundFunction | None:
    """Return what is kept of a sub-flow that a signal ends, bound to the state of its flow."""
    if sub is None or sub.keep is None:
        return None
    return BoundFunction(sub.keep, sub.flow.schema, returns_input=True)


def find_cancel_signal(spec: GraphSpec, name: str) -> tuple[str, StateFunction | None]:
    """Return the signal that ends a map or sub-flow, or "", and the function of its key."""
    node = spec.maps.get(name) or spec.subs.get(name)
    if node is None or not node.cancel_on:
        return "", None
    event = spec.events.get(node.cancel_on)
    return node.cancel_on, event.key if isinstance(event, SignalSpec) else None


def _find_inner_plan(map_: MapSpec | None, sub: SubSpec | None) -> Plan | None:
    if map_ is not None:
        return compile_worker(map_)
    return sub.flow if sub is not None else None


def _find_rivals(spec: GraphSpec, topology: Topology) -> dict[str, tuple[int, ...]]:
    """Return for each event of which only the first counts the numbers of the others."""
    numbers = {name: number for number, name in enumerate(topology.names)}
    return {
        event: tuple(numbers[other] for other in events if other != event)
        for events in spec.firsts.values()
        for event in events
    }


def collect_signals(spec: GraphSpec) -> dict[str, SignalSpec]:
    """Return the signals of a graph and of the flows inside it, also as tools, by name."""
    inner = [sub.flow for sub in spec.subs.values()]
    inner += [map_.flow for map_ in spec.maps.values() if map_.flow is not None]
    workers = [map_.worker for map_ in spec.maps.values() if map_.worker is not None]
    for node in (*spec.nodes.values(), *workers):
        if node.kind == "agent":
            inner += list_flows_inside(node, None)
    signals: dict[str, SignalSpec] = {}
    for plan in inner:
        signals |= plan.signals
    own = {name: event for name, event in spec.events.items() if isinstance(event, SignalSpec)}
    return signals | own


def _group_regions(regions: Iterable[ExclusiveSpec]) -> dict[str, tuple[str, ...]]:
    """Return the exclusive regions of each member, in alphabetical order."""
    names: dict[str, set[str]] = {}
    for region in regions:
        for member in region.nodes:
            names.setdefault(member, set()).add(region.name)
    return {member: tuple(sorted(regions)) for member, regions in names.items()}


def _error_types(edge: Edge) -> tuple[type[BaseException], ...]:
    labels = edge.labels
    return tuple(
        label for label in labels if isinstance(label, type) and issubclass(label, BaseException)
    )


def _collect_resources(spec: GraphSpec) -> tuple[tuple[str, type], ...]:
    """Return the types of resources that nodes need, each with the path of the first such node.

    Nodes of inner flows come after the graph's own.
    """
    own = [(name, node.signature.resources) for name, node in spec.nodes.items()]
    own += [
        (f"{name}/{UNDO}", node.options.undo.signature.resources)
        for name, node in spec.nodes.items()
        if node.options.undo is not None
    ]
    inner = [(name, sub.flow) for name, sub in spec.subs.items()]
    for name, map_ in spec.maps.items():
        if map_.worker is not None:
            own.append((name, map_.worker.signature.resources))
        if map_.flow is not None:
            inner.append((name, map_.flow))
    first: dict[type, str] = {}
    for name, kind in own:
        if kind is not None:
            first.setdefault(kind, name)
    for name, plan in inner:
        for path, kind in plan.resources:
            first.setdefault(kind, f"{name}/{path}")
    return tuple((path, kind) for kind, path in first.items())


# ---- loops ---------------------------------------------------------------------------------------
def _number_latches(topology: Topology) -> dict[int, int]:
    """Return the position of the latch of each loop header: the positions after END."""
    headers = sorted({loop.header for loop in topology.loops})
    return {header: topology.end + 1 + number for number, header in enumerate(headers)}


def _number_late_work(spec: GraphSpec, topology: Topology, first: int) -> dict[int, LateWork]:
    """Return the late work that headers of loops wait for, by node: its positions come last.

    A header waits for the losers of the joins and maps in its body, so that no path is open twice.
    The region of a join lies before it, and so not in the body of a loop that the join heads.
    """
    joins = {join.node for join in spec.joins if join.rest == "finish"}
    maps = {name for name, item in spec.maps.items() if item.rest == "finish"}
    found: dict[int, LateWork] = {}
    for index in range(topology.end):
        name = topology.name(index)
        headers = {
            loop.header
            for loop in topology.loops
            if (name in maps or (name in joins and loop.header != index)) and index in loop.body
        }
        if headers:
            found[index] = first + len(found), tuple(sorted(headers))
    return found


def _find_loops_inside(
    nest: LoopNest, loops_by_header: Mapping[int, list[Loop]]
) -> dict[int, frozenset[int]]:
    """Return for each node the loops whose body it is in; nodes of the same loops share a set."""
    inside: dict[int | None, frozenset[int]] = {None: frozenset()}
    for header, outer in nest.outer.items():
        own = [loop.index for loop in loops_by_header[header]]
        inside[header] = inside[outer].union(own)
    return {node: inside[header] for node, header in nest.innermost.items()}


def _group_loops(topology: Topology) -> tuple[dict[int, list[Loop]], dict[int, list[Loop]]]:
    """Return the loops of each header and those of each source, in declaration order."""
    by_header: dict[int, list[Loop]] = {}
    by_source: dict[int, list[Loop]] = {}
    for loop in topology.loops:
        by_header.setdefault(loop.header, []).append(loop)
        for source in loop.sources:
            by_source.setdefault(source, []).append(loop)
    return by_header, by_source


def _group_loop_edges(topology: Topology) -> dict[tuple[int, int], list[Edge]]:
    """Return the edges of each loop by its number and their source."""
    edges: dict[tuple[int, int], list[Edge]] = {}
    for edge in topology.edges:
        if edge.loop >= 0:
            edges.setdefault((edge.loop, edge.source), []).append(edge)
    return edges


def _find_resets(loops_by_header: Mapping[int, list[Loop]]) -> dict[int, frozenset[int]]:
    """Return for each loop the nested loops of its header whose count it begins anew."""
    resets: dict[int, frozenset[int]] = {}
    for loops in loops_by_header.values():
        nested = [loop.index for loop in loops if loop.nested]
        for loop in loops:
            # Of two nested loops, the one that was declared later is the outer one.
            inner = nested[: bisect_left(nested, loop.index)] if loop.nested else nested
            if inner:
                resets[loop.index] = frozenset(inner)
    return resets
