"""Usage of an answer, field by field: what can be counts, what cannot be is unknown."""

from __future__ import annotations

from typing import Any

import pytest

from graphorch.models.messages import Response, Usage
from tests.models.openai.calls import ask
from tests.models.servers import chunk, completion, event, replies, streams

FULL: dict[str, Any] = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
KNOWN = Usage(1000, 500)


def ask_with(usage: object, text: object = "hello") -> Response:
    return ask(replies({**completion(text), "usage": usage}))


@pytest.mark.parametrize(
    "usage, expected",
    [
        (FULL, KNOWN),
        ({**FULL, "prompt_tokens": 1000.0, "completion_tokens": "500"}, KNOWN),
        ({**FULL, "total_tokens": None, "prompt_tokens_details": []}, KNOWN),
        ({**FULL, "total_tokens": "many", "completion_tokens_details": "x"}, KNOWN),
        ({**FULL, "total_tokens": 7}, KNOWN),
        ({**FULL, "completion_tokens": None}, KNOWN),
        ({**FULL, "completion_tokens": -1}, KNOWN),
        ({**FULL, "completion_tokens": True}, KNOWN),
        ({**FULL, "completion_tokens": 0}, KNOWN),
        ({**FULL, "prompt_tokens": 0}, KNOWN),
        ({**FULL, "prompt_tokens": "x"}, KNOWN),
        ({"input_tokens": 1000, "output_tokens": 500}, KNOWN),
        ({"inputTokens": 1000, "outputTokens": 500}, KNOWN),
        ({**FULL, "prompt_tokens_details": {"cached_tokens": "12"}}, Usage(1000, 500, 12)),
        ({**FULL, "prompt_tokens_details": {"cached_tokens": None}}, KNOWN),
        ({**FULL, "prompt_tokens_details": {"cached_tokens": 9999}}, Usage(1000, 500, 1000)),
        ({**FULL, "cached_tokens": 12}, Usage(1000, 500, 12)),
        ({**FULL, "prompt_cache_hit_tokens": 12}, Usage(1000, 500, 12)),
        ({**FULL, "cache_read_input_tokens": 12}, Usage(1000, 500, 12)),
        (
            {
                "input_tokens": 10,
                "output_tokens": 500,
                "cache_read_input_tokens": 900,
                "cache_creation_input_tokens": 90,
            },
            Usage(1000, 500, 900),
        ),
        # thoughts that the output leaves out
        ({"prompt_tokens": 1000, "completion_tokens": 8, "total_tokens": 1500}, KNOWN),
        (
            {
                "prompt_tokens": 1000,
                "completion_tokens": 40,
                "completion_tokens_details": {"reasoning_tokens": 460},
            },
            KNOWN,
        ),
        ({**FULL, "completion_tokens_details": {"reasoning_tokens": 400}}, KNOWN),
    ],
)
def test_usage_is_read_by_field(usage: object, expected: Usage) -> None:
    """Read each number that can be, under any of its names, and derive one from the others."""
    assert ask_with(usage).usage == expected


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        "many",
        {},
        {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": -1, "completion_tokens": -2},
        {"prompt_tokens": float("nan"), "completion_tokens": 1e30},
        {"prompt_tokens": 10.5, "completion_tokens": {"n": 1}},
        {"prompt_tokens": False, "completion_tokens": True},
        {"prompt_tokens": 10**400},
    ],
)
def test_impossible_usage_is_unknown(usage: object) -> None:
    """Estimate a usage of which no number can be, and say so."""
    response = ask_with(usage)
    assert response.usage == Usage(1, 2, is_estimated=True)
    assert "estimated from the length" in response.note
    assert (response.usd, response.usd_source) == (0.0, "none")


def test_missing_number_is_unknown() -> None:
    """Estimate only the number that is missing, and mark the usage."""
    response = ask_with({"prompt_tokens": 1000})
    assert response.usage == Usage(1000, 2, is_estimated=True)
    assert "no usable number of output tokens" in response.note
    response = ask_with({"prompt_tokens": 0, "completion_tokens": 500})
    assert response.usage == Usage(1, 500, is_estimated=True)
    assert "no usable number of input tokens" in response.note


@pytest.mark.parametrize(
    "cost, usd",
    [
        (0.5, 0.5),
        ("0.5", 0.5),
        (1, 1.0),
        (0, 0.0),
        (5e-7, 5e-7),
        ({"total_cost": 0.5, "currency": "USD"}, 0.5),
        (None, None),
        (-1, None),
        (True, None),
        ("free", None),
        (float("inf"), None),
        (float("nan"), None),
        ([], None),
        ({}, None),
    ],
)
def test_cost_is_read_or_unknown(cost: object, usd: float | None) -> None:
    """Read a cost that can be, whatever the tokens are; any other is unknown."""
    response = ask_with({**FULL, "cost": cost})
    assert (response.usd, response.usd_source) == (
        (0.0, "none") if usd is None else (usd, "reported")
    )
    assert response.usage == KNOWN
    if usd:
        assert ask_with({"prompt_tokens": "x", "cost": cost}).usd == usd


def test_nothing_for_nothing_is_unknown() -> None:
    """Take zero dollars for zero tokens for an endpoint that did not count."""
    response = ask_with({"prompt_tokens": 0, "completion_tokens": 0, "cost": 0})
    assert response.usd_source == "none"


@pytest.mark.parametrize(
    "events",
    [
        [chunk("hi"), {**chunk(None, "stop"), "usage": FULL}],
        [chunk("hi"), {**chunk(None, "stop"), "x_groq": {"usage": FULL}}],
        [chunk("hi"), chunk(None, "stop"), {**chunk(), "usage": FULL}],
        [{**chunk("hi"), "usage": {"prompt_tokens": 1000}}, chunk(None, "stop"), {"usage": FULL}],
        [
            {**chunk("h"), "usage": {**FULL, "completion_tokens": 1, "total_tokens": 1001}},
            {**chunk("i"), "usage": {**FULL, "completion_tokens": 9, "total_tokens": 1009}},
            {**chunk(None, "stop"), "usage": FULL},
        ],
        [
            {**chunk("hi"), "usage": FULL},
            {**chunk(None, "stop"), "usage": {"prompt_tokens": 0, "completion_tokens": 0}},
        ],
        [
            {**chunk("hi"), "usage": {"input_tokens": 1000}},
            {**chunk(None, "stop"), "usage": {"output_tokens": 500}},
        ],
    ],
)
def test_usage_comes_in_many_places(events: list[object]) -> None:
    """Find the usage wherever a stream has it; the last number that can be counts."""
    response = ask(streams([event(item) for item in events]), streamed=True)
    assert response.usage == KNOWN


def test_usage_may_be_in_choice() -> None:
    """Find the usage in the choice, as Moonshot sends it, whole and streamed."""
    body = completion("hello")
    del body["usage"]
    body["choices"][0]["usage"] = FULL
    assert ask(replies(body)).usage == KNOWN
    last = chunk(None, "stop")
    last["choices"][0]["usage"] = FULL
    events = [event(chunk("hello")), event(last)]
    assert ask(streams(events), streamed=True).usage == KNOWN
