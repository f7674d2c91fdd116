"""Routes: a selector over slices, and a target for each label that it can return."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    """A route being written down: `.when(label, to)` for each label, then `.otherwise(to)` or `.exhaustive()`.

    `Labels` are the selector's, `Done` those that have a target, `Seen` those that were named; so `.exhaustive()` type-checks only
    when every label has a target, and `.when` with a label that the selector never returns does not.
    """

    def __init__(self, spec: RouteSpec, named: Callable[[object], tuple[str, ...]]) -> None:
        self._spec = spec
        self._named = named

    @overload
    def when(self: Route[S, E, Done, Seen], label: E, to: Steps[S]) -> Route[S, E, E, E]: ...
    @overload
    def when(
        self, label: L | Literal["\0"], to: Steps[S]
    ) -> Route[S, Labels, Done | L, Seen | L]: ...
    def when(self, label: Any, to: Any) -> Any:
        """Where this label leads: one node, or several that start side by side."""
        self._spec.cases.append((label, self._named(to)))
        return self

    def otherwise(self: Route[S, U, Any, U], to: Steps[S]) -> None:
        """Where every label leads that has no target of its own."""
        self._spec.otherwise = self._named(to)

    def exhaustive(self: Route[S, U, U, U]) -> None:
        """Every label has a target: the type checker proves it for `Literal` labels, `build()` for all."""
        self._spec.exhaustive = True
