"""The critical path of a run, the slack of everything else, and the gain of a change.

The activations of a run, with their durations and dependencies, are a project plan (Kelley and
Walker 1959, "Critical-path planning and scheduling"): an activation begins when all that it
consumes is there, and when every limit around it has room: its map's `concurrency`, its node's, and
that of the run. Times of people do not count, as for deadlines. A duration is that of all attempts
with their pauses and the waits for a turn at a model; the time in which it waited for a slot of a
node or a run is not part of it. Records before format 4 do not tell that time, nor the limit of the
run: there it is part of the duration.

An agent with tools is several items: asking its model, once before each round of calls and once
after the last, with the calls in between. It keeps its slots all the while, and calls need none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from graphorch.core.late_work import find_home
from graphorch.core.run import Run
from graphorch.core.tree import (
    Activation,
    ReviewedScopes,
    Scope,
    Status,
    ToolRound,
    ToolScope,
    ToolScopes,
    format_place,
)
from graphorch.errors import InputError
from graphorch.trace.analysis.work_schedule import (
    Limit,
    Schedule,
    Work,
    WorkItem,
    measure,
    schedule,
)
from graphorch.trace.spans.model import strip_index

_LIMITS = (1, 2, 4, 8, 16)  # concurrency limits of a run that are simulated
_RUN = 0  # the number of its limit


@dataclass(frozen=True, slots=True)
class Slack:
    """One step of the flow, over all its activations.

    `critical_seconds` lie on the critical path; `slack` is how many seconds longer it could take
    without delaying the run; `twice_as_fast` the seconds that the run would take if it took half.
    """

    step: str
    visits: int
    seconds: float
    critical_seconds: float
    slack: float
    twice_as_fast: float


@dataclass(frozen=True, slots=True)
class LimitGain:
    """A limit at which something had to wait: how many it lets run at once.

    `twice_as_wide` and `without` are the seconds that the run would take with twice as many at
    once, and without the limit.
    """

    limit: str
    at_once: int
    twice_as_wide: float
    without: float


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """The critical path of a run: `path` holds (path, seconds) from first to last.

    `seconds` is its length, `measured` what the run took, `busy` the sum of all work. `limits` are
    those that cost time. `with_limit` has the seconds that the run would take with so many nodes at
    once, `without_limit` those without a limit of the run; what maps and nodes allow stays.
    """

    seconds: float
    measured: float
    busy: float
    path: tuple[tuple[str, float], ...]
    steps: tuple[Slack, ...]
    limits: tuple[LimitGain, ...]
    with_limit: Mapping[int, float]
    without_limit: float


def find_critical_path(
    run: Run, measured: float, concurrency: int | None = None, taken_over: int = 0
) -> CriticalPath:
    """Return the critical path of a run that took `measured` seconds.

    `concurrency` is how many of its nodes could run at once. The first `taken_over` activations of
    its history were done by another run, and take no time. Raises `InputError` if no activation is
    finished.
    """
    work = collect_work(run, concurrency, taken_over)
    if not work.items:
        raise InputError(
            f"Nothing of run {run.run_id} is finished yet, so it has no critical path. "
            "Ask again when something is."
        )
    times = schedule(work)
    path = times.trace_path()
    path_items = [work.items[number] for number in path]
    with_limit = {limit: measure(_limit_run(work, limit)) for limit in _LIMITS}
    return CriticalPath(
        seconds=times.seconds,
        measured=measured,
        busy=sum(item.seconds for item in work.items),
        path=tuple((item.path, item.seconds) for item in path_items if item.seconds),
        steps=tuple(slack for slack in _list_slacks(work, times, set(path)) if slack.seconds),
        limits=tuple(_list_gains(work, times)),
        with_limit=with_limit,
        without_limit=measure(_limit_run(work, None)),
    )


def _limit_run(work: Work, at_once: int | None) -> Work:
    """Return work of which so many nodes may run at once."""
    return work.with_limits([replace(work.limits[_RUN], at_once=at_once), *work.limits[1:]])


def _list_slacks(work: Work, times: Schedule, path: set[int]) -> list[Slack]:
    """Return a row for each step, those on the critical path first."""
    numbers_by_step: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(work.items):
        numbers_by_step[item.step or strip_index(item.path)].append(number)
    slack = times.compute_slack(work.items)
    rows: list[Slack] = []
    for step, numbers in numbers_by_step.items():
        critical = [number for number in numbers if number in path]
        # Off the critical path nothing is gained.
        twice_as_fast = times.seconds
        if critical:
            twice_as_fast = measure(work.with_faster(numbers, 0.5))
        rows.append(
            Slack(
                step=step,
                visits=sum(work.items[number].visits for number in numbers),
                seconds=sum(work.items[number].seconds for number in numbers),
                critical_seconds=sum(work.items[number].seconds for number in critical),
                slack=min(slack[number] for number in numbers),
                twice_as_fast=twice_as_fast,
            )
        )
    return sorted(rows, key=lambda row: (-row.critical_seconds, row.slack, row.step))


def _list_gains(work: Work, times: Schedule) -> Iterable[LimitGain]:
    """Return the limits at which something waited; those of one map in several visits are one."""
    widths = {work.limits[number].name: work.limits[number].at_once for number in times.contested}
    for name, at_once in sorted(widths.items()):
        assert at_once is not None
        wider, without = (
            [replace(limit, at_once=most) if limit.name == name else limit for limit in work.limits]
            for most in (2 * at_once, None)
        )
        yield LimitGain(
            name, at_once, measure(work.with_limits(wider)), measure(work.with_limits(without))
        )


# ---- work of a run -------------------------------------------------------------------------------
def collect_work(run: Run, concurrency: int | None = None, taken_over: int = 0) -> Work:
    """Return the finished activations of a run as work, each after what it depends on."""
    collector = _Collector([Limit("the run", concurrency)])
    for activation in [*run.history, *run.unfinished()]:
        if isinstance(activation.scope, ToolScope) and activation.ended_at:
            collector.calls[activation.scope.round].append(activation)
    # In the history the activations inside of a sub-flow or map come before it.
    for number, activation in enumerate(run.history):
        if activation.ended_at:
            collector.add(activation, is_own=number >= taken_over)
    # A node that failed is not over, since a resume repeats it; its time was spent all the same.
    failed = [item for item in run.unfinished() if _has_failed(item)]
    # Calls of tools before their agents.
    for activation in sorted(failed, key=lambda item: item.children is not None):
        collector.add(activation, is_own=True)
    collector.end_scopes(list(collector.open_items))
    return Work(tuple(collector.items), tuple(collector.limits))


def _has_failed(activation: Activation) -> bool:
    """Return whether this is a node or tool call that failed for good, in a run that stopped."""
    is_node = activation.children is None or isinstance(activation.children, ToolScopes)
    has_ended = activation.failure is not None and activation.ended_at > 0
    return is_node and has_ended and activation.status is Status.FAILED


def _find_step(activation: Activation) -> str:
    """Return the path without the indices of map items; all calls of a tool have one step."""
    above, name = activation.scope.parent, activation.tool or activation.step.name
    return name if above is None else f"{_find_step(above)}/{name}"


@dataclass(slots=True)
class _AskedRound:
    """The number of the item before a round, and its calls: index, number, whether a barrier."""

    number: int
    calls: list[tuple[int, int, bool]] = field(default_factory=list[tuple[int, int, bool]])


@dataclass(slots=True)
class _Collector:
    """Work that is collected so far. Items of a map begin and end with an item of no seconds."""

    limits: list[Limit]
    items: list[WorkItem] = field(default_factory=list[WorkItem])
    numbers: dict[Activation, int] = field(default_factory=dict[Activation, int])
    inside: dict[Scope, list[int]] = field(default_factory=lambda: defaultdict(list[int]))
    starts: dict[Scope, int] = field(default_factory=dict[Scope, int])
    open_items: dict[Scope, int] = field(default_factory=dict[Scope, int])  # with their limits
    agents: dict[Activation, int] = field(default_factory=dict[Activation, int])  # that began
    calls: dict[ToolRound, list[Activation]] = field(
        default_factory=lambda: defaultdict(list[Activation])
    )
    asked: dict[ToolRound, _AskedRound] = field(default_factory=dict[ToolRound, _AskedRound])
    known_limits: dict[tuple[int, int] | str, int] = field(
        default_factory=dict[tuple[int, int] | str, int]
    )

    def add(self, activation: Activation, *, is_own: bool) -> None:
        """Add an activation that ended."""
        children = activation.children
        if isinstance(children, ToolScopes):
            self._end_agent(activation, is_own=is_own)
            return
        if isinstance(activation.scope, ToolScope):
            self._add_call(activation, activation.scope, is_own=is_own)
            return
        sources: set[int] = set()
        if children is not None:
            self.end_scopes([scope for scope in children.scopes if scope in self.open_items])
            # A map waits for none of its late items.
            awaited = [scope for scope in children.scopes if scope.late is None]
            sources = {number for scope in awaited for number in self.inside[scope]}
        sources = sources or self._find_sources(activation)
        # People, events, what is inside, and what another run did are not work of the activation.
        step = activation.step
        is_work = is_own and step.ask is None and step.event is None and children is None
        seconds = activation.ended_at - activation.started_at - activation.waited
        takes = self._find_limits(activation) if is_work else ()
        item = WorkItem(
            activation.path,
            max(0.0, seconds) if is_work else 0.0,
            tuple(sorted(sources)),
            takes,
            takes,
            (activation.started_at + activation.waited, 0),
            _find_step(activation),
        )
        self.numbers[activation] = len(self.items)
        # A sub-flow waits for its losers.
        self.inside[find_home(activation.scope)].append(len(self.items))
        self.items.append(item)

    # ---- agents with tools
    def _add_call(self, call: Activation, scope: ToolScope, *, is_own: bool) -> None:
        """Add a call of a tool, behind what asked the model for its round and its barriers."""
        agent = scope.parent
        assert agent is not None
        after = self._find_before_call(call, scope, is_own=is_own)
        if call.children is not None:
            # A flow that is called as a tool: its work is inside.
            inside = [self.inside[inner] for inner in call.children.scopes]
            after |= {number for numbers in inside for number in numbers}
        # Where a person answered in its place, nothing ran.
        is_decided = call.question is not None and not call.approved
        is_work = call.children is None and not is_decided
        seconds = call.ended_at - call.started_at - call.waited if is_work else 0.0
        number = self._add_part(call, seconds, tuple(sorted(after)), is_own=is_own, visits=1)
        self.asked[scope.round].calls.append((scope.call.place, number, scope.call.is_barrier))

    def _find_before_call(
        self, call: Activation, scope: ToolScope, *, is_own: bool = True
    ) -> set[int]:
        """Return the numbers of what asked for a call, and of the barriers before it."""
        agent = scope.parent
        assert agent is not None
        asked = self._ask_model(agent, scope.round, is_own=is_own)
        earlier = [item for item in self.asked[scope.round].calls if item[0] < scope.call.place]
        is_barrier = scope.call.is_barrier
        return {asked, *(number for _, number, other in earlier if other or is_barrier)}

    def _ask_model(self, agent: Activation, round: ToolRound, *, is_own: bool) -> int:
        """Return the number of what an agent did before a round of its calls."""
        if round not in self.asked:
            after, ended = self._find_before(agent, round, is_own=is_own)
            began = min((call.started_at for call in self.calls[round]), default=0.0)
            # It went on then: what people took for their answers is not its time.
            since = agent.started_at if ended < agent.started_at < began else ended
            seconds = began - since if since else 0.0
            number = self._add_part(agent, seconds, after, is_own=is_own)
            self.asked[round] = _AskedRound(number)
        return self.asked[round].number

    def _find_before(
        self, agent: Activation, round: ToolRound | None, *, is_own: bool
    ) -> tuple[tuple[int, ...], float]:
        """Return what comes before a round of an agent, or before its end, and when that ended.

        A node may have several loops of a model and tools, each with rounds of its own.
        """
        loop = None if round is None else round.key.partition(":")[0]
        assert isinstance(agent.children, ToolScopes)
        rounds = [
            other
            for other in agent.children.rounds.values()
            if other in self.asked and loop in (None, other.key.partition(":")[0])
        ]
        if not rounds:
            return (self._begin_agent(agent, is_own=is_own),), agent.started_at
        rounds = rounds if round is None else rounds[-1:]
        numbers = [number for other in rounds for _, number, _ in self.asked[other].calls]
        return tuple(numbers), max(
            (call.ended_at for other in rounds for call in self.calls[other]), default=0.0
        )

    def _begin_agent(self, agent: Activation, *, is_own: bool) -> int:
        if agent not in self.agents:
            sources = tuple(sorted(self._find_sources(agent)))
            takes = self._find_limits(agent) if is_own else ()
            self.agents[agent] = self._add_part(agent, 0.0, sources, is_own=is_own, takes=takes)
        return self.agents[agent]

    def _end_agent(self, agent: Activation, *, is_own: bool) -> None:
        """Add what an agent did after its last calls."""
        begun = self._begin_agent(agent, is_own=is_own)
        after, ended = self._find_before(agent, None, is_own=is_own)
        seconds = agent.ended_at - max(ended, agent.started_at)
        frees = self.items[begun].takes
        number = self._add_part(agent, seconds, after, is_own=is_own, frees=frees, visits=1)
        self.numbers[agent] = number
        self.inside[agent.scope].append(number)

    def _add_part(
        self,
        activation: Activation,
        seconds: float,
        after: tuple[int, ...],
        *,
        is_own: bool,
        takes: tuple[int, ...] = (),
        frees: tuple[int, ...] = (),
        visits: int = 0,
    ) -> int:
        """Add a part of an agent, or a call; return its number."""
        seconds = max(0.0, seconds) if is_own else 0.0
        turn = (activation.started_at + activation.waited, 0)
        step = _find_step(activation)
        item = WorkItem(activation.path, seconds, after, takes, frees, turn, step, visits)
        self.items.append(item)
        return len(self.items) - 1

    # ---- maps
    def end_scopes(self, scopes: Sequence[Scope]) -> None:
        """End the items of maps, so that others can begin."""
        for scope in scopes:
            limit = self.open_items.pop(scope)
            after = tuple(self.inside[scope])
            self.inside[scope] = [len(self.items)]
            path = scope.prefix.removesuffix("/")
            self.items.append(WorkItem(path, 0.0, after, frees=(limit,)))

    def _begin_item(self, scope: Scope, parent: Activation, began: float) -> int:
        """Begin an item of a map, as soon as the map allows one more; return its number."""
        if scope not in self.starts:
            assert parent.children is not None
            name = f"map '{strip_index(parent.path)}'"
            limit = self._find_limit((id(parent), -1), name, parent.children.at_once)
            item = WorkItem(
                scope.prefix.removesuffix("/"),
                0.0,
                tuple(sorted(self._find_before_item(scope, parent))),
                takes=(limit,),
                turn=(began, scope.item),
            )
            self.starts[scope] = len(self.items)
            self.open_items[scope] = limit
            self.items.append(item)
        return self.starts[scope]

    def _find_before_item(self, scope: Scope, parent: Activation) -> set[int]:
        """Return the numbers of what an item waited for: the one that grew it, or the map's."""
        children = parent.children
        if isinstance(children, ReviewedScopes) and scope.place in children.parents:
            grower = children.find_item(format_place(children.parents[scope.place]))
            return {*self.inside[children.scopes[grower]]}
        return self._find_sources(parent)

    def _find_limits(self, activation: Activation) -> tuple[int, ...]:
        """Return the limits of which an activation needs a slot: its node's, then the run's.

        Before them come its exclusive regions, each of which is a limit of one.
        """
        regions = tuple(
            self._find_limit(name, f"region '{name}'", 1) for name in activation.step.exclusive
        )
        at_once = activation.step.node.options.concurrency
        if at_once is None:
            return (*regions, _RUN)
        # All scopes of one plan share the limit of a node.
        key = (id(activation.scope.plan), activation.step.index)
        name = f"node '{strip_index(activation.path)}'"
        return (*regions, self._find_limit(key, name, at_once), _RUN)

    def _find_limit(self, key: tuple[int, int] | str, name: str, at_once: int) -> int:
        if key not in self.known_limits:
            self.known_limits[key] = len(self.limits)
            self.limits.append(Limit(name, at_once))
        return self.known_limits[key]

    def _find_sources(self, activation: Activation) -> set[int]:
        """Return the numbers of what led to an activation.

        For the first ones inside of a sub-flow, that is what led to the flow's own activation; for
        those inside of a map, the beginning of its item.
        """
        if activation.scope.is_undo:  # one at a time, after what ended before it
            return {len(self.items) - 1} if self.items else set()
        sources: set[int] = set()
        for token in activation.tokens:
            if token.source is not None:
                if token.source in self.numbers:
                    sources.add(self.numbers[token.source])
            elif (parent := activation.scope.parent) is None:
                continue
            elif isinstance(parent.scope, ToolScope):
                sources |= self._find_before_call(parent, parent.scope)
            elif parent.step.map is None:
                sources |= self._find_sources(parent)
            else:
                sources.add(self._begin_item(activation.scope, parent, activation.started_at))
        return sources
