"""What `run` returns: the output, the state, and what it took; for a run that waits, the questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.core.tree import Activation
from graphorch.engine.human_input import PendingQuestion
from graphorch.engine.report import ActivationReport, CallReport, RunReport
from graphorch.engine.scheduler import Scheduler
from graphorch.errors import InputError, did_you_mean
from graphorch.graph.node import Node

if TYPE_CHECKING:
    from graphorch.render.layout.engine import Engine
    from graphorch.render.svg.theme import Theme

Out = TypeVar("Out", bound=BaseModel, covariant=True)
State = TypeVar("State", bound=BaseModel, covariant=True, default=BaseModel)


@dataclass(frozen=True, slots=True)
class Question:
    """What a run waits for. `answer_type` is what an answer has to be; after `expires` (seconds since the epoch) it is too late for one."""

    id: str
    path: str
    node: str
    text: str
    answer_type: type[BaseModel]
    expires: float | None = None


class Result(Generic[Out, State]):
    """One run that reached its end, or waits for people.

    `status` is `succeeded`, `partial` (some branches failed in isolation) or `waiting`; `end_reason` says why. A run that failed has no
    result: `run` raises `RunFailed`, whose `run` is the same record.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.record: RunReport = scheduler.report
        self._waits = scheduler.open_questions() if scheduler.run.status == "waiting" else []

    @property
    def status(self) -> Literal["succeeded", "partial", "waiting"]:
        """How the run ended."""
        return self.record.run.status  # pyright: ignore[reportReturnType]

    @property
    def end_reason(self) -> str:
        """Why it ended: `succeeded`, or `waiting`."""
        return self.record.run.reason

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.record.run_id

    @property
    def output(self) -> Out:
        """The output slice, a fresh copy. Raises `InputError` while the run waits."""
        return self.record.run.plan.read_output.result(self._final())

    @property
    def state(self) -> State:
        """The whole state at the end, as far as it was assigned; `model_fields_set` names what was."""
        return self.record.run.plan.read_state.result(self._final())  # pyright: ignore[reportReturnType]

    @property
    def cost(self) -> float:
        """Dollars spent on model calls, as far as their price is known."""
        return self.record.usd

    @property
    def usage(self) -> Mapping[str, int]:
        """`input_tokens`, `output_tokens` and `calls` in all."""
        return self.record.usage

    @property
    def seconds(self) -> float:
        """Wall-clock seconds from begin to end."""
        return self.record.ended - self.record.began

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
        """The loops that reached their bound: the path of the node that would have gone back, and where to."""
        return self.record.exhausted

    @property
    def questions(self) -> list[Question]:
        """What the run waits for; empty unless `status` is `waiting`."""
        return [build_question(activation) for activation in self._waits]

    def svg(
        self, *, theme: Theme = "auto", engine: Engine = "auto", depth: int | None = None
    ) -> str:
        """The picture of the flow with what this run did on it."""
        from graphorch.runs.pictures import run_svg

        return run_svg(self.record, theme, engine, depth)

    def _repr_svg_(self) -> str:
        return self.svg()

    def __repr__(self) -> str:
        return f"<{self.status} run {self.run_id} of {self.record.run.plan.name}: {self.usage['calls']} model calls, ${self.cost:.4f}, {self.seconds:.2f} s>"

    def _final(self) -> Any:
        version = self.record.run.root.output
        if version is None:
            texts = "; ".join(
                f"'{question.node}' asks: {question.text}" for question in self.questions
            )
            raise InputError(
                f"Run {self.run_id} has no output yet, it waits for people. {texts} Answer with flow.answer(…)."
            )
        return version


def open_question(scheduler: Scheduler, question: object) -> Activation:
    """The activation that asks, by its `ask` node, question or id. Raises `InputError` if no such question is open, or several are."""
    name = (
        question.name
        if isinstance(question, Node)
        else question.id
        if isinstance(question, Question)
        else str(question)
    )
    waits = scheduler.open_questions()
    found = [
        activation
        for activation in waits
        if name in (activation.id, activation.path)
        or (isinstance(question, Node) and activation.step.name == name)
    ]
    if len(found) == 1:
        return found[0]
    run = scheduler.run
    if found:
        ids = ", ".join(f"{activation.id} ({activation.path})" for activation in found)
        raise InputError(
            f"{len(found)} questions of '{name}' are open in run {run.run_id}. Answer one of them by its id: {ids}."
        )
    fix = (
        did_you_mean(name, [activation.path for activation in waits])
        if waits
        else f"None is: the run is {run.status}."
    )
    raise InputError(
        f"Question '{name}' is not open in run {run.run_id}: it was answered, withdrawn, or never asked. {fix}"
    )


def build_question(activation: Activation) -> Question:
    """The open question of an activation."""
    asking: PendingQuestion = activation.question
    return Question(
        activation.id,
        activation.path,
        activation.step.name,
        asking.text,
        asking.answer,
        asking.expires,
    )
