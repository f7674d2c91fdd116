"""The models that a program uses when it says nothing else: the configuration's and the environment's endpoints, else the offline model.

`OPENAI_BASE_URL` and `OPENAI_API_KEY` name any endpoint that speaks the OpenAI protocol; `GRAPHORCH_MODEL` is the model of agents that
name none; a `graphorch.toml` may name more endpoints, policies, prices and budgets.

The environment variables that say which models a program uses, and the files that may say more.
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
from graphorch.models.openai.gateways import connection_of_environment
from graphorch.models.pricing.metering import MeteredClient, NoPrices, PricingTerms


@dataclass(frozen=True, slots=True)
class Models:
    """Who answers model calls, and the bank that opens the accounts of runs."""

    client: ModelClient
    bank: AccountFactory


def is_configured(environment: Mapping[str, str], config: Config) -> bool:
    """Whether an endpoint is named anywhere. Raises `InputError` for an address without a key."""
    return bool(config.endpoints) or connection_of_environment(environment) is not None


def read_default_models(environment: Mapping[str, str], config: Config) -> Models:
    """The client and the bank. Raises `InputError` for an address without a key, `JournalError` if the file of spending cannot be used."""
    bank = AccountFactory(config=config, store=_spending(config))
    if is_configured(environment, config):
        return Models(Router(config, environment=environment), bank)
    return Models(MeteredClient(OfflineClient(), NoPrices(), PricingTerms(is_free=True)), bank)


def _spending(config: Config) -> SpendStore:
    return MemorySpend() if config.budgets.kept is None else SqliteSpend(config.budgets.kept)


VARIABLES = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "GRAPHORCH_MODEL")
FILE, PROJECT_FILE = "graphorch.toml", "pyproject.toml"
