"""Keeps answers of questions to the rows beside a journal, for as long as the rows stay the same.

A page asks for the same figures again and again: by another group, after a reload, in another tab.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, TypeVar, cast

from graphorch.trace.spans.index import SpanIndex

T = TypeVar("T")

_MOST: Final = 64  # answers that are kept; each has at most a few hundred rows


class KnownAnswers:
    """Answers by their question. Use it for one caller at a time, as the rows themselves."""

    def __init__(self) -> None:
        self._mark: int | None = None
        self._answers: OrderedDict[Hashable, object] = OrderedDict()

    def find(self, index: SpanIndex, name: Hashable, question: Callable[[SpanIndex], T]) -> T:
        """Return the answer of the question called `name`, which is asked if it is not known."""
        mark = index.find_mark()
        if mark != self._mark:
            self.clear()
            self._mark = mark
        if name not in self._answers:
            self._answers[name] = question(index)
            while len(self._answers) > _MOST:
                self._answers.popitem(last=False)
        self._answers.move_to_end(name)
        return cast("T", self._answers[name])

    def clear(self) -> None:
        """Forget all answers."""
        self._mark = None
        self._answers.clear()
