"""`check_flow`: a flow under many schedules, failures and cancellations, and its promises.

Theory of operation. A first, undisturbed run gives the expected state and activations. Every
further run has its own seed, which decides everything: what is disturbed (`KINDS`, in turn), where,
how long each node takes, and in which order ready tasks continue. All of them run on a virtual
clock, on a loop that notices tasks which are left over.
"""

from __future__ import annotations

import asyncio
import random
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Literal, TypeVar, cast

from pydantic import BaseModel

from graphorch.core.state import OnFailure
from graphorch.engine.events import Committed, Ended, Failed, RunEvent, Skipped
from graphorch.engine.lease_heartbeat import LEASE_SECONDS
from graphorch.engine.report import RunReport
from graphorch.engine.settings import Limits
from graphorch.errors import GraphorchError, InputError, JournalError, RunFailed
from graphorch.flow.flow import Flow
from graphorch.graph.approval import Approval
from graphorch.graph.context import Context
from graphorch.graph.node import Node
from graphorch.graph.plan import Plan
from graphorch.journal.memory import MemoryStore
from graphorch.models.client import ModelClient
from graphorch.models.offline.client import OfflineClient
from graphorch.runs.options import RunOptions
from graphorch.runs.result import Question, Result, Wait
from graphorch.statuses import FINAL_STATUSES, RESUMABLE_STATUSES, RUN_STATUSES
from graphorch.testing.faults import Call, FailNth, copy_flow, with_nodes
from graphorch.testing.schedule import Schedule
from graphorch.testing.virtual_clock import VirtualLoop, run_virtual

In = TypeVar("In", bound=BaseModel)

KINDS = ("schedule", "failure", "lost result", "cancellation")
RUN_ID = "checked"
_UNDISTURBED = "calm"
_END_STATUSES = frozenset(RUN_STATUSES) - {"running"}
_SAME_END = "a resumed run ends like the undisturbed one"


class FlowBroken(AssertionError):
    """A promise that did not hold in one run.

    `promise` names it; `check_flow(…, seed=seed, runs=1)` repeats the run.
    """

    def __init__(self, promise: str, evidence: str, *, kind: str, seed: int) -> None:
        self.promise = promise
        self.kind = kind
        self.seed = seed
        super().__init__(
            f"{promise}: {evidence} Repeat it with check_flow(…, seed={seed}, runs=1): "
            f"it is a run of kind '{kind}'."
        )


@dataclass(frozen=True, slots=True)
class FlowReport:
    """Counts of a check: runs by kind of disturbance, all commits, and resumed runs.

    Without `is_confluent` timing may decide the result (a `need=k`), so results were not compared.
    """

    runs: Counter[str]
    commits: int
    resumed: int
    is_confluent: bool


@dataclass(frozen=True, slots=True)
class _Ending:
    """End of a run: its state, and the ids of the activations that count."""

    state: BaseModel
    done: frozenset[str]


@dataclass(slots=True)
class _Case(Generic[In]):
    """The flow under test and the options of every run.

    The undisturbed run counts calls of nodes, steps of its event loop and appends of its store;
    `expected` is its end, or None if timing may decide the result.
    """

    flow: Flow[In, Any, Any]
    input: In
    client: Callable[[], ModelClient]
    resources: Callable[[], object]
    answers: Callable[[Question], BaseModel] | None
    signals: Callable[[Wait], BaseModel] | None
    durable: bool
    longest: float
    calls: int = 0
    steps: int = 0
    appends: int = 0
    expected: _Ending | None = None


def _list_chances(result: Result[Any, Any]) -> list[Question | Wait]:
    """Return what a run waits for, in an order that does not depend on timing."""
    chances: list[Question | Wait] = [*result.questions, *result.waits]
    return sorted(chances, key=lambda chance: chance.path)


class _BrokenPromise(Exception):
    """A promise did not hold; becomes a `FlowBroken` that names the run."""

    def __init__(self, promise: str, evidence: str) -> None:
        self.promise = promise
        self.evidence = evidence
        super().__init__(promise, evidence)


def check_flow(
    flow: Flow[In, Any, Any],
    input: In,
    *,
    runs: int = 300,
    seed: int = 0,
    client: Callable[[], ModelClient] = OfflineClient,
    resources: Callable[[], object] = lambda: None,
    answers: Callable[[Question], BaseModel] | None = None,
    signals: Callable[[Wait], BaseModel] | None = None,
    durable: bool = False,
) -> FlowReport:
    """Run a flow under many schedules, failures and cancellations, and check its promises.

    Any schedule gives an equal state and equal activations; a failure removes no commit of a
    sibling; a cancelled run commits nothing more; no task is left; a run ends once, with a status;
    and resuming gives the undisturbed result without running a committed activation again. With
    `durable` the flow also runs on a journal whose n-th call fails.

    `client` and `resources` are called for each run, so that each has its own; the model is by
    default the embedded one. `answers` returns a person's answer to a question (gates are
    approved), and `signals` the value of a signal that is waited for. Timers fire by the virtual
    clock. Of several things that a run waits for, chance decides which comes next. Call it from a
    plain function. Raises `FlowBroken` with the seed of the first run in which a promise did not
    hold, and the errors of the flow's undisturbed run.

        model = when("tides", "A draft.", repeats=True)
        check_flow(flow, Topic(topic="tides"), client=lambda: ScriptedModel(model))
    """
    longest = _find_safe_delay(flow.plan)
    case = _Case(flow, input, client, resources, answers, signals, durable, longest)
    kinds = (*KINDS, "storage") if durable else KINDS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _measure(case)
        runs_by_kind: Counter[str] = Counter()
        commits = resumed = 0
        for number in range(seed, seed + runs):
            trial = _Trial(case, random.Random(number), kinds[number % len(kinds)], number)
            trial.run()
            runs_by_kind[trial.kind] += 1
            commits += len(trial.committed)
            resumed += trial.has_resumed
    return FlowReport(runs_by_kind, commits, resumed, is_confluent=case.expected is not None)


def _measure(case: _Case[Any]) -> None:
    """Run the flow undisturbed: note the expected end, and how much there is to disturb."""
    first = _Trial(case, random.Random(0), _UNDISTURBED, 0)
    ending = first.run()
    assert ending is not None
    case.calls, case.steps, case.appends = first.calls, first.steps, first.store_fault.calls
    case.expected = None if _has_races(case.flow.plan) else ending


class _Trial:
    """One run, disturbed as its kind says."""

    def __init__(self, case: _Case[Any], rng: random.Random, kind: str, seed: int) -> None:
        self.case = case
        self.kind = kind
        self.seed = seed
        self.rng = rng
        # The order of the draws is part of what a seed means.
        if kind == _UNDISTURBED:
            self.schedule = Schedule(seed, None, 0.0)
        else:
            self.schedule = Schedule(seed, rng.choice([None, None, 1, 2, 3]), case.longest)
        self.policy: OnFailure = "drain"
        if kind in ("failure", "lost result"):
            self.policy = rng.choice(["drain", "cancel", "isolate"])
        self.fault = FailNth(
            self._draw("failure", "lost result", most=case.calls),
            when="after" if kind == "lost result" else "before",
        )
        self.store_fault = FailNth(
            self._draw("storage", most=case.appends), when=rng.choice(["before", "after"])
        )
        self.cancel_at = self._draw("cancellation", most=case.steps * 2)
        self.store: MemoryStore | None = None
        self.calls = 0
        self.steps = 0
        self.has_resumed = False
        self.has_failed = False  # an attempt failed that was not repeated
        # A failure was handled, so the result may be another one.
        self.has_survived = False
        self.may_repeat = False
        self.ends: list[Ended] = []
        self.committed: set[str] = set()  # keys of activations
        self._begun: set[str] = set()  # keys of activations
        self._open_keys: dict[str, str] = {}  # path -> key of its open activation
        self._broken: _BrokenPromise | None = None

    def _draw(self, *kinds: str, most: int) -> int:
        """Return a number from 1 to `most` for runs of these kinds, else 0."""
        return self.rng.randint(1, max(1, most)) if self.kind in kinds else 0

    def run(self) -> _Ending | None:
        """Run the flow. Raises `FlowBroken`; undisturbed, also the errors of the flow."""
        seed = None if self.kind == _UNDISTURBED else self.seed
        try:
            return run_virtual(self._main(), seed=seed)
        except (RunFailed, InputError):
            raise
        except _BrokenPromise as error:
            raise FlowBroken(
                error.promise, error.evidence, kind=self.kind, seed=self.seed
            ) from error
        except (GraphorchError, Warning) as error:
            evidence = f"{type(error).__name__}: {error}"
            raise FlowBroken(
                "nothing is left over", evidence, kind=self.kind, seed=self.seed
            ) from error

    # ---- the run -------------------------------------------------------------------------------
    async def _main(self) -> _Ending | None:
        loop = cast(VirtualLoop, asyncio.get_running_loop())
        self.store = MemoryStore(clock=self._now) if self.case.durable else None
        flow = with_nodes(self.case.flow, lambda node: copy_flow(node, partial(self._around, node)))
        options = self._options()
        if self.kind == "storage":
            result = await self._run_on_failing_store(flow, options)
        else:
            result = await self._run_disturbed(loop, flow, options)
        self.steps = loop.steps
        self._check_ends()
        if self._broken is not None:
            raise self._broken
        return self._check_result(result)

    def _options(self) -> RunOptions:
        options: RunOptions = {
            "client": self.case.client(),
            "run_id": RUN_ID,
            "watch": (self._watch,),
            "limits": Limits(concurrency=self.schedule.concurrency),
            "on_failure": self.policy,
            "clock": self._now,
        }
        if (resources := self.case.resources()) is not None:
            options["resources"] = resources
        if self.store is not None:
            options["durable"] = self.store_fault.store(self.store)
        return options

    def _options_to_continue(self, options: RunOptions) -> dict[str, Any]:
        """Return the options for a resume; a run in memory still has its own."""
        if self.store is None:
            return {}
        return {name: value for name, value in options.items() if name != "run_id"}

    def _now(self) -> float:
        return 1e9 + asyncio.get_running_loop().time()

    async def _run_disturbed(
        self, loop: VirtualLoop, flow: Flow[Any, Any, Any], options: RunOptions
    ) -> Result[Any, Any] | None:
        """Return the result, after a resume if need be; None if there is none to compare."""
        task = loop.create_task(self._run_to_end(flow, options), name="checked run")
        if self.cancel_at:
            loop.at_step(self.cancel_at, task.cancel)
        await asyncio.wait([task])
        self._check_no_task_left()
        if not task.cancelled():
            error = task.exception()
            if error is None:
                return task.result()
            self._check_failed(error)
        if not self._can_resume():
            return None
        before = set(self.committed)
        await asyncio.sleep(10.0)  # nothing may happen meanwhile
        if self.committed != before:
            late = len(self.committed - before)
            raise _BrokenPromise(
                "a run that ended commits nothing more", f"{late} activations did."
            )
        return await self._resume(flow, options)

    def _can_resume(self) -> bool:
        """Return whether a resume has to give the undisturbed result."""
        if self.policy == "isolate" or self.has_survived:
            return False
        return bool(self.ends) and self.ends[-1].status in RESUMABLE_STATUSES

    async def _run_on_failing_store(
        self, flow: Flow[Any, Any, Any], options: RunOptions
    ) -> Result[Any, Any] | None:
        try:
            return await self._run_to_end(flow, options)
        except (JournalError, TimeoutError):
            self._check_no_task_left()
        await asyncio.sleep(LEASE_SECONDS + 1)
        assert self.store is not None
        # If not even its first record was written, the run has not begun.
        has_runs = bool((await self.store.list_runs()).runs)
        if not has_runs or not (await self.store.load(RUN_ID)).records:
            return await self._run_to_end(flow, options)
        return await self._resume(flow, options)

    async def _resume(self, flow: Flow[Any, Any, Any], options: RunOptions) -> Result[Any, Any]:
        self.has_resumed = True
        try:
            return await self._run_to_end(flow, options, resume="stop")
        except RunFailed as error:
            if error.end_reason != "ambiguous":
                raise _BrokenPromise(_SAME_END, f"It failed: {error}.") from error
        # A node with effect `once` began and did not finish: a person decides to repeat it.
        self.may_repeat = True
        try:
            return await self._run_to_end(flow, options, resume="repeat")
        except RunFailed as error:
            raise _BrokenPromise(_SAME_END, f"It failed: {error}.") from error

    async def _run_to_end(
        self,
        flow: Flow[Any, Any, Any],
        options: RunOptions,
        *,
        resume: Literal["", "stop", "repeat"] = "",
    ) -> Result[Any, Any]:
        """Run or resume the flow, and give it what it waits for, in an order drawn at random."""
        to_continue = cast("Any", self._options_to_continue(options))
        result: Result[Any, Any]
        if resume:
            result = await flow.resume(RUN_ID, ambiguous=resume, **to_continue)
        else:
            result = await flow.run(self.case.input, **options)
        while result.status == "waiting":
            result = await self._go_on(flow, self.rng.choice(_list_chances(result)), to_continue)
        return result

    async def _go_on(
        self, flow: Flow[Any, Any, Any], chance: Question | Wait, options: dict[str, Any]
    ) -> Result[Any, Any]:
        """Answer a question, send a signal, or let the time of a timer come."""
        if isinstance(chance, Question):
            answer: Any = self._answer(chance)
            return await flow.answer(RUN_ID, chance, answer, **options)
        if chance.signal:
            value = self._choose_value(chance)
            return await flow.send(RUN_ID, chance.signal, value, key=chance.key, **options)
        assert chance.due is not None
        await asyncio.sleep(max(0.0, chance.due - self._now()))
        return await flow.resume(RUN_ID, **options)

    def _choose_value(self, wait: Wait) -> BaseModel:
        if self.case.signals is not None:
            return self.case.signals(wait)
        raise InputError(
            f"'{wait.path}' waits for the signal '{wait.signal}'. "
            "Give check_flow signals=, a function of what is waited for."
        )

    def _answer(self, question: Question) -> BaseModel:
        if self.case.answers is not None:
            return self.case.answers(question)
        if question.answer_type is Approval:
            return Approval(approved=True)
        raise InputError(
            f"'{question.path}' asks a person: {question.text} "
            "Give check_flow answers=, a function of the question."
        )

    # ---- what is observed ----------------------------------------------------------------------
    async def _around(self, node: Node[Any], ctx: Context[Any], call: Call) -> Any:
        """Call a node, with a delay and a fault; note what must not happen."""
        self.calls += 1
        if node.options.effect == "once" and ctx.key in self._begun and not self.may_repeat:
            self._broken = _BrokenPromise(
                "a node with effect `once` begins once",
                f"'{ctx.path}' began twice, with the key {ctx.key}.",
            )
        self._begun.add(ctx.key)
        if ctx.key in self.committed:
            self._broken = _BrokenPromise(
                "a committed activation is never executed again",
                f"'{ctx.path}' was, with the key {ctx.key}.",
            )
        self._open_keys[ctx.path] = ctx.key
        await asyncio.sleep(self.schedule.seconds(ctx.key, ctx.attempt))
        return await self.fault.around(ctx, call)

    def _watch(self, event: RunEvent) -> None:
        match event:
            case Committed(path=path) if path in self._open_keys:
                self.committed.add(self._open_keys[path])
            case Failed(retry_in=None, handled=handled):
                self.has_failed = True
                self.has_survived = self.has_survived or handled
            case Skipped():
                self.has_survived = True
            case Ended():
                self.ends.append(event)
            case _:
                pass

    # ---- promises ------------------------------------------------------------------------------
    def _check_no_task_left(self) -> None:
        left = asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}
        if left:
            names = ", ".join(sorted(task.get_name() for task in left))
            raise _BrokenPromise("no task is left", f"{len(left)} are: {names}.")

    def _check_ends(self) -> None:
        statuses = [end.status for end in self.ends]
        has_unknown = any(status not in _END_STATUSES for status in statuses)
        finals = [status for status in statuses if status in FINAL_STATUSES]
        # On a failing store, an end that was not written down is reached again.
        if has_unknown or (len(finals) > 1 and self.kind != "storage"):
            raise _BrokenPromise(
                "a run ends once, with one status", f"It ended as {', '.join(statuses)}."
            )

    def _check_failed(self, error: BaseException) -> None:
        """Check that a disturbed run ends as `RunFailed`, with all commits of siblings."""
        if self.kind == _UNDISTURBED or isinstance(error, InputError):
            raise error
        if not isinstance(error, RunFailed):
            raise _BrokenPromise(
                "a run that fails raises RunFailed", f"It raised {type(error).__name__}: {error}."
            )
        if self.kind not in ("failure", "lost result"):
            raise _BrokenPromise("no schedule makes a run fail", f"It failed: {error}.")
        report = cast("RunReport", error.run)
        kept = {step.activation for step in report.steps() if step.status == "done"}
        lost = self.committed - kept
        if lost:
            raise _BrokenPromise(
                "a failure removes no commit of a sibling",
                f"{len(lost)} of {len(self.committed)} are gone.",
            )

    def _check_result(self, result: Result[Any, Any] | None) -> _Ending | None:
        """Return the end of a run, after a comparison with the expected one where it applies."""
        if result is None:
            return None
        done = frozenset(step.activation for step in result.steps if step.status == "done")
        ending = _Ending(result.state, done)
        expected = self.case.expected
        if expected is None or self.has_survived or result.status == "partial":
            return ending
        if self.has_failed and not self.has_resumed:
            return ending
        # A region that was undone began anew, with other activations.
        has_undone = any(step.node == "undo" for step in result.steps)
        if done != expected.done and not has_undone:
            more, less = len(done - expected.done), len(expected.done - done)
            raise _BrokenPromise(
                "every run has the same activations", f"{more} are others, {less} are missing."
            )
        if ending.state != expected.state:
            difference = _format_difference(expected.state, ending.state)
            raise _BrokenPromise("every run ends in the same state", f"{difference}.")
        return ending


def _format_difference(expected: BaseModel, actual: BaseModel) -> str:
    differences: list[str] = []
    for name in type(expected).model_fields:
        before, now = getattr(expected, name), getattr(actual, name)
        if before != now:
            differences.append(f"'{name}' is {now!r}, undisturbed it was {before!r}")
    if differences:
        return "; ".join(differences[:3])
    return f"other fields are set: {actual.model_fields_set ^ expected.model_fields_set}"


def _has_races(plan: Plan) -> bool:
    """Return whether timing may decide the result.

    That is so with a `need=k` join or map, a first of several events, or an event that expires.
    """
    steps = [step for inner in plan.list_all() for step in inner.steps]
    if any(step.rivals or getattr(step.event, "expires", None) for step in steps):
        return True
    return any(step.need or (step.map is not None and step.map.need is not None) for step in steps)


def _find_safe_delay(plan: Plan) -> float:
    """Return seconds that an attempt may take longer without reaching a time limit of its node."""
    limits: list[float] = []
    for inner in plan.list_all():
        for step in inner.steps:
            options = step.node.options
            for limit in (options.timeout, options.deadline, options.hedge_after):
                if limit is not None:
                    limits.append(limit)
    return min(1.0, min(limits, default=1.0) / 1000)
