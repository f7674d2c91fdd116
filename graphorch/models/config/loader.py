"""`graphorch.toml` (or `[tool.graphorch]` in `pyproject.toml`): endpoints, policies by name, limits, budgets, alerts, guards and prices.

    default_model = "policy/careful"

    [endpoints.main]                       # the key is never in the file: `key_env` names the variable that holds it
    base_url = "https://router.requesty.ai/v1"
    key_env = "REQUESTY_API_KEY"
    dialect = "requesty"

    [policies.careful]                     # used as model="policy/careful"
    kind = "fallback"
    targets = ["openai/gpt-5", { model = "gpt-5", endpoint = "direct" }, "policy/cheap"]

    [limits."openai/gpt-5"]
    rpm = 60

    [budgets.run]
    usd = 0.50
    at_cap = "policy/cheap"

    [prices."openai/gpt-5"]                # dollars per million tokens
    input = 1.25
    output = 10

Everything that is wrong is reported at once, with file, line and field. Without a file, `OPENAI_BASE_URL` and `OPENAI_API_KEY` are enough.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from graphorch.errors import InputError, did_you_mean
from graphorch.models.config.environment import FILE, PROJECT_FILE
from graphorch.models.config.schema import POLICY, Config, TargetConfig
from graphorch.models.config.toml_lines import find_line
from graphorch.models.config.validation import Loc, wrong_references, wrong_values


@dataclass(frozen=True, slots=True)
class _Source:
    """A file that was read, to say where in it something is."""

    path: Path
    text: str
    table: Loc = ()  # the table of the file that is ours

    def at(self, loc: Loc) -> str:
        line = find_line(self.text, (*self.table, *loc))
        return f"{self.path}:{line}" if line else f"{self.path}"


def find_config(directory: Path) -> Config:
    """The configuration of a directory: its `graphorch.toml`, else its `pyproject.toml`, else nothing, which is fine.

    Raises `InputError` with all that is wrong.
    """
    for name in (FILE, PROJECT_FILE):
        path = directory / name
        if path.is_file() and (
            name == FILE or "tool.graphorch" in path.read_text("utf-8", "replace")
        ):
            return read_config(path)
    return Config()


def read_config(path: Path) -> Config:
    """The configuration in a file. Raises `InputError` with all that is wrong: file, line, field, and what to write instead."""
    try:
        text = path.read_bytes().decode("utf-8")
        tables = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is no TOML: {error}.") from error
    source = _Source(path, text)
    if path.name == PROJECT_FILE:
        tables = tables.get("tool", {}).get("graphorch", {})
        source = _Source(path, text, ("tool", "graphorch"))
    return _checked(tables, source)


def parse_config(tables: Mapping[str, Any]) -> Config:
    """The configuration in a dictionary, checked like a file."""
    return _checked(tables, None)


def _checked(tables: Mapping[str, Any], source: _Source | None) -> Config:
    try:
        config = Config.model_validate(tables)
    except ValidationError as error:
        wrong = [
            _misfit(details["type"], tuple(details["loc"]), details["msg"])
            for details in error.errors(include_url=False, include_input=False)
        ]
        raise _all_wrong(wrong, source) from None
    wrong = [*wrong_references(config), *wrong_values(config)]
    if wrong:
        raise _all_wrong(wrong, source)
    return config


def _all_wrong(wrong: Iterable[tuple[Loc, str]], source: _Source | None) -> InputError:
    lines = [
        f"  {f'{source.at(loc)}: ' if source else ''}{'.'.join(map(str, loc))}: {what}"
        for loc, what in wrong
    ]
    return InputError(
        "\n".join([f"{source.path if source else 'The configuration'} does not fit:", *lines])
    )


def _misfit(kind: str, loc: Loc, message: str) -> tuple[Loc, str]:
    if kind != "extra_forbidden":
        return loc, message
    return loc, f"there is no such key. {did_you_mean(str(loc[-1]), _keys_at(loc[:-1]))}"


def _keys_at(loc: Loc) -> list[str]:
    """The keys that the table at a place takes."""
    here: Any = Config
    for step in loc:
        here = (
            here.model_fields[step].annotation
            if hasattr(here, "model_fields")
            else get_args(here)[-1]
        )
        # the first part of an annotation with more to it
        while get_origin(here) not in (None, dict, list):
            here = get_args(here)[0]
    return list(getattr(here, "model_fields", {}))


def explain_policy(config: Config, name: str, environment: Mapping[str, str] = os.environ) -> str:
    """What a model's name resolves to and why, for people. `name` is that of a policy, with or without `policy/`, or of a model.

    Raises `InputError` for a policy that does not exist.
    """
    bare = name.removeprefix(POLICY)
    if bare in config.policies:
        return "\n".join(_told_policy(config, bare, environment, ""))
    if name.startswith(POLICY) and not config.passes_through():
        raise InputError(f"There is no policy '{bare}'. {did_you_mean(bare, config.policies)}")
    return "\n".join(_told_target(config, TargetConfig(model=name), environment, ""))


_WHY: Mapping[str, str] = {
    "fallback": "the first that answers, in this order",
    "weighted": "at random by weight; equal sticky keys stay together",
    "cheapest": "the lowest price for the request, at least of the floor's quality",
    "fastest": "the shortest predicted time, learnt from the answers so far",
    "cascade": "from the first on, until the check accepts an answer; the last is taken without",
}


def _told_policy(
    config: Config, name: str, environment: Mapping[str, str], indent: str
) -> Iterator[str]:
    policy = config.policies[name]
    details = [
        f"check {policy.check}" if policy.check else "",
        f"floor {policy.floor:g}" if policy.kind == "cheapest" else "",
    ]
    details += [
        f"at most {policy.attempt_timeout:g} s for an attempt" if policy.attempt_timeout else ""
    ]
    details += [f"a second copy after {policy.hedge_after:g} s" if policy.hedge_after else ""]
    more = "".join(f"; {detail}" for detail in details if detail)
    yield f"{indent}policy/{name} is a {policy.kind}: {_WHY[policy.kind]}{more}"
    total = sum(target_config.weight for target_config in policy.targets)
    for target in policy.targets:
        if policy.kind == "weighted":
            yield f"{indent}  {target.weight / total:.0%} of the calls:"
        if config.is_own_policy(target):
            yield from _told_policy(
                config, target.model.removeprefix(POLICY), environment, indent + "  "
            )
        else:
            yield from _told_target(config, target, environment, indent + "  ")


def _told_target(
    config: Config, target: TargetConfig, environment: Mapping[str, str], indent: str
) -> Iterator[str]:
    name = config.endpoint_of(target)
    if name is None:
        yield f"{indent}{target.model}: at the endpoint of OPENAI_BASE_URL and OPENAI_API_KEY, since no endpoint is configured"
        return
    endpoint = config.endpoints[name]
    why = (
        "named by the target"
        if target.endpoint
        else "the default endpoint"
        if config.default_endpoint
        else "the first endpoint of the file"
    )
    key = "no key"
    if endpoint.key_env is not None:
        key = f"key in {endpoint.key_env} ({'set' if environment.get(endpoint.key_env) else 'NOT SET'})"
    parts = [f"endpoint '{name}' ({endpoint.dialect}; {why})", key]
    if target.model.startswith(POLICY):
        parts.append("passed on: it is a policy of the gateway's own")
    limits = config.limits.get(target.model)
    if limits is not None:
        parts.append(
            ", ".join(
                f"{text} {value:g}" for text, value in limits.model_dump(exclude_none=True).items()
            )
        )
    tariff = config.prices.get(target.model)
    parts.append(
        f"${tariff.input:g} / ${tariff.output:g} per million tokens"
        if tariff
        else "price: see the list prices"
    )
    yield f"{indent}{target.model}: {'; '.join(parts)}"
