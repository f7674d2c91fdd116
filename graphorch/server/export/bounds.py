"""How much of a run one file holds. What is left out is counted, and the file says so."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ExportBounds:
    """The most that a file has of each part of a run.

    A run of more than `steps` records has its picture, and the reasons of single nodes, as of its
    end only; one of more than `states` its state. Of each part that comes in pages, and of the
    pictures and states, a file has about `characters` at most. Of a long text it has
    `text_characters`, and of all long texts `texts_characters`.
    """

    steps: int = 300
    states: int = 2_000
    characters: int = 16_000_000
    text_characters: int = 1_000_000
    texts_characters: int = 8_000_000
