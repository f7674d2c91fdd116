"""Targets with fake models, and the outcomes of their attempts."""

from __future__ import annotations

from graphorch.clock import Runtime
from graphorch.models.messages import Response
from graphorch.models.policies.target import Target, TargetRules
from tests.models.fakes import (
    FakeModel,
    Table,
)


def make_targets(
    runtime: Runtime,
    *models: FakeModel,
    rules: TargetRules | None = None,
    prices: Table | None = None,
) -> list[Target]:
    """Return targets called a, b, c, …"""
    return [
        Target(name, model, model=name, rules=rules, prices=prices, runtime=runtime)
        for name, model in zip("abcdef", models, strict=False)
    ]


def list_outcomes(response: Response) -> list[tuple[str, str]]:
    """Return the target and the outcome of each attempt."""
    assert response.decision is not None
    return [(attempt.target, attempt.outcome) for attempt in response.decision.attempts]
