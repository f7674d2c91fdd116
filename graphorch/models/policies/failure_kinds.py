"""Kinds of failure of an attempt, and the consequences of each.

`elsewhere`: another target may answer. `later`: the same target may answer after a pause.
`at fault`: the failure counts against the target in its circuit breaker.

kind              elsewhere?  later?  at fault?
rate_limit        yes         yes     no         it sets the pace, and works
server            yes         yes     yes        5xx, 408, 424, 425, and errors inside an answer
timeout           yes         yes     yes
unreachable       yes         yes     yes
malformed         yes         yes     yes        a web page, broken JSON, a cut stream, no text
resting           yes         yes     no         not sent: its circuit is open
throttled         yes         yes     no         not sent: its limits leave no turn in time
above_limit       yes         no      no         not sent: larger than the tokens of a minute
auth              yes         no      yes        401, 403, and 400 in words that mean it
credit            yes         no      yes        402, 412
unknown_model     yes         no      yes        404, and 400 in words that mean it
context_overflow  yes         no      no         the prompt is too long for this model
filtered          yes         no      no         its filter or the model declined
invalid_output    yes         no      no         does not fit the schema of the request
rejected          yes         no      no         the check of the policy does not accept it
output_limit      no          no      no         cut off by max_tokens: any model would be
bad_request       no          no      no         400 and the like: any model refuses it
"""

from __future__ import annotations

from dataclasses import dataclass

from graphorch.errors import ModelError
from graphorch.models.decision import RoutingRecord
from graphorch.models.errors import (
    AnswerError,
    ContextOverflow,
    Empty,
    NoUsableAnswer,
    Refused,
    SchemaRefused,
    TimedOut,
    Truncated,
    Unreachable,
    Unreadable,
)
from graphorch.models.messages import Response
from graphorch.models.openai.error_codes import find_kind, find_prompt_fault
from graphorch.models.openai.errors import correct_status
from graphorch.models.policies.circuit_breaker import CircuitOpen
from graphorch.models.policies.rate_limiter import AboveLimit, Throttled


@dataclass(frozen=True, slots=True)
class Consequence:
    """Consequence of a kind of failure, as the table above lists it."""

    try_elsewhere: bool
    retry_later: bool
    blames_target: bool


CONSEQUENCES = {
    "rate_limit": Consequence(True, True, False),
    "server": Consequence(True, True, True),
    "timeout": Consequence(True, True, True),
    "unreachable": Consequence(True, True, True),
    "malformed": Consequence(True, True, True),
    "resting": Consequence(True, True, False),
    "throttled": Consequence(True, True, False),
    "above_limit": Consequence(True, False, False),
    "auth": Consequence(True, False, True),
    "credit": Consequence(True, False, True),
    "unknown_model": Consequence(True, False, True),
    "context_overflow": Consequence(True, False, False),
    "filtered": Consequence(True, False, False),
    "invalid_output": Consequence(True, False, False),
    "rejected": Consequence(True, False, False),
    "output_limit": Consequence(False, False, False),
    "bad_request": Consequence(False, False, False),
}
FAILURE_KINDS = tuple(CONSEQUENCES)
# Requests that were not sent or not worked on: they use up no attempt of a target, and no round.
UNCOUNTED_KINDS = frozenset({"rate_limit", "resting", "throttled", "above_limit"})
FAILOVER_KINDS = frozenset(
    kind for kind, consequence in CONSEQUENCES.items() if consequence.try_elsewhere
)

_BY_STATUS = {
    401: "auth",
    402: "credit",
    403: "auth",
    404: "unknown_model",
    408: "server",
    409: "server",
    412: "credit",
    424: "server",
    425: "server",
    429: "rate_limit",
}


class InvalidOutput(AnswerError):
    """A complete answer that does not fit the schema of the request."""


class RejectedAnswer(AnswerError):
    """A complete answer that the check of a policy did not accept."""


class NotAnswered(ModelError):
    """No target of a policy gave an answer.

    `failures` are their errors in the order of the attempts, `decision` is the whole record.
    """

    def __init__(
        self, message: str, *, model: str, failures: tuple[ModelError, ...], decision: RoutingRecord
    ) -> None:
        self.failures = failures
        self.decision = decision
        waits = [error.retry_after for error in failures if error.retry_after is not None]
        super().__init__(
            message,
            model=model,
            retryable=any(error.retryable for error in failures),
            status=failures[-1].status if failures else None,
            retry_after=min(waits, default=None),
        )


class NoneUsable(NotAnswered, NoUsableAnswer):
    """Targets of a policy answered, and none of their answers can be used."""


def build_not_answered(
    message: str, *, model: str, failures: tuple[ModelError, ...], decision: RoutingRecord
) -> NotAnswered:
    """Return the error of a policy without an answer; it says whether there were unusable ones."""
    were_answers = [isinstance(failure, AnswerError | NoUsableAnswer) for failure in failures]
    kind = NoneUsable if were_answers and all(were_answers) else NotAnswered
    return kind(message, model=model, failures=failures, decision=decision)


def can_recover(error: ModelError) -> bool:
    """Return whether a target that failed so may answer the same call after a pause."""
    if isinstance(error, NotAnswered) and error.failures:
        return any(can_recover(failure) for failure in error.failures)
    return CONSEQUENCES[classify_failure(error)].retry_later


def classify_failure(error: ModelError) -> str:
    """Return the kind of a failure, a key of `CONSEQUENCES`."""
    match error:
        case CircuitOpen():
            return "resting"
        case Throttled():
            return "throttled"
        case AboveLimit():
            return "above_limit"
        case TimedOut():
            return "timeout"
        case Unreachable():
            return "unreachable"
        case InvalidOutput():
            return "invalid_output"
        case RejectedAnswer():
            return "rejected"
        case Refused():
            return "filtered"
        case ContextOverflow():
            return "context_overflow"
        case Truncated():
            return "malformed" if error.retryable else "output_limit"
        case Empty() | Unreadable():
            return "malformed"
        case NotAnswered():
            return classify_failure(error.failures[-1]) if error.failures else "resting"
        case _:
            return _classify_by_status(error)


def _classify_by_status(error: ModelError) -> str:
    text = str(error)
    status = None if error.status is None else correct_status(error.status, text)
    # 1. What a model that takes longer or other prompts would answer.
    if not isinstance(error, SchemaRefused):
        fault = find_prompt_fault(status, error.codes, text)
        if fault:
            return fault
    # 2. The status, where it says enough, then the code.
    if status == 429:
        # a quota that is used up does not pass with time
        return "rate_limit" if error.retryable else "credit"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    by_code = find_kind(error.codes)
    if by_code:
        return by_code
    if status is not None and status >= 500:
        return "server"
    # 3. The guess of the client.
    return "server" if error.retryable else "bad_request"


def build_rejection(
    response: Response, model: str, reason: str, kind: type[AnswerError]
) -> AnswerError:
    """Return the error for a complete answer that is not taken; its text is in `partial`."""
    return kind(
        f"Model '{model}' answered, but {reason}.",
        model=model,
        retryable=False,
        partial=response.text,
        usage=response.usage,
    )
