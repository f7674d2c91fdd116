"""Driver for tests of the core by hand: a test chooses which node ends next, and how.

Every invariant is checked after every event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Self

from pydantic import BaseModel

from graphorch.core.compensation import has_work_to_undo
from graphorch.core.events import (
    CancelNode,
    Command,
    EvaluateRoute,
    Event,
    FinishRun,
    ItemReviewed,
    LeaveScope,
    NodeFailed,
    NodeSkipped,
    NodeSucceeded,
    PersonAsked,
    Resumed,
    RetryDue,
    ReviewItem,
    Routed,
    RunStarted,
    ScheduleRetry,
    ScopeEntered,
    StopRequested,
)
from graphorch.core.invariants import check_invariants
from graphorch.core.retry import find_handler
from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status, format_place
from graphorch.engine.invocation import binding
from graphorch.engine.waits.event_waits import build_early_end
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.compiler import compile_plan
from graphorch.graph.node import Node
from graphorch.graph.options import NodeSettings
from graphorch.graph.plan import MapSpec, Plan, Rest, Short, SubSpec
from graphorch.graph.signature import Read, Signature, StateFunction
from graphorch.graph.spec import GraphSpec
from graphorch.graph.topology import build_topology
from graphorch.state.reducers import append
from graphorch.statuses import RunStatus
from tests.simulation.structure import region_of, structure_of


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class Number(BaseModel):
    number: int = 0


class State(Log, Number): ...


class Item(BaseModel):
    item: int = 0


class Done(BaseModel):
    done: int = 0


def step(name: str) -> Node[Any]:
    """Return a node that writes its name to the log, so the log shows who was seen, in order."""
    return Node(lambda state: Log(log=[name]), _signature(State, Log), name=name)


def acting(name: str, undone: list[str] | None = None) -> Node[Any]:
    """Return a node that writes its name to the log, and an undo that notes what it reads."""

    def take_back(log: Log) -> None:
        if undone is not None:
            undone.append(" ".join(log.log))

    signature = Signature((Read(Log),), (), False, None, True, False)
    undo: Node[Any] = Node(take_back, signature, name=f"undo_{name}")
    return Node(
        lambda state: Log(log=[name]),
        _signature(State, Log),
        name=name,
        options=NodeSettings(effect="idempotent", undo=undo),
    )


def count(name: str) -> Node[Any]:
    """Return a node that adds one to the number."""
    return Node(lambda state: Number(number=state.number + 1), _signature(State, Number), name=name)


def graph() -> GraphBuilder[State]:
    return GraphBuilder("drill", State, None, None)


def plan_of(made: GraphBuilder[State] | GraphSpec) -> Plan:
    """Compile a graph that the test knows to be valid."""
    blueprint = made.spec if isinstance(made, GraphBuilder) else made
    assert not blueprint.problems, blueprint.problems
    structure = structure_of(blueprint)
    regions = {
        structure.order(join.node): region_of(structure, join.node)
        for join in blueprint.joins
        if isinstance(join.need, int)
    }
    numbered = {
        index: frozenset(structure.order(name) for name in region or ())
        for index, region in regions.items()
    }
    return compile_plan(blueprint, build_topology(blueprint), numbered)


def sub(
    made: GraphBuilder[State],
    name: str,
    flow: Plan,
    *,
    cancel_on: str = "",
    keeps: bool = False,
    deadline: float | None = None,
    compensate: bool = False,
) -> Node[Any]:
    """Return a node that runs a flow on an empty log, and appends its log as one entry.

    If it `keeps` what was done when a signal ends it, that is an entry `kept(…)`.
    """
    options = NodeSettings(deadline=deadline)
    node: Node[Any] = Node(
        lambda: None, _signature(State, Log), name=name, kind="sub", options=options
    )
    keep = StateFunction(lambda log: Log(log=[f"kept({' '.join(log.log)})"]), (Read(Log),))
    enter = StateFunction(lambda state: State(number=state.number), (Read(State),))
    made.spec.subs[name] = SubSpec(
        flow,
        enter,
        lambda output: Log(log=[f"{name}({' '.join(output.log)})"]),
        compensate,
        cancel_on=cancel_on,
        keep=keep if keeps else None,
    )
    return node


def map_over(
    made: GraphBuilder[State],
    name: str,
    items: int,
    *,
    concurrency: int = 8,
    need: int | None = None,
    on_item_error: Any = "fail",
    flow: Plan | None = None,
    until: Callable[[list[Any]], object] | None = None,
    grow: Callable[[Any], object] | None = None,
    unique: bool = False,
    max_items: int = 100,
    compensate: bool = False,
    rest: Rest = "cancel",
    short: Short = "fail",
    cancel_on: str = "",
    deadline: float | None = None,
) -> Node[Any]:
    """Return a map over the numbers from 0.

    It logs the result of each item (ten times the number), and the items that are missing.
    """
    options = NodeSettings(deadline=deadline)
    node: Node[Any] = Node(
        lambda: None, _signature(State, Log), name=name, kind="map", options=options
    )
    worker: Node[Any] = Node(
        lambda given: Done(done=given.item * 10), _signature(Item, Done), name="work"
    )

    def gather(results: list[Any], missing: list[Any]) -> Log:
        entries = [
            str(item.done) if isinstance(item, Done) else " ".join(item.log) for item in results
        ]
        return Log(
            log=[f"{name}[{','.join(entries)}]", *(f"missing {item.index}" for item in missing)]
        )

    made.spec.maps[name] = MapSpec(
        item=Item if flow is None else State,
        result=Done if flow is None else State,
        worker=worker if flow is None else None,
        flow=flow,
        over=StateFunction(
            lambda state: [
                Item(item=at) if flow is None else State(number=at) for at in range(items)
            ],
            (Read(State),),
        ),
        gather=gather,
        wants_missing=True,
        max_items=max_items,
        concurrency=concurrency,
        need=need,
        on_item_error=on_item_error,
        until=until,
        grow=grow,
        compensate=compensate,
        rest=rest,
        short=short,
        unique=unique,
        cancel_on=cancel_on,
    )
    return node


def _signature(read: type[BaseModel], write: type[BaseModel]) -> Signature:
    return Signature((Read(read),), (write,), False, None, False, False)


class Drill:
    """Run with the commands that it gave. Nodes are named by path."""

    def __init__(
        self, plan: Plan, *, run_id: str = "drill", checked: bool = True, **options: Any
    ) -> None:
        self.plan = plan
        self.run = Run(plan, run_id, **options)
        self.jobs: list[Command] = []
        self.cancelled: list[str] = []
        self.ends: list[str] = []
        self.checked = checked
        self.tell(RunStarted(plan.read_input.update(plan.input())))

    def tell(self, event: Event) -> list[Command]:
        """Give an event to the core, and keep its commands.

        Loops, routes and the ends of scopes inside are answered at once.
        """
        if isinstance(event, NodeFailed) and event.activation.step.compensates:
            is_final = event.retry_after is None and not event.limit
            is_over = event.activation.update is None or event.handler >= 0
            event.undoes = is_final and is_over and has_work_to_undo(self.run, event.activation)
        commands = self.run.handle(event)
        for command in commands:
            match command:
                case FinishRun(status, reason):
                    self.ends.append(status if status == reason else f"{status}: {reason}")
                case CancelNode(activation):
                    self.cancelled.append(activation.path)
                case _:
                    self.jobs.append(command)
        self.jobs = [job for job in self.jobs if _is_due(job)]
        if self.checked:
            check_invariants(self.run)
        self._answer()
        return commands

    def _answer(self) -> None:
        at_once = [
            job
            for job in self.jobs
            if isinstance(job, EvaluateRoute | LeaveScope | ReviewItem)
            or (isinstance(job, Activation) and job.step.inner_plan is not None)
        ]
        for job in at_once[:1]:
            self.jobs.remove(job)
            self.tell(self._result(job))

    def _result(self, job: Command) -> Event:
        assert isinstance(job, Activation | EvaluateRoute | LeaveScope | ReviewItem)
        activation = about(job)
        if isinstance(job, ReviewItem):
            return review(job)
        try:
            if activation.failure is not None and isinstance(job, Activation):
                raise activation.failure
            if isinstance(job, EvaluateRoute):
                return Routed(activation, binding.evaluate_route(activation))
            if isinstance(job, LeaveScope):
                return NodeSucceeded(activation, binding.gather_children(activation))
            if activation.step.inner_plan is not None:
                updates = binding.build_items(activation)
                keys = binding.find_keys(activation, updates)
                ends_early = activation.step.may_end_early
                wait = build_early_end(activation, 0.0) if ends_early else None
                return ScopeEntered(activation, updates, keys=keys, wait=wait)
            given = binding.bind_arguments(activation)
            assert activation.version is not None
            return NodeSucceeded(
                activation,
                binding.build_update(
                    activation.step, activation.step.node.fn(*given), given, activation.version
                ),
            )
        except Exception as error:
            return NodeFailed(
                activation, activation.attempt, error, handler=find_handler(activation, error)
            )

    # ---- what a test does ------------------------------------------------------------------------
    @property
    def running(self) -> list[str]:
        """Return the paths of the nodes that run, in alphabetical order."""
        return sorted(job.path for job in self.jobs if isinstance(job, Activation))

    def job(self, path: str) -> Any:
        jobs = [
            job for job in self.jobs if not isinstance(job, FinishRun) and about(job).path == path
        ]
        assert jobs, f"'{path}' does not run; running: {self.running}"
        return jobs[0]

    def activation(self, path: str) -> Activation:
        return about(self.job(path))

    def finish(self, *paths: str) -> Self:
        """End these nodes, one after the other."""
        for path in paths:
            job = self.job(path)
            self.jobs.remove(job)
            self.tell(self._result(job))
        return self

    def fail(
        self,
        path: str,
        error: Exception | None = None,
        *,
        retry_after: float | None = None,
        limit: str = "",
    ) -> Self:
        job = self.job(path)
        self.jobs.remove(job)
        activation, raised = about(job), error or ValueError(path)
        self.tell(
            NodeFailed(
                activation,
                activation.attempt,
                raised,
                retry_after,
                find_handler(activation, raised),
                limit,
            )
        )
        return self

    def skip(self, path: str) -> Self:
        job = self.job(path)
        self.jobs.remove(job)
        self.tell(NodeSkipped(about(job), "unassigned"))
        return self

    def ask(self, path: str) -> Activation:
        """Have a node ask a question, and return its activation, which an answer needs."""
        job = self.job(path)
        self.jobs.remove(job)
        self.tell(PersonAsked(about(job), "well?"))
        return about(job)

    def answer(self, activation: Activation, entry: str) -> list[Command]:
        return self.tell(
            NodeSucceeded(activation, activation.step.writes[0].update(Log(log=[entry])))
        )

    def retry(self, path: str) -> Self:
        job = self.job(path)
        assert isinstance(job, ScheduleRetry)
        self.tell(RetryDue(job.activation, job.activation.attempt))
        return self

    def stop(self, *, status: RunStatus = "stopped", now: bool = True) -> Self:
        self.tell(StopRequested("asked to", status, now))
        return self

    def undo(self) -> Self:
        """Cancel the run for good, and undo what it has committed."""
        self.tell(StopRequested("undo it", "cancelled", undoes=True))
        return self

    def resume(self) -> Self:
        self.tell(Resumed())
        return self

    def finish_all(self, pick: Callable[[list[str]], str] = min) -> Self:
        """End everything that runs, and what follows it."""
        while self.running:
            self.finish(pick(self.running))
        return self

    @property
    def log(self) -> list[str]:
        """Return the log that reached END."""
        assert self.run.root.output is not None, f"the run is {self.run.status}: {self.run.reason}"
        return self.plan.read_state.read(self.run.root.output).log

    @property
    def number(self) -> int:
        assert self.run.root.output is not None
        return self.plan.read_state.read(self.run.root.output).number

    @property
    def done(self) -> list[str]:
        """Return the paths of committed activations, in order of the commits."""
        return [
            activation.path for activation in self.run.history if activation.status is Status.DONE
        ]

    def ids(self) -> dict[str, list[str]]:
        ids: dict[str, list[str]] = {}
        for activation in self.run.history:
            ids.setdefault(activation.path, []).append(activation.id)
        return {path: sorted(of_path) for path, of_path in ids.items()}


def review(job: ReviewItem) -> ItemReviewed:
    """Return what the functions of a map say about an item."""
    item = format_place(job.scope.place)
    try:
        enough, updates = binding.review_item(job.activation, job.scope)
        keys = binding.find_keys(job.activation, updates)
    except Exception as error:
        return ItemReviewed(job.activation, item, failure=error)
    return ItemReviewed(job.activation, item, enough, updates, keys=keys)


def about(job: Command) -> Activation:
    """Return the activation that a command is about."""
    assert not isinstance(job, FinishRun)
    return job if isinstance(job, Activation) else job.activation


def _is_due(job: Command) -> bool:
    match job:
        case (Activation() as activation) | LeaveScope(activation):
            return activation.status is Status.RUNNING
        case EvaluateRoute(activation):
            return activation.status is Status.ROUTING
        case ReviewItem(activation):
            return activation.children is not None and activation.children.is_reviewing
        case ScheduleRetry(activation):
            return activation.status is Status.RETRYING
        case _:
            return False
