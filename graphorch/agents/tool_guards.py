"""Guards over the tool calls of one loop: how often a tool is called, and calls that repeat.

Rules of this file:
1. A tool with `max_calls` runs at most so often in one loop. Further calls are not run, and the
   model is told.
2. A call repeats another one if tool and arguments are the same. If the last two gave the same
   result, the third is not run, and the model is told; a fourth ends the loop with `NoProgress`.
3. What may have changed the world begins the count anew: a new call, with arguments that were not
   used before, of a tool that is not "pure". A test that runs after each edit of a file is no
   repetition, although its result stays the same.
4. All counts follow from the calls and their results alone, so a conversation that is rebuilt from
   a journal has the counts that it had.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from graphorch.errors import ModelError
from graphorch.text import plural

_MOST_EQUAL = 2  # runs of one call with one result


class TooManyToolRounds(ModelError):
    """A model kept calling tools instead of answering."""


class NoProgress(TooManyToolRounds):
    """A model kept making one call of a tool, although it gives the same result each time."""


class CallKey(NamedTuple):
    """What makes two calls the same: the name of the tool, and its arguments as canonical text."""

    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class CallResult:
    """What the model read about a call that was not refused as a repetition.

    `shown` is the part of the text that it sees. `ran` is False if it read what is wrong with
    the call instead, and `is_pure` if running it changes nothing.
    """

    key: CallKey
    text: str
    shown: str
    ran: bool
    is_pure: bool


@dataclass(slots=True)
class Repeats:
    """How often a call gave its last result, and whether the model knows that it repeats."""

    digest: str
    shown: str
    times: int
    epoch: int
    is_told: bool = False


class CallGuard:
    """Counts the calls of one loop, round by round."""

    def __init__(self) -> None:
        self._runs: Counter[str] = Counter()
        self._repeats: dict[CallKey, Repeats] = {}
        self._epoch = 0  # number of rounds that may have changed the world

    def open_round(self) -> RoundGuard:
        """Return what decides which calls of the next round run."""
        return RoundGuard(self)

    def count_runs(self, tool: str) -> int:
        """Return how many calls of a tool ran."""
        return self._runs[tool]

    def find_repeats(self, key: CallKey) -> Repeats | None:
        """Return the equal results that a call gave last, if the world is still the same."""
        repeats = self._repeats.get(key)
        return repeats if repeats is not None and repeats.epoch == self._epoch else None

    def close_round(self, results: Sequence[CallResult], refused: Sequence[CallKey]) -> None:
        """Count the results of a round, in call order, and the repetitions that were refused."""
        if any(self._changes_world(result) for result in results):
            self._epoch += 1
        for result in results:
            self._count(result)
        for key in refused:
            repeats = self.find_repeats(key)
            if repeats is not None and repeats.times >= _MOST_EQUAL:
                repeats.is_told = True

    def _changes_world(self, result: CallResult) -> bool:
        return result.ran and not result.is_pure and result.key not in self._repeats

    def _count(self, result: CallResult) -> None:
        if result.ran:
            self._runs[result.key.tool] += 1
        encoded = result.text.encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(encoded, digest_size=16).hexdigest()
        earlier = self.find_repeats(result.key)
        if earlier is not None and earlier.digest == digest:
            earlier.times += 1
        else:
            self._repeats[result.key] = Repeats(digest, result.shown, 1, self._epoch)


class RoundGuard:
    """Decides which calls of one round run, in call order."""

    def __init__(self, guard: CallGuard) -> None:
        self._guard = guard
        self._planned: Counter[CallKey] = Counter()
        self._planned_runs: Counter[str] = Counter()

    def is_endless(self, key: CallKey) -> bool:
        """Return whether the model read in an earlier round that this call repeats."""
        repeats = self._guard.find_repeats(key)
        return repeats is not None and repeats.is_told

    def find_repetition(self, key: CallKey) -> str | None:
        """Return what the model reads instead of a call that repeats; None if it does not.

        Calls of one round have no results yet: of equal ones, the first two may run.
        """
        repeats = self._guard.find_repeats(key)
        times = repeats.times if repeats is not None else 0
        if times + self._planned[key] < _MOST_EQUAL:
            self._planned[key] += 1
            return None
        if repeats is None or times < _MOST_EQUAL:
            return f"Not run: '{key.tool}' is called with the same arguments often enough by now."
        return (
            f"Not run: '{key.tool}' was called with these arguments before, and gave the same "
            "result each time. Work with that result, change the arguments, or answer. The result "
            f"was:\n{repeats.shown}"
        )

    def find_excess(self, tool: str, most: int | None) -> str | None:
        """Return what the model reads if a tool ran often enough; None if the call may run."""
        if most is None:
            return None
        if self._guard.count_runs(tool) + self._planned_runs[tool] >= most:
            return (
                f"Not run: '{tool}' may be called {plural(most, 'time')}, and it was. Go on "
                "without it."
            )
        self._planned_runs[tool] += 1
        return None
