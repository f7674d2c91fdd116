"""What becomes of the questions of a run, read off the core after each event.

A question is open while its activation waits for a person. It is closed by an event about that
activation, or because the activation was cancelled by something else: a quorum, a node that
failed, the end of the run. Cancelled activations are in the history of the run, of which only what
is new is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from graphorch.core.events import Approved, Event, NodeFailed, NodeSucceeded, PersonAsked
from graphorch.core.run import Run
from graphorch.core.tree import Activation, Status
from graphorch.engine.questions.hook_calls import CALL_SECONDS, INTERRUPTED_SECONDS, HookCalls
from graphorch.engine.questions.question_event import OnQuestion, QuestionChange, QuestionEvent
from graphorch.engine.questions.unanswered_call import is_unanswered_call
from graphorch.errors import Expired
from graphorch.statuses import FINAL_STATUSES

if TYPE_CHECKING:
    from graphorch.engine.questions.pending_question import PendingQuestion


class QuestionHook:
    """Tells a function what becomes of the questions of one run.

    It may be made while questions are open, which the function does not hear of then, but of what
    becomes of them.
    """

    def __init__(self, run: Run, function: OnQuestion, tags: Mapping[str, str]) -> None:
        self._run = run
        self._function = function
        self._tags = tags
        self._open: dict[Activation, PendingQuestion] = {
            activation: activation.question for activation in run.questions()
        }
        self._seen = len(run.history)  # activations of the history that were looked at
        self._calls: HookCalls | None = None  # of the engagement under way, once there are any

    def replace(self, function: OnQuestion, tags: Mapping[str, str]) -> None:
        """Tell another function from here on."""
        self._function, self._tags = function, tags

    def read(self, event: Event) -> list[QuestionEvent]:
        """Return what an event, which the core has taken, means for the questions of the run."""
        found: list[QuestionEvent] = []
        match event:
            case PersonAsked(activation, question, at) if activation.question is question:
                self._open[activation] = question
                found.append(self._build("opened", activation, question, at))
            case NodeSucceeded(activation) | Approved(activation) | NodeFailed(activation):
                if activation in self._open and activation.status is not Status.AWAITING_ANSWER:
                    kind = "expired" if _is_expiry(event) else "answered"
                    question = self._open.pop(activation)
                    found.append(self._build(kind, activation, question, event.at))
            case _:
                pass
        if self._open:
            found += self._list_withdrawn(event.at)
        self._seen = len(self._run.history)
        return found

    def begin_call(self, event: QuestionEvent) -> None:
        """Call the function with an event, beside the run."""
        if self._calls is None:
            self._calls = HookCalls()
        self._calls.begin(self._function, event)

    async def finish_calls(self, *, is_interrupted: bool = False) -> None:
        """Wait for the calls of the engagement that has ended, within limits."""
        calls, self._calls = self._calls, None  # one of them may begin the next engagement
        if calls is not None:
            await calls.finish(INTERRUPTED_SECONDS if is_interrupted else CALL_SECONDS)

    def _list_withdrawn(self, at: float) -> list[QuestionEvent]:
        run = self._run
        gone = [activation for activation in run.history[self._seen :] if activation in self._open]
        reasons = [_find_reason(activation) for activation in gone]
        if run.status in FINAL_STATUSES:
            others = [activation for activation in self._open if activation not in gone]
            gone += others
            reasons += [f"the run is {run.status}"] * len(others)
        return [
            self._build("withdrawn", activation, self._open.pop(activation), at, reason)
            for activation, reason in zip(gone, reasons, strict=True)
        ]

    def _build(
        self,
        kind: QuestionChange,
        activation: Activation,
        question: PendingQuestion,
        at: float,
        reason: str = "",
    ) -> QuestionEvent:
        return QuestionEvent(
            kind=kind,
            flow=self._run.plan.name,
            run_id=self._run.run_id,
            id=activation.id,
            path=activation.path,
            node=activation.step.name,
            text=question.text,
            answer_type=question.answer,
            expires=question.expires,
            tags=dict(self._tags),
            at=at,
            reason=reason,
        )


def _is_expiry(event: Event) -> bool:
    """Return whether an event closes a question because its time is over."""
    if type(event) is NodeFailed:
        return isinstance(event.failure, Expired)
    return type(event) is NodeSucceeded and is_unanswered_call(event.activation)


def _find_reason(activation: Activation) -> str:
    """Return why an activation was cancelled, as the last line of its story has it."""
    story = activation.story or [""]
    return story[-1].removeprefix("cancelled: ")
