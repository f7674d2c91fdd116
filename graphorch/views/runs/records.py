"""The journal of a run as data: its records, with secrets hidden and long texts cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class CutText:
    """A text in a body that was cut: its place as a JSON pointer, and the characters it has.

    `url` is where the whole text is read, page by page.
    """

    pointer: str
    characters: int
    url: str


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A record; the `body` of an erased one is None.

    `fault` says how it differs from what its kind declares, "" if it does not.
    """

    seq: int
    kind: str
    body: Any
    is_erased: bool
    fault: str = ""
    cuts: list[CutText] = field(default_factory=list[CutText])


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Records after a number; `next` is the `after` of the page that follows, None on the last."""

    records: list[RecordRow]
    next: int | None
    seq: int


@dataclass(frozen=True, slots=True)
class TextPage:
    """A part of a long text: `text` begins at character `begin` of `characters` in all.

    `next` is the `begin` of the part that follows, None for the last one.
    """

    text: str
    begin: int
    characters: int
    next: int | None
