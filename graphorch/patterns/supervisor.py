"""A planner makes typed tasks, workers do them, and somebody assembles what they report.

Known failures: a task goes to the wrong worker; and from four workers on their reports fill the context of whoever assembles. The plan is
checked before anybody works (unknown workers, circles, tasks that are there twice); tasks that do not wait for each other run at once; a
worker may decline, and then the planner plans anew with the reason in hand; and reports are cut to digests that together never exceed a
budget of tokens.

    plan → plan_tasks → plan_research, plan_write → plan_reports → assemble
    plan_reports goes back to plan_tasks for what waited, and to plan for what was declined
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from pydantic import BaseModel

from graphorch.agents.agent import AgentCall
from graphorch.engine.attempts.context import NodeContext
from graphorch.errors import GraphError
from graphorch.graph.builder import GraphBuilder, read_labels
from graphorch.graph.node import Node
from graphorch.graph.options import is_count
from graphorch.graph.plan import MapSpec, Plan
from graphorch.graph.signature import Read, Signature, StateFunction, read_return_type
from graphorch.models.messages import Message, Prompt, to_messages
from graphorch.patterns.digests import build_digest, measure_report, share_budget
from graphorch.patterns.errors import Declined, TasksDeclined
from graphorch.patterns.pattern_builder import (
    HiddenSlice,
    InputSlices,
    PatternBuilder,
    format_slice,
    make_model,
)
from graphorch.patterns.router import word
from graphorch.patterns.task_plan import NEEDS, PlannedTask, find_ready, plan_tasks
from graphorch.patterns.types import Digest, Feedback


@dataclass(frozen=True, slots=True)
class SupervisorBounds:
    """What a supervisor may do at most. `digest_tokens` is what all reports together may count as, for whoever reads them."""

    tasks: int
    replans: int
    digest_tokens: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Worker:
    """What works on the tasks of one label: a node, or the plan of a flow."""

    label: Any
    node: Node[Any] | None
    flow: Plan | None

    @property
    def word(self) -> str:
        """The label as text."""
        return word(self.label)

    @property
    def is_apart(self) -> bool:
        """Whether it takes the bare task: a flow, and a function that another process has to find by its name."""
        return self.node is None or self.node.options.isolation == "process"

    @property
    def item(self) -> type[BaseModel]:
        """What it takes."""
        if self.flow is not None:
            return self.flow.input
        return (
            self.node.signature.reads[0].model
            if self.node is not None and self.node.signature.reads
            else None
        ) or BaseModel

    @property
    def result(self) -> type[BaseModel]:
        """What it reports."""
        if self.flow is not None:
            return self.flow.output
        return (
            self.node.signature.writes[0]
            if self.node is not None and self.node.signature.writes
            else BaseModel
        )


class TaskOrder(BaseModel):
    """What a worker is handed; a subclass made for each supervisor has the type of the task. `known` are the reports that it waited for."""

    task: Any
    known: str = ""


class TaskOutcome(BaseModel):
    """What came of a task: a report, or why it was declined."""

    report: Any = None
    declined: str = ""


class SupervisorState(BaseModel):
    """What the supervisor remembers; a subclass made for each one has the reports of each worker, `reports0` and so on."""

    jobs: list[Any] = []
    phase: str = ""  # what the last round asked for: "wave" more of the plan, "replan" another plan
    replans: int = 0


@dataclass(frozen=True, slots=True)
class _Supervisor:
    """One supervisor being drawn."""

    wiring: PatternBuilder
    plan: str
    workers: tuple[Worker, ...]
    bounds: SupervisorBounds
    memory: HiddenSlice
    job: type[PlannedTask]
    founds: tuple[HiddenSlice, ...]  # of each worker, what came of its tasks in this round

    @property
    def numbers(self) -> dict[str, int]:
        return {worker.word: number for number, worker in enumerate(self.workers)}

    def report(self, desk: SupervisorState, job: PlannedTask) -> BaseModel:
        return getattr(desk, f"reports{self.numbers[job.label]}")[job.number]

    def given(self, desk: SupervisorState, worker: Worker) -> list[PlannedTask]:
        return [job for job in desk.jobs if job.status == "given" and job.label == worker.word]


def supervisor(
    builder: GraphBuilder[Any],
    plan: Any,
    tasks: Callable[..., Any],
    worker_of: Callable[[Any], Any],
    workers: Sequence[Worker],
    gather: Callable[..., Any],
    assemble: Any | None,
    bounds: SupervisorBounds,
) -> None:
    """See `Graph.supervisor`."""
    wiring = PatternBuilder(builder)
    name = wiring.one(plan, "supervisor(plan)")
    where = f"supervisor of '{name}'"
    written = _written(gather)
    if (
        not name
        or not _is_possible(wiring, where, worker_of, workers, gather, written, bounds)
        or written is None
    ):
        return
    item = _item(tasks) or workers[0].item
    job: type[PlannedTask] = make_model("JobOfSupervisor", {"task": (item, ...)}, PlannedTask)
    reports: dict[str, tuple[Any, Any]] = {
        f"reports{number}": (list[worker.result], []) for number, worker in enumerate(workers)
    }
    desk: type[SupervisorState] = make_model(
        "DeskOfSupervisor", {"jobs": (list[job], []), **reports}, SupervisorState
    )
    memory = wiring.memory(f"{name}_desk", desk, desk)
    outcomes = [
        make_model("OutcomeOfWorker", {"report": (worker.result | None, None)}, TaskOutcome)
        for worker in workers
    ]
    founds = tuple(
        wiring.memory(f"{name}_{worker.word}", list[outcome], list)
        for worker, outcome in zip(workers, outcomes, strict=True)
    )
    drawn = _Supervisor(wiring, name, tuple(workers), bounds, memory, job, founds)
    origin = wiring.exit_of(name)
    first = _draw_tasks(drawn, wiring.pure(tasks, where), worker_of)
    maps = [
        _draw_worker(drawn, number, item, cast("type[TaskOutcome]", outcome))
        for number, outcome in enumerate(outcomes)
    ]
    is_to_plan_anew = _asks_for(memory, "replan")
    last = _draw_reports(drawn, gather, written, is_to_plan_anew)
    wiring.leave_by(origin, last)
    wiring.edge(origin, first)
    wiring.edge(first, *maps)
    for text in maps:
        wiring.edge(text, last)
    if bounds.tasks > 1 and any(field in item.model_fields for field in NEEDS):
        wiring.loop(
            last,
            first,
            StateFunction(_asks_for(memory, "wave"), (Read(memory.model),)),
            bounds.tasks,
        )
    if bounds.replans:
        wiring.loop(
            last, name, StateFunction(is_to_plan_anew, (Read(memory.model),)), bounds.replans + 1
        )
    if assemble is not None:
        wiring.edge(last, *wiring.named(assemble, "supervisor(assemble)"))


# ---- what can be said before anything runs -----------------------------------------------------------
def _is_possible(
    wiring: PatternBuilder,
    where: str,
    worker_of: Callable[..., Any],
    workers: Sequence[Worker],
    gather: Callable[..., Any],
    written: type[BaseModel] | None,
    bounds: SupervisorBounds,
) -> bool:
    before = len(wiring.blueprint.problems)
    for option, value in (
        ("max_tasks", bounds.tasks),
        ("digest_tokens", bounds.digest_tokens),
        ("concurrency", bounds.concurrency),
    ):
        if not is_count(value):
            wiring.problem(
                "SUPERVISOR_BOUND",
                where,
                f"{option}={value!r} is no bound",
                "give a whole number from 1 on",
            )
    if isinstance(bounds.replans, bool) or bounds.replans < 0:
        wiring.problem(
            "SUPERVISOR_BOUND",
            where,
            f"replans={bounds.replans!r} is no bound",
            "give a whole number from 0 on",
        )
    if not workers:
        wiring.problem(
            "SUPERVISOR_WORKERS",
            where,
            "it has no workers",
            "name at least one: workers={'research': look}",
        )
    labels, many = read_labels(worker_of)
    selector, known = (
        getattr(worker_of, "__name__", "function"),
        [worker.label for worker in workers],
    )
    if labels is None or many:
        what = f"the return type of '{selector}' does not list the workers"
        wiring.problem(
            "SUPERVISOR_WORKERS",
            where,
            what,
            'annotate it: def worker_of(task: Task) -> Literal["research", "write"]',
        )
    for label in labels or ():
        if label not in known:
            wiring.problem(
                "SUPERVISOR_WORKERS",
                where,
                f"'{selector}' may return {word(label)!r}, for which there is no worker",
                "add it to workers=",
            )
    for label in known if labels is not None else ():
        if label not in labels:
            wiring.problem(
                "SUPERVISOR_WORKERS",
                where,
                f"'{selector}' never returns {word(label)!r}, so that worker gets nothing",
                "leave it out of workers=",
            )
    if written is None:
        what = (
            f"gather '{getattr(gather, '__name__', 'function')}' does not say which slice it makes"
        )
        wiring.problem(
            "SUPERVISOR_GATHER",
            where,
            what,
            "make it a function with an annotated return: def gather(reports: list[Report]) -> Notes",
        )
    return len(wiring.blueprint.problems) == before


def _written(gather: Callable[..., Any]) -> type[BaseModel] | None:
    try:
        hint = read_return_type(gather)
    except GraphError:
        return None
    return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else None


def _item(tasks: Callable[..., Any]) -> type[BaseModel] | None:
    """The type of a task, if the function that gives the list of them says so."""
    try:
        arguments = typing.get_args(read_return_type(tasks))
    except GraphError:
        return None
    return (
        arguments[0]
        if arguments and isinstance(arguments[0], type) and issubclass(arguments[0], BaseModel)
        else None
    )


# ---- the nodes -------------------------------------------------------------------------------------------
def _draw_tasks(drawn: _Supervisor, tasks: StateFunction, worker_of: Callable[[Any], Any]) -> str:
    """The node that checks a plan and gives out what is ready."""
    wiring, memory, bounds = drawn.wiring, drawn.memory, drawn.bounds
    reading = InputSlices([Read(memory.model)])
    ask = reading.of(tasks)
    words = {worker.label: worker.word for worker in drawn.workers}

    def give(ctx: NodeContext, *given: BaseModel) -> BaseModel:
        desk: SupervisorState = memory.of(given[0])
        if desk.phase != "wave":
            desk = desk if desk.phase == "replan" else type(desk)()
            kept = [job for job in desk.jobs if job.status == "done"]
            desk.jobs = plan_tasks(
                list(ask(given)), kept, drawn.job, worker_of, words, bounds.tasks, drawn.plan
            )
        for job in find_ready(desk.jobs):
            job.status = "given"
        return memory.keep(desk)

    wiring.tell(drawn.plan, [memory.model], partial(_said_again, memory))
    return wiring.hidden(f"{drawn.plan}_tasks", give, reading.reads, (memory.model,))


def _draw_worker(
    drawn: _Supervisor, number: int, item: type[BaseModel], outcome: type[TaskOutcome]
) -> str:
    """The map that has one worker do its part of the plan."""
    worker, found, memory = drawn.workers[number], drawn.founds[number], drawn.memory
    order: type[TaskOrder] = make_model("OrderOfSupervisor", {"task": (item, ...)}, TaskOrder)

    def orders(slice: BaseModel) -> list[Any]:
        desk: SupervisorState = memory.of(slice)
        jobs = drawn.given(desk, worker)
        return (
            [job.task for job in jobs]
            if worker.is_apart
            else [order(task=job.task, known=_known(drawn, desk, job)) for job in jobs]
        )

    def collect(results: list[Any]) -> BaseModel:
        return found.keep(
            [
                result
                if isinstance(result, outcome)
                else outcome(report=result, declined=str(getattr(result, "declined", "") or ""))
                for result in results
            ]
        )

    works = (
        worker.node
        if worker.node is None or worker.is_apart
        else _worker(worker.node, order, outcome)
    )
    name = f"{drawn.plan}_{worker.word}"
    drawn.wiring.blueprint.maps[name] = MapSpec(
        item=item if works is None else works.signature.reads[0].model or item,
        result=worker.result if works is None else works.signature.writes[0],
        worker=works,
        flow=worker.flow,
        over=StateFunction(orders, (Read(memory.model),)),
        gather=collect,
        wants_missing=False,
        max_items=drawn.bounds.tasks,
        concurrency=drawn.bounds.concurrency,
        need=None,
        on_item_error="fail",
    )
    return drawn.wiring.named(
        Node[Any](
            collect, Signature((), (found.model,), False, None, False, False), name=name, kind="map"
        ),
        "supervisor",
    )[0]


def _draw_reports(
    drawn: _Supervisor,
    gather: Callable[..., Any],
    written: type[BaseModel],
    is_to_plan_anew: Callable[..., bool],
) -> str:
    """The node that takes the reports in, and says what comes next: the rest of the plan, another plan, or the end."""
    wiring, memory = drawn.wiring, drawn.memory
    tells = wiring.has(Feedback)

    def take_in(ctx: NodeContext, *given: BaseModel) -> tuple[BaseModel, ...]:
        desk: SupervisorState = memory.of(given[0])
        for worker, found, slice in zip(drawn.workers, drawn.founds, given[1:], strict=True):
            _take(drawn, desk, worker, found.of(slice))
        declined = {job.name: job.reason for job in desk.jobs if job.status == "declined"}
        desk.phase = "wave" if find_ready(desk.jobs) else "replan" if declined else ""
        if desk.phase == "replan":
            if not ctx.has_room(is_to_plan_anew):
                raise TasksDeclined(drawn.plan, declined, desk.replans)
            desk.replans += 1
        result = (
            gather(_digests(drawn, ctx, desk))
            if not desk.phase
            else written.model_construct(set[str]())
        )
        told = (Feedback(feedback=_said_again(memory, memory.keep(desk))),) if tells else ()
        return (memory.keep(desk), result, *told)

    reads = [Read(memory.model), *(Read(found.model) for found in drawn.founds)]
    return wiring.hidden(
        f"{drawn.plan}_reports",
        take_in,
        reads,
        (memory.model, written, *((Feedback,) if tells else ())),
    )


def _asks_for(memory: HiddenSlice, phase: str) -> Callable[[BaseModel], bool]:
    def asks(slice: BaseModel) -> bool:
        return memory.of(slice).phase == phase

    asks.__name__ = {"wave": "is_to_go_on", "replan": "is_to_plan_anew"}[phase]
    return asks


# ---- what workers are given, and what comes of it ----------------------------------------------------------
def _worker(node: Node[Any], order: type[TaskOrder], outcome: type[TaskOutcome]) -> Node[Any]:
    """The worker as it takes an order: an agent is told what is known already, a function may decline."""
    twin = node.named(node.name)
    if len(node.signature.reads) != 1 or len(node.signature.writes) != 1:
        return twin  # `build()` says what is wrong with it
    twin.signature = replace(node.signature, reads=(Read(order),))
    if node.kind == "agent":
        call = cast("AgentCall[Any]", node.fn)

        def prompt(given: TaskOrder) -> Prompt:
            said = call.build_prompt(given.task)
            return (*to_messages(said), Message(content=given.known)) if given.known else said

        twin.fn = replace(call, prompt=prompt)
        return twin
    twin.signature = replace(twin.signature, writes=(outcome,), may_skip=False)
    twin.fn = _declining(node.fn, outcome, is_async=node.signature.is_async)
    return twin


def _declining(
    fn: Callable[..., Any], outcome: type[TaskOutcome], *, is_async: bool
) -> Callable[..., Any]:
    def declined(error: Declined) -> TaskOutcome:
        return outcome(declined=str(error) or "no reason was given")

    async def later(*given: Any) -> TaskOutcome:
        try:
            return outcome(report=await fn(*given[:-1], given[-1].task))
        except Declined as error:
            return declined(error)

    def at_once(*given: Any) -> TaskOutcome:
        try:
            return outcome(report=fn(*given[:-1], given[-1].task))
        except Declined as error:
            return declined(error)

    return later if is_async else at_once


def _take(
    drawn: _Supervisor, desk: SupervisorState, worker: Worker, outcomes: Sequence[TaskOutcome]
) -> None:
    """Note down what came of the tasks that a worker was given, in their order."""
    number = drawn.numbers[worker.word]
    reports: list[Any] = getattr(desk, f"reports{number}")
    for job, outcome in zip(drawn.given(desk, worker), outcomes, strict=True):
        if outcome.declined or outcome.report is None:
            job.status, job.reason = (
                "declined",
                f"'{worker.word}' declined: {outcome.declined or 'it reported nothing'}",
            )
        else:
            job.status, job.number = "done", len(reports)
            reports.append(outcome.report)


def _digests(drawn: _Supervisor, ctx: NodeContext, desk: SupervisorState) -> list[BaseModel]:
    """The reports in the order of the plan, cut so that together they keep to the budget."""
    jobs = [job for job in desk.jobs if job.status == "done"]
    reports = [drawn.report(desk, job) for job in jobs]
    sizes = [measure_report(report) for report in reports]
    found = [
        build_digest(report, share)
        for report, share in zip(
            reports, share_budget(sizes, drawn.bounds.digest_tokens), strict=True
        )
    ]
    for job, size, digest in zip(jobs, sizes, found, strict=True):
        ctx.emit(Digest(task=job.name, worker=job.label, tokens=size, kept=measure_report(digest)))
    return found


def _known(drawn: _Supervisor, desk: SupervisorState, job: PlannedTask) -> str:
    """What the tasks reported that this one waited for, within the same budget of tokens; "" if there were none."""
    before = [item for item in desk.jobs if item.name in job.needs]
    reports = [drawn.report(desk, item) for item in before]
    shares = share_budget(
        [measure_report(report) for report in reports], drawn.bounds.digest_tokens
    )
    told = [
        f"{item.name}:\n{format_slice(build_digest(report, share))}"
        for item, report, share in zip(before, reports, shares, strict=True)
    ]
    return "\n\n".join(["What was found before:", *told]) if told else ""


def _said_again(memory: HiddenSlice, slice: BaseModel | None) -> str:
    """What the planner is told when it plans anew."""
    desk: SupervisorState | None = None if slice is None else memory.of(slice)
    if desk is None or desk.phase != "replan":
        return ""
    declined = [
        f"- {format_slice(job.task)}\n  {job.reason}"
        for job in desk.jobs
        if job.status == "declined"
    ]
    parts = ["Plan anew: these tasks were declined.", *declined]
    for status, words in (
        ("open", "These could not begin; plan them too where they still matter."),
        ("done", "These are done; do not plan them again."),
    ):
        named = [f"- {format_slice(job.task)}" for job in desk.jobs if job.status == status]
        parts += [words, *named] if named else []
    return "\n".join(parts)
