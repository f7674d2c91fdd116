"""What the author of a graph said, call by call, before anything is checked or compiled."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel

from graphorch.errors import Problem
from graphorch.graph.node import Node
from graphorch.graph.signature import Read

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from graphorch.graph.plan import Plan

Need = int | Literal["arriving", "all"]
Short = Literal["fail", "fire"]
OnItemError = Literal["fail", "skip", "collect"]
Label = Hashable  # a string or an enum member
Migration = Callable[[dict[str, Any]], dict[str, Any] | None]
"""A stored record (its body, with its `kind`) as the present graph would have written it; None leaves it out."""


@dataclass(frozen=True, slots=True)
class StateFunction:
    """A pure function over slices: a selector, a predicate, `over` or `enter`."""

    fn: Callable[..., Any]
    reads: tuple[Read, ...]

    @property
    def name(self) -> str:
        """The function's name as people wrote it; a lambda is called after what it is."""
        return getattr(self.fn, "__name__", "function")


@dataclass(slots=True)
class RouteSpec:
    """A route out of one node. `labels` is what the selector's return type allows, or None if it does not say."""

    source: str
    by: StateFunction
    labels: tuple[Label, ...] | None
    many: bool
    cases: list[tuple[Label, tuple[str, ...]]] = field(
        default_factory=list[tuple[Label, tuple[str, ...]]]
    )
    otherwise: tuple[str, ...] | None = None
    exhaustive: bool = False


@dataclass(frozen=True, slots=True)
class LoopSpec:
    """A declared way back. `exhausted` other than the two words is the name of a node.

    A `nested` loop, as patterns draw it, counts anew whenever another way leads back to its header: a loop that is not nested, or a nested
    one that was declared later.
    """

    sources: tuple[str, ...]
    header: str
    condition: StateFunction
    max_iterations: int
    exhausted: str
    exhausted_is_node: bool
    nested: bool = False


@dataclass(frozen=True, slots=True)
class JoinSpec:
    """How a node joins its incoming edges, where that is not the default."""

    node: str
    need: Need
    short: Short


@dataclass(frozen=True, slots=True)
class MapSpec:
    """A node that runs one worker per item. Exactly one of `worker` and `flow` is set; `need` None is all."""

    item: type[BaseModel]
    result: type[BaseModel]
    worker: Node[Any] | None
    flow: Plan | None
    over: StateFunction
    gather: Callable[..., Any]
    wants_missing: bool
    max_items: int
    concurrency: int
    need: int | None
    on_item_error: OnItemError


@dataclass(frozen=True, slots=True)
class SubSpec:
    """A node that runs a flow, with an explicit mapping in and out."""

    flow: Plan
    enter: StateFunction
    leave: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class AskSpec:
    """A node that a person completes: what to ask, the slice that an answer is, and after how many seconds it is too late."""

    question: StateFunction
    answer: type[BaseModel]
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """Where a node's failure leads, for exceptions of these types. The first that matches is taken, instead of every other edge."""

    source: str
    handler: str
    when: tuple[type[Exception], ...]


@dataclass(slots=True)
class GraphSpec:
    """The whole of it, in declaration order. `problems` holds what was wrong at the call itself.

    `memory` are slices beside the state that a pattern keeps for its own nodes. `tags` name what model calls are told about the run: a
    pure function of the state for each, which is left out where it cannot be read. `remember` are the slices with which the next turn of a
    conversation begins, and `migrations` how to read what graphs of other fingerprints stored.
    """

    name: str
    state: type[BaseModel]
    input: type[BaseModel]
    output: type[BaseModel]
    nodes: dict[str, Node[Any]] = field(default_factory=dict[str, Node[Any]])
    connected: set[str] = field(default_factory=set[str])
    edges: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    routes: list[RouteSpec] = field(default_factory=list[RouteSpec])
    loops: list[LoopSpec] = field(default_factory=list[LoopSpec])
    joins: list[JoinSpec] = field(default_factory=list[JoinSpec])
    maps: dict[str, MapSpec] = field(default_factory=dict[str, MapSpec])
    subs: dict[str, SubSpec] = field(default_factory=dict[str, SubSpec])
    asks: dict[str, AskSpec] = field(default_factory=dict[str, AskSpec])
    errors: list[ErrorSpec] = field(default_factory=list[ErrorSpec])
    problems: list[Problem] = field(default_factory=list[Problem])
    memory: list[type[BaseModel]] = field(default_factory=list[type[BaseModel]])
    tags: dict[str, StateFunction] = field(default_factory=dict[str, StateFunction])
    remember: list[type[BaseModel]] = field(default_factory=list[type[BaseModel]])
    migrations: dict[str, Migration] = field(default_factory=dict[str, Migration])

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """The fields of the state, and then those of the memory."""
        return {
            name: info
            for model in (self.state, *self.memory)
            for name, info in model.model_fields.items()
        }
