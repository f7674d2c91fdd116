"""Sessions of the example flows, for tests that step through them."""

from __future__ import annotations

from typing import Any

from graphorch.debugger.session import Session
from tests.scenarios.flows import FLOWS, Ledger, State

AnySession = Session[Any, Any]


def opened(name: str, ledger: Ledger | None = None, **options: Any) -> AnySession:
    """Open a session of a flow by its name."""
    return FLOWS[name]().debug(State(), run_id="r", resources=ledger or Ledger(), **options)
