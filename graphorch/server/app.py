"""The application: the static files and the endpoints, with the gate around all of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from graphorch.server.context import ServerContext
from graphorch.server.dispatch import serve_path
from graphorch.server.endpoint import Endpoint
from graphorch.server.gate.gate import Gate, not_found, send_problem
from graphorch.server.page import PageFile
from graphorch.server.routes import (
    about,
    actions,
    answers,
    comparison,
    events,
    flows,
    openapi,
    pictures,
    reasons,
    run,
    runs,
    statistics,
)
from graphorch.server.static_files import read_static_files, serve_file
from graphorch.server.tool_calls import refuse_tools


def list_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return all endpoints of the API: those of each module in `routes`."""
    endpoints = [
        *about.build_endpoints(context),
        *runs.build_endpoints(context),
        *run.build_endpoints(context),
        *statistics.build_endpoints(context),
        *comparison.build_endpoints(context),
        *events.build_endpoints(context),
        *reasons.build_endpoints(context),
        *pictures.build_endpoints(context),
        *answers.build_endpoints(context),
        *flows.build_endpoints(context),
        *actions.build_endpoints(context),
    ]
    return [*endpoints, *openapi.build_endpoints(context, endpoints)]


def build_app(context: ServerContext, tools: ASGIApp = refuse_tools) -> ASGIApp:
    """Return the application, behind its gate; `tools` answers `/mcp`, see `open_tools`."""
    files = read_static_files()
    router = build_router(context, files, tools)
    return Gate(router, context.settings, public=frozenset(files))


def build_router(
    context: ServerContext, files: Mapping[str, PageFile], tools: ASGIApp = refuse_tools
) -> Router:
    """Return what is behind the gate; tests enumerate its routes."""
    by_path: defaultdict[str, list[Endpoint]] = defaultdict(list)
    for endpoint in list_endpoints(context):
        by_path[endpoint.path].append(endpoint)
    routes = [Route(path, _Application(serve_file(file))) for path, file in files.items()]
    routes += [
        Route(path, _Application(serve_path(context, endpoints)))
        for path, endpoints in by_path.items()
    ]
    routes.append(Route("/mcp", _Application(tools)))
    return Router(routes, redirect_slashes=False, default=_refuse_unknown)


class _Application:
    """An application of ASGI as an object, which a route passes every method to."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


async def _refuse_unknown(scope: Scope, receive: Receive, send: Send) -> None:
    await send_problem(not_found(), scope, send)
