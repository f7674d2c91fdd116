"""Failures of a model call: one class for each kind that a program may want to distinguish.

ModelError              the endpoint refused (see its `status`), or sent something else than an answer
├── Unreachable         nothing answered at that address
├── TimedOut            one of the limits on the call's time was reached; `limit` names which one
├── SchemaRefused       the endpoint does not take the schema of a structured output
└── AnswerError         a model answered and the answer is of no use; it was probably charged for: `usage`, `partial`
    ├── Truncated       cut off: by `max_tokens`, or because the stream ended without its last word
    ├── Refused         the provider's filter or the model itself declined
    ├── Empty           complete, but there is no text in it
    ├── Unreadable      not what the protocol promises: a web page, broken JSON, wrong types
    └── InvalidAnswer   not an instance of the output that was asked for (in `structured_output`)
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
    """The endpoint refused the schema of a structured output; it may still follow it in words."""


class AnswerError(ModelError):
    """An answer is of no use.

    `partial` is the text that came, `usage` the tokens that the endpoint reported, if it did.
    """

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
    """An answer is not complete; `partial` holds a part and must not be taken for the whole."""


class Refused(AnswerError):
    """A filter of the provider stopped the answer, or the model declined."""


class Empty(AnswerError):
    """An answer is complete and holds no text."""


class Unreadable(AnswerError):
    """An answer does not follow the protocol of the endpoint."""
