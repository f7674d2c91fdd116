"""The model client of a run: the caller's, or that of the configuration and the environment.

Modules that answer model calls are imported when a run first needs them: a flow without model calls
pays for none of them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from graphorch.errors import InternalError, ReplayDiverged
from graphorch.graph.plan import Plan
from graphorch.models.client import ModelClient, OnText, close, prepare
from graphorch.models.config.sources import FILE, PROJECT_FILE, VARIABLES
from graphorch.runs.stores import find_database

if TYPE_CHECKING:
    from graphorch.distributed.limits.shared_limits import PostgresLimits
    from graphorch.engine.settings import RunSettings
    from graphorch.models.budgets.budget import Account, Budget
    from graphorch.models.config.accounts import AccountFactory, OnAlert
    from graphorch.models.config.router import Router
    from graphorch.models.config.schema import Config
    from graphorch.models.messages import Request, Response
    from graphorch.runs.stores import Durable


class SharedClient:
    """A client that runs use at a time; an owned one is closed when the last of them has ended."""

    def __init__(
        self, client: ModelClient, accounts: AccountFactory | None, *, owned: bool
    ) -> None:
        self._client = client
        self._accounts = accounts
        self._owned = owned
        self._users = 0
        self._checked: set[str] = set()  # models that can be called without a budget

    def account(
        self,
        name: str,
        budget: Budget | None,
        tags: Mapping[str, str],
        on_alert: OnAlert | None = None,
    ) -> Account | None:
        """Open the account of a run, of its own budget or the configuration's.

        `on_alert` hears of the shares that are spent. Return None if nothing limits the run.
        """
        if self._accounts is None:
            return None
        budgets = self._accounts.config.budgets
        limits = (budget, budgets.run, budgets.day, budgets.tags or None, budgets.node)
        if all(limit is None for limit in limits):
            return None
        # A budget of the configuration is for a tag, or for a tag with one value.
        tags_with_values = [f"{key}={value}" for key, value in tags.items()]
        all_tags = [*tags, *tags_with_values]
        return self._accounts.open_run(name, budget, tags=all_tags, on_alert=on_alert)

    def node_account(self, outer: Account, name: str, on_alert: OnAlert | None = None) -> Account:
        """Open the account of a node below another one, if the configuration has a budget for it.

        Else return that other one.
        """
        return outer if self._accounts is None else self._accounts.open_node(outer, name, on_alert)

    def check_call(self, model: str, payer: Account | None) -> None:
        """Raise `InputError` unless a model can be called, paid by that account.

        Its name leads somewhere, its key is set, and its price is known where a cap needs it.
        """
        if payer is None and model in self._checked:
            return
        from graphorch.runs.payers import check_call

        check_call(self._client, model, payer)
        self._checked.add(model)

    @property
    def config(self) -> Config | None:
        """Configuration of the client; None if it has none of its own."""
        from graphorch.models.config.router import Router
        from graphorch.runs.payers import find_payer

        payer = find_payer(self._client)
        return payer.config if isinstance(payer, Router) else None

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the response of the client."""
        return await self._client.complete(request, on_text)

    async def prepare(self) -> None:
        """Load what the first model call needs, before the time of any node runs."""
        await prepare(self._client)

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


NO_CALLS = SharedClient(ReplayClient(), None, owned=False)
"""The client of a run that is opened and does not go on."""


def open_no_calls() -> SharedClient:
    """Return the client of a run that is written down and does not go on.

    It knows the run's own budget, and reads no configuration.
    """
    from graphorch.models.config.accounts import AccountFactory
    from graphorch.models.config.schema import Config

    return SharedClient(ReplayClient(), AccountFactory(config=Config()), owned=False)


class _NoModelClient:
    """Client of a flow in which no node can call a model."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        raise InternalError(
            f"Model '{request.model}' was called by a flow without model calls. "
            "Please report this as a bug of graphorch."
        )


_NO_MODEL_CLIENT = SharedClient(_NoModelClient(), None, owned=False)


# Modules that the client of a run needs: a tenth of a second of loading.
_NEEDED = ("graphorch.models.config.loader", "graphorch.runs.payers")


async def load_modules(plan: Plan) -> None:
    """Load what `share_client` needs in a thread, so that other work of the event loop goes on."""
    if plan.can_ask:
        for name in _NEEDED:
            if name not in sys.modules:
                await asyncio.to_thread(import_module, name)


def share_client(
    plan: Plan,
    client: ModelClient | None,
    budget: Budget | None = None,
    durable: Durable = False,
) -> SharedClient:
    """Return the client of one run.

    The caller's own, which the caller closes, or that of the environment. If the run is kept in a
    database, the latter shares its limits with all other processes of it. Raises `InputError` for a
    configuration that does not fit or is not trusted.
    """
    if isinstance(client, SharedClient):
        return client
    if client is not None:
        from graphorch.runs.payers import find_accounts, find_payer, meter

        paying = client if find_payer(client) is not None else meter(client)
        return SharedClient(paying, find_accounts(client), owned=False)
    if budget is None and not plan.can_ask:
        return _NO_MODEL_CLIENT
    directory = os.getcwd()
    variables = tuple([os.environ.get(name, "") for name in VARIABLES])
    database = "" if durable is False else find_database(durable)
    return _open_client(variables, directory, _read_state(directory), database, os.getpid())


def name_own_client(settings: RunSettings) -> str:
    """Return the class of the client that the caller passed; empty for that of a configuration."""
    client = settings.own_client
    return "" if client is None or isinstance(client, SharedClient) else type(client).__name__


def open_shared_limits(durable: Durable) -> PostgresLimits | None:
    """Return the limits that all processes share whose runs are kept in a database.

    None for a journal that is not in a database. Nothing is connected until a limit is asked for.
    """
    if not (database := find_database(durable)):
        return None
    from graphorch.distributed.limits.shared_limits import PostgresLimits

    return PostgresLimits(database)


def share_router(router: Router) -> SharedClient:
    """Return the client of the runs of a command, which closes the router with the last of them."""
    return SharedClient(router, router.accounts, owned=True)


_State: TypeAlias = tuple[int, ...]


def _read_state(directory: str) -> _State:
    """Return what changes whenever the configuration of a directory does, or the trust in it.

    Called for every run: without a file it costs two looks at the file system and nothing else.
    """
    state: list[int] = []
    for name in (FILE, PROJECT_FILE):
        with suppress(OSError):
            found = os.stat(f"{directory}/{name}")
            state += (found.st_mtime_ns, found.st_size, found.st_ino)
    if state:
        from graphorch.models.config.trust import find_trust_folder

        with suppress(OSError):
            state.append(os.stat(find_trust_folder()).st_mtime_ns)
    return tuple(state)


@lru_cache(maxsize=8)
def _open_client(
    variables: tuple[str, ...], directory: str, state: _State, database: str, process: int
) -> SharedClient:
    """Return the client of the environment and the configuration.

    One per state of the two and database, for all runs: they share connections and limits. A forked
    child has its own: it must not use the connections and files of its parent.
    """
    from graphorch.models.config.loader import find_config
    from graphorch.models.config.router import Router, RouterParts

    parts = RouterParts(limits=open_shared_limits(database)) if database else None
    return share_router(Router(find_config(Path(directory)), parts=parts))
