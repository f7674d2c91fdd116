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

import re
from dataclasses import dataclass

from graphorch.errors import ModelError
from graphorch.models.decision import RoutingRecord
from graphorch.models.errors import (
    AnswerError,
    ContextOverflow,
    Empty,
    Refused,
    SchemaRefused,
    TimedOut,
    Truncated,
    Unreachable,
    Unreadable,
)
from graphorch.models.messages import Response
from graphorch.models.openai.errors import correct_status
from graphorch.models.policies.circuit_breaker import CircuitOpen
from graphorch.models.policies.rate_limiter import Throttled


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

_BY_STATUS = {
    401: "auth",
    402: "credit",
    403: "auth",
    404: "unknown_model",
    408: "server",
    409: "server",
    412: "credit",
    413: "context_overflow",
    424: "server",
    425: "server",
    429: "rate_limit",
}
# Codes of endpoints, in lower case and without separators, by the kind that they mean. Codes that
# stand for several kinds, such as `invalid_request_error`, are not among them. Sources: the error
# references of OpenAI, Azure OpenAI, Anthropic, Gemini, Bedrock, Mistral, DashScope, Zhipu, Groq,
# llama.cpp and LiteLLM (2026-11).
_CODES = {
    "context_overflow": """
        contextlengthexceeded contextwindowexceeded contextwindowexceedederror
        modelcontextwindowexceeded exceedcontextsizeerror requesttoolarge stringabovemaxlength
        contexttoolong prompttoolong inputtoolong tokenlimitexceeded maxtokensexceeded 1261
    """,
    "filtered": """
        contentfilter contentfiltered contentfiltererror contentpolicyviolation
        contentpolicyviolationerror responsibleaipolicyviolation moderationblocked moderationerror
        guardrailintervened datainspectionfailed prohibitedcontent safety recitation blocklist spii
        invalidprompt sensitivecontent unsafecontent 1301
    """,
    "rate_limit": """
        ratelimitexceeded ratelimiterror toomanyrequests throttlingexception throttling
        resourceexhausted 1302 1305
    """,
    "credit": """
        insufficientquota billinghardlimitreached billingnotactive insufficientbalance
        insufficientcredits arrearage quotaexhausted 1113
    """,
    "auth": """
        invalidapikey authenticationerror unauthenticated permissiondenied permissionerror
        accessdeniedexception unrecognizedclientexception
    """,
    "unknown_model": """
        modelnotfound deploymentnotfound notfounderror modelnotexist unknownmodel 1211
    """,
    "server": """
        servererror internalservererror internalerror internalfailure overloadederror overloaded
        modeloverloaded serviceunavailable serviceunavailableexception unavailable
        modelnotreadyexception modeltimeoutexception modelerrorexception
    """,
}
_BY_CODE = {code: kind for kind, codes in _CODES.items() for code in codes.split()}
# Kinds whose words and codes go before the status: they come with 400, and with 403, 413, 422, 500.
_SPOKEN = ("context_overflow", "filtered")
# Words of endpoints for failures that have no status of their own.
_OVERFLOW = re.compile(
    r"context.{0,20}(length|window|limit|size)|maximum (context|prompt|input)"
    r"|(prompt|input|request|message|text)s? (is|are|was) too (long|large)"
    r"|(prompt|input|request) (length |tokens? |size )*(exceeds|is over)"
    r"|(input|prompt) token count.{0,20}exceeds|token length too long|range of input length"
    r"|too many (input |prompt )tokens|reduce (the length|your prompt)",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(r"request too large", re.IGNORECASE)
_FILTER = re.compile(
    r"content.{0,5}(filter|policy|management policy)|moderation|responsible ?ai"
    r"|violat\w+ (our |the )?(usage|content|safety)|usage (guidelines|policies)"
    r"|safety (system|filter)|(inappropriate|prohibited) content|flagged (as|by|for)"
    r"|considered high risk|guardrail",
    re.IGNORECASE,
)


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
    by_code = _find_kind_of_code(error.codes)
    # 1. What a model that takes longer or other prompts would answer.
    if by_code in _SPOKEN:
        return by_code
    if status == 429:
        # A request above the limit of a minute is refused however long it waits. A quota that is
        # used up does not pass with time either.
        if _TOO_LARGE.search(text):
            return "context_overflow"
        return "rate_limit" if error.retryable else "credit"
    if status in (None, 400, 403, 413, 422, 500) and not isinstance(error, SchemaRefused):
        if _OVERFLOW.search(text):
            return "context_overflow"
        if _FILTER.search(text):
            return "filtered"
    # 2. The status, where it says enough, then the code.
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if by_code:
        return by_code
    if status is not None and status >= 500:
        return "server"
    # 3. The guess of the client.
    return "server" if error.retryable else "bad_request"


def _find_kind_of_code(codes: frozenset[str]) -> str:
    """Return the kind that codes mean, the first in the order of `_CODES`; "" if none does."""
    kinds = {_BY_CODE[code] for code in codes if code in _BY_CODE}
    return next((kind for kind in _CODES if kind in kinds), "")


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
