"""What each kind of endpoint is sent beyond the protocol, and what is read from its answers: over the wire, to a server of our own."""

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
                said: Response | ModelError = await client.complete(
                    request, ignore if streamed else None
                )
            except ModelError as error:
                said = error
            await client.aclose()
            return said, server.asked[0]

    return asyncio.run(main())


def with_usage(**usage: object) -> dict[str, Any]:
    return {**completion(), "usage": {"prompt_tokens": 7, "completion_tokens": 3, **usage}}


@pytest.mark.parametrize("name", ["generic", "openai"])
def test_a_plain_endpoint_is_sent_nothing_extra(name: str) -> None:
    _, asked = ask(GATEWAYS[name], replies(completion()), request_to(metadata=METADATA))
    assert set(asked.body) == {"model", "messages"}
    assert not [header for header in asked.headers if "requesty" in header.lower()]


@pytest.mark.parametrize("streamed", [False, True])
def test_requesty_is_sent_its_object_and_its_headers(streamed: bool) -> None:
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
def test_a_policy_of_the_gateway_is_not_pinned_to_one_model_by_the_run(
    metadata: dict[str, str], trace: str
) -> None:
    """Requesty picks the model of a load-balancing policy by a hash of the trace."""
    body: Any = GATEWAYS["requesty"].build_body(request_to("policy/theirs", metadata=metadata))
    assert body["requesty"]["trace_id"] == trace


def test_requesty_without_metadata_is_sent_nothing() -> None:
    assert GATEWAYS["requesty"].build_body(request_to()) == {}


def test_openrouter_is_sent_its_list_of_models_and_its_preferences() -> None:
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


def test_litellm_is_sent_metadata_and_fallbacks() -> None:
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
def test_the_cost_in_the_usage_is_read_from_every_endpoint(name: str) -> None:
    said, _ = ask(GATEWAYS[name], replies(with_usage(cost=0.0021)), request_to())
    assert isinstance(said, Response)
    assert (said.usd, said.usd_source) == (0.0021, "reported")


def test_the_cost_in_the_last_event_of_a_stream_is_read() -> None:
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
    said, _ = ask(
        GATEWAYS["litellm"], streams([*events, event("[DONE]")]), request_to(), streamed=True
    )
    assert isinstance(said, Response)
    assert (said.usd, said.usd_source) == (0.5, "reported")


@pytest.mark.parametrize(
    ("header", "usd"), [("1.35e-05", 1.35e-05), ("nan", None), ("-1", None), ("much", None)]
)
def test_litellm_tells_the_cost_in_a_header(header: str, usd: float | None) -> None:
    said, _ = ask(
        GATEWAYS["litellm"],
        replies(completion(), headers={"x-litellm-response-cost": header}),
        request_to(),
    )
    assert isinstance(said, Response)
    assert (said.usd, said.usd_source) == ((usd, "reported") if usd is not None else (0.0, "none"))


def test_the_header_of_one_gateway_means_nothing_at_another() -> None:
    said, _ = ask(
        GENERIC, replies(completion(), headers={"x-litellm-response-cost": "3"}), request_to()
    )
    assert isinstance(said, Response)
    assert said.usd_source == "none"


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
def test_the_errors_of_requesty_are_told_apart_by_their_status(
    status: int, kind: str, later: bool
) -> None:
    body = {"error": {"origin": "router", "message": "Monthly limit reached"}}
    said, _ = ask(GATEWAYS["requesty"], replies(body, status), request_to())
    assert isinstance(said, ModelError)
    assert (classify_failure(said), CONSEQUENCES[kind].retry_later) == (kind, later)
    assert "Monthly limit reached" in str(said)


@pytest.mark.parametrize(
    ("message", "kind", "told"),
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
def test_a_400_that_means_something_else_is_taken_for_it(
    message: str, kind: str, told: str
) -> None:
    """In the words of LiteLLM 1.108 and of OpenRouter; another model, or another endpoint, may well answer."""
    said, _ = ask(
        GATEWAYS["litellm"],
        replies({"error": {"message": message, "code": "400"}}, 400),
        request_to("gpt-9"),
    )
    assert isinstance(said, ModelError)
    assert (classify_failure(said), said.status, said.retryable) == (kind, 400, False)
    assert told in str(said)


def test_the_pause_that_litellm_hands_on_is_read() -> None:
    said, _ = ask(
        GATEWAYS["litellm"],
        replies({"error": {"message": "slow down"}}, 429, {"llm_provider-retry-after": "60"}),
        request_to(),
    )
    assert isinstance(said, ModelError)
    assert said.retry_after == 60


def test_requesty_repeats_by_itself_so_it_is_asked_once() -> None:
    assert (GATEWAYS["requesty"].attempts, GENERIC.attempts) == (1, 2)


def test_an_option_that_a_gateway_does_not_take_is_refused_with_its_neighbour() -> None:
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
def test_a_gateway_is_known_by_its_host(base_url: str, name: str) -> None:
    assert find_gateway_at(base_url).name == name


def test_the_environment_alone_is_enough() -> None:
    found = read_connection(
        {"OPENAI_BASE_URL": "https://router.requesty.ai/v1", "OPENAI_API_KEY": "rqy_secret"}
    )
    assert found is not None
    assert (found.endpoint.host, found.gateway.name) == ("router.requesty.ai", "requesty")
    assert read_connection({}) is None
    official = read_connection({"OPENAI_API_KEY": "k"})
    assert official is not None
    assert official.endpoint.base_url == "https://api.openai.com/v1"


def test_an_address_without_a_key_is_refused() -> None:
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
def test_what_is_no_address_or_holds_a_secret_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(InputError, match="base_url") as caught:
        check_address(address, "base_url")
    assert "pw" not in str(caught.value)
    assert "abc" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 429, 500])
def test_the_key_is_in_no_representation_and_in_no_error(status: int) -> None:
    connection = Connection(
        "main", Endpoint("http://127.0.0.1:1/v1", SecretStr("sk-secret")), GATEWAYS["requesty"]
    )
    said, asked = ask(
        GATEWAYS["requesty"],
        replies({"error": {"message": "your key sk-secret is wrong"}}, status),
        request_to(),
    )
    assert asked.headers["authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in repr(connection) + repr(said) + str(said) + json.dumps(asked.body)
