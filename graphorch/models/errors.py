"""Failures of a model call: one class for each kind that a program may want to distinguish.

ModelError              the endpoint refused (see `status`), or sent something other than an answer
├── Unreachable         nothing answered at the address
├── TimedOut            a limit on the time of the call was reached; `limit` names it
├── SchemaRefused       the endpoint does not take the schema of a structured output
├── ContextOverflow     the prompt is too long for this model; one with a larger context may take it
├── NoUsableAnswer      every model that was asked answered, and no answer can be used
└── AnswerError         a model answered, but the answer cannot be used; it was probably charged for
    ├── Truncated       cut off, by `max_tokens` or because the stream ended without its last event
    ├── Refused         the provider's filter or the model itself declined the prompt or the answer
    ├── Empty           complete, but without any text
    ├── Unreadable      not what the protocol promises: a web page, broken JSON, wrong types
    └── InvalidAnswer   not an instance of the requested output (in `structured_output`)
"""

from __future__ import annotations

from graphorch.errors import ModelError
from graphorch.models.messages import Usage


class Unreachable(ModelError):
    """Nothing answered at the endpoint's address, or the connection broke before the answer."""

    def __init__(self, message: str, *, model: str) -> None:
        super().__init__(message, model=model, retryable=True)


class TimedOut(ModelError):
    """A limit on the time of a call was reached.

    `limit` is `total`, `first token`, `between tokens`, `connect` or `read`.
    """

    def __init__(self, message: str, *, model: str, limit: str) -> None:
        self.limit = limit
        super().__init__(message, model=model, retryable=True)


class SchemaRefused(ModelError):
    """The endpoint refused the schema of a structured output; it may still follow one in words."""


class ContextOverflow(ModelError):
    """The prompt is too long for this model."""


class AnswerError(ModelError):
    """An answer cannot be used.

    `partial` is the text that arrived; `usage` is what the endpoint reported, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        model: str,
        retryable: bool,
        partial: str = "",
        usage: Usage | None = None,
        status: int | None = None,
    ) -> None:
        self.partial = partial
        self.usage = usage
        super().__init__(message, model=model, retryable=retryable, status=status)


class NoUsableAnswer(ModelError):
    """Every model that was asked for one call answered, and no answer can be used."""


class Truncated(AnswerError):
    """An answer is not complete: `partial` is only its beginning."""


class Refused(AnswerError):
    """A filter of the provider stopped the prompt or the answer, or the model declined.

    `status` is set if the prompt was refused: providers charge for its tokens all the same.
    """


class Empty(AnswerError):
    """An answer is complete and holds no text."""


class Unreadable(AnswerError):
    """An answer does not follow the protocol of the endpoint."""
