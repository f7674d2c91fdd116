"""The text that explains where a model's name leads."""

from __future__ import annotations

import tomllib

import pytest

from graphorch.errors import InputError
from graphorch.models.config.explanation import explain_policy
from graphorch.models.config.loader import parse_config
from tests.models.config.examples import WHOLE


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
        "key in OPENAI_API_KEY (NOT SET); price: see the list prices",
        "  policy/split is a weighted: at random by weight; equal sticky keys stay together",
        "    75% of the calls:",
        "    openai/gpt-5-mini: endpoint 'main' (requesty; the default endpoint); "
        "key in REQUESTY_API_KEY (set); price: see the list prices",
        "    25% of the calls:",
        "    openai/gpt-5-nano: endpoint 'main' (requesty; the default endpoint); "
        "key in REQUESTY_API_KEY (set); price: see the list prices",
    ]
    assert "passed on: it is a policy of the gateway's own" in explain_policy(
        config, "policy/theirs", {}
    )
    with pytest.raises(InputError, match="There is no policy 'theirs'"):
        explain_policy(parse_config({}), "policy/theirs", {})
