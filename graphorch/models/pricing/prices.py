"""Prices by model name: a table of your own, then the list prices of `genai-prices`.

Rules of this file:
- a price that is not known for certain is None, which means *unknown* and never 0;
- a bound is never too low: it includes everything that a provider may charge for (a higher tier, a
  cache write, another hour of the day);
- nothing is fetched: the list prices are those of the installed package, and as old as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from graphorch.errors import InputError
from graphorch.models.pricing.model_price import ModelPrice, Rates
from graphorch.models.pricing.price_list import ListPrices
from graphorch.models.token_count import strip_snapshot

_Dollars = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Tariff(BaseModel):
    """One line of your own price table, in US dollars per million tokens.

    Without `cached_input`, the cache saves nothing.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    input: _Dollars
    output: _Dollars
    cached_input: _Dollars | None = None


class Prices:
    """Prices of models by the names that a gateway uses: `provider/model`.

    `own` maps such names to a `Tariff` (or a dictionary of its fields) and goes before the list
    prices. `markup` is the fraction that the gateway adds to list prices (0.05 for 5 %); your own
    prices are taken as what you pay. `list_prices=False` uses `own` only. `now` returns the time,
    for prices that start on a date or depend on the hour.

    Raises `InputError` for a price or a markup that makes no sense, with all wrong lines at once.
    """

    def __init__(
        self,
        own: Mapping[str, Tariff | Mapping[str, object]] | None = None,
        *,
        markup: float = 0.0,
        list_prices: bool = True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        if not _is_fraction(markup):
            raise InputError(
                f"Prices(markup={markup!r}) makes no sense: give the fraction that the gateway "
                "adds, such as 0.05 for 5 %."
            )
        self._own = _read_own_prices(own or {})
        self._markup = markup
        self._list = ListPrices()
        self._use_list = list_prices
        self._now = now

    def find_price(self, model: str) -> ModelPrice | None:
        """Return the price of a model, or None if it is unknown.

        A dated snapshot (`-2025-08-07`) without a price of its own costs what its model costs.
        Nothing else is guessed: another region (`@eu`), variant (`:free`) or suffix (`-pro`,
        `-latest`) is another model; a policy (`policy/…`) has no price.
        """
        name = model.strip().lower()
        own = self._own.get(name) or self._own.get(strip_snapshot(name))
        if own is not None or not self._use_list:
            return own
        listed = self._list.find(name, self._now())
        if listed is None or not self._markup:
            return listed
        return listed.times(1 + self._markup)


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 100


def _read_own_prices(
    table: Mapping[str, Tariff | Mapping[str, object]],
) -> dict[str, ModelPrice]:
    """Return the checked table of the user by lower-case name."""
    prices: dict[str, ModelPrice] = {}
    problems: list[str] = []
    for name, line in table.items():
        try:
            tariff = Tariff.model_validate(line)
        except ValidationError as error:
            problems += _list_problems(name, error)
        else:
            prices[name.strip().lower()] = _build_price(tariff)
    if problems:
        listed = "\n".join(problems)
        raise InputError(
            f"The price table does not fit:\n{listed}\n"
            "Each line is dollars per million tokens, as numbers ≥ 0: "
            "{'input': 1.25, 'output': 10, 'cached_input': 0.125}; cached_input may be left out."
        )
    return prices


def _list_problems(name: str, error: ValidationError) -> Iterator[str]:
    for details in error.errors(include_url=False):
        where = ".".join(str(step) for step in details["loc"])
        message = f"{where}: {details['msg']}" if where else details["msg"]
        yield f"  {name}: {message}"


def _build_price(tariff: Tariff) -> ModelPrice:
    cached = tariff.input if tariff.cached_input is None else tariff.cached_input
    rates = Rates(
        input=tariff.input,
        output=tariff.output,
        cached_input=cached,
        dearest_input=max(tariff.input, cached),
    )
    return ModelPrice((rates,))
