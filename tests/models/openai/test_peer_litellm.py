"""The client and the router with an independent gateway: the LiteLLM proxy (PyPI `litellm`, MIT).

The proxy stands in front of our own server.

To run it, give the proxy its own environment (about 750 MB; it needs other versions than ours):

    python -m venv /tmp/litellm && /tmp/litellm/bin/pip install 'litellm[proxy]'
    export LITELLM=/tmp/litellm/bin/litellm
    python -m pytest -m peer tests/models/openai/test_peer_litellm.py

The proxy needs no network and takes up to half a minute to start.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import pytest

from graphorch.errors import ModelError
from graphorch.models.client import ModelClient, close
from graphorch.models.config.loader import parse_config
from graphorch.models.config.router import Router
from graphorch.models.messages import Request, Response, Usage, to_messages
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.openai.gateways import GATEWAYS, GENERIC, Gateway
from graphorch.models.policies.failure_kinds import classify_failure
from tests.models.servers import Asked, Handler, completion, pieces_of, replies, serve, streams

LITELLM = os.environ.get("LITELLM", "")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        not LITELLM,
        reason="LITELLM does not name the litellm program of litellm[proxy]; "
        "see the docstring of the module",
    ),
]

KEY = "sk-of-the-proxy-4711"
UPSTREAM_KEY = "sk-of-the-provider-0815"
INPUT, OUTPUT = 2.5e-6, 1e-5  # dollars per token in the configuration of the proxy
COST = 7 * INPUT + 3 * OUTPUT  # of the usage that the server of our own reports

# What the proxy offers, and the model behind it that our own server plays.
MODELS = {
    "good": "their-good", "broken": "their-broken", "busy": "their-busy", "cut": "their-cut",
    "falls-back": "their-broken", "one-a-minute": "their-good",
}  # fmt: skip

PLAYED: Mapping[str, Handler] = {
    "their-broken": replies({"error": {"message": "boom", "type": "server_error"}}, 500),
    "their-busy": replies(
        {"error": {"message": "slow down", "type": "rate_limit_error"}}, 429, {"retry-after": "7"}
    ),
    "their-cut": streams(pieces_of("half an ", "answer")[:2], then="cut"),
}


async def provider(asked: Asked) -> None:
    """Play the provider behind the proxy: the failures of `PLAYED`, or else a good answer."""
    model = asked.body["model"]
    good = (
        streams(pieces_of("good ", "answer"))
        if asked.body.get("stream")
        else replies({**completion("good answer"), "model": model})
    )
    await PLAYED.get(model, good)(asked)


@dataclass(frozen=True)
class Proxy:
    """Address of the proxy, and the port at which it expects the provider."""

    url: str
    provider_port: int
    seconds_to_start: float


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Run the proxy for the module."""
    folder = tmp_path_factory.mktemp("litellm")
    port, provider_port = free_ports(2)
    config = folder / "config.yaml"
    config.write_text(json.dumps(settings(provider_port)))  # JSON is YAML
    environment = {
        "PATH": os.environ.get("PATH", ""),
        "HOME": str(folder),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # or it fetches its prices from the network
        "LITELLM_MODE": "PRODUCTION",  # or it reads a .env file
    }
    command = [
        str(Path(LITELLM)),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    began = time.monotonic()
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder) as program,
    ):
        try:
            wait_for(f"http://127.0.0.1:{port}/health/liveliness", program, folder / "log")
            yield Proxy(f"http://127.0.0.1:{port}/v1", provider_port, time.monotonic() - began)
        finally:
            program.terminate()


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [entry.getsockname()[1] for entry in sockets]
    for item in sockets:
        item.close()
    return ports


def settings(provider_port: int) -> dict[str, Any]:
    common = {
        "api_key": UPSTREAM_KEY,
        "api_base": f"http://127.0.0.1:{provider_port}/v1",
        "max_retries": 0,
    }
    priced = {**common, "input_cost_per_token": INPUT, "output_cost_per_token": OUTPUT}
    models = [
        {"model_name": name, "litellm_params": {"model": f"openai/{behind}", **priced}}
        for name, behind in MODELS.items()
    ]
    for model in models:
        if model["model_name"] == "one-a-minute":
            model["litellm_params"]["rpm"] = 1
    return {
        "model_list": models,
        "router_settings": {
            "num_retries": 0,
            "fallbacks": [{"falls-back": ["good"]}],
            "optional_pre_call_checks": ["enforce_model_rate_limits"],
        },
        "litellm_settings": {"telemetry": False},
        "general_settings": {"master_key": KEY},
    }


def wait_for(url: str, program: subprocess.Popen[bytes], log: Path) -> None:
    direct = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and program.poll() is None:
        try:
            direct.open(url, timeout=5).close()
            return
        except (URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"{LITELLM} did not begin to answer:\n{log.read_text(errors='replace')[-2000:]}")


def request_to(model: str, **fields: Any) -> Request:
    return Request(model, to_messages("hi"), **fields)


Outcome: TypeAlias = Response | ModelError


def ask(
    proxy: Proxy, client: ModelClient, request: Request, pieces: list[str] | None = None
) -> tuple[Outcome, list[Asked]]:
    """Make a call and return its outcome and the requests to the provider."""

    async def main() -> tuple[Outcome, list[Asked]]:
        async with serve(provider, port=proxy.provider_port) as server:
            try:
                outcome: Outcome = await client.complete(
                    request, None if pieces is None else pieces.append
                )
            except ModelError as error:
                outcome = error
            await close(client)
            return outcome, server.asked

    return asyncio.run(main())


def build_client(
    proxy: Proxy, key: str = KEY, gateway: Gateway = GATEWAYS["litellm"]
) -> OpenAIClient:
    return OpenAIClient(proxy.url, key, gateway=gateway)


def build_router(
    proxy: Proxy, options: Mapping[str, object] | None = None, **tables: object
) -> Router:
    endpoint = {
        "base_url": proxy.url,
        "key_env": "PROXY_KEY",
        "dialect": "litellm",
        "options": options or {},
    }
    return Router(
        parse_config({"endpoints": {"proxy": endpoint}, **tables}), environment={"PROXY_KEY": KEY}
    )


def pieces_if(streamed: bool) -> list[str] | None:
    return [] if streamed else None


def expect_response(outcome: Outcome) -> Response:
    assert isinstance(outcome, Response), outcome
    return outcome


def expect_error(outcome: Outcome) -> ModelError:
    assert isinstance(outcome, ModelError), outcome
    return outcome


both_ways = pytest.mark.parametrize("streamed", [False, True])


@both_ways
def test_answer_has_usage_and_cost(proxy: Proxy, streamed: bool) -> None:
    """Read an answer with its usage and its cost."""
    pieces = pieces_if(streamed)
    outcome, asked = ask(proxy, build_client(proxy), request_to("good"), pieces)
    response = expect_response(outcome)
    assert (response.text, response.model, response.finish_reason) == (
        "good answer",
        "good",
        "stop",
    )
    assert (response.usage, response.note) == (Usage(7, 3), "")
    assert (response.usd, response.usd_source) == (pytest.approx(COST), "reported")
    assert pieces in (None, ["good ", "answer"])
    assert [item.headers["authorization"] for item in asked] == [f"Bearer {UPSTREAM_KEY}"]


def test_cost_header_needs_litellm_dialect(
    proxy: Proxy,
) -> None:
    """Read the cost of a plain answer from a header, in this dialect only."""
    outcome, _ = ask(proxy, build_client(proxy, gateway=GENERIC), request_to("good"))
    assert (expect_response(outcome).usd, expect_response(outcome).usd_source) == (0.0, "none")


def test_metadata_stays_at_proxy(proxy: Proxy) -> None:
    """Send metadata to the proxy, which does not pass it on."""
    request = request_to("good", metadata={"run": "r1", "node": "write", "tags": "draft, blog"})
    outcome, asked = ask(proxy, build_client(proxy), request)
    assert expect_response(outcome).text == "good answer"
    assert [set(item.body) for item in asked] == [{"model", "messages"}]


@both_ways
def test_provider_error_is_typed(proxy: Proxy, streamed: bool) -> None:
    """Raise a typed error for a failure of the provider."""
    outcome, asked = ask(proxy, build_client(proxy), request_to("broken"), pieces_if(streamed))
    error = expect_error(outcome)
    assert (error.status, error.retryable, len(asked)) == (500, True, 1)
    assert "boom" in str(error)


@both_ways
def test_provider_pause_is_read(proxy: Proxy, streamed: bool) -> None:
    """Read the provider's pause, which the proxy passes on as `llm_provider-retry-after`."""
    error = expect_error(
        ask(proxy, build_client(proxy), request_to("busy"), pieces_if(streamed))[0]
    )
    assert (error.status, error.retryable, error.retry_after) == (429, True, 7.0)


def test_proxy_limit_has_pause(proxy: Proxy) -> None:
    """Report the pause of the proxy's own limit: of three requests, at least one exceeds one a
    minute, even if a minute ends between them.
    """
    outcomes = [ask(proxy, build_client(proxy), request_to("one-a-minute")) for _ in range(3)]
    errors = [(outcome, asked) for outcome, asked in outcomes if isinstance(outcome, ModelError)]
    assert errors
    assert {
        (error.status, error.retryable, error.retry_after, len(asked)) for error, asked in errors
    } == {(429, True, 60.0, 0)}


def test_unknown_model_is_not_retried(proxy: Proxy) -> None:
    """Do not ask again for a model that the proxy does not know."""
    error = expect_error(ask(proxy, build_client(proxy), request_to("nobody"))[0])
    assert (error.status, error.retryable, classify_failure(error)) == (400, False, "unknown_model")
    assert "there is no such model" in str(error)


@both_ways
@pytest.mark.parametrize("key", ["sk-wrong-key-123456789", "no-key-of-theirs-123456789"])
def test_wrong_key_is_never_shown(proxy: Proxy, key: str, streamed: bool) -> None:
    """Report a wrong key without showing it; without a database of keys, the proxy answers 400 and
    mentions the database.
    """
    outcome, asked = ask(proxy, build_client(proxy, key), request_to("good"), pieces_if(streamed))
    error = expect_error(outcome)
    assert (error.status, error.retryable, classify_failure(error), asked) == (
        400,
        False,
        "auth",
        [],
    )
    assert "the key was refused" in str(error)
    assert key not in "".join(traceback.format_exception(error)) + repr(error)


def test_stream_cut_by_provider_raises(proxy: Proxy) -> None:
    """Raise an error for a stream that the provider cuts."""
    pieces: list[str] = []
    error = expect_error(ask(proxy, build_client(proxy), request_to("cut"), pieces)[0])
    assert (error.retryable, pieces) == (True, ["half an "])


@both_ways
def test_proxy_fallback_names_answering_model(proxy: Proxy, streamed: bool) -> None:
    """Name the proxy's model for a stream, the provider's for a whole answer, and in no case the
    model that failed.
    """
    outcome, asked = ask(proxy, build_client(proxy), request_to("falls-back"), pieces_if(streamed))
    response = expect_response(outcome)
    assert [item.body["model"] for item in asked] == ["their-broken", "their-good"]
    assert (response.text, response.model, response.attempts) == (
        "good answer",
        "good" if streamed else "their-good",
        1,
    )
    assert (response.usd, response.usd_source) == (pytest.approx(COST), "reported")


def test_router_uses_proxy_cost(proxy: Proxy) -> None:
    """Take the cost that the proxy reports."""
    response = expect_response(ask(proxy, build_router(proxy), request_to("good"))[0])
    assert (response.text, response.usd, response.usd_source) == (
        "good answer",
        pytest.approx(COST),
        "reported",
    )
    assert response.decision is not None
    assert (response.decision.kind, response.decision.answered_by) == ("direct", "good")


def test_proxy_follows_configured_fallbacks(proxy: Proxy) -> None:
    """Leave the fallbacks of the configuration to the proxy."""
    outcome, asked = ask(proxy, build_router(proxy, {"fallbacks": ["good"]}), request_to("broken"))
    response = expect_response(outcome)
    assert [item.body["model"] for item in asked] == ["their-broken", "their-good"]
    assert (response.model, response.attempts) == ("their-good", 1)


@pytest.mark.parametrize("first", ["broken", "busy", "nobody"])
def test_policy_continues_after_proxy_failure(proxy: Proxy, first: str) -> None:
    """Let our policy continue where the proxy gives up."""
    policies = {"careful": {"kind": "fallback", "targets": [first, "good"]}}
    response = expect_response(
        ask(proxy, build_router(proxy, policies=policies), request_to("policy/careful"))[0]
    )
    assert (response.text, response.model) == ("good answer", "good")
    assert response.decision is not None
    assert response.decision.answered_by == "good"


def test_proxy_call_takes_milliseconds(proxy: Proxy) -> None:
    """Guard against seconds a call, without a promise; `-rP` prints the figures."""

    async def main() -> list[float]:
        async with serve(provider, port=proxy.provider_port):
            client = build_client(proxy)
            await client.complete(request_to("good"))
            seconds = sorted(
                [(await client.complete(request_to("good"))).seconds for _ in range(50)]
            )
            await client.aclose()
            return seconds

    seconds = asyncio.run(main())
    print(
        f"proxy ready after {proxy.seconds_to_start:.1f} s; "
        f"plain call: median {seconds[25] * 1000:.1f} ms, slowest {seconds[-1] * 1000:.1f} ms"
    )
    assert seconds[25] < 1
