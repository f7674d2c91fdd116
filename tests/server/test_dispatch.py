"""From requests to handlers: strict queries and bodies, methods, statuses, values that are odd."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field
from starlette.types import ASGIApp, Receive, Scope, Send

from graphorch.errors import InputError
from graphorch.server.dispatch import serve_path
from graphorch.server.endpoint import SVG, Call, Endpoint, Reply, RequestModel, StreamEvent
from graphorch.server.gate.gate import Gate
from tests.server.serving import Answer, Client, make_settings, opened


class Query(RequestModel):
    limit: int = Field(default=10, ge=1, le=100)
    tag: tuple[str, ...] = ()


class Body(RequestModel):
    name: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Seen:
    text: str
    number: float
    more: dict[str, Any]


async def look(call: Call[Query, None]) -> Seen:
    """Return what the query says."""
    return Seen(f"{call.query.limit} {call.query.tag}", float("nan"), {"half \ud800": ["\udc00"]})


async def make(call: Call[Any, Body]) -> Reply:
    """Return what the body says."""
    if call.body.name == "wrong":
        raise InputError("The name is wrong.")
    if call.body.name == "bug":
        raise ZeroDivisionError
    return Reply(Seen(call.body.name, call.body.count, {}), 201, {"location": "/x"})


async def erase(call: Call[Any, None]) -> Seen:
    """Return nothing."""
    return Seen("", 0, {})


async def draw(call: Call[Any, None]) -> str:
    """Draw."""
    return "<svg>\ud800</svg>"


async def count(call: Call[Any, None]) -> AsyncIterator[StreamEvent]:
    """Count, and fail."""

    async def events() -> AsyncIterator[StreamEvent]:
        yield StreamEvent({"number": 1}, "number", 1)
        raise InputError("It went wrong.")

    return events()


ENDPOINTS = [
    Endpoint("GET", "/api/x", look, Seen, query=Query),
    Endpoint("POST", "/api/x", make, Seen, body=Body, status=200),
    Endpoint("DELETE", "/api/x", erase, Seen),
]


def ask(
    folder: Path, *requests: tuple[Any, ...], endpoints: Any = None, **options: Any
) -> list[Answer]:
    """Send requests to a path with these endpoints; each is method, body, query and headers."""

    async def main() -> list[Answer]:
        settings = make_settings(**options)
        async with opened(folder, settings=settings) as context:
            path = serve_path(context, endpoints or ENDPOINTS)
            client = Client(Gate(_with_names(path), settings, frozenset()))
            return [await _send(client, *request) for request in requests]

    return asyncio.run(main())


async def _send(
    client: Client, method: str, body: Any = None, query: str = "", headers: Any = None
) -> Answer:
    return await client(method, "/api/x", body, query=query, headers=headers)


def _with_names(app: ASGIApp) -> ASGIApp:
    """Return an application that has no parameters in its path."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "path_params": {}}, receive, send)

    return call


def test_query_is_read_by_its_model(tmp_path: Path) -> None:
    """Values get their types, a name may be repeated where its field is a tuple."""
    (plain, full) = ask(tmp_path, ("GET",), ("GET", None, "limit=5&tag=a&tag=b"))
    assert plain.value["text"] == "10 ()"
    assert full.value["text"] == "5 ('a', 'b')"


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=x", "limit=1&limit=2", "limt=5", "tag=%00", "limit=%ff", "tag=%c3"],
)
def test_wrong_query_is_refused(tmp_path: Path, query: str) -> None:
    """Unknown names, names that come twice and wrong values are problems, and never ignored."""
    (answer,) = ask(tmp_path, ("GET", None, query))
    assert answer.status in (400, 422)
    assert answer.problem in ("query", "input")


def test_odd_values_are_written(tmp_path: Path) -> None:
    """What has no form in JSON is written all the same: NaN as null, half pairs escaped."""
    (answer,) = ask(tmp_path, ("GET",))
    assert answer.value == {
        "text": "10 ()",
        "number": None,
        "more": {"half \\ud800": ["\\udc00"]},
    }


def test_body_is_read_strictly(tmp_path: Path) -> None:
    """A body fits its model exactly: no other fields, no text for a number."""
    good, text, other, missing, empty = ask(
        tmp_path,
        ("POST", {"name": "ann", "count": 2}),
        ("POST", {"name": "ann", "count": "2"}),
        ("POST", {"name": "ann", "is_admin": True}),
        ("POST", {}),
        ("POST", b""),
    )
    assert (good.status, good.headers["location"], good.value["text"]) == (201, "/x", "ann")
    for answer, where in ((text, "/count"), (other, "/is_admin"), (missing, "/name")):
        assert (answer.status, answer.problem) == (422, "input")
        assert answer.value["mistakes"][0]["where"] == where
    assert empty.status == 422


def test_handler_errors_are_problems(tmp_path: Path) -> None:
    """What a handler raises is a problem of its status, and a bug is 500 without its text."""
    wrong, bug = ask(tmp_path, ("POST", {"name": "wrong"}), ("POST", {"name": "bug"}))
    assert (wrong.status, wrong.problem, wrong.value["detail"]) == (
        422,
        "input",
        "The name is wrong.",
    )
    assert (bug.status, bug.problem) == (500, "internal")


def test_other_methods_are_named(tmp_path: Path) -> None:
    """A method that a path lacks is refused with those that it has."""
    (answer,) = ask(tmp_path, ("PUT", {}))
    assert (answer.status, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, POST")


def test_post_without_type_is_refused(tmp_path: Path) -> None:
    """A POST without a body, which any page may send, needs the type of JSON as well."""
    (answer,) = ask(tmp_path, ("POST", None, "", {"content-type": "text/plain"}))
    assert (answer.status, answer.problem) == (415, "media-type")


def test_endpoint_without_body_takes_empty_object(tmp_path: Path) -> None:
    """A client that always sends an object may send an empty one, and nothing else."""
    empty, none, full = ask(tmp_path, ("DELETE", {}), ("DELETE",), ("DELETE", {"a": 1}))
    assert (empty.status, none.status, full.status) == (200, 200, 400)


def test_reading_server_refuses_changes(tmp_path: Path) -> None:
    """A server that only reads refuses all that changes, unless the endpoint says it does not."""
    get, post, delete = ask(
        tmp_path, ("GET",), ("POST", {"name": "x"}), ("DELETE",), is_read_only=True
    )
    assert (get.status, post.status, delete.status) == (200, 403, 403)
    assert post.problem == "read-only"
    harmless = [Endpoint("POST", "/api/x", make, Seen, body=Body, changes=False)]
    (answer,) = ask(tmp_path, ("POST", {"name": "x"}), endpoints=harmless, is_read_only=True)
    assert answer.status == 201


def test_picture_is_written_as_text(tmp_path: Path) -> None:
    """A response of another type is its text."""
    (answer,) = ask(
        tmp_path, ("GET",), endpoints=[Endpoint("GET", "/api/x", draw, str, media_type=SVG)]
    )
    assert answer.headers["content-type"] == SVG
    assert answer.body == b"<svg>\\ud800</svg>"


def test_stream_that_fails_says_why(tmp_path: Path) -> None:
    """An error after the beginning of a stream is its last event; HEAD has no stream."""
    endpoint = Endpoint("GET", "/api/x", count, dict, streams=True)
    stream, head = ask(tmp_path, ("GET",), ("HEAD",), endpoints=[endpoint])
    first, last = stream.body.decode().strip().split("\n\n")
    assert first == 'id: 1\nevent: number\ndata: {"number":1}'
    assert last.startswith("event: problem\ndata: ")
    assert "It went wrong." in last
    assert head.status == 405
