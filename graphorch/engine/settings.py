"""What a caller decides about one run, in one value."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from graphorch.clock import Clock, system_clock
from graphorch.core.events import Update
from graphorch.core.state import OnFailure
from graphorch.engine.node_cache import NodeCache
from graphorch.errors import InputError

if TYPE_CHECKING:
    from graphorch.engine.events import Observer
    from graphorch.models.budgets.budget import Account
    from graphorch.models.client import ModelClient


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What ends a run that does too much; None is no limit. Whatever was committed before is kept, and the run can be resumed.

    `activations` counts node runs, sub-flows included, retries not. `seconds` is wall-clock time, `grace` how long running nodes may
    finish after another one failed. `concurrency` is how many nodes run at once, sub-flows included. Raises `InputError` for values
    that make no sense.
    """

    activations: int | None = None
    seconds: float | None = None
    concurrency: int | None = None
    grace: float | None = 30.0

    def __post_init__(self) -> None:
        for name, value in (
            ("activations", self.activations),
            ("seconds", self.seconds),
            ("concurrency", self.concurrency),
            ("grace", self.grace),
        ):
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InputError(
                    f"Limits({name}={value!r}): a limit is a number above 0; leave it out where there is none."
                )


@dataclass(slots=True, kw_only=True)
class RunSettings:
    """One run's settings, never changed but replaced. `client` is asked for every model call; `model`, if given, replaces the model of every agent.

    `models` replaces it at single paths. What is pinned at a path is served instead of running the node there: the first entry at the first
    visit, and the last one from then on.
    """

    client: ModelClient
    run_id: str
    limits: Limits = Limits()
    account: Account | None = None
    resources: Any = None
    model: str = ""
    models: Mapping[str, str] = field(default_factory=dict[str, str])
    pins: Mapping[str, Sequence[Update]] = field(default_factory=dict[str, Sequence[Update]])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    on_failure: OnFailure = "drain"
    watchers: tuple[Observer, ...] = ()
    clock: Clock = system_clock
    cache: NodeCache = field(default_factory=NodeCache)
