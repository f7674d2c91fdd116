"""The models that a program uses if it names none: those of the configuration and the environment.

`OPENAI_BASE_URL` and `OPENAI_API_KEY` name any endpoint that speaks the OpenAI protocol;
`GRAPHORCH_MODEL` is the model of agents that name none; a `graphorch.toml` may name more endpoints,
policies, prices and budgets. Without any endpoint, the offline model answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphorch.models.budgets.ledger import SpendStore
from graphorch.models.budgets.spend_store import MemorySpend, SqliteSpend
from graphorch.models.client import ModelClient
from graphorch.models.config.accounts import AccountFactory
from graphorch.models.config.router import Router
from graphorch.models.config.schema import Config
from graphorch.models.offline.client import OfflineClient
from graphorch.models.openai.gateways import read_connection
from graphorch.models.pricing.metering import MeteredClient, NoPrices, PricingTerms


@dataclass(frozen=True, slots=True)
class DefaultModels:
    """The client that answers model calls, and the factory of the accounts of runs."""

    client: ModelClient
    accounts: AccountFactory


def is_configured(environment: Mapping[str, str], config: Config) -> bool:
    """Return whether an endpoint is named anywhere.

    Raises `InputError` for an address without a key.
    """
    return bool(config.endpoints) or read_connection(environment) is not None


def read_default_models(environment: Mapping[str, str], config: Config) -> DefaultModels:
    """Return the client and the accounts of an environment and a configuration.

    Raises `InputError` for an address without a key, `JournalError` if the file of spending cannot
    be used.
    """
    accounts = AccountFactory(config=config, store=_open_spend_store(config))
    if is_configured(environment, config):
        return DefaultModels(Router(config, environment=environment), accounts)
    offline = MeteredClient(OfflineClient(), NoPrices(), PricingTerms(is_free=True))
    return DefaultModels(offline, accounts)


def _open_spend_store(config: Config) -> SpendStore:
    path = config.budgets.kept
    return MemorySpend() if path is None else SqliteSpend(path)
