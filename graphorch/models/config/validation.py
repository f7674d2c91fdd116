"""Problems of a well-formed configuration: names that lead nowhere or in a circle, odd values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from graphorch.errors import InputError, did_you_mean
from graphorch.models.config.schema import (
    POLICY_PREFIX,
    BudgetConfig,
    Config,
    PolicyConfig,
    TargetConfig,
)
from graphorch.models.openai.gateways import GATEWAYS, check_address
from graphorch.models.policies.failure_kinds import FAILURE_KINDS

Loc: TypeAlias = tuple[str | int, ...]


def find_wrong_references(config: Config) -> Iterator[tuple[Loc, str]]:
    """Yield endpoints and policies that do not exist, and policies that lead to themselves."""
    if config.default_endpoint is not None and config.default_endpoint not in config.endpoints:
        yield (
            ("default_endpoint",),
            f"there is no endpoint '{config.default_endpoint}'. {did_you_mean(config.default_endpoint, config.endpoints)}",
        )
    if config.default_model is not None:
        yield from _wrong_policy(config, config.default_model, None, ("default_model",))
    for name, policy in config.policies.items():
        for place, target in enumerate(policy.targets):
            loc: Loc = ("policies", name, "targets", place)
            if target.endpoint is not None and target.endpoint not in config.endpoints:
                yield (
                    (*loc, "endpoint"),
                    f"there is no endpoint '{target.endpoint}'. {did_you_mean(target.endpoint, config.endpoints)}",
                )
            else:
                yield from _wrong_policy(config, target.model, target, loc)
    for loc, budget in _budgets(config):
        if budget.at_cap.startswith(POLICY_PREFIX):
            yield from _wrong_policy(config, budget.at_cap, None, (*loc, "at_cap"))
    for circle in _circles(config):
        yield (
            ("policies", circle[0], "targets"),
            f"the policies lead in a circle: {' → '.join(circle)}. Take one of these targets out.",
        )


def _wrong_policy(
    config: Config, model: str, target: TargetConfig | None, loc: Loc
) -> Iterator[tuple[Loc, str]]:
    if (
        model.startswith(POLICY_PREFIX)
        and model.removeprefix(POLICY_PREFIX) not in config.policies
        and not config.passes_policies_on(target)
    ):
        name = model.removeprefix(POLICY_PREFIX)
        yield loc, f"there is no policy '{name}'. {did_you_mean(name, config.policies)}"


def _circles(config: Config) -> Iterator[list[str]]:
    """Yield each circle of policies once, from its first policy in the file back to it."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> Iterator[list[str]]:
        if name in path:
            yield [*path[path.index(name) :], name]
            return
        if name in done:
            return
        for target in config.policies[name].targets:
            if config.is_own_policy(target):
                yield from walk(target.model.removeprefix(POLICY_PREFIX), [*path, name])
        done.add(name)

    for name in config.policies:
        yield from walk(name, [])


def find_wrong_values(config: Config) -> Iterator[tuple[Loc, str]]:
    """Yield values that are fine by themselves and make no sense where they are."""
    for name, endpoint in config.endpoints.items():
        yield from _refused(
            ("endpoints", name, "base_url"), partial(check_address, endpoint.base_url, "base_url")
        )
        yield from _refused(
            ("endpoints", name, "options"),
            partial(GATEWAYS[endpoint.dialect].with_options, endpoint.options),
        )
    for name, policy in config.policies.items():
        yield from _wrong_policy_values(("policies", name), policy)
    for loc, budget in _budgets(config):
        yield from _refused((*loc, "at_cap"), partial(config.build_cap_rules, budget))


def _refused(loc: Loc, make: Callable[[], object]) -> Iterator[tuple[Loc, str]]:
    """Yield the error that building a value raises, if it raises one."""
    try:
        make()
    except InputError as error:
        yield loc, str(error)


def _wrong_policy_values(loc: Loc, policy: PolicyConfig) -> Iterator[tuple[Loc, str]]:
    for place, kind in enumerate(policy.on or ()):
        if kind not in FAILURE_KINDS:
            yield (
                (*loc, "on", place),
                f"there is no failure '{kind}'. {did_you_mean(kind, FAILURE_KINDS)}",
            )
    if policy.kind == "weighted" and not sum(config.weight for config in policy.targets):
        yield (
            (*loc, "targets"),
            "the weights sum to nothing, so no target would ever be asked. Give one of them a weight above 0.",
        )
    if (
        policy.kind == "cheapest"
        and max(config.quality for config in policy.targets) < policy.floor
    ):
        yield (
            (*loc, "floor"),
            f"no target has a quality of {policy.floor:g} or more. Lower the floor, or give the targets their quality.",
        )
    if policy.kind == "cascade" and policy.check is None:
        yield (
            loc,
            'a cascade needs a check that decides whether a cheap answer is good enough. Add check = "valid", or one of your own.',
        )
    names = [(config.model, config.endpoint) for config in policy.targets]
    for place, item in enumerate(names):
        if item in names[:place]:
            yield (*loc, "targets", place), f"'{item[0]}' is there twice. Name each target once."


def _budgets(config: Config) -> Iterator[tuple[Loc, BudgetConfig]]:
    for name in ("run", "node", "day"):
        budget = getattr(config.budgets, name)
        if budget is not None:
            yield ("budgets", name), budget
    for tag, budget in config.budgets.tags.items():
        yield ("budgets", "tags", tag), budget
