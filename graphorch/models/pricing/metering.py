"""The worst case and the actual cost of a call: the link between calls, prices and accounts.

Rules of this file:
- every request is reserved for and settled by itself, so a retry, a fallback and a hedge are paid
  like any call;
- the worst case is a bound, not a guess: of the input by its bytes (`token_count.py`), of the
  output by the limit that the request carries. Where there is no bound (no price, no enforceable
  limit on the output), a cap on dollars refuses the call before it is sent;
- a request that was sent and has no bill is booked at the worst case, and so is one whose bill
  cannot be. Only what certainly was not charged is given back;
- what a request was charged is noted on the receipt of its call, also without a budget and whatever
  became of the call, so that no report forgets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Protocol

from graphorch.errors import GraphorchError, InputError, ModelError
from graphorch.models.budgets.budget import Account, Amount, Reservation
from graphorch.models.budgets.charge import NO_CHARGE, Charge, Departure, SentRequest
from graphorch.models.client import ModelClient, OnText, close, prepare
from graphorch.models.errors import AnswerError, ContextOverflow, TimedOut
from graphorch.models.messages import Request, Response, Usage, estimate_usage
from graphorch.models.token_count import bound_input_tokens

# Answers that say that no model ran. 400 is not among them: some providers charge for input that
# their filter refused (Microsoft's answer 1632971 on Azure OpenAI: 200 and 400 count, 429 does
# not), and neither is 503, which some gateways answer after a timeout. A redirect is not followed.
_UNCHARGED = frozenset({*range(300, 400), 401, 402, 403, 404, 405, 412, 413, 429, 501, 529})


def is_uncharged(status: int | None) -> bool:
    """Return whether an HTTP status says that no model ran, so that nothing was charged."""
    return status in _UNCHARGED


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
        if request.departure is not None and request.departure.bill is not None:
            request.departure.bill.hand_over()
        payer = request.payer
        if payer is None:
            return MeteredCall(self, replace(request, departure=Departure()), None)
        self.check_payable(request.model, payer)
        # 1. Bound the cost, and make the endpoint hold to the bound.
        worst, max_tokens = Amount(), request.max_tokens
        if max_tokens is not None:
            worst = self.worst(request)
        elif payer.has_cap("usd", "tokens"):
            worst = self.worst(request)
            max_tokens = self.terms.max_output
        # 2. Bound the time by that of the budget.
        left, timeout = payer.seconds_left, request.timeout
        if left is not None and (timeout is None or left < timeout):
            timeout = max(left, 0.0)
        addressed = replace(request, max_tokens=max_tokens, timeout=timeout, departure=Departure())
        return MeteredCall(self, addressed, worst)

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
                "input = 1.25, output = 10 (dollars per million tokens), or give its endpoint "
                "free = true."
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

    `worst` is what is reserved for it; None without a payer. Call `send` right before the request
    goes out.
    """

    __slots__ = (
        "_charge",
        "_departure",
        "_is_open",
        "_lost_usd",
        "_meter",
        "_request",
        "_reservation",
        "_worst",
        "is_sent",
        "request",
    )

    def __init__(self, meter: CallMeter, request: Request, worst: Amount | None) -> None:
        self._meter = meter
        self._worst = worst
        self._reservation: Reservation | None = None
        self._request: SentRequest | None = None  # as its receipt shows it
        self._charge: Charge | None = None
        self._departure = request.departure or Departure()
        if request.receipt is not None:
            self._departure.confirm = request.receipt.confirm
        self._is_open = False
        self._lost_usd = 0.0  # of requests that were repeated; what comes back includes it
        self.request = request
        self.is_sent = False

    async def __aenter__(self) -> MeteredCall:
        await self._open()
        self._departure.bill = self
        return self

    async def _open(self) -> None:
        """Reserve the worst case of a request, and announce it."""
        payer, receipt = self.request.payer, self.request.receipt
        if payer is not None and self._worst is not None:
            self._reservation = await payer.reserve(self._worst)
        self._is_open = True
        if receipt is None:
            return
        self._request = entry = SentRequest(self.request.model, receipt.target, receipt.is_hedge)
        entry.began = receipt.now()
        if receipt.is_announced:
            entry.worst = self._find_worst()
            try:
                await receipt.begin_request(entry)
            except BaseException as error:
                self._close(NO_CHARGE, error)
                raise

    def send(self) -> None:
        """Note that the request goes out now."""
        self.is_sent = True
        if self._request is not None and self.request.receipt is not None:
            self._request.began = self.request.receipt.now()

    def hand_over(self) -> None:
        """Leave the bill to a meter that is nearer to the endpoint."""
        if self._is_open:
            self._close(NO_CHARGE)

    async def begin_repeat(self, failure: BaseException | None) -> None:
        """Settle the request before, and reserve for the next one."""
        if self._is_open:
            charge = self._find_charge(failure)
            self._lost_usd += charge.usd
            self._close(charge, failure)
            self._departure.has_left = self._departure.is_watched = False
            await self._open()

    def add_price(self, response: Response) -> Response:
        """Return the response with its price, and keep that for the settlement.

        The price is what the endpoint reported, else that of the table, else unknown.
        """
        if not self._is_open:
            return response  # a meter further in has priced it
        usage = response.usage
        if self._request is not None:
            self._request.first_token_seconds = response.first_token_seconds
        if usage.input_tokens <= 0 or usage.output_tokens <= 0:
            response = _drop_impossible_bill(self.request, response)
        if response.usd_source == "none" and not response.usage.is_estimated:
            cost = self._meter.cost(self.request.model, response.usage)
            if cost is not None:
                source = "free" if self._meter.terms.is_free else "table"
                response = replace(response, usd=cost + self._lost_usd, usd_source=source)
        usd = None
        if response.usd_source != "none":
            usd = response.usd - self._lost_usd if self._lost_usd else response.usd
        if response.attempts or usd:
            self._charge = self._build_charge(response.usage, usd)
        else:
            # Nothing was sent: the answer is from a cache.
            self._charge = NO_CHARGE
        return response

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._departure.bill = None
        if self._is_open:
            self._close(self._charge or self._find_charge(error), error)
        if isinstance(error, TimedOut) and self._is_out_of_time():
            raise self.build_timeout_error(error.limit) from None

    def build_timeout_error(self, limit: str) -> GraphorchError:
        """Return the error for a call that took too long.

        Either the seconds of the budget are over, or the time of this call is.
        """
        payer = self.request.payer
        if payer is not None and self._is_out_of_time():
            return payer.build_time_error()
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
        payer = self.request.payer
        left = None if payer is None else payer.seconds_left
        return left is not None and left <= 0

    def _close(self, charge: Charge, error: BaseException | None = None) -> None:
        """Settle the reservation at a charge, and note the charge on the receipt."""
        receipt = self.request.receipt
        self._is_open = False
        if self._reservation is not None:
            if charge.requests:
                known_tokens = charge.input_tokens + charge.output_tokens
                is_estimate = charge.unpriced > 0 or charge.booked_tokens != known_tokens
                self._reservation.settle(charge.booked, is_estimate=is_estimate)
            else:
                self._reservation.release()
            self._reservation = None
        entry = self._request
        if receipt is not None and entry is not None:
            entry.charge, entry.error = charge, error
            entry.seconds, entry.has_ended = receipt.now() - entry.began, True
            receipt.end_request(entry)

    def _find_charge(self, error: BaseException | None) -> Charge:
        """Return what a request without an answer was charged."""
        if not self.is_sent or not self._departure.is_possible:
            return NO_CHARGE
        if isinstance(error, AnswerError):
            self._add_price_to_failure(error)
        # A prompt that is too long reaches no model, whatever status says so.
        if isinstance(error, ContextOverflow):
            return Charge(requests=1)
        if isinstance(error, ModelError) and is_uncharged(error.status):
            return Charge(requests=1)
        if isinstance(error, ModelError):
            usage, usd = error.usage if isinstance(error, AnswerError) else None, error.usd
            if usd is not None and self._lost_usd:
                usd = usd - self._lost_usd if usd > self._lost_usd else None
            return self._build_charge(usage, usd)
        return self._build_charge(None, None)

    def _find_worst(self) -> Amount:
        """Return the bound on the request, also where no cap needed it."""
        if self._worst is not None and self._worst.tokens:
            return self._worst
        return self._meter.worst(self.request)

    def _add_price_to_failure(self, error: AnswerError) -> None:
        """Price an answer of no use, if its usage was reported and its cost was not."""
        usage = error.usage
        if usage is not None and not _is_possible(usage, has_output=bool(error.partial.strip())):
            error.usage = usage = None
            error.usd = error.usd or None
        if error.usd is None and usage is not None and not usage.is_estimated:
            error.usd = self._meter.cost(self.request.model, usage)

    def _build_charge(self, usage: Usage | None, usd: float | None) -> Charge:
        """Return the charge of one request; the worst case stands in for what is not known."""
        tokens = None
        if usage is not None and not usage.is_estimated:
            tokens = usage.input_tokens + usage.output_tokens
            if usd is not None:
                return Charge(1, usd, 0, usage.input_tokens, usage.output_tokens, usd, tokens)
        worst = self._find_worst()
        has_price = self._meter.find_prices(self.request.model) is not None
        if usd is None and has_price and not worst.usd:
            usd = 0.0  # however much it was, it is free
        return Charge(
            requests=1,
            usd=usd or 0.0,
            unpriced=0 if usd is not None else 1,
            input_tokens=usage.input_tokens if usage is not None else 0,
            output_tokens=usage.output_tokens if usage is not None else 0,
            booked_usd=worst.usd if usd is None else usd,
            booked_tokens=worst.tokens if tokens is None else tokens,
        )


def _drop_impossible_bill(request: Request, response: Response) -> Response:
    """Return the response without a usage that cannot be, such as no tokens for a real answer.

    A cost of 0 beside it means as little.
    """
    usage, has_output = response.usage, bool(response.text.strip() or response.tool_calls)
    if not response.attempts or usage.is_estimated or response.usd_source == "free":
        return response
    if _is_possible(usage, has_output=has_output):
        return response
    note = "the endpoint reported a usage that cannot be: the tokens are estimated"
    response = replace(
        response,
        usage=estimate_usage(request, response.text),
        note="; ".join(filter(None, (response.note, note))),
    )
    return response if response.usd else replace(response, usd_source="none")


def _is_possible(usage: Usage, *, has_output: bool) -> bool:
    """Return whether a request can have used so much: there is no prompt without tokens."""
    return usage.input_tokens > 0 and (usage.output_tokens > 0 or not has_output)


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
            call.send()
            return call.add_price(await self._client.complete(call.request, on_text))

    def check_payable(self, model: str, payer: Account) -> None:
        """Raise `InputError` if a call of this model has no bound in the unit of a cap."""
        self._meter.check_payable(model, payer)

    async def prepare(self) -> None:
        """Prepare the inner client."""
        await prepare(self._client)

    async def aclose(self) -> None:
        """Close the inner client."""
        await close(self._client)
