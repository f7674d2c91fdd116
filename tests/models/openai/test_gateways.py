"""Gateways over the wire: what each is sent beyond the protocol and what its answers hold."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from pydantic import SecretStr

from graphorch.errors import InputError, ModelError
from graphorch.models.messages import Request, Response
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.openai.errors import Endpoint
from graphorch.models.openai.gateways import (
    GATEWAYS,
    GENERIC,
    Connection,
    Gateway,
    check_address,
    find_gateway,
    find_gateway_at,
    read_connection,
)
from graphorch.models.policies.failure_kinds import CONSEQUENCES, classify_failure
from tests.models.fakes import ignore, request_to
from tests.models.servers import (
    Asked,
    Handler,
    completion,
    event,
    pieces_of,
    replies,
    serve,
    streams,
)

METADATA = {
    "run": "r1",
    "node": "write",
    "tags": "draft, blog",
    "user_id": "u7",
    "activation": "a9",
    "X-Requesty-Team": "docs",
}


def ask(
    gateway: Gateway, handler: Handler, request: Request, *, streamed: bool = False
) -> tuple[Response | ModelError, Asked]:
    async def main() -> tuple[Response | ModelError, Asked]:
        async with serve(handler) as server:
            client = OpenAIClient(server.url, "sk-secret", gateway=gateway)
            try:
                outcome: Response | ModelError = await client.complete(
                    request, ignore if streamed else None
                )
            except ModelError as error:
                outcome = error
            await client.aclose()
            return outcome, server.asked[0]

    return asyncio.run(main())


def with_usage(**usage: object) -> dict[str, Any]:
    return {**completion(), "usage": {"prompt_tokens": 7, "completion_tokens": 3, **usage}}


@pytest.mark.parametrize("name", ["generic", "openai"])
def test_plain_endpoint_gets_nothing_extra(name: str) -> None:
    """Send a plain endpoint only the protocol."""
    _, asked = ask(GATEWAYS[name], replies(completion()), request_to(metadata=METADATA))
    assert set(asked.body) == {"model", "messages"}
    assert not [header for header in asked.headers if "requesty" in header.lower()]


@pytest.mark.parametrize("streamed", [False, True])
def test_requesty_gets_object_and_headers(streamed: bool) -> None:
    """Send Requesty its object and its headers."""
    handler = streams(pieces_of("hi")) if streamed else replies(completion())
    _, asked = ask(
        GATEWAYS["requesty"].with_options({"auto_cache": True}),
        handler,
        request_to(metadata=METADATA),
        streamed=streamed,
    )
    assert asked.body["requesty"] == {
        "tags": ["draft", "blog"],
        "user_id": "u7",
        "trace_id": "r1",
        "extra": {"activation": "a9", "run": "r1", "node": "write"},
        "auto_cache": True,
    }
    assert {name.lower(): value for name, value in asked.headers.items()}[
        "x-requesty-team"
    ] == "docs"


@pytest.mark.parametrize(
    ("metadata", "trace"),
    [
        ({"run": "r1", "node": "write"}, "r1/write"),
        ({"run": "r1", "sticky_key": "user 7"}, "user 7"),
        ({"trace_id": "mine", "run": "r1"}, "mine"),
    ],
)
def test_requesty_trace_spreads_policy_calls(metadata: dict[str, str], trace: str) -> None:
    """Vary the trace in a run, since Requesty picks a policy's model by its hash."""
    body: Any = GATEWAYS["requesty"].build_body(request_to("policy/theirs", metadata=metadata))
    assert body["requesty"]["trace_id"] == trace


def test_requesty_without_metadata_gets_nothing() -> None:
    """Send Requesty nothing extra without metadata."""
    assert GATEWAYS["requesty"].build_body(request_to()) == {}


def test_openrouter_gets_models_and_preferences() -> None:
    """Send OpenRouter its list of models and its preferences."""
    options = {"models": ["a", "b"], "provider": {"sort": "price"}}
    _, asked = ask(
        GATEWAYS["openrouter"].with_options(options),
        replies(completion()),
        request_to(metadata=METADATA),
    )
    assert {name: asked.body[name] for name in ("models", "provider", "user")} == {
        **options,
        "user": "u7",
    }


def test_litellm_gets_metadata_and_fallbacks() -> None:
    """Send LiteLLM metadata and fallbacks."""
    _, asked = ask(
        GATEWAYS["litellm"].with_options({"fallbacks": ["cheap"]}),
        replies(completion()),
        request_to(metadata={"run": "r1", "tags": "a"}),
    )
    assert (asked.body["metadata"], asked.body["fallbacks"]) == (
        {"run": "r1", "tags": ["a"]},
        ["cheap"],
    )


@pytest.mark.parametrize("name", ["generic", "requesty", "openrouter", "litellm"])
def test_cost_in_usage_is_read(name: str) -> None:
    """Read the cost in the usage from every kind of endpoint."""
    outcome, _ = ask(GATEWAYS[name], replies(with_usage(cost=0.0021)), request_to())
    assert isinstance(outcome, Response)
    assert (outcome.usd, outcome.usd_source) == (0.0021, "reported")


def test_cost_in_last_event_is_read() -> None:
    """Read the cost in the last event of a stream."""
    events = [
        *pieces_of("hi")[:-2],
        event(
            {
                **completion(),
                "choices": [],
                "usage": {"prompt_tokens": 7, "completion_tokens": 3, "cost": 0.5},
            }
        ),
    ]
    outcome, _ = ask(
        GATEWAYS["litellm"], streams([*events, event("[DONE]")]), request_to(), streamed=True
    )
    assert isinstance(outcome, Response)
    assert (outcome.usd, outcome.usd_source) == (0.5, "reported")


@pytest.mark.parametrize(
    ("header", "usd"), [("1.35e-05", 1.35e-05), ("nan", None), ("-1", None), ("much", None)]
)
def test_litellm_cost_header_is_read(header: str, usd: float | None) -> None:
    """Read the cost in LiteLLM's header."""
    outcome, _ = ask(
        GATEWAYS["litellm"],
        replies(completion(), headers={"x-litellm-response-cost": header}),
        request_to(),
    )
    assert isinstance(outcome, Response)
    assert (outcome.usd, outcome.usd_source) == (
        (usd, "reported") if usd is not None else (0.0, "none")
    )


def test_cost_header_of_others_is_ignored() -> None:
    """Ignore the header of one gateway in answers of another."""
    outcome, _ = ask(
        GENERIC, replies(completion(), headers={"x-litellm-response-cost": "3"}), request_to()
    )
    assert isinstance(outcome, Response)
    assert outcome.usd_source == "none"


@pytest.mark.parametrize(
    ("status", "kind", "later"),
    [
        (402, "credit", False),
        (412, "credit", False),
        (424, "server", True),
        (529, "server", True),
        (403, "auth", False),
        (503, "server", True),
    ],
)
def test_requesty_errors_differ_by_status(status: int, kind: str, later: bool) -> None:
    """Classify Requesty's errors by their status."""
    body = {"error": {"origin": "router", "message": "Monthly limit reached"}}
    outcome, _ = ask(GATEWAYS["requesty"], replies(body, status), request_to())
    assert isinstance(outcome, ModelError)
    assert (classify_failure(outcome), CONSEQUENCES[kind].retry_later) == (kind, later)
    assert "Monthly limit reached" in str(outcome)


@pytest.mark.parametrize(
    ("message", "kind", "expected"),
    [
        (
            "/chat/completions: Invalid model name passed in model=gpt-9. Call `/v1/models`",
            "unknown_model",
            "there is no such model",
        ),
        ("gpt-9 is not a valid model ID", "unknown_model", "there is no such model"),
        ("No connected db.", "auth", "the key was refused"),
        ("temperature is out of range", "bad_request", "the request was refused"),
    ],
)
def test_disguised_400_is_explained(message: str, kind: str, expected: str) -> None:
    """Explain a 400 by its text, as worded by LiteLLM 1.108 and OpenRouter; another model or
    endpoint may well answer.
    """
    outcome, _ = ask(
        GATEWAYS["litellm"],
        replies({"error": {"message": message, "code": "400"}}, 400),
        request_to("gpt-9"),
    )
    assert isinstance(outcome, ModelError)
    assert (classify_failure(outcome), outcome.status, outcome.retryable) == (kind, 400, False)
    assert expected in str(outcome)


def test_litellm_retry_after_is_read() -> None:
    """Read the pause that LiteLLM passes on."""
    outcome, _ = ask(
        GATEWAYS["litellm"],
        replies({"error": {"message": "slow down"}}, 429, {"llm_provider-retry-after": "60"}),
        request_to(),
    )
    assert isinstance(outcome, ModelError)
    assert outcome.retry_after == 60


def test_requesty_is_asked_once() -> None:
    """Ask Requesty once, because it retries by itself."""
    assert (GATEWAYS["requesty"].attempts, GENERIC.attempts) == (1, 2)


def test_unknown_option_gets_suggestion() -> None:
    """Refuse an unknown option or dialect with a suggestion."""
    with pytest.raises(
        InputError, match=r"openrouter endpoint has no option 'providers'. Did you mean 'provider'"
    ):
        GATEWAYS["openrouter"].with_options({"providers": {}})
    with pytest.raises(InputError, match=r"no dialect 'requestly'. Did you mean 'requesty'"):
        find_gateway("requestly")


@pytest.mark.parametrize(
    ("base_url", "name"),
    [
        ("https://router.requesty.ai/v1", "requesty"),
        ("https://router.eu.requesty.ai/v1", "requesty"),
        ("https://openrouter.ai/api/v1", "openrouter"),
        ("https://api.openai.com/v1", "openai"),
        ("https://evil-requesty.ai/v1", "generic"),
        ("http://127.0.0.1:4000/requesty.ai", "generic"),
    ],
)
def test_gateway_is_known_by_host(base_url: str, name: str) -> None:
    """Recognise a gateway by its host."""
    assert find_gateway_at(base_url).name == name


def test_connection_comes_from_environment() -> None:
    """Build a connection from the environment alone."""
    connection = read_connection(
        {"OPENAI_BASE_URL": "https://router.requesty.ai/v1", "OPENAI_API_KEY": "rqy_secret"}
    )
    assert connection is not None
    assert (connection.endpoint.host, connection.gateway.name) == ("router.requesty.ai", "requesty")
    assert read_connection({}) is None
    official = read_connection({"OPENAI_API_KEY": "k"})
    assert official is not None
    assert official.endpoint.base_url == "https://api.openai.com/v1"


def test_address_without_key_is_refused() -> None:
    """Refuse an address without a key."""
    with pytest.raises(InputError, match="OPENAI_BASE_URL is set, but OPENAI_API_KEY is not"):
        read_connection({"OPENAI_BASE_URL": "http://127.0.0.1:1/v1"})


@pytest.mark.parametrize(
    "address",
    [
        "router.requesty.ai",
        "ftp://x/v1",
        "https://",
        "https://me:pw@host/v1",
        "https://host/v1?key=abc",
    ],
)
def test_address_with_secret_is_refused(address: str) -> None:
    """Refuse an invalid address, or one that holds a secret, without repeating it."""
    with pytest.raises(InputError, match="base_url") as caught:
        check_address(address, "base_url")
    assert "pw" not in str(caught.value)
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 429, 500])
def test_key_stays_out_of_errors(status: int) -> None:
    """Keep the key out of representations and errors."""
    connection = Connection(
        "main", Endpoint("http://127.0.0.1:1/v1", SecretStr("sk-secret")), GATEWAYS["requesty"]
    )
    outcome, asked = ask(
        GATEWAYS["requesty"],
        replies({"error": {"message": "your key sk-secret is wrong"}}, status),
        request_to(),
    )
    assert asked.headers["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in repr(connection) + repr(outcome) + str(outcome) + json.dumps(
        asked.body
    )
