"""What a caller may decide about one run: the keyword arguments of `run`, `run_sync`, `stream` and `debug`, checked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

from graphorch.clock import Clock, system_clock
from graphorch.core.state import OnFailure
from graphorch.engine.node_cache import NodeCache
from graphorch.engine.settings import Limits, RunSettings
from graphorch.errors import InputError, did_you_mean
from graphorch.graph.plan import Plan
from graphorch.runs.clients import SharedClient

if TYPE_CHECKING:
    from graphorch.engine.events import Observer
    from graphorch.models.budgets.budget import Budget
    from graphorch.models.client import ModelClient
    from graphorch.runs.stores import Durable

_NO_LIMITS = Limits()
_NO_TAGS: dict[str, str] = {}  # never changed
_RUN_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
_POLICIES = ("drain", "cancel", "isolate")
_WRITTEN: dict[str, tuple[type, str]] = {  # what each of these options is, and how it is written
    "limits": (Limits, "Limits(seconds=60)"),
    "model": (str, '"vendor/model"'),
    "after": (str, "earlier.run_id"),
    "tags": (Mapping, '{"team": "search"}'),
}


class ForkOptions(TypedDict, total=False):
    """What may be decided about a run that takes over another one's input and journal; explained at `RunOptions`."""

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
    """The options of a run.

    `budget` and `limits` end a run that does too much. `resources` (clients, pools, settings) reach the nodes through their context, and are
    never part of the state. `model` replaces the model of every agent; `client` answers the model calls instead of the endpoint that the
    environment names. `on_failure`: `drain` lets running nodes finish, `cancel` stops them, `isolate` goes on with what does not depend
    on the failed one. `tags` go into traces and to the gateway. `watch` are functions that get every event. `run_id` is made up if absent. `clock` tells
    the seconds since the epoch, for tests. `durable` keeps the run in a journal, where a crash loses nothing: True is `graphorch.sqlite`
    here (or what GRAPHORCH_DB says), a path another file. `after` is the id of an earlier run in that journal, of which this one is the
    next turn: the slices that the graph remembers begin as they were at its end.
    """

    model: str
    durable: Durable
    after: str


_NAMES = RunOptions.__optional_keys__


def build_settings(
    plan: Plan, options: RunOptions, client: SharedClient, cache: NodeCache
) -> RunSettings:
    """The checked settings of a run. Raises `InputError` for an option that does not exist or does not fit."""
    for name, value in options.items():
        _check(name, value)
    on_failure = options.get("on_failure", "drain")
    if on_failure not in _POLICIES:
        raise InputError(
            f"on_failure={on_failure!r} is not possible. {did_you_mean(str(on_failure), _POLICIES)}"
        )
    run_id = options.get("run_id")
    if run_id is not None and not _RUN_ID.fullmatch(run_id):
        raise InputError(
            f"run_id={run_id!r} is no id. Use up to 200 letters, digits, '-', '_' and '.', beginning with a letter, digit or '_'."
        )
    tags = dict(given) if (given := options.get("tags")) else _NO_TAGS
    return RunSettings(
        client=client,
        run_id=run_id or os.urandom(16).hex(),
        limits=options.get("limits") or _NO_LIMITS,
        account=client.account(plan.name, options.get("budget"), tags),
        resources=options.get("resources"),
        model=options.get("model", ""),
        tags=tags,
        on_failure=on_failure,
        watchers=tuple(options.get("watch", ())),
        clock=options.get("clock", system_clock),
        cache=cache,
    )


def _check(name: str, value: object) -> None:
    if name not in _NAMES:
        raise InputError(f"run() has no option '{name}'. {did_you_mean(name, _NAMES)}")
    kind, example = _written(name) if value is not None else (object, "")
    if not isinstance(value, kind):
        raise InputError(f"{name}={value!r} is no {kind.__name__}. Write {name}={example}.")


def _written(name: str) -> tuple[type, str]:
    """What an option is, and how it is written."""
    if name != "budget":
        return _WRITTEN.get(name, (object, ""))
    from graphorch.models.budgets.budget import Budget  # whoever has one has loaded it

    return Budget, "Budget(usd=0.50)"


def check_resources(plan: Plan, resources: object) -> None:
    """Raise `InputError` unless the resources are of the type that every node of the plan wants."""
    for path, kind in plan.resources:
        if not isinstance(resources, kind):
            got = "nothing" if resources is None else f"a {type(resources).__name__}"
            fix = f"Pass resources={kind.__name__}(…) to run."
            raise InputError(
                f"Node '{path}' of flow '{plan.name}' needs resources of type {kind.__name__}, got {got}. {fix}"
            )
