"""A graph as its marks see it: which fields each node reads and writes, and what else it does.

The outermost graph is looked at as it was declared, before it is compiled; flows inside of it as
they were compiled. Fields are bits of a mask, in the order of the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from pydantic import BaseModel

from graphorch.callables import find_used_attributes
from graphorch.graph.analysis import Analysis
from graphorch.graph.compiler import find_cancel_signal
from graphorch.graph.edges import START_INDEX, Topology
from graphorch.graph.node import Node
from graphorch.graph.payloads import Failure
from graphorch.graph.plan import MapSpec, Plan, SignalSpec, SubSpec
from graphorch.graph.signature import Read, list_parameter_names
from graphorch.graph.spec import GraphSpec
from graphorch.state.defaults import find_constant
from graphorch.state.marks import MarkName, find_field_marks, find_marks
from graphorch.state.reducers import find_reducer
from graphorch.state.version import UNSET

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

MARKS: tuple[MarkName, ...] = ("untrusted", "secret")


class DeclaredTools(Protocol):
    """A tool of an agent, or several of one server, as this package needs to know them."""

    @property
    def declares_untrusted(self) -> bool:
        """Whether the author says that results come from outside."""
        ...

    def list_untrusted(self) -> tuple[str, ...]:
        """Return the names of tools whose results come from outside."""
        ...

    def list_acting(self) -> tuple[str, ...]:
        """Return the names of tools that act without a person's approval of each call."""
        ...


class PureFunction(Protocol):
    """Function over slices: a selector, a condition, `over`, `enter`, a question or a tag."""

    @property
    def fn(self) -> Callable[..., Any]:
        """Function of the author."""
        ...

    @property
    def reads(self) -> tuple[Read, ...]:
        """Slices that it reads."""
        ...


SignalKey: TypeAlias = tuple[str, PureFunction | None]
"""Name of a signal, and the function of its key if it has one."""


@dataclass(frozen=True, slots=True)
class InspectedNode:
    """One node: `reads`, `writes` and so on are fields of the state.

    `replaces` are those whose earlier value is certainly gone after it. `decides` are those that
    its route and the conditions of its loops read.
    """

    node: Node[Any]
    reads: int
    writes: int
    replaces: int
    decides: int
    takes_failure: bool
    untrusted_tools: tuple[str, ...] = ()
    acting_tools: tuple[str, ...] = ()
    inner: Plan | MapSpec | None = None  # a map without a flow stands for its worker
    undone_with: int = 0  # what its undo reads
    is_recursive: bool = False  # what it runs is the graph that it is in
    # results of a map decide whether its other items run, or become items of it
    decides_inside: bool = False
    feeds_inside: bool = False
    # fields inside that a sub-flow gives back when a signal ends it; None if it keeps nothing
    kept: frozenset[str] | None = None
    # the signal that it waits for, or that ends it, and what the function of its key reads
    signal: str = ""
    key_reads: int = 0

    @property
    def check(self) -> str:
        """Name of the check that it makes, or ""."""
        return self.node.options.declassify or ""

    @property
    def is_ask(self) -> bool:
        """Return whether a person completes it."""
        return self.node.kind == "ask"

    @property
    def lets_person_decide(self) -> bool:
        """Return whether a person agrees before it runs, or is what completes it."""
        return self.is_ask or self.node.options.gate == "before"

    @property
    def has_inside(self) -> bool:
        """Return whether it is a map or a sub-flow."""
        return self.inner is not None

    @property
    def has_effect(self) -> bool:
        """Return whether it declares an effect."""
        return self.node.options.effect != "pure"


@dataclass(frozen=True, slots=True)
class InspectedGraph:
    """A graph, its fields, and what is marked when it starts.

    `declared` has for each mark the fields that declare it, `given` those fields of them that may
    have a value at START. `remembered` are the fields that the next turn begins with.
    """

    name: str
    topology: Topology
    analysis: Analysis
    fields: tuple[str, ...]
    nodes: tuple[InspectedNode, ...]
    declared: Mapping[MarkName, int]
    given: Mapping[MarkName, int]
    input: int
    output: int
    remembered: int
    tags: tuple[tuple[str, int], ...]

    @property
    def is_recursive(self) -> bool:
        """Return whether a node of it runs the graph again."""
        return any(inspected.is_recursive for inspected in self.nodes)

    def name_of(self, node: int) -> str:
        """Return the name of a node, START and END included."""
        return self.topology.name(node)

    def list_fields(self, mask: int) -> list[str]:
        """Return the names of the fields in a mask."""
        return [self.fields[index] for index in split_mask(mask)]


def split_mask(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits in a mask, the lowest first."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def inspect_spec(spec: GraphSpec, topology: Topology, analysis: Analysis) -> InspectedGraph:
    """Return a declared graph as its marks see it."""
    deciding: dict[str, list[PureFunction]] = {}
    for route in reversed(spec.routes):  # a check refuses a second route; the first one counts
        deciding[route.source] = [route.selector]
    for loop in spec.loops:
        for source in loop.sources:
            deciding.setdefault(source, []).append(loop.condition)
    questions: dict[str, PureFunction] = {name: ask.question for name, ask in spec.asks.items()}
    for name, event in spec.events.items():
        function = event.key if isinstance(event, SignalSpec) else event.function
        if function is not None:
            questions[name] = function
    nodes = [spec.nodes[name] for name in topology.names]
    inspector = _Inspector(spec.state, spec.memory)
    return InspectedGraph(
        name=spec.name,
        topology=topology,
        analysis=analysis,
        fields=tuple(inspector.infos),
        nodes=tuple(
            inspector.inspect(
                node,
                deciding.get(node.name, ()),
                spec.maps.get(node.name),
                spec.subs.get(node.name),
                questions.get(node.name),
                _find_key(spec, node),
            )
            for node in nodes
        ),
        declared=inspector.declared,
        given=inspector.find_given(spec.input, spec.remember),
        input=inspector.mask(spec.input),
        output=inspector.mask(spec.output),
        remembered=inspector.mask(*spec.remember),
        tags=tuple((name, inspector.read(tag)) for name, tag in spec.tags.items()),
    )


def inspect_plan(plan: Plan) -> InspectedGraph:
    """Return a compiled graph as its marks see it."""
    inspector = _Inspector(plan.schema.model, plan.memory)
    steps = plan.steps[:-1]
    nodes: list[InspectedNode] = []
    for step in steps:
        deciding: list[PureFunction] = [exit.condition for exit in step.exits]
        if step.route is not None:
            deciding.append(step.route.selector)
        question = step.over if step.ask is not None or step.event is not None else None
        key = step.cancel_on, step.cancel_key
        if isinstance(step.event, SignalSpec):
            key = step.name, step.over
        nodes.append(inspector.inspect(step.node, deciding, step.map, step.sub, question, key))
    return InspectedGraph(
        name=plan.name,
        topology=plan.topology,
        analysis=Analysis(plan.topology),
        fields=tuple(inspector.infos),
        nodes=tuple(nodes),
        declared=inspector.declared,
        given=inspector.find_given(plan.input, plan.remember),
        input=inspector.mask(plan.input),
        output=inspector.mask(plan.output),
        remembered=0,  # a flow inside another one has no next turn
        tags=(),  # the tags of the outermost flow count
    )


def inspect_worker(spec: MapSpec) -> InspectedGraph:
    """Return the worker of a map as a graph of one node, whose state is an item and a result."""
    worker = spec.worker
    assert worker is not None
    topology = Topology((worker.name,))
    topology.add_edge(START_INDEX, 0, "always")
    topology.add_edge(0, topology.end, "always")
    item, result = 1, 2
    untrusted, acting = list_tools(worker)
    declared: dict[MarkName, int] = {
        mark: (item if mark in find_marks(spec.item) else 0)
        | (result if mark in find_marks(spec.result) else 0)
        for mark in MARKS
    }
    given: dict[MarkName, int] = {mark: fields & item for mark, fields in declared.items()}
    return InspectedGraph(
        name=worker.name,
        topology=topology,
        analysis=Analysis(topology),
        fields=("item", "result"),
        nodes=(InspectedNode(worker, item, result, result, 0, False, untrusted, acting),),
        declared=declared,
        given=given,
        input=item,
        output=result,
        remembered=0,
        tags=(),
    )


class _Inspector:
    """Looks at the nodes of one graph."""

    def __init__(self, state: type[BaseModel], memory: Sequence[type[BaseModel]]) -> None:
        self._state = state
        self._models: dict[str, type[BaseModel]] = {}
        self.infos: dict[str, FieldInfo] = {}
        for model in (state, *memory):
            for name, info in model.model_fields.items():
                self.infos[name] = info
                self._models[name] = model
        self._bit = {name: 1 << index for index, name in enumerate(self.infos)}
        self.declared: dict[MarkName, int] = dict.fromkeys(MARKS, 0)
        self._required = self._plain = 0
        for name, info in self.infos.items():
            for mark in find_field_marks(info):
                self.declared[mark] |= self._bit[name]
            if info.is_required():
                self._required |= self._bit[name]
            if find_reducer(info) is None:
                self._plain |= self._bit[name]

    def mask(self, *models: type[BaseModel]) -> int:
        """Return the fields of some slices; those that the state lacks are left out."""
        mask = 0
        for model in models:
            for name in model.model_fields:
                mask |= self._bit.get(name, 0)
        return mask

    def find_given(
        self, input: type[BaseModel], remember: Sequence[type[BaseModel]]
    ) -> dict[MarkName, int]:
        """Return the marked fields that may have a value before anything is written.

        That is what the input brings and what the last turn left, and defaults that are made anew.
        A constant default is the author's own text: it may be a secret, but it is trusted.
        """
        arriving = self.mask(input, *remember)
        made = constant = 0
        for name, info in self.infos.items():
            value = find_constant(self._models[name], info)
            if value is UNSET and not info.is_required():
                made |= self._bit[name]
            elif value is not UNSET and value:
                constant |= self._bit[name]
        return {
            "untrusted": self.declared["untrusted"] & (arriving | made),
            "secret": self.declared["secret"] & (arriving | made | constant),
        }

    def read(self, function: PureFunction) -> int:
        """Return the fields that a pure function reads."""
        return self._find_used(function.fn, function.reads)

    def inspect(
        self,
        node: Node[Any],
        deciding: Sequence[PureFunction],
        map_: MapSpec | None,
        sub: SubSpec | None,
        question: PureFunction | None,
        key: SignalKey,
    ) -> InspectedNode:
        """Return one node."""
        signal, key_function = key
        first = map_.over if map_ is not None else sub.enter if sub is not None else question
        if first is not None:
            reads = self.read(first)
        else:
            reads = self._find_used(node.fn, node.signature.reads)
        decides = 0
        for function in deciding:
            decides |= self.read(function)
        writes = self.mask(*node.signature.writes)
        is_certain = not node.signature.may_skip
        untrusted, acting = list_tools(node)
        inner: Plan | MapSpec | None = sub.flow if sub is not None else map_
        if map_ is not None and map_.flow is not None:
            inner = map_.flow
        around = map_ or sub
        return InspectedNode(
            node=node,
            reads=reads,
            writes=writes,
            replaces=writes & self._required & self._plain if is_certain else 0,
            decides=decides,
            takes_failure=any(read.model is Failure for read in node.signature.reads),
            untrusted_tools=untrusted,
            acting_tools=acting,
            inner=inner,
            undone_with=self._find_used(node.undo.fn, node.undo.signature.reads)
            if node.undo is not None
            else 0,
            is_recursive=around is not None and around.max_depth > 0,
            decides_inside=map_ is not None and map_.until is not None,
            feeds_inside=map_ is not None and map_.grow is not None,
            kept=_find_kept(sub),
            signal=signal,
            key_reads=0 if key_function is None else self.read(key_function),
        )

    def _find_used(self, fn: Callable[..., Any], reads: Sequence[Read]) -> int:
        """Return the fields of some slices.

        A parameter without annotation, as in a lambda, stands for the whole state. If its code only
        takes fields of it (`lambda s: s.score < 7`), it reads these alone.
        """
        mask = 0
        for index, read in enumerate(reads):
            if read.model is None:
                mask |= self._find_used_of_state(fn, index)
            elif read.model is not Failure:
                mask |= self.mask(read.model)
        return mask

    def _find_used_of_state(self, fn: Callable[..., Any], parameter: int) -> int:
        names = list_parameter_names(fn)
        used = None
        if parameter < len(names):
            used = find_used_attributes(fn, names[parameter])
        if used is None or not used <= self.infos.keys():
            return self.mask(self._state)
        return sum(self._bit[name] for name in used)


def _find_key(spec: GraphSpec, node: Node[Any]) -> SignalKey:
    """Return the signal that a node waits for, or that ends it, and the function of its key."""
    event = spec.events.get(node.name)
    if isinstance(event, SignalSpec):
        return node.name, event.key
    return find_cancel_signal(spec, node.name)


def _find_kept(sub: SubSpec | None) -> frozenset[str] | None:
    """Return the fields of the inner state that `keep` reads, if a signal may end a sub-flow."""
    if sub is None or sub.keep is None or not sub.cancel_on:
        return None
    inspector = _Inspector(sub.flow.schema.model, sub.flow.memory)
    names, mask = [*inspector.infos], inspector.read(sub.keep)
    return frozenset(names[index] for index in split_mask(mask))


def find_tools(node: Node[Any]) -> tuple[DeclaredTools, ...]:
    """Return the tools of an agent; none for another node."""
    return getattr(node.fn, "tools", ()) if node.kind == "agent" else ()


def list_tools(node: Node[Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tools of an agent whose results are untrusted, and those that act unasked."""
    return describe_tools(find_tools(node))


def describe_tools(tools: Sequence[DeclaredTools]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of tools whose results are untrusted, and of those that act unasked."""
    untrusted = tuple(name for tool in tools for name in tool.list_untrusted())
    acting = tuple(name for tool in tools for name in tool.list_acting())
    return untrusted, acting
