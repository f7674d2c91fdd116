"""What can go wrong with a model call, beyond a plain `ModelError`: one class for each thing that a program may want to tell apart.

ModelError              the endpoint said no (its `status` says how), or spoke in a way that is no answer
├── Unreachable         nothing answered at that address
├── TimedOut            one of the limits on the call's time was reached; `limit` names which one
├── SchemaRefused       the endpoint does not take the schema of a structured output
└── AnswerError         a model answered and the answer is of no use; it was probably charged for: `usage`, `partial`
    ├── Truncated       cut off: by `max_tokens`, or because the stream ended without its last word
    ├── Refused         the provider's filter or the model itself declined
    ├── Empty           complete, but there is no text in it
    ├── Unreadable      not what the protocol promises: a web page, broken JSON, wrong types
    └── InvalidAnswer   not an instance of the output that was asked for (in `structured`)
"""

from __future__ import annotations

from graphorch.errors import ModelError
from graphorch.models.messages import Usage


class Unreachable(ModelError):
    """Nothing answered at the endpoint's address, or the connection broke before there was an answer."""

    def __init__(self, message: str, *, model: str) -> None:
        super().__init__(message, model=model, retryable=True)


class TimedOut(ModelError):
    """A limit on time was reached; `limit` is `total`, `first token`, `between tokens`, `connect` or `read`."""

    def __init__(self, message: str, *, model: str, limit: str) -> None:
        self.limit = limit
        super().__init__(message, model=model, retryable=True)


class SchemaRefused(ModelError):
    """The endpoint refused the schema of a structured output; it may still follow the schema when it is told in words."""


class AnswerError(ModelError):
    """An answer that is of no use. `partial` is the text that came, `usage` what the endpoint says it cost, if it said so."""

    def __init__(
        self,
        message: str,
        *,
        model: str,
        retryable: bool,
        partial: str = "",
        usage: Usage | None = None,
    ) -> None:
        self.partial = partial
        self.usage = usage
        super().__init__(message, model=model, retryable=retryable)


class Truncated(AnswerError):
    """The answer is not complete. Its part is in `partial` and must not be taken for the whole."""


class Refused(AnswerError):
    """The provider's filter stopped the answer, or the model declined."""


class Empty(AnswerError):
    """The answer is complete and holds no text."""


class Unreadable(AnswerError):
    """What came is not an answer in the protocol of the endpoint."""
