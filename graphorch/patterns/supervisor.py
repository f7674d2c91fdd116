"""A planner makes typed tasks, workers do them, and a last step gathers their reports.

Known failures: a task goes to the wrong worker; and from four workers on, their reports fill the
context of the step that reads them. Here the plan is checked before a worker starts (unknown
workers, cycles, duplicate tasks); tasks that do not wait for each other run at once; a worker may
decline, and then the planner plans again with the reason in its prompt; and reports are cut to
digests that together never exceed a budget of tokens.

    plan → plan_tasks → plan_research, plan_write → plan_reports → assemble
    plan_reports goes back to plan_tasks for the tasks that waited, and to plan for declined ones
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
from graphorch.engine.invocation.binding import list_items
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
from graphorch.patterns.router import format_label
from graphorch.patterns.task_plan import NEEDS, PlannedTask, find_ready, plan_tasks
from graphorch.patterns.types import Digest, Feedback


@dataclass(frozen=True, slots=True)
class SupervisorBounds:
    """Limits of a supervisor; `digest_tokens` bounds all reports together."""

    tasks: int
    replans: int
    digest_tokens: int
    concurrency: int


@dataclass(frozen=True, slots=True)
class Worker:
    """A node or the plan of a flow that works on the tasks of one label."""

    label: Any
    node: Node[Any] | None
    flow: Plan | None

    @property
    def name(self) -> str:
        """Label as text."""
        return format_label(self.label)

    @property
    def takes_bare_task(self) -> bool:
        """Return whether it gets the task without what is known, and cannot decline.

        So do flows, and functions that another process has to find by their names.
        """
        return self.node is None or self.node.options.isolation == "process"

    @property
    def item(self) -> type[BaseModel]:
        """Type of the tasks that it takes."""
        if self.flow is not None:
            return self.flow.input
        reads = self.node.signature.reads if self.node is not None else ()
        return (reads[0].model if reads else None) or BaseModel

    @property
    def result(self) -> type[BaseModel]:
        """Type of its reports."""
        if self.flow is not None:
            return self.flow.output
        writes = self.node.signature.writes if self.node is not None else ()
        return writes[0] if writes else BaseModel


class TaskOrder(BaseModel):
    """Input of a worker: a task, and the reports that it waited for as text.

    A subclass made for each supervisor has the type of the task.
    """

    task: Any
    known: str = ""


class TaskOutcome(BaseModel):
    """Outcome of a task: a report, or why it was declined."""

    report: Any = None
    declined: str = ""


class SupervisorState(BaseModel):
    """Memory of a supervisor.

    A subclass made for each one has the reports of each worker, `reports0` and so on.
    """

    jobs: list[Any] = []
    # What the last round asked for: "wave" for more of the plan, "replan" for another plan.
    phase: str = ""
    replans: int = 0


@dataclass(frozen=True, slots=True)
class _Supervisor:
    """A supervisor that is being drawn; `outcomes` holds those of each worker in this round."""

    pattern: PatternBuilder
    plan: str
    workers: tuple[Worker, ...]
    bounds: SupervisorBounds
    memory: HiddenSlice
    job: type[PlannedTask]
    outcomes: tuple[HiddenSlice, ...]

    @property
    def numbers(self) -> dict[str, int]:
        return {worker.name: number for number, worker in enumerate(self.workers)}

    def report(self, desk: SupervisorState, job: PlannedTask) -> BaseModel:
        return getattr(desk, f"reports{self.numbers[job.label]}")[job.number]

    def given(self, desk: SupervisorState, worker: Worker) -> list[PlannedTask]:
        return [job for job in desk.jobs if job.status == "given" and job.label == worker.name]


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
    pattern = PatternBuilder(builder)
    name = pattern.add_step(plan, "supervisor(plan)")
    if not name:
        return
    where = f"supervisor of '{name}'"
    written = _read_slice(gather)
    is_valid = _check(pattern, where, worker_of, workers, gather, written, bounds)
    if not is_valid or written is None:
        return

    # The names of these classes stay: they are part of fingerprints of format 1.
    item = _read_item(tasks) or workers[0].item
    job: type[PlannedTask] = make_model("JobOfSupervisor", {"task": (item, ...)}, PlannedTask)
    reports: dict[str, tuple[Any, Any]] = {
        f"reports{number}": (list[worker.result], []) for number, worker in enumerate(workers)
    }
    desk: type[SupervisorState] = make_model(
        "DeskOfSupervisor", {"jobs": (list[job], []), **reports}, SupervisorState
    )
    memory = pattern.add_memory(f"{name}_desk", desk, desk)
    outcome_types: list[type[TaskOutcome]] = [
        make_model("OutcomeOfWorker", {"report": (worker.result | None, None)}, TaskOutcome)
        for worker in workers
    ]
    outcomes = tuple(
        pattern.add_memory(f"{name}_{worker.name}", list[outcome], list)
        for worker, outcome in zip(workers, outcome_types, strict=True)
    )
    drawn = _Supervisor(pattern, name, tuple(workers), bounds, memory, job, outcomes)

    origin = pattern.find_exit(name)
    first = _draw_tasks(drawn, pattern.read_function(tasks, where), worker_of)
    maps = [_draw_worker(drawn, number, item, kind) for number, kind in enumerate(outcome_types)]
    wants_replan = _wants_phase(memory, "replan")
    last = _draw_reports(drawn, gather, written, wants_replan)
    pattern.set_exit(origin, last)
    pattern.add_edges(origin, first)
    pattern.add_edges(first, *maps)
    for map_name in maps:
        pattern.add_edges(map_name, last)
    if bounds.tasks > 1 and any(field in item.model_fields for field in NEEDS):
        pattern.add_loop(last, first, _wants_phase(memory, "wave"), memory, bounds.tasks)
    if bounds.replans:
        pattern.add_loop(last, name, wants_replan, memory, bounds.replans + 1)
    if assemble is not None:
        pattern.add_edges(last, *pattern.add_steps(assemble, "supervisor(assemble)"))


# ---- checks before anything runs -----------------------------------------------------------------
def _check(
    pattern: PatternBuilder,
    where: str,
    worker_of: Callable[..., Any],
    workers: Sequence[Worker],
    gather: Callable[..., Any],
    written: type[BaseModel] | None,
    bounds: SupervisorBounds,
) -> bool:
    before = len(pattern.spec.problems)
    _check_bounds(pattern, where, bounds)
    _check_workers(pattern, where, worker_of, workers)
    if written is None:
        name = getattr(gather, "__name__", "function")
        pattern.add_problem(
            "SUPERVISOR_GATHER",
            where,
            f"gather '{name}' does not say which slice it makes",
            "make it a function with an annotated return: "
            "def gather(reports: list[Report]) -> Notes",
        )
    return len(pattern.spec.problems) == before


def _check_bounds(pattern: PatternBuilder, where: str, bounds: SupervisorBounds) -> None:
    for option, value in (
        ("max_tasks", bounds.tasks),
        ("digest_tokens", bounds.digest_tokens),
        ("concurrency", bounds.concurrency),
    ):
        if not is_count(value):
            what = f"{option}={value!r} is not a bound"
            pattern.add_problem("SUPERVISOR_BOUND", where, what, "give a whole number from 1 on")
    if isinstance(bounds.replans, bool) or bounds.replans < 0:
        what = f"replans={bounds.replans!r} is not a bound"
        pattern.add_problem("SUPERVISOR_BOUND", where, what, "give a whole number from 0 on")


def _check_workers(
    pattern: PatternBuilder, where: str, worker_of: Callable[..., Any], workers: Sequence[Worker]
) -> None:
    code = "SUPERVISOR_WORKERS"
    if not workers:
        fix = "name at least one: workers={'research': look}"
        pattern.add_problem(code, where, "it has no workers", fix)
    labels, is_set = read_labels(worker_of)
    selector = getattr(worker_of, "__name__", "function")
    known = [worker.label for worker in workers]
    if labels is None or is_set:
        what = f"the return type of '{selector}' does not list the workers"
        fix = 'annotate it: def worker_of(task: Task) -> Literal["research", "write"]'
        pattern.add_problem(code, where, what, fix)
    if labels is None:
        return
    for label in labels:
        if label not in known:
            what = f"'{selector}' may return {format_label(label)!r}, for which there is no worker"
            pattern.add_problem(code, where, what, "add it to workers=")
    for label in known:
        if label not in labels:
            what = f"'{selector}' never returns {format_label(label)!r}, so that worker is idle"
            pattern.add_problem(code, where, what, "leave it out of workers=")


def _read_slice(gather: Callable[..., Any]) -> type[BaseModel] | None:
    """Return the slice that `gather` says it makes."""
    try:
        hint = read_return_type(gather)
    except GraphError:
        return None
    return _as_model(hint)


def _read_item(tasks: Callable[..., Any]) -> type[BaseModel] | None:
    """Return the type of a task, if the function that lists the tasks says so."""
    try:
        arguments = typing.get_args(read_return_type(tasks))
    except GraphError:
        return None
    return _as_model(arguments[0]) if arguments else None


def _as_model(hint: Any) -> type[BaseModel] | None:
    return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else None


# ---- nodes ---------------------------------------------------------------------------------------
def _draw_tasks(drawn: _Supervisor, tasks: StateFunction, worker_of: Callable[[Any], Any]) -> str:
    """Draw the node that checks a plan and hands out the tasks that are ready."""
    pattern, memory, bounds = drawn.pattern, drawn.memory, drawn.bounds
    inputs = InputSlices([Read(memory.model)])
    where = f"supervisor of '{drawn.plan}'"
    task_type = drawn.job.model_fields["task"].annotation or BaseModel
    list_tasks = inputs.bind(tasks, f"tasks of {where}")
    names = {worker.label: worker.name for worker in drawn.workers}

    def hand_out(ctx: NodeContext, *slices: BaseModel) -> BaseModel:
        desk: SupervisorState = memory.unwrap(slices[0])
        # In a new wave the plan stands; else there is a new one, beside what is done already.
        if desk.phase != "wave":
            if desk.phase != "replan":
                desk = type(desk)()
            done = [job for job in desk.jobs if job.status == "done"]
            planned = list_items(f"tasks of {where}", list_tasks(slices), task_type)
            desk.jobs = plan_tasks(
                planned, done, drawn.job, worker_of, names, bounds.tasks, drawn.plan
            )
        for job in find_ready(desk.jobs):
            job.status = "given"
        return memory.wrap(desk)

    pattern.extend_prompt(drawn.plan, [memory.model], partial(_write_replan_prompt, memory))
    return pattern.add_node(f"{drawn.plan}_tasks", hand_out, inputs.reads, (memory.model,))


def _draw_worker(
    drawn: _Supervisor, number: int, item: type[BaseModel], outcome: type[TaskOutcome]
) -> str:
    """Draw the map in which a worker does its part of the plan."""
    worker, outcomes, memory = drawn.workers[number], drawn.outcomes[number], drawn.memory
    order: type[TaskOrder] = make_model("OrderOfSupervisor", {"task": (item, ...)}, TaskOrder)

    def list_orders(slice: BaseModel) -> list[Any]:
        desk: SupervisorState = memory.unwrap(slice)
        jobs = drawn.given(desk, worker)
        if worker.takes_bare_task:
            return [job.task for job in jobs]
        return [order(task=job.task, known=_write_known(drawn, desk, job)) for job in jobs]

    def as_outcome(result: Any) -> TaskOutcome:
        if isinstance(result, outcome):
            return result
        return outcome(report=result, declined=str(getattr(result, "declined", "") or ""))

    def collect(results: list[Any]) -> BaseModel:
        return outcomes.wrap([as_outcome(result) for result in results])

    node = worker.node
    if node is not None and not worker.takes_bare_task:
        node = _adapt_worker(node, order, outcome)
    name = f"{drawn.plan}_{worker.name}"
    drawn.pattern.spec.maps[name] = MapSpec(
        item=item if node is None else node.signature.reads[0].model or item,
        result=worker.result if node is None else node.signature.writes[0],
        worker=node,
        flow=worker.flow,
        over=StateFunction(list_orders, (Read(memory.model),)),
        gather=collect,
        wants_missing=False,
        max_items=drawn.bounds.tasks,
        concurrency=drawn.bounds.concurrency,
        need=None,
        on_item_error="fail",
    )
    signature = Signature((), (outcomes.model,), False, None, False, False)
    map_node = Node[Any](collect, signature, name=name, kind="map")
    return drawn.pattern.add_steps(map_node, "supervisor")[0]


def _draw_reports(
    drawn: _Supervisor,
    gather: Callable[..., Any],
    written: type[BaseModel],
    wants_replan: Callable[..., bool],
) -> str:
    """Draw the node that takes the reports in and decides what follows.

    That is the rest of the plan ("wave"), another plan ("replan"), or the end of the pattern.
    """
    pattern, memory = drawn.pattern, drawn.memory
    has_feedback = pattern.has_slice(Feedback)

    def take_in(ctx: NodeContext, *slices: BaseModel) -> tuple[BaseModel, ...]:
        desk: SupervisorState = memory.unwrap(slices[0])
        for worker, outcomes, slice in zip(drawn.workers, drawn.outcomes, slices[1:], strict=True):
            _take_outcomes(drawn, desk, worker, outcomes.unwrap(slice))
        declined = {job.name: job.reason for job in desk.jobs if job.status == "declined"}
        if find_ready(desk.jobs):
            desk.phase = "wave"
        elif declined:
            desk.phase = "replan"
            if not ctx.has_room(wants_replan):
                raise TasksDeclined(drawn.plan, declined, desk.replans)
            desk.replans += 1
        else:
            desk.phase = ""
        result = written.model_construct(set[str]())  # writes nothing before the end
        if not desk.phase:
            result = gather(_build_digests(drawn, ctx, desk))
        kept = memory.wrap(desk)
        if has_feedback:
            return kept, result, Feedback(feedback=_write_replan_prompt(memory, kept))
        return kept, result

    reads = [Read(memory.model), *(Read(outcomes.model) for outcomes in drawn.outcomes)]
    writes = [memory.model, written, *([Feedback] if has_feedback else [])]
    return pattern.add_node(f"{drawn.plan}_reports", take_in, reads, writes)


def _wants_phase(memory: HiddenSlice, phase: str) -> Callable[[BaseModel], bool]:
    def asks(slice: BaseModel) -> bool:
        return memory.unwrap(slice).phase == phase

    # Pictures show these names.
    asks.__name__ = {"wave": "is_to_go_on", "replan": "is_to_plan_anew"}[phase]
    return asks


# ---- tasks and their outcomes --------------------------------------------------------------------
def _adapt_worker(node: Node[Any], order: type[TaskOrder], outcome: type[TaskOutcome]) -> Node[Any]:
    """Return a worker that takes an order.

    The prompt of an agent says what is known already; a function may decline.
    """
    twin = node.named(node.name)
    if len(node.signature.reads) != 1 or len(node.signature.writes) != 1:
        return twin  # `build()` reports it
    twin.signature = replace(node.signature, reads=(Read(order),))
    if node.kind == "agent":
        call = cast("AgentCall[Any]", node.fn)

        def prompt(given: TaskOrder) -> Prompt:
            own = call.build_prompt(given.task)
            return (*to_messages(own), Message(content=given.known)) if given.known else own

        twin.fn = replace(call, prompt=prompt)
        return twin
    twin.signature = replace(twin.signature, writes=(outcome,), may_skip=False)
    twin.fn = _catch_declined(node.fn, outcome, is_async=node.signature.is_async)
    return twin


def _catch_declined(
    fn: Callable[..., Any], outcome: type[TaskOutcome], *, is_async: bool
) -> Callable[..., Any]:
    """Return a function that takes an order instead of a task, and returns an outcome."""

    def decline(error: Declined) -> TaskOutcome:
        return outcome(declined=str(error) or "no reason was given")

    async def call_async(*slices: Any) -> TaskOutcome:
        try:
            return outcome(report=await fn(*slices[:-1], slices[-1].task))
        except Declined as error:
            return decline(error)

    def call(*slices: Any) -> TaskOutcome:
        try:
            return outcome(report=fn(*slices[:-1], slices[-1].task))
        except Declined as error:
            return decline(error)

    return call_async if is_async else call


def _take_outcomes(
    drawn: _Supervisor, desk: SupervisorState, worker: Worker, outcomes: Sequence[TaskOutcome]
) -> None:
    """Note the outcomes of the tasks that a worker was given, in their order."""
    number = drawn.numbers[worker.name]
    reports: list[Any] = getattr(desk, f"reports{number}")
    for job, outcome in zip(drawn.given(desk, worker), outcomes, strict=True):
        if outcome.declined or outcome.report is None:
            reason = outcome.declined or "it reported nothing"
            job.status, job.reason = "declined", f"'{worker.name}' declined: {reason}"
        else:
            job.status, job.number = "done", len(reports)
            reports.append(outcome.report)


def _build_digests(drawn: _Supervisor, ctx: NodeContext, desk: SupervisorState) -> list[BaseModel]:
    """Return the reports in the order of the plan, cut so that together they fit the budget."""
    jobs = [job for job in desk.jobs if job.status == "done"]
    reports = [drawn.report(desk, job) for job in jobs]
    sizes = [measure_report(report) for report in reports]
    shares = share_budget(sizes, drawn.bounds.digest_tokens)
    digests = list(map(build_digest, reports, shares))
    for job, size, digest in zip(jobs, sizes, digests, strict=True):
        kept = measure_report(digest)
        ctx.emit(Digest(task=job.name, worker=job.label, tokens=size, kept=kept))
    return digests


# ---- texts that models read ----------------------------------------------------------------------
def _write_known(drawn: _Supervisor, desk: SupervisorState, job: PlannedTask) -> str:
    """Return the reports that a task waited for, cut to the budget of tokens; "" without any."""
    before = [other for other in desk.jobs if other.name in job.needs]
    reports = [drawn.report(desk, other) for other in before]
    sizes = [measure_report(report) for report in reports]
    shares = share_budget(sizes, drawn.bounds.digest_tokens)
    digests = map(build_digest, reports, shares)
    texts = [
        f"{other.name}:\n{format_slice(digest)}"
        for other, digest in zip(before, digests, strict=True)
    ]
    return "\n\n".join(["What was found before:", *texts]) if texts else ""


def _write_replan_prompt(memory: HiddenSlice, slice: BaseModel | None) -> str:
    """Return what the planner reads when it plans again; "" the first time."""
    desk: SupervisorState | None = None if slice is None else memory.unwrap(slice)
    if desk is None or desk.phase != "replan":
        return ""
    parts = ["Plan anew: these tasks were declined."]
    for job in desk.jobs:
        if job.status == "declined":
            parts.append(f"- {format_slice(job.task)}\n  {job.reason}")
    for status, heading in (
        ("open", "These could not begin; plan them too where they still matter."),
        ("done", "These are done; do not plan them again."),
    ):
        tasks = [f"- {format_slice(job.task)}" for job in desk.jobs if job.status == status]
        if tasks:
            parts += [heading, *tasks]
    return "\n".join(parts)
