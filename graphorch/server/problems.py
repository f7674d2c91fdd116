"""Errors of the API: problem details (RFC 9457) with a stable type, and what to do about it.

The status of a run is never an error of HTTP: a run that failed is a run, with status 200.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import ValidationError
from typing_extensions import TypedDict  # pydantic reads it, also on Python 3.11

from graphorch.errors import (
    Expired,
    GraphError,
    GraphorchError,
    InputError,
    InternalError,
    JournalError,
    QuestionClosed,
    ReplayDiverged,
    RunFailed,
)
from graphorch.journal.errors import (
    InvalidName,
    JournalDamaged,
    LeaseHeld,
    LeaseLost,
    RunErased,
    RunExists,
    RunNotFound,
    StoreClosed,
    StoreReplaced,
    StoreUnavailable,
    WrongKey,
)
from graphorch.text import escape_surrogates, explain_error

_logger = logging.getLogger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_TYPE: Final = "urn:graphorch:problem:"
_RETRY_SECONDS: Final = 1

# The first row whose class fits counts.
_BY_ERROR: Final[tuple[tuple[type[BaseException], int, str], ...]] = (
    (RunNotFound, 404, "run-not-found"),
    (InvalidName, 404, "run-not-found"),
    (RunErased, 410, "run-erased"),
    (RunExists, 409, "run-exists"),
    (LeaseHeld, 409, "run-held"),
    (LeaseLost, 409, "run-held"),
    (WrongKey, 409, "wrong-key"),
    (JournalDamaged, 409, "run-damaged"),
    (StoreReplaced, 503, "journal-replaced"),
    (StoreClosed, 503, "journal-closed"),
    (StoreUnavailable, 503, "journal-unavailable"),
    (JournalError, 409, "journal"),
    (QuestionClosed, 409, "question-closed"),
    (Expired, 410, "question-expired"),
    (ReplayDiverged, 409, "flow-does-not-fit"),
    (GraphError, 422, "graph"),
    (InputError, 422, "input"),
    (RunFailed, 409, "run-failed"),
    (InternalError, 500, "internal"),
    (GraphorchError, 409, "refused"),
)


class Mistake(TypedDict):
    """What is wrong with a value, and where: a JSON pointer (RFC 6901)."""

    where: str
    what: str


class Problem(Exception):
    """A request that is refused: its HTTP status, a name for programs, and a text for people.

    `extra` are further members of the problem, `headers` those of the response. A handler raises
    it.
    """

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        *,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.name = name
        self.detail = detail
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})

    def encode(self) -> bytes:
        """Return the problem as JSON."""
        members = {
            **self.extra,
            "type": f"{_TYPE}{self.name}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": escape_surrogates(self.detail),
        }
        return escape_surrogates(json.dumps(members, ensure_ascii=False)).encode()


def describe_error(error: Exception) -> Problem:
    """Return the problem that an exception of a handler is; one that is a bug is logged."""
    if isinstance(error, Problem):
        return error
    for kind, status, name in _BY_ERROR:
        if isinstance(error, kind):
            headers = {"retry-after": str(_RETRY_SECONDS)} if status == 503 else None
            return Problem(status, name, explain_error(error), headers=headers)
    _logger.error("A request failed: %s", type(error).__name__, exc_info=error)
    return Problem(
        500,
        "internal",
        f"The server failed with {type(error).__name__}. What happened is in its log; this is a "
        "mistake of graphorch, and nothing that the request could do better.",
    )


def describe_mistakes(error: ValidationError, where: str) -> Problem:
    """Return the problem of a body or query whose values do not fit, each with its place."""
    return refuse_mistakes(list_mistakes(error), where)


def list_mistakes(error: ValidationError, above: str = "") -> list[Mistake]:
    """Return what does not fit, each with its place below the JSON pointer `above`."""
    return [
        {"where": f"{above}{write_pointer(fault['loc'])}", "what": fault["msg"]}
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def refuse_mistakes(mistakes: Sequence[Mistake], where: str) -> Problem:
    """Return the problem of values that do not fit; there is one at least."""
    first = mistakes[0]
    place = first["where"] or "the whole"
    more = f" {len(mistakes) - 1} more are listed." if len(mistakes) > 1 else ""
    detail = f"The {where} does not fit at {place}: {first['what']}.{more}"
    return Problem(422, "input", detail, extra={"mistakes": list(mistakes)})


def write_pointer(place: Sequence[int | str]) -> str:
    """Return a place in a JSON value as a JSON pointer (RFC 6901)."""
    parts = [str(part).replace("~", "~0").replace("/", "~1") for part in place]
    return "".join(f"/{part}" for part in parts)
