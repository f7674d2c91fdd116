"""Which model client a run uses: the caller's, or the one that the configuration and the environment say.

What answers model calls is loaded when a run first needs it: a flow that asks no model pays for none of it.
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
from graphorch.models.config.environment import FILE, PROJECT_FILE, VARIABLES

if TYPE_CHECKING:
    from graphorch.models.budgets.budget import Account, Budget
    from graphorch.models.config.accounts import AccountFactory
    from graphorch.models.messages import Request, Response


class SharedClient:
    """A client for the length of a run. One that was opened for runs in general is closed when the last of them here has ended."""

    def __init__(self, client: ModelClient, bank: AccountFactory | None, *, owned: bool) -> None:
        self._client = client
        self._bank = bank
        self._owned = owned
        self._users = 0

    def account(self, name: str, budget: Budget | None, tags: Mapping[str, str]) -> Account | None:
        """The account of a run: its own budget's, or the configuration's; None if nothing limits it."""
        if self._bank is None:
            return None
        budgets = self._bank.config.budgets
        if (
            budget is None
            and budgets.run is None
            and budgets.day is None
            and not budgets.tags
            and budgets.node is None
        ):
            return None
        return self._bank.open_run(
            name, budget, tags=[*tags, *(f"{key}={value}" for key, value in tags.items())]
        )

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """What the client answers."""
        return await self._client.complete(request, on_text)

    def begin(self) -> None:
        """One run more uses it."""
        self._users += 1

    async def end(self) -> None:
        """One run less uses it."""
        self._users -= 1
        if self._owned and not self._users:
            await close(self._client)


class ReplayClient:
    """Stands where a run is only read: nothing may be asked."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Raise `ReplayDiverged`, always."""
        raise ReplayDiverged(f"A replay makes no call, and model '{request.model}' was asked.")


class _NoModelClient:
    """Stands where no node can ask a model."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        raise InternalError(
            f"Model '{request.model}' was asked by a flow that cannot ask any. Please report this as a bug of graphorch."
        )


_UNASKED = SharedClient(_NoModelClient(), None, owned=False)


def share_client(
    plan: Plan, client: ModelClient | None, budget: Budget | None = None
) -> SharedClient:
    """The client of one run: the caller's own, which the caller closes, or the one that the environment says.

    A client of the caller's is metered here, so that a budget holds for it too; a `Router` does that itself.
    """
    if isinstance(client, SharedClient):
        return client
    if client is not None:
        return _metered(client)
    if budget is None and not plan.can_ask:
        return _UNASKED
    directory = os.getcwd()
    return _of_environment(
        tuple([os.environ.get(name, "") for name in VARIABLES]), directory, _changed(directory)
    )


def _metered(client: ModelClient) -> SharedClient:
    from graphorch.models.config.accounts import AccountFactory
    from graphorch.models.config.router import Router
    from graphorch.models.config.schema import Config
    from graphorch.models.pricing.metering import MeteredClient
    from graphorch.models.pricing.prices import Prices

    metered = (
        client if isinstance(client, Router | MeteredClient) else MeteredClient(client, Prices())
    )
    return SharedClient(metered, AccountFactory(config=Config()), owned=False)


def _changed(directory: str) -> int:
    """When the configuration of a directory changed last. Asked for every run, so it costs two looks at the file system and nothing else."""
    changed = 0
    for name in (FILE, PROJECT_FILE):
        with suppress(OSError):
            changed = max(changed, os.stat(f"{directory}/{name}").st_mtime_ns)
    return changed


@lru_cache(maxsize=8)
def _of_environment(variables: tuple[str, ...], directory: str, changed: int) -> SharedClient:
    """One client per setting of the environment and the configuration, shared by all runs, so that they share connections and limits."""
    from graphorch.models.config.environment import read_default_models
    from graphorch.models.config.loader import find_config

    models = read_default_models(
        {**os.environ, **dict(zip(VARIABLES, variables, strict=True))}, find_config(Path(directory))
    )
    return SharedClient(models.client, models.bank, owned=True)
