"""Letters to a run: answers, signals and other requests that came from outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from graphorch.journal.records import Letter

LetterOutcome: TypeAlias = Literal["pending", "taken", "refused"]


@dataclass(frozen=True, slots=True)
class LetterRow:
    """A letter in the mailbox of a run, which its owners take in by rising `number`.

    `sent_at` is when it was stored, in seconds since 1970. A letter that was refused has the name
    of the `error`, and its `message`.
    """

    number: int
    kind: str
    sent_at: float
    outcome: LetterOutcome
    error: str
    message: str


def build_letter_rows(letters: Iterable[Letter]) -> list[LetterRow]:
    """Return a row for each letter."""
    return [
        LetterRow(
            number=letter.number,
            kind=letter.kind,
            sent_at=letter.sent_at,
            outcome=_name_outcome(letter),
            error=letter.outcome.error if letter.outcome else "",
            message=letter.outcome.message if letter.outcome else "",
        )
        for letter in letters
    ]


def _name_outcome(letter: Letter) -> LetterOutcome:
    if letter.outcome is None:
        return "pending"
    return "refused" if letter.outcome.error else "taken"
