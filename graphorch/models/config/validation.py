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
Problem: TypeAlias = tuple[Loc, str]


def find_wrong_references(config: Config) -> Iterator[Problem]:
    """Yield endpoints and policies that do not exist, and policies that lead to themselves."""
    endpoint = config.default_endpoint
    if endpoint is not None and endpoint not in config.endpoints:
        yield ("default_endpoint",), _describe_missing_endpoint(config, endpoint)
    if config.default_model is not None:
        yield from _check_policy_name(config, config.default_model, None, ("default_model",))
    for name, policy in config.policies.items():
        for place, target in enumerate(policy.targets):
            yield from _check_target(config, target, ("policies", name, "targets", place))
    for loc, budget in _list_budgets(config):
        if budget.at_cap.startswith(POLICY_PREFIX):
            yield from _check_policy_name(config, budget.at_cap, None, (*loc, "at_cap"))
    for circle in _find_circles(config):
        yield (
            ("policies", circle[0], "targets"),
            f"the policies lead in a circle: {' → '.join(circle)}. Take one of these targets out.",
        )


def find_wrong_values(config: Config) -> Iterator[Problem]:
    """Yield values that are fine by themselves and make no sense where they are."""
    for name, endpoint in config.endpoints.items():
        loc: Loc = ("endpoints", name)
        check = partial(check_address, endpoint.base_url, "base_url")
        yield from _catch_input_error((*loc, "base_url"), check)
        check = partial(GATEWAYS[endpoint.dialect].with_options, endpoint.options)
        yield from _catch_input_error((*loc, "options"), check)
    for name, policy in config.policies.items():
        yield from _check_policy(policy, ("policies", name))
    for loc, budget in _list_budgets(config):
        check = partial(config.build_cap_rules, budget)
        yield from _catch_input_error((*loc, "at_cap"), check)


def _check_target(config: Config, target: TargetConfig, loc: Loc) -> Iterator[Problem]:
    endpoint = target.endpoint
    if endpoint is not None and endpoint not in config.endpoints:
        yield (*loc, "endpoint"), _describe_missing_endpoint(config, endpoint)
    else:
        yield from _check_policy_name(config, target.model, target, loc)


def _describe_missing_endpoint(config: Config, name: str) -> str:
    return f"there is no endpoint '{name}'. {did_you_mean(name, config.endpoints)}"


def _check_policy_name(
    config: Config, model: str, target: TargetConfig | None, loc: Loc
) -> Iterator[Problem]:
    """Yield a problem for `policy/NAME` if neither the file nor the gateway has that policy."""
    if not model.startswith(POLICY_PREFIX):
        return
    name = model.removeprefix(POLICY_PREFIX)
    if name not in config.policies and not config.passes_policies_on(target):
        yield loc, f"there is no policy '{name}'. {did_you_mean(name, config.policies)}"


def _find_circles(config: Config) -> Iterator[list[str]]:
    """Yield the circles of policies, from their first policy in the file back to it."""
    done: set[str] = set()
    for name in config.policies:
        yield from _walk_policies(config, name, [], done)


def _walk_policies(
    config: Config, name: str, path: list[str], done: set[str]
) -> Iterator[list[str]]:
    """Walk depth first from a policy that was reached over `path`, and yield the circles.

    Policies in `done` have been walked from before, so their circles are known.
    """
    if name in path:
        yield [*path[path.index(name) :], name]
        return
    if name in done:
        return
    for target in config.policies[name].targets:
        if config.is_own_policy(target):
            next_name = target.model.removeprefix(POLICY_PREFIX)
            yield from _walk_policies(config, next_name, [*path, name], done)
    done.add(name)


def _catch_input_error(loc: Loc, make: Callable[[], object]) -> Iterator[Problem]:
    """Yield the error that building a value raises, if it raises one."""
    try:
        make()
    except InputError as error:
        yield loc, str(error)


def _check_policy(policy: PolicyConfig, loc: Loc) -> Iterator[Problem]:
    yield from _check_failure_kinds(policy, loc)
    yield from _check_kind(policy, loc)
    yield from _check_repeated_targets(policy, loc)


def _check_failure_kinds(policy: PolicyConfig, loc: Loc) -> Iterator[Problem]:
    for place, kind in enumerate(policy.on or ()):
        if kind not in FAILURE_KINDS:
            hint = did_you_mean(kind, FAILURE_KINDS)
            yield (*loc, "on", place), f"there is no failure '{kind}'. {hint}"


def _check_kind(policy: PolicyConfig, loc: Loc) -> Iterator[Problem]:
    """Yield what a policy of its kind needs and lacks."""
    if policy.kind == "weighted" and not sum(target.weight for target in policy.targets):
        yield (
            (*loc, "targets"),
            "the weights sum to nothing, so no target would ever be asked. "
            "Give one of them a weight above 0.",
        )
    if policy.kind == "cheapest":
        best_quality = max(target.quality for target in policy.targets)
        if best_quality < policy.floor:
            yield (
                (*loc, "floor"),
                f"no target has a quality of {policy.floor:g} or more. "
                "Lower the floor, or give the targets their quality.",
            )
    if policy.kind == "cascade" and policy.check is None:
        yield (
            loc,
            "a cascade needs a check that decides whether a cheap answer is good enough. "
            'Add check = "valid", or one of your own.',
        )


def _check_repeated_targets(policy: PolicyConfig, loc: Loc) -> Iterator[Problem]:
    seen: set[tuple[str, str | None]] = set()
    for place, target in enumerate(policy.targets):
        key = (target.model, target.endpoint)
        if key in seen:
            yield (
                (*loc, "targets", place),
                f"'{target.model}' is there twice. Name each target once.",
            )
        seen.add(key)


def _list_budgets(config: Config) -> Iterator[tuple[Loc, BudgetConfig]]:
    for name in ("run", "node", "day"):
        budget = getattr(config.budgets, name)
        if budget is not None:
            yield ("budgets", name), budget
    for tag, budget in config.budgets.tags.items():
        yield ("budgets", "tags", tag), budget
