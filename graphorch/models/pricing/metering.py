"""The worst case and the actual cost of a call: the link between calls, prices and accounts.

Rules of this file:
- every request is reserved for and settled by itself, so a retry, a fallback and a hedge are paid
  like any call;
- the worst case is a bound, not a guess: of the input by its bytes (`token_count.py`), of the
  output by the limit that the request carries. Where there is no bound (no price, no enforceable
  limit on the output), a cap on dollars refuses the call before it is sent;
- a request that was sent and has no bill is booked at the worst case. Only what certainly was not
  charged is given back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

from graphorch.errors import GraphorchError, InputError, ModelError
from graphorch.models.budgets.budget import Account, Amount, Reservation
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.errors import AnswerError, TimedOut
from graphorch.models.messages import Request, Response, Usage
from graphorch.models.token_count import bound_input_tokens

# Answers that say that no model ran. 400 is not among them: some providers charge for input that
# their filter refused (Microsoft's answer 1632971 on Azure OpenAI: 200 and 400 count, 429 does
# not), and neither is 503, which some gateways answer after a timeout.
_UNCHARGED = frozenset({401, 402, 403, 404, 405, 412, 429, 529})


class ModelPricing(Protocol):
    """Dollars that one model costs."""

    def cost(self, usage: Usage, /) -> float:
        """Return the price of these tokens."""
        ...

    def worst(self, input_tokens: int, max_output_tokens: int, /) -> float:
        """Return the highest price that so many tokens can have.

        Nothing is cached, and the dearest tier that they may reach applies.
        """
        ...


class PriceLookup(Protocol):
    """Prices of models by name."""

    def find_price(self, model: str, /) -> ModelPricing | None:
        """Return the price of a model, or None if it is unknown; a price of zero is known."""
        ...


class NoPrices:
    """A `PriceLookup` that knows no price."""

    def find_price(self, model: str, /) -> ModelPricing | None:
        """Return None."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PricingTerms:
    """Terms on which one target charges.

    `is_free`: it costs nothing, such as a model on this machine. `caps_output`: it obeys the limit
    on output tokens. `max_output` is that limit where a budget needs one and the request has none.
    `reaches` are the models that may answer in its place, for a policy of the gateway's own: the
    dearest of them is the worst case.
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
        """Return the money side of one call: reserved on entry, settled on exit.

        Raises `InputError` if the call needs a worst case and has none.
        """
        payer = request.payer
        if payer is None:
            return MeteredCall(self, request, None, Amount())
        self.check_payable(request.model, payer)
        # 1. Bound the cost, and make the endpoint hold to the bound.
        worst = Amount()
        if request.max_tokens is not None:
            worst = self.worst(request)
        elif payer.has_cap("usd", "tokens"):
            worst = self.worst(request)
            request = replace(request, max_tokens=self.terms.max_output)
        # 2. Bound the time by that of the budget.
        left = payer.seconds_left
        if left is not None and (request.timeout is None or left < request.timeout):
            request = replace(request, timeout=max(left, 0.0))
        return MeteredCall(self, request, payer, worst)

    def check_payable(self, model: str, payer: Account) -> None:
        """Raise `InputError` if a call of this model has no bound in the unit of a cap."""
        if not self.terms.caps_output and payer.has_cap("usd", "tokens"):
            raise InputError(
                f"Model '{model}' cannot be called under a budget: its endpoint does not obey a "
                "limit on output tokens, so the cost of a call has no bound. Use another model, or "
                "limit calls and seconds instead of dollars and tokens."
            )
        # Looked up without a cap too: loading the prices is slow and may fail, and neither must
        # happen to an answer that is already paid for.
        prices = self.find_prices(model)
        if prices is None and payer.has_cap("usd"):
            missing = self._find_unpriced(model)
            raise InputError(
                f"Model '{missing}' cannot be called under a budget in dollars: its price is not "
                f'known. Add it to the prices, in graphorch.toml: [prices."{missing}"] '
                "input = 1.25, output = 10 (dollars per million tokens)."
            )

    def _find_unpriced(self, model: str) -> str:
        """Return the model that has no price: one of those that may answer, or the model itself."""
        for reachable in self.terms.reaches:
            if self._prices.find_price(reachable) is None:
                return reachable
        return model

    def worst(self, request: Request) -> Amount:
        """Return the bound on one request under a cap, at the dearest model that may answer it.

        It is 0 dollars if the price is unknown.
        """
        input_tokens = bound_input_tokens(request)
        output_tokens = request.max_tokens or self.terms.max_output
        prices = self.find_prices(request.model) or ()
        dearest = max((price.worst(input_tokens, output_tokens) for price in prices), default=0.0)
        return Amount(dearest, input_tokens + output_tokens)

    def cost(self, model: str, usage: Usage) -> float | None:
        """Return the listed price of these tokens at the dearest model that may have answered.

        None if it is unknown.
        """
        prices = self.find_prices(model)
        if prices is None:
            return None
        return max((price.cost(usage) for price in prices), default=0.0)

    def find_prices(self, model: str) -> tuple[ModelPricing, ...] | None:
        """Return the prices that a call of this model may have.

        The tuple is empty if the call is free; None if one of the prices is unknown.
        """
        if self.terms.is_free:
            return ()
        if model not in self._known:
            self._known[model] = self._look_up_prices(self.terms.reaches or (model,))
        return self._known[model]

    def _look_up_prices(self, models: Sequence[str]) -> tuple[ModelPricing, ...] | None:
        prices: list[ModelPricing] = []
        for model in models:
            price = self._prices.find_price(model)
            if price is None:
                return None
            prices.append(price)
        return tuple(prices)


class MeteredCall:
    """The money side of one request: `async with meter.open_call(request) as call`.

    Set `is_sent` right before the request goes out.
    """

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
        """Return the response with its price, and keep that for the settlement.

        The price is what the endpoint reported, else that of the table, else unknown.
        """
        if response.usd_source == "none" and not response.usage.is_estimated:
            cost = self._meter.cost(self.request.model, response.usage)
            if cost is not None:
                source = "free" if self._meter.terms.is_free else "table"
                response = replace(response, usd=cost, usd_source=source)
        if self._reservation is not None:
            usd = None if response.usd_source == "none" else response.usd
            self._actual = self._amount_to_book(response.usage, usd)
        return response

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, AnswerError):
            self._add_price_to_failure(error)
        if self._reservation is None:
            return
        if not self.is_sent:
            self._reservation.release()
        else:
            amount, is_estimate = self._actual or self._amount_of_failure(error)
            self._reservation.settle(amount, is_estimate=is_estimate)
        if isinstance(error, TimedOut) and self._is_out_of_time():
            raise self.build_timeout_error(error.limit) from None

    def build_timeout_error(self, limit: str) -> GraphorchError:
        """Return the error for a call that took too long.

        Either the seconds of the budget are over, or the time of this call is.
        """
        if self._payer is not None and self._is_out_of_time():
            return self._payer.build_time_error()
        timeout = self.request.timeout
        within = "in time" if timeout is None else f"within {timeout:g} s"
        message = f"Model '{self.request.model}' did not answer {within} (limit: {limit})."
        if not self.is_sent:
            message += (
                " It was still waiting for its turn or for room in the budget, "
                "and nothing was sent."
            )
        message += " Give the call more time."
        return TimedOut(message, model=self.request.model, limit=limit)

    def _is_out_of_time(self) -> bool:
        if self._payer is None:
            return False
        left = self._payer.seconds_left
        return left is not None and left <= 0

    def _add_price_to_failure(self, error: AnswerError) -> None:
        """Price an answer of no use, if its usage was reported and its cost was not."""
        usage = error.usage
        if error.usd is None and usage is not None and not usage.is_estimated:
            error.usd = self._meter.cost(self.request.model, usage)

    def _amount_of_failure(self, error: BaseException | None) -> tuple[Amount, bool]:
        if isinstance(error, ModelError) and error.status in _UNCHARGED:
            return Amount(), False
        if isinstance(error, AnswerError):
            return self._amount_to_book(error.usage, error.usd)
        return self._amount_to_book(None, None)

    def _amount_to_book(self, usage: Usage | None, usd: float | None) -> tuple[Amount, bool]:
        """Return what to book, and whether part of it is the worst case for want of a bill."""
        tokens = None
        if usage is not None and not usage.is_estimated:
            tokens = usage.input_tokens + usage.output_tokens
        is_estimate = tokens is None or usd is None
        amount = Amount(
            self._worst.usd if usd is None else usd,
            self._worst.tokens if tokens is None else tokens,
        )
        return amount, is_estimate


class MeteredClient:
    """A `ModelClient` whose calls are paid by their `payer`.

    It belongs right around the client that sends, inside of every retry.
    """

    def __init__(
        self, client: ModelClient, prices: PriceLookup, terms: PricingTerms | None = None
    ) -> None:
        self._client = client
        self._meter = CallMeter(prices, terms)

    def __repr__(self) -> str:
        return f"MeteredClient({self._client!r})"

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the answer, paid for.

        Raises `CapReached` if it does not fit, `InputError` if it has no worst case where a cap
        needs one, and what the inner client raises.
        """
        async with self._meter.open_call(request) as call:
            call.is_sent = True
            return call.add_price(await self._client.complete(call.request, on_text))

    def check_payable(self, model: str, payer: Account) -> None:
        """Raise `InputError` if a call of this model has no bound in the unit of a cap."""
        self._meter.check_payable(model, payer)

    async def aclose(self) -> None:
        """Close the inner client."""
        await close(self._client)
