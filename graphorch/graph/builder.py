"""The mutable builder of a graph.

Every call is written down; mistakes become problems that `build()` reports all at once.
"""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Generic, Literal, Self, Union, cast

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.errors import GraphError, Problem, did_you_mean
from graphorch.graph.edges import Label
from graphorch.graph.node import Node
from graphorch.graph.plan import Across, ExclusiveSpec, JoinSpec, Need, Rest, Short
from graphorch.graph.route import Fits, Free, Of, Route, Step, Steps
from graphorch.graph.signature import (
    StateFunction,
    inspect_callable,
    pure_reads,
    read_return_type,
)
from graphorch.graph.spec import (
    GO_BACK,
    ErrorSpec,
    GraphSpec,
    LoopSpec,
    ReturnSpec,
    RouteSpec,
    format_loop_title,
)
from graphorch.graph.wrong_calls import shows_right_call

S = TypeVar("S", bound=BaseModel)

RESERVED = ("START", "END")  # names of nodes that are always there


class GraphBuilder(Generic[S]):
    """Nodes and edges of one graph.

    The public `Graph` adds what needs a runnable flow: `map`, `sub`, `ask` and `build`.
    """

    def __init__(
        self,
        name: str,
        state: type[BaseModel],
        input: type[BaseModel] | None,
        output: type[BaseModel] | None,
    ) -> None:
        self.name = name
        self.spec: GraphSpec = GraphSpec(name, state, input or state, output or state)
        # step that a pattern follows up -> the node that its plain edges, routes and loops leave by
        self._exits: dict[str, str] = {}
        # name -> the author's own node, where a pattern put another one in its place
        self._replaced: dict[str, Node[Any]] = {}

    def chain(self, *steps: Step[S, Free] | Sequence[Fits[S]]) -> Self:
        """Connect each step to the next one; a list is several nodes side by side."""
        sources: tuple[str, ...] = ()
        for step in steps:
            targets = self.add_steps(step, "chain()")
            self.spec.edges.extend((source, target) for source in sources for target in targets)
            sources = tuple(self.find_exit(name) for name in targets)
        return self

    @shows_right_call("graph.join(merge, need=2)")
    def join(
        self, node: Fits[S], *, need: Need, short: Short = "fail", rest: Rest = "cancel"
    ) -> Self:
        """Declare how `node` joins its incoming edges.

        `"arriving"` (the default of every node) waits for exactly the branches that can still
        arrive. `"all"` demands that every incoming edge always delivers; otherwise the graph does
        not build. A number takes that many arrivals and cancels the rest, or with `rest="finish"`
        goes on while the rest runs to its end, which the run waits for; if fewer can come, the node
        fails with `QuorumNotMet`, or with `short="fire"` runs with what it has.
        """
        for name in self.add_steps(node, "join()"):
            self.spec.joins.append(JoinSpec(name, need, short, rest))
        return self

    def _route(self, source: Fits[S], by: Callable[..., Any]) -> Route[Any, Any, Any, Any, Self]:
        name = self.find_exit(self.add_step(source, "route()"))
        where = f"route of '{name}'"
        labels, is_multi = read_labels(by)
        spec = RouteSpec(name, self.make_function(by, where), labels, is_multi)
        self.spec.routes.append(spec)
        return Route(self, spec, lambda steps: self.add_steps(steps, where))

    @shows_right_call("graph.loop(judge, back_to=write, while_=is_weak, max_iterations=3)")
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

        `max_iterations` counts how often the body runs per entry, the first time included. With the
        bound reached and the predicate still true, `exhausted` decides: `"continue"` as if the
        predicate were false, `"fail"`, or a node to go to instead.
        """
        sources = tuple(self.find_exit(name) for name in self.add_steps(source, "loop()"))
        header = self.add_step(back_to, "loop(back_to=…)")
        where = format_loop_title(sources, header or "?")
        target = ""
        if not isinstance(exhausted, str):
            target = self.add_step(exhausted, where)
        elif exhausted not in ("continue", "fail"):
            what = f"exhausted={exhausted!r} is not possible"
            hint = did_you_mean(exhausted, ("continue", "fail"))
            self.add_problem(
                "LOOP_OPTION", where, what, f'give "continue", "fail" or a node. {hint}'
            )
        if header and sources:
            spec = LoopSpec(
                sources=sources,
                header=header,
                condition=self.make_function(while_, where, (bool,), GO_BACK),
                max_iterations=max_iterations,
                exhausted=target or str(exhausted),
                exhausted_is_node=bool(target),
            )
            self.spec.loops.append(spec)
        return self

    @shows_right_call("graph.on_error(fetch, use_cache, when=TimeoutError)")
    def on_error(
        self,
        source: Fits[S],
        handler: Fits[S],
        *,
        when: type[Exception] | tuple[type[Exception], ...] = Exception,
    ) -> Self:
        """Go to `handler` if `source` fails for good, after its retries, with a type in `when`.

        The first declaration that matches is taken, instead of every other edge of `source`; what
        `source` would have written is not. The handler may read the `Failure` beside its slices.
        """
        name = self.add_step(source, "on_error()")
        target = self.add_step(handler, "on_error(handler)")
        where = f"on_error '{name or '?'}' → '{target or '?'}'"
        types, wrong = _split_exceptions(when)
        if wrong or not types:
            names = ", ".join(wrong) or "()"
            self.add_problem(
                "ERROR_TYPE",
                where,
                f"when={names} is not a subclass of Exception",
                "name classes that derive from Exception, such as TimeoutError",
            )
        if name and target:
            # A node that a pattern put behind the step may fail too.
            sources = dict.fromkeys((name, self.find_exit(name)))
            self.spec.errors.extend(ErrorSpec(item, target, types) for item in sources)
        return self

    @shows_right_call('graph.exclusive("db", [load, save])')
    def exclusive(self, name: str, nodes: Steps[S], *, across: Across = "run") -> Self:
        """Let only one of `nodes` run at a time, wherever in the run they are.

        A node that may start waits until no other node of the region `name` is under way; its
        branch waits with it, other branches go on. A region is held until its node has ended: also
        between attempts, while a person is asked, and while the run is at rest. A node with
        `gate="before"` takes it once a person has approved. Inner flows that name the same region
        share it, so all items of a map do. A node in several regions waits until it can have all
        of them. To make several nodes in a row exclusive, put them into a sub-flow.

        `across="journal"` also keeps out the other runs of the journal, in all processes, while an
        attempt of a node runs; it holds the region in the journal for this long only, and waits as
        for a slot of a limit. A process that ended frees it when its lease has, after 30 seconds.
        """
        members = self._register_steps(nodes, "exclusive()")
        if members:
            self.spec.exclusives.append(ExclusiveSpec(name, members, across))
        return self

    # ---- For patterns --------------------------------------------------------------------------
    # Public inside the package: patterns add nodes and edges through these methods and `spec`.
    def add_steps(self, steps: object, where: str) -> tuple[str, ...]:
        """Make one node or several part of the graph, and return their names.

        Anything else becomes a problem at `where` and has no name in the result.
        """
        names = self._register_steps(steps, where)
        self.spec.connected.update(names)
        return names

    def _register_steps(self, steps: object, where: str) -> tuple[str, ...]:
        """Return the names of nodes, which are known to the graph then but may not be connected."""
        items: Sequence[object] = [steps]
        if isinstance(steps, Sequence) and not isinstance(steps, str):
            items = cast("Sequence[object]", steps)
        if not items:
            what = "an empty list of nodes"
            self.add_problem("NOT_A_NODE", where, what, "name at least one node")
        names: list[str] = []
        for item in items:
            if isinstance(item, Node):
                names.append(self._register(cast("Node[Any]", item)))
            elif isinstance(item, str):
                names_so_far = [node.name for node in self.spec.nodes.values()]
                hint = f". {did_you_mean(item, names_so_far)}" if names_so_far else ""
                what = f"'{item}' is a name, not a node"
                fix = f"pass the node itself, without quotes{hint}"
                self.add_problem("NOT_A_NODE", where, what, fix)
            else:
                what = f"'{_name_object(item)}' is not a node"
                fix = "decorate the function with @node or @agent"
                self.add_problem("NOT_A_NODE", where, what, fix)
        return tuple(names)

    def add_step(self, node: object, where: str) -> str:
        """Make a single node part of the graph and return its name, or "" if that failed."""
        names = self.add_steps(node, where)
        if len(names) > 1:
            what = f"{len(names)} nodes are given, but only one is possible"
            self.add_problem("ONE_NODE", where, what, "make one call for each")
        return names[0] if names else ""

    def replace_node(self, node: Node[Any]) -> None:
        """Run `node` in place of the node of the same name.

        The author's node still stands for it in later calls.
        """
        self._replaced.setdefault(node.name, self.spec.nodes[node.name])
        self.spec.nodes[node.name] = node

    def find_exit(self, name: str) -> str:
        """Return the node by which a step is left: itself, or the last one that patterns added."""
        while name in self._exits:
            name = self._exits[name]
        return name

    def set_exit(self, name: str, last: str) -> None:
        """Leave the step `name` by the node `last`, with all edges drawn from it so far or later.

        A pattern draws its own edges from the step afterwards.
        """
        spec = self.spec

        def move(source: str) -> str:
            return last if source == name else source

        spec.edges[:] = [(move(source), target) for source, target in spec.edges]
        spec.loops[:] = [
            loop._replace(sources=tuple(move(source) for source in loop.sources))
            for loop in spec.loops
        ]
        for route in spec.routes:
            route.source = move(route.source)
        # Both nodes may fail.
        copied = [error._replace(source=last) for error in spec.errors if error.source == name]
        spec.errors.extend(copied)
        self._exits[name] = last

    def make_function(
        self, fn: Callable[..., Any], where: str, wanted: tuple[type, ...] = (), fix: str = ""
    ) -> StateFunction:
        """Return a pure function with the slices that it reads.

        A wrong signature becomes a problem at `where`; the function then reads nothing. A check
        compares its return annotation with the types that are `wanted`, and reports it with `fix`.
        """
        try:
            function = StateFunction(fn, pure_reads(fn, where))
        except GraphError as error:
            self.spec.problems.extend(error.problems)
            return StateFunction(fn, ())
        if wanted:
            self.spec.returns.append(ReturnSpec(where, function, wanted, fix))
        return function

    def add_problem(
        self, code: str, where: str, what: str, fix: str, severity: str = "error"
    ) -> None:
        """Report a mistake, or something suspicious, when the graph is built."""
        problem = Problem(code, where, what, fix, severity)
        if problem not in self.spec.problems:
            self.spec.problems.append(problem)

    # ---- helpers -------------------------------------------------------------------------------
    def _register(self, node: Node[Any]) -> str:
        name = node.name
        if node.kind in ("start", "end"):
            self.spec.nodes.setdefault(name, node)
            return name
        where = f"node '{name}'"
        if name in RESERVED:
            what = "this name stands for where a run begins or ends"
            fix = "call it something else: @node(name='…'), or .named('…')"
            self.add_problem("RESERVED_NAME", where, what, fix)
        known = self.spec.nodes.setdefault(name, node)
        if node not in (known, self._replaced.get(name)):
            what = "two different nodes have this name"
            fix = (
                f"give one of them another name: {name}.named('{name}_2'), "
                "and use that one object everywhere"
            )
            self.add_problem("DUPLICATE_NAME", where, what, fix)
        return name


def _split_exceptions(when: object) -> tuple[tuple[type[Exception], ...], list[str]]:
    """Return the exception types in `when`, and how to print what is not one."""
    items = cast("tuple[object, ...]", when if isinstance(when, tuple) else (when,))
    types: list[type[Exception]] = []
    wrong: list[str] = []
    for item in items:
        if isinstance(item, type) and issubclass(item, Exception):
            types.append(item)
        else:
            wrong.append(_name_object(cast("object", item)))
    return tuple(types), wrong


def _name_object(item: object) -> str:
    return getattr(item, "__name__", repr(item))


def read_labels(selector: Callable[..., Any]) -> tuple[tuple[Label, ...] | None, bool]:
    """Return the labels that a selector's return type lists, and whether it returns a set of them.

    The labels are None if the type does not list them.
    """
    try:
        hint = read_return_type(selector)
    except GraphError:
        return None, False
    is_multi = typing.get_origin(hint) in (set, frozenset, AbstractSet)
    if is_multi:
        hint = typing.get_args(hint)[0]
    labels = _list_labels(hint)
    return (None if labels is None else tuple(labels)), is_multi


def _list_labels(hint: Any) -> list[Label] | None:
    if hasattr(hint, "__value__"):
        hint = hint.__value__
    if typing.get_origin(hint) is Literal:
        return list(typing.get_args(hint))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return list(hint)
    if typing.get_origin(hint) not in (Union, types.UnionType):
        return None
    labels: list[Label] = []
    for part in typing.get_args(hint):
        part_labels = _list_labels(part)
        if part_labels is None:
            return None
        labels += part_labels
    return labels


def gather_takes_missing(gather: Callable[..., Any]) -> bool:
    """Return whether a gather function has a second parameter, for the items without a result."""
    return len(inspect_callable(gather).parameters) == 2
