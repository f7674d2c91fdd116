"""What the author of a graph declared, call by call, before anything is checked or compiled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.errors import Problem
from graphorch.graph.edges import OTHERWISE, Label
from graphorch.graph.node import Node
from graphorch.graph.plan import (
    AskSpec,
    EventSpec,
    ExclusiveSpec,
    JoinSpec,
    MapSpec,
    Migration,
    Plan,
    SubSpec,
)
from graphorch.graph.signature import StateFunction

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

In = TypeVar("In", bound=BaseModel, contravariant=True)
Out = TypeVar("Out", bound=BaseModel, covariant=True)

GO_BACK = "return True to go back, False to go on"
"""What the condition of a loop returns."""

ENOUGH = "return True to end the map with the results so far, False to go on"
"""What `until` of a map returns."""


@dataclass(slots=True)
class RouteSpec:
    """A route out of one node.

    `labels` are those that the selector's return type allows, or None if it does not list them.
    With `is_multi`, the selector returns a set of labels.
    """

    source: str
    selector: StateFunction
    labels: tuple[Label, ...] | None
    is_multi: bool
    cases: list[tuple[Label, tuple[str, ...]]] = field(
        default_factory=list[tuple[Label, tuple[str, ...]]]
    )
    otherwise: tuple[str, ...] | None = None
    exhaustive: bool = False

    @property
    def open_labels(self) -> tuple[Label, ...]:
        """Labels without a case, which `otherwise` stands for.

        `OTHERWISE` alone if the selector's return type does not list its labels.
        """
        if self.labels is None:
            return (OTHERWISE,)
        listed = [label for label, _ in self.cases]
        return tuple(label for label in self.labels if label not in listed)


class LoopSpec(NamedTuple):
    """A declared way back. `exhausted` is "continue", "fail", or the name of a node.

    A `nested` loop, as patterns draw it, counts anew whenever another way leads back to its header:
    a loop that is not nested, or a nested one that was declared later.
    """

    sources: tuple[str, ...]
    header: str
    condition: StateFunction
    max_iterations: int
    exhausted: str
    exhausted_is_node: bool
    nested: bool = False

    @property
    def title(self) -> str:
        """Name of the loop in a problem."""
        return format_loop_title(self.sources, self.header)


class ErrorSpec(NamedTuple):
    """Where a node's failure leads, for exceptions of these types.

    The first one that matches is taken, instead of every other edge.
    """

    source: str
    handler: str
    when: tuple[type[Exception], ...]


class FallbackSpec(NamedTuple):
    """Way that a pattern draws for failures which the author of the graph need not think of.

    It is left out, with `warning` and the problem that it would bring, where the graph would not
    build with it: what follows may read what the failed node would have written. Nothing else leads
    to `nodes`. Its edges come after all others, and the formats of a graph's description before
    `since` leave it out, so that runs which began before there was this way can be resumed.
    """

    nodes: tuple[str, ...]
    errors: tuple[ErrorSpec, ...]
    edges: tuple[tuple[str, str], ...]
    warning: Problem
    since: int = 3


class ReturnSpec(NamedTuple):
    """What a pure function has to return where it was given; `fix` says so to its author."""

    where: str
    function: StateFunction
    wanted: tuple[type, ...]
    fix: str


@dataclass(slots=True, eq=False, repr=False)  # quicker to import
class GraphSpec:
    """A whole graph in the order of its declarations.

    `events` are what nodes wait for from outside; `firsts` name those of which the first counts.
    `returns` says what pure functions have to return, and `problems` holds what was wrong with the
    calls themselves. `memory` are slices beside the state that patterns keep for their own nodes,
    `fallback_memory` those of them that serve fallbacks. `tags` are the labels that model calls
    carry: a pure function of the state for each, left out where its slices are not assigned yet.
    `remember` are the slices with which the next turn of a conversation begins, and `migrations`
    read what graphs of other fingerprints stored.
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
    events: dict[str, EventSpec] = field(default_factory=dict[str, EventSpec])
    firsts: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    errors: list[ErrorSpec] = field(default_factory=list[ErrorSpec])
    exclusives: list[ExclusiveSpec] = field(default_factory=list[ExclusiveSpec])
    fallbacks: list[FallbackSpec] = field(default_factory=list[FallbackSpec])
    returns: list[ReturnSpec] = field(default_factory=list[ReturnSpec])
    problems: list[Problem] = field(default_factory=list[Problem])
    memory: list[type[BaseModel]] = field(default_factory=list[type[BaseModel]])
    fallback_memory: set[type[BaseModel]] = field(default_factory=set[type[BaseModel]])
    tags: dict[str, StateFunction] = field(default_factory=dict[str, StateFunction])
    remember: list[type[BaseModel]] = field(default_factory=list[type[BaseModel]])
    migrations: dict[str, Migration] = field(default_factory=dict[str, Migration])
    compensate: bool = False

    @property
    def cancelling(self) -> dict[str, str]:
        """Signals that end a map or sub-flow, by its name."""
        nodes = [*self.maps.items(), *self.subs.items()]
        return {name: node.cancel_on for name, node in nodes if node.cancel_on}

    @property
    def fields(self) -> dict[str, FieldInfo]:
        """Fields of the state, then those of the memory, by name."""
        return {
            name: info
            for model in (self.state, *self.memory)
            for name, info in model.model_fields.items()
        }


class Itself(Generic[In, Out]):
    """The graph that is being built, as the flow of its own sub-flow or map: a recursion.

    `max_depth` is how often the flow may be inside itself. `floor` stands for the flow until it is
    compiled, and where it may not be inside itself once more.
    """

    def __init__(self, graph: GraphSpec, max_depth: int, floor: Plan) -> None:
        self.graph = graph
        self.max_depth = max_depth
        self.floor = floor


def format_loop_title(sources: Iterable[str], header: str) -> str:
    """Return how a problem names a loop: by its sources and its header."""
    return f"loop '{', '.join(sources)}' → '{header}'"
