"""The model client of a run: the caller's, or that of the configuration and the environment.

Modules that answer model calls are imported when a run first needs them: a flow without model calls
pays for none of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from graphorch.errors import InternalError, ReplayDiverged
from graphorch.graph.plan import Plan
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.config.sources import FILE, PROJECT_FILE, VARIABLES

if TYPE_CHECKING:
    from graphorch.models.budgets.budget import Account, Budget
    from graphorch.models.config.accounts import AccountFactory
    from graphorch.models.messages import Request, Response


class SharedClient:
    """A client that runs use at a time; an owned one is closed when the last of them has ended."""

    def __init__(self, client: ModelClient, bank: AccountFactory | None, *, owned: bool) -> None:
        self._client = client
        self._bank = bank
        self._owned = owned
        self._users = 0

    def account(self, name: str, budget: Budget | None, tags: Mapping[str, str]) -> Account | None:
        """Open the account of a run, of its own budget or the configuration's.

        Return None if nothing limits it.
        """
        if self._bank is None:
            return None
        budgets = self._bank.config.budgets
        limits = (budget, budgets.run, budgets.day, budgets.tags or None, budgets.node)
        if all(limit is None for limit in limits):
            return None
        # A budget of the configuration is for a tag, or for a tag with one value.
        tags_with_values = [f"{key}={value}" for key, value in tags.items()]
        return self._bank.open_run(name, budget, tags=[*tags, *tags_with_values])

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the response of the client."""
        return await self._client.complete(request, on_text)

    def begin(self) -> None:
        """Count one more run that uses the client."""
        self._users += 1

    async def end(self) -> None:
        """Count one run less that uses the client."""
        self._users -= 1
        if self._owned and not self._users:
            await close(self._client)


class ReplayClient:
    """Client of a run that is only replayed: no model may be called."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Raise `ReplayDiverged`, always."""
        raise ReplayDiverged(f"A replay makes no call, but model '{request.model}' was called.")


class _NoModelClient:
    """Client of a flow in which no node can call a model."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        raise InternalError(
            f"Model '{request.model}' was called by a flow without model calls. "
            "Please report this as a bug of graphorch."
        )


_NO_MODEL_CLIENT = SharedClient(_NoModelClient(), None, owned=False)


def share_client(
    plan: Plan, client: ModelClient | None, budget: Budget | None = None
) -> SharedClient:
    """Return the client of one run.

    The caller's own, which the caller closes, or that of the environment. A caller's client is
    metered here, so that a budget holds for it too; a `Router` does that itself.
    """
    if isinstance(client, SharedClient):
        return client
    if client is not None:
        return _meter(client)
    if budget is None and not plan.can_ask:
        return _NO_MODEL_CLIENT
    directory = os.getcwd()
    return _open_client(
        tuple([os.environ.get(name, "") for name in VARIABLES]),
        directory,
        _read_change_time(directory),
        os.getpid(),
    )


def _meter(client: ModelClient) -> SharedClient:
    from graphorch.models.config.accounts import AccountFactory
    from graphorch.models.config.router import Router
    from graphorch.models.config.schema import Config
    from graphorch.models.pricing.metering import MeteredClient
    from graphorch.models.pricing.prices import Prices

    metered = (
        client if isinstance(client, Router | MeteredClient) else MeteredClient(client, Prices())
    )
    return SharedClient(metered, AccountFactory(config=Config()), owned=False)


def _read_change_time(directory: str) -> int:
    """Return the time at which the configuration of a directory changed last.

    Called for every run, so it costs two looks at the file system and nothing else.
    """
    newest = 0
    for name in (FILE, PROJECT_FILE):
        with suppress(OSError):
            newest = max(newest, os.stat(f"{directory}/{name}").st_mtime_ns)
    return newest


@lru_cache(maxsize=8)
def _open_client(
    variables: tuple[str, ...], directory: str, changed: int, process: int
) -> SharedClient:
    """Return the client of the environment and the configuration.

    One per state of the two, for all runs, so that they share connections and limits. A forked
    child has its own: it must not use the connections and files of its parent.
    """
    from graphorch.models.config.environment import read_default_models
    from graphorch.models.config.loader import find_config

    models = read_default_models(
        {**os.environ, **dict(zip(VARIABLES, variables, strict=True))}, find_config(Path(directory))
    )
    return SharedClient(models.client, models.accounts, owned=True)
