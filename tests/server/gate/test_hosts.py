"""Names of a server in the headers Host and Origin."""

from __future__ import annotations

import pytest

from graphorch.errors import InputError
from graphorch.server.gate.hosts import list_hosts, list_origins, parse_public_url, write_host


@pytest.mark.parametrize(
    ("host", "written"),
    [
        ("Localhost", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[::1]"),
        ("[::1]", "[::1]"),
        ("0:0:0:0:0:0:0:1", "[::1]"),
    ],
)
def test_host_is_written_as_in_urls(host: str, written: str) -> None:
    """Names are in lower case, and IPv6 stands in brackets, in its short form."""
    assert write_host(host) == written


def test_port_of_scheme_may_be_left_out() -> None:
    """A browser names the port only if the scheme has another one."""
    assert list_hosts("https", ["a.example"], 443) == {"a.example", "a.example:443"}
    assert list_origins("https", ["a.example"], 443) == {"https://a.example"}
    assert list_hosts("http", ["::1"], 8460) == {"[::1]:8460"}
    assert list_origins("http", ["::1"], 8460) == {"http://[::1]:8460"}


def test_public_url_names_host_and_port() -> None:
    """The address of a proxy is a scheme, a host and a port."""
    assert parse_public_url("https://runs.example") == ("https", "runs.example", 443)
    assert parse_public_url("https://runs.example:8443/") == ("https", "runs.example", 8443)
    assert parse_public_url("http://localhost:8000") == ("http", "localhost", 8000)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("runs.example", "not an address"),
        ("https://", "not an address"),
        ("ftp://runs.example", "not an address"),
        ("https://ann:secret@runs.example", "not an address"),
        ("https://runs.example:99999", "not an address"),
        ("https://runs.example?x", "not an address"),
        ("https://runs.example/graphorch", "not below /graphorch"),
        ("http://runs.example", "over plain http"),
    ],
)
def test_wrong_public_url_is_refused(url: str, why: str) -> None:
    """What is no address of people, or not safe, is refused with what to write."""
    with pytest.raises(InputError, match=why):
        parse_public_url(url)
