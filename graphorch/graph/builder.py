"""The mutable builder: every call writes down what was said; nothing is refused before `build()` can report all of it at once."""

from __future__ import annotations

import enum
import inspect
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, Generic, Literal, Self, Union, cast

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.errors import GraphError, Problem, did_you_mean
from graphorch.graph.node import Node
from graphorch.graph.route import Fits, Of, Route, Steps
from graphorch.graph.signature import pure_reads, read_return_type
from graphorch.graph.spec import (
    ErrorSpec,
    GraphSpec,
    JoinSpec,
    Label,
    LoopSpec,
    Need,
    RouteSpec,
    Short,
    StateFunction,
)

S = TypeVar("S", bound=BaseModel)

RESERVED = ("START", "END")  # names of nodes that are always there


class GraphBuilder(Generic[S]):
    """Nodes and edges of one graph. The public `Graph` adds what needs a runnable flow: `map`, `sub` and `build`."""

    def __init__(
        self,
        name: str,
        state: type[BaseModel],
        input: type[BaseModel] | None,
        output: type[BaseModel] | None,
    ) -> None:
        self.name = name
        self.spec: GraphSpec = GraphSpec(name, state, input or state, output or state)
        # of a step that a pattern follows up: the node that its plain edges, routes and loops leave by
        self._exits: dict[str, str] = {}
        # the author's own node, where a pattern put another one in its place
        self._replaced: dict[str, Node[Any]] = {}

    def chain(self, *steps: Steps[S]) -> Self:
        """Connect each step to the next one; a list is several nodes side by side."""
        before: tuple[str, ...] = ()
        for step in steps:
            names = self._named(step, "chain()")
            self.spec.edges.extend((source, target) for source in before for target in names)
            before = tuple(self._exit_of(name) for name in names)
        return self

    def join(self, node: Fits[S], *, need: Need, short: Short = "fail") -> Self:
        """How `node` joins its incoming edges.

        `"arriving"` (the default of every node) waits for exactly the branches that can still arrive. `"all"` demands that every
        incoming edge always delivers, else the graph does not build. A number takes that many arrivals and cancels the rest; if fewer
        can come, the node fails with `QuorumNotMet`, or with `short="fire"` goes on with what it has.
        """
        for name in self._named(node, "join()"):
            self.spec.joins.append(JoinSpec(name, need, short))
        return self

    def _route(self, source: Fits[S], by: Callable[..., Any]) -> Route[Any, Any, Any, Any]:
        name = self._exit_of(self._one(source, "route()"))
        where = f"route of '{name}'"
        pure = self._pure(by, where)
        labels, many = read_labels(by)
        spec = RouteSpec(name, pure, labels, many)
        self.spec.routes.append(spec)
        return Route(spec, lambda steps: self._named(steps, where))

    def loop(
        self,
        source: Steps[S],
        *,
        back_to: Fits[S],
        while_: Of[S, bool],
        max_iterations: int,
        exhausted: Literal["continue", "fail"] | Fits[S] = "continue",
    ) -> Self:
        """Go back from `source` (or any of several) to `back_to` while a predicate holds.

        `max_iterations` counts how often the body runs per entry, the first time included. With the bound reached and the predicate
        still true, `exhausted` says what happens: `"continue"` as if it were false, `"fail"`, or a node to go to instead.
        """
        sources = tuple(self._exit_of(name) for name in self._named(source, "loop()"))
        header = self._one(back_to, "loop(back_to=…)")
        where = f"loop '{', '.join(sources)}' → '{header or '?'}'"
        to = "" if isinstance(exhausted, str) else self._one(exhausted, where)
        if isinstance(exhausted, str) and exhausted not in ("continue", "fail"):
            fix = f'give "continue", "fail" or a node. {did_you_mean(exhausted, ("continue", "fail"))}'
            self._problem("LOOP_OPTION", where, f"exhausted={exhausted!r} is not possible", fix)
        if header and sources:
            spec = LoopSpec(
                sources,
                header,
                self._pure(while_, where),
                max_iterations,
                to or str(exhausted),
                bool(to),
            )
            self.spec.loops.append(spec)
        return self

    def on_error(
        self,
        source: Fits[S],
        handler: Fits[S],
        *,
        when: type[Exception] | tuple[type[Exception], ...] = Exception,
    ) -> Self:
        """Where to go if `source` failed for good, after its retries, with an exception of a type in `when`.

        The first declaration that matches is taken, instead of every other edge of `source`; what `source` would have written is not.
        The handler may read the `Failure` beside its slices.
        """
        names = (self._one(source, "on_error()"), self._one(handler, "on_error(handler)"))
        where = f"on_error '{names[0] or '?'}' → '{names[1] or '?'}'"
        given = cast("tuple[object, ...]", when if isinstance(when, tuple) else (when,))
        types = tuple(
            item for item in given if isinstance(item, type) and issubclass(item, Exception)
        )
        if not given or len(types) != len(given):
            wrong = (
                ", ".join(
                    getattr(item, "__name__", repr(item))
                    for item in given
                    if not any(item is kind for kind in types)
                )
                or "()"
            )
            self._problem(
                "ERROR_TYPE",
                where,
                f"when={wrong} is no kind of Exception",
                "name classes that derive from Exception, such as TimeoutError",
            )
        if all(names):
            sources = dict.fromkeys((names[0], self._exit_of(names[0])))
            self.spec.errors.extend(ErrorSpec(source, names[1], types) for source in sources)
        return self

    # ---- what patterns do to a step --------------------------------------------------------------
    def _exit_of(self, name: str) -> str:
        """Where a step is left: the node itself, or the last one that a pattern put behind it."""
        while name in self._exits:
            name = self._exits[name]
        return name

    def _leave_by(self, name: str, last: str) -> None:
        """Have a step be left by the node `last`, whatever was or will be drawn from it; the pattern draws its own edges afterwards."""
        blueprint = self.spec
        blueprint.edges[:] = [
            (last if source == name else source, target) for source, target in blueprint.edges
        ]
        blueprint.loops[:] = [
            replace(
                loop, sources=tuple(last if source == name else source for source in loop.sources)
            )
            for loop in blueprint.loops
        ]
        for route in blueprint.routes:
            route.source = last if route.source == name else route.source
        blueprint.errors.extend(
            replace(error, source=last) for error in tuple(blueprint.errors) if error.source == name
        )
        self._exits[name] = last

    def _put_in_place(self, node: Node[Any]) -> None:
        """Run this node in place of the one of the same name, which goes on standing for it in further calls."""
        self._replaced.setdefault(node.name, self.spec.nodes[node.name])
        self.spec.nodes[node.name] = node

    # ---- what the calls above share ------------------------------------------------------------
    def _named(self, steps: object, where: str) -> tuple[str, ...]:
        """The names of one node or of several; they become part of the graph."""
        found = (
            cast("Iterable[object]", steps)
            if isinstance(steps, Sequence) and not isinstance(steps, str)
            else [steps]
        )
        names: list[str] = []
        for item in found:
            if isinstance(item, Node):
                names.append(self._add(cast("Node[Any]", item)))
                self.spec.connected.add(names[-1])
            elif isinstance(item, str):
                known = (node.name for node in self.spec.nodes.values())
                self._problem(
                    "NOT_A_NODE",
                    where,
                    f"'{item}' is a name, not a node",
                    f"pass the node itself. {did_you_mean(item, known)}",
                )
            else:
                shown = getattr(item, "__name__", repr(item))
                self._problem(
                    "NOT_A_NODE",
                    where,
                    f"'{shown}' is no node",
                    "decorate the function with @node or @agent",
                )
        if not found:
            self._problem("NOT_A_NODE", where, "an empty list of nodes", "name at least one node")
        return tuple(names)

    def _one(self, node: object, where: str) -> str:
        """The name of the one node that fits here, or nothing if that was wrong."""
        names = self._named(node, where)
        if len(names) > 1:
            self._problem(
                "ONE_NODE",
                where,
                f"{len(names)} nodes are given, but only one is possible",
                "make one call for each",
            )
        return names[0] if names else ""

    def _add(self, node: Node[Any]) -> str:
        if node.name in RESERVED and node.kind not in ("start", "end"):
            fix = "call it something else: @node(name='…'), or .named('…')"
            self._problem(
                "RESERVED_NAME",
                f"node '{node.name}'",
                "this name stands for where a run begins or ends",
                fix,
            )
        known = self.spec.nodes.setdefault(node.name, node)
        if node not in (known, self._replaced.get(node.name)) and node.kind not in ("start", "end"):
            fix = f"give one of them another name: {node.name}.named('{node.name}_2'), and use that one object everywhere"
            self._problem(
                "DUPLICATE_NAME", f"node '{node.name}'", "two different nodes have this name", fix
            )
        return node.name

    def _pure(self, fn: Callable[..., Any], where: str) -> StateFunction:
        try:
            return StateFunction(fn, pure_reads(fn, where))
        except GraphError as error:
            self.spec.problems.extend(error.problems)
            return StateFunction(fn, ())

    def _problem(self, code: str, where: str, what: str, fix: str) -> None:
        problem = Problem(code, where, what, fix)
        if problem not in self.spec.problems:
            self.spec.problems.append(problem)


def read_labels(by: Callable[..., Any]) -> tuple[tuple[Label, ...] | None, bool]:
    """The labels that a selector can return, from its return type, and whether it returns a set of them."""
    try:
        hint = read_return_type(by)
    except GraphError:
        return None, False
    many = typing.get_origin(hint) in (set, frozenset, AbstractSet)
    labels = _labels(typing.get_args(hint)[0] if many else hint)
    return (tuple(labels) if labels is not None else None), many


def _labels(hint: Any) -> list[Label] | None:
    if hasattr(hint, "__value__"):
        hint = hint.__value__
    if typing.get_origin(hint) is Literal:
        return list(typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return list(hint)
    if typing.get_origin(hint) in (Union, types.UnionType):
        parts = [_labels(part) for part in typing.get_args(hint)]
        return (
            None
            if any(part is None for part in parts)
            else [label for part in parts if part for label in part]
        )
    return None


def gather_takes_missing(gather: Callable[..., Any]) -> bool:
    """Whether a gather function has a second parameter, for the items that have no result."""
    return len(inspect.signature(gather).parameters) == 2
