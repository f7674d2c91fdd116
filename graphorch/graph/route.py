"""Routes: a selector over slices, and a target for each label that it can return."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, Literal, LiteralString, TypeAlias, overload

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.graph.node import Node, Reads, Writes
from graphorch.graph.spec import RouteSpec

if TYPE_CHECKING:
    from graphorch.graph.payloads import Failure

S = TypeVar("S", bound=BaseModel)
R = TypeVar("R")
U = TypeVar("U")
L = TypeVar("L", bound=LiteralString)  # the bound keeps literals from widening to str
E = TypeVar("E", bound=Enum)
Labels = TypeVar("Labels")
Done = TypeVar("Done")
Seen = TypeVar("Seen", covariant=True)
G = TypeVar("G", covariant=True)  # the graph that the route belongs to

Of: TypeAlias = Callable[[S], R] | Callable[[S, S], R] | Callable[[S, S, S], R]
# a `Failure` may be read by the handler of an error edge, which `build()` checks
Fits: TypeAlias = "Node[Reads[S] | Reads[Failure] | Writes[S]]"
Steps: TypeAlias = "Fits[S] | Sequence[Fits[S]]"


class NoSlice:
    """Bound of a type variable that no slice can be."""


# For mypy, which otherwise infers what `chain(graph.map(…))` writes from `chain` alone, and so that
# it is the whole state: with a variable of the call in its way it looks at the arguments of `map`.
Free = TypeVar("Free", bound=NoSlice)
Step: TypeAlias = "Node[Reads[S] | Reads[Failure] | Writes[S] | Writes[Free]]"


class Route(Generic[S, Labels, Done, Seen, G]):
    """Route under construction: `.when(label, to)`, then `.otherwise(to)` or `.exhaustive()`.

    The last two return the graph, which can be continued as after any other of its methods.

    `Labels` are the selector's, `Done` those that have a target, `Seen` those that were named. So
    `.exhaustive()` type-checks only if every label has a target, and `.when` does not for a label
    that the selector never returns.
    """

    def __init__(
        self, graph: G, spec: RouteSpec, add_steps: Callable[[object], tuple[str, ...]]
    ) -> None:
        self._graph = graph
        self._spec = spec
        self._add_steps = add_steps

    @overload
    def when(self: Route[S, E, Done, Seen, G], label: E, to: Steps[S]) -> Route[S, E, E, E, G]: ...
    @overload
    def when(
        self, label: L | Literal["\0"], to: Steps[S]
    ) -> Route[S, Labels, Done | L, Seen | L, G]: ...
    def when(self, label: Any, to: Any) -> Any:
        """Lead this label to one node, or to several that start side by side."""
        # A label of another kind, even one that cannot be a key, is compared by its text: a check
        # reports it as one that the selector never returns.
        key = label if isinstance(label, Hashable) else repr(label)
        self._spec.cases.append((key, self._add_steps(to)))
        return self

    def otherwise(self: Route[S, U, Any, U, G], to: Steps[S]) -> G:
        """Lead every label without a target of its own to a node, or to several.

        Return the graph.
        """
        self._spec.otherwise = self._add_steps(to)
        return self._graph

    def exhaustive(self: Route[S, U, U, U, G]) -> G:
        """Declare that every label has a target, and return the graph.

        The type checker proves it for `Literal` labels, `build()` for all.
        """
        self._spec.exhaustive = True
        return self._graph
