"""The graph builder as a pattern sees it: nodes of the pattern's own, and changes to an author's.

A pattern is a function over a builder. It adds nodes, edges, routes and loops that an author could
have drawn too, with two exceptions: its nodes keep their memory in slices beside the state, which
no other node reads; and a step that it follows up is left by the pattern's last node, regardless of
whether the author draws edges from that step before or after.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo

from graphorch.agents.agent import AgentCall
from graphorch.errors import Problem
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.edges import Label
from graphorch.graph.node import Node
from graphorch.graph.options import NodeBudget, NodeSettings
from graphorch.graph.signature import Read, Signature, StateFunction
from graphorch.graph.spec import ErrorSpec, FallbackSpec, LoopSpec, RouteSpec
from graphorch.models.errors import AnswerError, NoUsableAnswer
from graphorch.models.messages import Message, to_messages
from graphorch.state.reducers import find_reducer
from graphorch.text import blame

_HIDDEN_NODE = NodeSettings(isolation="inline", asks_models=False)


@dataclass(slots=True)
class InputSlices:
    """Slices that a node of a pattern reads, shared out to several functions of the author."""

    reads: list[Read] = field(default_factory=list[Read])

    def add(self, *models: type[BaseModel], optional: bool = False) -> slice:
        """Read these slices; return where they are among the node's arguments."""
        start = len(self.reads)
        self.reads.extend(Read(model, optional) for model in models)
        return slice(start, len(self.reads))

    def bind(
        self, function: StateFunction, place: str, optional: Sequence[type[BaseModel]] = ()
    ) -> Callable[[Sequence[Any]], Any]:
        """Read what a function of the author reads; return its call with the node's arguments.

        What it raises says that it was raised in `place`.
        """
        start = len(self.reads)
        self.reads.extend(replace(read, optional=read.model in optional) for read in function.reads)
        end = len(self.reads)

        def call(slices: Sequence[Any]) -> Any:
            try:
                return function.fn(*slices[start:end])
            except Exception as error:
                blame(error, place)
                raise

        return call


@dataclass(frozen=True, slots=True)
class HiddenSlice:
    """A slice beside the state, with one field."""

    model: type[BaseModel]
    name: str

    def unwrap(self, slice: BaseModel) -> Any:
        """Return the value in a slice that a node read."""
        return getattr(slice, self.name)

    def wrap(self, value: object) -> BaseModel:
        """Return the slice to write for a value."""
        return self.model(**{self.name: value})


class PatternBuilder:
    """The part of a builder that patterns use."""

    def __init__(self, builder: GraphBuilder[Any]) -> None:
        self.builder = builder
        self.spec = builder.spec

    # ---- steps of the author -------------------------------------------------------------------
    def add_steps(self, steps: object, where: str) -> tuple[str, ...]:
        """Add one node or several to the graph; return their names."""
        return self.builder.add_steps(steps, where)

    def add_step(self, step: object, where: str) -> str:
        """Add a node to the graph; return its name, or "" if `step` is not a single node."""
        return self.builder.add_step(step, where)

    def node(self, name: str) -> Node[Any]:
        """Return the node of that name."""
        return self.spec.nodes[name]

    def can_ask_models(self, name: str) -> bool:
        """Return whether a node, or one inside of it, is an agent or may ask models."""
        node = self.node(name)
        if node.kind == "sub":
            return self.spec.subs[name].flow.can_ask
        if node.kind == "map":
            work = self.spec.maps[name]
            worker = work.worker is not None and work.worker.signature.has_context
            return worker or (work.flow is not None and work.flow.can_ask)
        is_function = node.kind == "node" and node.signature.has_context
        return node.kind == "agent" or (is_function and node.options.asks_models)

    def find_exit(self, name: str) -> str:
        """Return the name of the node by which a step is left."""
        return self.builder.find_exit(name)

    def set_exit(self, name: str, last: str) -> None:
        """Have a step be left by one of the pattern's nodes."""
        self.builder.set_exit(name, last)

    def read_function(
        self, fn: Callable[..., Any], where: str, wanted: tuple[type, ...] = (), fix: str = ""
    ) -> StateFunction:
        """Return a pure function of the author with the slices that it reads.

        Its return annotation has to fit the types that are `wanted`; `fix` says so.
        """
        return self.builder.make_function(fn, where, wanted, fix)

    def add_problem(self, code: str, where: str, what: str, fix: str) -> None:
        """Note what is wrong with the pattern itself; `build()` reports it."""
        self.builder.add_problem(code, where, what, fix)

    def add_warning(self, code: str, where: str, what: str, fix: str) -> None:
        """Note what is suspicious about the pattern; `build()` reports it."""
        self.builder.add_problem(code, where, what, fix, "warning")

    def set_defaults(self, name: str, **options: Any) -> None:
        """Give a node the options that it does not have yet; None is not an option."""
        node = self.node(name)
        missing = {
            option: value
            for option, value in options.items()
            if value is not None and getattr(node.options, option) is None
        }
        if missing:
            self._replace(_copy_node(node, options=replace(node.options, **missing)))

    def set_budget(self, name: str, budget: NodeBudget) -> None:
        """Have the model calls of a node be paid from a budget."""
        node = self.node(name)
        self._replace(_copy_node(node, options=replace(node.options, budget=budget)))

    def extend_prompt(
        self, name: str, models: Sequence[type[BaseModel]], write: Callable[..., str]
    ) -> bool:
        """Add a last message to the prompt of an agent; return False if the node is not an agent.

        `write` makes the message of these slices (None where one is unassigned), or "" for none.
        """
        node = self.node(name)
        if node.kind != "agent":
            return False
        call = cast("AgentCall[Any]", node.fn)
        own = len(node.signature.reads)

        def prompt(*slices: BaseModel | None) -> Sequence[Message]:
            messages = to_messages(call.build_prompt(*slices[:own]))
            text = write(*slices[own:])
            return (*messages, Message(content=text)) if text else messages

        more = (Read(model, optional=has_required(model)) for model in models)
        reads = (*node.signature.reads, *more)
        extended = _copy_node(node, signature=replace(node.signature, reads=reads))
        extended.fn = replace(call, prompt=prompt)
        self._replace(extended)
        return True

    def _replace(self, node: Node[Any]) -> None:
        self.builder.replace_node(node)

    # ---- nodes and edges of the pattern --------------------------------------------------------
    def add_memory(
        self,
        owner: str,
        kind: object,
        default: Callable[[], object],
        *,
        serves_fallback: bool = False,
    ) -> HiddenSlice:
        """Add a slice with one field of type `kind` beside the state; `default` makes its value."""
        base = re.sub(r"\W", "_", owner).strip("_") or "pattern"
        taken = self.spec.fields
        name = next(name for name in _number_names(base) if name not in taken)
        # Stored runs know the name of this class: it is part of fingerprints of format 1.
        model: type[BaseModel] = make_model(
            f"MemoryOf_{name}", {name: (kind, Field(default_factory=default))}
        )
        self.spec.memory.append(model)
        if serves_fallback:
            self.spec.fallback_memory.add(model)
        return HiddenSlice(model, name)

    def add_node(
        self,
        name: str,
        fn: Callable[..., Any],
        reads: Sequence[Read],
        writes: Sequence[type[BaseModel]],
    ) -> str:
        """Add a node of the pattern's own; `fn` takes the context and then the slices."""
        signature = Signature(tuple(reads), tuple(writes), True, None, not writes, False)
        node = Node[Any](fn, signature, name=name, options=_HIDDEN_NODE)
        return self.add_steps(node, "pattern")[0]

    def add_edges(self, source: str, *targets: str) -> None:
        """Add plain edges."""
        self.spec.edges.extend((source, target) for target in targets)

    def add_loop(
        self,
        source: str,
        header: str,
        condition: Callable[..., Any],
        memory: HiddenSlice,
        most: int,
    ) -> None:
        """Add a way back; its rounds count anew when the header is entered in another way."""
        function = StateFunction(condition, (Read(memory.model),))
        self.spec.loops.append(
            LoopSpec((source,), header, function, most, "continue", False, nested=True)
        )

    def add_route(
        self, source: str, by: StateFunction, cases: Sequence[tuple[Label, tuple[str, ...]]]
    ) -> None:
        """Add a route with targets for each of its labels."""
        labels = tuple(label for label, _ in cases)
        self.spec.routes.append(RouteSpec(source, by, labels, False, list(cases), None, True))

    def add_error_edge(self, source: str, handler: str, when: type[Exception]) -> None:
        """Add an error edge."""
        self.spec.errors.append(ErrorSpec(source, handler, (when,)))

    def add_fallback(
        self,
        source: str,
        handler: str,
        targets: Sequence[str],
        loss: tuple[str, str, str],
        *,
        nodes: Sequence[str] = (),
    ) -> None:
        """Lead from an answer of `source` that cannot be used over `handler` to the targets.

        `nodes` are others that only this way leads to. `loss` is for a graph that does not build
        with this way: the code of the warning, what such an answer does then, and what it would do.
        """
        code, does, would = loss
        what = f"an answer of its model that cannot be used {does}, since the graph does not build "
        what += f"with a way on which {would}"
        problem = Problem(code, f"node '{source}'", what, "", "warning")
        errors = (ErrorSpec(source, handler, (AnswerError, NoUsableAnswer)),)
        edges = tuple((handler, target) for target in targets)
        # Failures inside of a sub-flow or map have a way out since format 4.
        since = 4 if self.node(source).kind in ("sub", "map") else 3
        fallback = FallbackSpec((handler, *nodes), errors, edges, problem, since)
        self.spec.fallbacks.append(fallback)

    def has_slice(self, model: type[BaseModel]) -> bool:
        """Return whether the author's state inherits from a slice."""
        return issubclass(self.spec.state, model)

    def written_slices(self, *names: str) -> list[type[BaseModel]]:
        """Return the slices that some nodes write, without repeats."""
        written = [model for name in names for model in self.node(name).signature.writes]
        return list(dict.fromkeys(written))


def _number_names(base: str) -> Iterator[str]:
    """Yield `base`, `base_2`, `base_3` and so on."""
    yield base
    number = 2
    while True:
        yield f"{base}_{number}"
        number += 1


def _copy_node(
    node: Node[Any], *, options: NodeSettings | None = None, signature: Signature | None = None
) -> Node[Any]:
    twin = node.named(node.name)
    twin.options = options or node.options
    twin.signature = signature or node.signature
    return twin


def has_required(model: type[BaseModel]) -> bool:
    """Return whether a slice has a field without a default."""
    return any(info.is_required() for info in model.model_fields.values())


def make_model(
    name: str, fields: Mapping[str, tuple[Any, Any]], base: type[BaseModel] = BaseModel
) -> Any:
    """Return a model of types that are known only now: each field with its type and default."""
    make: Callable[..., Any] = create_model
    return make(name, __base__=base, **fields)


def is_plain(info: FieldInfo) -> bool:
    """Return whether a field holds the last value written, instead of a reducer's result."""
    return find_reducer(info) is None


def restore_slice(model: type[BaseModel], value: BaseModel | None, taken: set[str]) -> BaseModel:
    """Return the slice to write so that the plain fields of a slice are as they were in `value`.

    Fields in `taken` are left out, since another slice restores them; those restored here are added
    to it. Without a value nothing is restored.
    """
    restored: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if value is not None and is_plain(info) and name not in taken and name in value.__dict__:
            restored[name] = value.__dict__[name]
    taken.update(restored)
    return model.model_construct(set(restored), **restored)


def format_slice(value: BaseModel) -> str:
    """Return a slice as a model reads it: the text itself if it has one text field, else JSON."""
    if len(type(value).model_fields) == 1:
        content = next(iter(value.__dict__.values()))
        if isinstance(content, str):
            return content
    return value.model_dump_json(indent=2)
