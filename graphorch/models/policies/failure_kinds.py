"""What went wrong with an attempt, in one word, and what follows from it: ask somebody else, ask again later, blame the target, or none.

kind              another target?  again later?  target at fault?
rate_limit        yes              yes           yes
server            yes              yes           yes           5xx, 408, 424, 425 and errors inside an answer
timeout           yes              yes           yes
unreachable       yes              yes           yes
malformed         yes              yes           yes           no protocol: a web page, broken JSON, a cut stream, no text
resting           yes              yes           no            not sent: its circuit is open
throttled         yes              yes           no            not sent: its limits leave no turn in time
auth              yes              no            yes           401, 403, and 400 in words that mean it
credit            yes              no            yes           402, 412
unknown_model     yes              no            yes           404, and 400 in words that mean it
context_overflow  yes              no            no            the prompt is too long for this model
filtered          yes              no            no            its filter or the model declined
invalid_output    yes              no            no            the answer does not fit the request's schema
rejected          yes              no            no            the policy's check does not accept the answer
output_limit      no               no            no            cut off by max_tokens: any model would be
bad_request       no               no            no            400 and the like: any model would refuse it
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from graphorch.errors import ModelError
from graphorch.models.decision import RoutingRecord
from graphorch.models.errors import (
    AnswerError,
    Empty,
    Refused,
    SchemaRefused,
    TimedOut,
    Truncated,
    Unreachable,
    Unreadable,
)
from graphorch.models.messages import Response
from graphorch.models.openai.errors import meant_status
from graphorch.models.policies.circuit_breaker import CircuitOpen
from graphorch.models.policies.rate_limiter import Throttled


@dataclass(frozen=True, slots=True)
class Consequence:
    """What follows from a kind of failure; see the table above."""

    try_elsewhere: bool
    retry_later: bool
    blames_target: bool


CONSEQUENCES = {
    "rate_limit": Consequence(True, True, True),
    "server": Consequence(True, True, True),
    "timeout": Consequence(True, True, True),
    "unreachable": Consequence(True, True, True),
    "malformed": Consequence(True, True, True),
    "resting": Consequence(True, True, False),
    "throttled": Consequence(True, True, False),
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
FAILOVER_KINDS = frozenset(
    kind for kind, consequence in CONSEQUENCES.items() if consequence.try_elsewhere
)

_BY_STATUS = {401: "auth", 402: "credit", 403: "auth", 404: "unknown_model", 408: "server", 409: "server", 412: "credit",
              413: "context_overflow", 424: "server", 425: "server", 429: "rate_limit"}  # fmt: skip
# How endpoints word it; none of them has a status of its own for it.
_OVERFLOW = re.compile(
    r"context.{0,20}(length|window|limit|size)|maximum context|prompt is too long|too many (input )?tokens",
    re.IGNORECASE,
)
_FILTER = re.compile(r"content.{0,5}(filter|policy)|moderation|responsible ai", re.IGNORECASE)


class InvalidOutput(AnswerError):
    """A complete answer that does not fit the schema of the request."""


class RejectedAnswer(AnswerError):
    """A complete answer that the check of a policy did not accept."""


class NotAnswered(ModelError):
    """No target of a policy gave an answer. `failures` are their errors in the order of the attempts, `decision` tells all of it."""

    def __init__(
        self, message: str, *, model: str, failures: tuple[ModelError, ...], decision: RoutingRecord
    ) -> None:
        self.failures = failures
        self.decision = decision
        last = failures[-1] if failures else None
        waits = [error.retry_after for error in failures if error.retry_after is not None]
        retryable = any(error.retryable for error in failures)
        status = None if last is None else last.status
        super().__init__(
            message,
            model=model,
            retryable=retryable,
            status=status,
            retry_after=min(waits) if waits else None,
        )


def classify_failure(error: ModelError) -> str:
    """The kind of a failure, from the table."""
    match error:
        case CircuitOpen():
            return "resting"
        case Throttled():
            return "throttled"
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
        case Truncated():
            return "malformed" if error.retryable else "output_limit"
        case Empty() | Unreadable():
            return "malformed"
        case NotAnswered():
            return classify_failure(error.failures[-1]) if error.failures else "resting"
        case _:
            return _by_status(error)


def _by_status(error: ModelError) -> str:
    said = str(error)
    status = None if error.status is None else meant_status(error.status, said)
    if status in _BY_STATUS:
        # A quota that is used up comes as 429 and does not pass with time.
        return "credit" if status == 429 and not error.retryable else _BY_STATUS[status]
    if status is not None and status >= 500:
        return "server"
    if isinstance(error, SchemaRefused):
        return "bad_request"
    if _OVERFLOW.search(said):
        return "context_overflow"
    if _FILTER.search(said):
        return "filtered"
    return "server" if error.retryable else "bad_request"


def build_rejection(
    response: Response, model: str, why: str, kind: type[AnswerError]
) -> AnswerError:
    """The error for a complete answer that is not taken; its text is in `partial`."""
    return kind(
        f"Model '{model}' answered, but {why}.",
        model=model,
        retryable=False,
        partial=response.text,
        usage=response.usage,
    )
