"""Which model client a run uses: the caller's, or the one that the environment says."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Self

from graphorch.errors import ReplayDiverged
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.environment import VARIABLES, client_of
from graphorch.models.messages import Request, Response


class Using:
    """A client for the length of a run. One that was opened for runs in general is closed when the last of them here has ended."""

    def __init__(self, client: ModelClient, *, owned: bool) -> None:
        self._client = client
        self._owned = owned
        self._users = 0

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """What the client answers."""
        return await self._client.complete(request, on_text)

    async def __aenter__(self) -> Self:
        self._users += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._users -= 1
        if self._owned and not self._users:
            await close(self._client)


class NoModels:
    """Stands where a run is only read: nothing may be asked."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Raise `ReplayDiverged`, always."""
        raise ReplayDiverged(f"A replay makes no call, and model '{request.model}' was asked.")


def using(client: ModelClient | None) -> Using:
    """The client of one run: the caller's own, which the caller closes, or the one that the environment says."""
    if client is not None:
        return Using(client, owned=False)
    return _of_environment(tuple((name, os.environ.get(name, "")) for name in VARIABLES))


@lru_cache(maxsize=8)
def _of_environment(variables: tuple[tuple[str, str], ...]) -> Using:
    """One client per setting of the environment, shared by all runs, so that they share connections."""
    return Using(client_of(dict(variables)), owned=True)
