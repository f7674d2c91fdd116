"""Seeded generator of random valid graphs with loops, races, maps, sub-flows and error edges.

Theory of operation. A draft is a random acyclic graph whose nodes are named in topological order
and declared in another one. Races (`need=k` joins) are planted on plain edges, where their region
is valid by construction; loops and error edges are added one at a time and dropped again where they
make the graph invalid (`structure.mistakes`). A graph in which two nodes wrote one plain field at
once is refused by whoever runs the reference on it. With events, some nodes become signals and
timers, and some plain edges become the first of several events.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from pydantic import BaseModel

from graphorch.graph.builder import GraphBuilder
from graphorch.graph.compiler import compile_plan
from graphorch.graph.node import END, Node
from graphorch.graph.plan import MapSpec, Plan, SignalSpec, SubSpec, TimerSpec
from graphorch.graph.signature import Read, Signature, StateFunction
from graphorch.graph.spec import GraphSpec
from graphorch.graph.topology import build_topology
from tests.simulation.behaviour import (
    OWNED,
    SLICES,
    Boom,
    Choice,
    Inside,
    Item,
    Key,
    Reply,
    State,
    While,
    Work,
    Worker,
)
from tests.simulation.structure import Structure, mistakes, region_of, structure_of

Fn = Callable[..., Any]

# What nodes write that wait for something; the value of a signal is a log.
_WRITTEN: dict[str, tuple[str, ...]] = {"signal": ("Log",), "timer": (), "first": ()}


@dataclass(slots=True)
class Sample:
    """Random graph: specification and plan for the core, and its functions for the reference."""

    seed: int
    name: str
    blueprint: GraphSpec
    plan: Plan
    structure: Structure
    works: dict[str, Work]
    choices: dict[str, Choice]
    whiles: list[While]
    insides: dict[str, Inside]  # of map and sub nodes
    flows: dict[str, Sample]  # what runs inside them, unless it is a worker
    workers: dict[str, Worker]
    events: dict[str, str]  # name -> "signal", "timer", "ask" or "first"
    keys: dict[str, Key]  # of signals

    @property
    def has_events(self) -> bool:
        """Return whether the run waits for something from outside, at any level."""
        return bool(self.events) or any(flow.has_events for flow in self.flows.values())

    @property
    def finishing(self) -> set[str]:
        """Return the joins that let their losers finish."""
        return {join.node for join in self.blueprint.joins if join.rest == "finish"}

    @property
    def lets_finish(self) -> bool:
        """Return whether a join or map at any level lets its losers finish."""
        maps = self.blueprint.maps.values()
        own = bool(self.finishing) or any(spec.rest == "finish" for spec in maps)
        return own or any(flow.lets_finish for flow in self.flows.values())

    @property
    def races(self) -> bool:
        """Return whether timing may decide the result: a `need=k` join or map at any level."""
        quorum = any(isinstance(join.need, int) for join in self.blueprint.joins) or any(
            spec.need is not None for spec in self.blueprint.maps.values()
        )
        return quorum or any(flow.races for flow in self.flows.values())


@dataclass(slots=True)
class Draft:
    """Graph that is being drawn up; names are in topological order."""

    rng: random.Random
    names: list[str]
    declared: list[str]
    always: dict[str, list[str]]
    routes: dict[str, tuple[bool, dict[str, list[str]]]] = field(default_factory=dict)
    # sources, header, bound, exhausted, rate
    loops: list[tuple[list[str], str, int, str, int]] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)
    needs: dict[str, int] = field(default_factory=dict)
    inner: dict[str, str] = field(default_factory=dict)  # name -> "map" or "sub"
    exclusives: dict[str, list[str]] = field(default_factory=dict)  # region -> its nodes
    events: dict[str, str] = field(default_factory=dict)  # name -> its kind
    firsts: dict[str, list[str]] = field(default_factory=dict)  # name -> its events
    has_events: bool = False

    def after(self, name: str) -> list[str]:
        """Return the nodes behind a node that an edge may lead to, and END."""
        return [*self.without_firsts(self.names[self.names.index(name) + 1 :]), "END"]

    def without_firsts(self, names: list[str]) -> list[str]:
        """Return the nodes that are no events of which the first counts."""
        rivals = {event for events in self.firsts.values() for event in events}
        return [name for name in names if name not in rivals]

    def targets(self, name: str) -> list[str]:
        """Return the nodes that a node leads to, forwards."""
        routed = [
            target
            for targets in self.routes.get(name, (False, {}))[1].values()
            for target in targets
        ]
        return [*self.always.get(name, []), *routed, *self.firsts.get(name, [])]


def random_graph(seed: int, *, level: int = 0, events: bool = False) -> Sample:
    """Return the valid graph of a seed; with `events`, parts of it wait for what is outside."""
    rng = random.Random(seed)
    while True:
        draft = _drawn(rng, level, events=events)
        _add_regions(draft, random.Random(f"{seed}, exclusive regions"), level)
        sample = _built(draft, seed, level)
        if next(mistakes(sample.structure), None) is None:
            return sample


def invalid_or_not(rng: random.Random) -> GraphSpec:
    """Return a graph whose last loops and error edge may be invalid; its functions do nothing."""
    draft = _drawn(rng, 0)
    for _ in range(rng.choice([1, 2, 3])):
        _add_loop(draft)
    if rng.random() < 0.3:
        _add_error(draft)
    return _blueprint(draft)


# ---- drawing up ----------------------------------------------------------------------------------
def _drawn(rng: random.Random, level: int, *, events: bool = False) -> Draft:
    count = rng.randint(1, 4) if level else rng.randint(2, 11)
    names = [f"n{number}" for number in range(count)]
    draft = Draft(rng, names, [], {name: [] for name in names}, has_events=events)
    _add_edges(draft)
    for _ in range(rng.choice([0, 0, 0, 0, 0, 1] if level else [0, 0, 0, 1, 1, 2])):
        _plant_race(draft)
    if events:
        _plant_events(draft, level)
    draft.declared = (
        rng.sample(draft.names, len(draft.names)) if rng.random() < 0.7 else list(draft.names)
    )
    if level < 2:
        for name in draft.names:
            if rng.random() < (0.06 if level else 0.1) and name not in draft.events:
                draft.inner[name] = rng.choice(["map", "map", "sub"])
    wanted = rng.choice([0, 1, 1, 2, 3, 4])
    for _ in range(5 * wanted):
        if len(draft.loops) < wanted:
            _try(draft, _add_loop)
    for _ in range(rng.choice([0, 0, 1, 2])):
        _try(draft, _add_error)
    return draft


def _add_edges(draft: Draft) -> None:
    rng, names = draft.rng, draft.names
    leads: dict[str, list[str]] = {name: [] for name in names}
    # slim as a chain, or wide
    steps, extra = rng.choice(
        [*[([1, 1, 1, 1, 1, 2], len(names) // 4)] * 2, ([1, 1, 1, 2, 3, 5], len(names))]
    )
    for at, name in enumerate(names[1:], 1):
        if rng.random() < 0.97:
            leads[names[max(0, at - rng.choice(steps))]].append(name)
    for _ in range(rng.randint(0, extra)):
        name = rng.choice(names)
        target = rng.choice(draft.after(name))
        if target not in leads[name]:
            leads[name].append(target)
    for name, targets in leads.items():
        _share_out(draft, name, targets)


def _share_out(draft: Draft, name: str, targets: list[str]) -> None:
    """Make the edges of a node plain, routed, or some of each."""
    rng = draft.rng
    style = rng.choice(["always", "always", "one", "many", "mixed"]) if targets else "always"
    routed: list[str] = []
    if style in ("one", "many"):
        routed = targets
    elif style == "mixed":
        routed = [target for target in targets if rng.random() < 0.5]
    draft.always[name] = [target for target in targets if target not in routed]
    if not routed:
        return
    labels: dict[str, list[str]] = {f"l{at}": [target] for at, target in enumerate(routed)}
    if rng.random() < 0.3:
        labels[f"l{len(labels)}"] = (
            rng.sample(draft.after(name), 1)
            if rng.random() < 0.5
            else rng.sample(routed, min(2, len(routed)))
        )
    draft.routes[name] = (style == "many" or rng.random() < 0.3, labels)


def _plant_race(draft: Draft) -> None:
    """Put a fork, branches and a `need=k` join in the place of one plain edge."""
    rng = draft.rng
    edges = [(name, target) for name in draft.names for target in draft.always[name]]
    if not edges or len(draft.names) > 14:
        return
    source, target = rng.choice(edges)
    stem = f"r{len(draft.names)}"
    fork, join = f"{stem}f", f"{stem}j"
    branches = [
        [f"{stem}b{number}{part}" for part in "xy"[: rng.randint(1, 2)]]
        for number in range(rng.randint(2, 3))
    ]
    draft.always[source][draft.always[source].index(target)] = fork
    draft.always[fork] = [branch[0] for branch in branches]
    for branch in branches:
        for text, following in zip(branch, [*branch[1:], join], strict=True):
            draft.always[text] = [following]
    draft.always[join] = [target]
    if rng.random() < 0.3:
        draft.always[branches[0][0]], draft.routes[branches[0][0]] = (
            [],
            (False, {"l0": list(draft.always[branches[0][0]]), "l1": [join]}),
        )
    draft.needs[join] = rng.randint(1, len(branches))
    at = draft.names.index(source) + 1
    draft.names[at:at] = [fork, *(name for branch in branches for name in branch), join]


def _plant_events(draft: Draft, level: int) -> None:
    """Have some nodes wait for signals and times, and put firsts of events on plain edges."""
    rng = draft.rng
    for name in draft.names:
        if rng.random() < (0.35 if level else 0.2):
            draft.events[name] = rng.choice(["signal", "signal", "timer"])
    for _ in range(rng.choice([0, 1] if level else [0, 1, 1, 2])):
        edges = [(name, target) for name in draft.names for target in draft.always[name]]
        if not edges or len(draft.names) > 14:
            return
        source, target = rng.choice(edges)
        if target in draft.needs:
            continue  # each event would be an arrival of its own
        stem = f"e{len(draft.names)}"
        kinds = rng.sample(["signal", "signal", "timer", "ask"], rng.randint(2, 4))
        names = [f"{stem}{kind}{at}" for at, kind in enumerate(kinds)]
        draft.always[source][draft.always[source].index(target)] = stem
        draft.always[stem] = []
        draft.always |= {name: [target] for name in names}
        draft.events |= {stem: "first", **dict(zip(names, kinds, strict=True))}
        draft.firsts[stem] = names
        at = draft.names.index(source) + 1
        draft.names[at:at] = [stem, *names]


def _try(draft: Draft, change: Callable[[Draft], Callable[[], None]]) -> None:
    """Make a change, and take it back if it makes the graph invalid."""
    undo = change(draft)
    if next(mistakes(structure_of(_blueprint(draft))), None) is not None:
        undo()


def _add_loop(draft: Draft) -> Callable[[], None]:
    rng = draft.rng
    header = rng.choice(draft.without_firsts(draft.names))
    behind = draft.names[draft.names.index(header) :]
    sources = [name for name in behind if name not in draft.firsts]
    if draft.loops and rng.random() < 0.6:  # around one that is there, or on its header
        inner_sources, inner, *_ = rng.choice(draft.loops)
        header = rng.choice(
            [
                inner,
                *draft.without_firsts(
                    draft.names[max(0, draft.names.index(inner) - 3) : draft.names.index(inner) + 1]
                ),
            ]
        )
        behind = draft.names[draft.names.index(inner_sources[0]) + 1 :]
        sources = list(dict.fromkeys([*inner_sources, *behind]))
        sources = [name for name in sources if name not in draft.firsts]
    chosen = rng.sample(sources, min(len(sources), rng.choice([1, 1, 1, 2])))
    exhausted = rng.choice(["continue", "continue", *draft.after(header)])
    extra: list[str] = []
    for name in chosen:
        if not draft.targets(name):
            draft.always[name].append("END")
            extra.append(name)
    draft.loops.append(
        (chosen, header, rng.choice([1, 2, 2, 3, 3]), exhausted, rng.choice([30, 60, 90]))
    )

    def undo() -> None:
        draft.loops.pop()
        for name in extra:
            draft.always[name].remove("END")

    return undo


def _add_error(draft: Draft) -> Callable[[], None]:
    source = draft.rng.choice([name for name in draft.names if name not in draft.firsts])
    draft.errors.append((source, draft.rng.choice(draft.after(source))))
    return lambda: draft.errors.pop() and None


def _add_regions(draft: Draft, rng: random.Random, level: int) -> None:
    """Make nodes exclusive, in some of the graphs; a node may be in several regions.

    Regions are named after levels of flows, so that no circle is possible: what has something
    inside is in regions of its own level only. All flows of a level share them.
    """
    if rng.random() < 0.5:
        return
    for name in draft.declared:
        last = level if name in draft.inner else 2
        for region in sorted({f"{rng.choice('xy')}{rng.randint(level, last)}" for _ in range(2)}):
            if rng.random() < 0.4:
                draft.exclusives.setdefault(region, []).append(name)
    for events in draft.firsts.values():  # they wait at the same time, so one of each is in it
        for region, nodes in draft.exclusives.items():
            rivals = [name for name in nodes if name in events][1:]
            draft.exclusives[region] = [name for name in nodes if name not in rivals]
    members = {frozenset(names): region for region, names in sorted(draft.exclusives.items())}
    draft.exclusives = {region: draft.exclusives[region] for region in sorted(members.values())}


# ---- building ------------------------------------------------------------------------------------
def _blueprint(draft: Draft) -> GraphSpec:
    """Return a blueprint whose functions do nothing: enough to judge its structure."""
    nothing = {name: _node(name, lambda state: None, ("Log",), "node") for name in draft.declared}
    choices = {
        name: Choice(0, tuple(labels), many) for name, (many, labels) in draft.routes.items()
    }
    return _connected(draft, nothing, choices, [While(0, 0) for _ in draft.loops])


def _connected(
    draft: Draft, nodes: dict[str, Node[Any]], choices: dict[str, Choice], whiles: list[While]
) -> GraphSpec:
    graph = GraphBuilder(f"g{len(nodes)}", State, None, None)
    known: dict[str, Node[Any]] = {**nodes, "END": cast("Node[Any]", END)}
    for name in draft.declared:
        graph.chain(nodes[name])
    for source in draft.declared:
        for target in draft.always[source]:
            graph.chain(nodes[source], known[target])
    for name, (_, labels) in draft.routes.items():
        route: Any = graph._route(nodes[name], _selector(choices[name]))
        *cases, rest = labels.items()
        for label, targets in cases:
            route.when(label, [known[target] for target in targets])
        if len(labels) % 2:
            route.otherwise([known[target] for target in rest[1]])
        else:
            route.when(rest[0], [known[target] for target in rest[1]]).exhaustive()
    for (sources, header, bound, exhausted, _), holds in zip(draft.loops, whiles, strict=True):
        ending: Any = known.get(exhausted, exhausted)
        graph.loop(
            [nodes[name] for name in sources],
            back_to=nodes[header],
            while_=_on_state(holds),
            max_iterations=bound,
            exhausted=ending,
        )
    for source, handler in draft.errors:
        graph.on_error(nodes[source], known[handler], when=Boom)
    for name, need in draft.needs.items():
        rest = "finish" if (len(name) + len(draft.names) + need) % 2 else "cancel"
        graph.join(nodes[name], need=need, short="fire", rest=rest)
    for region, members in draft.exclusives.items():
        graph.exclusive(region, [nodes[name] for name in members])
    graph.spec.firsts |= {name: tuple(events) for name, events in draft.firsts.items()}
    assert not graph.spec.problems, graph.spec.problems
    return graph.spec


def _built(draft: Draft, seed: int, level: int) -> Sample:
    rng = draft.rng
    works: dict[str, Work] = {}
    insides: dict[str, Inside] = {}
    flows: dict[str, Sample] = {}
    workers: dict[str, Worker] = {}
    nodes: dict[str, Node[Any]] = {}
    may_fail = {source for source, _ in draft.errors}
    for at, name in enumerate(draft.declared):
        count = 1 if name in draft.inner else 2
        slices = tuple(
            dict.fromkeys(
                rng.sample(
                    [f"W{at % OWNED}"] * 5 + ["Log"] * 4 + ["Best", "Best", "S0", "S1"], count
                )
            )
        )
        kind = draft.events.get(name, draft.inner.get(name, "node"))
        if kind in _WRITTEN:
            slices = _WRITTEN[kind]
        work = works[name] = Work(
            rng.getrandbits(32), slices, rng.choice([30, 60]) if name in may_fail else 0
        )
        nodes[name] = _node(name, _writer(work), slices, kind)
        if name in draft.inner:
            _fill(rng, name, draft, work, level, insides, flows, workers)
    choices = {
        name: Choice(rng.getrandbits(32), tuple(labels), many)
        for name, (many, labels) in draft.routes.items()
    }
    whiles = [While(rng.getrandbits(32), rate) for *_, rate in draft.loops]
    blueprint = _connected(draft, nodes, choices, whiles)
    keys = _add_waits(draft, blueprint)
    for name, inside in insides.items():
        if draft.inner[name] == "sub":
            blueprint.subs[name] = SubSpec(
                flows[name].plan, StateFunction(_enter(inside), (Read(State),)), _leave(inside)
            )
        else:
            blueprint.maps[name] = _map_spec(rng, inside, flows.get(name), workers.get(name))
    structure = structure_of(blueprint)
    plan = compile_plan(blueprint, build_topology(blueprint), regions_of(structure))
    return Sample(
        seed,
        blueprint.name,
        blueprint,
        plan,
        structure,
        works,
        choices,
        whiles,
        insides,
        flows,
        workers,
        draft.events,
        keys,
    )


def _add_waits(draft: Draft, blueprint: GraphSpec) -> dict[str, Key]:
    """Say what signals and timers wait for; return the keys of the signals."""
    keys: dict[str, Key] = {}
    for name, kind in draft.events.items():
        if kind == "timer":
            blueprint.events[name] = TimerSpec(seconds=60.0)
        elif kind == "signal":
            keys[name] = Key(draft.rng.getrandbits(32), draft.rng.randint(0, 2))
            function = StateFunction(_on_state(keys[name]), (Read(State),))
            # A signal of this name means the same at every level.
            keep = ord(name[-1]) % 4
            blueprint.events[name] = SignalSpec(SLICES["Log"], keep, function, 60.0)
    return keys


def _fill(
    rng: random.Random,
    name: str,
    draft: Draft,
    work: Work,
    level: int,
    insides: dict[str, Inside],
    flows: dict[str, Sample],
    workers: dict[str, Worker],
) -> None:
    kind = draft.inner[name]
    flow = kind == "sub" or rng.random() < 0.4
    if flow:
        seed, events = rng.getrandbits(30), draft.has_events
        flows[name] = random_graph(seed, level=level + 1, events=events)
    else:
        workers[name] = Worker(rng.getrandbits(32), rng.choice([0, 0, 30]))
    insides[name] = Inside(work, (1, 1) if kind == "sub" else rng.choice([(0, 3), (2, 4)]), flow)


def _map_spec(
    rng: random.Random, inside: Inside, flow: Sample | None, worker: Worker | None
) -> MapSpec:
    reliable = worker is None or not worker.failing
    needs = inside.items[0] == 2 and reliable and rng.random() < 0.3
    node = (
        None if worker is None else Node(_worker(worker), _signature(Item, (Reply,)), name="work")
    )
    item, result = (State, State) if flow is not None else (Item, Reply)
    return MapSpec(
        item=item,
        result=result,
        worker=node,
        flow=flow.plan if flow is not None else None,
        over=StateFunction(_items(inside, item), (Read(State),)),
        gather=_gather(inside),
        wants_missing=True,
        max_items=4,
        concurrency=rng.randint(1, 3),
        need=rng.randint(1, 2) if needs else None,
        on_item_error=rng.choice(["skip", "collect", "fail"] if reliable else ["skip", "collect"]),
        rest="finish" if needs and inside.work.seed % 2 else "cancel",
    )


def regions_of(structure: Structure) -> dict[int, frozenset[int]]:
    """Return the regions of the `need=k` joins, by index."""
    regions: dict[int, frozenset[int]] = {}
    for join in structure.blueprint.joins:
        region = region_of(structure, join.node)
        regions[structure.order(join.node)] = frozenset(
            structure.order(name) for name in region or ()
        )
    return regions


# ---- functions as the product takes them -------------------------------------------------------
def _signature(read: type[BaseModel], writes: tuple[type[BaseModel], ...]) -> Signature:
    return Signature((Read(read),), writes, False, None, False, False)


def _node(name: str, fn: Fn, slices: tuple[str, ...], kind: Any) -> Node[Any]:
    return Node(
        fn, _signature(State, tuple(SLICES[slice] for slice in slices)), name=name, kind=kind
    )


def as_slices(work: Work, written: dict[str, Any]) -> BaseModel | tuple[BaseModel, ...]:
    """Return the result of a node function: one slice, or a tuple of two."""
    made = tuple(
        SLICES[name](
            **{
                model_field: written[model_field]
                for model_field in SLICES[name].model_fields
                if model_field in written
            }
        )
        for name in work.slices
    )
    return made if len(made) > 1 else next(iter(made))


def _writer(work: Work) -> Fn:
    return lambda state: as_slices(work, work(state.__dict__))


def _on_state(holds: While | Key) -> Fn:
    return lambda state: holds(state.__dict__)


def _selector(choice: Choice) -> Fn:
    def by(state):
        return choice(state.__dict__)

    label: Any = cast("Any", Literal)[choice.labels]
    by.__annotations__["return"] = frozenset[label] if choice.many else label
    return by


def _enter(inside: Inside) -> Fn:
    return lambda state: State(**inside.over(state.__dict__)[0])


def _leave(inside: Inside) -> Fn:
    return lambda output: as_slices(inside.work, inside.gather([output.__dict__], []))


def _items(inside: Inside, item: type[BaseModel]) -> Fn:
    return lambda state: [item(**entry) for entry in inside.over(state.__dict__)]


def _gather(inside: Inside) -> Fn:
    return lambda results, missing: as_slices(
        inside.work,
        inside.gather([item.__dict__ for item in results], [item.index for item in missing]),
    )


def _worker(worker: Worker) -> Fn:
    return lambda item: Reply(**worker(item.__dict__))
