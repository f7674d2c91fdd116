"""What one model call was charged, over all requests that were sent for it.

A call may send several requests: repeats, fallbacks, hedges. Each of them is charged for, whether
it was answered or not. The run, its record and its budgets count the same `Charge`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from graphorch.models.budgets.budget import Amount


@dataclass(frozen=True, slots=True)
class Charge:
    """What the requests of model calls were charged.

    `requests` were sent. `usd` and the tokens are what is known of their bills, and `unpriced`
    counts the requests whose dollars are not known. `booked_usd` and `booked_tokens` are what a
    budget counts: the worst case stands in for what is not known.
    """

    requests: int = 0
    usd: float = 0.0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    booked_usd: float = 0.0
    booked_tokens: int = 0

    @property
    def tokens(self) -> int:
        """Known tokens, input and output."""
        return self.input_tokens + self.output_tokens

    @property
    def booked(self) -> Amount:
        """The amount that a budget counts."""
        return Amount(self.booked_usd, self.booked_tokens, self.requests)


NO_CHARGE = Charge()


def sum_charges(charges: Iterable[Charge]) -> Charge:
    """Return the sum of charges."""
    listed = list(charges)
    return Charge(
        requests=sum(charge.requests for charge in listed),
        usd=sum(charge.usd for charge in listed),
        unpriced=sum(charge.unpriced for charge in listed),
        input_tokens=sum(charge.input_tokens for charge in listed),
        output_tokens=sum(charge.output_tokens for charge in listed),
        booked_usd=sum(charge.booked_usd for charge in listed),
        booked_tokens=sum(charge.booked_tokens for charge in listed),
    )


def charge_worst(worst: Amount) -> Charge:
    """Return the charge of a request that was sent and has no bill."""
    return Charge(
        requests=worst.calls, unpriced=worst.calls, booked_usd=worst.usd, booked_tokens=worst.tokens
    )


Announce: TypeAlias = Callable[[Charge], Awaitable[None]]
"""Takes what a call may have been charged by the time that its next request is answered."""


class Receipt:
    """Collects the charges of one model call while its requests come and go.

    `announce` is awaited before each request, with the worst case of the call up to and including
    it: what is written down then still holds if the process dies.
    """

    __slots__ = ("_announce", "_charges", "_under_way", "is_used", "was_announced")

    def __init__(self, announce: Announce | None = None) -> None:
        self._announce = announce
        self._charges: list[Charge] = []
        self._under_way: list[Amount] = []
        self.was_announced = False
        self.is_used = False  # a meter has written on it

    @property
    def is_announced(self) -> bool:
        """Return whether each request is announced before it is sent."""
        return self._announce is not None

    @property
    def charge(self) -> Charge:
        """The charges of all requests that have ended."""
        return self._charges[0] if len(self._charges) == 1 else sum_charges(self._charges)

    async def begin_request(self, worst: Amount) -> None:
        """Announce that a request of at most this cost is about to be sent."""
        self._under_way.append(worst)
        self.was_announced = True
        if self._announce is not None:
            open_charges = [charge_worst(amount) for amount in self._under_way]
            await self._announce(sum_charges([*self._charges, *open_charges]))

    def end_request(self, worst: Amount | None, charge: Charge) -> None:
        """Note what a request was charged in the end; `worst` is what was announced, if it was."""
        self.is_used = True
        if worst is not None:
            self._under_way.remove(worst)
        if charge.requests:
            self._charges.append(charge)


class OpenBill(Protocol):
    """The bill of a request under way, for clients between the meter and the endpoint."""

    def hand_over(self) -> None:
        """Leave the bill to a meter that is nearer to the endpoint."""
        ...

    async def begin_repeat(self, failure: BaseException | None) -> None:
        """Settle the request before, and reserve for the next one.

        `failure` is what became of it; None if that is not known. Raises `CapReached` if the next
        one does not fit.
        """
        ...


class Departure:
    """The way of a request out: whether it has left this machine, and who pays for it.

    A client that can tell sets `is_watched` before it sends, and `has_left` when the first byte of
    the prompt goes out; until then nothing can have been charged. `bill` is open while the request
    is under way.
    """

    is_watched: bool = False
    has_left: bool = False
    bill: OpenBill | None = None

    @property
    def is_possible(self) -> bool:
        """Return whether an endpoint may have got the request."""
        return self.has_left or not self.is_watched
