"""Lists that most runs never put anything into: nothing until there is something, since very many runs wait at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

T = TypeVar("T")


def append_to(to: Sequence[T], more: Iterable[T]) -> list[T]:
    """The same list with more at its end, or a first one in place of `()`."""
    if isinstance(to, list):
        to.extend(more)
        return to
    return [*to, *more]
