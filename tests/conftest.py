"""Settings of every test: no network beyond this machine, no keys, repeatable property tests."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator

import hypothesis
import pytest

# A fixture that test files import is made once for each file; from here it is made once in all.
from tests.postgres.fixtures import cluster, database, tables, url

__all__ = ["cluster", "database", "tables", "url"]

# Fixed seeds and no deadline: a failure is the code's, not the day's or the machine's.
# `--hypothesis-profile=default` explores.
hypothesis.settings.register_profile(
    "graphorch", derandomize=True, deadline=None, database=None, print_blob=True
)
hypothesis.settings.load_profile("graphorch")


@pytest.fixture(autouse=True, scope="session")
def user_configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the files that a test trusts out of the user's own configuration."""
    with pytest.MonkeyPatch.context() as patch:
        user = tmp_path_factory.mktemp("user")
        for kind in ("CONFIG", "STATE", "CACHE"):
            patch.setenv(f"XDG_{kind}_HOME", str(user / kind.lower()))
        yield


for _name in [
    name for name in os.environ if name.endswith("_API_KEY") or name.startswith("GRAPHORCH_")
]:
    del os.environ[_name]
os.environ["PYRIGHT_PYTHON_IGNORE_WARNINGS"] = "1"  # it would look for a newer version of itself


def _is_here(host: object) -> bool:
    """Return whether a host is this machine.

    None and "" mean it too, and a path is a socket of this machine.
    """
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(name)).is_loopback
    except ValueError:
        return False


def _refuse_the_network(event: str, arguments: tuple[object, ...]) -> None:
    """Fail the test that talks to another machine.

    It is an audit hook, so nothing is patched, and its error is not an `Exception`: a retry or a
    fallback cannot swallow it.
    """
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if not _is_here(host):
        raise pytest.fail.Exception(f"a test tried to reach {host!r}: tests talk to 127.0.0.1 only")


sys.addaudithook(_refuse_the_network)
