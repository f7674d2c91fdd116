"""The kinds of letters that reach a run from outside, and the fields of each."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, Literal, NotRequired, TypeAlias, cast

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic checks bodies by them, also on Python 3.11

from graphorch.journal.record_kinds import Seconds
from graphorch.journal.records import Letter

LetterKind: TypeAlias = Literal["answer", "signal", "cancel", "stop"]


class AnswerLetter(TypedDict):
    """Answer to a question; `at` is when it was given.

    `question` is the id of the activation that asks, and `path` its path. `notes` say how the
    answer is read, and are there if JSON does not say all about it. `by` names the request that
    brought it, if one did.
    """

    question: str
    path: str
    at: Seconds
    answer: Any
    notes: NotRequired[dict[str, Any]]
    by: NotRequired[str]


class SignalLetter(TypedDict):
    """Signal with a name, sent at a time; `key` says which of those that wait for it is meant.

    The other fields are those of an answer.
    """

    name: str
    key: str
    at: Seconds
    answer: Any
    notes: NotRequired[dict[str, Any]]


class CancelLetter(TypedDict):
    """Request to cancel the run for good.

    `undo` is there if it is False: what the run committed stays as it is.
    """

    undo: NotRequired[bool]


class StopLetter(TypedDict):
    """Request to stop the run: at once (`now`), or after what runs."""

    reason: str
    now: bool


LETTERS: Final[Mapping[LetterKind, type]] = {
    "answer": AnswerLetter,
    "signal": SignalLetter,
    "cancel": CancelLetter,
    "stop": StopLetter,
}


def read_letter_body(letter: Letter) -> dict[str, Any] | None:
    """Return the body of a letter, or None if it is not what its kind declares."""
    kind = cast("LetterKind", letter.kind)
    if letter.is_damaged or kind not in LETTERS:
        return None
    try:
        _adapter(kind).validate_python(letter.body, strict=True)
    except ValidationError:
        return None
    return cast("dict[str, Any]", letter.body)


@cache
def _adapter(kind: LetterKind) -> TypeAdapter[Any]:
    """Return the schema of a kind, made at its first use."""
    return TypeAdapter(LETTERS[kind])
