"""The text that explains where a model's name leads."""

from __future__ import annotations

import tomllib

import pytest

from graphorch.errors import InputError
from graphorch.models.config.explanation import explain_policy
from graphorch.models.config.loader import parse_config
from tests.models.config.examples import WHOLE

LOCAL = """
[endpoints.local]
base_url = "http://127.0.0.1:9/v1"
key_env = "K"
MORE

[prices.mine]
input = 2
output = 4
"""


@pytest.mark.parametrize(
    ("model", "more", "price"),
    [
        ("mine", "", "$2 / $4 per million tokens"),
        ("mine", "markup = 0.5", "$2 / $4 per million tokens"),
        ("openai/gpt-5", "", "$1.25 / $10 per million tokens (list price)"),
        (
            "openai/gpt-5",
            "markup = 1.0",
            "$2.5 / $20 per million tokens (list price and 100 % of the gateway's)",
        ),
        ("own", "", 'price unknown ([prices."own"] sets it)'),
        ("own", "free = true", "free"),
    ],
)
def test_explanation_names_price_that_counts(model: str, more: str, price: str) -> None:
    """A price is the one that a call is booked at: free, yours, the list's, or unknown."""
    config = parse_config(tomllib.loads(LOCAL.replace("MORE", more)))
    assert explain_policy(config, model, {"K": "k"}).endswith(f"key in K (set); {price}")


def test_explanation_names_endpoints_and_reasons() -> None:
    """Explain the endpoint of each target, and the reason for it."""
    config = parse_config(tomllib.loads(WHOLE))
    explanation = explain_policy(config, "policy/careful", {"REQUESTY_API_KEY": "rqy_secret"})
    assert explanation.splitlines() == [
        "policy/careful is a fallback: the first that answers, in this order; "
        "at most 30 s for an attempt",
        "  openai/gpt-5: endpoint 'main' (requesty; the default endpoint); "
        "key in REQUESTY_API_KEY (set); "
        "rpm 60, concurrency 8; $1.25 / $10 per million tokens",
        "  gpt-5: endpoint 'direct' (openai; named by the target); "
        "key in OPENAI_API_KEY (NOT SET); $1.25 / $10 per million tokens (list price)",
        "  policy/split is a weighted: at random by weight; equal sticky keys stay together",
        "    75% of the calls:",
        "    openai/gpt-5-mini: endpoint 'main' (requesty; the default endpoint); "
        "key in REQUESTY_API_KEY (set); "
        "$0.2625 / $2.1 per million tokens (list price and 5 % of the gateway's)",
        "    25% of the calls:",
        "    openai/gpt-5-nano: endpoint 'main' (requesty; the default endpoint); "
        "key in REQUESTY_API_KEY (set); "
        "$0.0525 / $0.42 per million tokens (list price and 5 % of the gateway's)",
    ]
    assert "passed on: it is a policy of the gateway's own" in explain_policy(
        config, "policy/theirs", {}
    )
    with pytest.raises(InputError, match="There is no policy 'theirs'"):
        explain_policy(parse_config({}), "policy/theirs", {})
