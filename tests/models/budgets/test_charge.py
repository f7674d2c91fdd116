"""What one call was charged, over all of its requests."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from graphorch.errors import ModelError
from graphorch.models.budgets.budget import Amount
from graphorch.models.budgets.charge import (
    NO_CHARGE,
    Charge,
    Receipt,
    SentRequest,
    charge_worst,
    sum_charges,
)

ANSWERED = Charge(1, 0.5, 0, 7, 3, 0.5, 10)
WORST = Amount(2.0, 100)


def test_charges_add_up() -> None:
    """Known dollars and tokens add up, and what a budget counts beside them."""
    total = sum_charges([ANSWERED, charge_worst(WORST), NO_CHARGE])
    assert total == Charge(2, 0.5, 1, 7, 3, 2.5, 110)
    assert total.booked == Amount(2.5, 110, 2)
    assert total.tokens == 10


def close(receipt: Receipt, request: SentRequest, charge: Charge) -> None:
    request.charge, request.has_ended = charge, True
    receipt.end_request(request)


def test_receipt_announces_worst_of_open_requests() -> None:
    """Each announcement holds what is settled, and the worst case of all that is under way."""
    announced: list[Charge] = []

    async def keep(requests: Sequence[SentRequest]) -> None:
        announced.append(sum_charges([request.charge_at_most for request in requests]))

    async def main() -> None:
        receipt = Receipt(keep)
        first, hedge, third = (SentRequest("m", worst=WORST) for _ in range(3))
        await receipt.begin_request(first)
        await receipt.part("t", is_hedge=True).begin_request(hedge)
        close(receipt, first, ANSWERED)
        await receipt.begin_request(third)
        close(receipt, third, NO_CHARGE)
        close(receipt, hedge, charge_worst(WORST))
        assert receipt.charge == Charge(2, 0.5, 1, 7, 3, 2.5, 110)
        assert receipt.requests == [first, hedge]

    asyncio.run(main())
    assert [(charge.requests, charge.booked_usd) for charge in announced] == [
        (1, 2.0),
        (2, 4.0),
        (3, 4.5),
    ]


def test_part_of_receipt_is_in_whole() -> None:
    """A part has what was asked of its target, and the whole has the requests of all parts."""
    whole = Receipt(clock=lambda: 5.0)
    policy = whole.part("policy/inner")
    first, second = policy.part("a"), policy.part("b", is_hedge=True)
    for part, charge in ((first, charge_worst(WORST)), (second, ANSWERED)):
        close(part, SentRequest("m", part.target, part.is_hedge), charge)
    assert [first.charge, second.charge] == [charge_worst(WORST), ANSWERED]
    assert policy.charge == whole.charge == sum_charges([charge_worst(WORST), ANSWERED])
    assert [(sent.target, sent.is_hedge) for sent in whole.requests] == [("a", False), ("b", True)]
    assert second.now() == 5.0


def test_flaw_is_of_last_request() -> None:
    """What a policy holds against an answer is a flaw; a request that was cut off has failed."""
    flaw = ModelError("not good enough", model="m")
    receipt = Receipt()
    receipt.blame(flaw)  # nothing was sent
    close(receipt, SentRequest("m"), ANSWERED)
    receipt.blame(flaw)
    close(receipt, cut := SentRequest("m", error=asyncio.CancelledError()), charge_worst(WORST))
    receipt.blame(flaw)
    assert (receipt.requests[0].error, receipt.requests[0].flaw) == (None, flaw)
    assert (cut.error, cut.flaw) == (flaw, None)


def test_receipt_without_requests_is_empty() -> None:
    """A request that was given back leaves nothing on the receipt, but a meter was there."""
    receipt = Receipt()
    assert not receipt.is_used
    close(receipt, SentRequest("m"), NO_CHARGE)
    assert receipt.is_used
    assert receipt.charge == NO_CHARGE
    assert receipt.requests == []


def test_failed_announcement_is_kept_open() -> None:
    """A request whose announcement failed is closed by whoever began it."""

    async def fail(requests: Sequence[SentRequest]) -> None:
        raise OSError("the disk is full")

    async def main() -> None:
        receipt = Receipt(fail)
        request = SentRequest("m", worst=WORST)
        with pytest.raises(OSError, match="full"):
            await receipt.begin_request(request)
        close(receipt, request, NO_CHARGE)
        assert receipt.charge == NO_CHARGE

    asyncio.run(main())
