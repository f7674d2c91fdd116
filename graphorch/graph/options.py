"""Options of `@node` and `@agent`: how one node is run."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, cast

from graphorch.callables import NotCalled
from graphorch.errors import GraphError, InputError, Problem, did_you_mean
from graphorch.text import is_name

LONGEST_WAIT = 1_000 * 366 * 86_400.0  # seconds: longer waits have no date that can be recorded

Effect = Literal["pure", "idempotent", "once"]
Isolation = Literal["inline", "thread", "process", "worker"]
Gate = Literal["before", "after"]

_POOL = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Retry:
    """Retries of a node: at most `attempts` in all, the first one included.

    Only an exception of a type in `on` is retried. The pause before the second attempt is `first`
    seconds; each further one is `factor` times as long, up to `longest`. There is no retry without
    a bound. A retry asks its models anew and pays again; only a `resume` serves the answers that
    the attempts before it got.

    Raises `InputError` for a value that is out of range.
    """

    attempts: int
    on: tuple[type[Exception], ...] = (Exception,)
    first: float = 0.5
    factor: float = 2.0
    longest: float = 30.0

    def __post_init__(self) -> None:
        if not is_count(self.attempts):
            raise InputError(
                f"Retry(attempts={self.attempts!r}) is not a bound. "
                "Give a whole number from 1 on, the first attempt included."
            )
        given: Any = self.on
        types: tuple[Any, ...] = (given,)
        if isinstance(given, Iterable) and not isinstance(given, type):
            types = tuple(cast("Iterable[Any]", given))
        if not types or not all(
            isinstance(item, type) and issubclass(item, Exception) for item in types
        ):
            raise InputError(
                f"Retry(on={self.on!r}) does not name exceptions. "
                "Give a tuple of exception classes, such as (TimeoutError,)."
            )
        object.__setattr__(self, "on", types)
        for name, value, least in (
            ("first", self.first, 0.0),
            ("factor", self.factor, 1.0),
            ("longest", self.longest, self.first),
        ):
            if not is_number(value) or value < least:
                raise InputError(
                    f"Retry({name}={value!r}) is not possible. "
                    f"Give a finite number from {least:g} on."
                )

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after this attempt (from 1) failed, before any jitter."""
        # 64 doublings exceed any `longest`; more of them would overflow.
        return min(self.longest, self.first * self.factor ** min(attempt - 1, 64))


@dataclass(frozen=True, slots=True)
class Cache:
    """Serve identical inputs from earlier results that are at most `ttl` seconds old.

    Inputs are compared to the last detail, with secrets and types; resources are no part of them,
    so the node may not read any. What a model answered is served to runs with the same `model=`
    and the very same `client=` only. Raises `InputError` unless `ttl` is above 0.
    """

    ttl: float

    def __post_init__(self) -> None:
        if not is_number(self.ttl) or self.ttl <= 0:
            raise InputError(
                f"Cache(ttl={self.ttl!r}) is not possible. "
                "Give the seconds for which a result stays valid."
            )


class NodeOptions(TypedDict, total=False):
    """Keyword arguments of `@node(...)` and `@agent(...)`."""

    name: str
    effect: Effect
    retry: Retry
    timeout: float
    deadline: float
    cache: Cache
    hedge_after: float
    gate: Gate
    expires: float
    isolation: Isolation
    pool: str
    concurrency: int
    declassify: str
    undo: Callable[..., object] | NotCalled


@dataclass(frozen=True, slots=True)
class NodeBudget:
    """Budget that a pattern sets aside for some of its nodes and all that runs inside them.

    Nodes with the same `name` share one account. `usd` is a cap in dollars, `share` a part (above
    0, at most 1) of every cap of the level above.
    """

    name: str
    usd: float | None = None
    share: float | None = None


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """Validated options of one node, with defaults. Times are in seconds.

    `effect` says what running the node twice would do: nothing (`pure`), nothing more under one key
    (`idempotent`), or harm (`once`). `timeout` is for one attempt, from when it has a slot of its
    limits of concurrency; `deadline` for the activation with all its attempts, pauses and waits.
    `hedge_after` starts a second attempt beside one that takes longer than this. A `gate` asks a
    person before the node runs, or before its result is used. One who has not answered after
    `expires` seconds is too late: the node fails as `Expired`.

    `isolation` is for functions that are not async: a worker thread, so that a blocking call does
    not hold up others; a process, for work that keeps a core busy; or inline on the event loop,
    which is faster for work of microseconds. With `worker` or a `pool`, other workers run the
    function, async or not, where a run has any: those of that pool, such as machines with a GPU. In
    a process without workers it runs as by default. `concurrency` limits how many activations of
    this node run at once.

    `declassify` names a check that the function makes: what it writes has no mark any more, and
    what it reads is not untrusted any more for the nodes after it (see `state/marks.py`).

    `undo` is a node that takes back what this one did: see `core/compensation.py`.

    `budget`, `asks_models` and `tells` are for nodes that are not made by a decorator: a budget and
    whether a function with a context may ask models, of patterns; and of a tool the exceptions that
    its model reads.
    """

    effect: Effect = "pure"
    timeout: float | None = None
    isolation: Isolation = "thread"
    retry: Retry | None = None
    deadline: float | None = None
    cache: Cache | None = None
    hedge_after: float | None = None
    gate: Gate | None = None
    concurrency: int | None = None
    declassify: str | None = None
    undo: Any = None  # a `Node`; that class is declared above this one
    budget: NodeBudget | None = None
    asks_models: bool = True
    tells: tuple[type[Exception], ...] = ()
    pool: str | None = None
    expires: float | None = None

    @property
    def goes_out(self) -> bool:
        """Whether other workers run the function, where a run has any."""
        return self.pool is not None or self.isolation == "worker"


def options_from(name: str, given: NodeOptions, others: Iterable[str] = ()) -> NodeSettings:
    """Return the validated options of the node called `name`, whose decorator has `others` too.

    `build()` checks whether they fit each other and the node's effect class.

    Raises `GraphError` with a problem `NODE_OPTION` for every wrong one.
    """
    values = cast("Mapping[str, Any]", given)
    problems: list[Problem] = []
    for option, value in values.items():
        rule = _RULES.get(option)
        if rule is None:
            problems.append(
                _option_problem(
                    name, f"there is no option '{option}'", did_you_mean(option, [*others, *_RULES])
                )
            )
        elif not rule.holds(value):
            problems.append(_option_problem(name, f"{option}={value!r} is not possible", rule.fix))
    if problems:
        raise GraphError(name, problems, f"node '{name}'")
    return NodeSettings(**{option: value for option, value in values.items() if option != "name"})


class _Rule:
    """Which values an option may have, and how to mend others."""

    # A plain class: every program imports this module, and a dataclass takes a millisecond to make.
    __slots__ = ("fix", "holds")

    def __init__(self, holds: Callable[[Any], bool], fix: str) -> None:
        self.holds = holds
        self.fix = fix


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number; True and False are none here."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_patience(value: Any) -> bool:
    """Return whether a value is a time in seconds for which something may be waited for."""
    return is_number(value) and 0 < value <= LONGEST_WAIT


def is_count(value: Any) -> bool:
    """Return whether a value is a whole number from 1 on; True and False are not numbers here."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_pool(value: Any) -> bool:
    """Return whether a value can name a pool of workers."""
    return isinstance(value, str) and _POOL.fullmatch(value) is not None


def _is_time(value: Any) -> bool:
    return value is None or (is_number(value) and value > 0)


def _choice(*allowed: str) -> _Rule:
    return _Rule(lambda value: value in allowed, f"choose one of {', '.join(allowed)}")


_SECONDS = _Rule(_is_time, "give seconds greater than 0, or leave the option out")
_RULES: dict[str, _Rule] = {
    "name": _Rule(lambda value: isinstance(value, str), "give a string"),
    "effect": _choice("pure", "idempotent", "once"),
    "retry": _Rule(
        lambda value: isinstance(value, Retry), "give Retry(attempts), such as Retry(3)"
    ),
    "timeout": _SECONDS,
    "deadline": _SECONDS,
    "cache": _Rule(lambda value: isinstance(value, Cache), "give Cache(ttl=seconds)"),
    "hedge_after": _SECONDS,
    "gate": _choice("before", "after"),
    "expires": _Rule(is_patience, "give seconds greater than 0 and up to a thousand years"),
    "isolation": _choice("inline", "thread", "process", "worker"),
    "pool": _Rule(is_pool, 'name workers in letters, digits, "-" and "_", such as "gpu"'),
    "concurrency": _Rule(is_count, "give a whole number from 1 on, or leave the option out"),
    "undo": _Rule(
        lambda value: isinstance(value, NotCalled) or callable(value),
        "give a function of slices that takes the effect back, or a node of it",
    ),
    "declassify": _Rule(is_name, "name the check in one line: declassify='IBAN is known'"),
}


def _option_problem(name: str, what: str, fix: str) -> Problem:
    return Problem("NODE_OPTION", f"node '{name}'", what, fix)
