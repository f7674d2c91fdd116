"""The models that the agents of a flow ask, known before any node runs.

A typo in a name, a key that is not set or a price that is not known would otherwise be found after
other nodes were paid. A function with a context may ask any model, which only its run shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from graphorch.engine.settings import RunSettings
from graphorch.errors import InputError
from graphorch.graph.plan import Plan
from graphorch.runs.clients import SharedClient

_DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class AskedModel:
    """A model that an agent at `path` names; `has_own_cap`: a node's budget is around it."""

    model: str
    has_own_cap: bool
    path: str


class AskedModels:
    """The models of a plan, each listed once."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def check(self, settings: RunSettings) -> None:
        """Raise `InputError` unless every agent of a run can make its call, and pay it."""
        client = settings.client
        if not isinstance(client, SharedClient):
            return
        for asked in self._listed:
            self._check(client, asked, settings)
        # A model that one node asks instead of its own, in a rerun.
        for model in settings.models.values():
            client.check_call(model, settings.account)

    def _check(self, client: SharedClient, asked: AskedModel, settings: RunSettings) -> None:
        payer = settings.account
        if payer is not None:
            payer = settings.open_node(payer, asked.path)
        if asked.has_own_cap:
            from graphorch.models.budgets.budget import Account, Budget

            payer = Account(asked.path, Budget(usd=1), beside=[] if payer is None else [payer])
        try:
            client.check_call(settings.model or asked.model, payer)
        except InputError as error:
            raise InputError(f"Agent '{asked.path}' of flow '{self._plan.name}': {error}") from None

    @cached_property
    def _listed(self) -> tuple[AskedModel, ...]:
        first: dict[tuple[str, bool], AskedModel] = {}
        for asked in _list_agents(self._plan):
            first.setdefault((asked.model, asked.has_own_cap), asked)
        return tuple(first.values())


def list_models(plan: Plan, model: str = "") -> list[str]:
    """Return the names that a flow asks for, `default` for none, if `model` replaces no other.

    Functions with a context may ask for any; they count as asking for the default.
    """
    names = [asked.model for asked in _list_agents(plan)]
    if not names and plan.can_ask:
        names = [_DEFAULT]
    return list(dict.fromkeys(model or name for name in names))


def name_models(plan: Plan, settings: RunSettings) -> list[str]:
    """Return the models that the client of a run asks, with the name that `default` stands for."""
    client = settings.client
    config = client.config if isinstance(client, SharedClient) else None
    default = _DEFAULT
    if config is not None:
        from graphorch.models.offline.client import MODEL

        default = config.default_model or (_DEFAULT if config.endpoints else MODEL)
    names = list_models(plan, settings.model)
    return list(dict.fromkeys(default if name == _DEFAULT else name for name in names))


def _list_agents(plan: Plan) -> Iterator[AskedModel]:
    """Yield the agents of a plan in their order, those of a flow in several places once."""
    seen: set[tuple[int, bool]] = set()

    def walk(plan: Plan, prefix: str, *, has_cap: bool) -> Iterator[AskedModel]:
        if (id(plan), has_cap) in seen:
            return
        seen.add((id(plan), has_cap))
        for step in plan.steps:
            budget = step.node.options.budget
            is_capped = has_cap or (budget is not None and budget.usd is not None)
            path = f"{prefix}{step.name}"
            if step.node.kind == "agent" and step.inner_plan is None:
                yield AskedModel(getattr(step.node.fn, "model", "") or _DEFAULT, is_capped, path)
            if step.inner_plan is not None:
                yield from walk(step.inner_plan, f"{path}/", has_cap=is_capped)

    yield from walk(plan, "", has_cap=False)
