"""What one call was charged, over all of its requests."""

from __future__ import annotations

import asyncio

import pytest

from graphorch.models.budgets.budget import Amount
from graphorch.models.budgets.charge import NO_CHARGE, Charge, Receipt, charge_worst, sum_charges

ANSWERED = Charge(1, 0.5, 0, 7, 3, 0.5, 10)
WORST = Amount(2.0, 100)


def test_charges_add_up() -> None:
    """Known dollars and tokens add up, and what a budget counts beside them."""
    total = sum_charges([ANSWERED, charge_worst(WORST), NO_CHARGE])
    assert total == Charge(2, 0.5, 1, 7, 3, 2.5, 110)
    assert total.booked == Amount(2.5, 110, 2)
    assert total.tokens == 10


def test_receipt_announces_worst_of_open_requests() -> None:
    """Each announcement holds what is settled, and the worst case of all that is under way."""
    announced: list[Charge] = []

    async def keep(charge: Charge) -> None:
        announced.append(charge)

    async def main() -> None:
        receipt = Receipt(keep)
        await receipt.begin_request(WORST)
        await receipt.begin_request(WORST)  # a hedge
        receipt.end_request(WORST, ANSWERED)
        await receipt.begin_request(WORST)
        receipt.end_request(WORST, NO_CHARGE)
        receipt.end_request(WORST, charge_worst(WORST))
        assert receipt.charge == Charge(2, 0.5, 1, 7, 3, 2.5, 110)

    asyncio.run(main())
    assert [(charge.requests, charge.booked_usd) for charge in announced] == [
        (1, 2.0),
        (2, 4.0),
        (3, 4.5),
    ]


def test_receipt_without_requests_is_empty() -> None:
    """A request that was given back leaves nothing on the receipt, but a meter was there."""
    receipt = Receipt()
    assert not receipt.is_used
    receipt.end_request(None, NO_CHARGE)
    assert receipt.is_used
    assert receipt.charge == NO_CHARGE


def test_failed_announcement_is_kept_open() -> None:
    """A request whose announcement failed is closed by whoever began it."""

    async def fail(charge: Charge) -> None:
        raise OSError("the disk is full")

    async def main() -> None:
        receipt = Receipt(fail)
        with pytest.raises(OSError, match="full"):
            await receipt.begin_request(WORST)
        receipt.end_request(WORST, NO_CHARGE)
        assert receipt.charge == NO_CHARGE

    asyncio.run(main())
