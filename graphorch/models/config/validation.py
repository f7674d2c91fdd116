"""Problems of a well-formed configuration: names that lead nowhere or in a circle, odd values.

A value that can have no effect, or only one that nobody wants, is an error. What is odd and may be
meant (`find_doubts`) is a warning.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

from graphorch.errors import InputError, did_you_mean
from graphorch.models.config.schema import (
    DEFAULT_MODEL,
    ENVIRONMENT,
    POLICY_PREFIX,
    BudgetConfig,
    Config,
    EndpointConfig,
    GuardsConfig,
    PolicyConfig,
    TargetConfig,
)
from graphorch.models.config.server_validation import find_server_doubts, find_server_problems
from graphorch.models.guardrails.client import secrets
from graphorch.models.openai.addresses import find_plaintext_problem
from graphorch.models.openai.gateways import GATEWAYS, check_address
from graphorch.models.policies.failure_kinds import FAILURE_KINDS
from graphorch.models.pricing.prices import Prices, Tariff

Loc: TypeAlias = tuple[str | int, ...]
Problem: TypeAlias = tuple[Loc, str]


def find_problems(config: Config) -> Iterator[Problem]:
    """Yield every error of a configuration that fits its schema."""
    yield from _find_wrong_references(config)
    yield from _find_wrong_values(config)


def _find_wrong_references(config: Config) -> Iterator[Problem]:
    """Yield endpoints and policies that do not exist, and policies that lead to themselves."""
    if ENVIRONMENT in config.endpoints:
        yield (
            ("endpoints", ENVIRONMENT),
            "that name is the one of the endpoint that OPENAI_BASE_URL names. Choose another.",
        )
    endpoint = config.default_endpoint
    if endpoint is not None and endpoint not in config.endpoints:
        yield ("default_endpoint",), _describe_missing_endpoint(config, endpoint)
    if config.default_model is not None:
        yield from _check_name(config, config.default_model, None, ("default_model",))
    for name, policy in config.policies.items():
        for place, target in enumerate(policy.targets):
            yield from _check_target(config, target, ("policies", name, "targets", place))
    for loc, budget in _list_budgets(config):
        if budget.at_cap.startswith(POLICY_PREFIX):
            yield from _check_name(config, budget.at_cap, None, (*loc, "at_cap"))
    for circle in _find_circles(config):
        yield (
            ("policies", circle[0], "targets"),
            f"the policies lead in a circle: {' → '.join(circle)}. Take one of these targets out.",
        )


def _find_wrong_values(config: Config) -> Iterator[Problem]:
    """Yield values that are fine by themselves and make no sense where they are."""
    for name, endpoint in config.endpoints.items():
        yield from _check_endpoint(name, endpoint, ("endpoints", name))
    for name, policy in config.policies.items():
        yield from _check_policy(config, name, policy, ("policies", name))
    for name, limits in config.limits.items():
        yield from _check_model_name(name, ("limits", name))
        if not limits.model_fields_set:
            yield ("limits", name), "it limits nothing. Add rpm, tpm or concurrency."
    for name in config.prices:
        yield from _check_model_name(name, ("prices", name))
    yield from _check_budgets(config)
    yield from find_server_problems(config.mcp)
    if "shares" in config.alerts.model_fields_set and not config.alerts.shares:
        yield ("alerts", "shares"), "nothing would be announced. Add a share such as 0.8."
    for name, guard in (
        ("secrets", config.guards.secrets),
        ("personal_data", config.guards.personal_data),
    ):
        if guard is not None:
            alone = GuardsConfig(**{name: guard})
            yield from _catch_input_error(("guards", name, "kinds"), alone.build_guards)


def find_doubts(config: Config) -> Iterator[Problem]:
    """Yield what is odd and may be meant."""
    yield from _find_unknown_models(config)
    yield from _find_unused_endpoints(config)
    yield from _find_idle_targets(config)
    for name, policy in config.policies.items():
        if policy.kind == "cascade" and len(policy.targets) == 1:
            yield (
                ("policies", name, "targets"),
                "a cascade of one target checks nothing, since the last answer is always taken.",
            )
    yield from _find_odd_prices(config)
    yield from find_server_doubts(config.mcp)
    run, node = (budget or BudgetConfig() for budget in (config.budgets.run, config.budgets.node))
    if node.usd is not None and run.usd is not None and node.usd > run.usd:
        yield (
            ("budgets", "node", "usd"),
            f"a node never reaches ${node.usd:g}, since a whole run may spend ${run.usd:g}.",
        )


# ---- names ---------------------------------------------------------------------------------------
def _check_target(config: Config, target: TargetConfig, loc: Loc) -> Iterator[Problem]:
    endpoint = target.endpoint
    if endpoint is not None and endpoint not in config.endpoints:
        yield (*loc, "endpoint"), _describe_missing_endpoint(config, endpoint)
    else:
        yield from _check_name(config, target.model, target, loc)
    if config.is_own_policy(target) and target.reaches:
        yield (
            (*loc, "reaches"),
            f"{target.model} is a policy of this file, which knows its own targets. "
            "Take reaches out.",
        )


def _describe_missing_endpoint(config: Config, name: str) -> str:
    return f"there is no endpoint '{name}'. {did_you_mean(name, config.endpoints)}"


def _check_name(
    config: Config, model: str, target: TargetConfig | None, loc: Loc
) -> Iterator[Problem]:
    """Yield a problem for a name of no model, and for `policy/NAME` that nothing resolves."""
    if model.strip() != model:
        yield loc, f"{model!r} begins or ends with a space. Take it out."
        return
    if model == DEFAULT_MODEL:
        yield loc, f"'{DEFAULT_MODEL}' stands for agents that name no model. Name a model here."
        return
    if not model.startswith(POLICY_PREFIX):
        return
    name = model.removeprefix(POLICY_PREFIX)
    is_known = name in config.policies and (target is None or target.endpoint is None)
    if is_known or config.passes_policies_on(target):
        return
    if name in config.policies:
        yield (
            loc,
            f"'{name}' is a policy of this file, and the endpoint has no policies of its own. "
            "Take the endpoint out.",
        )
    else:
        yield loc, f"there is no policy '{name}'. {did_you_mean(name, config.policies)}"


def _check_model_name(name: str, loc: Loc) -> Iterator[Problem]:
    """Yield a problem for the name of a policy where only a model has a meaning."""
    if name.startswith(POLICY_PREFIX):
        yield loc, f"'{name}' is a policy. Limits and prices belong to models: name its targets."
    elif name.strip() != name or not name:
        yield loc, f"{name!r} is no name of a model."


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


# ---- endpoints -----------------------------------------------------------------------------------
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST_VARIABLE = 64


def _check_endpoint(name: str, endpoint: EndpointConfig, loc: Loc) -> Iterator[Problem]:
    check = partial(check_address, endpoint.base_url, "base_url")
    problems = list(_catch_input_error((*loc, "base_url"), check))
    yield from problems
    if endpoint.key_env is not None and _looks_like_key(endpoint.key_env):
        yield (
            (*loc, "key_env"),
            "it holds the name of a variable, and this looks like a key itself. Set a variable to "
            f'the key and write its name here, such as key_env = "{name.upper()}_KEY"; and make a '
            "new key, since this one has been in a file.",
        )
    elif not problems:
        has_key = "a key" if endpoint.key_env is not None else ""
        if problem := find_plaintext_problem(endpoint.base_url, has_key):
            yield (
                (*loc, "base_url"),
                f"it {problem}. Use https://, or take key_env out; plain http with a key is for "
                "this machine only (127.0.0.1, localhost).",
            )
    check = partial(GATEWAYS[endpoint.dialect].with_options, endpoint.options)
    yield from _catch_input_error((*loc, "options"), check)
    if endpoint.free and endpoint.markup is not None:
        yield (*loc, "markup"), "a free endpoint adds nothing to a price. Take one of the two out."
    if not endpoint.caps_output and "max_output" in endpoint.model_fields_set:
        yield (
            (*loc, "max_output"),
            "the endpoint does not obey a limit on the output (caps_output = false). "
            "Take one of the two out.",
        )


def _looks_like_key(text: str) -> bool:
    """Return whether a text is rather a key than the name of a variable."""
    if not _VARIABLE.fullmatch(text) or len(text) > _LONGEST_VARIABLE:
        return True
    if any(True for _ in secrets("jwt", "api_key", "high_entropy").find(text)):
        return True
    # Names of variables are words in capitals. A long name with small letters and several digits,
    # or in both cases behind a prefix, is none; nor is a long word of capitals and digits.
    digits = sum(letter.isdigit() for letter in text)
    has_both_cases = text != text.upper() and text != text.lower()
    if text == text.upper():
        return len(text) >= 20 and digits >= 3 and "_" not in text
    return len(text) >= 16 and (digits >= 3 or (has_both_cases and "_" in text))


# ---- policies ------------------------------------------------------------------------------------
def _check_policy(config: Config, name: str, policy: PolicyConfig, loc: Loc) -> Iterator[Problem]:
    if name.startswith(POLICY_PREFIX) or not name.strip() or name.strip() != name:
        yield loc, f"'{name}' is no name of a policy. Leave '{POLICY_PREFIX}' and spaces out."
    yield from _check_failure_kinds(policy, loc)
    yield from _check_kind(policy, loc)
    yield from _check_keys_of_kind(policy, loc)
    yield from _check_hedge(policy, loc)
    check = partial(policy.retry.build_rules, policy.rounds)
    yield from _catch_input_error((*loc, "retry"), check)
    yield from _check_repeated_targets(config, policy, loc)


def _check_failure_kinds(policy: PolicyConfig, loc: Loc) -> Iterator[Problem]:
    if policy.on is not None and not policy.on:
        yield (
            (*loc, "on"),
            "no failure would lead to another target or another try. "
            'Leave it out for the usual ones, or list them: on = ["timeout", "server"].',
        )
    for place, kind in enumerate(policy.on or ()):
        if kind not in FAILURE_KINDS:
            hint = did_you_mean(kind, FAILURE_KINDS)
            yield (*loc, "on", place), f"there is no failure '{kind}'. {hint}"
        elif policy.on is not None and kind in policy.on[:place]:
            yield (*loc, "on", place), f"'{kind}' is there twice. Name it once."


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


# Keys that only one kind of policy reads: the key, the kind.
_KEYS_OF_POLICY = (("floor", "cheapest"), ("latency", "fastest"))
_KEYS_OF_TARGET = (("weight", "weighted"), ("quality", "cheapest"))


def _check_keys_of_kind(policy: PolicyConfig, loc: Loc) -> Iterator[Problem]:
    """Yield keys that a policy of another kind would read."""
    for key, kind in _KEYS_OF_POLICY:
        if key in policy.model_fields_set and policy.kind != kind:
            yield (*loc, key), _describe_key_of_kind(key, kind, policy)
    for place, target in enumerate(policy.targets):
        for key, kind in _KEYS_OF_TARGET:
            if key in target.model_fields_set and policy.kind != kind:
                yield (*loc, "targets", place, key), _describe_key_of_kind(key, kind, policy)


def _describe_key_of_kind(key: str, kind: str, policy: PolicyConfig) -> str:
    return (
        f"only a {kind} policy reads {key}, and this one is a {policy.kind}. "
        f'Take it out, or write kind = "{kind}".'
    )


def _check_hedge(policy: PolicyConfig, loc: Loc) -> Iterator[Problem]:
    """Yield a second copy that could never be sent."""
    after, limit = policy.hedge_after, policy.attempt_timeout
    if after is None:
        if "hedge_share" in policy.model_fields_set:
            yield (*loc, "hedge_share"), "no copies are sent without hedge_after. Add it."
    elif len(policy.targets) == 1:
        yield (
            (*loc, "hedge_after"),
            "a copy goes to the next target, and there is only one. Add a target.",
        )
    elif limit is not None and after >= limit:
        yield (
            (*loc, "hedge_after"),
            f"an attempt ends after {limit:g} s, before a copy would be sent. Make it shorter.",
        )


def _check_repeated_targets(config: Config, policy: PolicyConfig, loc: Loc) -> Iterator[Problem]:
    seen: set[tuple[str, str | None]] = set()
    for place, target in enumerate(policy.targets):
        key = (target.model, config.find_endpoint(target))
        if key in seen:
            yield (
                (*loc, "targets", place),
                f"'{target.model}' is there twice. Name each target once.",
            )
        seen.add(key)


# ---- budgets -------------------------------------------------------------------------------------
def _check_budgets(config: Config) -> Iterator[Problem]:
    for loc, budget in _list_budgets(config):
        check = partial(config.build_cap_rules, budget)
        yield from _catch_input_error((*loc, "at_cap"), check)
        amounts = (budget.usd, budget.tokens, budget.calls, budget.seconds)
        if all(amount is None for amount in amounts):
            yield loc, "it limits nothing. Add usd, tokens, calls or seconds."


def _list_budgets(config: Config) -> Iterator[tuple[Loc, BudgetConfig]]:
    for place, budget in config.budgets.list_levels():
        yield ("budgets", *place), budget


# ---- doubts --------------------------------------------------------------------------------------
def _find_unknown_models(config: Config) -> Iterator[Problem]:
    """Yield limits of models that neither the file nor a list of prices knows: perhaps a typo.

    An agent may name such a model all the same, so it is no error.
    """
    named = set(_list_models(config))
    prices = Prices(config.prices)
    for name in config.limits:
        if name not in named and prices.find_price(name) is None:
            hint = did_you_mean(name, sorted(named)) if named else ""
            yield (
                ("limits", name),
                f"no policy, default_model or price names '{name}'. {hint}".rstrip(),
            )


def _list_models(config: Config) -> Iterator[str]:
    """Yield the models that a file names as its targets."""
    for policy in config.policies.values():
        for target in policy.targets:
            yield target.model
            yield from target.reaches
    if config.default_model is not None:
        yield config.default_model


def _find_unused_endpoints(config: Config) -> Iterator[Problem]:
    targets = [target for policy in config.policies.values() for target in policy.targets]
    used = {target.endpoint for target in targets}
    used.add(config.find_endpoint(TargetConfig(model="any")))
    for name in config.endpoints:
        if name not in used:
            yield (
                ("endpoints", name),
                "no target names it, and it is not the default one, so nothing is sent there.",
            )


def _find_idle_targets(config: Config) -> Iterator[Problem]:
    """Yield targets below the floor of their policy."""
    for name, policy in config.policies.items():
        if policy.kind != "cheapest":
            continue
        for place, target in enumerate(policy.targets):
            if target.quality < policy.floor:
                yield (
                    ("policies", name, "targets", place),
                    f"'{target.model}' has a quality of {target.quality:g}, below the floor of "
                    f"{policy.floor:g}, so it is never asked.",
                )


def _find_odd_prices(config: Config) -> Iterator[Problem]:
    for name, tariff in config.prices.items():
        if _looks_like_price_of_token(tariff):
            yield (
                ("prices", name),
                "prices are dollars per million tokens, and these look like those of one token.",
            )
        if tariff.cached_input is not None and tariff.cached_input > tariff.input:
            yield (
                ("prices", name, "cached_input"),
                f"input from the cache is dearer (${tariff.cached_input:g}) than other input "
                f"(${tariff.input:g}).",
            )


def _looks_like_price_of_token(tariff: Tariff) -> bool:
    return any(0 < dollars < 0.0005 for dollars in (tariff.input, tariff.output))
