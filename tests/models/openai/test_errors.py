"""Errors of an endpoint: their pauses, their texts, and secrets that they must not show."""

from __future__ import annotations

import pytest

from graphorch.errors import InputError, ModelError
from graphorch.models.errors import ContextOverflow, Refused, Truncated
from graphorch.models.messages import Usage
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.policies.failure_kinds import classify_failure
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


CODES: list[tuple[int, object, type[ModelError]]] = [
    (400, {"code": "context_length_exceeded", "message": "no"}, ContextOverflow),
    (400, {"type": "exceed_context_size_error", "code": 400, "message": "no"}, ContextOverflow),
    (400, {"message": "prompt is too long: 210000 tokens > 200000 maximum"}, ContextOverflow),
    (
        400,
        {
            "code": 400,
            "status": "INVALID_ARGUMENT",
            "message": "The input token count (1200000) exceeds the maximum number of tokens "
            "allowed (1048576).",
        },
        ContextOverflow,
    ),
    (400, {"message": "Input is too long for requested model."}, ContextOverflow),
    (400, {"message": "input length and `max_tokens` exceed context limit"}, ContextOverflow),
    (
        400,
        {"code": "InvalidParameter", "message": "Range of input length should be [1, 30720]"},
        ContextOverflow,
    ),
    (413, {"message": "no"}, ContextOverflow),
    (500, {"message": "the request exceeds the available context size"}, ContextOverflow),
    (
        400,
        {
            "code": None,
            "message": "The response was filtered.",
            "innererror": {"code": "ResponsibleAIPolicyViolation"},
        },
        Refused,
    ),
    (400, {"code": "content_filter", "message": "no"}, Refused),
    (400, {"code": "DataInspectionFailed", "message": "no"}, Refused),
    (400, {"code": "1301", "message": "no"}, Refused),
    (403, {"message": "Your input was flagged", "metadata": {"reasons": ["x"]}}, Refused),
    (400, {"type": "GUARDRAIL_INTERVENED", "message": "no"}, Refused),
    (400, {"message": "Content violates usage guidelines."}, Refused),
    (429, {"message": "tokens per minute: too many tokens"}, ModelError),
    (401, {"message": "moderation key missing"}, ModelError),
    (400, {"message": "temperature must be below 2"}, ModelError),
    (500, {"message": "moderation service failed"}, ModelError),
]


@pytest.mark.parametrize("status, error, kind", CODES)
def test_error_code_tells_kind(status: int, error: object, kind: type[ModelError]) -> None:
    """Tell from code and words that a prompt is too long, or was refused by a filter."""
    for body in ({"error": error}, [{"error": error}]):
        failure = expect_failure(replies(body, status))
        assert type(failure) is kind
        assert failure.status == status
    # a policy asks its next target then
    expected = {ContextOverflow: "context_overflow", Refused: "filtered"}
    assert kind not in expected or classify_failure(failure) == expected[kind]


@pytest.mark.parametrize(
    "error, status, retryable",
    [
        ({"code": "rate_limit_exceeded", "message": "no"}, 429, True),
        ({"code": "insufficient_quota", "message": "no"}, 402, False),
        ({"code": "invalid_api_key", "type": "invalid_request_error", "message": "no"}, 401, False),
        ({"code": "model_not_found", "type": "invalid_request_error", "message": "no"}, 404, False),
        ({"type": "overloaded_error", "message": "no"}, 500, True),
        ({"type": "server_error", "message": "no"}, 500, True),
        ({"code": 502, "message": "no"}, 502, True),
        ({"message": "no"}, None, True),
    ],
)
def test_code_in_answer_tells_status(error: object, status: int | None, retryable: bool) -> None:
    """Tell from the code of an error inside an answer what its status would have been."""
    failure = expect_failure(replies({"error": error}))
    assert (failure.status, failure.retryable) == (status, retryable)


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
