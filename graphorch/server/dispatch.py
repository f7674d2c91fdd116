"""From a request to a handler and back: parse, call, and write what it returns.

A handler sees only requests that fit its endpoint, and whatever it raises becomes a problem.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from graphorch.server.context import ServerContext
from graphorch.server.encoding import build_adapter, encode
from graphorch.server.endpoint import Call, Endpoint, EventHandler, Reply
from graphorch.server.event_stream import EventStream
from graphorch.server.gate.gate import check_media_type, send_problem
from graphorch.server.problems import Problem, describe_error, describe_mistakes
from graphorch.text import is_run_id

_RUN: Final = "id"  # the parameter of a path that is the id of a run


def serve_path(context: ServerContext, endpoints: Sequence[Endpoint]) -> ASGIApp:
    """Return the application of one path, whose methods the endpoints are."""
    by_method = {endpoint.method: endpoint for endpoint in endpoints}
    methods = [*by_method, "HEAD"] if "GET" in by_method else list(by_method)

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            endpoint = by_method.get(_read_method(scope))
            if endpoint is None:
                raise _wrong_method(scope, methods)
            response = await _respond(context, endpoint, Request(scope, receive))
            await response(scope, receive, send)
        except ConnectionError:
            raise
        except Exception as error:  # a handler may raise anything; the client is told what it was
            await send_problem(describe_error(error), scope, send)

    return serve


def _read_method(scope: Scope) -> Any:
    return "GET" if scope["method"] == "HEAD" else scope["method"]


def _wrong_method(scope: Scope, methods: Sequence[str]) -> Problem:
    allowed = ", ".join(sorted(methods))
    return Problem(
        405,
        "method",
        f"This path has no method {scope['method'][:20]}. It has: {allowed}.",
        headers={"allow": allowed},
    )


async def _respond(context: ServerContext, endpoint: Endpoint, request: Request) -> ASGIApp:
    """Return the response to a request. Raises `Problem`, and what the handler raises."""
    if endpoint.is_change and context.settings.is_read_only:
        raise Problem(
            403,
            "read-only",
            "This server only reads. Start it without --read-only and with the flows that it may "
            "run: `graphorch serve FLOW…`.",
        )
    if request.method == "POST":  # which any page may send without asking, but for its type
        check_media_type(dict(request.scope["headers"]))
    call = await _parse(endpoint, request)
    if not endpoint.streams:
        return _write(endpoint, await endpoint.handle(call))
    if request.method == "HEAD":
        raise _wrong_method(request.scope, ["GET"])
    return EventStream(context, await cast("EventHandler", endpoint.handle)(call))


# ---- requests ------------------------------------------------------------------------------------
async def _parse(endpoint: Endpoint, request: Request) -> Call[Any, Any]:
    """Return what a request asks for. Raises `Problem` unless it fits its endpoint."""
    names: Mapping[str, str] = request.path_params
    if _RUN in names and not is_run_id(names[_RUN]):
        raise Problem(404, "run-not-found", "This is not the id of a run.")
    query = _parse_query(endpoint, request.scope["query_string"])
    body = await request.body()
    headers = dict(request.headers.items())
    return Call(names, query, _parse_body(endpoint, body), headers)


def _parse_query(endpoint: Endpoint, query: bytes) -> BaseModel:
    """Return the query. Raises `Problem` for names that it does not have, or that come twice."""
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100
        )
    except ValueError:  # also for bytes that are no text
        raise Problem(400, "query", "The query of the address is not valid.") from None
    values: dict[str, Any] = {}
    for name, value in pairs:
        if "\0" in value:
            raise Problem(422, "query", f"The value of '{name[:80]}' holds a NUL character.")
        if _takes_several(endpoint, name):
            values.setdefault(name, []).append(value)
        elif name in values:
            raise Problem(400, "query", f"The query has '{name[:80]}' twice.")
        else:
            values[name] = value
    try:
        return endpoint.query.model_validate(values)
    except ValidationError as error:
        raise describe_mistakes(error, "query") from None


def _takes_several(endpoint: Endpoint, name: str) -> bool:
    """Return whether a name may come several times in a query: the type of its field is a tuple."""
    field = endpoint.query.model_fields.get(name)
    return field is not None and str(field.annotation).startswith("tuple[")


def _parse_body(endpoint: Endpoint, body: bytes) -> Any:
    """Return the body as its model reads it. Raises `Problem`."""
    if endpoint.body is None:
        if body.strip() not in (b"", b"{}"):
            raise Problem(400, "body", "This request takes no body: send none, or {}.")
        return None
    try:
        return build_adapter(endpoint.body).validate_json(body, strict=True)
    except ValidationError as error:
        raise describe_mistakes(error, "body") from None


# ---- responses -----------------------------------------------------------------------------------
def _write(endpoint: Endpoint, result: Any) -> Response:
    """Return what a handler returned as a response."""
    reply = result if isinstance(result, Reply) else Reply(result, endpoint.status)
    content = encode(endpoint, reply.value)
    headers = dict(reply.headers)
    return Response(content, reply.status, headers, media_type=endpoint.media_type)
