"""One call through a policy: rounds over the candidates, attempts, and the record of them. The rules it follows: `policies.py`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from pydantic import ValidationError

from graphorch.clock import Runtime
from graphorch.errors import InputError, ModelError, did_you_mean
from graphorch.models.budgets.budget import CapReached
from graphorch.models.client import OnText
from graphorch.models.decision import Attempt, RoutingRecord
from graphorch.models.decision import ConsideredTarget as Considered
from graphorch.models.errors import AnswerError
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.policies.circuit_breaker import RetryBudget, RetryRules, next_pause
from graphorch.models.policies.failure_kinds import (
    CONSEQUENCES,
    FAILOVER_KINDS,
    FAILURE_KINDS,
    InvalidOutput,
    NotAnswered,
    RejectedAnswer,
    build_rejection,
    classify_failure,
)
from graphorch.models.policies.hedging import Hedge, HedgeAllowance, race
from graphorch.models.policies.orderings import Ordering, Ranked
from graphorch.models.policies.target import Candidate, Unavailability

AnswerCheck: TypeAlias = Callable[[Request, Response], bool | Awaitable[bool]]
"""Whether an answer is good enough: a plain function, or one that asks a judge. What it raises ends the call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRules:
    """`on`: the kinds of failure (see `policies_failures.py`) that go on to the next candidate.

    `check` accepts answers; `trusts_last`: that of the last candidate is taken without. `attempt_timeout`: seconds for one attempt,
    so that one that hangs leaves time for another. `hedge`: a second copy of a slow call, to the next candidate.
    Raises `InputError` for a kind that does not exist.
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
            raise InputError(
                f"on: there is no failure '{unknown[0]}'. {did_you_mean(unknown[0], FAILURE_KINDS)}"
            )
        if self.attempt_timeout is not None and self.attempt_timeout <= 0:
            raise InputError(
                f"attempt_timeout={self.attempt_timeout!r}: it is in seconds, above 0."
            )


@dataclass(frozen=True, slots=True)
class PolicyState:
    """What all calls through one policy share."""

    name: str
    order: Ordering
    candidates: tuple[Candidate, ...]
    rules: PolicyRules
    runtime: Runtime
    retries: RetryBudget
    hedges: HedgeAllowance


@dataclass(frozen=True, slots=True)
class _Attempted:
    """A complete answer. One with a `flaw` is not taken; it cost money all the same."""

    candidate: Candidate
    response: Response
    began: float
    flaw: ModelError | None = None


class PolicyCall:
    """One call through a policy: what was tried so far and what that allows next."""

    def __init__(self, policy: PolicyState, request: Request, on_text: OnText | None) -> None:
        self._policy = policy
        self._rules = policy.rules
        self._clock = policy.runtime.clock
        self._request = request
        self._on_text = on_text
        self._began = self._clock()
        self._considered: dict[str, Considered] = {}
        self._tried: list[Attempt] = []
        self._failures: list[ModelError] = []
        self._last_failure: dict[str, ModelError] = {}
        self._asked: dict[str, int] = {}
        self._sent = 0  # requests of attempts that failed or were not taken
        self._excluded: set[str] = set()
        self._unused: list[_Attempted] = []
        self._note = ""

    async def run(self) -> Response:
        policy = self._policy
        policy.retries.count_call()
        policy.hedges.count_call()
        pause = 0.0
        for number in range(self._rules.retry.rounds):
            if number:
                wait = self._pause_before_next(pause)
                if wait is None:
                    break
                pause = wait
                await policy.runtime.sleep(wait)
            answer = await self._round()
            if answer is not None:
                return self._finished(answer)
            if self._note:
                break
        return self._last_resort()

    async def _round(self) -> _Attempted | None:
        """Ask one after the other until one answers; None if none did."""
        usable = self._usable(self._policy.order.rank(self._request, self._policy.candidates))
        waiting = list(usable)
        asked_before = len(self._tried)
        while waiting:
            candidate = waiting.pop(0)
            if self._passes_over(candidate):
                continue
            if not self._may_send():
                return None
            outcome = await self._attempt_with_hedge(candidate, waiting)
            if isinstance(outcome, _Attempted):
                return outcome
        return await self._probe(usable) if len(self._tried) == asked_before else None

    def _usable(self, ranked: Sequence[Ranked]) -> list[Candidate]:
        """The candidates that may still be asked, in order."""
        usable: list[Candidate] = []
        for item in ranked:
            name = item.candidate.name
            self._considered.setdefault(name, Considered(name, item.score, item.excluded))
            if item.excluded:
                self._excluded.add(name)
            if not item.excluded and self._may_ask_again(item.candidate):
                usable.append(item.candidate)
        return usable

    def _may_ask_again(self, candidate: Candidate) -> bool:
        failure = self._last_failure.get(candidate.name)
        if failure is None:
            return True
        return (
            CONSEQUENCES[classify_failure(failure)].retry_later
            and self._asked.get(candidate.name, 0) < candidate.attempts
        )

    def _passes_over(self, candidate: Candidate) -> bool:
        obstacle = self._obstacle(candidate)
        if obstacle is None:
            return False
        if candidate.name not in self._asked:
            self._considered[candidate.name] = replace(
                self._considered[candidate.name], skipped=obstacle.reason
            )
        return True

    def _may_send(self) -> bool:
        """Whether there is time, and for all but the first request leave."""
        left = self._time_left()
        if left is not None and left <= 0:
            self._note = "the time of the call was over"
        elif self._tried and not self._policy.retries.try_take():
            self._note = "the retry budget was used up"
        return not self._note

    async def _probe(self, usable: Sequence[Candidate]) -> _Attempted | None:
        """Nobody could be asked. If that is because they rest, ask the one that is due first."""
        resting = [
            (found.seconds, item)
            for item in usable
            if (found := self._obstacle(item)) and found.is_resting
        ]
        if not resting or not self._policy.retries.try_take():
            return None
        _, candidate = min(resting, key=lambda pair: pair[0])
        outcome = await self._attempt(candidate, self._on_text, early=True)
        return outcome if isinstance(outcome, _Attempted) else None

    async def _attempt_with_hedge(
        self, candidate: Candidate, others: list[Candidate]
    ) -> _Attempted | ModelError:
        hedge = self._rules.hedge
        backup = (
            None
            if hedge is None
            else next((other for other in others if self._obstacle(other) is None), None)
        )
        if hedge is None or backup is None:
            return await self._attempt(candidate, self._on_text)
        return await race(
            lambda hear: self._attempt(candidate, hear),
            lambda hear: self._attempt(backup, hear, is_hedge=True),
            on_text=self._on_text,
            wait=lambda: self._policy.runtime.sleep(hedge.after),
            may_start=lambda: self._may_hedge(backup, others),
            succeeded=lambda outcome: isinstance(outcome, _Attempted),
        )

    def _may_hedge(self, backup: Candidate, others: list[Candidate]) -> bool:
        """Whether the copy may be sent; then it is no longer one of those that wait to be asked."""
        payer = self._request.payer
        fits = payer is None or payer.fits(backup.worst_case(self._request))
        if not fits or self._obstacle(backup) is not None or not self._policy.hedges.try_take():
            return False
        others.remove(backup)
        return True

    async def _attempt(
        self,
        candidate: Candidate,
        on_text: OnText | None,
        *,
        early: bool = False,
        is_hedge: bool = False,
    ) -> _Attempted | ModelError:
        """One request to one candidate: its answer, or why there is none. Raises what no other candidate could avoid."""
        began = self._clock()
        time_left = self._attempt_time()
        request = (
            self._request
            if time_left == self._request.timeout
            else replace(self._request, timeout=time_left)
        )
        self._asked[candidate.name] = self._asked.get(candidate.name, 0) + 1
        try:
            response = await candidate.ask(request, on_text, early=early)
        except ModelError as error:
            self._record(candidate, began, None, error, is_hedge=is_hedge)
            self._sent += classify_failure(error) not in ("resting", "throttled")
            return self._failed(candidate, error)
        except CapReached as error:
            self._record(candidate, began, None, None, is_hedge=is_hedge, outcome="over budget")
            error.add_note(self._decision().text())
            raise
        except asyncio.CancelledError:
            self._record(candidate, began, None, None, is_hedge=is_hedge, outcome="cancelled")
            raise
        flaw = await self._flaw(candidate, request, response)
        self._record(candidate, began, response, flaw, is_hedge=is_hedge)
        answer = _Attempted(candidate, response, began, flaw)
        if flaw is not None:
            self._unused.append(answer)
            return self._failed(candidate, flaw)
        self._policy.order.observe(request, response)
        return answer

    def _failed(self, candidate: Candidate, failure: ModelError) -> ModelError:
        self._failures.append(failure)
        self._last_failure[candidate.name] = failure
        if classify_failure(failure) not in self._rules.on:
            failure.add_note(self._decision().text())
            failure.usd = self._lost() or None
            raise failure
        return failure

    async def _flaw(
        self, candidate: Candidate, request: Request, response: Response
    ) -> AnswerError | None:
        """Why a complete answer is not taken, or None."""
        if (
            request.schema is not None
            and not response.tool_calls
            and "invalid_output" in self._rules.on
        ):
            try:
                request.schema.model_validate_json(response.text)
            except ValidationError as error:
                why = f"its answer does not fit {request.schema.__name__}: {error.error_count()} problems"
                return build_rejection(response, candidate.name, why, InvalidOutput)
        check = self._rules.check
        if check is None or (self._rules.trusts_last and candidate is self._policy.candidates[-1]):
            return None
        verdict = check(request, response)
        if inspect.isawaitable(verdict):
            verdict = await verdict
        return (
            None
            if verdict
            else build_rejection(
                response,
                candidate.name,
                f"policy '{self._policy.name}' did not accept it",
                RejectedAnswer,
            )
        )

    def _record(
        self,
        candidate: Candidate,
        began: float,
        response: Response | None,
        failure: ModelError | None,
        *,
        is_hedge: bool,
        outcome: str = "",
    ) -> None:
        usage = (
            response.usage
            if response
            else failure.usage
            if isinstance(failure, AnswerError)
            else None
        )
        inner = (
            response.decision
            if response
            else failure.decision
            if isinstance(failure, NotAnswered)
            else None
        )
        self._tried.append(
            Attempt(
                target=candidate.name,
                outcome=outcome or ("ok" if failure is None else classify_failure(failure)),
                seconds=self._clock() - began,
                status=200 if response else failure.status if failure else None,
                first_token_seconds=response.first_token_seconds if response else None,
                input_tokens=usage.input_tokens if usage else None,
                output_tokens=usage.output_tokens if usage else None,
                usd=response.usd
                if response and response.usd_source != "none"
                else failure.usd
                if failure
                else None,
                usd_source=response.usd_source if response else "none",
                is_hedge=is_hedge,
                error=str(failure) if failure else "",
                inner=inner,
            )
        )

    def _finished(self, answer: _Attempted) -> Response:
        """The response as that of the whole call: with its failed attempts, the money for answers that were not taken, and the decision."""
        response = answer.response
        lead = answer.began - self._began
        first = response.first_token_seconds
        return replace(
            response,
            usage=_sum([response.usage, *(item.response.usage for item in self._unused)]),
            usd=response.usd + self._lost(),
            attempts=response.attempts
            + sum(item.response.attempts for item in self._unused)
            + self._sent,
            seconds=self._clock() - self._began,
            first_token_seconds=None if first is None else first + lead,
            decision=self._decision(answer.candidate.name),
        )

    def _last_resort(self) -> Response:
        """After the last attempt: an answer that only misses the schema, for the caller to repair, or the error that tells all of it."""
        invalid = [item for item in self._unused if isinstance(item.flaw, InvalidOutput)]
        if invalid:
            last = invalid[-1]
            self._unused.remove(last)
            note = "; ".join(
                filter(None, [last.response.note, "no target gave an answer that fits the schema"])
            )
            return self._finished(replace(last, response=replace(last.response, note=note)))
        decision = self._decision()
        said = (
            "; ".join(f"{attempt.target}: {attempt.outcome}" for attempt in self._tried)
            or self._all_skipped()
        )
        because = f" It stopped because {self._note}." if self._note else ""
        message = (
            f"Policy '{self._policy.name}' got no answer ({said}).{because} "
            "See the cause and `decision`; add a target of another provider, give the call more time, or wait."
        )
        error = NotAnswered(
            message, model=self._policy.name, failures=tuple(self._failures), decision=decision
        )
        error.usd = self._lost() or None
        raise error from (self._failures[-1] if self._failures else None)

    def _lost(self) -> float:
        """The dollars that were charged for answers that were not taken, and for attempts that gave none."""
        return sum(item.response.usd for item in self._unused) + sum(
            error.usd or 0.0 for error in self._failures
        )

    def _all_skipped(self) -> str:
        return "; ".join(
            f"{target.name} was not asked: {target.skipped}" for target in self._considered.values()
        )

    def _decision(self, answered_by: str = "") -> RoutingRecord:
        policy = self._policy
        considered, tried = tuple(self._considered.values()), tuple(self._tried)
        return RoutingRecord(
            policy=policy.name,
            kind=policy.order.kind,
            candidates=considered,
            attempts=tried,
            answered_by=answered_by,
            note=self._note,
        )

    def _pause_before_next(self, last: float) -> float | None:
        """Seconds to wait before another round, or None if there is no use in one."""
        waits: list[float] = []
        for candidate in self._policy.candidates:
            if candidate.name not in self._excluded and self._may_ask_again(candidate):
                obstacle, failure = (
                    self._obstacle(candidate),
                    self._last_failure.get(candidate.name),
                )
                asked_for = failure.retry_after if failure else None
                waits.append(max(obstacle.seconds if obstacle else 0.0, asked_for or 0.0))
        pause = max(
            next_pause(self._rules.retry, last, self._policy.runtime.random),
            min(waits, default=float("inf")),
        )
        left = self._time_left()
        if pause > self._rules.retry.patience or (left is not None and pause >= left):
            return None
        return pause

    def _obstacle(self, candidate: Candidate) -> Unavailability | None:
        return candidate.check_availability(self._request, self._attempt_time())

    def _time_left(self) -> float | None:
        return (
            None
            if self._request.timeout is None
            else self._request.timeout - (self._clock() - self._began)
        )

    def _attempt_time(self) -> float | None:
        """Seconds that an attempt may take from now on."""
        left, limit = self._time_left(), self._rules.attempt_timeout
        if left is None or limit is None:
            return limit if left is None else max(0.0, left)
        return max(0.0, min(left, limit))


def _sum(usages: Sequence[Usage]) -> Usage:
    if len(usages) == 1:
        return usages[0]
    return Usage(
        sum(usage.input_tokens for usage in usages), sum(usage.output_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages), any(usage.is_estimated for usage in usages),
    )  # fmt: skip
