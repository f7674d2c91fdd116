"""One call through a policy: rounds over the candidates, their attempts, and the record of both.

Theory of operation. A round asks the usable candidates in the order of the policy until one of
them answers. An attempt ends in one of three ways: an answer that is taken; a failure that lets
the next candidate try, which is returned; or a failure that no other candidate could avoid, which
is raised. After a round without an answer there is a pause and perhaps another round. `policy.py`
lists the rules that all policies share.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from graphorch.clock import Runtime
from graphorch.errors import InputError, ModelError, did_you_mean
from graphorch.models.budgets.budget import CapReached
from graphorch.models.budgets.charge import Receipt
from graphorch.models.client import OnText
from graphorch.models.decision import Attempt, RoutingRecord
from graphorch.models.errors import AnswerError
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.policies.call_record import AttemptNote, CallRecord
from graphorch.models.policies.failure_kinds import (
    FAILOVER_KINDS,
    FAILURE_KINDS,
    InvalidOutput,
    NotAnswered,
    RejectedAnswer,
    build_not_answered,
    build_rejection,
    classify_failure,
)
from graphorch.models.policies.hedging import Hedge, HedgeAllowance, race
from graphorch.models.policies.orderings import Ordering, Ranked
from graphorch.models.policies.retry_budget import RetryBudget, RetryRules, next_pause
from graphorch.models.policies.tally import AskTerms, CallTally
from graphorch.models.policies.target import Candidate, Unavailability
from graphorch.models.structured_output import find_problems
from graphorch.text import plural

AnswerCheck: TypeAlias = Callable[[Request, Response], bool | Awaitable[bool]]
"""Decide whether an answer is good enough: a plain function, or a coroutine that asks a judge.

An exception that it raises ends the call.
"""

_MOST_PROBLEMS = 3  # of an answer that are shown
_SHORTEST_DIFFERENCE = 1e-3  # seconds that are worth a new request, which takes longer to make
_SLOWER_THAN_USUAL = 2.0  # times the predicted wait, which a slow target gets at least
_LONGEST_WAIT = 60.0  # seconds without any answer that a call without a deadline waits


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRules:
    """Rules of one policy for failures, checks, time and retries.

    `on`: kinds of failure (the table in `failure_kinds.py`) after which the next candidate is
    asked. `check` accepts answers; `trusts_last` takes the answer of the last candidate without a
    check. `attempt_timeout`: seconds for one attempt, so that a target that hangs leaves time for
    another; without it, half of the time that is left, while there is another. `hedge`: send a
    second copy of a slow call to the next candidate.

    Raises `InputError` for a kind that does not exist and for a timeout that is not above 0.
    """

    on: frozenset[str] = FAILOVER_KINDS
    check: AnswerCheck | None = None
    trusts_last: bool = False
    attempt_timeout: float | None = None
    retry: RetryRules = field(default_factory=RetryRules)
    hedge: Hedge | None = None

    def __post_init__(self) -> None:
        unknown = sorted(self.on - set(FAILURE_KINDS))
        if unknown:
            hint = did_you_mean(unknown[0], FAILURE_KINDS)
            raise InputError(f"on: there is no failure '{unknown[0]}'. {hint}")
        if self.attempt_timeout is not None and self.attempt_timeout <= 0:
            raise InputError(
                f"attempt_timeout={self.attempt_timeout!r}: it is in seconds, above 0."
            )


@dataclass(frozen=True, slots=True)
class PolicyState:
    """State that all calls through one policy share."""

    name: str
    order: Ordering
    candidates: tuple[Candidate, ...]
    rules: PolicyRules
    runtime: Runtime
    retries: RetryBudget
    hedges: HedgeAllowance
    usable: tuple[Candidate, ...]  # those that the order never leaves out


@dataclass(frozen=True, slots=True)
class _Attempted:
    """A complete answer. An answer with a `flaw` is discarded, but it was paid for all the same."""

    candidate: Candidate
    response: Response
    began: float
    flaw: ModelError | None = None


class PolicyCall:
    """One call through a policy: what was tried so far, and what may be tried next.

    With the tally of another policy's call in `terms`, the candidates are gone through once,
    without a pause: the policy that the call names decides about another round.
    """

    def __init__(
        self,
        policy: PolicyState,
        request: Request,
        on_text: OnText | None,
        terms: AskTerms,
    ) -> None:
        self._policy = policy
        self._rules = policy.rules
        self._clock = policy.runtime.clock
        self._request = request
        self._on_text = on_text
        self._is_outermost = terms.tally is None
        self._tally = terms.tally or CallTally(policy.retries, self._rules.retry.rounds)
        whole = terms.receipt or request.receipt or Receipt()
        self._receipt = whole.part()
        self._may_probe = self._is_outermost or terms.is_early
        self._patience = terms.patience
        self._began = self._clock()
        self._record = CallRecord(policy.name, policy.order.kind)
        self._failures: list[ModelError] = []
        self._discarded: list[_Attempted] = []
        self._stop_reason = ""

    # ---- rounds

    async def run(self) -> Response:
        """Return the first answer that is taken, with the record of how it came about.

        Raises as `Policy.complete` does.
        """
        self._policy.hedges.count_call()
        try:
            if self._is_outermost:
                self._policy.retries.count_call()
                answer = await self._run_rounds()
            else:
                answer = await self._run_round()
            if answer is not None:
                return self._build_response(answer)
            return self._finish_without_answer()
        except BaseException:
            if self._is_outermost and self._request.receipt is not None:
                self._request.receipt.decision = self._build_record()
            raise

    async def _run_rounds(self) -> _Attempted | None:
        """Go through the candidates until one answers, with a pause between two rounds.

        It ends when no target may be asked again: each has its requests in as many rounds as the
        rules say. A round in which a target rests, or refuses to be asked so often, is not one of
        its rounds.
        """
        has_no_deadline = self._request.timeout is None
        pause = waited = 0.0
        while True:
            self._tally.begin_round()
            answer = await self._run_round()
            if answer is not None or self._stop_reason or self._tally.is_out_of_budget:
                return answer
            if self._rules.retry.rounds == 1:
                return None
            next_pause = self._pause_before_next(pause)
            if next_pause is None or (has_no_deadline and waited + next_pause > _LONGEST_WAIT):
                return None
            pause, answers = next_pause, self._count_answers()
            await self._policy.runtime.sleep(pause)
            # While the targets answer other calls, the turn of this one will come.
            waited = waited + pause if self._count_answers() == answers else 0.0

    def _count_answers(self) -> int:
        return sum(candidate.answers for candidate in self._policy.usable)

    async def _run_round(self) -> _Attempted | None:
        """Ask the usable candidates in order until one answers; return None if none does."""
        ranking = self._policy.order.rank(self._request, self._policy.candidates)
        usable = self._select_usable(ranking)
        waiting = list(usable)
        requests_before = self._tally.requests
        while waiting:
            if self._is_out_of_time():
                return None
            candidate = waiting.pop(0)
            if self._skip_if_unavailable(candidate) or not self._tally.try_begin(candidate):
                continue
            # A hedge takes its candidate out of `waiting`: no candidate is asked twice in a round.
            outcome = await self._attempt_with_hedge(candidate, waiting)
            if isinstance(outcome, _Attempted):
                return outcome
        if self._may_probe and self._tally.requests == requests_before:
            return await self._probe_resting(usable)
        return None

    def _select_usable(self, ranking: Sequence[Ranked]) -> list[Candidate]:
        """Return the candidates that may still be asked, in order, and note all for the record."""
        self._record.consider(ranking)
        return [
            ranked.candidate
            for ranked in ranking
            if not ranked.excluded and self._tally.may_ask(ranked.candidate)
        ]

    def _skip_if_unavailable(self, candidate: Candidate) -> bool:
        unavailability = self._check_availability(candidate)
        if unavailability is None:
            return False
        # A candidate that was asked in an earlier round was not skipped: its attempts tell enough.
        if not self._tally.was_asked(candidate):
            self._record.skip(candidate.name, unavailability.reason)
        return True

    def _is_out_of_time(self) -> bool:
        left, patience = self._time_left(), self._patience_left()
        if (left is not None and left <= 0) or (patience is not None and patience <= 0):
            self._stop_reason = "the time of the call was over"
        return bool(self._stop_reason)

    async def _probe_resting(self, usable: Sequence[Candidate]) -> _Attempted | None:
        """Ask the resting candidates one after the other, since no other could be asked at all.

        An early probe is the only way out when every circuit is open. First comes the one whose
        last probe is longest ago: of two, one may stay down.
        """
        resting: list[tuple[float, float, Candidate]] = []
        for candidate in usable:
            reason = self._check_availability(candidate)
            if reason is not None and reason.probe_in == 0:
                resting.append((reason.probed_at, reason.seconds, candidate))
        for _, _, candidate in sorted(resting, key=lambda entry: entry[:2]):
            if self._is_out_of_time() or not self._tally.try_begin(candidate):
                return None
            outcome = await self._attempt(
                candidate, self._on_text, self._patience_left(), is_early=True
            )
            if isinstance(outcome, _Attempted):
                return outcome
        return None

    def _pause_before_next(self, last_pause: float) -> float | None:
        """Return the seconds to wait before another round, or None if a round is of no use.

        The pause lasts until the first candidate may be asked again, and never less than the
        backoff. No round follows if no candidate can recover, if the pause is longer than the
        rules are patient, or if it does not fit into the time that is left.
        """
        waits: list[float] = []
        for candidate in self._policy.usable:
            if not self._tally.may_ask_later(candidate):
                continue
            unavailability = self._check_availability(candidate)
            unavailable_for = 0.0
            if unavailability is not None:
                probe_in = unavailability.probe_in
                unavailable_for = unavailability.seconds if probe_in is None else probe_in
            waits.append(max(unavailable_for, self._tally.find_pause(candidate)))
        backoff = next_pause(self._rules.retry, last_pause, self._policy.runtime.random)
        pause = max(backoff, min(waits, default=float("inf")))
        left = self._time_left()
        if pause > self._rules.retry.patience or (left is not None and pause >= left):
            return None
        return pause

    def _check_availability(self, candidate: Candidate) -> Unavailability | None:
        return candidate.check_availability(self._request, self._attempt_time())

    def _time_left(self) -> float | None:
        if self._request.timeout is None:
            return None
        return self._request.timeout - (self._clock() - self._began)

    def _patience_left(self) -> float | None:
        """Return the seconds that the policy around this one waits for the first text."""
        return None if self._patience is None else self._patience - (self._clock() - self._began)

    def _find_patience(self, candidate: Candidate, others: Sequence[Candidate]) -> float | None:
        """Return the seconds to the first text (or the whole answer) of a candidate.

        That is half of what is left while another could be asked, but enough for a candidate that
        is known to be slow. None: all of the time of the attempt.
        """
        patience, left = self._patience_left(), self._time_left()
        limits = [limit for limit in (patience, left) if limit is not None]
        is_limited = not limits or self._rules.attempt_timeout is not None
        if is_limited or self._find_backup(others) is None:
            return patience
        share = min(limits) / 2
        if not candidate.latency.is_surely_below(share / _SLOWER_THAN_USUAL):
            is_streamed = self._on_text is not None
            predicted = candidate.latency.predict_wait(self._request, is_streamed=is_streamed)
            share = max(share, _SLOWER_THAN_USUAL * (predicted or 0.0))
        return min(*limits, share)

    def _attempt_time(self) -> float | None:
        """Return the seconds that an attempt may take if it begins now; None: without a limit."""
        left, limit = self._time_left(), self._rules.attempt_timeout
        if left is None:
            return limit
        if limit is None:
            return max(0.0, left)
        return max(0.0, min(left, limit))

    # ---- attempts

    async def _attempt_with_hedge(
        self, candidate: Candidate, others: list[Candidate]
    ) -> _Attempted | ModelError:
        hedge = self._rules.hedge
        backup = self._find_backup(others) if hedge is not None else None
        patience = self._find_patience(candidate, others)
        if hedge is None or backup is None:
            return await self._attempt(candidate, self._on_text, patience)
        return await race(
            lambda on_text: self._attempt(candidate, on_text, patience),
            lambda on_text: self._attempt(backup, on_text, self._patience_left(), is_hedge=True),
            on_text=self._on_text,
            wait=lambda: self._policy.runtime.sleep(hedge.after),
            may_start=lambda: self._take_backup(backup, others),
            succeeded=lambda outcome: isinstance(outcome, _Attempted),
        )

    def _find_backup(self, others: Sequence[Candidate]) -> Candidate | None:
        for candidate in others:
            if self._check_availability(candidate) is None:
                return candidate
        return None

    def _take_backup(self, backup: Candidate, others: list[Candidate]) -> bool:
        """Return whether the copy may be sent, and if so take its candidate out of `others`."""
        payer = self._request.payer
        is_affordable = payer is None or payer.fits(backup.worst_case(self._request))
        is_available = self._check_availability(backup) is None
        # The allowances come last: asking one uses it up.
        if not is_affordable or not is_available or not self._policy.hedges.try_take():
            return False
        if not self._tally.try_begin(backup):
            return False
        others.remove(backup)
        return True

    async def _attempt(
        self,
        candidate: Candidate,
        on_text: OnText | None,
        patience: float | None,
        *,
        is_early: bool = False,
        is_hedge: bool = False,
    ) -> _Attempted | ModelError:
        """Send one request to one candidate; return its answer or the reason for its failure.

        `patience`: seconds to its first text. Raises the failure if no other candidate could avoid
        it.
        """
        receipt = self._receipt.part(candidate.name, is_hedge=is_hedge)
        terms = AskTerms(self._tally, patience, is_early, receipt)
        began = self._clock()
        request = self._limit_time(self._request)
        note = AttemptNote(candidate.name, began, is_hedge)
        try:
            response = await candidate.ask(request, on_text, terms)
        except ModelError as error:
            receipt.blame(error)
            self._record.add_failure(note, self._clock(), error)
            return self._pass_on_failure(candidate, error)
        except CapReached as error:
            self._record.add_end(note, self._clock(), "over budget")
            error.add_note(self._build_record().text())
            raise
        except asyncio.CancelledError:
            self._record.add_end(note, self._clock(), "cancelled")
            raise
        flaw = await self._find_flaw(candidate, request, response)
        self._record.add_answer(note, self._clock(), response, flaw)
        answer = _Attempted(candidate, response, began, flaw)
        if flaw is not None:
            receipt.blame(flaw)
            self._discarded.append(answer)
            return self._pass_on_failure(candidate, flaw)
        self._policy.order.observe(request, candidate, response)
        return answer

    def _limit_time(self, request: Request) -> Request:
        timeout, limit = self._attempt_time(), request.timeout
        if timeout is not None and (limit is None or limit - timeout > _SHORTEST_DIFFERENCE):
            return replace(request, timeout=timeout)
        return request

    def _pass_on_failure(self, candidate: Candidate, failure: ModelError) -> ModelError:
        """Note a failure and return it; raise it if the next candidate is not to be asked."""
        self._failures.append(failure)
        self._tally.note_failure(candidate, failure)
        if classify_failure(failure) not in self._rules.on:
            failure.add_note(self._build_record().text())
            failure.usd = self._lost_usd() or None
            raise failure
        return failure

    async def _find_flaw(
        self, candidate: Candidate, request: Request, response: Response
    ) -> AnswerError | None:
        """Return the reason for discarding a complete answer, or None if it is good."""
        flaw = self._find_schema_flaw(candidate, request, response)
        if flaw is not None:
            return flaw
        check = self._rules.check
        is_last = candidate is self._policy.candidates[-1]
        if check is None or (self._rules.trusts_last and is_last):
            return None
        verdict = check(request, response)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        if verdict:
            return None
        reason = f"policy '{self._policy.name}' did not accept it"
        return build_rejection(response, candidate.name, reason, RejectedAnswer)

    def _find_schema_flaw(
        self, candidate: Candidate, request: Request, response: Response
    ) -> AnswerError | None:
        schema = request.schema
        # An answer that calls tools, if it may, is not the structured output yet.
        is_call = bool(response.tool_calls) and request.may_call_tools
        if schema is None or is_call or "invalid_output" not in self._rules.on:
            return None
        problems = find_problems(response.text, schema)
        if not problems:
            return None
        reason = (
            f"its answer does not fit {schema.__name__}: {'; '.join(problems[:_MOST_PROBLEMS])}"
        )
        return build_rejection(response, candidate.name, reason, InvalidOutput)

    # ---- the outcome

    def _build_response(self, answer: _Attempted) -> Response:
        """Return the answer as that of the whole call.

        Its figures include failed attempts and the cost of discarded answers; its times count from
        the beginning of the call.
        """
        response = answer.response
        discarded = [item.response for item in self._discarded]
        lead = answer.began - self._began
        first = response.first_token_seconds
        usd, note = self._count_usd(response)
        return replace(
            response,
            usage=_sum_usage([response.usage, *(item.usage for item in discarded)]),
            usd=usd,
            note=note,
            attempts=self._tally.sent if self._is_outermost else response.attempts,
            seconds=self._clock() - self._began,
            first_token_seconds=None if first is None else first + lead,
            decision=self._build_record(answer.candidate.name),
        )

    def _count_usd(self, response: Response) -> tuple[float, str]:
        """Return the dollars of the whole call, and the note of the answer.

        A request without a bill, such as that of a second copy that lost, counts here as it does in
        the budget that pays for it: at its worst case.
        """
        known = response.usd + self._lost_usd()
        if self._tally.sent < 2 or self._request.payer is None:
            return known, response.note
        charge = self._receipt.charge
        unpriced, booked = charge.unpriced, charge.booked_usd
        if not unpriced or booked <= known:
            return known, response.note
        requests = plural(unpriced, "request")
        note = f"{requests} without a bill, counted at the worst case: ${booked - known:.6f}"
        return booked, "; ".join(filter(None, [response.note, note]))

    def _finish_without_answer(self) -> Response:
        """Return an answer that only misses the schema, for the caller to repair, or raise."""
        invalid = [item for item in self._discarded if isinstance(item.flaw, InvalidOutput)]
        if not invalid:
            cause = self._failures[-1] if self._failures else None
            payer = self._request.payer
            seconds_left = None if payer is None else payer.seconds_left
            if payer is not None and seconds_left is not None and seconds_left <= 0:
                raise payer.build_time_error() from cause
            raise self._build_error() from cause
        last = invalid[-1]
        self._discarded.remove(last)  # it is the answer now, and not counted twice
        notes = [last.response.note, "no target gave an answer that fits the schema"]
        note = "; ".join(filter(None, notes))
        return self._build_response(replace(last, response=replace(last.response, note=note)))

    def _build_error(self) -> NotAnswered:
        name = self._policy.name
        decision = self._build_record()
        outcomes = _count_outcomes(decision.attempts)
        skipped = [
            f"{target.name} was not asked: {target.skipped}" for target in decision.candidates
        ]
        summary = "; ".join(outcomes or skipped)
        reason = f" It stopped because {decision.note}." if decision.note else ""
        if decision.kind == "direct":
            message = (
                f"Model '{name}' gave no answer ({summary}).{reason} "
                "See the cause, which says how to mend it."
            )
        else:
            message = (
                f"Policy '{name}' got no answer ({summary}).{reason} See the cause and `decision`; "
                "add a target of another provider, give the call more time, or wait."
            )
        failures = tuple(self._failures)
        error = build_not_answered(message, model=name, failures=failures, decision=decision)
        error.usd = self._lost_usd() or None
        return error

    def _build_record(self, answered_by: str = "") -> RoutingRecord:
        note = self._stop_reason
        if self._tally.is_out_of_budget and not note:
            note = "the retry budget was used up"
        return self._record.build(answered_by, note)

    def _lost_usd(self) -> float:
        """Return the dollars charged for discarded answers and for attempts without an answer."""
        discarded = sum(item.response.usd for item in self._discarded)
        return discarded + sum(error.usd or 0.0 for error in self._failures)


def _sum_usage(usages: Sequence[Usage]) -> Usage:
    if len(usages) == 1:
        return usages[0]
    return Usage(
        sum(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
        any(usage.is_estimated for usage in usages),
    )


def _count_outcomes(attempts: Sequence[Attempt]) -> list[str]:
    """Return how each attempt ended, with equal ones in a row as one: `a: rate_limit (3 times)`."""
    ended = [f"{attempt.target}: {attempt.outcome}" for attempt in attempts]
    groups = [(outcome, len(list(group))) for outcome, group in itertools.groupby(ended)]
    return [outcome if count == 1 else f"{outcome} ({count} times)" for outcome, count in groups]
