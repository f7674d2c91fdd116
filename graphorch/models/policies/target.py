"""One place that answers model calls: a client and a model's name, with its health, its limits, its price and its speed.

What a call passes on its way: the circuit breaker, the reservation, the turn at the limits, the client. The reservation comes before the
turn, so that who waits for money holds no place that somebody else could use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from graphorch.clock import Runtime
from graphorch.errors import ModelError
from graphorch.models.budgets.budget import Account, Amount
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.messages import Request, Response, Usage, estimate_usage
from graphorch.models.policies.circuit_breaker import BreakerRules, CircuitBreaker, CircuitOpen
from graphorch.models.policies.failure_kinds import CONSEQUENCES, classify_failure
from graphorch.models.policies.latency import LatencyModel, LatencyRules
from graphorch.models.policies.rate_limiter import RateLimiter, RateLimits
from graphorch.models.pricing.metering import (
    CallMeter,
    MeteredCall,
    NoPrices,
    PriceLookup,
    PricingTerms,
)


@dataclass(frozen=True, slots=True)
class Unavailability:
    """Why a candidate is not asked now, and for how many seconds that holds. `is_resting`: only its circuit breaker says so."""

    reason: str
    seconds: float
    is_resting: bool = False


class Candidate(Protocol):
    """What a policy chooses among: a target, or another policy."""

    @property
    def name(self) -> str:
        """Its name in decisions and messages."""
        ...

    @property
    def latency(self) -> LatencyModel:
        """What is known about its speed."""
        ...

    @property
    def attempts(self) -> int:
        """How often it may be asked for one call."""
        ...

    def check_availability(
        self, request: Request, time_left: float | None
    ) -> Unavailability | None:
        """Why not to ask it now, with so many seconds left, or None."""
        ...

    def estimate_usd(self, request: Request, output_tokens: float) -> float | None:
        """Dollars that an answer of that length would cost, or None."""
        ...

    def worst_case(self, request: Request) -> Amount:
        """The bound on what one request can come to, at the dearest target that it can reach."""
        ...

    def check_payable(self, payer: Account) -> None:
        """Raise `InputError` if it can reach a model whose calls have no bound under a cap of the payer."""
        ...

    async def ask(
        self, request: Request, on_text: OnText | None = None, *, early: bool = False
    ) -> Response:
        """The answer. `early`: ask even if it rests, as a probe."""
        ...

    async def aclose(self) -> None:
        """Close what it holds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRules:
    """How one target charges and what it allows. `attempts`: how often one call may ask it; 1 where a gateway repeats by itself."""

    terms: PricingTerms = field(default_factory=PricingTerms)
    limits: RateLimits = field(default_factory=RateLimits)
    breaker: BreakerRules = field(default_factory=BreakerRules)
    latency: LatencyRules = field(default_factory=LatencyRules)
    attempts: int = 2


class Target:
    """A `ModelClient` for one model of one client. `model` is its name there; without it, the request's own."""

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
        self.latency = LatencyModel(rules.latency)
        self.breaker = CircuitBreaker(rules.breaker, clock=runtime.clock)
        self.limiter = RateLimiter(name, rules.limits, runtime)
        self.meter = CallMeter(prices or NoPrices(), rules.terms)
        self._model = model
        self._client = client

    def __repr__(self) -> str:
        return f"Target({self.name!r}, {self._client!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """The answer. Raises `ModelError` (`CircuitOpen` and `Throttled` if it was not sent), `CapReached`, or `InputError`."""
        return await self.ask(request, on_text)

    async def ask(
        self, request: Request, on_text: OnText | None = None, *, early: bool = False
    ) -> Response:
        """The same, even while the target rests, if no other probe is on its way."""
        request = self._addressed(request)
        bill = self.meter.bill(request)
        permit = self.breaker.admit(early=early)
        if permit is None:
            raise CircuitOpen(self.name, self.breaker.seconds_to_probe or 0.0)
        verdict: bool | None = None
        self.latency.pending += 1
        try:
            response = await self._send(bill, on_text)
            verdict = True
        except ModelError as error:
            verdict = self._learn(error) if bill.is_sent else None
            raise
        finally:
            self.latency.pending -= 1
            permit.close(verdict)
        self.latency.observe(request, response)
        return response

    async def aclose(self) -> None:
        """Close the client."""
        await close(self._client)

    def check_availability(
        self, request: Request, time_left: float | None
    ) -> Unavailability | None:
        """Why not to ask it now, with so many seconds left, or None."""
        if self.breaker.refuses:
            seconds = self.breaker.seconds_to_probe or 0.0
            return Unavailability(
                f"its circuit is open for {seconds:.0f} s" if seconds else "a probe is on its way",
                seconds,
                is_resting=True,
            )
        pause = self.limiter.blocked_for
        if pause > 0:
            return Unavailability(f"it asked to be left alone for another {pause:.1f} s", pause)
        first = None if time_left is None else self.latency.predict_first_token(request)
        if first is not None and time_left is not None and first > time_left:
            return Unavailability(
                f"its first token takes about {first:.1f} s, and {time_left:.1f} s are left",
                float("inf"),
            )
        return None

    def estimate_usd(self, request: Request, output_tokens: float) -> float | None:
        """Dollars that an answer of that length would cost, or None."""
        usage = Usage(estimate_usage(request, "").input_tokens, round(output_tokens))
        return self.meter.cost(self._model or request.model, usage)

    def worst_case(self, request: Request) -> Amount:
        """The bound on what one request can come to."""
        return self.meter.worst(self._addressed(request))

    def check_payable(self, payer: Account) -> None:
        """Raise `InputError` if a call has no bound under a cap of the payer."""
        if self._model is not None:
            self.meter.check_payable(self._model, payer)

    def _addressed(self, request: Request) -> Request:
        return (
            request if self._model in (None, request.model) else replace(request, model=self._model)
        )

    async def _send(self, bill: MeteredCall, on_text: OnText | None) -> Response:
        timeout = bill.request.timeout
        tokens = self._tokens(bill.request) if self.limiter.counts_tokens else 0
        scope = asyncio.timeout(timeout)
        try:
            async with scope, bill, self.limiter.turn(tokens, timeout) as turn:
                bill.is_sent = True
                response = bill.paid(await self._client.complete(bill.request, on_text))
                turn.settle(response.usage.input_tokens + response.usage.output_tokens)
                return response
        except TimeoutError:
            if not scope.expired():
                raise
            failure = bill.late("total")
        raise failure

    def _tokens(self, request: Request) -> int:
        """What to take from the tokens per minute: providers count the limit on the output, not the output."""
        return estimate_usage(request, "").input_tokens + (
            request.max_tokens or self.meter.terms.max_output
        )

    def _learn(self, error: ModelError) -> bool:
        """Whether the target works as far as this failure shows; a request that any target would refuse shows that it does."""
        kind = classify_failure(error)
        if kind == "rate_limit" and error.retry_after is not None:
            self.limiter.block(error.retry_after)
        if CONSEQUENCES[kind].blames_target:
            self.latency.observe_failure()
        return not CONSEQUENCES[kind].blames_target


def check_all_payable(candidates: Sequence[Candidate], payer: Account) -> None:
    """Raise `InputError` if one of them can reach a model without a bound under a cap of the payer."""
    if payer.has_cap("usd", "tokens"):
        for candidate in candidates:
            candidate.check_payable(payer)
