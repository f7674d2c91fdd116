"""Headers about limits: the spellings of several providers, and those that say nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.models.openai.rate_headers import read_rate_status
from graphorch.models.rate_status import RateStatus

DATE = "Mon, 30 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (
            {
                "x-ratelimit-limit-requests": "60",
                "x-ratelimit-remaining-requests": "59",
                "x-ratelimit-reset-requests": "1s",
                "x-ratelimit-limit-tokens": "150000",
                "x-ratelimit-remaining-tokens": "149984",
                "x-ratelimit-reset-tokens": "6m0s",
            },
            RateStatus(
                requests=59, requests_limit=60, requests_reset=1,
                tokens=149_984, tokens_limit=150_000, tokens_reset=360,
            ),
        ),
        (
            {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "20ms"},
            RateStatus(requests=0, requests_reset=0.02),
        ),
        (
            {"x-ratelimit-remaining-tokens": "12", "x-ratelimit-reset-tokens": "1h2m3.5s"},
            RateStatus(tokens=12, tokens_reset=3723.5),
        ),
        (
            {
                "date": DATE,
                "anthropic-ratelimit-requests-remaining": "3",
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-reset": "2026-11-30T10:00:30Z",
            },
            RateStatus(requests=3, requests_limit=50, requests_reset=30),
        ),
        (
            {"date": DATE, "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1796032845000"},
            RateStatus(requests=0, requests_reset=45),
        ),
        (
            {"ratelimit-remaining": "5", "ratelimit-limit": "10, 10;w=60", "ratelimit-reset": "7"},
            RateStatus(requests=5, requests_limit=10, requests_reset=7),
        ),
        ({"ratelimit": '"default";r=50;t=30'}, RateStatus(requests=50, requests_reset=30)),
        (
            {"llm_provider-x-ratelimit-remaining-requests": "4"},
            RateStatus(requests=4),
        ),
    ],
)  # fmt: skip
def test_headers_of_providers(headers: dict[str, str], status: RateStatus) -> None:
    """Each spelling gives what is left, of which limit, and for how many seconds."""
    assert read_rate_status(headers) == status


@given(
    st.dictionaries(
        st.sampled_from(
            ["date", "ratelimit", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests",
             "x-ratelimit-remaining", "x-ratelimit-reset", "x-ratelimit-limit"]
        ),
        st.text() | st.sampled_from(["1s", "-1", "nan", "inf", "1e9", "0", "99999999999999999"]),
    )
)  # fmt: skip
def test_headers_of_any_kind_are_read(headers: dict[str, str]) -> None:
    """Whatever the headers hold, reading raises nothing and gives no negative number."""
    status = read_rate_status(headers)
    if status is not None:
        values = [status.requests, status.requests_limit, status.requests_reset]
        assert all(value is None or value >= 0 for value in values)
