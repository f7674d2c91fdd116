"""The gate: what does not come from the server's own page or a program with the token is refused.

The matrix takes the routes from the application itself, so a new one is tested without a change.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from graphorch.server.app import build_app, build_router
from graphorch.server.context import ServerContext
from graphorch.server.static_files import read_static_files
from tests.server.serving import HOST, ORIGIN, TOKEN, Answer, Client, good_headers, opened
from tests.trace.flows import shop

METHODS = "GET POST DELETE OPTIONS".split()
OTHER_METHODS = "HEAD PUT PATCH TRACE CONNECT PROPFIND get QUERY".split()
BODY = b'{"a": 1}'


@dataclass(frozen=True, slots=True)
class Attack:
    """What is wrong with a request: headers to replace, add or leave out (None), or its path."""

    headers: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    added: tuple[tuple[str, str], ...] = ()
    http_version: str = "1.1"
    is_public_refused: bool = True


ATTACKS = {
    "no token": Attack({"authorization": None}, is_public_refused=False),
    "empty token": Attack({"authorization": "Bearer "}, is_public_refused=False),
    "wrong token": Attack({"authorization": f"Bearer {TOKEN}x"}, is_public_refused=False),
    "half a token": Attack({"authorization": f"Bearer {TOKEN[:-1]}"}, is_public_refused=False),
    "basic token": Attack({"authorization": f"Basic {TOKEN}"}, is_public_refused=False),
    "bare token": Attack({"authorization": TOKEN}, is_public_refused=False),
    "token in a cookie": Attack(
        {"authorization": None, "cookie": f"token={TOKEN}"}, is_public_refused=False
    ),
    "two tokens": Attack(added=(("authorization", "Bearer x"),)),
    "no host": Attack({"host": None}),
    "empty host": Attack({"host": ""}),
    "foreign host": Attack({"host": "evil.example:8460"}),
    "rebound host": Attack({"host": "127.0.0.1.evil.example:8460"}),
    "host without port": Attack({"host": "127.0.0.1"}),
    "host of another port": Attack({"host": "127.0.0.1:80"}),
    "host with user": Attack({"host": f"{HOST}@evil.example"}),
    "host with dot": Attack({"host": "localhost.:8460"}),
    "host as number": Attack({"host": "2130706433:8460"}),
    "IPv6 without brackets": Attack({"host": "::1:8460"}),
    "IPv6 in long form": Attack({"host": "[0:0:0:0:0:0:0:1]:8460"}),
    "IPv6 with rest": Attack({"host": "[::1]evil:8460"}),
    "IPv6 without port": Attack({"host": "[::1]"}),
    "two hosts": Attack(added=(("host", "evil.example"),)),
    "host twice": Attack(added=(("host", HOST),)),
    "foreign origin": Attack({"origin": "http://evil.example"}),
    "origin of another port": Attack({"origin": "http://127.0.0.1:80"}),
    "origin of another scheme": Attack({"origin": "https://127.0.0.1:8460"}),
    "origin null": Attack({"origin": "null"}),
    "empty origin": Attack({"origin": ""}),
    "two origins": Attack({"origin": ORIGIN}, added=(("origin", "http://evil.example"),)),
    "cross-site": Attack({"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}),
    "same-site": Attack({"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors"}),
    "two sites": Attack({"sec-fetch-site": "none"}, added=(("sec-fetch-site", "cross-site"),)),
    "HTTP/1.0": Attack(http_version="1.0"),
    "HTTP/1.0 without host": Attack({"host": None}, http_version="1.0"),
    "HTTP/2": Attack(http_version="2"),
    "method override": Attack(added=(("x-http-method-override", "DELETE"),)),
    "method override of old": Attack(added=(("x-method-override", "GET"),)),
    "method override short": Attack(added=(("x-http-method", "GET"),)),
}
PATH_TRICKS = {
    "encoded slash": ("{}%2F", "{}/"),
    "encoded dots": ("/x/%2e%2e{}", "/x/..{}"),
    "dots": ("/x/..{}", "/x/..{}"),
    "two slashes": ("/{}", "/{}"),
    "slash at the end": ("{}/", "{}/"),
    "backslash": ("{}\\", "{}\\"),
    "encoded letter": ("/%61pi/about", "/api/about"),
    "encoded NUL": ("{}%00", "{}\0"),
    "semicolon": ("{};x", "{};x"),
    "absolute": ("http://127.0.0.1:8460{}", "http://127.0.0.1:8460{}"),
    "star": ("*", "*"),
}
BODIES = {
    "text": {"content-type": "text/plain"},
    "form": {"content-type": "application/x-www-form-urlencoded"},
    "multipart": {"content-type": "multipart/form-data; boundary=x"},
    "no type": {"content-type": None},
    "json of another charset": {"content-type": "application/json; charset=utf-16"},
    "looks like json": {"content-type": "text/plain; application/json"},
    "patch of json": {"content-type": "application/json-patch+json"},
    "two types": {"content-type": "application/json, text/plain"},
    "compressed": {"content-encoding": "gzip"},
}


def list_paths(context: ServerContext) -> dict[str, bool]:
    """Return a path of each route of the application, and whether it is public.

    Of the files of the page, which are all served alike, there are a few.
    """
    files = dict(list(read_static_files().items())[:4])
    routes = build_router(context, files).routes
    paths = [getattr(route, "path", "") for route in routes]
    assert all(paths)
    assert "/api/about" in paths
    return {re.sub(r"\{\w+\}", "shop", path): path in files for path in paths}


def apply(attack: Attack, method: str) -> list[tuple[str, str]]:
    """Return the headers of an attack."""
    merged: dict[str, str | None] = {**good_headers(method, BODY), **attack.headers}
    if method in ("GET", "HEAD"):
        merged.update({"content-type": None, "content-length": None})
    return [(name, value) for name, value in merged.items() if value is not None] + [*attack.added]


async def list_passed(ask: Client, paths: Mapping[str, bool], methods: Sequence[str]) -> list[str]:
    """Return which attacks got in anywhere."""
    passed: list[str] = []
    for path, is_public in paths.items():
        for name, attack in ATTACKS.items():
            for method in methods:
                if is_public and not attack.is_public_refused and method in ("GET", "HEAD"):
                    continue
                content = None if method in ("GET", "HEAD") else BODY
                answer = await ask(
                    method,
                    path,
                    content,
                    headers=apply(attack, method),
                    http_version=attack.http_version,
                )
                if not is_refused(answer):
                    passed.append(f"{name}: {method} {path} → {answer.status}")
    return passed


def is_refused(answer: Answer) -> bool:
    """Return whether a request was refused by the gate, which closes the connection."""
    is_closed = answer.headers.get("connection") == "close"
    return is_closed and answer.status in (400, 401, 403, 404, 415, 421, 505)


@pytest.mark.parametrize(
    "methods",
    [METHODS, pytest.param(OTHER_METHODS, marks=pytest.mark.slow)],
    ids=["usual", "others"],
)
def test_gate_lets_no_attack_in(tmp_path: Path, methods: Sequence[str]) -> None:
    """No route lets any attack in with any method."""

    async def main() -> None:
        async with opened(tmp_path, shop()) as context:
            paths = list_paths(context)
            assert await list_passed(Client(build_app(context)), paths, methods) == []

    asyncio.run(main())


def test_gate_lets_good_requests_in(tmp_path: Path) -> None:
    """A matrix that refuses everything proves nothing: the same requests get in without fault."""

    async def main() -> None:
        async with opened(tmp_path, shop()) as context:
            context.ending.set()  # streams end at once
            ask = Client(build_app(context))
            for path in list_paths(context):
                for method in ("GET", "POST", "DELETE"):
                    content = None if method == "GET" else BODY
                    answer = await ask(method, path, content, headers=apply(Attack(), method))
                    assert not is_refused(answer), (method, path, answer)

    asyncio.run(main())


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8460", "localhost:8460", "LOCALHOST:8460", "[::1]:8460"]
)
def test_gate_knows_names_of_loopback(tmp_path: Path, host: str) -> None:
    """The names of this machine are its hosts, IPv6 in brackets too."""

    async def main() -> None:
        async with opened(tmp_path) as context:
            answer = await Client(build_app(context))("GET", "/api/about", headers={"host": host})
            assert answer.status == 200

    asyncio.run(main())


@pytest.mark.parametrize("trick", PATH_TRICKS)
def test_paths_are_plain(tmp_path: Path, trick: str) -> None:
    """A path that could mean another one leads nowhere, with the token too."""
    raw, decoded = PATH_TRICKS[trick]

    async def main() -> None:
        async with opened(tmp_path, shop()) as context:
            ask = Client(build_app(context))
            for path in list_paths(context):
                answer = await ask("GET", decoded.format(path), raw_path=raw.format(path).encode())
                assert (answer.status, answer.problem) == (404, "not-found"), path

    asyncio.run(main())


@pytest.mark.parametrize("kind", BODIES)
def test_bodies_are_json_only(tmp_path: Path, kind: str) -> None:
    """A body of another type, which any page may send without asking, is refused."""

    async def main() -> None:
        async with opened(tmp_path, shop()) as context:
            ask = Client(build_app(context))
            for path in list_paths(context):
                for method in ("POST", "PUT", "PATCH", "DELETE"):
                    answer = await ask(
                        method, path, BODY, headers=apply(Attack(BODIES[kind]), method)
                    )
                    assert (answer.status, answer.problem) == (415, "media-type"), path

    asyncio.run(main())


def test_link_to_page_may_stand_anywhere(tmp_path: Path) -> None:
    """Following a link from another page shows the page, and no more than that."""
    followed = {
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    framed = {**followed, "sec-fetch-dest": "iframe"}

    async def main() -> None:
        async with opened(tmp_path) as context:
            ask = Client(build_app(context))
            assert (await ask("GET", "/", headers=followed)).status == 200
            assert (await ask("GET", "/", headers=framed)).status == 403
            assert (await ask("GET", "/api/about", headers=followed)).status == 403
            assert (await ask("POST", "/", BODY, headers=followed)).status == 403

    asyncio.run(main())


def test_every_response_has_strict_headers(tmp_path: Path) -> None:
    """Pages, answers and problems say what a browser may do with them; none sets a cookie."""

    async def main() -> None:
        async with opened(tmp_path) as context:
            ask = Client(build_app(context))
            answers = [
                await ask("GET", "/"),
                await ask("GET", "/api/about"),
                await ask("GET", "/api/nothing"),
                await ask("GET", "/api/about", headers={"host": "evil.example"}),
            ]
        assert [answer.status for answer in answers] == [200, 200, 404, 421]
        for answer in answers:
            assert answer.headers["content-security-policy"].startswith("default-src 'none'; ")
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert "set-cookie" not in answer.headers

    asyncio.run(main())
