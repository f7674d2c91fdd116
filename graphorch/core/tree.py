"""Data of a run, as a tree: scopes hold activations, activations hold the scopes inside them.

Ids derive from content and are computed on first use. An activation's id is a hash of the run, the
path, the node and the sorted ids of the consumed tokens; a token's id is a hash of the activation
that emitted it and the index of the edge. They are equal in every schedule, after every crash and
on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple
from weakref import ref

from graphorch.graph.edges import Edge
from graphorch.graph.plan import Plan, Step
from graphorch.state.version import Version
from graphorch.text import format_moment

# loop -> how often its body was begun since the loop was entered; a loop that is missing: once
Counters = Mapping[int, int]
NO_COUNTERS: Counters = {}
Place = tuple[int | str, ...]
"""Place of an item of a map: its number, behind those of the items that grew it; or its key."""


class Status(IntEnum):
    """Status of an activation.

    Up to `RETRYING` it keeps a driver busy, up to `FAILED` it is active in its scope, and from
    `DONE` on it is over. `transitions.py` lists which status may follow which.
    """

    RUNNING = 0  # an attempt runs, or is about to
    ROUTING = 1  # its result is committed, its tokens are not emitted yet
    UNDOING = 2  # a sub-flow or map that failed for good: what it committed is being undone
    RETRYING = 3  # waits for its next attempt
    # a sub-flow or map whose inner work is not finished, or a node whose tool calls wait for people
    ENTERED = 4
    AWAITING_ANSWER = 5  # waits for a person
    AWAITING_EVENT = 6  # waits for a signal or a time
    # waits for its turn: a member of an exclusive region that another one holds, or an approved
    # tool call that waits until the calls before it have ended
    HELD = 7
    FAILED = 8  # failed for good in a run that stopped; resuming tries again
    DONE = 9
    HANDLED = 10  # failed for good, and an error edge carried on
    SKIPPED = 11  # failed in isolation, or could not read what it needs: a dead path
    CANCELLED = 12


class EventWait(NamedTuple):
    """What an activation waits for: a signal with a key, or a time.

    `due` is when a timer fires, or when a signal is not waited for any more (None: never), in
    seconds since the epoch. A timer has no `signal`. For a sub-flow or map that was entered, they
    are what ends it from outside: a signal, or the end of its deadline.
    """

    signal: str = ""
    key: str = ""
    due: float | None = None

    def describe(self) -> str:
        """Return what is waited for, for people, with its time in UTC."""
        until = "" if self.due is None else format_moment(self.due)
        if not self.signal:
            return f"its time, {until}"
        key = f" with key '{self.key}'" if self.key else ""
        return f"the signal '{self.signal}'{key}" + (f", until {until}" if until else "")

    def describe_end(self) -> str:
        """Return what ends a sub-flow or map from outside, for people, with its time in UTC."""
        signal = self._replace(due=None).describe() if self.signal else ""
        deadline = "" if self.due is None else f"its deadline at {format_moment(self.due)}"
        return " or ".join(part for part in (signal, deadline) if part)


class Token:
    """One delivery along an edge. `source` is None for the edges from START."""

    __slots__ = ("counters", "edge", "failure", "source", "version")

    def __init__(
        self,
        source: Activation | None,
        edge: Edge,
        version: Version | None,
        counters: Counters,
        failure: Any = None,
    ) -> None:
        self.source = source
        self.edge = edge
        self.version = version
        self.counters = counters
        self.failure = failure  # what an error edge carries to its handler


class Activation:
    """One firing of a node. `version` is what it reads, and after its result what it wrote."""

    # Values that most activations never change are class attributes: a run makes very many
    # activations, and each of these would cost one more assignment.
    attempt = 1
    first_attempt = 1  # since the run was last resumed: retries count from here
    status = Status.RUNNING
    started_at = 0.0  # since the run was last resumed, as a person approved, or for the first time
    retried_at = 0.0  # when its present attempt began, if that is a retry
    ended_at = 0.0
    waited = 0.0  # seconds of all its attempts without a slot of its node or its run
    held_at = 0.0  # when it came to wait for its exclusive regions, if it did
    hedged_at = 0.0  # when a second copy of its present attempt was started beside the first
    is_hedge_taken = False  # the result of that copy counts
    update: dict[int, Any] | None = None
    kept: Version | None = None  # what its undo will read, from its commit until it is undone
    is_served = False  # its result was given to it, so it did nothing that could be undone
    restarts = 0  # how often what is inside it was undone, and began anew
    taken_edges: tuple[Edge, ...] = ()
    children: ChildScopes | None = None
    failure: Any = None
    # why no attempt can succeed: two writes at once, or a quorum that was not met
    fatal_error: Exception | None = None
    question: Any = None
    wait: EventWait | None = None  # for a signal or a time
    received: tuple[Any] | None = None  # the value of a signal that it was given
    partial: Version | None = None  # of a sub-flow that a signal ended: what was committed inside
    retry_at = 0.0  # when its next attempt is due, while it is retried
    approved = False  # a person let it pass its gate
    consent = ""  # what a person agreed to, of a tool that had changed
    story: list[str] | None = None
    _id = ""
    _tokens: tuple[Token, ...] = ()

    def __init__(
        self,
        scope: Scope,
        step: Step,
        source: Activation | None,
        version: Version | None,
        depth: int,
        counters: Counters,
    ) -> None:
        self.scope = scope
        self.step = step
        # where its only token came from, if that token never waited; else None
        self.source = source
        self.version = version
        self.depth = depth
        self.counters = counters

    @property
    def tokens(self) -> tuple[Token, ...]:
        """Tokens that it consumed. A sole token that never waited is made on first use."""
        if not self._tokens:
            self._tokens = (Token(self.source, self._edge(), None, self.counters),)
        return self._tokens

    def _edge(self) -> Edge:
        """Return the edge that its only token came along."""
        edges = self.source.taken_edges if self.source is not None else self.scope.plan.starts
        return next(edge for edge in edges if edge.target == self.step.index)

    def set_tokens(self, tokens: tuple[Token, ...]) -> None:
        """Record the tokens that it consumed."""
        self._tokens = tokens

    @property
    def path(self) -> str:
        """Path in the run, such as `team/research` or `workers[3]/dig`."""
        return self.scope.prefix + self.step.name

    @property
    def id(self) -> str:
        """Id of 32 hexadecimal digits."""
        if not self._id:
            source = self.source
            # The common case: one token, whose source has its id already.
            if source is not None and source._id:
                token = _digest(source._id, str(self._edge().index))
                self._id = _digest(self.scope.origin, self.step.name, token)
            else:
                self._fill_ids()
        return self._id

    def _fill_ids(self) -> None:
        """Compute its id, and first the ids that it derives from."""
        # A stack instead of recursion: a history may be longer than Python's recursion limit.
        pending: list[Activation] = [self]
        while pending:
            activation = pending[-1]
            missing = activation._sources_without_id()
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            if not activation._id:
                consumed = sorted(token_id(token, activation.scope) for token in activation.tokens)
                activation._id = _digest(activation.scope.origin, activation.step.name, *consumed)

    def _sources_without_id(self) -> list[Activation]:
        sources = [token.source for token in self.tokens if token.source is not None]
        return [source for source in sources if not source._id]

    def set_id(self, id: str) -> None:
        """Give it the id of the activation in another run that it is a copy of."""
        self._id = id

    @property
    def tool(self) -> str:
        """Name of the tool that it is a call of; empty for nodes."""
        return self.scope.call.tool if isinstance(self.scope, ToolScope) else ""

    @property
    def is_over(self) -> bool:
        """Return whether nothing more can happen to it."""
        return self.status >= Status.DONE

    def iteration(self, loop: int) -> int:
        """Count how often the body of a loop was begun, this time included."""
        return self.counters.get(loop, 1)

    def add_to_story(self, line: str) -> None:
        """Add a line to its story, which errors and `RunState.story` show to people."""
        if self.story is None:
            self.story = []
        self.story.append(line)

    def __repr__(self) -> str:
        return f"<activation of {self.path}, {self.status.name.lower()}>"


class ChildScopes:
    """Scopes inside a sub-flow (one) or map (one per item, and `at_once` of them at once)."""

    __slots__ = (
        "at_once",
        "failed",
        "is_undone",
        "running",
        "scopes",
        "started",
        "succeeded",
        "unfinished",
        "updates",
    )

    is_reviewed = False  # a map decides something after each item that is done
    is_reviewing = False  # the driver evaluates what it decides

    def __init__(self, updates: list[dict[int, Any]], at_once: int) -> None:
        self.updates = updates
        self.at_once = at_once
        self.scopes: list[Scope] = []
        self.started = 0
        self.running = 0
        self.unfinished = len(updates)
        self.failed = False  # a scope failed, and with it the sub-flow or map
        self.is_undone = False  # all that was committed in the scopes was undone
        self.succeeded = 0

    def list_unfinished(self) -> list[Scope]:
        """Return the scopes that are not over, without late work."""
        return [scope for scope in self.scopes if not scope.finished and scope.late is None]

    def list_in_order(self) -> Sequence[int]:
        """Return the numbers of the inputs in the order in which results are gathered."""
        return range(len(self.updates))

    def find_item(self, label: str) -> int:
        """Return the number of the input of an item by its name in paths, or -1."""
        return int(label) if label.isdecimal() and int(label) < len(self.updates) else -1


class ReviewedScopes(ChildScopes):
    """Scopes inside a map that decides after each item whether it is enough, or what to add.

    `places` has for each input its place among the items: its number, behind those of the items
    that it was grown by; or, in a map whose items are `unique`, its key alone. `grown` has for an
    item the places of those that it grew, and `parents` for a grown item the one that added it.
    `reviews` are the items that are done and were not reviewed, in the order in which they were
    done; while the map `is_reviewing`, the driver evaluates the first. `review_failure` is what a
    function raised about it.
    """

    __slots__ = (
        "first",
        "grown",
        "has_agreed",
        "is_reviewing",
        "numbers",
        "parents",
        "places",
        "review_failure",
        "reviews",
    )

    is_reviewed = True

    def __init__(
        self, updates: list[dict[int, Any]], at_once: int, keys: Sequence[str] = ()
    ) -> None:
        super().__init__(updates, at_once)
        self.places: list[Place] = [(number,) for number in range(len(updates))]
        if keys:
            self.places = [(key,) for key in keys]
        self.first = len(updates)  # how many items there were before any was grown
        self.numbers = {format_place(place): number for number, place in enumerate(self.places)}
        self.grown: dict[Place, list[Place]] = {}
        self.parents: dict[Place, Place] = {}
        self.reviews: list[Scope] = []
        self.is_reviewing = False
        self.has_agreed = False  # the results so far are enough
        self.review_failure: Any = None

    def grow(
        self, place: Place, updates: Sequence[dict[int, Any]], keys: Sequence[str] = ()
    ) -> None:
        """Add the items that the item at a place grows, except those whose keys are known."""
        places: list[Place] = [(*place, number) for number in range(len(updates))]
        if keys:
            places = [(key,) for key in keys]
        self.grown[place] = places
        for update, grown in zip(updates, places, strict=True):
            label = format_place(grown)
            if label not in self.numbers:
                self.numbers[label] = len(self.updates)
                self.parents[grown] = place
                self.places.append(grown)
                self.updates.append(update)
                self.unfinished += 1

    def list_in_order(self) -> Sequence[int]:
        """Return the numbers of the inputs in the order in which results are gathered.

        That is depth first: behind each item those that it grew. Unique items, which several may
        grow, come breadth first: in the order of the shortest ways to them.
        """
        if self.places and isinstance(self.places[0][0], int):
            return sorted(range(len(self.places)), key=self.places.__getitem__)
        order = dict.fromkeys(self.places[: self.first])
        level = list(order)
        while level:
            next_level = [grown for place in level for grown in self.grown.get(place, ())]
            level = [place for place in dict.fromkeys(next_level) if place not in order]
            order.update(dict.fromkeys(level))
        return [self.numbers[format_place(place)] for place in order]

    def find_item(self, label: str) -> int:
        """Return the number of the input of an item by its name in paths, or -1."""
        return self.numbers.get(label, -1)

    def describe(self) -> list[str]:
        """Return for people what was decided after items: how it grew, and when it was enough."""
        words: list[str] = []
        if self.first < len(self.places):
            words.append(f"grew from {self.first} to {len(self.places)} items")
        if self.has_agreed:
            count = self.succeeded - len(self.reviews)
            words.append(f"had enough after {count} of {len(self.places)} items")
        return words

    def list_late(self) -> Sequence[Scope]:
        """Return the items that were done before the map was left, but not reviewed any more."""
        return self.reviews if self.has_agreed else ()


class Late(NamedTuple):
    """What makes a scope a detached one: a decision, after which its work goes on.

    `node` of the scope `host` decided, and `host` is busy as long as that work is. With `is_region`
    the work is that of the region of a `need=k` join, where a token that reaches `node` is late;
    else it is an item of a map.
    """

    host: Scope
    node: int
    is_region: bool


# Shared and never changed: most scopes of a map never have a token that waits.
NOTHING_WAITS: dict[int, list[Token]] = {}
NOBODY_WATCHES: dict[int, int] = {}
NOTHING_ARRIVED: dict[int, int] = {}


class Scope:
    """One level of a run: the tokens, live positions and active activations of one plan.

    A node that waits and that something blocks watches one of its blockers: it is `due` again when
    that is not live any more. So a commit costs what it unblocks, not what waits.

    Mutated by its run alone. It refers to neither the run nor, strongly, to the activation around
    it, so that no reference cycle keeps a finished run in memory.
    """

    __slots__ = (
        "_origin",
        "_parent",
        "_prefix",
        "active",
        "arrivals",
        "arrived",
        "busy_count",
        "closed",
        "detached",
        "due",
        "end",
        "failures",
        "finished",
        "item",
        "late",
        "live_positions",
        "output",
        "plan",
        "reducers",
        "steps",
        "waiting",
        "watchers",
    )

    is_tool_call = False
    is_undo = False

    def __init__(
        self, plan: Plan, origin: str, parent: Activation | None = None, item: int = -1
    ) -> None:
        self.plan = plan
        self.steps = plan.steps
        self.end = plan.end
        self.reducers = plan.reducers
        self._parent = ref(parent) if parent is not None else None
        self.item = item
        self._prefix: str | None = None if parent is not None else ""
        self.active: dict[int, Activation] = {}
        self.waiting = NOTHING_WAITS
        self.due = 0  # bitmask of the nodes at which a token waits that may fire
        self.watchers = NOBODY_WATCHES  # by position, bitmasks of the nodes that watch it
        self.arrived = 0
        self.arrivals = NOTHING_ARRIVED  # by node, when its first token came, up to `arrived`
        self.live_positions = 0  # bitmask of the live positions that some join asks for
        self.busy_count = 0  # activations that keep a driver busy, and child scopes that do
        self.closed = False  # starts nothing any more
        self.finished = False  # END fired, and nothing detached goes on; or it was cancelled
        self.failures: tuple[Activation, ...] = ()  # failed for good in here, and closed the scope
        self.output: Version | None = None
        # scopes beside this one whose work goes on, though no token of theirs comes back into it
        self.detached: Sequence[Scope] = ()
        self.late: Late | None = None  # set if this one is detached
        # the run's id for the root scope; else empty until `origin` is read
        self._origin = origin

    @property
    def parent(self) -> Activation | None:
        """Activation of the sub-flow or map around this scope; None for the root scope."""
        # The run holds it strongly, as an active activation or in its history.
        return self._parent() if self._parent is not None else None

    @property
    def place(self) -> Place:
        """Place among the items of a map, which sorts them as their results are gathered."""
        return (self.item,)

    @property
    def result(self) -> Version | None:
        """Output that counts for the sub-flow or map around it: None before it is over, or late."""
        return self.output if self.finished and self.late is None else None

    @property
    def outer(self) -> Scope | None:
        """Scope that is busy as long as this one is; None for the root scope."""
        if self.late is not None:
            return self.late.host
        parent = self._parent() if self._parent is not None else None
        return parent.scope if parent is not None else None

    @property
    def prefix(self) -> str:
        """Beginning of the paths in here, such as `team/` or `workers[3]/`."""
        if self._prefix is None:
            parent = self.parent
            assert parent is not None
            self._prefix = f"{parent.path}/" if self.item < 0 else f"{parent.path}[{self.item}]/"
        return self._prefix

    def set_prefix(self, prefix: str) -> None:
        """Give it the paths of the scope that it is detached from."""
        self._prefix = prefix

    @property
    def origin(self) -> str:
        """Id that the ids in here derive from: that of the run, or of the activation around it.

        What begins anew after it was undone has other ids.
        """
        if not self._origin:
            parent = self.parent
            assert parent is not None
            self._origin = parent.id if self.item < 0 else f"{parent.id}:{self.item}"
            if parent.restarts:
                self._origin += f"~{parent.restarts}"
        return self._origin

    def child_scopes(self) -> list[Scope]:
        """Return the unfinished scopes directly inside this one, and those detached from it."""
        children = [scope for scope in self.detached if not scope.finished]
        for activation in self.active.values():
            if activation.children is not None:
                children += activation.children.list_unfinished()
        return children

    def active_activations(self) -> list[Activation]:
        """Return the active activations of this scope and of those inside it."""
        activations: list[Activation] = []
        pending = [self]
        while pending:
            scope = pending.pop()
            activations += scope.active.values()
            pending += scope.child_scopes()
        return activations

    def open_questions(self) -> list[Activation]:
        """Return the activations in here and inside that wait for a person, by node and item."""
        questions: list[Activation] = []
        for _, activation in sorted(self.active.items()):
            if activation.status is Status.AWAITING_ANSWER:
                questions.append(activation)
            if activation.children is None:
                continue
            for scope in activation.children.list_unfinished():
                questions += scope.open_questions()
        for scope in self.detached:
            if not scope.finished:
                questions += scope.open_questions()
        return questions


class ItemScope(Scope):
    """Scope of an item of a map that another one grew, or that is named by its key."""

    __slots__ = ("_place",)

    def __init__(self, plan: Plan, parent: Activation, number: int, place: Place) -> None:
        super().__init__(plan, "", parent, number)
        self._place = place

    @property
    def place(self) -> Place:
        """Place among the items: its number behind those of the items that grew it, or its key."""
        return self._place

    @property
    def prefix(self) -> str:
        """Beginning of the paths in here, such as `crawl[2.0]/`."""
        parent = self.parent
        assert parent is not None
        return f"{parent.path}[{format_place(self._place)}]/"

    @property
    def origin(self) -> str:
        """Id that the ids in here derive from: that of the map, and the place of the item."""
        if not self._origin:
            parent = self.parent
            assert parent is not None
            self._origin = f"{parent.id}:{format_place(self._place)}"
            if parent.restarts:
                self._origin += f"~{parent.restarts}"
        return self._origin


class ToolCalled(NamedTuple):
    """A call that a model asked for: the plan of its one step, and the input of that.

    It calls a tool by its name, as number `place` of its round, with arguments as plain JSON.
    `identity` is what tells it from every other call of its round, in every process: all three of
    them. `asks` says that a person has to approve it first.
    """

    plan: Plan
    tool: str
    place: int
    arguments: dict[str, Any]
    update: dict[int, Any]
    identity: str
    is_barrier: bool
    asks: bool


class ToolRound:
    """Tool calls that a model asked for at once; `label` is its name in paths, such as `r1`."""

    __slots__ = ("failed", "key", "label", "scopes", "unfinished")

    def __init__(
        self, activation: Activation, key: str, label: str, calls: Sequence[ToolCalled]
    ) -> None:
        self.key = key
        self.label = label
        self.scopes = [ToolScope(self, activation, call) for call in calls]
        self.unfinished = len(self.scopes)
        self.failed = False  # a call failed for good, and with it the round


class ToolScope(Scope):
    """Scope of one tool call. Its only step is named after the tool and its place in the round.

    `has_new_arguments` says that a person changed what the tool is called with: then the state of
    the call holds its arguments, and `call` those that the model wrote.
    """

    __slots__ = ("call", "has_begun", "has_new_arguments", "round")

    is_tool_call = True

    def __init__(self, round: ToolRound, activation: Activation, call: ToolCalled) -> None:
        super().__init__(call.plan, "", activation)
        self.round = round
        self.call = call
        self.has_begun = False
        self.has_new_arguments = False

    @property
    def prefix(self) -> str:
        """Beginning of the paths in here, such as `write/r1/`."""
        parent = self.parent
        assert parent is not None
        return f"{parent.path}/{self.round.label}/"

    @property
    def origin(self) -> str:
        """Id that the id of the call derives from: its agent, its round, and what is called."""
        if not self._origin:
            parent = self.parent
            assert parent is not None
            self._origin = _digest(parent.id, self.round.key, self.call.identity)
        return self._origin


class ToolScopes(ChildScopes):
    """Scopes of the tool calls inside an activation, in rounds by their keys."""

    __slots__ = ("may_rest", "rounds", "withdrawn")

    def __init__(self) -> None:
        super().__init__([], 0)  # its rounds say what may begin
        self.withdrawn: list[ToolScope] = []  # calls of withdrawn rounds that have an outcome
        self.rounds: dict[str, ToolRound] = {}
        self.may_rest = True  # not while its calls are interrupted or reopened, one after the other


def format_place(place: Place) -> str:
    """Return the name of an item in paths, such as `2`, or `2.0` for the first that item 2 grew."""
    return ".".join(map(str, place))


class UndoScope(Scope):
    """Scope of the undo of one activation, which is its only step, named `undo`.

    It lies beside all others: no failure, limit or decision of a join reaches it. `parent` is what
    is active or over at the level of the run, so that the run is not quiet while it undoes.
    """

    __slots__ = ("reason", "undone")

    is_undo = True

    def __init__(self, plan: Plan, undone: Activation, reason: str) -> None:
        top = undone
        while (around := top.scope.parent) is not None:
            top = around
        super().__init__(plan, "", top)
        self.undone = undone
        self.reason = reason

    @property
    def outer(self) -> Scope:
        """Scope of the run, which is busy as long as this one is."""
        assert self.parent is not None
        scope = self.parent.scope
        while scope.late is not None:
            scope = scope.late.host
        return scope

    @property
    def prefix(self) -> str:
        """Beginning of the path in here, such as `book/`."""
        return f"{self.undone.path}/"

    @property
    def origin(self) -> str:
        """Id that the id of the undo derives from: that of what it undoes."""
        if not self._origin:
            self._origin = _digest(self.undone.id, "undo")
        return self._origin


def is_inside_call(activation: Activation) -> bool:
    """Return whether an activation is a call of a tool, or part of a flow that is called as one."""
    around: Activation | None = activation
    while around is not None:
        if isinstance(around.scope, ToolScope):
            return True
        around = around.scope.parent
    return False


def token_id(token: Token, scope: Scope) -> str:
    """Return the id of a token. Tokens from START derive theirs from the origin of the scope."""
    if token.source is not None:
        return _digest(token.source.id, str(token.edge.index))
    return _digest(scope.origin, str(token.edge.index))


def _digest(*parts: str) -> str:
    content = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(content, digest_size=16).hexdigest()
