"""Settings of one run, in one value."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from graphorch.clock import Clock, system_clock
from graphorch.core.events import Update
from graphorch.core.state import OnFailure
from graphorch.engine.node_cache import NodeCache
from graphorch.errors import InputError
from graphorch.graph.options import is_count, is_number

if TYPE_CHECKING:
    from graphorch.engine.events import Observer
    from graphorch.engine.invocation.placement import Placement
    from graphorch.engine.questions.question_event import OnQuestion
    from graphorch.models.budgets.budget import Account, Alert, Budget
    from graphorch.models.client import ModelClient

    OpenAccount: TypeAlias = Callable[[str, Budget | None, Mapping[str, str]], Account | None]
    OpenNode: TypeAlias = Callable[[Account, str], Account]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of a run; None is no limit.

    A run that reaches a limit is stopped: what it committed is kept, and it can be resumed.
    `activations` counts node runs, with those of sub-flows, without retries. `seconds` is
    wall-clock time. `grace` is how many seconds running nodes may go on after another one failed.
    `concurrency` is how many nodes run at once, with those of sub-flows. `waiting` is how many
    seconds a run stays under way for its next timer, or the end of a pause before a retry, where
    nothing else is left to do: with one that is farther away it returns as waiting (0: always).
    Raises `InputError` for values that make no sense.
    """

    activations: int | None = None
    seconds: float | None = None
    concurrency: int | None = None
    grace: float | None = 30.0
    waiting: float | None = 60.0

    def __post_init__(self) -> None:
        for name in ("seconds", "grace"):
            value: object = getattr(self, name)
            if value is not None and not (is_number(value) and cast(float, value) > 0):
                raise InputError(
                    f"Limits({name}={value!r:.80}): a limit is a number above 0. "
                    "Leave it out for none."
                )
        waiting = self.waiting
        if waiting is not None and not (is_number(waiting) and waiting >= 0):
            raise InputError(
                f"Limits(waiting={waiting!r:.80}): it is a number of seconds from 0 on, or None "
                "for as long as it takes."
            )
        for name in ("activations", "concurrency"):
            value = getattr(self, name)
            if value is not None and not is_count(value):
                raise InputError(
                    f"Limits({name}={value!r:.80}): this limit is a whole number from 1 on. "
                    "Leave it out for none."
                )


def _open_no_account(name: str, budget: Budget | None, tags: Mapping[str, str]) -> Account | None:
    return None


def _open_no_node(outer: Account, name: str) -> Account:
    return outer


@dataclass(slots=True, kw_only=True)
class RunSettings:
    """Settings of one run: never changed, only replaced.

    `client` makes every model call; `model` replaces the model of every agent, and `models` the
    model at single paths. `pins` holds updates that are used instead of running what is at a place
    (see `find_place`): the first entry at the first visit, the last entry from the last one on.
    `has_own_budget`: the caller gave the budget, instead of leaving it to the configuration or to
    the stored run, for which `open_account` opens another account. `open_node` opens the account of
    a node without a budget of its own below another one, or returns that one; `on_alert` listens to
    all of them.
    `own_client` is the client that the caller passed, of which `client` makes use. `on_question`
    hears of what becomes of questions. `placement` decides in which process the functions of nodes
    run; without one, in this.
    """

    client: ModelClient
    run_id: str
    limits: Limits = Limits()
    account: Account | None = None
    own_client: ModelClient | None = None
    has_own_budget: bool = False
    open_account: OpenAccount = _open_no_account
    open_node: OpenNode = _open_no_node
    on_alert: Callable[[Alert], None] | None = None
    resources: Any = None
    model: str = ""
    models: Mapping[str, str] = field(default_factory=dict[str, str])
    pins: Mapping[str, Sequence[Update]] = field(default_factory=dict[str, Sequence[Update]])
    tags: Mapping[str, str] = field(default_factory=dict[str, str])
    on_failure: OnFailure = "drain"
    watchers: tuple[Observer, ...] = ()
    on_question: OnQuestion | None = None
    clock: Clock = system_clock
    cache: NodeCache = field(default_factory=NodeCache)
    placement: Placement | None = None
