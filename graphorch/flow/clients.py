"""Which model client a run uses: the caller's, or the one that the configuration and the environment say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Self

from graphorch.errors import ReplayDiverged
from graphorch.models.accounts import Bank
from graphorch.models.budget import Account, Budget
from graphorch.models.client import ModelClient, OnText, close
from graphorch.models.config import FILE, PROJECT_FILE, find_config
from graphorch.models.config_model import Config
from graphorch.models.environment import VARIABLES, models_of
from graphorch.models.messages import Request, Response
from graphorch.models.metering import MeteredClient
from graphorch.models.pricing import Prices
from graphorch.models.router import Router


class Using:
    """A client for the length of a run. One that was opened for runs in general is closed when the last of them here has ended."""

    def __init__(self, client: ModelClient, bank: Bank, *, owned: bool) -> None:
        self._client = client
        self._bank = bank
        self._owned = owned
        self._users = 0

    def account(self, name: str, budget: Budget | None, tags: Mapping[str, str]) -> Account | None:
        """The account of a run: its own budget's, or the configuration's; None if nothing limits it."""
        budgets = self._bank.config.budgets
        if budget is None and budgets.run is None and budgets.day is None and not budgets.tags and budgets.node is None:
            return None
        return self._bank.open_run(name, budget, tags=[*tags, *(f"{key}={value}" for key, value in tags.items())])

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
    """The client of one run: the caller's own, which the caller closes, or the one that the environment says.

    A client of the caller's is metered here, so that a budget holds for it too; a `Router` does that itself.
    """
    if isinstance(client, Using):
        return client
    if client is not None:
        metered = client if isinstance(client, Router | MeteredClient) else MeteredClient(client, Prices())
        return Using(metered, Bank(config=Config()), owned=False)
    return _of_environment(tuple((name, os.environ.get(name, "")) for name in VARIABLES), *_configured(Path.cwd()))


def _configured(directory: Path) -> tuple[Path, int]:
    """The directory whose configuration counts, and when that changed last."""
    files = [directory / name for name in (FILE, PROJECT_FILE)]
    return directory, max((file.stat().st_mtime_ns for file in files if file.is_file()), default=0)


@lru_cache(maxsize=8)
def _of_environment(variables: tuple[tuple[str, str], ...], directory: Path, changed: int) -> Using:
    """One client per setting of the environment and the configuration, shared by all runs, so that they share connections and limits."""
    models = models_of({**os.environ, **dict(variables)}, find_config(directory))
    return Using(models.client, models.bank, owned=True)
