"""How patterns draw: nodes of their own with a memory beside the state, and what they add to an author's node.

A pattern is a function over a builder. All that it adds are nodes, edges, routes and loops that anybody could have drawn, but for two
things: its nodes keep what they must remember in slices beside the state, which no one else reads; and a step that it follows up is left
by the pattern's last node, whatever the author draws from the step before or after.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from pydantic import BaseModel, Field, create_model
from pydantic.fields import FieldInfo

from graphorch.agents.agent import AgentCall
from graphorch.graph.builder import GraphBuilder
from graphorch.graph.edges import Label
from graphorch.graph.node import Node
from graphorch.graph.options import NodeBudget, NodeSettings
from graphorch.graph.signature import Read, Signature, StateFunction
from graphorch.graph.spec import ErrorSpec, LoopSpec, RouteSpec
from graphorch.models.messages import Message, to_messages
from graphorch.state.slices import find_reducer

_QUIET = NodeSettings(isolation="inline", asks_models=False)


@dataclass(slots=True)
class InputSlices:
    """The slices that one of a pattern's nodes reads, and which of them each function of the author gets."""

    reads: list[Read] = field(default_factory=list[Read])

    def add(self, *models: type[BaseModel], optional: bool = False) -> slice:
        """Read these slices; returns where they are among the arguments."""
        self.reads.extend(Read(model, optional) for model in models)
        return slice(len(self.reads) - len(models), len(self.reads))

    def of(
        self, pure: StateFunction, optional: Sequence[type[BaseModel]] = ()
    ) -> Callable[[Sequence[Any]], Any]:
        """Read what a pure function reads; returns the call of it with the node's arguments."""
        begin = len(self.reads)
        self.reads.extend(replace(read, optional=read.model in optional) for read in pure.reads)
        end = len(self.reads)
        return lambda given: pure.fn(*given[begin:end])


@dataclass(frozen=True, slots=True)
class HiddenSlice:
    """A slice beside the state, with one field."""

    model: type[BaseModel]
    name: str

    def of(self, slice: BaseModel) -> Any:
        """The value in a slice that was read."""
        return getattr(slice, self.name)

    def keep(self, value: object) -> BaseModel:
        """The slice to write."""
        return self.model(**{self.name: value})


class PatternBuilder:
    """The builder as a pattern sees it."""

    def __init__(self, builder: GraphBuilder[Any]) -> None:
        self.builder = builder
        self.blueprint = builder.spec

    # ---- steps of the author -------------------------------------------------------------------------
    def named(self, steps: object, where: str) -> tuple[str, ...]:
        """The names of one node or of several, which become part of the graph."""
        return self.builder.add_nodes(steps, where)

    def one(self, step: object, where: str) -> str:
        """The name of the one node that fits here, or "" if that was wrong."""
        return self.builder.add_node(step, where)

    def node(self, name: str) -> Node[Any]:
        """The node of that name."""
        return self.blueprint.nodes[name]

    def exit_of(self, name: str) -> str:
        """Where a step is left."""
        return self.builder.find_exit(name)

    def leave_by(self, name: str, last: str) -> None:
        """Have a step be left by one of the pattern's nodes."""
        self.builder.set_exit(name, last)

    def pure(self, fn: Callable[..., Any], where: str) -> StateFunction:
        """A pure function of the author."""
        return self.builder.make_function(fn, where)

    def problem(self, code: str, where: str, what: str, fix: str) -> None:
        """What is wrong with the pattern itself; `build()` reports it."""
        self.builder.add_problem(code, where, what, fix)

    def warn(self, code: str, where: str, what: str, fix: str) -> None:
        """What is suspicious about it."""
        self.builder.add_problem(code, where, what, fix, "warning")

    def change(self, name: str, **options: Any) -> None:
        """Give a node options that it does not have yet."""
        node = self.node(name)
        missing = {
            key: value
            for key, value in options.items()
            if value is not None and getattr(node.options, key) is None
        }
        if missing:
            self._put(_copied(node, options=replace(node.options, **missing)))

    def pay_from(self, name: str, wallet: NodeBudget) -> None:
        """Have a node's calls be paid from a wallet."""
        self._put(_copied(self.node(name), options=replace(self.node(name).options, budget=wallet)))

    def tell(self, name: str, models: Sequence[type[BaseModel]], say: Callable[..., str]) -> bool:
        """Tell an agent more: `say` makes a last message of these slices (None where one is unassigned), or "" for none.

        False if the node is no agent, so that it cannot be told.
        """
        node = self.node(name)
        if node.kind != "agent":
            return False
        call = cast("AgentCall[Any]", node.fn)
        own = len(node.signature.reads)

        def prompt(*slices: BaseModel | None) -> Sequence[Message]:
            said, more = call.build_prompt(*slices[:own]), say(*slices[own:])
            return (*to_messages(said), Message(content=more)) if more else to_messages(said)

        reads = (
            *node.signature.reads,
            *(Read(model, optional=_has_required(model)) for model in models),
        )
        told = _copied(node, signature=replace(node.signature, reads=reads))
        told.fn = replace(call, prompt=prompt)
        self._put(told)
        return True

    def _put(self, node: Node[Any]) -> None:
        self.builder.replace_node(node)

    # ---- nodes and edges of the pattern --------------------------------------------------------------
    def memory(self, owner: str, kind: object, default: Callable[[], object]) -> HiddenSlice:
        """A slice with one field of this type, beside the state; `default` makes what it is at first."""
        taken = self.blueprint.fields
        base = re.sub(r"\W", "_", owner).strip("_") or "pattern"
        name = next(
            text
            for text in (base, *(f"{base}_{number}" for number in range(2, len(taken) + 3)))
            if text not in taken
        )
        model: type[BaseModel] = make_model(
            f"MemoryOf_{name}", {name: (kind, Field(default_factory=default))}
        )
        self.blueprint.memory.append(model)
        return HiddenSlice(model, name)

    def hidden(
        self,
        name: str,
        fn: Callable[..., Any],
        reads: Sequence[Read],
        writes: Sequence[type[BaseModel]],
    ) -> str:
        """A node of the pattern's own; `fn` takes the context and then the slices."""
        signature = Signature(tuple(reads), tuple(writes), True, None, not writes, False)
        return self.named(Node[Any](fn, signature, name=name, options=_QUIET), "pattern")[0]

    def edge(self, source: str, *targets: str) -> None:
        """Plain edges."""
        self.blueprint.edges.extend((source, target) for target in targets)

    def loop(self, source: str, header: str, condition: StateFunction, rounds: int) -> None:
        """A way back; its rounds are counted anew whenever the header is entered in another way."""
        self.blueprint.loops.append(
            LoopSpec((source,), header, condition, rounds, "continue", False, nested=True)
        )

    def route(
        self, source: str, by: StateFunction, cases: Sequence[tuple[Label, tuple[str, ...]]]
    ) -> None:
        """A route with a target for each of its labels."""
        self.blueprint.routes.append(
            RouteSpec(
                source, by, tuple(label for label, _ in cases), False, list(cases), None, True
            )
        )

    def on_error(self, source: str, handler: str, when: type[Exception]) -> None:
        """An error edge."""
        self.blueprint.errors.append(ErrorSpec(source, handler, (when,)))

    def has(self, model: type[BaseModel]) -> bool:
        """Whether the author's state inherits from a slice."""
        return issubclass(self.blueprint.state, model)

    def slices_of(self, *names: str) -> list[type[BaseModel]]:
        """The slices that some nodes write, each once."""
        return list(
            dict.fromkeys(model for name in names for model in self.node(name).signature.writes)
        )


def _copied(
    node: Node[Any], *, options: NodeSettings | None = None, signature: Signature | None = None
) -> Node[Any]:
    twin = node.named(node.name)
    twin.options = options or node.options
    twin.signature = signature or node.signature
    return twin


def _has_required(model: type[BaseModel]) -> bool:
    return any(info.is_required() for info in model.model_fields.values())


def make_model(
    name: str, fields: Mapping[str, tuple[Any, Any]], base: type[BaseModel] = BaseModel
) -> Any:
    """A model made of types that are known only now: each field with its type and default."""
    make: Callable[..., Any] = create_model
    return make(name, __base__=base, **fields)


def is_plain(info: FieldInfo) -> bool:
    """Whether a field holds what was written last, and not what a reducer made of all writes."""
    return find_reducer(info) is None


def with_fields(model: type[BaseModel], value: BaseModel | None, taken: set[str]) -> BaseModel:
    """What restores a slice: its plain fields as they were, without those that another one restores; nothing of one that was not there."""
    names = [
        name for name, info in model.model_fields.items() if is_plain(info) and name not in taken
    ]
    found = (
        {}
        if value is None
        else {name: value.__dict__[name] for name in names if name in value.__dict__}
    )
    taken |= found.keys()
    return model.model_construct(set(found), **found)


def format_slice(value: BaseModel) -> str:
    """A slice as a model should read it: the text itself if there is but one field, else JSON."""
    if len(type(value).model_fields) == 1 and isinstance(
        only := next(iter(value.__dict__.values())), str
    ):
        return only
    return value.model_dump_json(indent=2)
