"""Errors of an endpoint: their pauses, their texts, and secrets that they must not show."""

from __future__ import annotations

import pytest

from graphorch.errors import InputError
from graphorch.models.errors import Truncated
from graphorch.models.messages import Usage
from graphorch.models.openai.client import OpenAIClient
from tests.models.openai.calls import KEY, expect_failure
from tests.models.servers import completion, replies


@pytest.mark.parametrize(
    "headers, seconds",
    [
        ({"retry-after": "3600"}, 3600),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        (
            {
                "retry-after": "Wed, 25 Nov 2026 10:00:30 GMT",
                "date": "Wed, 25 Nov 2026 10:00:00 GMT",
            },
            30,
        ),
        (
            {
                "retry-after": "Wed, 25 Nov 2026 09:00:00 GMT",
                "date": "Wed, 25 Nov 2026 10:00:00 GMT",
            },
            0,
        ),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({}, None),
    ],
)
def test_requested_pause_is_reported(headers: dict[str, str], seconds: float | None) -> None:
    """Report the pause that the endpoint asks for."""
    assert expect_failure(replies(b"", 429, headers)).retry_after == seconds


def test_useless_answer_keeps_text_and_usage() -> None:
    """Keep the text and the usage of a useless answer in the error."""
    failure = expect_failure(replies(completion("half", "length")))
    assert isinstance(failure, Truncated)
    assert (failure.partial, failure.usage) == ("half", Usage(7, 3))


def test_endpoint_text_is_sanitised() -> None:
    """Remove control characters from the text of an endpoint and shorten it."""
    shown = str(
        expect_failure(
            replies({"error": {"message": "a\r\nINFO forged\x1b[2J\u202e b" + "y" * 500}}, 500)
        )
    )
    assert "a INFO forged [2J b" in shown
    assert len(shown) < 600
    assert "\n" not in shown


@pytest.mark.parametrize("key", ["sk two", "sk-\n", "sk-“quoted”", "sk\x00"])
def test_malformed_key_is_refused(key: str) -> None:
    """Refuse a badly copied key without showing it."""
    with pytest.raises(InputError, match="copied") as caught:
        OpenAIClient("http://127.0.0.1/v1", key)
    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:80",
        "ftp://x/v1",
        "http://",
        "http://u:p4ss@x/v1",
        "http://x/v1?key=p4ss",
        "http://x:99999/v1",
    ],
)
def test_malformed_address_is_refused(url: str) -> None:
    """Refuse an invalid address without showing it."""
    with pytest.raises(InputError, match=r"127\.0\.0\.1:8000") as caught:
        OpenAIClient(url, KEY)
    assert "p4ss" not in str(caught.value)
