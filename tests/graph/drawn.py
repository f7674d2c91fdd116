"""Graphs that are drawn in a few characters, and random graphs."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, create_model

from graphorch.graph.edges import Label
from graphorch.graph.node import END, START, Node
from graphorch.graph.options import NodeSettings
from graphorch.graph.plan import JoinSpec
from graphorch.graph.signature import Read, Signature, StateFunction
from graphorch.graph.spec import ErrorSpec, GraphSpec, LoopSpec, RouteSpec


def nothing(*slices: object) -> None:
    """Do nothing, as the body of a node that never runs."""


@cache
def models(
    fields: tuple[str, ...],
) -> tuple[dict[str, type[BaseModel]], type[BaseModel], type[BaseModel]]:
    """Return a slice per field, the state of all fields, and an empty slice of it.

    Cached, since pydantic needs long to make a model.
    """
    make: Any = create_model
    slices: dict[str, type[BaseModel]] = {
        name: make(name.upper(), **{name: (int, ...)}) for name in fields
    }
    empty: type[BaseModel] = create_model("Nothing")
    return slices, create_model("State", __base__=(*slices.values(), empty)), empty


class Drawing:
    """Specification of a graph under construction.

    Fields are single required integers, called after their slice in small letters.
    """

    def __init__(self, fields: Iterable[str] = "x") -> None:
        self.slices, state, nothing_given = models(tuple(fields))
        self.blueprint = GraphSpec("drawn", state, nothing_given, nothing_given)

    def node(
        self,
        name: str,
        reads: str = "",
        writes: str = "",
        *,
        skips: bool = False,
        options: NodeSettings | None = None,
    ) -> Node[Any]:
        """Add a node; a field is written by a slice of its own."""
        signature = Signature(
            tuple(Read(self.slices[read]) for read in reads),
            tuple(self.slices[write] for write in writes),
            False,
            None,
            skips,
            False,
        )
        made: Node[Any] = Node(nothing, signature, name=name, options=options)
        self.blueprint.nodes[name] = made
        self.blueprint.connected.add(name)
        return made

    def nodes(self, names: Iterable[str]) -> None:
        """Add nodes that neither read nor write."""
        for name in names:
            self.node(name)

    def edges(self, *drawn: str) -> None:
        """Add edges: "a>b>c" is a chain, "a>b,c" leads to two nodes."""
        for line in drawn:
            steps = [step.split(",") for step in line.split(">")]
            for before, after in pairwise(steps):
                for source in before:
                    self.blueprint.edges += [(source, target) for target in after]
            self._mark(name for step in steps for name in step)

    def route(
        self, source: str, cases: Mapping[str, str | Sequence[str]], *, many: bool = False
    ) -> None:
        """Add an exhaustive route."""
        targets: list[tuple[Label, tuple[str, ...]]] = [
            (label, (to,) if isinstance(to, str) else tuple(to)) for label, to in cases.items()
        ]
        spec = RouteSpec(
            source, StateFunction(nothing, (Read(None),)), tuple(cases), many, targets, None, True
        )
        self.blueprint.routes.append(spec)
        self._mark(name for _, names in targets for name in names)

    def loop(
        self, sources: str, header: str, exhausted: str = "continue", *, bound: int = 2
    ) -> None:
        """Add a loop; several sources are separated by a comma."""
        is_node = exhausted not in ("continue", "fail")
        self.blueprint.loops.append(
            LoopSpec(
                tuple(sources.split(",")),
                header,
                StateFunction(nothing, (Read(None),)),
                bound,
                exhausted,
                is_node,
            )
        )

    def error(self, source: str, handler: str, *when: type[Exception]) -> None:
        """Add an error edge."""
        self.blueprint.errors.append(ErrorSpec(source, handler, when or (Exception,)))
        self._mark([handler])

    def join(self, name: str, need: Any, short: Any = "fail") -> None:
        """Declare how a node joins."""
        self.blueprint.joins.append(JoinSpec(name, need, short))

    def _mark(self, names: Iterable[str]) -> None:
        for name in names:
            if name in ("START", "END"):
                self.blueprint.nodes.setdefault(name, START if name == "START" else END)


def random_drawing(
    seed: int, *, size: int = 8, loops: bool = True, errors: bool = True, writers: int = 2
) -> Drawing:
    """Return a random graph with forks, routes, loops and error edges.

    One or more nodes write the field "x", and one node reads it.
    """
    rng = random.Random(seed)
    names = [f"n{index}" for index in range(rng.randint(3, size))]
    drawing = Drawing("x")
    writing = set(rng.sample(names, min(rng.randint(1, writers + 1), len(names))))
    reading = rng.choice(names)
    for name in names:
        drawing.node(name, "x" if name == reading else "", "x" if name in writing else "")
    onwards: dict[str, list[str]] = {name: [] for name in names}
    for index, name in enumerate(names[1:], 1):
        for source in rng.sample(names[:index], min(index, rng.choice((1, 1, 2)))):
            onwards[source].append(name)
    for index, name in enumerate(names):
        _lead(drawing, rng, name, onwards[name], names[index + 1 :], errors=errors)
    if loops:
        _go_back(drawing, rng, names, onwards)
    return drawing


def _lead(
    drawing: Drawing,
    rng: random.Random,
    name: str,
    targets: list[str],
    later: list[str],
    *,
    errors: bool,
) -> None:
    if rng.random() < 0.2:
        targets = [*targets, "END"]
    kind = rng.random()
    if len(targets) > 1 and kind < 0.5:
        plain = targets[:1] if kind < 0.1 else []
        routed = targets[len(plain) :]
        if len(routed) > 1:
            drawing.route(
                name,
                {f"l{number}": target for number, target in enumerate(routed)},
                many=kind > 0.45,
            )
        else:
            plain = targets
        for target in plain:
            drawing.edges(f"{name}>{target}")
    else:
        for target in targets:
            drawing.edges(f"{name}>{target}")
    if errors and later and rng.random() < 0.12:
        drawing.error(name, rng.choice(later))


def _go_back(
    drawing: Drawing, rng: random.Random, names: list[str], onwards: dict[str, list[str]]
) -> None:
    for _ in range(rng.choice((0, 1, 1, 2))):
        source = rng.randrange(len(names))
        if onwards[names[source]] and any(
            edge[0] == names[source] for edge in drawing.blueprint.edges
        ):
            drawing.loop(names[source], names[rng.randint(0, source)], bound=rng.randint(2, 3))


def nested_drawing(seed: int, *, size: int = 12) -> Drawing:
    """Return a random graph of sequences, forks and loops in each other, with a few long edges."""
    rng = random.Random(seed)
    drawing = Drawing("x")
    names: list[str] = []

    def add() -> str:
        names.append(f"n{len(names)}")
        drawing.node(names[-1])
        return names[-1]

    def add_block(depth: int) -> tuple[str, str]:
        """Add some nodes, and return the first and the last one."""
        kind = rng.choice(("node", "sequence", "fork", "loop")) if depth < 4 else "node"
        if kind == "node" or len(names) > size:
            name = add()
            return name, name
        first = before = begin = add()
        if kind == "fork":
            branches = [add_block(depth + 1) for _ in range(2)]
            last = add()
            for begin, end in branches:
                drawing.edges(f"{first}>{begin}", f"{end}>{last}")
            return first, last
        for _ in range(2):
            begin, end = add_block(depth + 1)
            drawing.edges(f"{before}>{begin}")
            before = end
        if kind == "loop":
            drawing.loop(before, rng.choice((first, begin)))
            last = add()
            drawing.edges(f"{before}>{last}")
            before = last
        return first, before

    add_block(0)
    for _ in range(rng.randint(0, 3)):
        first, last = sorted(rng.sample(range(len(names)), 2)) if len(names) > 1 else (0, 0)
        if first < last and rng.random() < 0.8:
            drawing.edges(f"{names[first]}>{names[last]}")
        elif first < last:
            drawing.error(names[first], names[last])
    return drawing


def plant_mistakes(drawing: Drawing, rng: random.Random, count: int) -> None:
    """Add edges, loops, error edges, joins and routes between any two nodes."""
    names = [name for name in drawing.blueprint.nodes if name not in ("START", "END")]
    for _ in range(count):
        one, two, three = (rng.choice(names) for _ in range(3))
        match rng.randrange(7):
            case 0:
                drawing.edges(f"{one}>{two}")
            case 1:
                drawing.loop(one, two)
            case 2:
                drawing.loop(f"{one},{three}", two, three)
            case 3:
                drawing.error(one, two)
            case 4:
                drawing.join(one, rng.choice(["all", "arriving", 1, 2, 3]))
            case 5:
                drawing.route(one, {"x": two, "y": three}, many=rng.random() < 0.5)
            case _:
                drawing.edges(rng.choice([f"{one}>END", f"START>{one}", f"END>{one}"]))
