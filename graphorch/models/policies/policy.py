"""One call, several places that could answer it: which is asked, and who is asked next when it fails.

A policy is a `ModelClient`, and its candidates are targets or other policies. `fallback`, `weighted`, `cheapest`, `fastest` and `cascade`
make one; they differ in the order of the candidates only, everything else is the same for all:
- a failure goes on to the next candidate at once, without a pause; what never helps elsewhere is raised as it is;
- who rests (circuit open), asked to be left alone, or cannot answer in the time left, is passed over; if all of them rest, the one that
  is due first is probed nevertheless, since somebody has to be;
- after all have failed there may be another round, after a pause that is spread at random, and only with those that may have recovered;
- every request beyond the first of a call is taken from one retry budget, so that an outage is not answered with more load;
- no attempt begins after the time of the call, and each gets only the time that is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphorch.clock import Runtime
from graphorch.errors import InputError, ModelError
from graphorch.models.budgets.budget import Account, Amount
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response
from graphorch.models.policies.call import AnswerCheck, PolicyCall, PolicyRules, PolicyState
from graphorch.models.policies.circuit_breaker import RetryBudget
from graphorch.models.policies.hedging import HedgeAllowance
from graphorch.models.policies.latency import LatencyModel, LatencyRules
from graphorch.models.policies.orderings import (
    CheapestFirst,
    FastestFirst,
    ListedOrder,
    Ordering,
    WeightedOrder,
)
from graphorch.models.policies.target import Candidate, Unavailability, check_all_payable


class Policy:
    """A `ModelClient` that asks one of its candidates, and another if that fails. Safe for any number of calls at the same time."""

    def __init__(
        self,
        name: str,
        order: Ordering,
        candidates: Sequence[Candidate],
        *,
        rules: PolicyRules | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        if not candidates:
            raise InputError(f"Policy '{name}' has no targets. Give it at least one.")
        names = [candidate.name for candidate in candidates]
        twice = sorted({text for text in names if names.count(text) > 1})
        if twice:
            raise InputError(
                f"Policy '{name}' has the target '{twice[0]}' twice. Name each once; to try one again, raise its attempts."
            )
        self.name = name
        self.order = order
        self.candidates = tuple(candidates)
        rules, runtime = rules or PolicyRules(), runtime or Runtime()
        retries = RetryBudget(rules.retry, clock=runtime.clock)
        hedges = HedgeAllowance(rules.hedge.share if rules.hedge else 1.0)
        self._shared = PolicyState(name, order, self.candidates, rules, runtime, retries, hedges)
        self.latency = LatencyModel()
        self.attempts = 1

    def __repr__(self) -> str:
        return f"Policy({self.name!r}, {self.order.kind}, {[candidate.name for candidate in self.candidates]})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """The answer, with the `decision` that led to it.

        Raises `NotAnswered` if no candidate gives one, the failure itself if it is none that another candidate could avoid, `CapReached`
        if the budget does not cover the attempt that would be next, `InputError` before any request if a candidate cannot be paid for.
        """
        return await self.ask(request, on_text)

    async def ask(
        self, request: Request, on_text: OnText | None = None, *, early: bool = False
    ) -> Response:
        """The same; as the candidate of another policy it decides on early probes by itself."""
        if request.payer is not None:
            check_all_payable(self.candidates, request.payer)
        self.latency.pending += 1
        try:
            response = await PolicyCall(self._shared, request, on_text).run()
        except ModelError:
            self.latency.observe_failure()
            raise
        finally:
            self.latency.pending -= 1
        self.latency.observe(request, response)
        return response

    async def aclose(self) -> None:
        """Close every candidate."""
        for candidate in self.candidates:
            await candidate.aclose()

    def check_availability(
        self, request: Request, time_left: float | None
    ) -> Unavailability | None:
        """Why not to ask it now: every candidate has an obstacle, and this is the one that passes first."""
        found = [candidate.check_availability(request, time_left) for candidate in self.candidates]
        real = [unavailability for unavailability in found if unavailability is not None]
        return (
            min(real, key=lambda unavailability: unavailability.seconds)
            if len(real) == len(found)
            else None
        )

    def estimate_usd(self, request: Request, output_tokens: float) -> float | None:
        """Dollars that an answer of that length costs at the first candidate whose price is known."""
        prices = (candidate.estimate_usd(request, output_tokens) for candidate in self.candidates)
        return next((price for price in prices if price is not None), None)

    def worst_case(self, request: Request) -> Amount:
        """The bound on one request at the dearest candidate. A call may make several: each is reserved for by itself."""
        bounds = [candidate.worst_case(request) for candidate in self.candidates]
        return Amount(max(amount.usd for amount in bounds), max(amount.tokens for amount in bounds))

    def check_payable(self, payer: Account) -> None:
        """Raise `InputError` if one of the candidates can reach a model without a bound under a cap of the payer."""
        check_all_payable(self.candidates, payer)


def fallback(
    name: str,
    candidates: Sequence[Candidate],
    *,
    rules: PolicyRules | None = None,
    runtime: Runtime | None = None,
) -> Policy:
    """The first candidate that answers, in the order given."""
    return Policy(name, ListedOrder(), candidates, rules=rules, runtime=runtime)


def cascade(
    name: str,
    candidates: Sequence[Candidate],
    check: AnswerCheck,
    *,
    rules: PolicyRules | None = None,
    runtime: Runtime | None = None,
) -> Policy:
    """From cheap to dear: an answer is taken if the check accepts it, that of the last candidate in any case."""
    verified = replace(rules or PolicyRules(), check=check, trusts_last=True)
    return Policy(name, ListedOrder("cascade"), candidates, rules=verified, runtime=runtime)


def weighted(
    name: str,
    shares: Sequence[tuple[Candidate, float]],
    *,
    rules: PolicyRules | None = None,
    runtime: Runtime | None = None,
) -> Policy:
    """At random by weight; calls with an equal `metadata["sticky_key"]` stay together."""
    runtime = runtime or Runtime()
    order = WeightedOrder([weight for _, weight in shares], runtime.random)
    return Policy(name, order, [candidate for candidate, _ in shares], rules=rules, runtime=runtime)


def cheapest(
    name: str,
    rated: Sequence[tuple[Candidate, float]],
    *,
    floor: float = 0.0,
    rules: PolicyRules | None = None,
    runtime: Runtime | None = None,
) -> Policy:
    """The lowest price for the request among the candidates whose quality (any scale of yours) is at least the floor."""
    order = CheapestFirst([quality for _, quality in rated], floor)
    return Policy(name, order, [candidate for candidate, _ in rated], rules=rules, runtime=runtime)


def fastest(
    name: str, candidates: Sequence[Candidate], *, latency: LatencyRules | None = None, rules: PolicyRules | None = None,
    runtime: Runtime | None = None,
) -> Policy:  # fmt: skip
    """The shortest predicted time to the whole answer, learnt from the answers so far."""
    runtime = runtime or Runtime()
    return Policy(
        name,
        FastestFirst(latency or LatencyRules(), runtime.random),
        candidates,
        rules=rules,
        runtime=runtime,
    )
