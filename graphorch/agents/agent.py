"""`@agent`: a typed prompt function becomes a node that asks a model.

The function turns the slices that it reads into a prompt; the answer, validated, is the slice that
the node writes. A function without a body (`...`) leaves the prompt to `build_default_prompt`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, Unpack, overload

from pydantic import BaseModel

from graphorch.agents.default_prompt import build_default_prompt
from graphorch.agents.tool import Tool, build_tools
from graphorch.agents.tool_conversation import most_calls
from graphorch.agents.tool_sources import (
    ServerTools,
    check_tool_names,
    list_known_names,
    split_sources,
)
from graphorch.callables import get_name, is_stub, never_returns_value, never_runs
from graphorch.errors import GraphError, Problem, WrongOutput
from graphorch.graph.context import ROUNDS, Context, ToolSource
from graphorch.graph.node import Node1, Node2, Node3, Node4, bind_undo, choose_node_class
from graphorch.graph.options import NodeOptions, is_count, is_number, options_from
from graphorch.graph.signature import allows_none, prompt_signature
from graphorch.graph.wrong_calls import shows_right_call
from graphorch.models.messages import Prompt

A = TypeVar("A", bound=BaseModel | None)
B = TypeVar("B", bound=BaseModel | None)
C = TypeVar("C", bound=BaseModel | None)
D = TypeVar("D", bound=BaseModel | None)
W = TypeVar("W", bound=BaseModel)


# Options of agents beside those of every node.
_OWN_OPTIONS = (
    "output",
    "model",
    "instructions",
    "tools",
    "rounds",
    "keep_rounds",
    "keep_tokens",
    "max_tokens",
    "temperature",
)


@dataclass(frozen=True, slots=True)
class AgentCall(Generic[W]):
    """The call of a model that an agent makes; `prompt` is the author's function."""

    prompt: Callable[..., Prompt | None]
    output: type[W]
    model: str = "default"
    instructions: str = ""
    tools: tuple[Tool | ServerTools, ...] = ()
    rounds: int = ROUNDS
    keep_rounds: int | None = None
    keep_tokens: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    # Whether the prompt function may return nothing, and its slices are written out.
    may_be_empty: bool = True

    async def __call__(self, ctx: Context[Any], /, *slices: BaseModel | None) -> W:
        """Ask the model of this context's run.

        Raises `ModelError` or `BudgetExceeded` as `Context.complete` does, and `WrongOutput` for a
        prompt without text.
        """
        prompt = self.build_prompt(*slices)
        return await ctx.complete(
            prompt,
            output=self.output,
            model=self.model,
            instructions=self.instructions,
            tools=self.tools,
            rounds=self.rounds,
            keep_rounds=self.keep_rounds,
            keep_tokens=self.keep_tokens,
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )

    @property
    def most_calls(self) -> int:
        """Most calls of one attempt: an answer that does not fit is requested once more.

        Each round of tools is a call too.
        """
        return most_calls(self.rounds, self.output, has_tools=bool(self.tools))

    @property
    def most_tool_calls(self) -> int:
        """Most calls of all of its tools that one activation makes."""
        from graphorch.agents.call_planner import MOST_CALLS

        return self.rounds * MOST_CALLS

    def build_prompt(self, *slices: BaseModel | None) -> Prompt:
        """Return the prompt for these slices. Raises `WrongOutput` if it is empty."""
        prompt = self.prompt(*slices)
        if prompt is None:
            if not self.may_be_empty:
                raise WrongOutput(
                    "Its prompt function returned nothing on this way through its body. Return "
                    "text on every way, or annotate `-> str | None` if the slices are to be "
                    "written out instead."
                )
            return build_default_prompt(self.prompt, slices, self.output)
        if not prompt or (isinstance(prompt, str) and not prompt.strip()):
            raise WrongOutput(
                "Its prompt function returned an empty prompt. Return text, or nothing to have the "
                "slices written out."
            )
        return prompt


class AgentDecorator(Generic[W]):
    """Result of `agent(...)`: makes a node of a prompt function."""

    def __init__(
        self,
        call: Callable[[Callable[..., Prompt | None]], AgentCall[W]],
        output: type[W],
        options: NodeOptions,
    ) -> None:
        self._call = call
        self._output = output
        self._options = options

    @overload
    def __call__(
        self, prompt: Callable[[A, B, C, D], Prompt | None], /
    ) -> Node4[A, B, C, D, W]: ...
    @overload
    def __call__(self, prompt: Callable[[A, B, C], Prompt | None], /) -> Node3[A, B, C, W]: ...
    @overload
    def __call__(self, prompt: Callable[[A, B], Prompt | None], /) -> Node2[A, B, W]: ...
    @overload
    def __call__(self, prompt: Callable[[A], Prompt | None], /) -> Node1[A, W]: ...
    def __call__(self, prompt: Callable[..., Any], /) -> Any:
        """Return the node of a prompt function.

        Raises `GraphError` if its signature or an option is wrong.
        """
        name = self._options.get("name") or get_name(prompt)
        caller = sys._getframe(1).f_locals  # pyright: ignore[reportPrivateUsage]
        signature = prompt_signature(prompt, self._output, caller)
        may_be_empty = is_stub(prompt) or allows_none(prompt, caller)
        call = replace(self._call(prompt), may_be_empty=may_be_empty)
        problems = _check_call(name, call)
        if problems:
            raise GraphError(name, problems, f"node '{name}'")
        tools = (tool for tool in call.tools if isinstance(tool, Tool))
        needed = (tool.node.signature.resources for tool in tools)
        resources = next((kind for kind in needed if kind is not None), None)
        signature = replace(signature, resources=resources)
        node_class = choose_node_class(signature)
        options = bind_undo(name, options_from(name, self._options, _OWN_OPTIONS), caller)
        return node_class(call, signature, name=name, kind="agent", options=options)


@shows_right_call("@agent(output=Draft)")
def agent(
    *,
    output: type[W],
    model: str = "default",
    instructions: str = "",
    tools: Sequence[Callable[..., Any] | ToolSource] = (),
    rounds: int = ROUNDS,
    keep_rounds: int | None = None,
    keep_tokens: int | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    **options: Unpack[NodeOptions],
) -> AgentDecorator[W]:
    """Make an agent: a node that reads the slices of its prompt function and writes `output`.

    A prompt function without a body (`...`) leaves the prompt to its slices, written out; annotated
    `-> None` it also pleases mypy. `output` with exactly one field, a string, takes the text of the
    answer; any other is requested as structured output and validated. `model` is the name of a
    model or of a policy, `instructions` the system message. `tools` are typed functions, and
    servers of tools, that the model may call before it answers, in at most so many `rounds`. Of
    these a prompt holds the last `keep_rounds`, and as many as fit into about `keep_tokens` with
    the rest of it; without either, all.
    `max_tokens` bounds the answer and so its cost; `temperature` is left to the model unless it is
    given. The rest are the options of every node.

        @agent(output=Draft, model="policy/careful", instructions="You write for busy engineers.")
        def write(t: Topic, r: Research) -> str:
            return f"Write about {t.topic}. Use these notes:\\n{r.research}"
    """

    # Annotations of tools may name types that are defined in the calling function, which is the
    # second one from here: the first is `shows_right_call`.
    caller = sys._getframe(2).f_locals  # pyright: ignore[reportPrivateUsage]
    functions, servers = split_sources(tools)
    built_tools = (*build_tools(functions, caller), *servers)
    known = [tool.spec.name for tool in built_tools if not isinstance(tool, ServerTools)]
    check_tool_names([*known, *list_known_names(tools)])

    def call(prompt: Callable[..., Prompt | None]) -> AgentCall[W]:
        return AgentCall(
            prompt,
            output,
            model,
            instructions,
            built_tools,
            rounds,
            keep_rounds,
            keep_tokens,
            max_tokens,
            temperature,
        )

    return AgentDecorator(call, output, options)


def _check_call(name: str, call: AgentCall[Any]) -> list[Problem]:
    """Return all problems of an agent beside its signature and the options of every node."""
    where = f"node '{name}'"
    problems: list[Problem] = []
    if never_runs(call.prompt):
        fix = (
            "make it a plain function; what waits belongs in a @node before it, or in a @node that "
            "calls ctx.complete()"
        )
        problems.append(
            Problem("NODE_SIGNATURE", where, "its prompt function is async or a generator", fix)
        )
    elif never_returns_value(call.prompt):
        what = "its prompt function has a body, and returns nothing"
        fix = "return the prompt, or leave the body to `...` to have the slices written out"
        problems.append(Problem("NODE_SIGNATURE", where, what, fix))
    if not isinstance(call.model, str) or not call.model.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
        what = f"model={call.model!r} names no model"
        fix = 'name one, or leave it out for "default"'
        problems.append(Problem("NODE_OPTION", where, what, fix))
    if not isinstance(call.instructions, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        what = f"instructions={call.instructions!r:.80} is not a text"
        problems.append(Problem("NODE_OPTION", where, what, "give the system message as a str"))
    if not is_count(call.rounds):
        what = f"rounds={call.rounds!r:.80} is not a number of rounds"
        problems.append(Problem("NODE_OPTION", where, what, "give a whole number from 1 on"))
    for option in ("keep_rounds", "keep_tokens"):
        kept = getattr(call, option)
        if kept is not None and not is_count(kept):
            what = f"{option}={kept!r:.80} keeps nothing"
            fix = "give a whole number from 1 on, or leave it out"
            problems.append(Problem("NODE_OPTION", where, what, fix))
    if call.max_tokens is not None and not is_count(call.max_tokens):
        what = f"max_tokens={call.max_tokens!r:.80} leaves no room"
        problems.append(Problem("NODE_OPTION", where, what, "give a number of tokens from 1"))
    temperature = call.temperature
    if temperature is not None and not (is_number(temperature) and temperature >= 0):
        what = f"temperature={temperature!r:.80} is not a temperature"
        fix = "give a number from 0, or leave it out"
        problems.append(Problem("NODE_OPTION", where, what, fix))
    return problems
