"""What is reserved for a call, and what it is settled at."""

from __future__ import annotations

import asyncio

import pytest

from graphorch.clock import Runtime
from graphorch.errors import InputError, ModelError
from graphorch.models.budgets.budget import Account, Budget, CapReached
from graphorch.models.errors import ContextOverflow, Truncated, Unreachable
from graphorch.models.messages import Usage
from graphorch.models.pricing.metering import CallMeter, MeteredClient, PricingTerms
from graphorch.models.token_count import bound_input_tokens
from tests.models.fakes import Answer, FakeModel, Flat, Table, hangs, request_to, status
from tests.models.virtual import run

PRICES = Table({"m": Flat(1e-6, 1e-5)})


def worst_cost(text: str, max_tokens: int) -> float:
    return bound_input_tokens(request_to("m", text)) * 1e-6 + max_tokens * 1e-5


def test_worst_case_is_bytes_and_limit() -> None:
    """Bound a call by the bytes of its input and the limit on its output."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel(Answer(first=5))
        account = Account("run", Budget(usd=1))
        task = asyncio.create_task(
            MeteredClient(model, PRICES).complete(
                request_to("m", "añb", max_tokens=50, payer=account)
            )
        )
        await runtime.sleep(1)
        assert account.report().reserved.usd == pytest.approx(worst_cost("añb", 50))
        await task
        assert account.report().reserved.usd == 0

    run(main)


def test_capped_call_gets_output_limit() -> None:
    """Limit the output of a call under a cap."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel()
        client = MeteredClient(model, PRICES, PricingTerms(max_output=77))
        for budget in (Budget(usd=1), Budget(tokens=10_000), Budget(calls=5), None):
            await client.complete(request_to("m", payer=Account("run", budget)))
        await client.complete(request_to("m", payer=Account("run", Budget(usd=1)), max_tokens=5))
        assert [request.max_tokens for request in model.requests] == [77, 77, None, None, 5]

    run(main)


@pytest.mark.parametrize(
    ("action", "usd", "estimated"),
    [
        (Answer(usd=0.003), 0.003, False),
        (Answer(tokens=10), 2e-6 + 1e-4, False),
        (Answer(reports_usage=False), None, True),
        (Answer(usd=0.003, reports_usage=False), 0.003, True),
        (status(429), 0.0, False),
        (status(401), 0.0, False),
        (status(400), None, True),
        (ContextOverflow("too long", model="m", status=400), 0.0, False),
        (status(500), None, True),
        (status(503), None, True),
        (Unreachable("broke", model="m"), None, True),
        (Truncated("cut", model="m", retryable=True), None, True),
        (Truncated("cut", model="m", retryable=True, usage=Usage(2, 30)), 2e-6 + 3e-4, False),
    ],
)
def test_call_settles_at_its_cost(
    action: Answer | ModelError, usd: float | None, estimated: bool
) -> None:
    """Settle a call at its reported or calculated cost, or at its worst case."""

    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1))
        client = MeteredClient(FakeModel(action), PRICES)
        outcome = await asyncio.gather(
            client.complete(request_to("m", "12345678", max_tokens=50, payer=account)),
            return_exceptions=True,
        )
        assert isinstance(outcome[0], BaseException) == isinstance(action, BaseException)
        report = account.report()
        assert report.spent.usd == pytest.approx(worst_cost("12345678", 50) if usd is None else usd)
        assert (report.spent.calls, report.reserved.usd) == (1, 0)
        assert (report.estimated > 0) == estimated

    run(main)


@pytest.mark.parametrize("how", ["cancelled", "out of time"])
def test_interrupted_call_settles_at_worst(how: str) -> None:
    """Settle an interrupted call at its worst case."""

    async def main(runtime: Runtime) -> None:
        account = Account("run", Budget(usd=1))
        task = asyncio.create_task(
            MeteredClient(FakeModel(hangs()), PRICES).complete(
                request_to("m", "x", max_tokens=50, payer=account)
            )
        )
        if how == "cancelled":
            await runtime.sleep(1)
            task.cancel()
            await asyncio.wait([task])
        else:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await task
        assert account.spent.usd == pytest.approx(worst_cost("x", 50))

    run(main)


def test_unreported_price_comes_from_table() -> None:
    """Fill in the price from the table if the endpoint does not report it."""

    async def main(runtime: Runtime) -> None:
        client = MeteredClient(
            FakeModel(Answer(tokens=10), Answer(usd=0.5), Answer(reports_usage=False)), PRICES
        )
        responses = [await client.complete(request_to("m", "12345678")) for _ in range(3)]
        assert [(response.usd_source, round(response.usd, 9)) for response in responses] == [
            ("table", 1.02e-4),
            ("reported", 0.5),
            ("none", 0.0),
        ]
        unknown = await MeteredClient(FakeModel(), Table()).complete(request_to("m"))
        assert (unknown.usd_source, unknown.usd) == ("none", 0.0)

    run(main)


def test_unlimited_output_is_refused_under_cap() -> None:
    """Refuse a target that ignores output limits under a cap on money or tokens."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel()
        client = MeteredClient(model, PRICES, PricingTerms(caps_output=False))
        for budget in (Budget(usd=1), Budget(tokens=1000)):
            with pytest.raises(InputError, match="does not obey a limit on output tokens"):
                await client.complete(request_to("m", payer=Account("run", budget), max_tokens=5))
        assert model.requests == []
        await client.complete(request_to("m", payer=Account("run", Budget(calls=1))))

    run(main)


def test_usd_cap_requires_known_price() -> None:
    """Refuse an unknown price under a cap on money only."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel()
        client = MeteredClient(model, Table())
        with pytest.raises(InputError, match=r"\[prices\.\"m\"\] input = 1.25"):
            await client.complete(request_to("m", payer=Account("run", Budget(usd=1))))
        assert model.requests == []
        await client.complete(request_to("m", payer=Account("run", Budget(tokens=10_000))))

    run(main)


class BrokenPrices:
    """Prices whose data cannot be loaded."""

    def find_price(self, model: str) -> None:
        raise RuntimeError(f"no data on {model}")


def test_broken_price_lookup_sends_nothing() -> None:
    """Prices are looked up before the call, also without a cap: no paid answer is lost to them."""

    async def main(runtime: Runtime) -> None:
        for budget in (Budget(usd=1), Budget(calls=1), Budget()):
            model = FakeModel()
            client = MeteredClient(model, BrokenPrices())
            with pytest.raises(RuntimeError, match="no data on m"):
                await client.complete(request_to("m", payer=Account("run", budget)))
            assert model.requests == []

    run(main)


def test_gateway_policy_costs_its_dearest_model() -> None:
    """Bound a policy of the gateway by the most expensive model that it reaches."""
    prices = Table({"a": Flat(1e-6), "b": Flat(5e-6)})
    meter = CallMeter(prices, PricingTerms(reaches=("a", "b")))
    request = request_to("policy/theirs", max_tokens=100)
    assert meter.worst(request).usd == pytest.approx((bound_input_tokens(request) + 100) * 5e-6)
    with pytest.raises(InputError, match="'c' cannot be called"):
        CallMeter(prices, PricingTerms(reaches=("a", "c"))).check_payable(
            "policy/theirs", Account("run", Budget(usd=1))
        )


def test_call_beyond_budget_is_unsent() -> None:
    """Do not send a call that exceeds the budget."""

    async def main(runtime: Runtime) -> None:
        model = FakeModel()
        with pytest.raises(CapReached, match="lower max_tokens"):
            await MeteredClient(model, PRICES).complete(
                request_to("m", payer=Account("run", Budget(usd=1e-4)), max_tokens=50)
            )
        assert model.requests == []

    run(main)


def test_free_model_needs_no_price() -> None:
    """Accept a free model without a price under a cap."""

    async def main(runtime: Runtime) -> None:
        client = MeteredClient(FakeModel(Answer(), hangs()), Table(), PricingTerms(is_free=True))
        account = Account("run", Budget(usd=1e-9))
        response = await client.complete(request_to("m", payer=account))
        assert (response.usd, response.usd_source) == (0.0, "free")
        task = asyncio.create_task(client.complete(request_to("m", payer=account)))
        await runtime.sleep(1)
        task.cancel()
        await asyncio.wait([task])
        assert (account.spent.usd, account.spent.calls) == (0.0, 2)

    run(main)
