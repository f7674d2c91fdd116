"""What a server is: its journal, its flows, its version."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

from graphorch._version import __version__
from graphorch.models.config.schema import Config
from graphorch.runs.clients import SharedClient
from graphorch.server.context import ServerContext
from graphorch.server.endpoint import Call, Endpoint, NoQuery


@dataclass(frozen=True, slots=True)
class About:
    """A server.

    `journal` is the path of a file or the URL of a database without its password, and
    `journal_bytes` the size of the file; None for a database. `flows` are the names of the served
    flows in paths. `model` is the one that all runs ask instead of their own, if any.
    `endpoints` and `policies` are the names in the configuration that runs use, without any key.
    """

    version: str
    journal: str
    journal_bytes: int | None
    flows: tuple[str, ...]
    read_only: bool
    model: str
    endpoints: tuple[str, ...]
    policies: tuple[str, ...]


def build_endpoints(context: ServerContext) -> list[Endpoint]:
    """Return the endpoint that describes the server."""

    async def describe_server(call: Call[NoQuery, None]) -> About:
        """Describe the server: its journal, its flows, its version."""
        size = None
        if not context.journal.is_database:
            with suppress(OSError):
                size = os.stat(context.journal.text).st_size
        config = _find_config(context)
        return About(
            version=__version__,
            journal=str(context.journal),
            journal_bytes=size,
            flows=tuple(context.flows),
            read_only=context.settings.is_read_only,
            model=context.settings.model,
            endpoints=() if config is None else tuple(config.endpoints),
            policies=() if config is None else tuple(config.policies),
        )

    return [Endpoint("GET", "/api/about", describe_server, About)]


def _find_config(context: ServerContext) -> Config | None:
    """Return the configuration of the models that runs ask; None where no run can begin."""
    client = context.options.get("client")
    return client.config if isinstance(client, SharedClient) else None
