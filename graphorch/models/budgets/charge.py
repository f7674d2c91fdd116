"""What one model call was charged, over all requests that were sent for it.

A call may send several requests: repeats, fallbacks, hedges. Each of them is charged for, whether
it was answered or not. The run, its record and its budgets count the same `Charge`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from graphorch.errors import ModelError
from graphorch.models.budgets.budget import Amount
from graphorch.models.decision import RoutingRecord


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
_NOTHING = Amount()


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


@dataclass(slots=True, eq=False)
class SentRequest:
    """One request of a model call: whom it asked and when, what became of it, and its charge.

    `target` is the name of a policy's target, "" without one. Times are those of the clock of the
    receipt. `error` is what it raised, None if it was answered; `flaw` is why the answer was
    discarded. `worst` is its charge if nothing else gets known. Mutable: it grows until the request
    has ended.
    """

    model: str
    target: str = ""
    is_hedge: bool = False
    worst: Amount = _NOTHING
    began: float = 0.0
    seconds: float = 0.0
    first_token_seconds: float | None = None
    error: BaseException | None = None
    flaw: ModelError | None = None
    charge: Charge = NO_CHARGE
    has_ended: bool = False

    @property
    def charge_at_most(self) -> Charge:
        """Its charge, or the worst case until it has ended."""
        return self.charge if self.has_ended else charge_worst(self.worst)


Announce: TypeAlias = Callable[[Sequence[SentRequest]], Awaitable[None]]
"""Takes the requests that a call has made, the next one included, before that one is sent."""

Confirm: TypeAlias = Callable[[], Awaitable[None]]
"""Returns once a request may still be sent; it does not return in a process that lost its run."""


class Receipt:
    """Collects the requests of one model call, and their charges, while they come and go.

    `announce` is awaited before each request, with all of them up to and including it: what is
    written down then still holds if the process dies. `clock` gives their times. `confirm` is what
    each `Departure` of a request awaits; None for nothing. A `part` collects what is asked of one
    target; it is in the whole as well.
    """

    __slots__ = (
        "_announce",
        "_clock",
        "_under_way",
        "_whole",
        "confirm",
        "decision",
        "is_hedge",
        "is_used",
        "requests",
        "target",
        "was_announced",
    )

    def __init__(
        self,
        announce: Announce | None = None,
        clock: Callable[[], float] | None = None,
        confirm: Confirm | None = None,
    ) -> None:
        self._announce = announce
        self.confirm = confirm
        self._clock = clock
        self._whole: Receipt | None = None
        self._under_way: list[SentRequest] = []
        self.requests: list[SentRequest] = []
        """The requests that were sent and have ended, in that order."""
        self.decision: RoutingRecord | None = None
        """The record of the policy that the call named, however the call ended."""
        self.was_announced = False
        self.is_used = False  # a meter has written on it
        self.target = ""
        self.is_hedge = False

    @property
    def is_announced(self) -> bool:
        """Return whether each request is announced before it is sent."""
        return self._announce is not None

    @property
    def charge(self) -> Charge:
        """The charges of all requests that have ended."""
        requests = self.requests
        if len(requests) == 1:
            return requests[0].charge
        return sum_charges([request.charge for request in requests])

    def part(self, target: str = "", *, is_hedge: bool = False) -> Receipt:
        """Return the part of a receipt for what is asked of one target."""
        part = Receipt(self._announce, self._clock, self.confirm)
        part._whole = self
        part.target, part.is_hedge = target or self.target, is_hedge or self.is_hedge
        return part

    def blame(self, failure: ModelError) -> None:
        """Note what a policy holds against the last request: why it failed, or its answer did."""
        if not self.requests:
            return
        last = self.requests[-1]
        if last.error is None:
            last.flaw = failure
        elif not isinstance(last.error, ModelError):
            last.error = failure  # it was cut off for taking too long

    def now(self) -> float:
        """Return the time; 0 without a clock."""
        return 0.0 if self._clock is None else self._clock()

    async def begin_request(self, request: SentRequest) -> None:
        """Announce that a request is about to be sent."""
        whole = self
        while whole._whole is not None:
            whole = whole._whole
        whole._under_way.append(request)
        whole.was_announced = True
        if self._announce is not None:
            await self._announce([*whole.requests, *whole._under_way])

    def end_request(self, request: SentRequest) -> None:
        """Note that a request has ended; one that was never sent leaves nothing."""
        self.is_used = True
        if request in self._under_way:
            self._under_way.remove(request)
        if request.charge.requests:
            self.requests.append(request)
        if self._whole is not None:
            self._whole.end_request(request)


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
    the prompt goes out; until then nothing can have been charged. Right before that byte it awaits
    `confirm`, if there is any: loading a package or connecting may have taken long, and the caller
    may have lost the right to ask since. `bill` is open while the request is under way.
    """

    is_watched: bool = False
    has_left: bool = False
    bill: OpenBill | None = None
    confirm: Confirm | None = None

    @property
    def is_possible(self) -> bool:
        """Return whether an endpoint may have got the request."""
        return self.has_left or not self.is_watched
