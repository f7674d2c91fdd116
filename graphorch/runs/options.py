"""Options of a run: the keyword arguments of `run`, `run_sync`, `stream` and `debug`, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from graphorch.clock import Clock, system_clock
from graphorch.core.state import OnFailure
from graphorch.engine.node_cache import NodeCache
from graphorch.engine.settings import Limits, RunSettings
from graphorch.errors import InputError, did_you_mean
from graphorch.graph.plan import Plan
from graphorch.runs.clients import SharedClient
from graphorch.text import NAME_RULE, RUN_ID_RULE, is_name, is_run_id

if TYPE_CHECKING:
    from graphorch.engine.events import Observer
    from graphorch.models.budgets.budget import Budget
    from graphorch.models.client import ModelClient
    from graphorch.runs.stores import Durable

_NO_LIMITS = Limits()
_NO_TAGS: dict[str, str] = {}  # never changed
_POLICIES = ("drain", "cancel", "isolate")

# Type of an option, and how it is written.
_EXPECTED: dict[str, tuple[type, str]] = {
    "limits": (Limits, "Limits(seconds=60)"),
    "model": (str, '"vendor/model"'),
    "after": (str, "earlier.run_id"),
    "tags": (Mapping, '{"team": "search"}'),
}


class ForkOptions(TypedDict, total=False):
    """Options of a run that takes over the input and journal of another one. See `RunOptions`."""

    budget: Budget | None
    limits: Limits | None
    resources: object
    client: ModelClient | None
    on_failure: OnFailure
    tags: Mapping[str, str]
    run_id: str | None
    watch: Sequence[Observer]
    clock: Clock


class RunOptions(ForkOptions, total=False):
    """Options of a run.

    - `budget` and `limits` end a run that does too much.
    - `resources` (clients, pools, settings) reach the nodes through their context, and are never
      part of the state.
    - `model` replaces the model of every agent; `client` answers the model calls instead of the
      endpoint that the environment names.
    - `on_failure`: `drain` lets running nodes finish, `cancel` stops them, `isolate` continues
      with what does not depend on the failed one.
    - `tags` go into traces and to the gateway.
    - `watch` are functions that are called with every event.
    - `run_id` is generated if absent.
    - `clock` returns the seconds since the epoch; tests pass their own.
    - `durable` keeps the run in a journal, where a crash loses nothing: True is
      `graphorch.sqlite` here (or the file that GRAPHORCH_DB names), a path another file.
    - `after` is the id of an earlier run in that journal, of which this one is the next turn: the
      slices that the graph remembers begin as they were at its end.
    """

    model: str
    durable: Durable
    after: str


_NAMES = RunOptions.__optional_keys__


def build_settings(
    plan: Plan, options: RunOptions, client: SharedClient, cache: NodeCache
) -> RunSettings:
    """Return the checked settings of a run.

    Raises `InputError` for an option that does not exist or does not fit.
    """
    for name, value in options.items():
        _check_option(name, value)
    on_failure = options.get("on_failure", "drain")
    if on_failure not in _POLICIES:
        hint = did_you_mean(str(on_failure), _POLICIES)
        raise InputError(f"on_failure={on_failure!r} is not possible. {hint}")
    run_id = options.get("run_id")
    if run_id is not None and not is_run_id(run_id):
        raise InputError(f"run_id={run_id!r:.80} is not an id. {RUN_ID_RULE}")
    tags = dict(given) if (given := options.get("tags")) else _NO_TAGS
    _check_tags(tags)
    return RunSettings(
        client=client,
        run_id=run_id or os.urandom(16).hex(),
        limits=options.get("limits") or _NO_LIMITS,
        account=client.account(plan.name, options.get("budget"), tags),
        has_own_budget=options.get("budget") is not None,
        open_account=client.account,
        resources=options.get("resources"),
        model=options.get("model", ""),
        tags=tags,
        on_failure=on_failure,
        watchers=tuple(options.get("watch", ())),
        clock=options.get("clock", system_clock),
        cache=cache,
    )


def _check_option(name: str, value: object) -> None:
    if name not in _NAMES:
        raise InputError(f"run() has no option '{name}'. {did_you_mean(name, _NAMES)}")
    if value is None:
        return
    expected, example = _expect(name)
    if not isinstance(value, expected):
        raise InputError(
            f"{name} has to be of type {expected.__name__}, got {value!r}. Write {name}={example}."
        )


def _check_tags(tags: Mapping[str, str]) -> None:
    """Raise `InputError` for a tag that a journal could not hold, also where there is none."""
    for name, value in tags.items():
        if not is_name(name) or not is_name(value):
            raise InputError(
                f"tags={{{name!r:.80}: {value!r:.80}}} is not a tag: both are texts. {NAME_RULE}"
            )


def _expect(name: str) -> tuple[type, str]:
    """Return the type of an option, and how it is written."""
    if name != "budget":
        return _EXPECTED.get(name, (object, ""))
    # A caller who has a budget has loaded its module already.
    from graphorch.models.budgets.budget import Budget

    return Budget, "Budget(usd=0.50)"


def check_resources(plan: Plan, resources: object) -> None:
    """Raise `InputError` unless every node of the plan gets the type of resources it needs."""
    for path, expected in plan.resources:
        if isinstance(resources, expected):
            continue
        name = expected.__name__
        got = "nothing" if resources is None else f"a {type(resources).__name__}"
        raise InputError(
            f"Node '{path}' of flow '{plan.name}' needs resources of type {name}, got {got}. "
            f"Pass resources={name}(…) to run."
        )
