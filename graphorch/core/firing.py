"""One level of a run: the tokens, live positions and active nodes of one plan. Sub-flows and map items are scopes inside an activation.

Rules of this file (semantics: the inclusive join):
- a token waits at its target until the target may fire; the target then consumes all the tokens that it holds, once;
- a node fires when it holds a token, is not active itself, and no live position that blocks it is left;
- positions are nodes (active, or with a token that waits after a forward edge) and latches (a token that came over a loop edge);
- a closed scope starts nothing: what arrives waits there until the run is resumed; only END still fires, since it is no work;
- a `need=k` join decides in the very commit that brings the k-th arrival, and cancels by name what else its region holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from graphorch.core.growing import append_to
from graphorch.core.tree import NO_COUNTERS, Activation, Counters, Status, Token
from graphorch.errors import QuorumNotMet, WriteConflict
from graphorch.graph.plan import Plan, Step
from graphorch.graph.topology import Edge
from graphorch.state.version import INPUT, Version, unite

if TYPE_CHECKING:
    from graphorch.core.run import Run


DONE = Status.DONE
# never changed: most scopes of a map never have anything wait
_NONE_WAITS: dict[int, list[Token]] = {}


class Scope:
    """The state of one level. Mutated by the run that owns it, and by nobody else.

    A scope holds neither its run nor what it is inside of, so nothing here is a cycle: what a finished run held is given back at once.
    """

    __slots__ = (
        "_origin", "_parent", "_prefix", "active", "busy_count", "closed", "end", "failures", "finished", "item", "live_positions", "output", "plan", "reducers", "steps",
        "waiting",
    )  # fmt: skip

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
        self.waiting = _NONE_WAITS
        self.live_positions = 0  # bitmask of live positions, those that some join asks for
        self.busy_count = 0  # activations that keep a driver busy, and inner scopes that do
        self.closed = False  # starts nothing any more
        self.finished = False  # END fired
        self.failures: tuple[Activation, ...] = ()  # what failed for good in here and closed it
        self.output: Version | None = None
        # of the outermost scope the run's id; else empty, and found when somebody asks
        self._origin = origin

    @property
    def parent(self) -> Activation | None:
        """The sub-flow or map that this is inside of; None for the outermost. The run holds it, at work or in its history."""
        return self._parent() if self._parent is not None else None

    @property
    def prefix(self) -> str:
        """What the paths in here begin with: `team/`, `workers[3]/`."""
        if self._prefix is None:
            parent = self.parent
            assert parent is not None
            self._prefix = f"{parent.path}/" if self.item < 0 else f"{parent.path}[{self.item}]/"
        return self._prefix

    @property
    def origin(self) -> str:
        """What the ids in here derive from: the run, the sub-flow's activation, or the map's activation and the item."""
        if not self._origin:
            parent = self.parent
            assert parent is not None
            self._origin = parent.id if self.item < 0 else f"{parent.id}:{self.item}"
        return self._origin

    # ---- tokens ----------------------------------------------------------------------------------
    def begin(self, run: Run, update: dict[int, Any]) -> None:
        """Put the input on the edges from START."""
        version = Version({}, {})
        version.take(update, self.reducers, INPUT, "input")
        entry = self.plan.entry
        if entry is not None and run.left:
            self._add(run, Activation(self, entry, None, version, 1, NO_COUNTERS))
            return
        self.emit(run, None, self.plan.starts, version, NO_COUNTERS)
        self.fire_ready(run)

    def advance(
        self, run: Run, activation: Activation, edges: tuple[Edge, ...], version: Version
    ) -> bool:
        """A commit with one token: one leaves, the next starts, and the scope stays as busy as it is. False if that one cannot start at once.

        The same as `send`, `leave` and `fire_ready`, where it is known what they come to; by far the most common of all commits.
        """
        active, step, edge = self.active, activation.step, edges[0]
        index = edge.target
        if self.closed or not run.left or index in active or index == self.end:
            return False
        target = self.steps[index]
        if target.joins and (
            target.need or self.waiting or self.live_positions & ~step.bit & target.blockers
        ):
            return False
        counters = activation.counters
        if counters or edge.loop >= 0:
            counters = self._counters(counters, edge, target)
        activation.status, activation.taken_edges, activation.version = DONE, edges, None
        run.history.append(activation)
        del active[step.index]
        if step.tracked:
            self._release_position(step)
        active[index] = started = Activation(
            self, target, activation, version, activation.depth + 1, counters
        )
        self.live_positions |= target.bit
        run.left -= 1
        run.started += 1
        run.out.append(started)
        if self.waiting:
            self.fire_ready(run)
        return True

    def emit(
        self,
        run: Run,
        source: Activation | None,
        edges: Sequence[Edge],
        version: Version,
        counters: Counters,
        failure: Any = None,
    ) -> None:
        """Emit one token per edge; each gets a version of its own, or the version itself if it is the only one."""
        if len(edges) == 1:
            self._deliver(run, source, edges[0], version, counters, failure)
        elif edges:
            for edge, own in zip(edges, version.split(len(edges)), strict=True):
                self._deliver(run, source, edge, own, counters, failure)
        if run.has_quorums:
            for index in {edge.target for edge in edges if self.steps[edge.target].need}:
                self._decide_quorum(run, index)

    def _deliver(
        self,
        run: Run,
        source: Activation | None,
        edge: Edge,
        version: Version,
        counters: Counters,
        failure: Any,
    ) -> None:
        target = edge.target
        step = self.steps[target]
        if counters or edge.loop >= 0:
            counters = self._counters(counters, edge, step)
        starts = not (step.joins or target in self.active or (self.closed and target != self.end))
        if starts and failure is None and run.left and target != self.end:
            self._add(
                run,
                Activation(
                    self,
                    step,
                    source,
                    version,
                    source.depth + 1 if source is not None else 1,
                    counters,
                ),
            )
            return
        token = Token(source, edge, version, counters, failure)
        if starts:
            self._start(run, step, (token,))
            return
        self._hold(step, (token,))

    def _counters(self, counters: Counters, edge: Edge, target: Step) -> Counters:
        """How often the loops around the target were begun, for a token that comes along this edge."""
        inside = target.inside
        if edge.kind != "loop":
            return (
                counters
                if not counters or inside.issuperset(counters)
                else {loop: count for loop, count in counters.items() if loop in inside}
            )
        reset = self.plan.resets.get(edge.loop, ())
        kept = {
            loop: count for loop, count in counters.items() if loop in inside and loop not in reset
        }
        kept[edge.loop] = counters.get(edge.loop, 1) + 1
        return kept

    def _hold(self, step: Step, tokens: tuple[Token, ...]) -> None:
        """Have tokens wait at their target, where they are live positions."""
        if self.waiting is _NONE_WAITS:
            self.waiting = {}
        self.waiting.setdefault(step.index, []).extend(tokens)
        for token in tokens:
            if token.edge.kind == "loop":
                self.live_positions |= step.latch_bit
            elif step.tracked:
                self.live_positions |= step.bit

    # ---- firing ----------------------------------------------------------------------------------
    def fire_ready(self, run: Run) -> None:
        """Start every node that holds a token and that nothing live can still bring another one; if the scope is closed, END alone."""
        for index in tuple(self.waiting):
            step = self.steps[index]
            if (
                self.live_positions & step.blockers
                or index in self.active
                or index not in self.waiting
                or (self.closed and index != self.end)
            ):
                continue
            if step.need and not self._decide_quorum(run, index):
                self._fail_quorum(run, step)
            elif not step.need:
                self._start(run, step, self._take(step))

    def _take(self, step: Step) -> tuple[Token, ...]:
        """All tokens that wait at a node, in canonical order."""
        tokens = self.waiting.pop(step.index)
        self.live_positions &= ~(step.bit | step.latch_bit)
        return tuple(sorted(tokens, key=_canonical_order)) if len(tokens) > 1 else (tokens[0],)

    def _start(
        self, run: Run, step: Step, tokens: tuple[Token, ...], problem: Exception | None = None
    ) -> None:
        """Consume tokens: make an activation of them, and have it run; END only takes what reached it."""
        is_end = step.index == self.end
        if not is_end and not run.left:
            run.on_limit_reached()
            self._hold(step, tokens)
            return
        version = tokens[0].version
        if len(tokens) > 1:
            version, conflict = _unite_versions(tokens)
            problem = problem or conflict
        for token in tokens:
            token.version = None  # moved
        if is_end and problem is None:
            run.on_end_reached(self, version)
            return
        activation = _activation(self, step, tokens, version)
        if problem is not None:
            activation.failure = activation.fatal_error = problem
        self._add(run, activation)

    def _add(self, run: Run, activation: Activation) -> None:
        """Have an activation run."""
        step = activation.step
        self.active[step.index] = activation
        self.live_positions |= step.bit
        if step.index != self.end:
            run.left -= 1
            run.started += 1
        self.busy_count += 1
        if self.busy_count == 1 and (parent := self.parent) is not None:
            run.enter_busy(parent.scope)
        run.out.append(activation)

    def deactivate(self, activation: Activation) -> None:
        """The activation is no longer a live position. Its tokens, if any, were sent before."""
        step = activation.step
        del self.active[step.index]
        if step.tracked:
            self._release_position(step)

    def _release_position(self, step: Step) -> None:
        waiting = self.waiting.get(step.index)
        if waiting is None or all(token.edge.kind == "loop" for token in waiting):
            self.live_positions &= ~step.bit

    # ---- need=k ----------------------------------------------------------------------------------
    def _decide_quorum(self, run: Run, index: int) -> bool:
        """Fire a `need=k` join if k edges have arrived; everything else in its region is cancelled."""
        tokens, step = self.waiting.get(index), self.steps[index]
        if not tokens or self.closed or index in self.active:
            return False
        first = {token.edge.index: token for token in reversed(tokens)}
        if len(first) < step.need:
            return False
        chosen = [token for token in tokens if first[token.edge.index] is token][: step.need]
        for token in tokens:
            if token not in chosen:
                run.cancelled_tokens = append_to(run.cancelled_tokens, (token,))
        self._take(step)
        for node in step.region:
            self.cancel_node(run, node, f"'{step.name}' has the {step.need} that it needs")
        self._start(run, step, tuple(sorted(chosen, key=_canonical_order)))
        return True

    def _fail_quorum(self, run: Run, step: Step) -> None:
        """Nothing live can bring the k-th arrival any more."""
        tokens = self._take(step)
        have = len({token.edge.index for token in tokens})
        problem = (
            QuorumNotMet(f"'{step.name}' needs {step.need} branches, and only {have} can arrive.")
            if step.short == "fail"
            else None
        )
        run.has_gaps = True
        self._start(run, step, tokens, problem)

    # ---- stopping ----------------------------------------------------------------------------------
    def cancel_node(self, run: Run, index: int, reason: str) -> None:
        """Cancel by name whatever waits or runs at one node."""
        run.cancelled_tokens = append_to(run.cancelled_tokens, self.waiting.pop(index, ()))
        step = self.steps[index]
        activation = self.active.get(index)
        if activation is not None and activation.is_over:
            return  # its commit is what decides
        if activation is not None:
            run.cancel(activation, reason)
            self.deactivate(activation)
        self.live_positions &= ~(step.bit | step.latch_bit)

    def open_questions(self) -> list[Activation]:
        """The activations in here, and inside, that wait for a person; in the order of nodes and items."""
        found: list[Activation] = []
        for _, activation in sorted(self.active.items()):
            if activation.status is Status.AWAITING_ANSWER:
                found.append(activation)
            for inner in activation.children.scopes if activation.children is not None else ():
                if not inner.finished:
                    found += inner.open_questions()
        return found

    def child_scopes(self) -> list[Scope]:
        """The unfinished scopes directly inside this one."""
        return [
            scope
            for activation in self.active.values()
            if activation.children is not None
            for scope in activation.children.scopes
            if not scope.finished
        ]

    def active_activations(self) -> list[Activation]:
        """All that is active in here, and further inside."""
        found: list[Activation] = []
        pending = [self]
        while pending:
            scope = pending.pop()
            found += scope.active.values()
            pending += scope.child_scopes()
        return found


def _unite_versions(tokens: tuple[Token, ...]) -> tuple[Version | None, WriteConflict | None]:
    """What several tokens saw together, or why that cannot be."""
    try:
        return unite([token.version for token in tokens if token.version is not None]), None
    except WriteConflict as error:
        return None, error


def _activation(
    scope: Scope, step: Step, tokens: tuple[Token, ...], version: Version | None
) -> Activation:
    if len(tokens) == 1:
        (token,) = tokens
        depth, counters = token.source.depth + 1 if token.source is not None else 1, token.counters
    else:
        depth = 1 + max(token.source.depth if token.source is not None else 0 for token in tokens)
        counters = _merge_counters([token.counters for token in tokens])
    activation = Activation(scope, step, None, version, depth, counters)
    activation.set_tokens(tokens)
    return activation


def _canonical_order(token: Token) -> tuple[int, int, int]:
    source = token.source
    return (
        (0, -1, token.edge.index)
        if source is None
        else (source.depth, source.step.index, token.edge.index)
    )


def _merge_counters(counters: list[Counters]) -> Counters:
    """Tokens of one iteration carry equal counters; a loop that some have not entered counts from those that have."""
    first = counters[0]
    if all(item is first for item in counters):
        return first
    found: dict[int, int] = {}
    for counter in counters:
        for loop, count in counter.items():
            found[loop] = max(count, found.get(loop, 1))
    return found or NO_COUNTERS
