"""The record that a policy keeps of each call: what it considered, what it tried, what answered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConsideredTarget:
    """One place that a call could have gone to.

    The lowest `score` comes first; its meaning depends on the policy: a position, predicted
    seconds, dollars. None: the policy knows nothing about this candidate. `skipped` says why it was
    passed over, or is empty.
    """

    name: str
    score: float | None = None
    skipped: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request to one candidate.

    `outcome` is `ok` or the kind of failure; None means unknown. `usd` with its `usd_source` is the
    price of this attempt as far as it was reported; a budget may have booked more, see
    `Account.report`. `inner` is the record of the candidate itself, if that is a policy too.
    """

    target: str
    outcome: str
    seconds: float
    status: int | None = None
    first_token_seconds: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    usd_source: str = "none"
    is_hedge: bool = False
    error: str = ""
    inner: RoutingRecord | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingRecord:
    """One call through a policy: its candidates, its attempts, and which one answered.

    `answered_by` is empty if none did.
    """

    policy: str
    kind: str
    candidates: tuple[ConsideredTarget, ...]
    attempts: tuple[Attempt, ...]
    answered_by: str = ""
    note: str = ""

    def text(self, indent: str = "") -> str:
        """Return the record as text, with a line for each candidate and attempt."""
        outcome = f"answered by {self.answered_by}" if self.answered_by else "no answer"
        lines = [f"{indent}{self.policy} ({self.kind}): {outcome}"]
        lines += [f"{indent}  {_format_candidate(target)}" for target in self.candidates]
        for attempt in self.attempts:
            lines.append(f"{indent}  → {_format_attempt(attempt)}")
            if attempt.inner is not None:
                lines.append(attempt.inner.text(indent + "    "))
        if self.note:
            lines.append(f"{indent}  {self.note}")
        return "\n".join(lines)


def _format_candidate(candidate: ConsideredTarget) -> str:
    score = "unknown" if candidate.score is None else f"{candidate.score:.6g}"
    skipped = f", skipped: {candidate.skipped}" if candidate.skipped else ""
    return f"{candidate.name}: score {score}{skipped}"


def _format_attempt(attempt: Attempt) -> str:
    name = f"{attempt.target} (hedge)" if attempt.is_hedge else attempt.target
    parts = [f"{name}: {attempt.outcome} after {attempt.seconds:.3g} s"]
    if attempt.status is not None:
        parts.append(f"status {attempt.status}")
    if attempt.first_token_seconds is not None:
        parts.append(f"first token after {attempt.first_token_seconds:.3g} s")
    if attempt.output_tokens is not None:
        parts.append(f"{attempt.input_tokens} + {attempt.output_tokens} tokens")
    if attempt.usd is not None:
        parts.append(f"${attempt.usd:.6f} ({attempt.usd_source})")
    return ", ".join(parts)
