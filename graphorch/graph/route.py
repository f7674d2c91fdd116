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

Of: TypeAlias = Callable[[S], R] | Callable[[S, S], R] | Callable[[S, S, S], R]
# a `Failure` may be read by the handler of an error edge, which `build()` checks
Fits: TypeAlias = "Node[Reads[S] | Reads[Failure] | Writes[S]]"
Steps: TypeAlias = "Fits[S] | Sequence[Fits[S]]"


class Route(Generic[S, Labels, Done, Seen]):
    """Route under construction: `.when(label, to)`, then `.otherwise(to)` or `.exhaustive()`.

    `Labels` are the selector's, `Done` those that have a target, `Seen` those that were named. So
    `.exhaustive()` type-checks only if every label has a target, and `.when` does not for a label
    that the selector never returns.
    """

    def __init__(self, spec: RouteSpec, add_nodes: Callable[[object], tuple[str, ...]]) -> None:
        self._spec = spec
        self._add_nodes = add_nodes

    @overload
    def when(self: Route[S, E, Done, Seen], label: E, to: Steps[S]) -> Route[S, E, E, E]: ...
    @overload
    def when(
        self, label: L | Literal["\0"], to: Steps[S]
    ) -> Route[S, Labels, Done | L, Seen | L]: ...
    def when(self, label: Any, to: Any) -> Any:
        """Lead this label to one node, or to several that start side by side."""
        # A label of another kind, even one that cannot be a key, is compared by its text: a check
        # reports it as one that the selector never returns.
        key = label if isinstance(label, Hashable) else repr(label)
        self._spec.cases.append((key, self._add_nodes(to)))
        return self

    def otherwise(self: Route[S, U, Any, U], to: Steps[S]) -> None:
        """Lead every label without a target of its own to a node, or to several."""
        self._spec.otherwise = self._add_nodes(to)

    def exhaustive(self: Route[S, U, U, U]) -> None:
        """Declare that every label has a target.

        The type checker proves it for `Literal` labels, `build()` for all.
        """
        self._spec.exhaustive = True
