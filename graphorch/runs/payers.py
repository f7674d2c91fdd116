"""Which client of a chain pays for its calls, and whether a call could be made, before any is.

A call is paid once: by the router, policy, target or meter that is innermost in the chain of the
caller's client. A client without any of them gets a meter around it.
"""

from __future__ import annotations

from typing import TypeAlias

from graphorch.models.budgets.budget import Account
from graphorch.models.client import ModelClient, unwrap
from graphorch.models.config.accounts import AccountFactory
from graphorch.models.config.router import Router
from graphorch.models.config.schema import Config
from graphorch.models.policies.policy import Policy
from graphorch.models.policies.target import Target
from graphorch.models.pricing.metering import MeteredClient
from graphorch.models.pricing.prices import Prices

Payer: TypeAlias = Router | Policy | Target | MeteredClient


def find_payer(client: ModelClient) -> Payer | None:
    """Return the client of a chain that pays for its calls; None if none does."""
    for link in unwrap(client):
        if isinstance(link, Payer):
            return link
    return None


def meter(client: ModelClient) -> MeteredClient:
    """Return a client whose calls are paid at list prices, around one that pays nothing."""
    return MeteredClient(client, Prices())


def find_accounts(client: ModelClient) -> AccountFactory:
    """Return the factory of the accounts of a client's runs: a router has its budgets."""
    payer = find_payer(client)
    return payer.accounts if isinstance(payer, Router) else AccountFactory(config=Config())


def check_call(client: ModelClient, model: str, payer: Account | None) -> None:
    """Raise `InputError` unless a call of that model can be made, paid by that account."""
    match find_payer(client):
        case Router() as router:
            router.check_call(model, payer)
        case MeteredClient() as metered if payer is not None:
            metered.check_payable(model, payer)
        case Policy() | Target() as policy if payer is not None:
            policy.check_payable(payer)
        case _:
            pass
