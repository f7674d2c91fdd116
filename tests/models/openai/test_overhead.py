"""Overhead of policy, budget, breaker and record: a bound on the function calls of one call.

Calls are counted instead of seconds, since no other work on the machine moves them.
"""

from __future__ import annotations

from graphorch.models.budgets.budget import Account, Budget
from graphorch.models.client import ModelClient, OnText
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.policies.policy import fallback
from graphorch.models.policies.target import Target
from tests.benchmarks.calls import calls_per_unit
from tests.benchmarks.workloads import Job
from tests.models.fakes import Flat, Table, request_to

# Function calls, Python's and C's, of one model call through everything: about 100 µs.
MOST_CALLS = 380


class Instant:
    """Model client that answers at once, so that only our overhead is measured."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        return Response("fine", "m", Usage(3, 1), 0.0, "none", "stop", 1, 0.1, None)


def count_per_call(client: ModelClient, request: Request) -> float:
    """Return the function calls of one more model call."""

    def make_job(size: int) -> Job:
        async def run() -> int:
            for _ in range(size):
                await client.complete(request)
            return size

        return Job(run, lambda answer: answer == size)

    return calls_per_unit(make_job, 100, 200)


def test_policy_overhead_is_bounded() -> None:
    """A call through policy, breaker, three budgets and record makes at most 380 function calls."""
    targets = [
        Target(name, Instant(), model=name, prices=Table({"a": Flat(1e-9), "b": Flat(1e-9)}))
        for name in "ab"
    ]
    account = (
        Account("run", Budget(usd=1000))
        .open("flow", Budget(usd=1000))
        .open("node", Budget(usd=1000))
    )
    request = request_to("p", "a prompt of ordinary length. " * 20, payer=account, timeout=60.0)
    bare = count_per_call(Instant(), request)
    whole = count_per_call(fallback("p", targets), request)
    assert bare < 10
    assert whole - bare <= MOST_CALLS
