"""A slow, simple interpreter of the execution semantics, to compare the product with.

It follows the specification's words: a history is a set of writes, a value is folded from the whole
history each time, who blocks whom is searched along the edges, and everything that may fire is
looked for again after every commit. It shares no code with the core.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.behaviour import FIELDS, INPUT, Boom, Inside, State, Worker
from tests.simulation.graphs import Sample
from tests.simulation.structure import Arc, activation_key, region_of

REDUCERS: dict[str, Callable[[Any, Any], Any]] = {
    "log": lambda old, new: old + new,
    "total": lambda old, new: old + new,
    "best": max,
    "latest": lambda old, new: new,
}
DEFAULTS = {name: field.default for name, field in State.model_fields.items()}
USUAL_CONCURRENCY = 8  # of a map that states none
Pick = Callable[[list[str]], str]


class Conflict(Exception):
    """Two unordered writes of a plain field: a graph that must not be run."""


class TooLong(Exception):
    """Run that does not end within its steps."""


class Stuck(Exception):
    """Run that the rules of the specification do not bring to an end."""


@dataclass(eq=False, slots=True)
class Write:
    """Update of an activation, and all the writes that it had seen."""

    order: tuple[int, int]
    update: dict[str, Any]
    past: frozenset[Write]


@dataclass(eq=False, slots=True)
class Token:
    """Delivery along an arc."""

    source: Activation | None
    arc: Arc
    past: frozenset[Write]
    counters: dict[int, int]

    def name(self, origin: str) -> tuple[str, str, str, int]:
        return (
            self.source.key if self.source is not None else origin,
            self.arc.target,
            self.arc.kind,
            self.arc.loop,
        )


@dataclass(eq=False, slots=True)
class Activation:
    """Firing of a node. `items` are the scopes inside it."""

    scope: Scope
    node: str
    key: str
    past: frozenset[Write]
    depth: int
    counters: dict[int, int]
    is_inside: bool = False
    items: list[Scope] = field(default_factory=list)
    results: list[Scope] | None = None  # of a map that had enough, and lets its other items finish
    inputs: list[dict[str, Any]] = field(default_factory=list)
    is_waiting: bool = False
    signal: dict[str, Any] | None = None  # the value that it was given


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened in a run: a wait began, a signal came, or an activation ended.

    `kind` is "began", "signal", "came" (another event), "expired" or "ended"; `what` is the key of
    the activation, or the name of the signal.
    """

    kind: str
    what: str
    key: str = ""
    value: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Result:
    """Result of a run: committed activations with what each read, and the final state."""

    done: dict[str, Any]
    path: list[str]
    final: dict[str, Any]


def run_reference(sample: Sample, pick: Pick = min, *, most: int = 250) -> Result:
    """Run a sample; `pick` chooses by key which running activation completes next.

    Raise `Conflict`, `TooLong` or `Stuck`.
    """
    world = _World(most)
    root = Scope(world, sample, "", "run", None)
    root.begin(INPUT)
    while world.running:
        key = pick(sorted(world.running))
        activation = world.running[key]
        activation.scope.complete(activation)
    return _finished(root)


def lead_reference(sample: Sample, happenings: Sequence[Happening], *, most: int) -> Result:
    """Run a sample along what happened in another run.

    Raise `Conflict` or `TooLong`, or `Stuck` where that cannot have happened.
    """
    world = _World(most)
    root = Scope(world, sample, "", "run", None)
    root.begin(INPUT)
    for happening in happenings:
        _let_happen(root, happening)
    if world.running:
        raise Stuck(f"{list(world.running)} did not end")
    return _finished(root)


def _let_happen(root: Scope, happening: Happening) -> None:
    world = root.world
    if happening.kind == "signal":
        address = (happening.what, happening.key)
        waiting = next(root.find_waiting(*address), None)
        if waiting is None:
            world.kept.setdefault(address, []).append(happening.value)
        else:
            waiting.scope.give(waiting, happening.value)
        return
    activation = world.running.get(happening.what)
    if activation is None:
        raise Stuck(f"{happening}, where {list(world.running)} are under way")
    scope = activation.scope
    if happening.kind == "began":
        scope.wait(activation)
    elif happening.kind == "came":
        scope.withdraw_rivals(activation)
        scope.fire()
    elif happening.kind == "expired":
        scope.fail(activation)
    else:
        kind = scope.sample.events.get(activation.node)
        if kind == "signal" and activation.signal is None:
            raise Stuck(f"{activation.key} was given no signal")
        scope.complete(activation)


def _finished(root: Scope) -> Result:
    world, sample = root.world, root.sample
    if root.output is None or root.late or root.tokens or root.active:
        raise Stuck(f"seed {sample.seed}: waiting {root.tokens}, active {list(root.active)}")
    path = [name for _, name in sorted((order, name) for order, name in world.path)]
    return Result(world.done, path, fold(root.output))


@dataclass(slots=True)
class _World:
    most: int
    running: dict[str, Activation] = field(default_factory=dict)
    done: dict[str, Any] = field(default_factory=dict)
    path: list[tuple[tuple[int, int], str]] = field(default_factory=list)
    kept: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)

    def finish(self, activation: Activation, read: Any) -> None:
        if activation.key in self.done:
            raise Stuck(f"{activation.key} committed twice")
        self.done[activation.key] = read
        if len(self.done) > self.most:
            raise TooLong
        if activation.scope.parent is None:
            self.path.append(
                (
                    (activation.depth, activation.scope.sample.structure.order(activation.node)),
                    activation.node,
                )
            )


class Scope:
    """Level of a run."""

    def __init__(
        self, world: _World, sample: Sample, prefix: str, origin: str, parent: Activation | None
    ) -> None:
        self.world = world
        self.sample = sample
        self.prefix = prefix
        self.origin = origin
        self.parent = parent
        self.tokens: dict[str, list[Token]] = {}
        self.active: dict[str, Activation] = {}
        self.output: frozenset[Write] | None = None
        self.needs = {
            join.node: join.need for join in sample.blueprint.joins if isinstance(join.need, int)
        }
        self.late: list[Scope] = []  # what goes on beside this scope after decisions in it
        self.host: Scope | None = None  # the scope that this one goes on beside, and
        self.decided = ""  # the node of that which decided
        self.is_region = False  # this is what the decision of a join has left unfinished

    @property
    def is_over(self) -> bool:
        if self.is_region:
            return not (self.tokens or self.active or self.late)
        return self.output is not None and not self.late

    def begin(self, update: dict[str, Any]) -> None:
        past = frozenset({Write((0, -1), update, frozenset())})
        self.emit(None, self.sample.structure.leaving("START"), past, {})

    # ---- tokens ----------------------------------------------------------------------------------
    def emit(
        self,
        source: Activation | None,
        arcs: Iterable[Arc],
        past: frozenset[Write],
        counters: dict[int, int],
    ) -> None:
        arcs = list(arcs)
        for arc in arcs:
            self.tokens.setdefault(arc.target, []).append(
                Token(source, arc, past, self._carried(arc, counters))
            )
        if source is not None:
            del self.active[source.node]
        for node in dict.fromkeys(arc.target for arc in arcs if arc.target in self.needs):
            self._decide(node)
        self.fire()
        self.end_if_over()

    def end_if_over(self) -> None:
        """Tell what is around this scope that it is over, once it is."""
        host = self.host
        if not self.is_over or (host is not None and self not in host.late):
            return
        if host is not None:
            host.late.remove(self)
            for node in host.needs.keys() & host.tokens.keys():
                host._decide(node)
            host.fire()
            host.end_if_over()
        elif self.parent is not None:
            self.parent.scope.item_over(self.parent)

    def _carried(self, arc: Arc, counters: dict[int, int]) -> dict[int, int]:
        """Return the counters on a token: one more on a way back, dropped outside of the body."""
        structure = self.sample.structure
        counts = dict(counters)
        if arc.kind == "loop":
            counts[arc.loop] = counters.get(arc.loop, 1) + 1
        return {
            loop: count
            for loop, count in counts.items()
            if arc.target in structure.bodies[structure.loops[loop].header]
        }

    def fire(self) -> None:
        """Fire whatever may fire, until nothing may."""
        while True:
            ready = [node for node in self.tokens if self._may_fire(node)]
            if not ready:
                return
            self.start(ready[0], self.tokens.pop(ready[0]))

    def _may_fire(self, node: str) -> bool:
        structure = self.sample.structure
        positions = {
            *self.active,
            *(
                name
                for name, tokens in self.tokens.items()
                if any(token.arc.kind != "loop" for token in tokens)
            ),
        }
        for events in self.sample.blueprint.firsts.values():
            if node in events:  # what comes round over another one comes when this is withdrawn
                positions -= {*events}
        latches = {
            name
            for name, tokens in self.tokens.items()
            if any(token.arc.kind == "loop" for token in tokens)
        }
        return (
            node not in self.active
            and not any(structure.blocks(position, node) for position in positions)
            and not any(structure.latch_blocks(header, node) for header in latches)
            and not self._is_held(node)
        )

    def _is_held(self, node: str) -> bool:
        """Return whether a header waits for the losers of the iteration before."""
        body = self.sample.structure.bodies.get(node, frozenset())
        return any(
            late.decided in body and not (late.is_region and late.decided == node)
            for late in self.late
        )

    def _decide(self, node: str) -> None:
        """Give a `need=k` join its first k arrivals, and cancel the rest of its region."""
        if self.is_region and self.decided == node:
            del self.tokens[node]  # too late
            return
        arrived: dict[Arc, Token] = {}
        for token in self.tokens.get(node, []):
            arrived.setdefault(token.arc, token)
        if len(arrived) < self.needs[node] or self._is_held(node):
            return
        del self.tokens[node]
        region = region_of(self.sample.structure, node) or frozenset()
        if node in self.sample.finishing:
            self._let_finish(node, region)
        else:
            for name in region:
                self.tokens.pop(name, None)
                if name in self.active:
                    self.cancel(self.active.pop(name))
            for late in [late for late in self.late if late.decided in region]:
                self.late.remove(late)
                late.cancel_all()
        self.start(node, list(arrived.values())[: self.needs[node]])

    def _let_finish(self, node: str, region: frozenset[str]) -> None:
        """Move what is in a region into a scope of its own, which goes on."""
        late = Scope(self.world, self.sample, self.prefix, self.origin, self.parent)
        late.host, late.decided, late.is_region = self, node, True
        late.tokens = {name: self.tokens.pop(name) for name in region & self.tokens.keys()}
        late.active = {name: self.active.pop(name) for name in region & self.active.keys()}
        for activation in late.active.values():
            activation.scope = late
        late.late = [other for other in self.late if other.decided in region]
        for other in late.late:
            self.late.remove(other)
            other.host = late
        if not late.is_over:
            self.late.append(late)
            late.fire()

    def cancel(self, activation: Activation) -> None:
        self.world.running.pop(activation.key, None)
        for item in activation.items:
            if item.host is None:
                item.cancel_all()

    def cancel_all(self) -> None:
        for inner in self.active.values():
            self.cancel(inner)
        for late in self.late:
            late.cancel_all()
        self.active.clear()
        self.late.clear()

    # ---- activations -----------------------------------------------------------------------------
    def start(self, node: str, tokens: list[Token]) -> None:
        past = frozenset().union(*(token.past for token in tokens))
        fold(past)  # two writes at once end the run here
        if node == "END":
            self.output = past
            self.end_if_over()
            return
        depth = 1 + max(token.source.depth if token.source is not None else 0 for token in tokens)
        counters: dict[int, int] = {}
        for token in tokens:
            for loop, count in token.counters.items():
                counters[loop] = max(count, counters.get(loop, 1))
        key = activation_key(self.prefix + node, (token.name(self.origin) for token in tokens))
        activation = self.active[node] = Activation(self, node, key, past, depth, counters)
        inside = self.sample.insides.get(node)
        if inside is None:
            self.world.running[key] = activation
        else:
            self._enter(activation, inside)

    def complete(self, activation: Activation) -> None:
        """Commit the update of an attempt, and send its tokens where they go."""
        del self.world.running[activation.key]
        values, structure = fold(activation.past), self.sample.structure
        try:
            update = self._updated(activation, values)
        except Boom:
            self._handle(activation, values)
            return
        self.withdraw_rivals(activation)
        past = activation.past | {
            Write((activation.depth, structure.order(activation.node)), update, activation.past)
        }
        self.world.finish(activation, values)
        self.emit(activation, self._taken(activation, fold(past)), past, activation.counters)

    def _updated(self, activation: Activation, values: dict[str, Any]) -> dict[str, Any]:
        """Return what an activation writes. Raises `Boom` if it fails."""
        inside = self.sample.insides.get(activation.node)
        if inside is not None:
            return self._gathered(activation, inside)
        if activation.signal is not None:
            return activation.signal
        if self.sample.events.get(activation.node, "ask") == "ask":
            return self.sample.works[activation.node](values)
        return {}

    def _handle(self, activation: Activation, values: dict[str, Any]) -> None:
        """Go on over the error edge of an activation that failed."""
        leaving = self.sample.structure.leaving(activation.node)
        handler = next(arc for arc in leaving if arc.kind == "error")
        self.withdraw_rivals(activation)
        self.world.finish(activation, values)
        self.emit(activation, [handler], activation.past, activation.counters)

    # ---- signals and times -----------------------------------------------------------------------
    def wait(self, activation: Activation) -> None:
        """Have an activation wait; one for a signal is given the oldest that was kept for it."""
        key = self.sample.keys.get(activation.node)
        if key is not None:
            kept = self.world.kept.get((activation.node, key(fold(activation.past))))
            if kept:
                self.give(activation, kept.pop(0))
                return
        activation.is_waiting = True

    def give(self, activation: Activation, value: dict[str, Any]) -> None:
        """Give a signal to an activation, which commits it later."""
        activation.is_waiting, activation.signal = False, value
        self.withdraw_rivals(activation)
        self.fire()

    def fail(self, activation: Activation) -> None:
        """End a wait whose time is over."""
        if not activation.is_waiting:
            raise Stuck(f"{activation.key} does not wait")
        del self.world.running[activation.key]
        self._handle(activation, fold(activation.past))

    def withdraw_rivals(self, activation: Activation) -> None:
        """Cancel the events that came second to this one, and what waits to become one."""
        for events in self.sample.blueprint.firsts.values():
            for name in events if activation.node in events else ():
                if name != activation.node:
                    self.tokens.pop(name, None)
                    if name in self.active:
                        self.cancel(self.active.pop(name))

    def find_waiting(self, name: str, key: str) -> Iterator[Activation]:
        """Yield the activations that wait for a signal, by node and item, the outer ones first."""
        order = self.sample.structure.order
        for activation in sorted(self.active.values(), key=lambda each: order(each.node)):
            own = self.sample.keys.get(activation.node)
            is_meant = activation.is_waiting and activation.node == name
            if is_meant and own is not None and own(fold(activation.past)) == key:
                yield activation
            for item in activation.items:
                if not item.is_over:
                    yield from item.find_waiting(name, key)

    def _taken(self, activation: Activation, values: dict[str, Any]) -> list[Arc]:
        """Return the arcs that are taken after this commit."""
        structure = self.sample.structure
        leaving = structure.leaving(activation.node)
        if activation.node in self.sample.blueprint.firsts:
            return leaving  # all events begin at once
        spent: int | None = None
        for number, loop in enumerate(structure.loops):
            if activation.node not in loop.sources or not self.sample.whiles[number](values):
                continue
            if activation.counters.get(number, 1) < loop.max_iterations:
                return [arc for arc in leaving if arc.kind == "loop" and arc.loop == number]
            spent = number if spent is None else spent
        if spent is not None and structure.loops[spent].exhausted_is_node:
            return [arc for arc in leaving if arc.kind == "exhausted" and arc.loop == spent]
        plain = [arc for arc in leaving if arc.kind == "always"]
        choice = self.sample.choices.get(activation.node)
        if choice is None:
            return plain
        chosen = choice(values)
        labels = chosen if choice.many else {chosen}
        return plain + [
            arc for arc in leaving if arc.kind == "routed" and {*arc.labels} & {*labels}
        ]

    # ---- inside a sub-flow or map ----------------------------------------------------------------
    def _enter(self, activation: Activation, inside: Inside) -> None:
        activation.is_inside = True
        activation.inputs = inside.over(fold(activation.past))
        if not activation.inputs:
            self._leave(activation)
        self._start_items(activation)

    def _start_items(self, activation: Activation) -> None:
        spec = self.sample.blueprint.maps.get(activation.node)
        room = 1 if spec is None else spec.concurrency or USUAL_CONCURRENCY
        while (
            activation.is_inside
            and len(activation.items) < len(activation.inputs)
            and sum(not item.is_over for item in activation.items) < room
        ):
            number = len(activation.items)
            prefix = (
                f"{self.prefix}{activation.node}[{number}]/"
                if spec is not None
                else f"{self.prefix}{activation.node}/"
            )
            item = self._item(activation, prefix, f"{activation.key}:{number}")
            activation.items.append(item)
            item.begin(activation.inputs[number])

    def _item(self, activation: Activation, prefix: str, origin: str) -> Scope:
        worker = self.sample.workers.get(activation.node)
        if worker is not None:
            return _Item(self, activation, worker, origin, prefix)
        return Scope(self.world, self.sample.flows[activation.node], prefix, origin, activation)

    def item_over(self, activation: Activation) -> None:
        if not activation.is_inside:
            return
        spec = self.sample.blueprint.maps.get(activation.node)
        succeeded = sum(item.is_over and item.output is not None for item in activation.items)
        if spec is not None and spec.need is not None and succeeded >= spec.need:
            others = [item for item in activation.items if not item.is_over]
            activation.results = [item for item in activation.items if item.is_over]
            for item in others:
                if spec.rest == "finish":
                    item.host, item.decided = self, activation.node
                    self.late.append(item)
                else:
                    item.cancel_all()
            self._leave(activation)
        elif len(activation.items) == len(activation.inputs) and all(
            item.is_over for item in activation.items
        ):
            self._leave(activation)
        else:
            self._start_items(activation)

    def _leave(self, activation: Activation) -> None:
        if activation.is_inside:
            activation.is_inside = False
            self.world.running[activation.key] = activation

    def _gathered(self, activation: Activation, inside: Inside) -> dict[str, Any]:
        done = activation.items if activation.results is None else activation.results
        results = {item: item.result() for item in done if item.output is not None}
        return inside.gather(
            list(results.values()),
            [
                number
                for number in range(len(activation.inputs))
                if number >= len(activation.items) or activation.items[number] not in results
            ],
        )

    def result(self) -> Any:
        return fold(self.output or frozenset())


class _Item(Scope):
    """Item of a map whose worker is a single node."""

    def __init__(
        self, above: Scope, parent: Activation, worker: Worker, origin: str, prefix: str
    ) -> None:
        super().__init__(above.world, above.sample, prefix, origin, parent)
        self.worker = worker
        self.given: dict[str, Any] = {}
        self.reply: Any = None
        self.failed = False

    @property
    def is_over(self) -> bool:
        return self.failed or self.output is not None

    def begin(self, update: dict[str, Any]) -> None:
        self.given = update
        key = activation_key(self.prefix + "work", [(self.origin, "work", "always", -1)])
        activation = self.active["work"] = Activation(self, "work", key, frozenset(), 1, {})
        self.world.running[key] = activation

    def complete(self, activation: Activation) -> None:
        del self.world.running[activation.key], self.active["work"]
        assert self.parent is not None
        try:
            self.reply = self.worker(self.given)
        except Boom:
            self.failed = True
        else:
            self.output = frozenset()
            self.world.finish(activation, self.given)
        self.end_if_over()

    def find_waiting(self, name: str, key: str) -> Iterator[Activation]:
        yield from ()

    def result(self) -> Any:
        return self.reply


def fold(past: Iterable[Write]) -> dict[str, Any]:
    """Return the value of every field after a history.

    Raise `Conflict` if two writes of a plain field did not see each other.
    """
    writes: dict[str, list[Write]] = {}
    for write in past:
        for name in write.update:
            writes.setdefault(name, []).append(write)
    values: dict[str, Any] = {}
    for name in FIELDS:
        default = DEFAULTS[name]
        fold_field = _folded if name in REDUCERS else _last
        values[name] = fold_field(name, default, writes.get(name, []))
    return values


def _folded(name: str, default: Any, writes: list[Write]) -> Any:
    orders = [write.order for write in writes]
    assert len({*orders}) == len(orders), (
        f"two writes of one history share a place in canonical order: {orders}"
    )
    value = default
    for write in sorted(writes, key=lambda write: write.order):
        value = (
            write.update[name] if write.order[0] == 0 else REDUCERS[name](value, write.update[name])
        )
    return value


def _last(name: str, default: Any, writes: list[Write]) -> Any:
    if not writes:
        return default
    last = [
        write for write in writes if all(other is write or other in write.past for other in writes)
    ]
    if not last:
        raise Conflict(name)
    return last[0].update[name]
