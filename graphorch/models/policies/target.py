"""One model of one client, with its circuit breaker, rate limits, price and learnt latency.

A call passes, in this order: the circuit breaker, the reservation, the turn at the limits, the
client. The reservation comes before the turn, so that a call that waits for money holds no place
that another call could use.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from graphorch.clock import Runtime
from graphorch.errors import ModelError
from graphorch.models.budgets.budget import Account, Amount
from graphorch.models.client import ModelClient, OnText, close, prepare
from graphorch.models.errors import TimedOut
from graphorch.models.messages import Request, Response, Usage, estimate_input
from graphorch.models.policies.circuit_breaker import BreakerRules, CircuitBreaker, CircuitOpen
from graphorch.models.policies.failure_kinds import CONSEQUENCES, classify_failure
from graphorch.models.policies.latency import CallInFlight, LatencyModel
from graphorch.models.policies.rate_bucket import SharedLimits
from graphorch.models.policies.rate_limiter import RateLimiter, RateLimits, Turn
from graphorch.models.policies.rate_slices import SharedRates
from graphorch.models.policies.tally import NO_TERMS, AskTerms
from graphorch.models.pricing.metering import (
    CallMeter,
    MeteredCall,
    NoPrices,
    PriceLookup,
    PricingTerms,
)

_EXPECTED_OUTPUT = 256  # tokens of an answer without a limit, until it is there


@dataclass(frozen=True, slots=True)
class Unavailability:
    """Reason for not asking a candidate now, and the seconds for which it holds.

    `probe_in`: seconds until a caller that has no other candidate may probe it all the same, if its
    circuit breaker is the only reason; `probed_at` is the time of the last probe.
    """

    reason: str
    seconds: float
    probe_in: float | None = None
    probed_at: float = -math.inf


class Candidate(Protocol):
    """One of the places that a policy chooses among: a target, or another policy."""

    @property
    def name(self) -> str:
        """Name in decisions and messages."""
        ...

    @property
    def latency(self) -> LatencyModel:
        """Learnt speed of the candidate."""
        ...

    @property
    def attempts(self) -> int:
        """Requests that one call may send to it at most."""
        ...

    @property
    def answers(self) -> int:
        """Requests that it has answered so far, those of all calls."""
        ...

    @property
    def targets(self) -> Sequence[Target]:
        """Targets that it can reach; that of a target is itself."""
        ...

    def check_availability(
        self, request: Request, time_left: float | None
    ) -> Unavailability | None:
        """Return None if it may be asked now with that many seconds left, else the reason."""
        ...

    def estimate_usd(self, request: Request, usage: Usage) -> float | None:
        """Return the dollars of an answer with that usage; None if not known."""
        ...

    def worst_case(self, request: Request) -> Amount:
        """Return the bound on the cost of one request, at the dearest target that it can reach."""
        ...

    def check_payable(self, payer: Account) -> None:
        """Raise `InputError` if it can reach a model without a bound under a cap of the payer."""
        ...

    async def ask(
        self,
        request: Request,
        on_text: OnText | None = None,
        terms: AskTerms = NO_TERMS,
    ) -> Response:
        """Return the answer, or raise why there is none on these terms."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRules:
    """Charges and limits of one target.

    `attempts`: requests that one call may send to it; 1 where a gateway repeats by itself.
    `shared`: where the processes of this machine, or many machines, share its limits and pauses.
    """

    terms: PricingTerms = field(default_factory=PricingTerms)
    limits: RateLimits = field(default_factory=RateLimits)
    breaker: BreakerRules = field(default_factory=BreakerRules)
    shared: SharedLimits | SharedRates | None = None
    attempts: int = 2


class Target:
    """A `ModelClient` for one model of one client.

    `model` is its name there; without it, requests keep their own.
    """

    def __init__(
        self,
        name: str,
        client: ModelClient,
        *,
        model: str | None = None,
        rules: TargetRules | None = None,
        prices: PriceLookup | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        rules = rules or TargetRules()
        runtime = runtime or Runtime()
        self.name = name
        self.attempts = rules.attempts
        self.targets = (self,)
        self.answers = 0
        self.latency = LatencyModel(runtime.clock)
        self.breaker = CircuitBreaker(rules.breaker, clock=runtime.clock)
        self.limiter = RateLimiter(name, rules.limits, runtime, rules.shared)
        self.meter = CallMeter(prices or NoPrices(), rules.terms)
        self._model = model
        self._client = client

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self._client!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the answer.

        Raises `ModelError` (`CircuitOpen` or `Throttled` if the request was not sent), `CapReached`
        and `InputError`.
        """
        return await self.ask(request, on_text)

    async def ask(
        self,
        request: Request,
        on_text: OnText | None = None,
        terms: AskTerms = NO_TERMS,
    ) -> Response:
        """Return the answer as `complete` does, on the terms of a policy.

        An early request is sent even while the target rests, if no other probe is on its way.
        """
        turn = self.limiter.turn()
        request = replace(
            request,
            model=self._model or request.model,
            on_limits=turn.follow,
            receipt=terms.receipt or request.receipt,
        )
        bill = self.meter.open_call(request)
        permit = self.breaker.admit(early=terms.is_early)
        if permit is None:
            raise CircuitOpen(self.name, self.breaker.seconds_to_probe or 0.0)
        verdict: bool | None = None
        sent = 1
        call = self.latency.begin()
        try:
            response = await self._send(bill, turn, on_text, terms.patience)
            verdict, sent = True, response.attempts
            self.answers += 1
            self.latency.observe(request, response, call)
        except ModelError as error:
            # A request that was not sent says nothing about the target.
            if bill.is_sent:
                verdict = self._learn_from_failure(error, call)
            raise
        finally:
            self.latency.end(call)
            permit.close(verdict)
            if terms.tally is not None and bill.is_sent:
                terms.tally.sent += sent
        return response

    async def prepare(self) -> None:
        """Prepare the inner client."""
        await prepare(self._client)

    async def aclose(self) -> None:
        """Close the client."""
        await close(self._client)

    def check_availability(
        self, request: Request, time_left: float | None
    ) -> Unavailability | None:
        """Return None if it may be asked now with that many seconds left, else the reason."""
        if self.breaker.refuses:
            if self.breaker.is_probing:
                # its verdict may come at any time
                return Unavailability("a probe is on its way", 0.0)
            seconds = self.breaker.seconds_to_probe or 0.0
            reason = f"its circuit is open for {seconds:.0f} s"
            probe_in = min(seconds, self.breaker.seconds_to_early_probe)
            return Unavailability(reason, seconds, probe_in, self.breaker.probed_at)
        pause = self.limiter.blocked_for
        if pause > 0:
            return Unavailability(f"it asked to be left alone for another {pause:.1f} s", pause)
        if time_left is None or self.latency.is_surely_below(time_left):
            return None
        first = self.latency.predict_first_token(request)
        if first is None or first <= time_left:
            return None
        reason = f"its first token takes about {first:.1f} s, and {time_left:.1f} s are left"
        return Unavailability(reason, float("inf"))

    def estimate_usd(self, request: Request, usage: Usage) -> float | None:
        """Return the dollars of an answer with that usage; None if not known."""
        return self.meter.cost(self._model or request.model, usage)

    def worst_case(self, request: Request) -> Amount:
        """Return the bound on the cost of one request."""
        return self.meter.worst(self._address(request))

    def check_payable(self, payer: Account) -> None:
        """Raise `InputError` if a call has no bound under a cap of the payer."""
        if self._model is not None:
            self.meter.check_payable(self._model, payer)

    def _address(self, request: Request) -> Request:
        if self._model is None or self._model == request.model:
            return request
        return replace(request, model=self._model)

    async def _send(
        self, bill: MeteredCall, turn: Turn, on_text: OnText | None, patience: float | None
    ) -> Response:
        """Send a request in its turn, within its timeout and the patience of its policy."""
        timeout = bill.request.timeout
        limit = _choose_shorter(patience, timeout)
        scope = asyncio.timeout(limit)
        if on_text is not None and limit != timeout:
            on_text = _lift_at_first_text(on_text, scope, timeout)
        tokens = self._count_tokens(bill.request) if self.limiter.counts_tokens else 0
        try:
            async with scope, bill, turn.wait(tokens, limit):
                bill.send()
                try:
                    answer = await self._client.complete(bill.request, on_text)
                except ModelError as error:
                    if classify_failure(error) == "rate_limit":
                        turn.refuse(error.retry_after)
                    raise
                response = bill.add_price(answer)
                turn.settle(response.usage.input_tokens + response.usage.output_tokens)
                return response
        except TimeoutError:
            if not scope.expired():
                raise
            if limit == timeout or not bill.is_sent:
                failure = bill.build_timeout_error("total")
            else:
                failure = _build_impatience(bill.request.model, limit, is_streamed=bool(on_text))
        raise failure

    def _count_tokens(self, request: Request) -> int:
        """Return the tokens to take from the limit per minute.

        Providers count the limit on the output if there is one. Without it, more than is expected
        is charged afterwards.
        """
        return estimate_input(request) + (request.max_tokens or _EXPECTED_OUTPUT)

    def _learn_from_failure(self, error: ModelError, call: CallInFlight) -> bool | None:
        """Return whether the target works as far as this failure shows, or None.

        A request that any target would refuse shows that it does. One too many shows nothing but
        how fast the target may be asked.
        """
        kind = classify_failure(error)
        if kind == "rate_limit":
            return None
        blames_target = CONSEQUENCES[kind].blames_target
        if blames_target:
            self.latency.observe_failure(call)
        return not blames_target


def _choose_shorter(patience: float | None, timeout: float | None) -> float | None:
    """Return the shorter of two limits, of which None is none."""
    if patience is None or (timeout is not None and timeout < patience):
        return timeout
    return patience


def _lift_at_first_text(on_text: OnText, scope: asyncio.Timeout, timeout: float | None) -> OnText:
    """Return an `on_text` whose first piece gives the call all of its time."""
    deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
    is_first = True

    def listen(piece: str) -> None:
        nonlocal is_first
        if is_first and not scope.expired():
            scope.reschedule(deadline)
        is_first = False
        on_text(piece)

    return listen


def _build_impatience(model: str, seconds: float | None, *, is_streamed: bool) -> TimedOut:
    """Return the error for a target that took more than its part of the time of a call."""
    missed = "begin" if is_streamed else "finish"
    message = (
        f"Model '{model}' did not {missed} its answer within {seconds:.3g} s, which is its part of "
        "the time of the call while others may still be asked. Give the call more time, or the "
        "policy an attempt_timeout."
    )
    return TimedOut(message, model=model, limit="first token" if is_streamed else "total")


def check_all_payable(candidates: Sequence[Candidate], payer: Account) -> None:
    """Raise `InputError` if a candidate can reach a model without a bound under a cap."""
    if payer.has_cap("usd", "tokens"):
        for candidate in candidates:
            candidate.check_payable(payer)
