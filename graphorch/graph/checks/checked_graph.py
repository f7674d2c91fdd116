"""The graph as every check sees it: specification, topology, reads and writes of fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from graphorch.graph.analysis import Analysis
from graphorch.graph.compiler import find_cancel_signal
from graphorch.graph.edges import START_INDEX, Edge, Loop, Topology
from graphorch.graph.node import Node
from graphorch.graph.options import is_count
from graphorch.graph.payloads import Failure
from graphorch.graph.plan import JoinSpec, SignalSpec
from graphorch.graph.signature import StateFunction
from graphorch.graph.spec import GraphSpec, format_loop_title
from graphorch.state.reducers import find_reducer

LONG_PATH = 12  # nodes of a path that a problem names


@dataclass(frozen=True, slots=True)
class Use:
    """One slice that something reads.

    `model` None is the whole state. A `late` use sees what its own node has written.
    """

    node: int
    where: str
    model: type[BaseModel] | None
    optional: bool = False
    late: bool = False


class CheckedGraph:
    """One graph under examination. Fields are bits of a mask, in the order of the state."""

    def __init__(self, spec: GraphSpec, topology: Topology) -> None:
        self.spec = spec
        self.topology = topology
        self.analysis = Analysis(topology)
        self.fields = tuple(spec.fields)
        self.bit = {name: 1 << index for index, name in enumerate(self.fields)}
        self.number = {name: index for index, name in enumerate(topology.names)} | {
            "END": topology.end
        }
        self.nodes: list[Node[Any]] = [spec.nodes[name] for name in topology.names]

    def where(self, node: int) -> str:
        """Return how a problem names a node."""
        name = self.topology.name(node)
        return name if node in (START_INDEX, self.topology.end) else f"node '{name}'"

    def named(self, nodes: Iterable[int], limit: int = 6) -> str:
        """Return the names of nodes for a sentence."""
        return join_names([self.topology.name(node) for node in nodes], limit)

    def edge_name(self, edge: Edge) -> str:
        """Return an edge for a sentence."""
        return f"'{self.topology.name(edge.source)}' → '{self.topology.name(edge.target)}'"

    def loop_title(self, loop: Loop) -> str:
        """Return how a problem names a loop."""
        name = self.topology.name
        return format_loop_title(map(name, loop.sources), name(loop.header))

    # ---- slices ------------------------------------------------------------------------------
    def mask(self, model: type[BaseModel]) -> int:
        """Return the fields of a slice; those that the state lacks are left out."""
        mask = 0
        for name in model.model_fields:
            mask |= self.bit.get(name, 0)
        return mask

    @cached_property
    def required(self) -> int:
        """Fields of the state that have no default."""
        return sum(self.bit[name] for name, info in self.spec.fields.items() if info.is_required())

    @cached_property
    def reduced(self) -> int:
        """Fields that a reducer folds."""
        fields = self.spec.fields.items()
        return sum(self.bit[name] for name, info in fields if find_reducer(info) is not None)

    @cached_property
    def given(self) -> int:
        """Fields of the flow's input."""
        return self.mask(self.spec.input)

    @cached_property
    def may_write(self) -> list[int]:
        """Fields that each node may write; END and START write none."""
        return [self._find_written(node) for node in self.nodes] + [0, 0]

    @cached_property
    def must_write(self) -> list[int]:
        """Required fields that each node writes whenever it does not fail."""
        masks = [0] * (len(self.nodes) + 2)
        for index, node in enumerate(self.nodes):
            if not node.signature.may_skip:
                masks[index] = self.may_write[index] & self.required
        return masks

    def writes_anything(self, node: int) -> bool:
        """Return whether a map or sub-flow may write any field.

        That is so if its `gather` or `leave` has no return annotation.
        """
        inspected = self.nodes[node]
        return inspected.kind in ("map", "sub") and self.spec.state in inspected.signature.writes

    def ask_for_annotations(self, nodes: Iterable[int]) -> str:
        """Return how to say what maps and sub-flows write, if any of the nodes does not, or ""."""
        vague = [node for node in nodes if self.writes_anything(node)]
        if not vague:
            return ""
        return (
            f"annotate what the function of {self.named(vague)} returns: without that, as in "
            "a lambda, it may write any field"
        )

    def _find_written(self, node: Node[Any]) -> int:
        mask = 0
        for model in node.signature.writes:
            mask |= self.mask(model)
        return mask

    def field_names(self, mask: int) -> list[str]:
        """Return the names of the fields in a mask."""
        names: list[str] = []
        while mask:
            low = mask & -mask
            names.append(self.fields[low.bit_length() - 1])
            mask ^= low
        return names

    # ---- who reads ---------------------------------------------------------------------------
    @cached_property
    def uses(self) -> list[Use]:
        """Everything that reads the state, in order of declaration.

        A `Failure` is not part of the state.
        """
        return [
            *self._node_uses(),
            *self._pure_uses(),
            *self._undo_uses(),
            Use(self.topology.end, f"output of graph '{self.spec.name}'", self.spec.output),
        ]

    def _node_uses(self) -> Iterator[Use]:
        spec = self.spec
        special = spec.maps.keys() | spec.subs.keys() | spec.asks.keys() | spec.events.keys()
        for index, node in enumerate(self.nodes):
            # A map, a sub-flow or a question reads through its pure function alone.
            if node.name in special:
                continue
            for read in node.signature.reads:
                if read.model is not Failure:
                    yield Use(index, f"node '{node.name}'", read.model, read.optional)

    def _undo_uses(self) -> Iterator[Use]:
        """Yield what undos read: the state with what the node itself has written."""
        for index, node in enumerate(self.nodes):
            undo: Node[Any] | None = node.options.undo
            if undo is None:
                continue
            for read in undo.signature.reads:
                if read.model is not Failure:
                    where = f"undo of '{node.name}'"
                    yield Use(index, where, read.model, read.optional, late=True)

    def _pure_uses(self) -> Iterator[Use]:
        for where, pure, nodes, late in self.pures:
            for node in nodes:
                for read in pure.reads:
                    yield Use(node, where, read.model, read.optional, late)

    @cached_property
    def pures(self) -> list[tuple[str, StateFunction, tuple[int, ...], bool]]:
        """Every pure function over the state.

        For each: where it was declared, the nodes that call it, and whether it sees their writes.
        """
        functions: list[tuple[str, StateFunction, tuple[int, ...], bool]] = []
        spec = self.spec
        for name, map_ in spec.maps.items():
            functions.append((f"over of map '{name}'", map_.over, self._at(name), False))
        for name, sub in spec.subs.items():
            functions.append((f"enter of sub '{name}'", sub.enter, self._at(name), False))
        for name, ask in spec.asks.items():
            functions.append((f"question of '{name}'", ask.question, self._at(name), False))
        for name, event in spec.events.items():
            function = event.key if isinstance(event, SignalSpec) else event.function
            if function is not None:
                what = "key of signal" if isinstance(event, SignalSpec) else "time of timer"
                functions.append((f"{what} '{name}'", function, self._at(name), False))
        for name in spec.cancelling:
            signal, function = find_cancel_signal(spec, name)
            if function is not None:
                functions.append((f"key of signal '{signal}'", function, self._at(name), False))
        for route in spec.routes:
            functions.append(
                (f"route of '{route.source}'", route.selector, self._at(route.source), True)
            )
        for loop in spec.loops:
            functions.append((loop.title, loop.condition, self._at(*loop.sources), True))
        return functions

    def _at(self, *names: str) -> tuple[int, ...]:
        return tuple(self.number[name] for name in names if name in self.number and name != "END")

    # ---- joins -------------------------------------------------------------------------------
    @cached_property
    def quorums(self) -> dict[int, int]:
        """The k of each `need=k` join that at least k edges lead to."""
        quorums: dict[int, int] = {}
        for node, join in self.joins:
            edges = [edge for edge in self.topology.entering[node] if edge.kind != "loop"]
            need = join.need
            if isinstance(need, int) and is_count(need) and need <= len(edges):
                quorums[node] = need
        return quorums

    @cached_property
    def finishing(self) -> dict[int, bool]:
        """Whether each declared join lets its losers finish."""
        return {node: join.rest == "finish" for node, join in self.joins}

    @cached_property
    def regions(self) -> dict[int, frozenset[int]]:
        """The region of each `need=k` join: the nodes between its immediate dominator and it.

        They are on a path from the one to the other without a way back.
        """
        return {
            node: self._find_region(node) for node in self.quorums if node in self.analysis.reached
        }

    def _find_region(self, join: int) -> frozenset[int]:
        analysis, start = self.analysis, self.analysis.dominator[join]
        region: set[int] = set()
        pending = [join]
        while pending:
            for edge in analysis.before(pending.pop()):
                source = edge.source
                if source in (START_INDEX, start, join) or source in region:
                    continue
                if source in analysis.reached:
                    region.add(source)
                    pending.append(source)
        return frozenset(region)

    @cached_property
    def joins(self) -> list[tuple[int, JoinSpec]]:
        """Declared joins with their node."""
        return [
            (self.number[join.node], join) for join in self.spec.joins if join.node in self.number
        ]


def name_path(topology: Topology, nodes: Sequence[int]) -> str:
    """Return a path for a sentence; the middle of a long one is counted."""
    names = [topology.name(node) for node in nodes]
    if len(names) > LONG_PATH:
        half = LONG_PATH // 2
        names[half:-half] = [f"… ({len(names) - 2 * half} more)"]
    return " → ".join(names)


def join_names(names: list[str], limit: int = 6) -> str:
    """Return quoted names for a sentence, the last one after `and`; a long list is cut short."""
    shown = [f"'{name}'" for name in names[:limit]]
    if len(names) > limit:
        return f"{', '.join(shown)} and {len(names) - limit} more"
    if not shown:
        return "none"
    if len(shown) == 1:
        return shown[0]
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
