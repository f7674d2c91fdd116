"""Compiled graphs: tuples, integers and bitmasks, so that no running step looks up a name.

A *position* is a place where a live token can be: a node (by index, END included), the latch of a
loop header, which stands for the next iteration of that loop, or the late work of a node in a loop
that lets its losers finish. The `blockers` of a node are the
positions that can still bring it a token of the same iteration, as a bitmask; `compiler.py` has the
rule that makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from pydantic import BaseModel

from graphorch.errors import Problem
from graphorch.graph.edges import Edge, Label, MarkedFlow, OnExhausted, Topology
from graphorch.graph.node import Node
from graphorch.graph.signature import StateFunction
from graphorch.state.slices import Reader, Reading, Schema, Writing
from graphorch.state.version import Version
from graphorch.text import format_duration, format_moment

Need = int | Literal["arriving", "all"]
Short = Literal["fail", "fire"]
Rest = Literal["cancel", "finish"]
OnItemError = Literal["fail", "skip", "collect"]
Across = Literal["run", "journal"]
Migration = Callable[[dict[str, Any]], dict[str, Any] | None]
"""Rewrites a stored record (body with `kind`) for the present graph; None leaves it out."""

ARRIVING = 0  # `Step.need` of a join that waits for what can still arrive


class BoundFunction:
    """A pure function bound to the state: it reads its slices out of a version, then runs.

    If what it returns may be what it was given (`returns_input`), its slices remember which of
    their fields were assigned, so that an inner flow's input takes over exactly those.
    """

    __slots__ = ("_reads", "fn", "name", "readers", "reads")

    def __init__(
        self, function: StateFunction, schema: Schema, *, returns_input: bool = False
    ) -> None:
        self.fn = function.fn
        self.name = function.name
        self.reads = function.reads
        self.readers = tuple(schema.reader(read.model or schema.model) for read in function.reads)
        self._reads = tuple(
            reader.result if returns_input else reader.read for reader in self.readers
        )

    @property
    def fields(self) -> frozenset[int]:
        """Numbers of the fields that the function reads."""
        return frozenset(field.index for reader in self.readers for field in reader.fields)

    def __call__(self, version: Version) -> Any:
        """Return what the function returns for this version of the state."""
        reads = self._reads
        if len(reads) == 1:
            return self.fn(reads[0](version))
        return self.fn(*[read(version) for read in reads])

    def can_read(self, version: Version) -> bool:
        """Return whether every field that the function reads is assigned."""
        return all(reader.partial or reader.is_assigned(version) for reader in self.readers)


# ---- what a step runs, and how it joins ----------------------------------------------------------
# Some are named tuples: these are made faster than dataclasses, and every program imports them.
class JoinSpec(NamedTuple):
    """How a node joins its incoming edges, where that is not the default."""

    node: str
    need: Need
    short: Short
    rest: Rest = "cancel"


USUAL_CONCURRENCY: Final = 8
"""Items under way at once in a map that says nothing about it, in a process without workers."""


@dataclass(frozen=True, slots=True)
class MapSpec:
    """A node that runs one worker per item.

    Exactly one of `worker` and `flow` is set. `concurrency` is how many items may be under way at
    once, or None for as many as the place of the run offers. `need` is the number of results to
    wait for, or None for all of them. `until` says of the results so far whether they are enough,
    and `grow` returns the items that a result adds. With `unique`, an item equal to an earlier one
    is not added. The signal `cancel_on` ends it with the results so far. With `compensate`, what
    was committed is undone if the map fails for good, and that of an item if the map does without
    it.
    """

    item: type[BaseModel]
    result: type[BaseModel]
    worker: Node[Any] | None
    flow: Plan | None
    over: StateFunction
    gather: Callable[..., Any]
    wants_missing: bool
    max_items: int
    concurrency: int | None
    need: int | None
    on_item_error: OnItemError
    until: Callable[[list[Any]], object] | None = None
    grow: Callable[[Any], object] | None = None
    compensate: bool = False
    rest: Rest = "cancel"
    short: Short = "fail"
    max_depth: int = 0  # how often its flow, which is the graph itself, may be inside itself
    unique: bool = False
    cancel_on: str = ""

    @property
    def usual_concurrency(self) -> int:
        """How many items may be under way at once in a process without workers."""
        return USUAL_CONCURRENCY if self.concurrency is None else self.concurrency

    @property
    def is_reviewed(self) -> bool:
        """Whether something is decided after each item that is done."""
        return self.until is not None or self.grow is not None

    def list_reviews(self) -> list[str]:
        """Return the names of the options that decide something after each item."""
        options = {"until": self.until, "grow": self.grow, "unique": self.unique or None}
        return [name for name, value in options.items() if value is not None]


@dataclass(frozen=True, slots=True)
class SubSpec:
    """A node that runs a flow, with an explicit mapping in and out.

    With `compensate`, what was committed inside is undone if the flow fails for good.
    The signal `cancel_on` ends it: with what `keep` makes of what was committed inside, or with a
    failure.
    """

    flow: Plan
    enter: StateFunction
    leave: Callable[..., Any]
    compensate: bool = False
    max_depth: int = 0  # how often its flow, which is the graph itself, may be inside itself
    cancel_on: str = ""
    keep: StateFunction | None = None


class AskSpec(NamedTuple):
    """A node that a person completes.

    `question` returns the text to show, `answer` is the slice that an answer becomes, and `expires`
    the seconds after which an answer is too late.
    """

    question: StateFunction
    answer: type[BaseModel]
    expires: float | None = None


class SignalSpec(NamedTuple):
    """A node that waits for a signal from outside, and writes its value.

    `keep` is how many are kept that come before a node waits for them; `key` returns which of the
    signals of this name is meant; `expires` are the seconds after which it is not waited for.
    """

    value: type[BaseModel]
    keep: int = 1
    key: StateFunction | None = None
    expires: float | None = None

    @property
    def text(self) -> str:
        """What is waited for, for people."""
        return f"signal · {self.value.__name__}"

    @property
    def details(self) -> tuple[str, ...]:
        """What more people may want to know of it."""
        kept = f"up to {self.keep} kept that come early" if self.keep else "none kept before"
        words = [kept if self.keep != 1 else "one kept that comes early"]
        if self.key is not None:
            words.insert(0, f"with the key that {self.key.name} returns")
        if self.expires is not None:
            words.append(f"waited for {format_duration(self.expires)}")
        return tuple(words)


class TimerSpec(NamedTuple):
    """A node that waits for a time: `seconds` after it began, or what a function returns.

    `function` returns a duration or, with `is_moment`, a date; `moment` is a date that is fixed, in
    seconds since the epoch. Exactly one of the three is set.
    """

    seconds: float | None = None
    moment: float | None = None
    function: StateFunction | None = None
    is_moment: bool = False

    @property
    def text(self) -> str:
        """What is waited for, for people."""
        if self.moment is not None:
            return f"until {format_moment(self.moment)}"
        if self.seconds is not None:
            return f"after {format_duration(self.seconds)}"
        assert self.function is not None
        name = "a computed time" if self.function.name == "<lambda>" else self.function.name
        return f"until {name}" if self.is_moment else f"after {name}"

    @property
    def details(self) -> tuple[str, ...]:
        """What more people may want to know of it."""
        return ()


EventSpec: TypeAlias = SignalSpec | TimerSpec


class ExclusiveSpec(NamedTuple):
    """An exclusive region: of these nodes one runs at a time in a run.

    With `across="journal"` one attempt of them runs at a time in all runs of a journal.
    """

    name: str
    nodes: tuple[str, ...]
    across: Across = "run"


# ---- how a step is left --------------------------------------------------------------------------
class CompiledRoute(NamedTuple):
    """A compiled route: which edges each label takes.

    A label that is not listed takes the `default` edges, which exist if the route has `otherwise`.
    """

    selector: BoundFunction
    is_multi: bool
    edges: Mapping[Label, tuple[Edge, ...]]
    default: tuple[Edge, ...] | None

    def find_edges(self, label: Label) -> tuple[Edge, ...] | None:
        """Return the edges that a label takes, or None if it has no target."""
        return self.edges.get(label, self.default)


class LoopExit(NamedTuple):
    """A loop as one of its sources sees it; `instead` is the edge of an exhausted loop, if any."""

    loop: int
    condition: BoundFunction
    bound: int
    back: Edge
    exhausted: OnExhausted
    instead: Edge | None


# ---- steps and plans -----------------------------------------------------------------------------
@dataclass(slots=True, eq=False, repr=False)  # quicker to import
class Step:
    """One node of the plan, with what running it looks up all the time derived once."""

    index: int
    name: str
    node: Node[Any]
    edges: tuple[Edge, ...]
    route: CompiledRoute | None
    exits: tuple[LoopExit, ...]
    inside: frozenset[int]  # loops whose body this node is in
    heads: tuple[int, ...]  # loops whose header this node is
    joins: bool  # more than one edge can bring it a token
    blockers: int
    tracked: bool  # this position blocks some node, so it has to be known whether it is live
    latch: int  # position of its latch, or -1
    join: JoinSpec | None  # as declared; None is the default
    region: tuple[int, ...]  # nodes that a quorum join cancels once it has what it needs
    reads: tuple[tuple[Reading, bool], ...]
    writes: tuple[Writing, ...]
    map: MapSpec | None
    sub: SubSpec | None
    # evaluated first by a map, a sub-flow or a question
    over: BoundFunction | None
    # runs inside a sub-flow, or once per item of a map
    inner_plan: Plan | None = None
    # exception types and the error edge that they take; the first match counts
    errors: tuple[tuple[tuple[type[BaseException], ...], Edge], ...] = ()
    decides: bool = False  # something must be evaluated before its tokens can be emitted
    ask: AskSpec | None = None
    event: EventSpec | None = None  # what it waits for
    rivals: tuple[int, ...] = ()  # events of which only the first counts, without this one
    # what ends a map or sub-flow from outside, the key of that, and what is kept of the sub-flow
    cancel_on: str = ""
    cancel_key: BoundFunction | None = None
    keep: BoundFunction | None = None
    # position of the `Failure` parameter, not counting the context, or -1; `reads` has the others
    failure_at: int = -1
    exclusive: tuple[str, ...] = ()  # the exclusive regions that it is a member of, by name
    shared_regions: tuple[str, ...] = ()  # those of them that all runs of a journal share
    undo: Plan | None = None  # of one step, on the same state, that takes back what the node did
    late: int = -1  # position of its late work that the headers of loops around it wait for, or -1

    # Derived.
    bit: int = field(init=False)  # in the masks of live positions; 0 unless tracked
    latch_bit: int = field(init=False)
    late_bit: int = field(init=False)
    need: int = field(init=False)  # `ARRIVING`, or the k of a quorum join
    short: Short = field(init=False)  # what a quorum join does if fewer than k can come
    finishes: bool = field(init=False)  # a quorum join lets its losers finish
    fn: Callable[..., Any] = field(init=False)
    has_context: bool = field(init=False)
    reads_one: bool = field(init=False)  # exactly one slice, which must be assigned
    maps_one: bool = field(init=False)  # its function gets that slice alone and returns one slice
    read: Callable[[Any], Any] = field(init=False)  # set if `maps_one`
    write: Callable[[object], dict[int, Any]] = field(init=False)  # set if `maps_one`
    approved_after: bool = field(init=False)  # a person has to approve its result
    is_simple: bool = field(init=False)  # running it is calling its async function, nothing else
    compensates: bool = field(init=False)  # what is committed inside is undone if it fails
    max_depth: int = field(init=False)  # its bound, if it runs the flow that it is in; 0 otherwise
    may_end_early: bool = field(init=False)  # a map or sub-flow that is ended from outside
    ends: bool = False  # its only edge leads to END, and no other edge does; the plan sets it

    def __post_init__(self) -> None:
        self.bit = 1 << self.index if self.tracked else 0
        self.latch_bit = 1 << self.latch if self.latch >= 0 else 0
        self.late_bit = 1 << self.late if self.late >= 0 else 0
        join = self.join
        self.need = join.need if join is not None and isinstance(join.need, int) else ARRIVING
        self.short = join.short if join is not None else "fail"
        self.finishes = join is not None and join.rest == "finish"
        signature = self.node.signature
        self.fn, self.has_context = self.node.fn, signature.has_context
        self.reads_one = len(self.reads) == 1 and not self.reads[0][1] and self.failure_at < 0
        self.approved_after = self.node.options.gate == "after"
        region, inner = self.sub or self.map, self.inner_plan
        self.compensates = region is not None and (
            region.compensate or (inner is not None and inner.compensate)
        )
        self.maps_one = (
            self.reads_one
            and not self.has_context
            and len(self.writes) == 1
            and not signature.may_skip
        )
        if self.maps_one:
            self.read, self.write = self.reads[0][0].read, self.writes[0].update
        has_more = self.ask is not None or self.inner_plan is not None or self.shared_regions
        self.is_simple = self.node.is_simple and not has_more
        inner = self.map or self.sub
        self.max_depth = inner.max_depth if inner is not None else 0
        has_deadline = self.inner_plan is not None and self.node.options.deadline is not None
        self.may_end_early = has_deadline or bool(self.cancel_on)


@dataclass(slots=True, eq=False, repr=False)  # quicker to import
class Plan:
    """A graph that was checked and compiled; the last of its `steps` is END.

    `memory` are slices beside the state that patterns keep for their own nodes, `remember` the
    slices with which the next turn of a conversation begins, and `migrations` read what graphs of
    other fingerprints stored.
    """

    name: str
    schema: Schema
    input: type[BaseModel]
    output: type[BaseModel]
    steps: tuple[Step, ...]
    starts: tuple[Edge, ...]
    topology: Topology
    read_input: Writing
    read_output: Reading
    read_state: Reader[Any]
    blocked: tuple[int, ...]  # for each position the joins that it blocks; empty without joins
    latch_headers: Mapping[int, int]  # latch position -> header
    reducers: frozenset[int]  # fields that have one
    memory: tuple[type[BaseModel], ...] = ()
    remember: tuple[type[BaseModel], ...] = ()
    migrations: Mapping[str, Migration] = field(default_factory=dict[str, Migration])
    resources: tuple[tuple[str, type], ...] = ()
    problems: tuple[Problem, ...] = ()  # warnings
    marked: MarkedFlow | None = None  # where marked values are, if there are any
    # loop -> the nested loops whose count begins anew when it is taken
    resets: Mapping[int, frozenset[int]] = field(default_factory=dict[int, frozenset[int]])
    tags: tuple[tuple[str, BoundFunction], ...] = ()  # labels that model calls carry
    # the nodes of fallbacks, and the first format of journals that describes them
    fallback_nodes: Mapping[str, int] = field(default_factory=dict[str, int])
    fallback_memory: frozenset[type[BaseModel]] = frozenset()
    # those that it waits for, those of sub-flows and maps included, by name
    signals: Mapping[str, SignalSpec] = field(default_factory=dict[str, SignalSpec])
    compensate: bool = False  # a run that fails is undone and cancelled
    # It has no nodes: it stands where a flow may not be inside itself once more.
    is_floor: bool = False

    # Derived once, since every run needs them.
    end: int = field(init=False)  # index of END
    late_positions: int = field(init=False)  # mask of the positions of late work
    # the only node that START leads to, if no other edge leads there
    entry: Step | None = field(init=False, repr=False, compare=False)
    # The next nine look into sub-flows and maps too.
    has_quorums: bool = field(init=False)
    exclusive: frozenset[str] = field(init=False)  # exclusive regions; those of flow tools too
    shared_regions: frozenset[str] = field(init=False)  # those that all runs of a journal share
    # pairs of regions: what holds the first may wait for the second inside
    exclusive_orders: frozenset[tuple[str, str]] = field(init=False)
    has_recursion: bool = field(init=False)  # some flow runs itself
    can_ask: bool = field(init=False)  # some node has a context, and so may ask a model
    acts_once: bool = field(init=False)  # some node has effects that must not happen twice
    has_undos: bool = field(init=False)  # what some node or tool did can be taken back
    may_call_tools: bool = field(init=False)  # some node is an agent with tools, or may be like one
    has_due_times: bool = field(init=False)  # some node waits until a time
    levels: int = field(init=False)  # of flows inside each other, this one included
    # nodes with those of sub-flows and maps, as often as they occur; of a recursion, one level
    size: int = field(init=False)
    # By format of the journal; `fingerprint.py` fills them once.
    descriptions: dict[int, dict[str, Any]] = field(
        init=False, default_factory=dict[int, dict[str, Any]], repr=False, compare=False
    )
    fingerprints: dict[int, str] = field(
        init=False, default_factory=dict[int, str], repr=False, compare=False
    )

    def __post_init__(self) -> None:
        self.end = len(self.steps) - 1
        self.late_positions = 0
        for step in self.steps:
            self.late_positions |= step.late_bit
            if not step.decides:
                target = self._sole_target(step.edges)
                step.ends = target is not None and target.index == self.end
        self.entry = self._sole_target(self.starts)
        if self.entry is not None and self.entry.index == self.end:
            self.entry = None
        inner = [step.inner_plan for step in self.steps if step.inner_plan is not None]
        self._find_features(inner)
        self.levels = 0 if self.is_floor else 1 + max((plan.levels for plan in inner), default=0)
        self.size = self.end + sum(plan.size for _, plan in self.list_inner())

    def _find_features(self, inner: Sequence[Plan]) -> None:
        """Find what some node does, or some flow inside of one: in one look at each of them."""
        self.has_quorums = any(plan.has_quorums for plan in inner)
        self.has_recursion = any(plan.has_recursion for plan in inner)
        self.can_ask = any(plan.can_ask for plan in inner)
        self.acts_once = any(plan.acts_once for plan in inner)
        self.may_call_tools = any(plan.may_call_tools for plan in inner)
        self.has_due_times = any(plan.has_due_times for plan in inner)
        self.has_undos = any(plan.has_undos for plan in inner)
        names, shared, orders = set[str](), set[str](), set[tuple[str, str]]()
        for step in self.steps:
            node, options = step.node, step.node.options
            is_function = node.kind == "node"  # neither waits, nor has a flow inside
            if step.need:
                self.has_quorums = True
            if step.max_depth:
                self.has_recursion = True
            if step.has_context:
                self.can_ask = True
                self.may_call_tools = self.may_call_tools or _may_call_tools(node)
            if options.effect == "once":
                self.acts_once = True
            if (not is_function or options.expires is not None) and _has_due_time(step):
                self.has_due_times = True
            if options.undo is not None or (node.kind == "agent" and has_undo(node)):
                self.has_undos = True
            if step.exclusive or not is_function:
                names.update(step.exclusive)
                shared.update(step.shared_regions)
                for flow in list_flows_inside(node, step.inner_plan):
                    names |= flow.exclusive
                    shared |= flow.shared_regions
                    orders |= flow.exclusive_orders
                    orders.update(
                        (outer, other) for outer in step.exclusive for other in flow.exclusive
                    )
        self.exclusive, self.exclusive_orders = frozenset(names), frozenset(orders)
        self.shared_regions = frozenset(shared)

    def list_inner(self) -> list[tuple[Step, Plan]]:
        """Return the nodes with a flow inside, and that flow; without those that run this one."""
        return [
            (step, step.inner_plan)
            for step in self.steps
            if step.inner_plan is not None and not step.max_depth
        ]

    def list_all(self) -> list[Plan]:
        """Return this plan and those of all flows inside of it, each once."""
        plans: dict[int, Plan] = {id(self): self}
        pending: list[Plan] = [self]
        while pending:
            for step in pending.pop().steps:
                inner = step.inner_plan
                if inner is not None and id(inner) not in plans:
                    plans[id(inner)] = inner
                    pending.append(inner)
        return list(plans.values())

    def _sole_target(self, edges: Sequence[Edge]) -> Step | None:
        """Return the target of a single edge, if no other edge leads there too."""
        if len(edges) != 1:
            return None
        target = self.steps[edges[0].target]
        return None if target.joins else target


def _has_due_time(step: Step) -> bool:
    """Return whether a node waits until a time."""
    if step.inner_plan is not None:
        return step.node.options.deadline is not None
    if step.node.options.expires is not None:
        return True
    if isinstance(step.event, SignalSpec):
        return step.event.expires is not None
    return step.event is not None or (step.ask is not None and step.ask.expires is not None)


def has_undo(node: Node[Any]) -> bool:
    """Return whether a node has an undo, or one of its tools."""
    if node.undo is not None:
        return True
    tools = getattr(node.fn, "tools", ()) if node.kind == "agent" else ()
    return any(_has_undo_inside(tool) for tool in tools)


def _has_undo_inside(tool: Any) -> bool:
    """Return whether a tool of an agent has an undo, or is a flow in which something has one."""
    if not isinstance(getattr(tool, "node", None), Node):
        return False  # a server, whose tools act elsewhere
    sub: SubSpec | None = getattr(tool, "sub", None)
    return tool.node.options.undo is not None or (sub is not None and sub.flow.has_undos)


def _may_call_tools(node: Node[Any]) -> bool:
    """Return whether a node may have a model call tools; a function decides that when it runs."""
    if not node.signature.has_context or not node.options.asks_models:
        return False
    return node.kind != "agent" or bool(getattr(node.fn, "tools", ()))


def list_flows_inside(node: Node[Any], inner: Plan | None) -> list[Plan]:
    """Return the flows that run inside a node: its own, and those that its model may call."""
    tools: Sequence[Any] = getattr(node.fn, "tools", ())
    if not tools:
        return [] if inner is None else [inner]
    subs = [sub for tool in tools if (sub := getattr(tool, "sub", None)) is not None]
    return [*([inner] if inner is not None else []), *(sub.flow for sub in subs)]
