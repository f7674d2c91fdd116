"""Requests of one call, counted over all policies that it passes, and the terms of each.

Rules of this file:
1. A target is asked at most once in a round, in at most as many rounds as the rules of the policy
   say that the call named, and at most as often as its own `attempts` say, however many policies of
   the call lead to it.
2. The first request to a target is free: moving on to a target that works adds no load to the one
   that failed. A request that repeats another one at the same target is taken from the retry budget
   of the policy that the call named.
3. A request that a target refused as one too many, or that was not sent at all, does not count: the
   limiter of the target spreads such requests over time.
4. A failure after which a target is of no use to this call holds in every policy of the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from graphorch.errors import ModelError
from graphorch.models.budgets.charge import Receipt
from graphorch.models.policies.failure_kinds import UNCOUNTED_KINDS, can_recover, classify_failure
from graphorch.models.policies.retry_budget import RetryBudget


class Askable(Protocol):
    """A target, or a policy that leads to several, as far as its requests are counted."""

    @property
    def attempts(self) -> int:
        """Requests that one call may send to it at most."""
        ...

    @property
    def answers(self) -> int:
        """Requests that it has answered so far, those of all calls."""
        ...

    @property
    def targets(self) -> Sequence[Askable]:
        """Targets that it can reach; that of a target is itself."""
        ...


@dataclass(frozen=True, slots=True)
class AskTerms:
    """Terms on which a policy asks one of its candidates.

    `tally` counts the requests of the call that this is part of. `patience`: seconds to the first
    text of a streamed answer, or to the whole of another. `is_early`: ask even if the candidate
    rests, as a probe. `receipt` collects what its requests are charged.
    """

    tally: CallTally | None = None
    patience: float | None = None
    is_early: bool = False
    receipt: Receipt | None = None


NO_TERMS = AskTerms()


class CallTally:
    """Tally of one call. Mutable; made by the policy that the call names."""

    def __init__(self, retries: RetryBudget, rounds: int) -> None:
        self._rounds = rounds
        self._retries = retries
        self._times_asked: dict[Askable, int] = {}
        self._asked_in_round: set[Askable] = set()
        self._last_failure: dict[Askable, ModelError] = {}
        self.requests = 0
        """Requests that the targets were asked for in all rounds."""
        self.sent = 0
        """Requests that went out, those of cancelled attempts included."""
        self.is_out_of_budget = False
        """Whether the retry budget has refused a request of this call."""

    def begin_round(self) -> None:
        """Let every target be asked once more."""
        self._asked_in_round.clear()

    def may_ask(self, candidate: Askable) -> bool:
        """Return whether a request to a candidate may follow in this round."""
        if not self._times_asked:
            return True
        return any(target not in self._asked_in_round for target in self._list_useful(candidate))

    def may_ask_later(self, candidate: Askable) -> bool:
        """Return whether a request to a candidate may follow in this round or a later one."""
        return bool(self._list_useful(candidate))

    def was_asked(self, candidate: Askable) -> bool:
        """Return whether a target of a candidate was asked."""
        return any(target in self._times_asked for target in candidate.targets)

    def try_begin(self, candidate: Askable) -> bool:
        """Count a request to a candidate; return False if the retry budget does not allow it.

        A policy is not counted: each of its targets is, when it is asked.
        """
        if candidate not in candidate.targets:
            return True
        is_repeat = self._times_asked.get(candidate, 0) > 0
        if is_repeat and not self._retries.try_take():
            self.is_out_of_budget = True
            return False
        self._times_asked[candidate] = self._times_asked.get(candidate, 0) + 1
        self._asked_in_round.add(candidate)
        self.requests += 1
        return True

    def note_failure(self, candidate: Askable, failure: ModelError) -> None:
        """Remember why a candidate did not answer."""
        self._last_failure[candidate] = failure
        if candidate in self._times_asked and classify_failure(failure) in UNCOUNTED_KINDS:
            self._times_asked[candidate] -= 1
            self.requests -= 1

    def find_pause(self, candidate: Askable) -> float:
        """Return the seconds until the first useful target of a candidate wants to be asked again.

        That is what the target asked for with its last failure.
        """
        pauses = (self._last_failure.get(target) for target in self._list_useful(candidate))
        return min(((failure and failure.retry_after) or 0.0 for failure in pauses), default=0.0)

    def _list_useful(self, candidate: Askable) -> list[Askable]:
        """Return the targets of a candidate that may still bring an answer."""
        if not self._may_recover(candidate):
            return []
        return [
            target
            for target in candidate.targets
            if self._times_asked.get(target, 0) < min(target.attempts, self._rounds)
            and self._may_recover(target)
        ]

    def _may_recover(self, candidate: Askable) -> bool:
        failure = self._last_failure.get(candidate)
        return failure is None or can_recover(failure)
