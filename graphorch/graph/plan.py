"""The compiled graph: tuples, integers and bitmasks, made once, so that a running step looks nothing up by name.

`blockers` of a node is the set of positions that can still bring it a token of the same iteration, as a bitmask. Positions
are the nodes (by index), END, and one latch per loop header. The rule is the one of the inclusive join: x blocks v if a path leads
from x to v that uses no loop edge into a header h ≠ v whose body holds v; the latch of h blocks what h blocks, but not the body of h.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import BaseModel, create_model

from graphorch.graph.node import END, Node
from graphorch.graph.signature import Read
from graphorch.graph.spec import (
    AskSpec,
    GraphSpec,
    JoinSpec,
    Label,
    MapSpec,
    RouteSpec,
    Short,
    StateFunction,
    SubSpec,
)
from graphorch.graph.topology import OTHERWISE, START_INDEX, Edge, Loop, Topology, build_topology
from graphorch.state.slices import (
    AnyWriter,
    Reader,
    Reading,
    Schema,
    ValueReader,
    ValueWriter,
    Writing,
)
from graphorch.state.version import Version

ARRIVING = 0  # `Step.need` of the default join


class BoundFunction:
    """A pure function bound to the state: reads its slices out of a version and calls it.

    If what it returns may be what it was handed (`hands_on`), the slices say what of them was assigned: an input takes that over.
    """

    __slots__ = ("_reads", "fn", "name", "readers")

    def __init__(self, pure: StateFunction, schema: Schema, *, hands_on: bool = False) -> None:
        self.fn = pure.fn
        self.name = pure.name
        self.readers = tuple(schema.reader(read.model or schema.model) for read in pure.reads)
        self._reads = tuple(reader.result if hands_on else reader.read for reader in self.readers)

    def __call__(self, version: Version) -> Any:
        """What the function says about this version of the state."""
        reads = self._reads
        return (
            self.fn(reads[0](version))
            if len(reads) == 1
            else self.fn(*[read(version) for read in reads])
        )

    def can_read(self, version: Version) -> bool:
        """Whether everything is assigned that the function reads."""
        return all(reader.partial or reader.is_assigned(version) for reader in self.readers)


@dataclass(frozen=True, slots=True)
class CompiledRoute:
    """A compiled route: which edges each label takes. `default` is taken by a label that is not listed, if there is an `otherwise`."""

    view: BoundFunction
    many: bool
    edges: Mapping[Label, tuple[Edge, ...]]
    default: tuple[Edge, ...] | None

    def taken(self, label: Label) -> tuple[Edge, ...] | None:
        """The edges of a label, or None for one that has none."""
        return self.edges.get(label, self.default)


@dataclass(frozen=True, slots=True)
class LoopExit:
    """A loop as one of its sources sees it. `exhausted` is "continue" or "fail", or "node" with its edge."""

    loop: int
    view: BoundFunction
    bound: int
    back: Edge
    exhausted: str
    instead: Edge | None


@dataclass(slots=True)
class Step:
    """One node of the plan. `need` is `ARRIVING` or the k of a quorum join, whose `region` is cancelled when it is met."""

    index: int
    name: str
    node: Node[Any]
    edges: tuple[Edge, ...]
    routing: CompiledRoute | None
    exits: tuple[LoopExit, ...]
    inside: frozenset[int]  # loops whose body this node is in
    heads: tuple[int, ...]  # loops whose header this node is
    joins: bool  # more than one edge can bring it a token
    blockers: int
    tracked: bool  # whether anybody asks if this position is live
    latch: int  # its latch's position, or -1
    need: int
    short: Short
    region: tuple[int, ...]
    reads: tuple[tuple[Reading, bool], ...]
    writes: tuple[Writing, ...]
    map: MapSpec | None
    sub: SubSpec | None
    over: BoundFunction | None  # what a map, a sub-flow or a question evaluates first
    inner_plan: Plan | None = None  # what runs inside a sub-flow, or once per item of a map
    # which exceptions take which error edge; the first that fits
    errors: tuple[tuple[tuple[type[BaseException], ...], Edge], ...] = ()
    decides: bool = False  # whether something must be evaluated before its tokens can be emitted
    ask: AskSpec | None = None
    # which parameter gets the `Failure`, counted without the context, or -1; `reads` holds the others
    failure_at: int = -1
    # its position in the masks of live positions, 0 if nobody asks for it; and its latch's
    bit: int = 0
    latch_bit: int = 0
    fn: Callable[..., Any] = field(init=False)
    has_context: bool = field(init=False)
    read: Callable[[Any], Any] = field(init=False)  # these two if it maps one slice to one
    write: Callable[[object], dict[int, Any]] = field(init=False)
    reads_one: bool = False  # it reads one slice, which has to be there, and nothing else
    approved_after: bool = False  # a person has to let its result pass
    maps_one: bool = False  # it is called with that slice alone, and returns one
    is_simple: bool = False  # an async function without an option that needs care: called as it is
    ends: bool = False  # its tokens go to END alone, and nothing else can bring END one

    def __post_init__(self) -> None:
        """Derive what a running step looks up all the time."""
        self.bit = 1 << self.index if self.tracked else 0
        self.latch_bit = 1 << self.latch if self.latch >= 0 else 0
        self.fn, self.has_context = self.node.fn, self.node.signature.has_context
        self.reads_one = len(self.reads) == 1 and not self.reads[0][1] and self.failure_at < 0
        self.approved_after = self.node.options.gate == "after"
        self.maps_one = (
            self.reads_one
            and not self.has_context
            and len(self.writes) == 1
            and not self.node.signature.may_skip
        )
        if self.maps_one:
            self.read, self.write = self.reads[0][0].read, self.writes[0].update
        self.is_simple = self.node.is_simple and self.ask is None and self.inner_plan is None


@dataclass(slots=True)
class Plan:
    """A graph that was proved and compiled. `steps` ends with END."""

    name: str
    schema: Schema
    input: type[BaseModel]
    output: type[BaseModel]
    steps: tuple[Step, ...]
    starts: tuple[Edge, ...]
    topology: Topology
    spec: GraphSpec
    read_input: Writing
    read_output: Reading
    read_state: Reader[Any]
    latch_headers: Mapping[int, int]  # latch position -> header
    reducers: frozenset[int]
    resources: tuple[tuple[str, type], ...] = ()
    problems: tuple[Any, ...] = field(default=())
    # loop -> those that count anew when it is taken
    resets: Mapping[int, frozenset[int]] = field(default_factory=dict[int, frozenset[int]])
    tags: tuple[tuple[str, BoundFunction], ...] = ()  # what model calls are told about the run

    # derived once, since every run asks
    end: int = field(init=False)  # the index of END
    # the only node that START leads to, if no other edge leads there
    entry: Step | None = field(init=False, repr=False, compare=False)
    # whether some join in here, or inside a sub-flow or map, is a `need=k` one
    has_quorums: bool = field(init=False)
    # whether some node in here, or inside, has a context, and so may ask a model
    can_ask: bool = field(init=False)
    # whether some node in here, or inside, has effects that must not happen twice
    acts_once: bool = field(init=False)
    # By format of the journal; `graph/fingerprint.py` fills them once.
    descriptions: dict[int, dict[str, Any]] = field(
        init=False, default_factory=dict[int, dict[str, Any]], repr=False, compare=False
    )
    fingerprints: dict[int, str] = field(
        init=False, default_factory=dict[int, str], repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Derive the rest."""
        inner = [step.inner_plan for step in self.steps if step.inner_plan is not None]
        self.end = len(self.steps) - 1
        for step in self.steps:
            target = self._sole_target(step.edges) if not step.decides else None
            step.ends = target is not None and target.index == self.end
        entry = self._sole_target(self.starts)
        self.entry = entry if entry is not None and entry.index != self.end else None
        self.has_quorums = any(step.need for step in self.steps) or any(
            plan.has_quorums for plan in inner
        )
        self.can_ask = any(step.has_context for step in self.steps) or any(
            plan.can_ask for plan in inner
        )
        self.acts_once = any(step.node.options.effect == "once" for step in self.steps) or any(
            plan.acts_once for plan in inner
        )

    def _sole_target(self, edges: Sequence[Edge]) -> Step | None:
        """Where a single edge leads, if no other edge leads there too."""
        target = self.steps[edges[0].target] if len(edges) == 1 else None
        return target if target is not None and not target.joins else None


def compile_plan(
    blueprint: GraphSpec, shape: Topology, regions: Mapping[int, frozenset[int]]
) -> Plan:
    """The plan of a graph that passed its checks. `regions` gives the nodes between a quorum join and its dominator."""
    schema = Schema(blueprint.state, blueprint.memory)
    latches = {
        header: len(shape.names) + 1 + number
        for number, header in enumerate(sorted({loop.header for loop in shape.loops}))
    }
    masks = _blockers(shape, latches)
    asked = 0
    for mask in masks.values():
        asked |= mask
    joins = {join.node: join for join in reversed(blueprint.joins)}
    compiler = _Compiler(
        blueprint, shape, schema, latches, masks, asked, regions, joins, _loops_around(shape)
    )
    steps = tuple(compiler.step(index) for index in range(len(shape.names) + 1))
    return Plan(
        name=blueprint.name,
        schema=schema,
        input=blueprint.input,
        output=blueprint.output,
        steps=steps,
        starts=tuple(shape.leaving[START_INDEX]),
        topology=shape,
        spec=blueprint,
        read_input=schema.writer(blueprint.input),
        read_output=schema.reader(blueprint.output),
        read_state=schema.reader(blueprint.state),
        latch_headers={position: header for header, position in latches.items()},
        reducers=frozenset(item.index for item in schema.fields if item.reduce is not None),
        resources=_resources(blueprint),
        resets=_resets(shape),
        tags=tuple((name, BoundFunction(pure, schema)) for name, pure in blueprint.tags.items()),
    )


@dataclass(slots=True)
class _Compiler:
    blueprint: GraphSpec
    shape: Topology
    schema: Schema
    latches: Mapping[int, int]
    masks: Mapping[int, int]
    asked: int
    regions: Mapping[int, frozenset[int]]
    join_specs: Mapping[str, JoinSpec]
    loops: Mapping[int, Sequence[Loop]]  # around each node

    def step(self, index: int) -> Step:
        from graphorch.graph.payloads import (
            # a pydantic model: the first one of a program costs much, so that one is to be the user's
            Failure,
        )

        shape, name = self.shape, self.shape.name(index)
        node = self.blueprint.nodes[name] if index < shape.end else END
        spec, nested, ask = (
            self.blueprint.maps.get(name),
            self.blueprint.subs.get(name),
            self.blueprint.asks.get(name),
        )
        slices = node.signature.reads if spec is None and nested is None and ask is None else ()
        join, around = self.join_specs.get(name), self.loops.get(index, ())
        routing, exits = (
            self._routing(index),
            tuple(self._exit(index, loop) for loop in around if index in loop.sources),
        )
        need = join.need if join is not None and isinstance(join.need, int) else ARRIVING
        return Step(
            index=index,
            name=name,
            node=node,
            edges=tuple(edge for edge in shape.leaving[index] if edge.kind == "always"),
            routing=routing,
            exits=exits,
            inside=frozenset(loop.index for loop in around),
            heads=tuple(loop.index for loop in around if loop.header == index),
            joins=index in self.masks,
            blockers=self.masks.get(index, 0),
            tracked=bool(self.asked >> index & 1),
            latch=self.latches.get(index, -1),
            need=need,
            short=join.short if join is not None else "fail",
            region=tuple(sorted(self.regions.get(index, frozenset()))),
            reads=tuple(self._read(read) for read in slices if read.model is not Failure),
            writes=self._writes(node),
            map=spec,
            sub=nested,
            over=self._over(name),
            inner_plan=worker_plan(spec)
            if spec is not None
            else nested.flow
            if nested is not None
            else None,
            errors=tuple(
                (_exceptions(edge), edge) for edge in shape.leaving[index] if edge.kind == "error"
            ),
            decides=routing is not None or bool(exits) or node.options.gate == "after",
            ask=ask,
            failure_at=next((at for at, read in enumerate(slices) if read.model is Failure), -1),
        )

    def _writes(self, node: Node[Any]) -> tuple[Writing, ...]:
        if node.kind in ("map", "sub") and node.signature.may_skip:
            return (AnyWriter(self.schema),)
        return tuple(self.schema.writer(model) for model in node.signature.writes)

    def _read(self, read: Read) -> tuple[Reader[Any], bool]:
        return self.schema.reader(read.model or self.schema.model), read.optional

    def _over(self, name: str) -> BoundFunction | None:
        spec, sub, ask = (
            self.blueprint.maps.get(name),
            self.blueprint.subs.get(name),
            self.blueprint.asks.get(name),
        )
        pure = (
            spec.over
            if spec is not None
            else sub.enter
            if sub is not None
            else ask.question
            if ask is not None
            else None
        )
        return BoundFunction(pure, self.schema, hands_on=True) if pure is not None else None

    def _routing(self, index: int) -> CompiledRoute | None:
        spec: RouteSpec | None = self.shape.routes.get(index)
        if spec is None:
            return None
        routed = [edge for edge in self.shape.leaving[index] if edge.kind == "routed"]
        labels = dict.fromkeys(label for edge in routed for label in edge.labels)
        edges = {
            label: tuple(edge for edge in routed if label in edge.labels)
            for label in labels
            if label != OTHERWISE
        }
        default = (
            tuple(edge for edge in routed if self.shape.name(edge.target) in spec.otherwise)
            if spec.otherwise is not None
            else None
        )
        return CompiledRoute(BoundFunction(spec.by, self.schema), spec.many, edges, default)

    def _exit(self, index: int, loop: Loop) -> LoopExit:
        back = next(
            edge
            for edge in self.shape.leaving[index]
            if edge.kind == "loop" and edge.loop == loop.index
        )
        instead = next(
            (
                edge
                for edge in self.shape.leaving[index]
                if edge.kind == "exhausted" and edge.loop == loop.index
            ),
            None,
        )
        exhausted = "node" if instead is not None else loop.spec.exhausted
        return LoopExit(
            loop.index,
            BoundFunction(loop.spec.condition, self.schema),
            loop.bound,
            back,
            exhausted,
            instead,
        )


def worker_plan(spec: MapSpec) -> Plan:
    """What runs per item: the given flow, or a plan of one node.

    The state of that plan has two fields, the item and the result, each whole: an item and a result that happen to
    have a field of one name share nothing.
    """
    if spec.flow is not None:
        return spec.flow
    worker = spec.worker
    assert worker is not None
    state: type[BaseModel] = create_model("Work", item=(spec.item, ...), result=(spec.result, ...))
    bare = Node[Any](
        worker.fn,
        replace(worker.signature, reads=(), writes=()),
        name=worker.name,
        kind=worker.kind,
        options=worker.options,
    )
    blueprint = GraphSpec(worker.name, state, state, state, nodes={worker.name: bare})
    plan = compile_plan(blueprint, build_topology(blueprint), {})
    item, result = plan.schema.fields
    blueprint.nodes[worker.name] = plan.steps[0].node = worker
    plan.input, plan.output = spec.item, spec.result
    plan.read_input, plan.read_output = (
        ValueWriter(spec.item, item),
        ValueReader(spec.result, result),
    )
    plan.steps[0].reads = tuple(
        (ValueReader(spec.item, item), read.optional) for read in worker.signature.reads
    )
    plan.steps[0].writes = (ValueWriter(spec.result, result),)
    plan.steps[0].__post_init__()
    return plan


def _exceptions(edge: Edge) -> tuple[type[BaseException], ...]:
    return tuple(
        label
        for label in edge.labels
        if isinstance(label, type) and issubclass(label, BaseException)
    )


def _loops_around(shape: Topology) -> dict[int, list[Loop]]:
    """For each node the loops whose body it is in, in declaration order."""
    around: dict[int, list[Loop]] = {}
    for loop in shape.loops:
        for node in loop.body:
            around.setdefault(node, []).append(loop)
    return around


def _resets(shape: Topology) -> dict[int, frozenset[int]]:
    found: dict[int, frozenset[int]] = {}
    for loop in shape.loops:
        inner = (
            other
            for other in shape.loops
            if other.header == loop.header and other.spec.nested and other.index != loop.index
        )
        reset = frozenset(
            other.index for other in inner if not loop.spec.nested or other.index < loop.index
        )
        if reset:
            found[loop.index] = reset
    return found


def _resources(blueprint: GraphSpec) -> tuple[tuple[str, type], ...]:
    """Which nodes need resources of which type, those of sub-flows included, by path."""
    found = [(name, node.signature.resources) for name, node in blueprint.nodes.items()]
    found += [
        (name, spec.worker.signature.resources)
        for name, spec in blueprint.maps.items()
        if spec.worker is not None
    ]
    inner = [(name, sub.flow) for name, sub in blueprint.subs.items()]
    inner += [(name, spec.flow) for name, spec in blueprint.maps.items() if spec.flow is not None]
    nested = [(f"{name}/{path}", kind) for name, plan in inner for path, kind in plan.resources]
    return (*((name, kind) for name, kind in found if kind is not None), *nested)


# ---- blockers ----------------------------------------------------------------------------------
def _blockers(shape: Topology, latches: Mapping[int, int]) -> dict[int, int]:
    """For every node that more than one edge leads to, its blockers; linear in the edges per distinct set of enclosing loops."""
    groups: dict[frozenset[int], list[int]] = {}
    around = _loops_around(shape)
    for node in range(len(shape.names) + 1):
        if len(shape.entering[node]) > 1:
            closed = frozenset(loop.header for loop in around.get(node, ()) if loop.header != node)
            groups.setdefault(closed, []).append(node)
    masks: dict[int, int] = {}
    for closed, nodes in groups.items():
        ancestors = _ancestors(
            shape, lambda edge, closed=closed: not (edge.kind == "loop" and edge.target in closed)
        )
        for node in nodes:
            own = {loop.header for loop in around.get(node, ())}
            mask = ancestors[node] & ~(1 << node)
            for header, position in latches.items():
                # a latch blocks what its header blocks, but not its own body
                if mask >> header & 1 and header not in own:
                    mask |= 1 << position
            masks[node] = mask
    return masks


def _ancestors(shape: Topology, allowed: Callable[[Edge], bool]) -> list[int]:
    """For each node the bitmask of nodes from which a path of at least one allowed edge leads to it."""
    count = len(shape.names) + 1
    into: list[list[int]] = [
        [
            edge.source
            for edge in shape.entering[node]
            if edge.source != START_INDEX and allowed(edge)
        ]
        for node in range(count)
    ]
    masks = [0] * count
    for component in components(into):
        members = sum(1 << node for node in component)
        cyclic = len(component) > 1 or component[0] in into[component[0]]
        mask = members if cyclic else 0
        for node in component:
            for source in into[node]:
                mask |= masks[source] | 1 << source
        for node in component:
            masks[node] = mask
    return masks


def components(into: Sequence[Sequence[int]]) -> list[list[int]]:
    """The strongly connected components, each after all that lead into it (Tarjan 1972, without recursion)."""
    count = len(into)
    order, low, on_stack = [-1] * count, [0] * count, [False] * count
    stack: list[int] = []
    found: list[list[int]] = []
    clock = 0
    for root in range(count):
        if order[root] != -1:
            continue
        work = [(root, 0)]
        while work:
            node, position = work.pop()
            if position == 0:
                order[node] = low[node] = clock
                clock += 1
                stack.append(node)
                on_stack[node] = True
            descended = False
            for at in range(position, len(into[node])):
                source = into[node][at]
                if order[source] == -1:
                    work += [(node, at + 1), (source, 0)]
                    descended = True
                    break
                if on_stack[source]:
                    low[node] = min(low[node], order[source])
            if descended:
                continue
            if work:
                parent = work[-1][0]
                low[parent] = min(low[parent], low[node])
            if low[node] == order[node]:
                component: list[int] = []
                while not component or component[-1] != node:
                    component.append(stack.pop())
                    on_stack[component[-1]] = False
                found.append(component)
    return found
