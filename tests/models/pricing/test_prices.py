"""Prices: known, unknown (never 0), and bounds that hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.errors import InputError
from graphorch.models.messages import Usage
from graphorch.models.pricing.model_price import ModelPrice, Rates
from graphorch.models.pricing.prices import Prices, Tariff

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
OWN = {
    "acme/large": Tariff(input=2.0, output=10.0, cached_input=0.5),
    "Acme/Small": {"input": 1, "output": 2},
}


def test_own_table_gives_price() -> None:
    """Take the price from the given table."""
    price = Prices(OWN, list_prices=False).find_price("acme/large")
    assert price is not None
    assert price.cost(Usage(1_000_000, 100_000)) == pytest.approx(2.0 + 1.0)
    assert price.cost(Usage(1_000_000, 100_000, cached_tokens=400_000)) == pytest.approx(
        0.6 * 2.0 + 0.4 * 0.5 + 1.0
    )
    assert price.worst(1_000_000, 100_000) == pytest.approx(3.0)
    assert price.source == "own"


def test_missing_cached_price_saves_nothing() -> None:
    """Charge cached tokens in full if the table has no price for them."""
    price = Prices(OWN, list_prices=False).find_price("acme/small")
    assert price is not None
    assert price.cost(Usage(1000, 0, cached_tokens=1000)) == price.cost(Usage(1000, 0))


@pytest.mark.parametrize(
    "name", ["acme/large", "ACME/Large", "acme/large-2026-01-31", "acme/large-20260131"]
)
def test_prices_match_spellings_and_snapshots(name: str) -> None:
    """Find a model by other spellings and dated snapshots."""
    assert Prices(OWN, list_prices=False).find_price(name) == Prices(
        OWN, list_prices=False
    ).find_price("acme/large")


@pytest.mark.parametrize(
    "name",
    [
        "acme/larger",
        "acme/large-pro",
        "acme/large@eu",
        "acme/large:free",
        "acme/large-latest",
        "large",
        "other/large",
        "policy/x",
        "",
        "acme/",
        "/",
    ],
)
def test_lookalike_model_has_no_price(name: str) -> None:
    """Return no price for a name that only resembles a known model."""
    assert Prices(OWN, list_prices=False).find_price(name) is None


WRONG: list[tuple[Mapping[str, object], str]] = [
    ({"input": -1, "output": 1}, r"m: input: Input should be greater than or equal to 0"),
    (
        {"input": math.nan, "output": 1},
        r"m: input: Input should be a finite number|m: input: Input should be greater",
    ),
    ({"input": math.inf, "output": 1}, r"m: input: Input should be a finite number"),
    ({"input": "1.25", "output": 1}, r"m: input: Input should be a valid number"),
    ({"input": True, "output": 1}, r"m: input: Input should be a valid number"),
    ({"input": 1}, r"m: output: Field required"),
    (
        {"input": 1, "output": 1, "cachd_input": 1},
        r"m: cachd_input: Extra inputs are not permitted",
    ),
    (
        {"input": 1, "output": 1, "cached_input": -0.5},
        r"m: cached_input: Input should be greater than or equal to 0",
    ),
]


@pytest.mark.parametrize("line, message", WRONG)
def test_malformed_price_names_its_place(line: Mapping[str, object], message: str) -> None:
    """Refuse a malformed price and name its place."""
    with pytest.raises(InputError, match=message):
        Prices({"m": line})


def test_malformed_prices_are_reported_together() -> None:
    """Report all malformed lines at once and explain the format."""
    with pytest.raises(InputError) as caught:
        Prices(
            {"a": {"input": -1, "output": 1}, "b": {"input": 1, "output": 1}, "c": {"output": 1}}
        )
    assert str(caught.value) == (
        "The price table does not fit:\n"
        "  a: input: Input should be greater than or equal to 0\n"
        "  c: input: Field required\n"
        "Each line is dollars per million tokens, as numbers ≥ 0: "
        "{'input': 1.25, 'output': 10, 'cached_input': 0.125}; "
        "cached_input may be left out."
    )


@pytest.mark.parametrize("markup", [-0.1, math.nan, "5 %", True, 500])
def test_markup_is_checked(markup: float) -> None:
    """Refuse a markup that makes no sense."""
    with pytest.raises(InputError, match=r"Prices\(markup=.*such as 0\.05 for 5 %"):
        Prices(markup=markup)


def test_zero_price_is_not_unknown() -> None:
    """Tell a price of zero from an unknown price."""
    prices = Prices({"local/llama": {"input": 0, "output": 0}}, list_prices=False)
    free = prices.find_price("local/llama")
    assert free is not None
    assert free.cost(Usage(1000, 1000)) == 0.0
    assert prices.find_price("local/other") is None


TIERED = ModelPrice(
    (
        Rates(input=1.0, output=10.0, cached_input=0.1, dearest_input=1.25),
        Rates(above=200_000, input=2.0, output=15.0, cached_input=0.2, dearest_input=2.5),
    )
)


@pytest.mark.parametrize("tokens, rate", [(0, 1.0), (200_000, 1.0), (200_001, 2.0)])
def test_tier_applies_to_whole_call(tokens: int, rate: float) -> None:
    """Price all tokens of a call by the tier of its size."""
    assert TIERED.cost(Usage(tokens, 0)) == pytest.approx(tokens * rate / 1e6)


@given(
    st.integers(0, 400_000),
    st.integers(0, 400_000),
    st.integers(0, 100_000),
    st.integers(0, 100_000),
    st.integers(0, 400_000),
)
def test_worst_price_bounds_every_call(
    most_in: int, tokens: int, most_out: int, out: int, cached: int
) -> None:
    """Never price a call within its bounds above the worst case."""
    used = Usage(min(tokens, most_in), min(out, most_out), cached)
    night = ModelPrice(
        (Rates(input=3.0, output=1.0, cached_input=0.0, dearest_input=3.0),), fee=0.01
    )
    whole = ModelPrice(TIERED.tiers, 0.0, (night,))
    assert max(TIERED.cost(used), night.cost(used)) <= whole.worst(most_in, most_out) + 1e-12


def test_list_prices_match_gateway_names() -> None:
    """Find list prices by the names that gateways use."""
    prices = Prices(now=lambda: NOON)
    for name in ("openai/gpt-5", "openai/gpt-5-2025-08-07", "gpt-5", "OpenAI/GPT-5"):
        price = prices.find_price(name)
        assert price is not None, name
        assert (
            price.tiers[0].input,
            price.tiers[0].output,
            price.tiers[0].cached_input,
            price.source,
        ) == (1.25, 10.0, 0.125, "list")


@pytest.mark.parametrize(
    "name",
    [
        "openai/gpt-5-madeup",
        "anthropic/claude-sonnet-4-5-madeup",
        "my-openai/gpt-5",
        "bedrock/claude-sonnet-4-5@eu-central-1",
        "policy/frontier",
        "google/gemini-2.5-pro-madeup",
        "openai/text-embedding-3-small",
        "nobody/gpt-5",
        "madeup",
    ],
)
def test_uncertain_list_price_is_unknown(name: str) -> None:
    """Return no price if the match in the list is uncertain."""
    assert Prices(now=lambda: NOON).find_price(name) is None


def test_own_price_precedes_list_price() -> None:
    """Prefer the given price to the list, and apply the markup to the list only."""
    prices = Prices({"openai/gpt-5": {"input": 1, "output": 1}}, markup=0.05, now=lambda: NOON)
    own, listed = prices.find_price("openai/gpt-5"), prices.find_price("openai/gpt-5-mini")
    plain = Prices(now=lambda: NOON).find_price("openai/gpt-5-mini")
    assert own is not None and listed is not None and plain is not None  # noqa: PT018
    assert own.tiers[0].input == 1.0
    assert listed.worst(1000, 1000) == pytest.approx(1.05 * plain.worst(1000, 1000))


def test_list_tiers_are_kept() -> None:
    """Keep the tiers of the list, with the most expensive cache write as the worst case."""
    price = Prices(now=lambda: NOON).find_price("anthropic/claude-sonnet-4-5")
    assert price is not None
    assert [(rates.above, rates.input, rates.output) for rates in price.tiers] == [
        (0, 3.0, 15.0),
        (200_000, 6.0, 22.5),
    ]
    # writing to the cache for an hour
    assert price.worst(1000, 0) == pytest.approx(1000 * 6.0 / 1e6)


def test_hourly_price_is_bounded() -> None:
    """Bound a price that depends on the hour by the most expensive hour."""
    noon, night = (
        Prices(now=lambda at=at: at).find_price("deepseek/deepseek-chat")
        for at in (NOON, NOON + timedelta(hours=7))
    )
    assert noon is not None and night is not None  # noqa: PT018
    assert noon.cost(Usage(1000, 1000)) != night.cost(Usage(1000, 1000))
    assert (
        noon.worst(1000, 1000)
        == night.worst(1000, 1000)
        >= max(noon.cost(Usage(1000, 1000)), night.cost(Usage(1000, 1000)))
    )


def test_list_prices_agree_with_package() -> None:
    """Agree with the package's calculation of a call below every tier, for every known price."""
    from genai_prices import Usage as TheirUsage
    from genai_prices.data import providers

    known = 0
    prices = Prices(now=lambda: NOON)
    for provider in providers:
        for model in provider.models:
            ours = prices.find_price(f"{provider.id}/{model.id}")
            if ours is None or any(
                decimal is not None for decimal in (model.get_prices(NOON).output_reasoning_mtok,)
            ):
                continue
            known += 1
            theirs = model.calc_price(
                TheirUsage(input_tokens=1000, output_tokens=500, cache_read_tokens=0),
                provider,
                genai_request_timestamp=NOON,
            )
            assert ours.cost(Usage(1000, 500)) == pytest.approx(float(theirs.total_price)), (
                provider.id,
                model.id,
            )
    assert known > 1500
