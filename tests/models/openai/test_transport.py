"""Transport of requests: no key, header or proxy of the environment is used."""

from __future__ import annotations

import asyncio

import pytest

from graphorch.models.openai.client import OpenAIClient
from tests.models.openai.calls import KEY, question, send
from tests.models.servers import Server, completion, replies, serve


def test_environment_and_proxies_are_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ignore keys and proxies of the environment; a proxy would see the key. One at a closed port
    makes the call fail if it is used.
    """
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-of-somebody")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-private: of-somebody")
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-somebody")
    monkeypatch.setenv("OPENAI_ADMIN_KEY", "admin-of-somebody")
    headers = send(question()).asked[0].headers
    assert headers["authorization"] == f"Bearer {KEY}"
    assert "of-somebody" not in str(headers)
    assert not [
        name
        for name in headers
        if name.startswith("x-stainless") and name != "x-stainless-raw-response"
    ]


def test_empty_key_sends_no_authorization() -> None:
    """Send no authorization header without a key."""

    async def main() -> Server:
        async with serve(replies(completion())) as server:
            client = OpenAIClient(server.url, "")
            await client.complete(question())
            await client.aclose()
            return server

    assert "authorization" not in asyncio.run(main()).asked[0].headers
