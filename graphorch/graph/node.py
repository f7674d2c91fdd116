"""Nodes: plain functions whose reads and writes are known to the type checker and to `build()`.

A node is typed by the union of what it needs from a state: `Node[Reads[Topic] | Writes[Draft]]`
fits every graph whose state has both slices. `Node` is covariant in that union and `Reads`/`Writes`
are contravariant, so the type checker proves the fit at each `chain`.
"""

from __future__ import annotations

import copy
import dataclasses
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    Never,
    Protocol,
    Self,
    TypeAlias,
    Unpack,
    cast,
    overload,
)

from pydantic import BaseModel
from typing_extensions import TypeVar

from graphorch.callables import NotCalled, get_name
from graphorch.errors import GraphError, Problem, WrongCall
from graphorch.graph.context import Context
from graphorch.graph.options import NodeOptions, NodeSettings, options_from
from graphorch.graph.signature import Signature, read_signature
from graphorch.text import LONGEST_NAME, format_duration, is_name, plural

# `Verdict | None` is a slice that may be read before it is assigned
A = TypeVar("A", bound=BaseModel | None)
B = TypeVar("B", bound=BaseModel | None)
C = TypeVar("C", bound=BaseModel | None)
D = TypeVar("D", bound=BaseModel | None)
W = TypeVar("W", bound=BaseModel)
X = TypeVar("X", bound=BaseModel)
R = TypeVar("R")
Slice = TypeVar("Slice", contravariant=True)
Needs = TypeVar("Needs", covariant=True)
NodeKind = Literal[
    "node",
    "agent",
    "map",
    "sub",
    "ask",
    "signal",
    "timer",
    "first",
    "tool",
    "undo",
    "start",
    "end",
]


class Reads(Generic[Slice]):
    """In a node's type: it reads this slice."""

    def _reads(self, slice: Slice, /) -> None: ...


class Writes(Generic[Slice]):
    """In a node's type: it writes this slice."""

    def _writes(self, slice: Slice, /) -> None: ...


class Prompting(Protocol):
    """Function of an agent: a dataclass with a prompt function and the name of a model."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def prompt(self) -> Callable[..., Any]:
        """Function of the slices that writes the prompt."""
        ...

    @property
    def model(self) -> str:
        """Name of the model."""
        ...

    async def __call__(self, ctx: Context[Any], /, *slices: BaseModel) -> BaseModel:
        """Ask the model."""
        ...


class Node(NotCalled, Generic[Needs]):
    """Named step of a graph, never changed, only copied.

    Made by `@node`, `@agent`, `Graph.map`, `Graph.sub` and `Graph.ask`. `fn` is what runs: the
    plain function, callable in a unit test, or a `Prompting` for an agent.
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        signature: Signature,
        *,
        name: str,
        kind: NodeKind = "node",
        options: NodeSettings | None = None,
    ) -> None:
        self.fn = fn
        self.signature = signature
        self.name: str = _check_name(name)
        self.kind: NodeKind = kind
        self.options: NodeSettings = options or NodeSettings()

    @property
    def is_simple(self) -> bool:
        """Return whether running it is calling its async function, and nothing else."""
        options = self.options
        care = (
            options.timeout,
            options.deadline,
            options.cache,
            options.hedge_after,
            options.gate,
            options.concurrency,
        )
        return (
            self.signature.is_async
            and self.kind not in ("tool", "undo")  # they may have to ask a person, or to wait
            and options.effect != "once"
            and all(gate is None for gate in care)
        )

    def _needs(self) -> Needs:
        raise NotImplementedError  # exists for the type checker alone

    @property
    def undo(self) -> Node[Any] | None:
        """Node that takes back what this one did, if it has one."""
        return self.options.undo

    def named(self, name: str) -> Self:
        """Return a copy under another name, which is another node of the graph."""
        twin = copy.copy(self)
        twin.name = _check_name(name)
        return twin

    @property
    def model(self) -> str:
        """Name of the model that an agent asks; "" for any other node."""
        return cast(Prompting, self.fn).model if self.kind == "agent" else ""

    @property
    def prompt(self) -> Callable[..., Any]:
        """Prompt function of an agent, callable in a unit test.

        Raises `AttributeError` for a node that is not an agent.
        """
        if self.kind != "agent":
            raise AttributeError(
                f"Node '{self.name}' is not an agent, so it has no prompt. Its function is `fn`."
            )
        return cast(Prompting, self.fn).prompt

    def with_model(self, model: str) -> Self:
        """Return a copy of an agent with another model.

        Raises `GraphError` for a node that is not an agent.
        """
        if self.kind != "agent":
            fix = "name the model in ctx.complete(model=…), or make it an @agent"
            raise _option_error(
                self.name, f"with_model({model!r}) on a node that is not an agent", fix
            )
        twin = copy.copy(self)
        twin.fn = dataclasses.replace(cast(Prompting, self.fn), model=model)
        return twin

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}>"

    if not TYPE_CHECKING:

        def __call__(self, *_: object, **__: object) -> Never:
            how = "To try it alone, put it into a graph of one node."
            if self.kind == "node":
                how = f"In a unit test call its function: {self.name}.fn(…)."
            elif self.kind == "agent":
                how = f"In a unit test call its prompt function: {self.name}.prompt(…)."
            elif self.kind in ("start", "end"):
                how = f"Connect it: graph.chain(first, {self.name})."
            raise WrongCall(f"Node '{self.name}' is not called: a flow runs it. {how}")


class Node1(Node[Reads[A] | Writes[W]], Generic[A, W]):
    """Node of one slice in, one out."""


class Node2(Node[Reads[A] | Reads[B] | Writes[W]], Generic[A, B, W]):
    """Node of two slices in, one out."""


class Node3(Node[Reads[A] | Reads[B] | Reads[C] | Writes[W]], Generic[A, B, C, W]):
    """Node of three slices in, one out."""


class Node4(Node[Reads[A] | Reads[B] | Reads[C] | Reads[D] | Writes[W]], Generic[A, B, C, D, W]):
    """Node of four slices in, one out."""


class Ask(Node1[A, W]):
    """Node that a person completes, made by `Graph.ask`.

    `flow.answer` takes it, or the id of one of its questions.
    """


class Signal(Node1[A, W]):
    """Node that waits for a signal from outside, made by `Graph.signal`.

    `flow.send` takes it, or its name.
    """


class Timer(Node[Reads[A]], Generic[A]):
    """Node that waits for a time, made by `Graph.timer`."""


def _check_name(name: str) -> str:
    if not is_name(name) or "/" in name:
        raise _option_error(
            name,
            f"name={name!r:.80} is not a name for a node",
            f"use one line of 1 to {LONGEST_NAME} visible characters, without '/'",
        )
    return name


def _option_error(name: str, what: str, fix: str) -> GraphError:
    where = f"node '{name}'"
    return GraphError(name, [Problem("NODE_OPTION", where, what, fix)], where)


def _marker(name: str, kind: NodeKind) -> Node[Never]:
    def nothing() -> None: ...

    return Node(nothing, Signature((), (), False, None, True, False), name=name, kind=kind)


START = _marker("START", "start")
"""Beginning of a run: `g.chain(START, first)`.

Nodes without an edge into them begin there anyway.
"""
END = _marker("END", "end")
"""End of a run: `g.chain(last, END)`, or a route's target.

Nodes without an edge out of them lead there anyway.
"""

# ---- the decorator ---------------------------------------------------------------------------
One: TypeAlias = R | Awaitable[R | None] | None
Nothing: TypeAlias = Awaitable[None] | None
F1: TypeAlias = Callable[[A], R] | Callable[[Context[Any], A], R]
F2: TypeAlias = Callable[[A, B], R] | Callable[[Context[Any], A, B], R]
F3: TypeAlias = Callable[[A, B, C], R] | Callable[[Context[Any], A, B, C], R]
F4: TypeAlias = Callable[[A, B, C, D], R] | Callable[[Context[Any], A, B, C, D], R]
Pair: TypeAlias = tuple[W, X] | Awaitable[tuple[W, X]]


class NodeDecorator:
    """Result of `node(...)`, and the type of `node` itself, so that the overloads exist once."""

    def __init__(self, options: NodeOptions) -> None:
        self._options = options

    @overload
    def __call__(
        self, fn: F4[A, B, C, D, Nothing], /
    ) -> Node[Reads[A] | Reads[B] | Reads[C] | Reads[D]]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(
        self, fn: F4[A, B, C, D, Pair[W, X]], /
    ) -> Node[Reads[A] | Reads[B] | Reads[C] | Reads[D] | Writes[W] | Writes[X]]: ...
    @overload
    def __call__(self, fn: F4[A, B, C, D, One[W]], /) -> Node4[A, B, C, D, W]: ...
    @overload
    def __call__(self, fn: F3[A, B, C, Nothing], /) -> Node[Reads[A] | Reads[B] | Reads[C]]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(
        self, fn: F3[A, B, C, Pair[W, X]], /
    ) -> Node[Reads[A] | Reads[B] | Reads[C] | Writes[W] | Writes[X]]: ...
    @overload
    def __call__(self, fn: F3[A, B, C, One[W]], /) -> Node3[A, B, C, W]: ...
    @overload
    def __call__(self, fn: F2[A, B, Nothing], /) -> Node[Reads[A] | Reads[B]]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(
        self, fn: F2[A, B, Pair[W, X]], /
    ) -> Node[Reads[A] | Reads[B] | Writes[W] | Writes[X]]: ...
    @overload
    def __call__(self, fn: F2[A, B, One[W]], /) -> Node2[A, B, W]: ...
    @overload
    def __call__(self, fn: F1[A, Nothing], /) -> Node[Reads[A]]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, fn: F1[A, Pair[W, X]], /) -> Node[Reads[A] | Writes[W] | Writes[X]]: ...
    @overload
    def __call__(self, fn: F1[A, One[W]], /) -> Node1[A, W]: ...
    @overload
    def __call__(self, /, **options: Unpack[NodeOptions]) -> NodeDecorator: ...
    def __call__(self, fn: Any = None, /, **options: Any) -> Any:
        """Make a node of a function.

        Raises `GraphError` if its signature or an option is wrong.
        """
        if fn is None:
            return NodeDecorator(cast(NodeOptions, {**self._options, **options}))
        return _make_node(fn, self._options, sys._getframe(1).f_locals)  # pyright: ignore[reportPrivateUsage]  (slices defined beside the function)


def _typed_as(kind: type[R]) -> Callable[[Callable[..., Any]], R]:
    """Return a decorator that shows a function to type checkers as an object with its overloads."""
    return lambda fn: cast(R, fn)


@_typed_as(NodeDecorator)
def node(fn: Any = None, /, **options: Unpack[NodeOptions]) -> Any:
    """Make a node of a function, plain or async.

    Its parameters are the slices of state that it reads (one to four, perhaps after a `Context`),
    its return type the slice that it writes, a tuple of two, or None for none:

        @node
        def count(text: Text) -> Figures:
            return Figures(figures=re.findall(r"\\d+", text.text))

        @node(retry=Retry(3), timeout=10)
        async def fetch(ctx: Context[Clients], topic: Topic) -> Page: ...

    Options: `name`, if not that of the function; `effect` ("pure", "idempotent" or "once"), which
    says what running it twice would do; `retry`, `cache`; `timeout`, `deadline` and `hedge_after`
    in seconds; `gate` ("before" or "after"), which asks a person, and `expires`, the seconds after
    which an answer is too late; `isolation` ("thread", "process" or "inline"), where a plain
    function runs, or "worker" for other workers of the run, if it has any; `pool`, the workers that
    have what the node needs, such as "gpu"; `concurrency`, how many of its activations may run at
    once; `declassify`, the name of the check that it makes of marked values (`Untrusted` and
    `Secret`); `undo`, a function of slices, or a node of it, that takes back what the node did when
    its run is cancelled for good, or a region with `compensate=True` fails. It reads the state as
    it was right after this node's commit, and returns None.

    `count.fn` is the function, for a unit test.

    Raises `GraphError` if the signature or an option is wrong.
    """
    if fn is None:
        return NodeDecorator(options)
    return _make_node(fn, options, sys._getframe(1).f_locals)  # pyright: ignore[reportPrivateUsage]  (slices defined beside the function)


def _make_node(fn: Callable[..., Any], options: NodeOptions, local: Mapping[str, Any]) -> Node[Any]:
    signature = read_signature(fn, local)
    name = options.get("name") or get_name(fn)
    node_class = choose_node_class(signature)
    settings = bind_undo(name, options_from(name, options), local)
    return node_class(fn, signature, name=name, options=settings)


def bind_undo(name: str, settings: NodeSettings, local: Mapping[str, Any]) -> NodeSettings:
    """Return the options of a node with its undo as a node; a plain function acts `once`.

    Raises `GraphError` for what cannot be an undo, or has a wrong signature.
    """
    undo = settings.undo
    if undo is None or isinstance(undo, Node):
        return settings
    if isinstance(undo, NotCalled) or not callable(undo):
        fix = "give a function of slices that takes the effect back, or a node of it"
        raise _option_error(name, f"undo={undo!r:.80} is neither a function nor a node", fix)
    options = NodeSettings(effect="once")
    made = Node[Any](undo, read_signature(undo, local), name=get_name(undo), options=options)
    return dataclasses.replace(settings, undo=made)


def choose_node_class(signature: Signature) -> type[Node[Any]]:
    """Return the class of a node with this signature: `Node2` for two slices in and one out."""
    classes: dict[int, type[Node[Any]]] = {1: Node1, 2: Node2, 3: Node3, 4: Node4}
    return classes[len(signature.reads)] if len(signature.writes) == 1 else Node


@dataclasses.dataclass(frozen=True, slots=True)
class ToolSummary:
    """A tool of an agent, for people: what a second call would do, who approves it, its bounds."""

    name: str
    effect: str
    approval: str
    bounds: str

    def __str__(self) -> str:
        """Return it on one line."""
        parts = (self.effect, self.approval and f"approved by {self.approval}", self.bounds)
        return f"{self.name} ({', '.join(filter(None, parts))})"


def summarize_tools(node: Node[Any]) -> list[ToolSummary]:
    """Return the tools of an agent in their order; nothing for other nodes."""
    tools = cast("tuple[Any, ...]", getattr(node.fn, "tools", ()))
    return [_summarize_tool(tool) for tool in tools]


def _summarize_tool(tool: Any) -> ToolSummary:
    if not isinstance(getattr(tool, "node", None), Node):
        # What its tools do, or this one, is known once its server was asked.
        server = getattr(tool, "server", None)
        name = str(tool.name)
        return ToolSummary(
            name if server is not None else f"{name}__*", "as its server says", "", ""
        )
    options: NodeSettings = tool.node.options
    approve = tool.approve
    approval = "" if approve is False else "a person"
    if callable(approve):
        approval = f"a person if {get_name(approve)} says so"
    if approval and options.expires is not None:
        approval += f" within {format_duration(options.expires)}"
    bounds = [
        f"at most {plural(tool.max_calls, 'call')}" if tool.max_calls is not None else "",
        f"{options.timeout:g} s" if options.timeout is not None else "",
        plural(options.retry.attempts, "attempt") if options.retry is not None else "",
    ]
    return ToolSummary(tool.name, options.effect, approval, ", ".join(filter(None, bounds)))
