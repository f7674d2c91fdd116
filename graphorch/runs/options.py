"""Options of a run: the keyword arguments of `run`, `run_sync`, `stream` and `debug`, checked."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypedDict, cast

from graphorch.callables import get_name, is_generator, never_runs
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
    from graphorch.engine.questions.question_event import OnQuestion
    from graphorch.models.budgets.budget import Budget
    from graphorch.models.client import ModelClient
    from graphorch.models.config.accounts import OnAlert
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
    on_alert: OnAlert | None
    on_question: OnQuestion | None
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
    - `on_alert` is a function that is called with an `Alert` when a budget has spent one of the
      shares that `[alerts]` in the configuration names, or 50, 80 and 100 %. Without it, alerts of
      the configuration are logged as warnings.
    - `on_question` is a function, plain or async, that is called with a `QuestionEvent` when a
      question is opened, answered or withdrawn, or when its time is over: to send a mail that
      points to it, say. It hears of what happens while this process drives the run, once that is
      durable; the record is the run, whose `questions` are those that are open. It never holds up
      or fails the run: what it raises is logged. The call returns once its calls have ended, or
      30 seconds after the run came to rest.
    - `run_id` is generated if absent.
    - `clock` returns the seconds since the epoch; tests pass their own.
    - `durable` keeps the run in a journal, where a crash loses nothing: True is
      `graphorch.sqlite` here (or what GRAPHORCH_DB names), a path another SQLite file, and
      "postgresql://user@host/database" a PostgreSQL database.
    - `after` is the id of an earlier run in that journal, of which this one is the next turn: the
      slices that the graph remembers begin as they were at its end.
    """

    model: str
    durable: Durable
    after: str


class SubmitOptions(TypedDict, total=False):
    """Options of a run that is left to workers: those of `RunOptions` that go with the run.

    `limits` may bound activations and how many nodes run at once; seconds are those of a process.
    """

    budget: Budget | None
    limits: Limits | None
    on_failure: OnFailure
    tags: Mapping[str, str]
    run_id: str | None
    model: str
    durable: Durable
    after: str


class WorkerOptions(TypedDict, total=False):
    """Options of all runs that a worker drives: those of `RunOptions` that a process gives them."""

    resources: object
    client: ModelClient | None
    watch: Sequence[Observer]
    on_alert: OnAlert | None
    on_question: OnQuestion | None


_NAMES = RunOptions.__optional_keys__


def build_settings(
    plan: Plan, options: RunOptions, client: SharedClient, cache: NodeCache
) -> RunSettings:
    """Return the settings of a run.

    The options were checked by `check_options`.
    """
    tags = dict(given) if (given := options.get("tags")) else _NO_TAGS
    open_account, open_node = client.account, client.node_account
    if (on_alert := options.get("on_alert")) is not None:
        open_account = partial(open_account, on_alert=on_alert)
        open_node = partial(open_node, on_alert=on_alert)
    return RunSettings(
        client=client,
        own_client=options["client"] if "client" in options else None,  # noqa: SIM401  every call counts here
        run_id=options.get("run_id") or os.urandom(16).hex(),
        limits=options.get("limits") or _NO_LIMITS,
        account=open_account(plan.name, budget := options.get("budget"), tags),
        has_own_budget=budget is not None,
        open_account=open_account,
        open_node=open_node,
        on_alert=on_alert,
        resources=options.get("resources"),
        model=options.get("model") or "",
        tags=tags,
        on_failure=options.get("on_failure") or "drain",
        watchers=tuple(options.get("watch") or ()),
        on_question=options["on_question"] if "on_question" in options else None,  # noqa: SIM401
        clock=options.get("clock") or system_clock,
        cache=cache,
    )


def check_options(options: RunOptions) -> None:
    """Raise `InputError` for an option that does not exist or does not fit.

    None is the same as leaving an option out.
    """
    for name, value in options.items():
        if name not in _NAMES:
            raise InputError(f"run() has no option '{name}'. {did_you_mean(name, _NAMES)}")
        if value is not None:
            check = _CHECKS.get(name, _check_type)
            check(name, value)


def _check_type(name: str, value: object) -> None:
    expected, example = _expect(name)
    if not isinstance(value, expected):
        raise InputError(
            f"{name} has to be of type {expected.__name__}, got {value!r}. Write {name}={example}."
        )


def check_choice(option: str, value: object, allowed: Sequence[str]) -> None:
    """Raise `InputError` unless an option has one of its values."""
    if value not in allowed:
        hint = did_you_mean(str(value), allowed)
        raise InputError(f"{option}={value!r:.80} is not possible. {hint}")


def _check_policy(option: str, value: object) -> None:
    check_choice(option, value, _POLICIES)


def check_run_id(option: str, value: object) -> None:
    """Raise `InputError` unless a value is the id of a run, in memory as in a journal."""
    if not is_run_id(value):
        raise InputError(f"{option}={value!r:.80} is not an id. {RUN_ID_RULE}")


def _check_watchers(option: str, value: object) -> None:
    example = f"Write {option}=[function], with functions that take an event."
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise InputError(f"{option} has to be a list of functions, got {value!r:.80}. {example}")
    for watcher in cast("Sequence[object]", value):
        if not callable(watcher):
            raise InputError(f"{option} holds {watcher!r:.80}, which is no function. {example}")
        if never_runs(watcher):
            raise InputError(
                f"{option} holds '{get_name(watcher)}', which is async or a generator. A run calls "
                "its watchers and does not wait for them: give a plain function, which may start a "
                "task, or read the events by `async for event in flow.stream(…)`."
            )


def _check_client(option: str, value: object) -> None:
    if not callable(getattr(value, "complete", None)):
        fix = "Give OpenAIClient(…), or a policy."
        if isinstance(value, str):
            fix = 'Write model="vendor/model" to choose a model.'
        raise InputError(
            f"{option} has to be a model client, an object with an async method `complete`; got "
            f"{value!r:.80}. {fix}"
        )


def _check_listener(option: str, value: object) -> None:
    if not callable(value) or never_runs(value):
        raise InputError(
            f"{option} has to be a plain function that takes an alert, such as print; "
            f"got {value!r:.80}."
        )


def _check_hook(option: str, value: object) -> None:
    example = f"Write {option}=function, with a function that takes a QuestionEvent."
    if not callable(value) or is_generator(value):
        raise InputError(
            f"{option} has to be a function, plain or async; got {value!r:.80}. {example}"
        )
    try:
        inspect.signature(value).bind(None)
    except ValueError:
        return  # a builtin function that does not say what it takes
    except TypeError as error:
        raise InputError(
            f"{option}: '{get_name(value)}' cannot be called with one argument: {error}. {example}"
        ) from None


def _check_clock(option: str, value: object) -> None:
    if not callable(value) or never_runs(value):
        raise InputError(
            f"{option} has to be a plain function that returns the seconds since the epoch, such "
            f"as time.time; got {value!r:.80}."
        )


def _check_tags(option: str, value: object) -> None:
    """Raise `InputError` for a tag that a journal could not hold, also where there is none."""
    _check_type(option, value)
    for name, text in cast("Mapping[object, object]", value).items():
        if not is_name(name) or not is_name(text):
            raise InputError(
                f"tags={{{name!r:.80}: {text!r:.80}}} is not a tag: both are texts. {NAME_RULE}"
            )


def _expect(name: str) -> tuple[type, str]:
    """Return the type of an option, and how it is written."""
    if name != "budget":
        return _EXPECTED.get(name, (object, ""))
    # A caller who has a budget has loaded its module already.
    from graphorch.models.budgets.budget import Budget

    return Budget, "Budget(usd=0.50)"


_CHECKS: dict[str, Callable[[str, object], None]] = {
    "on_failure": _check_policy,
    "run_id": check_run_id,
    "watch": _check_watchers,
    "on_alert": _check_listener,
    "on_question": _check_hook,
    "client": _check_client,
    "clock": _check_clock,
    "tags": _check_tags,
}


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
