"""`check_flow`: a flow under hundreds of schedules, failures and cancellations, each of which must leave the promises whole.

Theory of operation. A first run, undisturbed, says what the result is and which activations belong to it. Every further run has its own
seed, which decides about everything: what is disturbed (`KINDS`, in turn), where, how long each node takes and in which order what is
ready goes on. All of them run on a virtual clock, on a loop that notices tasks which are left over.
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
from graphorch.engine.report import RunReport
from graphorch.engine.run_journal import LEASE_SECONDS
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
from graphorch.runs.result import Question, Result
from graphorch.testing.faults import Call, FailNth, copy_flow, with_nodes
from graphorch.testing.schedule import Schedule
from graphorch.testing.virtual_clock import VirtualLoop, run_virtual

In = TypeVar("In", bound=BaseModel)

KINDS = ("schedule", "failure", "lost result", "cancellation")
RUN_ID = "checked"
_STATUSES = ("succeeded", "partial", "waiting", "failed", "stopped", "cancelled")


class FlowBroken(AssertionError):
    """A promise that did not hold in one run. `promise` names it, `seed` repeats the run: `check_flow(…, seed=seed, runs=1)`."""

    def __init__(self, promise: str, told: str, *, kind: str, seed: int) -> None:
        self.promise = promise
        self.kind = kind
        self.seed = seed
        super().__init__(
            f"{promise}: {told} It is repeated by check_flow(…, seed={seed}, runs=1), a run of kind '{kind}'."
        )


@dataclass(frozen=True, slots=True)
class FlowReport:
    """What was tried: runs by what disturbed them, commits in all, and how many disturbed runs were resumed."""

    runs: Counter[str]
    commits: int
    resumed: int
    is_confluent: bool  # False: timing may decide (a `need=k`), so results were not compared


@dataclass(slots=True)
class _Case(Generic[In]):
    """What is checked, and what every run of it is given."""

    flow: Flow[In, Any, Any]
    input: In
    client: Callable[[], ModelClient]
    resources: Callable[[], object]
    answers: Callable[[Question], BaseModel] | None
    durable: bool
    longest: float
    calls: int = 0  # of nodes, in the undisturbed run
    steps: int = 0  # of its event loop
    appends: int = 0  # of its store
    # None while it is found out, and for flows whose result timing may decide
    wanted: _Ending | None = None


@dataclass(frozen=True, slots=True)
class _Ending:
    """How a run ended: the state, and the ids of the activations that count."""

    state: BaseModel
    done: frozenset[str]


class _Broken(Exception):
    """A promise did not hold; becomes a `FlowBroken` that says which run it was."""


def check_flow(
    flow: Flow[In, Any, Any],
    input: In,
    *,
    runs: int = 300,
    seed: int = 0,
    client: Callable[[], ModelClient] = OfflineClient,
    resources: Callable[[], object] = lambda: None,
    answers: Callable[[Question], BaseModel] | None = None,
    durable: bool = False,
) -> FlowReport:
    """Run a flow under many schedules, with nodes that fail or lose their result and with cancellations, and see that it keeps its promises.

    Any schedule gives the same state and the same activations; a failure removes no commit of a sibling; a cancelled run commits nothing
    more; no task is left; a run ends once, with a status; and resuming gives the undisturbed result without running anything twice that
    was committed. With `durable` the flow also runs on a journal whose n-th call fails.

    `client` and `resources` are called for each run, so that each has its own; the model is by default the embedded one. `answers` says
    what a person answers (gates are approved). Call it from a plain function. Raises `FlowBroken` with the seed of the first run in which
    something did not hold, and whatever the flow raises when nothing disturbs it.

        check_flow(flow, Topic(topic="tides"), client=lambda: ScriptedModel(when("tides", "A draft.", repeats=True)))
    """
    case = _Case(flow, input, client, resources, answers, durable, _longest(flow.plan))
    kinds = (*KINDS, "storage") if durable else KINDS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _measure(case)
        report = FlowReport(Counter(), 0, 0, case.wanted is not None)
        commits = resumed = 0
        for number in range(seed, seed + runs):
            trial = _Trial(case, random.Random(number), kinds[number % len(kinds)], number)
            trial.run()
            report.runs[trial.kind] += 1
            commits += len(trial.committed)
            resumed += trial.has_resumed
    return FlowReport(report.runs, commits, resumed, report.is_confluent)


def _measure(case: _Case[Any]) -> None:
    """The undisturbed run: the result that all the others have to give, and how much there is to disturb."""
    first = _Trial(case, random.Random(0), "calm", 0)
    ending = first.run()
    assert ending is not None
    case.calls, case.steps, case.appends = first.calls, first.steps, first.store_calls
    case.wanted = None if _races(case.flow.plan) else ending


class _Trial:
    """One run, disturbed as its kind says."""

    def __init__(self, case: _Case[Any], rng: random.Random, kind: str, seed: int) -> None:
        self.case = case
        self.kind = kind
        self.seed = seed
        self.rng = rng
        calm = kind == "calm"
        self.schedule = Schedule(
            seed, None if calm else rng.choice([None, None, 1, 2, 3]), 0.0 if calm else case.longest
        )
        self.policy: OnFailure = (
            rng.choice(["drain", "cancel", "isolate"])
            if kind in ("failure", "lost result")
            else "drain"
        )
        self.fault = FailNth(
            self._drawn("failure", "lost result", most=case.calls),
            when="after" if kind == "lost result" else "before",
        )
        self.store_fault = FailNth(
            self._drawn("storage", most=case.appends), when=rng.choice(["before", "after"])
        )
        self.cancel_at = self._drawn("cancellation", most=case.steps * 2)
        self.store: MemoryStore | None = None
        self.calls = 0
        self.steps = 0
        self.has_resumed = False
        self.committed: set[str] = set()  # keys
        self.has_failed = False  # an attempt failed that was not repeated
        # something failed and the flow went on: what came of it is another result
        self.survived = False
        self.ends: list[Ended] = []
        self.may_repeat = False
        self._begun: set[str] = set()  # keys
        self._keys: dict[str, str] = {}  # path -> key of the activation that is open there
        self._broken: _Broken | None = None

    @property
    def store_calls(self) -> int:
        return self.store_fault.calls

    def _drawn(self, *kinds: str, most: int) -> int:
        return self.rng.randint(1, max(1, most)) if self.kind in kinds else 0

    def run(self) -> _Ending | None:
        """Raises `FlowBroken`, or for the undisturbed run what the flow raises."""
        try:
            ending = run_virtual(self._main(), seed=None if self.kind == "calm" else self.seed)
        except (RunFailed, InputError):
            raise
        except (GraphorchError, _Broken, Warning) as error:
            promise, told = (
                error.args
                if isinstance(error, _Broken)
                else ("nothing is left over", f"{type(error).__name__}: {error}")
            )
            raise FlowBroken(promise, told, kind=self.kind, seed=self.seed) from error
        return ending

    # ---- the run -----------------------------------------------------------------------------------
    async def _main(self) -> _Ending | None:
        loop = cast(VirtualLoop, asyncio.get_running_loop())
        self.store = MemoryStore(clock=self._now) if self.case.durable else None
        flow = with_nodes(self.case.flow, lambda node: copy_flow(node, partial(self._around, node)))
        options = self._options()
        if self.kind == "storage":
            result = await self._stored(flow, options)
        else:
            result = await self._disturbed(loop, flow, options)
        self.steps = loop.steps
        self._check_ends()
        if self._broken is not None:
            raise self._broken
        return self._checked(result)

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

    def _again(self, options: RunOptions) -> dict[str, Any]:
        """The options for going on: a run in memory still has its own."""
        return {
            name: value
            for name, value in options.items()
            if name != "run_id" and self.store is not None
        }

    def _now(self) -> float:
        return 1e9 + asyncio.get_running_loop().time()

    async def _disturbed(
        self, loop: VirtualLoop, flow: Flow[Any, Any, Any], options: RunOptions
    ) -> Result[Any, Any] | None:
        task = loop.create_task(self._to_the_end(flow, options), name="checked run")
        if self.cancel_at:
            loop.at_step(self.cancel_at, task.cancel)
        await asyncio.wait([task])
        self._check_quiet()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._check_failed(error)
        elif not task.cancelled():
            return task.result()
        if (
            not self.ends
            or self.ends[-1].status not in ("failed", "stopped", "waiting")
            or self.policy == "isolate"
            or self.survived
        ):
            return None
        before = set(self.committed)
        await asyncio.sleep(10.0)  # nothing may happen meanwhile
        if self.committed != before:
            raise _Broken(
                "a run that ended commits nothing more",
                f"{len(self.committed - before)} activations did.",
            )
        return await self._resumed(flow, options)

    async def _stored(
        self, flow: Flow[Any, Any, Any], options: RunOptions
    ) -> Result[Any, Any] | None:
        try:
            return await self._to_the_end(flow, options)
        except (JournalError, TimeoutError):
            self._check_quiet()
        await asyncio.sleep(LEASE_SECONDS + 1)
        assert self.store is not None
        if not (await self.store.list_runs()).runs or not (await self.store.load(RUN_ID)).records:
            return await self._to_the_end(flow, options)
        return await self._resumed(flow, options)

    async def _resumed(self, flow: Flow[Any, Any, Any], options: RunOptions) -> Result[Any, Any]:
        self.has_resumed = True
        try:
            return await self._to_the_end(flow, options, again="stop")
        except RunFailed as error:
            if error.end_reason != "ambiguous":
                raise _Broken(
                    "a resumed run ends like the undisturbed one", f"It failed: {error}."
                ) from error
        # a node with effect `once` began and did not finish: a person says what is to be done
        self.may_repeat = True
        try:
            return await self._to_the_end(flow, options, again="repeat")
        except RunFailed as error:
            raise _Broken(
                "a resumed run ends like the undisturbed one", f"It failed: {error}."
            ) from error

    async def _to_the_end(
        self,
        flow: Flow[Any, Any, Any],
        options: RunOptions,
        *,
        again: Literal["", "stop", "repeat"] = "",
    ) -> Result[Any, Any]:
        result: Result[Any, Any]
        if again:
            result = await flow.resume(RUN_ID, ambiguous=again, **cast(Any, self._again(options)))
        else:
            result = await flow.run(self.case.input, **options)
        while result.status == "waiting":
            question = self.rng.choice(result.questions)
            answer: Any = self._answer(question)
            result = await flow.answer(RUN_ID, question, answer, **cast(Any, self._again(options)))
        return result

    def _answer(self, question: Question) -> BaseModel:
        if self.case.answers is not None:
            return self.case.answers(question)
        if question.answer_type is Approval:
            return Approval(approved=True)
        raise InputError(
            f"'{question.path}' asks a person: {question.text} Give check_flow answers=, a function of the question."
        )

    # ---- what is seen --------------------------------------------------------------------------------
    async def _around(self, node: Node[Any], ctx: Context[Any], call: Call) -> Any:
        self.calls += 1
        if node.options.effect == "once" and ctx.key in self._begun and not self.may_repeat:
            self._broken = _Broken(
                "a node with effect `once` begins once",
                f"'{ctx.path}' began twice, with the key {ctx.key}.",
            )
        self._begun.add(ctx.key)
        if ctx.key in self.committed:
            self._broken = _Broken(
                "a committed activation is never executed again",
                f"'{ctx.path}' was, with the key {ctx.key}.",
            )
        self._keys[ctx.path] = ctx.key
        await asyncio.sleep(self.schedule.seconds(ctx.key, ctx.attempt))
        return await self.fault.around(ctx, call)

    def _watch(self, event: RunEvent) -> None:
        match event:
            case Committed(path=path) if path in self._keys:
                self.committed.add(self._keys[path])
            case Failed(retry_in=None, handled=handled):
                self.has_failed = True
                self.survived = self.survived or handled
            case Skipped():
                self.survived = True
            case Ended():
                self.ends.append(event)
            case _:
                pass

    # ---- what must hold ------------------------------------------------------------------------------
    def _check_quiet(self) -> None:
        left = asyncio.all_tasks() - {cast("asyncio.Task[Any]", asyncio.current_task())}
        if left:
            raise _Broken(
                "no task is left",
                f"{len(left)} are: {', '.join(sorted(task.get_name() for task in left))}.",
            )

    def _check_ends(self) -> None:
        strange = [end.status for end in self.ends if end.status not in _STATUSES]
        final = [
            end.status for end in self.ends if end.status in ("succeeded", "partial", "cancelled")
        ]
        # an end that was not written down is reached again
        if strange or (len(final) > 1 and self.kind != "storage"):
            raise _Broken(
                "a run ends once, with one status",
                f"It ended as {', '.join(end.status for end in self.ends)}.",
            )

    def _check_failed(self, error: BaseException) -> None:
        """A run that was disturbed ends as `RunFailed`, with all that its siblings committed."""
        if not isinstance(error, RunFailed):
            if isinstance(error, InputError) or self.kind == "calm":
                raise error
            raise _Broken(
                "a run that fails raises RunFailed", f"It raised {type(error).__name__}: {error}."
            )
        if self.kind not in ("failure", "lost result"):
            raise (
                error
                if self.kind == "calm"
                else _Broken("no schedule makes a run fail", f"It failed: {error}.")
            )
        record = cast(RunReport, error.run)
        lost = self.committed - {
            step.activation for step in record.steps() if step.status == "done"
        }
        if lost:
            raise _Broken(
                "a failure removes no commit of a sibling",
                f"{len(lost)} of {len(self.committed)} are gone.",
            )

    def _checked(self, result: Result[Any, Any] | None) -> _Ending | None:
        if result is None:
            return None
        ending = _Ending(
            result.state,
            frozenset(step.activation for step in result.steps if step.status == "done"),
        )
        wanted = self.case.wanted
        if (
            wanted is None
            or self.survived
            or result.status == "partial"
            or (self.has_failed and not self.has_resumed)
        ):
            return ending
        if ending.done != wanted.done:
            more, less = len(ending.done - wanted.done), len(wanted.done - ending.done)
            raise _Broken(
                "every run has the same activations", f"{more} are others, {less} are missing."
            )
        if ending.state != wanted.state:
            raise _Broken(
                "every run ends in the same state", f"{_difference(wanted.state, ending.state)}."
            )
        return ending


def _difference(wanted: BaseModel, found: BaseModel) -> str:
    names = [
        name for name in type(wanted).model_fields if getattr(wanted, name) != getattr(found, name)
    ]
    shown = [
        f"'{name}' is {getattr(found, name)!r}, undisturbed it was {getattr(wanted, name)!r}"
        for name in names[:3]
    ]
    return (
        "; ".join(shown)
        or f"other fields are set: {found.model_fields_set ^ wanted.model_fields_set}"
    )


def _inside(plan: Plan) -> list[Plan]:
    return [
        plan,
        *(
            item
            for step in plan.steps
            if step.inner_plan is not None
            for item in _inside(step.inner_plan)
        ),
    ]


def _races(plan: Plan) -> bool:
    """Whether timing may decide what happens: a `need=k` join or map somewhere."""
    return any(
        step.need or (step.map is not None and step.map.need is not None)
        for item in _inside(plan)
        for step in item.steps
    )


def _longest(plan: Plan) -> float:
    """Seconds that an attempt may take more, so that no time limit of a node is reached by it."""
    options = [step.node.options for item in _inside(plan) for step in item.steps]
    limits = [
        limit
        for settings in options
        for limit in (settings.timeout, settings.deadline, settings.hedge_after)
        if limit is not None
    ]
    return min(1.0, min(limits, default=1.0) / 1000)
