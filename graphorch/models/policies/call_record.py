"""The record of one call through a policy while it grows: candidates, attempts, and notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from graphorch.errors import ModelError
from graphorch.models.decision import Attempt, ConsideredTarget, RoutingRecord
from graphorch.models.errors import AnswerError
from graphorch.models.messages import Response
from graphorch.models.policies.failure_kinds import NotAnswered, classify_failure
from graphorch.models.policies.orderings import Ranked


@dataclass(frozen=True, slots=True)
class AttemptNote:
    """An attempt that has begun: whom it asks, since when, and whether it is a second copy."""

    target: str
    began: float
    is_hedge: bool


class CallRecord:
    """Record of one call. Mutable; `build` returns it as it is by then."""

    def __init__(self, policy: str, kind: str) -> None:
        self._policy = policy
        self._kind = kind
        self._considered: dict[str, ConsideredTarget] = {}
        self._attempts: list[Attempt] = []

    def consider(self, ranking: Sequence[Ranked]) -> None:
        """Note the candidates of a round, with the score of the first round that had them."""
        for ranked in ranking:
            name = ranked.candidate.name
            self._considered.setdefault(name, ConsideredTarget(name, ranked.score, ranked.excluded))

    def skip(self, name: str, reason: str) -> None:
        """Note why a candidate was not asked."""
        self._considered[name] = replace(self._considered[name], skipped=reason)

    def add_answer(
        self, note: AttemptNote, now: float, response: Response, flaw: ModelError | None
    ) -> None:
        """Add an attempt that brought a complete answer, which a `flaw` may make useless."""
        usage = response.usage
        self._attempts.append(
            Attempt(
                target=note.target,
                outcome="ok" if flaw is None else classify_failure(flaw),
                seconds=now - note.began,
                status=200,
                first_token_seconds=response.first_token_seconds,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                usd=None if response.usd_source == "none" else response.usd,
                usd_source=response.usd_source,
                is_hedge=note.is_hedge,
                error=str(flaw) if flaw is not None else "",
                inner=response.decision,
            )
        )

    def add_failure(self, note: AttemptNote, now: float, failure: ModelError) -> None:
        """Add an attempt that failed."""
        usage = failure.usage if isinstance(failure, AnswerError) else None
        self._attempts.append(
            Attempt(
                target=note.target,
                outcome=classify_failure(failure),
                seconds=now - note.began,
                status=failure.status,
                input_tokens=usage.input_tokens if usage else None,
                output_tokens=usage.output_tokens if usage else None,
                usd=failure.usd,
                is_hedge=note.is_hedge,
                error=str(failure),
                inner=failure.decision if isinstance(failure, NotAnswered) else None,
            )
        )

    def add_end(self, note: AttemptNote, now: float, outcome: str) -> None:
        """Add an attempt that ended without an answer or a failure of the target."""
        self._attempts.append(
            Attempt(
                target=note.target,
                outcome=outcome,
                seconds=now - note.began,
                is_hedge=note.is_hedge,
            )
        )

    def build(self, answered_by: str = "", note: str = "") -> RoutingRecord:
        """Return the record of the call so far."""
        return RoutingRecord(
            policy=self._policy,
            kind=self._kind,
            candidates=tuple(self._considered.values()),
            attempts=tuple(self._attempts),
            answered_by=answered_by,
            note=note,
        )
