"""Addresses of endpoints: keys go over plain http to this machine only."""

from __future__ import annotations

import pytest

from graphorch.errors import InputError
from graphorch.models.openai.addresses import find_plaintext_problem, find_url_problem, is_loopback
from graphorch.models.openai.client import OpenAIClient

HERE = ["127.0.0.1", "127.8.9.1", "localhost", "localhost.", "::1", "::ffff:127.0.0.1"]
ELSEWHERE = [
    "localhost.evil.example", "127.0.0.1.evil.example", "0.0.0.0", "10.0.0.1", "192.168.1.5",
    "127.1", "2130706433", "::ffff:8.8.8.8", "evil.example", "",
]  # fmt: skip


@pytest.mark.parametrize("host", HERE)
def test_loopback_is_known(host: str) -> None:
    """Know the names and numbers of this machine."""
    assert is_loopback(host)


@pytest.mark.parametrize("host", ELSEWHERE)
def test_other_host_is_not_loopback(host: str) -> None:
    """Take no other host for this machine, however it is spelt."""
    assert not is_loopback(host)


def test_key_needs_https_elsewhere() -> None:
    """Send a key over plain http to this machine only, also from a program."""
    assert find_plaintext_problem("https://evil.example/v1", "sk-1") == ""
    assert find_plaintext_problem("http://[::1]:8000/v1", "sk-1") == ""
    assert find_plaintext_problem("http://10.0.0.1/v1", "none") == ""
    assert find_plaintext_problem("http://10.0.0.1/v1", "") == ""
    with pytest.raises(InputError, match="plain http") as caught:
        OpenAIClient("http://10.0.0.1/v1", "sk-secret")
    assert "sk-secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://x.example/v1#key", "https://x.example/v1 ", "https://x.example/v1\n",
        "https://x.example/v1/chat/completions", "https://x.example/v1/responses/",
    ],
)  # fmt: skip
def test_odd_address_is_refused(url: str) -> None:
    """Refuse an address with a fragment, a space or the path of a request."""
    assert find_url_problem(url)
