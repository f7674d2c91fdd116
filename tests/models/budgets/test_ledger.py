"""No overspending with many concurrent branches and random models that count their own charges.

Each interleaving is a run in virtual time of concurrent branches over a tree of budgets, against
models with random prices and times that fail, are cancelled, cut their streams or omit their usage.
The models count what they charge; the sum never exceeds a cap. A budget that checks first and adds
later overshoots in the same test, which proves that the test can detect overspending.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from functools import partial

import pytest

from graphorch.clock import Runtime
from graphorch.errors import ModelError
from graphorch.models.budgets.budget import Account, Budget, CapReached
from graphorch.models.client import OnText
from graphorch.models.errors import Truncated, Unreachable
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.policies.policy import fallback
from graphorch.models.policies.target import Target, TargetRules
from graphorch.models.pricing.metering import PricingTerms
from tests.models.fakes import Flat, Table, request_to
from tests.models.virtual import VirtualLoop, run


@dataclass
class Till:
    """A model that charges for every call, even a failed one, and records the charged levels."""

    price: Flat
    chance: random.Random
    charged: dict[str, float] = field(default_factory=dict)

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        asked = 1 + sum(len(message.content) for message in request.messages) // 4
        usage = Usage(asked, self.chance.randint(1, request.max_tokens or 4096))
        cost = self.price.cost(usage)
        for level in request.metadata["levels"].split():
            self.charged[level] = self.charged.get(level, 0.0) + cost
        await asyncio.sleep(self.chance.choice([0.0, 0.1, 1.0]) * self.chance.random())
        match self.chance.randint(0, 9):
            case 0:
                raise Unreachable("broke", model="till")
            case 1:
                raise Truncated("cut", model="till", retryable=True, partial="ha")
            case 2:
                raise Truncated("cut, with a bill", model="till", retryable=True, usage=usage)
            case 3:
                usage = Usage(asked, usage.output_tokens, is_estimated=True)
                return Response("no usage", "till", usage, 0.0, "none", "stop", 1, 0.1, None)
            case 4:
                return Response("reported", "till", usage, cost, "reported", "stop", 1, 0.1, None)
            case _:
                return Response("fine", "till", usage, 0.0, "none", "stop", 1, 0.1, None)


@dataclass
class Books:
    """Result of an interleaving: caps and charges by level, and counts of answers and refusals."""

    caps: dict[str, float]
    charged: dict[str, float]
    answered: int = 0
    refused: int = 0
    at_worst: float = 0.0

    @property
    def overspent(self) -> dict[str, float]:
        return {
            name: self.charged.get(name, 0.0) - cap
            for name, cap in self.caps.items()
            if self.charged.get(name, 0.0) > cap * (1 + 1e-9)
        }


async def run_interleaving(
    runtime: Runtime, seed: int, branches: int, *, naive: bool = False
) -> Books:
    chance = random.Random(seed)
    prices = {
        name: Flat(chance.uniform(1e-6, 2e-5), chance.uniform(1e-6, 6e-5))
        for name in ("cheap", "dear")
    }
    tills = {name: Till(price, chance) for name, price in prices.items()}
    top = Account("run", Budget(usd=branches * chance.uniform(0.0005, 0.004)))
    day = Account("day", Budget(usd=(top.budget.usd or 0) * chance.uniform(0.6, 1.5)))
    flows = [
        top.open(
            f"flow{n}", Budget(usd=(top.budget.usd or 0) * chance.uniform(0.2, 0.9)), beside=[day]
        )
        for n in range(3)
    ]
    books = Books({item.name: item.budget.usd or 0.0 for item in (top, day, *flows)}, {})
    naive_ledger = NaiveLedger(books.caps)
    rules = TargetRules(terms=PricingTerms(max_output=200))
    policy = fallback(
        "both",
        [
            Target(
                name,
                CheckThenAdd(till, naive_ledger) if naive else till,
                model=name,
                rules=rules,
                prices=Table(prices),
                runtime=runtime,
            )
            for name, till in tills.items()
        ],
        runtime=runtime,
    )
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.watch = Watch([top, day, *flows])

    async def branch(number: int) -> None:
        flow = flows[number % 3]
        node = flow.open(f"node{number}")
        text = "x" * chance.randint(1, 400)
        metadata = {"levels": f"run day {flow.name}"}
        await asyncio.sleep(chance.random() * 2)
        request = request_to(
            "both",
            text,
            max_tokens=chance.choice([None, 50, 300]),
            metadata=metadata,
            payer=None if naive else node,
        )
        try:
            async with asyncio.timeout(chance.choice([None, None, 0.5])):
                await policy.complete(request)
                books.answered += 1
        except CapReached:
            books.refused += 1
        except (ModelError, TimeoutError):
            pass

    async with asyncio.TaskGroup() as group:
        for number in range(branches):
            task = group.create_task(branch(number))
            if chance.random() < 0.1:
                loop.call_later(chance.random() * 3, task.cancel)
    for till in tills.values():
        for name, usd in till.charged.items():
            books.charged[name] = books.charged.get(name, 0.0) + usd
    for account in (top, day, *flows):
        assert (account.level.open_reservations, account.level.reserved) == (0, (0, 0, 0)), (
            "a reservation was never settled"
        )
        if not naive:
            assert account.spent.usd >= books.charged.get(account.name, 0.0) * (1 - 1e-9), (
                "less was booked than was charged"
            )
    books.at_worst = top.report().estimated
    return books


class NaiveLedger:
    """Budget that checks first and adds once the bill is known, as most budgets do."""

    def __init__(self, caps: dict[str, float]) -> None:
        self.caps = caps
        self.spent = dict.fromkeys(caps, 0.0)


class CheckThenAdd:
    """Model client that is limited by a naive ledger."""

    def __init__(self, till: Till, ledger: NaiveLedger) -> None:
        self._till = till
        self._ledger = ledger

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        levels = request.metadata["levels"].split()
        if any(self._ledger.spent[level] >= self._ledger.caps[level] for level in levels):
            raise CapReached("spent", level="run", limit="usd", at_cap="fail")
        response = await self._till.complete(request, on_text)
        for level in levels:
            self._ledger.spent[level] += self._till.price.cost(response.usage)
        return response


class Watch:
    """Check of every level before every round of the event loop.

    A level stays within its cap (B1), and its spending never decreases (B4).
    """

    def __init__(self, accounts: list[Account]) -> None:
        self._levels = [account.level for account in accounts]
        self._spent = [0] * len(accounts)

    def __call__(self) -> None:
        for place, level in enumerate(self._levels):
            for unit, cap in enumerate(level.caps):
                assert cap is None or level.spent[unit] + level.reserved[unit] <= cap, (
                    f"{level.name} holds more than its cap"
                )
            assert level.spent[0] >= self._spent[place], "spending became less"
            self._spent[place] = level.spent[0]


def run_interleavings(count: int, branches: int, first_seed: int = 0) -> tuple[int, int]:
    """Run the given interleavings and return how many calls were answered and refused."""
    answered = refused = 0
    for seed in range(first_seed, first_seed + count):
        books = run(partial(run_interleaving, seed=seed, branches=branches), seed=seed)
        assert books.overspent == {}, f"seed {seed}"
        answered, refused = answered + books.answered, refused + books.refused
    return answered, refused


@pytest.mark.parametrize("count", [60, pytest.param(300, marks=pytest.mark.slow)])
def test_caps_hold_in_interleavings(count: int) -> None:
    """Never exceed a cap on any level, in random interleavings."""
    answered, refused = run_interleavings(count, branches=12)
    assert min(answered, refused) > 1.7 * count, (
        "caps that are never reached, or never let anything through, test nothing"
    )


def test_caps_hold_with_1000_branches() -> None:
    """Never exceed a cap with 1,000 branches at once."""
    books = run(partial(run_interleaving, seed=7, branches=1000))
    assert books.overspent == {}
    assert books.answered > 100
    assert books.refused > 100
    assert books.at_worst > 0


def test_checking_before_adding_overshoots() -> None:
    """Show that a budget which checks first and adds later overshoots in the same test."""
    over = [
        run(partial(run_interleaving, seed=seed, branches=100, naive=True)).overspent
        for seed in range(5)
    ]
    assert all(over)


@pytest.mark.slow
@pytest.mark.parametrize("first_seed", range(1_000, 11_000, 1_000))
def test_caps_hold_in_10_000_interleavings(first_seed: int) -> None:
    """Never exceed a cap; a thousand runs at a time, since a busy machine is slow."""
    assert min(run_interleavings(1_000, branches=12, first_seed=first_seed)) > 1_000
