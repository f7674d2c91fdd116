"""What a call may cost at most, and what it did cost: the link between a call, the prices and the account that pays.

Rules of this file:
- every single request is reserved for and settled by itself, so a retry, a fallback and a hedge are paid like any call;
- the worst case is a bound, not a guess: of the input by its bytes (`tokens.py`), of the output by the limit that the request carries.
  Where there is no bound (no price, no enforceable limit on the output), a cap on dollars refuses the call before it is sent;
- what was sent and has no bill is booked at the worst case. Nothing is given back but what certainly was not charged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

from graphorch.errors import GraphorchError, InputError, ModelError
from graphorch.models.budgets.budget import Account, Amount, Reservation
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.errors import AnswerError, TimedOut
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.token_count import bound_input_tokens

# Answers that say that no model ran. 400 is not among them: some providers charge for input that their filter refused (Microsoft's
# answer 1632971 on Azure OpenAI: 200 and 400 count, 429 does not), and neither is 503, which some gateways answer after a timeout.
_UNCHARGED = frozenset({401, 402, 403, 404, 405, 412, 429, 529})


class ModelPricing(Protocol):
    """What one model costs, in dollars."""

    def cost(self, usage: Usage, /) -> float:
        """The price of these tokens."""
        ...

    def worst(self, input_tokens: int, max_output_tokens: int, /) -> float:
        """The highest price that so many tokens can have: nothing cached, the dearest tier that they may reach."""
        ...


class PriceLookup(Protocol):
    """Knows what models cost."""

    def find_price(self, model: str, /) -> ModelPricing | None:
        """The price of a model, or None if it is not known; a price of zero is known."""
        ...


class NoPrices:
    """Knows no price."""

    def find_price(self, model: str, /) -> ModelPricing | None:
        """See `Prices`."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingTerms:
    """How one target charges.

    `is_free`: nobody charges for it, such as a model on this machine. `caps_output`: it obeys the limit on output tokens. `max_output` is
    that limit where a budget needs one and the request has none. `reaches` are the models that may answer in its place, for a policy of
    the gateway's own: the dearest of them is the worst case.
    """

    is_free: bool = False
    caps_output: bool = True
    max_output: int = 4096
    reaches: tuple[str, ...] = ()


class CallMeter:
    """Prices the calls to one target."""

    def __init__(self, prices: PriceLookup, terms: PricingTerms | None = None) -> None:
        self._prices = prices
        self.terms = terms or PricingTerms()
        self._known: dict[str, tuple[ModelPricing, ...] | None] = {}

    def open_call(self, request: Request) -> MeteredCall:
        """The bill of one call, reserved on entry and settled on the way out. Raises `InputError` if it has no worst case and needs one."""
        payer = request.payer
        if payer is None:
            return MeteredCall(self, request, None, Amount())
        self.check_payable(request.model, payer)
        worst = Amount() if request.max_tokens is None else self.worst(request)
        if request.max_tokens is None and payer.has_cap("usd", "tokens"):
            worst = self.worst(request)
            request = replace(request, max_tokens=self.terms.max_output)
        left = payer.seconds_left
        if left is not None and (request.timeout is None or left < request.timeout):
            request = replace(request, timeout=max(left, 0.0))
        return MeteredCall(self, request, payer, worst)

    def check_payable(self, model: str, payer: Account) -> None:
        """Raise `InputError` if a call of this model cannot be bounded in the unit that a cap is in."""
        if not self.terms.caps_output and payer.has_cap("usd", "tokens"):
            raise InputError(
                f"Model '{model}' cannot be called under a budget: its endpoint does not obey a limit on output tokens, so what a call "
                "may cost has no bound. Use another model, or limit calls and seconds instead of dollars and tokens."
            )
        if self.find_prices(model) is None and payer.has_cap("usd"):
            missing = next(
                (reach for reach in self.terms.reaches if self._prices.find_price(reach) is None),
                model,
            )
            raise InputError(
                f"Model '{missing}' cannot be called under a budget in dollars: its price is not known. "
                f'Add it to the prices, in graphorch.toml: [prices."{missing}"] input = 1.25, output = 10 (dollars per million tokens).'
            )

    def worst(self, request: Request) -> Amount:
        """The bound on one request under a cap, at the dearest model that may answer it; 0 dollars if its price is unknown."""
        asked, limit = bound_input_tokens(request), request.max_tokens or self.terms.max_output
        dearest = max(
            (price.worst(asked, limit) for price in self.find_prices(request.model) or ()),
            default=0.0,
        )
        return Amount(dearest, asked + limit)

    def cost(self, model: str, usage: Usage) -> float | None:
        """What the table says that these tokens cost, of the dearest model that may have answered; None if it does not know."""
        prices = self.find_prices(model)
        return None if prices is None else max((price.cost(usage) for price in prices), default=0.0)

    def find_prices(self, model: str) -> tuple[ModelPricing, ...] | None:
        """The prices that a call of this model may have, none if it is free, or None if one of them is not known."""
        if self.terms.is_free:
            return ()
        if model not in self._known:
            found = [self._prices.find_price(reach) for reach in self.terms.reaches or (model,)]
            known = tuple(pricing for pricing in found if pricing is not None)
            self._known[model] = known if len(known) == len(found) else None
        return self._known[model]


class MeteredCall:
    """The money side of one request: `async with meter.bill(request) as bill`. Set `is_sent` right before it goes out."""

    __slots__ = ("_actual", "_meter", "_payer", "_reservation", "_worst", "is_sent", "request")

    def __init__(
        self, meter: CallMeter, request: Request, payer: Account | None, worst: Amount
    ) -> None:
        self._meter = meter
        self._payer = payer
        self._worst = worst
        self._reservation: Reservation | None = None
        self._actual: tuple[Amount, bool] | None = None
        self.request = request
        self.is_sent = False

    async def __aenter__(self) -> MeteredCall:
        if self._payer is not None:
            self._reservation = await self._payer.reserve(self._worst)
        return self

    def add_price(self, response: Response) -> Response:
        """The response with its price: what the endpoint reported, else what the table says, else unknown."""
        if response.usd_source == "none" and not response.usage.is_estimated:
            cost = self._meter.cost(self.request.model, response.usage)
            if cost is not None:
                response = replace(
                    response, usd=cost, usd_source="free" if self._meter.terms.is_free else "table"
                )
        if self._reservation is not None:
            self._actual = self._amount(
                response.usage, None if response.usd_source == "none" else response.usd
            )
        return response

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if (
            isinstance(error, AnswerError)
            and error.usd is None
            and error.usage is not None
            and not error.usage.is_estimated
        ):
            error.usd = self._meter.cost(self.request.model, error.usage)
        if self._reservation is None:
            return
        if not self.is_sent:
            self._reservation.release()
        else:
            amount, is_estimate = self._actual or self._of_failure(error)
            self._reservation.settle(amount, is_estimate=is_estimate)
        if isinstance(error, TimedOut) and self._is_out_of_time():
            raise self.build_timeout_error(error.limit) from None

    def build_timeout_error(self, limit: str) -> GraphorchError:
        """The error for a call that took too long: the seconds of the budget are over, or the time of this call is."""
        if self._payer is not None and self._is_out_of_time():
            return self._payer.build_time_error()
        within = "in time" if self.request.timeout is None else f"within {self.request.timeout:g} s"
        waiting = (
            ""
            if self.is_sent
            else " It was still waiting for its turn or for room in the budget, and nothing was sent."
        )
        message = f"Model '{self.request.model}' did not answer {within} (limit: {limit}).{waiting} Give the call more time."
        return TimedOut(message, model=self.request.model, limit=limit)

    def _is_out_of_time(self) -> bool:
        left = None if self._payer is None else self._payer.seconds_left
        return left is not None and left <= 0

    def _of_failure(self, error: BaseException | None) -> tuple[Amount, bool]:
        if isinstance(error, ModelError) and error.status in _UNCHARGED:
            return Amount(), False
        usage = error.usage if isinstance(error, AnswerError) else None
        return self._amount(usage, error.usd if isinstance(error, AnswerError) else None)

    def _amount(self, usage: Usage | None, usd: float | None) -> tuple[Amount, bool]:
        """What to book, and whether some of it is the worst case for want of a bill."""
        exact = (
            None
            if usage is None or usage.is_estimated
            else usage.input_tokens + usage.output_tokens
        )
        tokens = self._worst.tokens if exact is None else exact
        return Amount(self._worst.usd if usd is None else usd, tokens), exact is None or usd is None


class MeteredClient:
    """A `ModelClient` whose calls are paid by their `payer`. It belongs right around the client that sends: inside of every retry."""

    def __init__(
        self, client: ModelClient, prices: PriceLookup, terms: PricingTerms | None = None
    ) -> None:
        self._client = client
        self._meter = CallMeter(prices, terms)

    def __repr__(self) -> str:
        return f"MeteredClient({self._client!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """The answer, paid for. Raises `CapReached` if it does not fit, `InputError` if it has no worst case where a cap needs one."""
        async with self._meter.open_call(request) as bill:
            bill.is_sent = True
            return bill.add_price(await self._client.complete(bill.request, on_text))

    async def aclose(self) -> None:
        """Close the client within."""
        await close(self._client)
