"""The description of the API for programs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from graphorch.server.context import ServerContext
from graphorch.server.endpoint import Call, Endpoint, NoQuery
from graphorch.server.openapi.document import build_document


def build_endpoints(context: ServerContext, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Return the endpoint of the document that describes the other endpoints and itself."""

    @cache
    def build() -> dict[str, Any]:
        return build_document([*endpoints, own], context.flows)

    async def describe_api(call: Call[NoQuery, None]) -> dict[str, Any]:
        """Describe the API as an OpenAPI 3.1 document, with the schemas of the served flows."""
        return build()

    own = Endpoint("GET", "/api/openapi.json", describe_api, dict[str, Any])
    return [own]
