"""Policies: one call, several targets that can answer it, and another target after a failure.

A policy is a `ModelClient`, and its candidates are targets or other policies. `fallback`,
`weighted`, `cheapest`, `fastest` and `cascade` make one. They differ in the order of the
candidates only. Rules of all policies:
1. After a failure the next candidate is asked at once, without a pause. A failure that no other
   candidate could avoid is raised unchanged.
2. A candidate that rests (circuit open), asked for a pause, or cannot answer in the time left is
   passed over. If all of them rest, one after the other is probed early.
3. After all have failed there may be another round, after a pause that is spread at random, and
   only with those that may have recovered.
4. The first request to each target is free. Every request beyond that is taken from one retry
   budget, so that an outage is not answered with more load: no target gets more requests than there
   are calls, and a share on top.
5. No attempt begins after the time of the call, and each gets only the time that is left. While
   others could still be asked, it gets half of that to begin its answer, or to finish one that is
   not streamed, so that a target that hangs does not take all; more if it is known to be slow.
6. A policy inside of another one is gone through once each time that it is asked. Rounds, pauses,
   the retry budget and the attempts of a target are those of the whole call (`tally.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graphorch.clock import Runtime
from graphorch.errors import InputError, ModelError
from graphorch.models.budgets.budget import Account, Amount
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.policies.call import AnswerCheck, PolicyCall, PolicyRules, PolicyState
from graphorch.models.policies.hedging import HedgeAllowance
from graphorch.models.policies.latency import LatencyModel, LatencyRules
from graphorch.models.policies.orderings import (
    CheapestFirst,
    FastestFirst,
    ListedOrder,
    Ordering,
    WeightedOrder,
)
from graphorch.models.policies.retry_budget import RetryBudget
from graphorch.models.policies.tally import NO_TERMS, AskTerms
from graphorch.models.policies.target import Candidate, Unavailability, check_all_payable


class Policy:
    """A `ModelClient` that asks one of its candidates, and another one after a failure.

    Safe for any number of calls in flight. Raises `InputError` without candidates, or for two of
    one name.
    """

    def __init__(
        self,
        name: str,
        order: Ordering,
        candidates: Sequence[Candidate],
        *,
        rules: PolicyRules | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        _check_names(name, candidates)
        rules, runtime = rules or PolicyRules(), runtime or Runtime()
        self.name = name
        self.order = order
        self.candidates = tuple(candidates)
        self.latency = LatencyModel(runtime.clock)
        usable = [c for place, c in enumerate(candidates) if not order.find_exclusion(place)]
        # a target that is reached along two ways counts once
        self.targets = tuple(dict.fromkeys(t for c in usable for t in c.targets))
        self.attempts = sum(target.attempts for target in self.targets)
        self._state = PolicyState(
            name=name,
            order=order,
            candidates=self.candidates,
            usable=tuple(usable),
            rules=rules,
            runtime=runtime,
            retries=RetryBudget(rules.retry, clock=runtime.clock),
            hedges=HedgeAllowance(rules.hedge.share if rules.hedge else 1.0),
        )

    @property
    def answers(self) -> int:
        """Requests that its targets have answered so far, those of all calls."""
        return sum(target.answers for target in self.targets)

    def __repr__(self) -> str:
        names = [candidate.name for candidate in self.candidates]
        return f"Policy({self.name!r}, {self.order.kind}, {names})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the answer, with the `decision` that led to it.

        Raises `NotAnswered` if no candidate gives one, the failure itself if no other candidate
        could avoid it, `CapReached` if the budget does not cover the next attempt, and `InputError`
        before any request if the price of a candidate has no bound under a cap of the payer.
        """
        if request.payer is not None:
            check_all_payable(self.candidates, request.payer)
        return await PolicyCall(self._state, request, on_text, NO_TERMS).run()

    async def ask(
        self,
        request: Request,
        on_text: OnText | None = None,
        terms: AskTerms = NO_TERMS,
    ) -> Response:
        """Return the answer as `complete` does, on the terms of another policy.

        With the tally of a call it goes through its candidates once. What it takes is learnt for
        the order of the other policy.
        """
        call = self.latency.begin()
        try:
            response = await PolicyCall(self._state, request, on_text, terms).run()
            self.latency.observe(request, response, call)
        except ModelError:
            self.latency.observe_failure(call)
            raise
        finally:
            self.latency.end(call)
        return response

    async def prepare(self) -> None:
        """Prepare every target."""
        for target in self.targets:
            await target.prepare()

    async def aclose(self) -> None:
        """Close every candidate."""
        for candidate in self.candidates:
            await candidate.aclose()

    def check_availability(
        self, request: Request, time_left: float | None
    ) -> Unavailability | None:
        """Return None if any candidate may be asked now, else what passes first."""
        first: Unavailability | None = None
        for candidate in self.candidates:
            unavailability = candidate.check_availability(request, time_left)
            if unavailability is None:
                return None
            if first is None or unavailability.seconds < first.seconds:
                first = unavailability
        return first

    def estimate_usd(self, request: Request, usage: Usage) -> float | None:
        """Return the dollars of such an answer at the first candidate whose price is known."""
        for candidate in self.candidates:
            usd = candidate.estimate_usd(request, usage)
            if usd is not None:
                return usd
        return None

    def worst_case(self, request: Request) -> Amount:
        """Return the bound on one request at the dearest candidate.

        A call may make several requests: each is reserved for by itself.
        """
        bounds = [candidate.worst_case(request) for candidate in self.candidates]
        return Amount(max(bound.usd for bound in bounds), max(bound.tokens for bound in bounds))

    def check_payable(self, payer: Account) -> None:
        """Raise `InputError` if a candidate has no bound under a cap of the payer."""
        check_all_payable(self.candidates, payer)


def _check_names(policy: str, candidates: Sequence[Candidate]) -> None:
    if not candidates:
        raise InputError(f"Policy '{policy}' has no targets. Give it at least one.")
    names = [candidate.name for candidate in candidates]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(
            f"Policy '{policy}' has the target '{repeated[0]}' twice. "
            "Name each once; to try one again, raise its attempts."
        )


def fallback(
    name: str,
    candidates: Sequence[Candidate],
    *,
    rules: PolicyRules | None = None,
    runtime: Runtime | None = None,
) -> Policy:
    """Make a policy that asks its candidates in the order given until one answers."""
    return Policy(name, ListedOrder(), candidates, rules=rules, runtime=runtime)


def cascade(
    name: str,
    candidates: Sequence[Candidate],
    check: AnswerCheck,
    *,
    rules: PolicyRules | None = None,
    runtime: Runtime | None = None,
) -> Policy:
    """Make a policy that goes from cheap to dear until the check accepts an answer.

    The answer of the last candidate is taken without a check.
    """
    verified = replace(rules or PolicyRules(), check=check, trusts_last=True)
    return Policy(name, ListedOrder("cascade"), candidates, rules=verified, runtime=runtime)


def weighted(
    name: str,
    shares: Sequence[tuple[Candidate, float]],
    *,
    rules: PolicyRules | None = None,
    runtime: Runtime | None = None,
) -> Policy:
    """Make a policy that chooses at random by weight, from pairs of a candidate and its weight.

    Calls with an equal `metadata["sticky_key"]` stay at one candidate.
    """
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
    """Make a policy that takes the lowest price, from pairs of a candidate and its quality.

    Quality is on any scale of yours; candidates below the floor are left out.
    """
    runtime = runtime or Runtime()
    order = CheapestFirst([quality for _, quality in rated], floor, runtime.clock)
    return Policy(name, order, [candidate for candidate, _ in rated], rules=rules, runtime=runtime)


def fastest(
    name: str,
    candidates: Sequence[Candidate],
    *,
    latency: LatencyRules | None = None,
    rules: PolicyRules | None = None,
    runtime: Runtime | None = None,
) -> Policy:
    """Make a policy that takes the shortest predicted time to the whole answer.

    Predictions are learnt from the answers so far.
    """
    runtime = runtime or Runtime()
    order = FastestFirst(latency or LatencyRules(), runtime.random)
    return Policy(name, order, candidates, rules=rules, runtime=runtime)
