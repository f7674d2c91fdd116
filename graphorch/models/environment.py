"""The models that a program uses when it says nothing else: the configuration's and the environment's endpoints, else the offline model.

`OPENAI_BASE_URL` and `OPENAI_API_KEY` name any endpoint that speaks the OpenAI protocol; `GRAPHORCH_MODEL` is the model of agents that
name none; a `graphorch.toml` may name more endpoints, policies, prices and budgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from graphorch.models.accounts import Bank
from graphorch.models.client import ModelClient
from graphorch.models.config_model import Config
from graphorch.models.endpoints import connection_of_environment
from graphorch.models.ledger import SpendStore
from graphorch.models.metering import MeteredClient, NoPrices, Terms
from graphorch.models.offline import OfflineClient
from graphorch.models.router import Router
from graphorch.models.spend_store import MemorySpend, SqliteSpend


@dataclass(frozen=True, slots=True)
class Models:
    """Who answers model calls, and the bank that opens the accounts of runs."""

    client: ModelClient
    bank: Bank


def is_configured(environment: Mapping[str, str], config: Config) -> bool:
    """Whether an endpoint is named anywhere. Raises `InputError` for an address without a key."""
    return bool(config.endpoints) or connection_of_environment(environment) is not None


def models_of(environment: Mapping[str, str], config: Config) -> Models:
    """The client and the bank. Raises `InputError` for an address without a key, `JournalError` if the file of spending cannot be used."""
    bank = Bank(config=config, store=_spending(config))
    if is_configured(environment, config):
        return Models(Router(config, environment=environment), bank)
    return Models(MeteredClient(OfflineClient(), NoPrices(), Terms(is_free=True)), bank)


def _spending(config: Config) -> SpendStore:
    return MemorySpend() if config.budgets.kept is None else SqliteSpend(config.budgets.kept)
