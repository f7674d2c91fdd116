"""Results of runs: the output, the state, and what it took; of a waiting run, the questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Never, cast

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.core.run import Run
from graphorch.core.tree import Activation, EventWait, Status
from graphorch.engine.human_input import find_closed_question
from graphorch.engine.questions.pending_question import PendingQuestion
from graphorch.engine.report import ActivationReport, CallReport, Note, RunReport
from graphorch.engine.scheduler import Scheduler
from graphorch.errors import InputError, NoSuchName, ReducerFailed, WrongCall, did_you_mean
from graphorch.graph.node import Node
from graphorch.runs.drawing.run_drawing import RunDrawing
from graphorch.runs.failures import build_run_failed, build_unreadable
from graphorch.statuses import SUCCESS_STATUSES
from graphorch.text import format_cost, format_moment, format_seconds, plural

if TYPE_CHECKING:
    from graphorch.render.layout.engine import Direction, Engine
    from graphorch.render.svg.theme import Theme

Out = TypeVar("Out", bound=BaseModel, covariant=True)
State = TypeVar("State", bound=BaseModel, covariant=True, default=BaseModel)


_MOST_LOOPS = 3  # at their bound, in the text of a result


@dataclass(frozen=True, slots=True)
class Question:
    """A question that a run waits for.

    `answer_type` is the type of an answer; after `expires` (seconds since the epoch) it is too
    late for one.
    """

    id: str
    path: str
    node: str
    text: str
    answer_type: type[BaseModel]
    expires: float | None = None


class Wait(NamedTuple):
    """A signal, a timer, or the end of a pause before a retry that a run waits for.

    `due` (seconds since the epoch) is when a timer fires, when the signal is not waited for any
    more, or when the next attempt begins (`is_retry`); None is never. A timer has no `signal`, and
    a signal without keys no `key`.
    """

    path: str
    node: str
    signal: str
    key: str
    due: float | None
    is_retry: bool = False


class Result(Generic[Out, State]):
    """One run that reached its end, or waits for people, signals or timers.

    `status` is `succeeded`, `partial` (some branches failed in isolation) or `waiting`;
    `end_reason` says why. A run that failed has no result: `run` raises `RunFailed`, whose `run`
    is a `RunReport` like `record` here.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.record: RunReport = scheduler.report
        is_waiting = scheduler.run.status == "waiting"
        self._askers = scheduler.open_questions() if is_waiting else []
        # What waits now: the run may go on while this result is kept.
        self.waits: list[Wait] = list_waits(scheduler.run) if is_waiting else []
        """Signals, timers and ends of pauses before retries that the run waits for."""
        self.due: float | None = _find_due(scheduler.run) if is_waiting else None
        """Next time of what it waits for, or of a deadline, in seconds since the epoch."""

    @property
    def status(self) -> Literal["succeeded", "partial", "waiting"]:
        """Status in which the run ended."""
        return cast("Literal['succeeded', 'partial', 'waiting']", self.record.run.status)

    @property
    def end_reason(self) -> str:
        """Reason for the end: `succeeded`, or `waiting`."""
        return self.record.run.reason

    @property
    def run_id(self) -> str:
        """Id of the run."""
        return self.record.run_id

    @property
    def output(self) -> Out:
        """Output slice, a fresh copy. Raises `InputError` while the run waits."""
        return self.record.run.plan.read_output.result(self._final_version())

    @property
    def state(self) -> State:
        """Whole state at the end, as far as it was assigned; `model_fields_set` names what was.

        Raises `ReducerFailed` for a field beside the output that its reducer cannot fold.
        """
        state = self.record.run.plan.read_state.result(self._final_version())
        return cast("State", state)

    @property
    def cost(self) -> float:
        """Dollars spent on model calls, failed ones too, as far as their price is known."""
        return self.record.usd

    @property
    def unpriced(self) -> int:
        """Requests to models whose dollars are not known, and not part of `cost`."""
        return self.record.unpriced

    @property
    def booked_cost(self) -> float:
        """Dollars that budgets count: `cost`, with the worst case of requests without a bill."""
        return self.record.booked_usd

    @property
    def usage(self) -> Mapping[str, int]:
        """Sums of `input_tokens`, `output_tokens` and `calls`."""
        return self.record.usage

    @property
    def seconds(self) -> float:
        """Seconds from begin to end, without the pauses between a stop and a resume."""
        return self.record.seconds

    @property
    def steps(self) -> list[ActivationReport]:
        """Every activation, in order of its end."""
        return self.record.steps()

    @property
    def calls(self) -> list[CallReport]:
        """Every model call, in order of its end."""
        return [call for _, call in self.record.calls]

    @property
    def exhausted(self) -> tuple[tuple[str, str], ...]:
        """Loops that reached their bound: the path that would loop again, and its target."""
        return self.record.exhausted

    @property
    def notes(self) -> tuple[Note, ...]:
        """Remarks of the nodes, and on loops that ended without an accepted attempt."""
        return self.record.notes

    @property
    def questions(self) -> list[Question]:
        """Questions that the run waits for; empty unless `status` is `waiting`."""
        return [build_question(asker) for asker in self._askers]

    def svg(
        self,
        *,
        theme: Theme = "auto",
        engine: Engine = "auto",
        depth: int | None = None,
        direction: Direction = "TB",
    ) -> str:
        """Draw the flow with what this run did on it."""
        drawing = RunDrawing(self.record)
        return drawing.svg(theme=theme, engine=engine, depth=depth, direction=direction)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        return RunDrawing(self.record).build_bundle(repr(self))

    def _repr_html_(self) -> str:
        """Return the picture for notebooks that know no mime bundles."""
        from graphorch.render.notebook_picture import embed

        return embed(self.svg(), repr(self))

    def __repr__(self) -> str:
        calls = plural(self.usage["calls"], "model call")
        cost = format_cost(self.cost, self.unpriced, booked=self.booked_cost)
        loops = [f"{end.source}: {end.text}; " for end in self.record.loop_ends[:_MOST_LOOPS]]
        figures = f"{''.join(loops)}{calls}, {cost}, {format_seconds(self.seconds)}"
        return f"<{self.status} run {self.run_id} of {self.record.run.plan.name}: {figures}>"

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Never:
            if (record := self.__dict__.get("record")) is not None:
                plan = record.run.plan
                for part, model in (("output", plan.output), ("state", plan.schema.model)):
                    if name in model.model_fields:
                        raise NoSuchName(f"A result has no '{name}'. Write result.{part}.{name}.")
            raise AttributeError(f"'Result' object has no attribute '{name}'", name=name, obj=self)

        def __getitem__(self, key: object) -> Never:
            raise WrongCall(
                f"A result is no dictionary, so result[{key!r:.80}] is not possible. "
                "Write result.output for the output slice, result.state for the whole state."
            )

    def _final_version(self) -> Any:
        version = self.record.run.root.output
        if version is None:
            waits = [f"'{item.node}' asks: {item.text}" for item in self.questions]
            waits += [f"'{wait.path}' waits for {describe_wait(wait)}" for wait in self.waits]
            ways = ["Answer with flow.answer(…)."] if self.questions else []
            if any(wait.signal for wait in self.waits):
                ways.append("Send a signal with flow.send(…).")
            if self.due is not None:
                ways.append(f"After {format_moment(self.due)}, flow.resume(…) continues it.")
            raise InputError(
                f"Run {self.run_id} has no output yet, it waits. {'; '.join(waits)}. "
                f"{' '.join(ways)}"
            )
        return version


def _find_due(run: Run) -> float | None:
    """Return the next time at which something becomes of what a run waits for."""
    from graphorch.engine.waits.event_waits import find_next_due

    return find_next_due(run)


def list_waits(run: Run) -> list[Wait]:
    """Return the signals, timers and ends of pauses before retries that a run waits for."""
    waits = [
        Wait(each.path, each.step.name, each.wait.signal, each.wait.key, each.wait.due)
        for each in run.waits()
        if each.status is Status.AWAITING_EVENT and each.wait is not None
    ]
    return waits + [
        Wait(each.path, each.step.name, "", "", each.retry_at, is_retry=True)
        for each in run.pauses()
    ]


def describe_wait(wait: Wait) -> str:
    """Return what is waited for, for people, with its time."""
    if wait.is_retry and wait.due is not None:
        return f"its next attempt, {format_moment(wait.due)}"
    return EventWait(wait.signal, wait.key, wait.due).describe()


def build_result(scheduler: Scheduler) -> Result[Any, Any]:
    """Return the result of a run that succeeded or waits. Raises `RunFailed` for any other."""
    status = scheduler.run.status
    if status in SUCCESS_STATUSES:
        # The last writes of a field may meet at END alone, where no node reads them.
        has_reducers = scheduler.run.root.reducers
        if has_reducers and (failures := _fold_output(scheduler)):
            raise build_unreadable(scheduler, failures)
        return Result(scheduler)
    if status == "waiting":
        return Result(scheduler)
    raise build_run_failed(scheduler)


def _fold_output(scheduler: Scheduler) -> list[Exception]:
    """Return the errors of reducers that cannot fold a field of the output."""
    run, errors = scheduler.run, list[Exception]()
    version, schema = run.root.output, run.plan.schema
    if version is None:
        return errors
    for name in run.plan.output.model_fields:
        field = schema.by_name[name]
        try:
            if field.reduce is not None:
                field.stored(version)
        except ReducerFailed as error:
            errors.append(error)
    return errors


def find_asker(scheduler: Scheduler, question: object) -> Activation:
    """Return the activation that asks a question, given as its `ask` node, `Question` or id.

    Raises `InputError` if no such question is open, or several are, and `QuestionClosed` if it was.
    """
    if isinstance(question, Node):
        name = question.name
    elif isinstance(question, Question):
        name = question.id
    else:
        name = str(question)
    askers = scheduler.open_questions()
    matches = [asker for asker in askers if name in (asker.id, asker.path)]
    if isinstance(question, Node):
        matches = [asker for asker in askers if name in (asker.path, asker.step.name)]
    if len(matches) == 1:
        return matches[0]

    run = scheduler.run
    if matches:
        ids = ", ".join(f"{asker.id} ({asker.path})" for asker in matches)
        raise InputError(
            f"{len(matches)} questions of '{name}' are open in run {run.run_id}. "
            f"Answer one of them by its id: {ids}."
        )
    if (closed := find_closed_question(run, name)) is not None:
        raise closed
    if askers:
        fix = did_you_mean(name, [asker.path for asker in askers])
    else:
        fix = f"None is: the run is {run.status}."
    raise InputError(
        f"Question '{name}' is not open in run {run.run_id}: "
        f"it was answered, withdrawn, or never asked. {fix}"
    )


def build_question(asker: Activation) -> Question:
    """Return the open question of an activation."""
    pending: PendingQuestion = asker.question
    return Question(
        asker.id, asker.path, asker.step.name, pending.text, pending.answer, pending.expires
    )
