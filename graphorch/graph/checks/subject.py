"""What every check looks at: the blueprint, its shape, and who reads and writes which field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from graphorch.graph.analysis import Analysis
from graphorch.graph.edges import START_INDEX, Edge, Topology
from graphorch.graph.node import Node
from graphorch.graph.payloads import Failure
from graphorch.graph.plan import JoinSpec
from graphorch.graph.signature import StateFunction
from graphorch.graph.spec import GraphSpec
from graphorch.state.slices import find_reducer


@dataclass(frozen=True, slots=True)
class Use:
    """One slice that something reads. `model` None is the whole state; `late` uses see what their node has written."""

    node: int
    where: str
    model: type[BaseModel] | None
    optional: bool = False
    late: bool = False


class CheckedGraph:
    """One graph under examination. Fields are bits of a mask, in the order of the state."""

    def __init__(self, blueprint: GraphSpec, shape: Topology) -> None:
        self.blueprint = blueprint
        self.shape = shape
        self.analysis = Analysis(shape)
        self.fields = tuple(blueprint.fields)
        self.bit = {name: 1 << index for index, name in enumerate(self.fields)}
        self.number = {name: index for index, name in enumerate(shape.names)} | {"END": shape.end}
        self.nodes: list[Node[Any]] = [blueprint.nodes[name] for name in shape.names]

    def where(self, node: int) -> str:
        """How a problem names a node."""
        return (
            self.shape.name(node)
            if node in (START_INDEX, self.shape.end)
            else f"node '{self.shape.name(node)}'"
        )

    def named(self, nodes: Iterable[int], limit: int = 6) -> str:
        """The names of nodes in a sentence."""
        return join_names([self.shape.name(node) for node in nodes], limit)

    def edge_name(self, edge: Edge) -> str:
        """An edge in a sentence."""
        return f"'{self.shape.name(edge.source)}' → '{self.shape.name(edge.target)}'"

    # ---- slices ------------------------------------------------------------------------------
    def mask(self, model: type[BaseModel]) -> int:
        """The fields of a slice; those that the state lacks are left out."""
        found = 0
        for name in model.model_fields:
            found |= self.bit.get(name, 0)
        return found

    @cached_property
    def required(self) -> int:
        """The fields of the state that have no default."""
        return sum(
            self.bit[name] for name, info in self.blueprint.fields.items() if info.is_required()
        )

    @cached_property
    def reduced(self) -> int:
        """The fields that a reducer folds."""
        return sum(
            self.bit[name]
            for name, info in self.blueprint.fields.items()
            if find_reducer(info) is not None
        )

    @cached_property
    def given(self) -> int:
        """The fields of the flow's input."""
        return self.mask(self.blueprint.input)

    @cached_property
    def may_write(self) -> list[int]:
        """For each node the fields that it may write; END and START write none."""
        return [self._written(node) for node in self.nodes] + [0, 0]

    @cached_property
    def must_write(self) -> list[int]:
        """For each node the required fields that it writes whenever it does not fail."""
        return [
            self._written(node) & self.required if not node.signature.may_skip else 0
            for node in self.nodes
        ] + [0, 0]

    def writes_anything(self, node: int) -> bool:
        """Whether a map or sub-flow does not say what it writes: its `gather` or `leave` has no return annotation."""
        return (
            self.nodes[node].kind in ("map", "sub")
            and self.blueprint.state in self.nodes[node].signature.writes
        )

    def _written(self, node: Node[Any]) -> int:
        found = 0
        for model in node.signature.writes:
            found |= self.mask(model)
        return found

    def field_names(self, mask: int) -> list[str]:
        """The names of the fields in a mask."""
        names: list[str] = []
        while mask:
            low = mask & -mask
            names.append(self.fields[low.bit_length() - 1])
            mask ^= low
        return names

    # ---- who reads ---------------------------------------------------------------------------
    @cached_property
    def uses(self) -> list[Use]:
        """Everything that reads the state, in order of declaration; a `Failure` is no part of the state."""
        return [
            *self._node_uses(),
            *self._pure_uses(),
            Use(self.shape.end, f"output of graph '{self.blueprint.name}'", self.blueprint.output),
        ]

    def _node_uses(self) -> Iterator[Use]:
        special = (
            self.blueprint.maps.keys() | self.blueprint.subs.keys() | self.blueprint.asks.keys()
        )
        for index, node in enumerate(self.nodes):
            if node.name not in special:
                reads = (read for read in node.signature.reads if read.model is not Failure)
                yield from (
                    Use(index, f"node '{node.name}'", read.model, read.optional) for read in reads
                )

    def _pure_uses(self) -> Iterator[Use]:
        for where, pure, nodes, late in self.pures:
            for node in nodes:
                yield from (
                    Use(node, where, read.model, read.optional, late) for read in pure.reads
                )

    @cached_property
    def pures(self) -> list[tuple[str, StateFunction, tuple[int, ...], bool]]:
        """Every pure function over the state: where it was given, at which nodes it is called, and whether it sees what they wrote."""
        found: list[tuple[str, StateFunction, tuple[int, ...], bool]] = []
        blueprint = self.blueprint
        for name, spec in blueprint.maps.items():
            found.append((f"over of map '{name}'", spec.over, self._at(name), False))
        for name, sub in blueprint.subs.items():
            found.append((f"enter of sub '{name}'", sub.enter, self._at(name), False))
        for name, ask in blueprint.asks.items():
            found.append((f"question of '{name}'", ask.question, self._at(name), False))
        for route in blueprint.routes:
            found.append(
                (f"route of '{route.source}'", route.selector, self._at(route.source), True)
            )
        for loop in blueprint.loops:
            where = f"loop '{', '.join(loop.sources)}' → '{loop.header}'"
            found.append((where, loop.condition, self._at(*loop.sources), True))
        return found

    def _at(self, *names: str) -> tuple[int, ...]:
        return tuple(self.number[name] for name in names if name in self.number and name != "END")

    # ---- joins -------------------------------------------------------------------------------
    @cached_property
    def quorums(self) -> dict[int, int]:
        """The k of each `need=k` join that so many edges lead to."""
        found: dict[int, int] = {}
        for node, join in self.joins:
            edges = [edge for edge in self.shape.entering[node] if edge.kind != "loop"]
            if (
                isinstance(join.need, int)
                and not isinstance(join.need, bool)
                and 1 <= join.need <= len(edges)
            ):
                found[node] = join.need
        return found

    @cached_property
    def joins(self) -> list[tuple[int, JoinSpec]]:
        """The declared joins with their node."""
        return [
            (self.number[join.node], join)
            for join in self.blueprint.joins
            if join.node in self.number
        ]


def join_names(names: list[str], limit: int = 6) -> str:
    """Names in a sentence: quoted, the last one after `and`, a long list cut short."""
    shown = [f"'{name}'" for name in names[:limit]]
    if len(names) > limit:
        return f"{', '.join(shown)} and {len(names) - limit} more"
    return (
        shown[0]
        if len(shown) == 1
        else f"{', '.join(shown[:-1])} and {shown[-1]}"
        if shown
        else "none"
    )
