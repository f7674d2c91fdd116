"""The public `Graph`: the builder, with `map`, `sub`, `ask` and `build`, which need a flow."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    Literal,
    LiteralString,
    Never,
    Protocol,
    Self,
    TypeAlias,
    overload,
)

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.errors import GraphError, Problem
from graphorch.flow.event_methods import EventMethods
from graphorch.flow.flow import Flow
from graphorch.flow.foreign_names import GRAPH_NAMES, refuse_name
from graphorch.flow.pattern_methods import PatternMethods
from graphorch.graph.builder import gather_takes_missing
from graphorch.graph.node import Ask, Node, Node1, NodeKind, Signal
from graphorch.graph.options import NodeSettings, is_patience, options_from
from graphorch.graph.plan import (
    AskSpec,
    MapSpec,
    Migration,
    OnItemError,
    Plan,
    Rest,
    Short,
    SubSpec,
)
from graphorch.graph.route import Fits, Of, Route
from graphorch.graph.signature import Signature, check_plain, read_return_type
from graphorch.graph.spec import Itself
from graphorch.graph.wrong_calls import shows_right_call

if TYPE_CHECKING:
    from graphorch.graph.payloads import Missing

_LOG = logging.getLogger(__name__)

S = TypeVar("S", bound=BaseModel)
I = TypeVar("I", bound=BaseModel)  # noqa: E741
O = TypeVar("O", bound=BaseModel)  # noqa: E741
M = TypeVar("M", bound=BaseModel)
I2 = TypeVar("I2", bound=BaseModel)
O2 = TypeVar("O2", bound=BaseModel)
S2 = TypeVar("S2", bound=BaseModel)
W = TypeVar("W", bound=BaseModel)
L = TypeVar("L", bound=LiteralString)
E = TypeVar("E", bound=Enum)
Slice = TypeVar("Slice", contravariant=True)
Made = TypeVar("Made", covariant=True)

Work: TypeAlias = Node1[I2, O2] | Flow[I2, O2, Any]


class SliceOf(Protocol[Slice, Made]):
    """A model class of which the state is a subclass.

    Two methods that pydantic models have carry the proof to the type checker.
    """

    def model_construct(self, _fields_set: set[str] | None = None, **values: Any) -> Made:
        """Return the slice that the class makes; a method of pydantic's."""
        ...

    def model_post_init(self, slice: Slice, context: Any, /) -> None:
        """Take the slice, and so also a state that inherits from it; a method of pydantic's."""
        ...


class Graph(PatternMethods[S], EventMethods[S], Generic[S, I, O]):
    """A graph being built: nodes in any order, then `build()`, which proves that they fit.

    `state` is a pydantic model composed of slices by inheritance; `input` and `output` are slices
    of it, and default to the whole. `remember` are slices that a later run takes over from an
    earlier one, with `run(…, after=run_id)`: each of their fields has a default. With `compensate`,
    a run that fails undoes what it committed, as far as its nodes have an `undo`, and is cancelled;
    inside another graph, the flow is undone if it fails.
    """

    @overload
    def __init__(
        self: Graph[M, M, M],
        name: str,
        state: type[M],
        *,
        remember: Sequence[SliceOf[M, Any]] = (),
        compensate: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self,
        name: str,
        state: type[S],
        *,
        input: SliceOf[S, I],
        output: SliceOf[S, O],
        remember: Sequence[SliceOf[S, Any]] = (),
        compensate: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self: Graph[M, M, O2],
        name: str,
        state: type[M],
        *,
        output: SliceOf[M, O2],
        remember: Sequence[SliceOf[M, Any]] = (),
        compensate: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self: Graph[M, I2, M],
        name: str,
        state: type[M],
        *,
        input: SliceOf[M, I2],
        remember: Sequence[SliceOf[M, Any]] = (),
        compensate: bool = False,
    ) -> None: ...
    @shows_right_call('Graph("essay", State, input=Topic, output=Draft)')
    def __init__(
        self,
        name: str,
        state: Any,
        *,
        input: Any = None,
        output: Any = None,
        remember: Sequence[Any] = (),
        compensate: bool = False,
    ) -> None:
        if not isinstance(remember, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _build_refusal(
                name,
                "NOT_A_MODEL",
                f"remember of graph '{name}'",
                remember,
                "list of slices",
                "give a list: remember=[History]",
            )
        for role, given in (
            ("state", state),
            ("input", input or state),
            ("output", output or state),
            *(("remember", item) for item in remember),
        ):
            _check_model(name, f"{role} of graph '{name}'", given)
        super().__init__(name, state, input, output)
        self.spec.remember.extend(remember)
        self.spec.compensate = self._require_bool(compensate, f"graph '{name}'")

    @overload
    def route(self, source: Fits[S], by: Of[S, L]) -> Route[S, L, Never, Never, Self]: ...
    @overload
    def route(self, source: Fits[S], by: Of[S, E]) -> Route[S, E, Never, Never, Self]: ...
    @overload
    def route(
        self, source: Fits[S], by: Of[S, AbstractSet[L]]
    ) -> Route[S, L, Never, Never, Self]: ...
    @overload
    def route(
        self, source: Fits[S], by: Of[S, AbstractSet[E]]
    ) -> Route[S, E, Never, Never, Self]: ...
    @shows_right_call('graph.route(judge, by).when("good", publish).otherwise(write)')
    def route(self, source: Any, by: Any) -> Any:
        """Leave `source` by the label that `by` returns.

        `by` is a pure function of slices that returns a `Literal` or an enum, or a set of them.
        End the route with `.otherwise(node)` or `.exhaustive()`.
        """
        return self._route(source, by)

    @shows_right_call("graph.map('each', work, over=list_items, gather=collect, max_items=50)")
    def map(
        self,
        name: str,
        work: Node1[I2, O2] | Flow[I2, O2, Any] | Itself[I2, O2],
        *,
        over: Of[S, Sequence[I2]],
        gather: Callable[[list[O2]], W] | Callable[[list[O2], list[Missing]], W],
        max_items: int,
        concurrency: int | None = None,
        need: int | Literal["all"] = "all",
        on_item_error: OnItemError = "fail",
        until: Callable[[list[O2]], bool] | None = None,
        grow: Callable[[O2], Sequence[I2]] | None = None,
        cancel_on: Signal[S, Any] | None = None,
        deadline: float | None = None,
        compensate: bool = False,
        rest: Rest = "cancel",
        short: Short = "fail",
        unique: bool = False,
    ) -> Node1[S, W]:
        """Add a node that runs `work` once per item of the list that `over` returns.

        It writes the slice that `gather` makes of the results, which are in the order of the
        items. More than `max_items` is a failure; an empty list completes at once. A failing item
        fails the whole (`fail`), or is left out (`skip`, and `collect`, where `gather` has to take
        the `Missing` items too).

        At most `concurrency` items are under way at once. Without it, they are as many as the place
        of the run offers: 8 in a process without workers; under workers, as many as these have
        slots together when the map begins, or 8 if an agent is inside, since its calls of a model
        stay with the run. Results never depend on it.

        `need=k` takes the first k results. `until` is called after each item that succeeds, with
        the results so far: once it returns True, `gather` gets these results. Then the rest is
        cancelled, or with `rest="finish"` the items that have begun run to their end, which the run
        waits for. With fewer than k results the map fails with `QuorumNotMet`, or with
        `short="fire"` gathers what there is.

        `grow` returns the items that a result adds, with no round to wait for: item 2 grows the
        items 2.0, 2.1 and so on, whose results stand behind its own. `max_items` bounds all items
        together. `until` and `grow` are pure functions. With `compensate`, the work of an item that
        is left out or cancelled is undone, and that of all items if the map fails for good.

        With `unique`, an item equal to an earlier one is not added: items are then named by a
        digest of what is in them, and their results come breadth first.

        `cancel_on` is a signal of this graph that ends the map with the results so far, and cancels
        the rest. A map that is not done within `deadline` seconds of its beginning fails as a
        `TimeoutError`, the time of people and pauses of the run included.
        """
        if not isinstance(work, Node | Flow | Itself):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _build_refusal(
                self.name,
                "NOT_A_NODE",
                f"map '{name}'",
                work,
                "node or a flow",
                "decorate the worker with @node or @agent, or give a built flow",
            )
        check_plain(gather, f"gather of map '{name}'")
        for role, function in (("until", until), ("grow", grow)):
            if function is not None:
                check_plain(function, f"{role} of map '{name}'")
        _check_name(self.name, "map", name)
        item, result, worker, plan = _describe_worker(work)
        self._check_itself(work, f"map '{name}'")
        spec = MapSpec(
            item=item,
            result=result,
            worker=worker,
            flow=plan,
            over=self.make_function(over, f"map '{name}'"),
            gather=gather,
            wants_missing=gather_takes_missing(gather),
            max_items=max_items,
            concurrency=concurrency,
            need=None if need == "all" else need,
            on_item_error=on_item_error,
            until=until,
            grow=grow,
            compensate=self._require_bool(compensate, f"map '{name}'"),
            rest=rest,
            short=short,
            max_depth=work.max_depth if isinstance(work, Itself) else 0,
            unique=unique,
            cancel_on=self.read_cancel_signal(cancel_on, f"map '{name}'"),
        )
        self.spec.maps[name] = spec
        return self._add_inner(Node1[S, W], name, "map", gather, deadline)

    @shows_right_call("graph.sub('team', flow, enter=make_input, leave=take_output)")
    def sub(
        self,
        name: str,
        flow: Flow[I2, O2, S2] | Itself[I2, O2],
        *,
        enter: Of[S, I2],
        leave: Callable[[O2], W],
        cancel_on: Signal[S, Any] | None = None,
        keep: Of[S2, W] | None = None,
        deadline: float | None = None,
        compensate: bool = False,
    ) -> Node1[S, W]:
        """Add a node that runs a flow as a sub-flow, or with `itself(…)` this very graph.

        `enter` makes its input of this graph's state, `leave` makes a slice of its output: the two
        share no fields by coincidence of name. Everything inside has a path `name/…`. With
        `compensate`, what was committed inside is undone if the flow fails for good, or is
        cancelled by a join; then the failure goes on.

        `cancel_on` is a signal of this graph that ends the sub-flow and cancels what is inside.
        `keep` makes the slice then: of slices of the inner flow's state, as far as it was committed
        until then. Without `keep`, the node fails as `Withdrawn`. A sub-flow that is not done
        within `deadline` seconds of its beginning fails as a `TimeoutError`, the time of people and
        pauses of the run included.
        """
        if not isinstance(flow, Flow | Itself):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise _build_refusal(
                self.name,
                "NOT_A_FLOW",
                f"sub '{name}'",
                flow,
                "flow",
                "give what build() of the inner graph returns",
            )
        check_plain(leave, f"leave of sub '{name}'")
        _check_name(self.name, "sub", name)
        where = f"sub '{name}'"
        self._check_itself(flow, where)
        self.spec.subs[name] = SubSpec(
            flow.floor if isinstance(flow, Itself) else flow.plan,
            self.make_function(enter, where),
            leave,
            self._require_bool(compensate, where),
            max_depth=flow.max_depth if isinstance(flow, Itself) else 0,
            cancel_on=self.read_cancel_signal(cancel_on, where),
            keep=None if keep is None else self.make_function(keep, f"keep of {where}"),
        )
        return self._add_inner(Node1[S, W], name, "sub", leave, deadline)

    @shows_right_call("graph.itself(max_depth=5)")
    def itself(self, *, max_depth: int) -> Itself[I, O]:
        """Return this graph, to be run by one of its own nodes: a recursion with a bound.

        Give it to `sub`, where the flow solves a smaller problem of the same kind, or to `map`,
        where it solves each part:

            deeper = graph.sub("deeper", graph.itself(max_depth=5), enter=shrink, leave=take)
            parts = graph.map("parts", graph.itself(max_depth=4), over=split, gather=merge,
                              max_items=10)

        `max_depth` is how often the flow may be inside itself. Where it would be so once more, the
        node fails with `RecursionLimit`, which `on_error(deeper, guess, when=RecursionLimit)` leads
        on; a map without items needs no deeper level. Paths name each level: `deeper/deeper/write`.
        """
        from graphorch.graph.compiler import compile_floor

        return Itself[I, O](self.spec, max_depth, compile_floor(self.spec))

    @shows_right_call("graph.ask('approve', question=write_question, answer=Verdict)")
    def ask(
        self, name: str, *, question: Of[S, str], answer: type[W], expires: float | None = None
    ) -> Ask[S, W]:
        """Add a node that a person completes: it asks `question`, and writes the answer.

        The run continues elsewhere meanwhile, and returns when only questions are left. A question
        that is not answered within `expires` seconds fails as `Expired`; handle that with
        `on_error(…, when=Expired)`.
        """
        _check_model(self.name, f"answer of ask '{name}'", answer)
        _check_name(self.name, "ask", name)
        if expires is not None and not is_patience(expires):
            self.add_problem(
                "ASK_EXPIRES",
                f"ask '{name}'",
                f"expires={expires!r} is not a duration",
                "give seconds greater than 0, at most a thousand years, or leave it out",
            )
        self.spec.asks[name] = AskSpec(
            self.make_function(question, f"ask '{name}'"), answer, expires
        )
        node = Ask[S, W](
            _no_function, Signature((), (answer,), False, None, False, False), name=name, kind="ask"
        )
        self._register(node)
        return node

    @shows_right_call("graph.migration(from_='…32 digits…', change=function)")
    def migration(self, *, from_: str, change: Migration) -> Self:
        """Read runs that were stored before this graph was changed.

        `from_` is the fingerprint that the graph had then, as the refusal to resume shows it.
        `change` is called with a copy of each stored record as a dictionary, `kind` included, and
        returns it as this graph would have written it (a node's `path`, the field names in
        `update`, `input` and `items`, and in `restore`, which says how their values are read), or
        None to leave it out. What is stored is not touched, and activations keep their ids.
        """
        where = f"migration from '{from_}'"
        check_plain(change, where)
        if not isinstance(from_, str) or not re.fullmatch(r"[0-9a-f]{32}", from_):  # pyright: ignore[reportUnnecessaryIsInstance]
            self.add_problem(
                "MIGRATION_FROM",
                where,
                "it is not a fingerprint",
                "give the 32 hexadecimal digits that `graphorch runs show` prints",
            )
        elif from_ in self.spec.migrations:
            self.add_problem(
                "MIGRATION_FROM",
                where,
                "it is declared twice",
                "declare one function for each fingerprint",
            )
        else:
            self.spec.migrations[from_] = change
        return self

    def build(self) -> Flow[I, O, S]:
        """Build the runnable flow, and log what is suspicious about it as warnings.

        Raises one `GraphError` with everything that is wrong.
        """
        from graphorch.graph.build import build_plan

        flow: Flow[I, O, S] = Flow(build_plan(self.spec))
        for warning in flow.warnings:
            _LOG.warning("warning: graph '%s': %s", self.name, warning)
        return flow

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Never:
            refuse_name(self, name, GRAPH_NAMES)

    def _require_bool(self, given: object, where: str) -> bool:
        """Return a value of `compensate`; what is neither True nor False becomes a problem."""
        if isinstance(given, bool):
            return given
        what = f"compensate={given!r:.80} is neither True nor False"
        self.add_problem("COMPENSATE", where, what, "give compensate=True, or leave it out")
        return False

    def _check_itself(self, work: object, where: str) -> None:
        if isinstance(work, Itself) and work.graph is not self.spec:
            self.add_problem(
                "RECURSION_GRAPH",
                where,
                f"itself() is of another graph, '{work.graph.name}'",
                "call itself() of the graph that gets the node, or build the other graph and give "
                "its flow",
            )

    def _add_inner(
        self,
        kind: type[Node1[S, W]],
        name: str,
        word: NodeKind,
        maker: Callable[..., Any],
        deadline: float | None,
    ) -> Node1[S, W]:
        """Add the node of a map or sub-flow, which writes the slice that `maker` returns.

        The return type of a lambda is not known: it may write any slice of the state, or none.
        """
        try:
            hint = read_return_type(maker)
        except GraphError:
            hint = None
        written: type[BaseModel] | None = None
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            written = hint
        writes = (written or self.spec.state,)
        signature = Signature((), writes, False, None, written is None, False)
        options = NodeSettings() if deadline is None else options_from(name, {"deadline": deadline})
        node = kind(_no_function, signature, name=name, kind=word, options=options)
        self._register(node)
        return node


def _check_model(graph: str, where: str, given: object) -> None:
    """Raise `GraphError` at once unless given a model: no other check could look at it."""
    if not (inspect.isclass(given) and issubclass(given, BaseModel)):
        raise _build_refusal(
            graph,
            "NOT_A_MODEL",
            where,
            given,
            "pydantic model",
            "give a class that derives from BaseModel",
        )


def _check_name(graph: str, method: str, name: object) -> None:
    """Raise `GraphError` at once for a name that is no text: nothing could be kept under it."""
    if not isinstance(name, str):
        raise _build_refusal(
            graph, "NODE_NAME", f"{method}()", name, "name", "give a text first, such as 'team'"
        )


def _build_refusal(
    graph: str, code: str, where: str, given: object, wanted: str, fix: str
) -> GraphError:
    got = f"'{given.__name__}'" if isinstance(given, type) else f"a {type(given).__name__}"
    return GraphError(graph, [Problem(code, where, f"{got} is not a {wanted}", fix)])


def _no_function() -> None:
    """Stand in for the function of a map, a sub-flow or a question."""


def _describe_worker(work: Any) -> tuple[type[BaseModel], type[BaseModel], Node[Any] | None, Any]:
    """Return item type, result type, and the node or the plan that works on one item."""
    if isinstance(work, Flow | Itself):
        plan: Plan = work.floor if isinstance(work, Itself) else work.plan  # pyright: ignore[reportUnknownVariableType,reportUnknownMemberType]
        return plan.input, plan.output, None, plan
    node: Node[Any] = work
    reads, writes = node.signature.reads, node.signature.writes
    item = reads[0].model if reads else None
    result = writes[0] if writes else BaseModel
    return item or BaseModel, result, node, None
