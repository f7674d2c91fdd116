"""Stand-ins for tools in tests: they return what a script says, and keep the tools' guards.

    with ScriptedTool("send_mail", "sent", Unreachable()) as mail:
        result = with_tools(flow, mail).run_sync(Topic(topic="tides"), client=model)
    assert mail.calls == [{"to": "Ada"}, {"to": "Bo"}]

A stand-in has the name, schema, effect, approval, limits and retries of the tool whose place it
takes, so everything around the call is as in production; only the function is another one.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar, cast

from pydantic import BaseModel

from graphorch.agents.agent import AgentCall
from graphorch.agents.tool import Tool, build_tools
from graphorch.agents.tool_results import write_result
from graphorch.agents.tool_sources import HeldServer, ServerTools, ToolServer, split_sources
from graphorch.errors import InputError, did_you_mean
from graphorch.flow.flow import Flow
from graphorch.graph.context import Context
from graphorch.graph.node import Node
from graphorch.graph.payloads import ToolOutcome
from graphorch.testing.faults import with_nodes
from graphorch.testing.models import ScriptMismatch
from graphorch.testing.recorded_run import RecordedRun
from graphorch.text import join_limited, plural, truncate

if TYPE_CHECKING:
    from graphorch.agents.mcp.listing import ToolListing
    from graphorch.agents.tool import ToolOptions
    from graphorch.models.config.schema import Config

Source: TypeAlias = Tool | ServerTools

In = TypeVar("In", bound=BaseModel)
Out = TypeVar("Out", bound=BaseModel)
State = TypeVar("State", bound=BaseModel)

_LONGEST_SHOWN = 200  # characters of arguments in a message
_MOST_SHOWN = 3  # recorded calls in a message


class ScriptedTool:
    """A stand-in for the tool of this name; `calls` holds the arguments of each call that ran.

    Each call gets the next of the `results`: a value that the tool might return, an exception to
    raise, or a function that is called with the tool's arguments by name. The last one is given
    again and again if it `repeats`. Where calls run at the same time the order is chance: give a
    function that goes by the arguments.

    A call beyond the script raises `ScriptMismatch`, and so does the end of the `with` block (or
    `check`) if a result was not used, or if the flow survived such a call. Raises `InputError` for
    a script without results, or with a class instead of an instance.
    """

    def __init__(self, name: str, /, *results: Any, repeats: bool = False) -> None:
        self.name = name
        self.calls: list[dict[str, Any]] = []
        self._results = list(results)
        self._repeats = repeats
        self._refused: list[str] = []
        if not results:
            raise InputError(
                f"ScriptedTool({name!r}) has no results. Give one for each call, or one for all "
                "with repeats=True; None is a result, too."
            )
        classes = [result for result in results if isinstance(result, type)]
        if classes:
            raise InputError(
                f"ScriptedTool({name!r}) holds the class {classes[0].__name__}, and not an "
                "instance of it."
            )

    def check(self) -> None:
        """Raise `ScriptMismatch` unless the calls were those of the script."""
        if self._refused:
            raise ScriptMismatch(self._refused[0])
        left = 0 if self._repeats else len(self._results)
        if left:
            raise ScriptMismatch(
                f"Tool '{self.name}' was called {plural(len(self.calls), 'time')}, and its script "
                f"still holds {plural(left, 'result')}."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.check()

    def stand_in(self, tool: Tool) -> Tool:
        """Return the tool with the script instead of its function."""
        node = copy.copy(tool.node)
        node.fn = _ScriptedCall(self, tool)
        node.signature = replace(node.signature, has_context=False, resources=None, is_async=True)
        # What a script has given already is known in this process only.
        node.options = replace(node.options, isolation="inline", pool=None)
        return replace(tool, node=node, sub=None, _plans={})

    async def play(self, written: Mapping[str, Any], arguments: dict[str, Any]) -> object:
        """Return the next result, or raise it, for `arguments` that are `written` as JSON."""
        self.calls.append(arguments)
        result = self._next(written, arguments)
        if inspect.isroutine(result):
            result = cast("Callable[..., object]", result)(**arguments)
        if inspect.isawaitable(result):
            result = await result
        if isinstance(result, BaseException):
            raise result
        return result

    def _next(self, written: Mapping[str, Any], arguments: Mapping[str, Any]) -> object:
        """Return the next result. Raises `ScriptMismatch` if there is none."""
        if not self._results:
            number = len(self.calls)
            raise self._refuse(
                f"Call {number} of tool '{self.name}' is not in its script, which holds "
                f"{plural(number - 1, 'result')}: {_show(written)}."
            )
        is_last = self._repeats and len(self._results) == 1
        return self._results[0] if is_last else self._results.pop(0)

    def _refuse(self, reason: str) -> ScriptMismatch:
        self._refused.append(reason)
        return ScriptMismatch(reason)


class _RecordedTool(ScriptedTool):
    """A stand-in that returns what a tool of a recorded run returned for equal arguments.

    The n-th call with equal arguments gets the n-th result.
    """

    def __init__(self, run: RecordedRun, name: str) -> None:
        self._run = run.run_id
        self._left = [call for call in run.tool_calls if call.tool == name]
        self._recorded = tuple(self._left)
        self._redaction = run.redaction
        super().__init__(name, *self._left)

    def check(self) -> None:
        """Raise `ScriptMismatch` unless the calls were those of the recorded run."""
        if self._refused:
            raise ScriptMismatch(self._refused[0])
        if self._left:
            times, more = plural(len(self.calls), "time"), plural(len(self._left), "more call")
            raise ScriptMismatch(
                f"Tool '{self.name}' was called {times}, and the recorded run '{self._run}' holds "
                f"{more}, the first with {_show(self._left[0].arguments)}."
            )

    def _next(self, written: Mapping[str, Any], arguments: Mapping[str, Any]) -> object:
        asked = dict(written) if self._redaction is None else self._redaction.data(dict(written))
        equal = [call for call in self._left if call.arguments == asked]
        if not equal:
            raise self._refuse(self._explain(asked))
        taken = equal[0]
        self._left = [call for call in self._left if call is not taken]
        if taken.failure is not None:
            return taken.failure.build()
        return ToolOutcome(outcome="failed" if taken.is_error else "ok", text=taken.text)

    def _explain(self, asked: Mapping[str, Any]) -> str:
        where = f"Call {len(self.calls)} of tool '{self.name}', with {_show(asked)},"
        equal = sum(call.arguments == asked for call in self._recorded)
        if equal:
            times = "once" if equal == 1 else f"{equal} times"
            return f"{where} was made {times} in the recorded run '{self._run}', and not again."
        known = [_show(call.arguments) for call in (self._left or self._recorded)]
        listed = join_limited(dict.fromkeys(known), _MOST_SHOWN)
        return f"{where} is not in the recorded run '{self._run}', which holds {listed}."


def recorded_tools(run: RecordedRun) -> tuple[ScriptedTool, ...]:
    """Return a stand-in for each tool that ran in a recorded run, for `with_tools`.

    Each call gets what the tool returned, or raised, for equal arguments. A run of a format before
    5 does not tell what its tools returned. A tool that is a flow runs itself, on recorded answers.
    """
    names = dict.fromkeys(call.tool for call in run.tool_calls)
    return tuple(_RecordedTool(run, name) for name in names)


def _show(arguments: Mapping[str, Any]) -> str:
    return truncate(json.dumps(arguments, ensure_ascii=False), _LONGEST_SHOWN)


class _ScriptedCall:
    """What the node of a stand-in runs; `arguments` reads those of the tool."""

    def __init__(self, script: ScriptedTool, tool: Tool) -> None:
        self._script = script
        self.fn = tool.fn
        self.name = tool.name
        self.arguments = tool.arguments

    async def __call__(self, given: Any) -> ToolOutcome:
        values = self.arguments.bind(given.arguments)
        result = await self._script.play(given.arguments, values)
        if isinstance(result, ToolOutcome):
            return result
        return ToolOutcome(text=write_result(result))


def with_tools(flow: Flow[In, Out, State], *tools: ScriptedTool) -> Flow[In, Out, State]:
    """Return the flow with stand-ins for tools, also in sub-flows, maps, and `ctx.complete`.

    Every agent that has a tool of such a name gets the stand-in instead; a server of tools is asked
    for its list all the same. Raises `InputError` for a name that no agent of the flow has, unless
    only a run can tell: a node may give tools to `ctx.complete`, or there is a server.
    """
    swap = _Swap(tools)
    changed = with_nodes(flow, swap.change)
    swap.check(flow.name)
    return changed


class _Swap:
    """Replaces tools by stand-ins, and remembers which tools there were."""

    def __init__(self, scripts: tuple[ScriptedTool, ...]) -> None:
        self._scripts = {script.name: script for script in scripts}
        self._known: set[str] = set()
        # Whether there may be tools that only a run knows: of a node's own, or of a server.
        self._is_open = False
        if len(self._scripts) < len(scripts):
            names = [script.name for script in scripts]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"Two stand-ins are for the tool '{twice}'. Put both into one script.")

    def change(self, node: Node[Any]) -> Node[Any]:
        """Return a node with stand-ins for its tools."""
        call = cast("object", node.fn)
        if isinstance(call, AgentCall):
            return self._change_agent(node, cast("AgentCall[Any]", call))
        if not node.signature.has_context:
            return node
        # A function that may give tools to `ctx.complete`, or one around an agent.
        tools: tuple[Source, ...] = getattr(node.fn, "tools", ())
        self._is_open = self._is_open or not tools
        twin = copy.copy(node)
        twin.fn = _SwappingCall(node.fn, self, self.swap(tools))
        return twin

    def _change_agent(self, node: Node[Any], call: AgentCall[Any]) -> Node[Any]:
        tools = self.swap(call.tools)
        if tools == call.tools:
            return node
        twin = copy.copy(node)
        twin.fn = replace(call, tools=tools)
        known = (tool for tool in tools if isinstance(tool, Tool))
        kinds = [tool.node.signature.resources for tool in known]
        resources = next((kind for kind in kinds if kind is not None), None)
        twin.signature = replace(node.signature, resources=resources)
        return twin

    def swap(self, sources: Sequence[Source]) -> tuple[Source, ...]:
        """Return tools, and tools of servers, with stand-ins for those that a script names."""
        return tuple(
            self._swap_server(source) if isinstance(source, ServerTools) else self.swap_tool(source)
            for source in sources
        )

    def swap_tool(self, tool: Tool) -> Tool:
        """Return a tool, or the stand-in for it."""
        self._known.add(tool.name)
        script = self._scripts.get(tool.name)
        if script is not None:
            return script.stand_in(tool)
        if tool.sub is None:
            return tool
        # A flow as a tool: stand-ins for the tools of its agents.
        inner = with_nodes(Flow[Any, Any, Any](tool.sub.flow), self.change)
        return replace(tool, sub=replace(tool.sub, flow=inner.plan), _plans={})

    def _swap_server(self, source: ServerTools) -> ServerTools:
        self._is_open = True
        return replace(source, server=_SwappingServer(source.server, self))

    def check(self, flow: str) -> None:
        """Raise `InputError` for a script of a tool that the flow cannot have."""
        unknown = [name for name in self._scripts if name not in self._known]
        if unknown and not self._is_open:
            raise InputError(
                f"No agent of flow '{flow}' has a tool '{unknown[0]}'. "
                f"{did_you_mean(unknown[0], self._known)}"
            )


class _SwappingServer:
    """A server of tools, of which a run gets stand-ins. Everything else is the server's own."""

    def __init__(self, server: ToolServer, swap: _Swap) -> None:
        self._server = server
        self._swap = swap

    @property
    def name(self) -> str:
        return self._server.name

    @property
    def untrusted(self) -> bool:
        return self._server.untrusted

    def hold(self, config: Config | None = None) -> _SwappingHold:
        return _SwappingHold(self._server.hold(config), self._swap)


class _SwappingHold:
    """A server of tools while a run uses it, of which the run gets stand-ins."""

    def __init__(self, held: HeldServer, swap: _Swap) -> None:
        self._held = held
        self._swap = swap

    async def let_go(self) -> None:
        await self._held.let_go()

    async def take_listing(self) -> ToolListing:
        return await self._held.take_listing()

    def build_tools(
        self, listing: ToolListing, chosen: Mapping[str, ToolOptions], *, all_tools: bool
    ) -> tuple[Tool, ...]:
        built = self._held.build_tools(listing, chosen, all_tools=all_tools)
        return tuple(self._swap.swap_tool(tool) for tool in built)


class _SwappingCall:
    """A node's function, whose context gives stand-ins to models instead of tools.

    `tools` are those of an agent inside, as a journal that is read finds them. Other attributes are
    those of the original.
    """

    def __init__(self, fn: Callable[..., Any], swap: _Swap, tools: tuple[Source, ...]) -> None:
        self._fn = fn
        self._swap = swap
        self.tools = tools

    def __call__(self, ctx: Context[Any], *slices: Any) -> Any:
        return self._fn(_SwappingContext(ctx, self._swap), *slices)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fn, name)


class _SwappingContext:
    """A context whose `complete` swaps tools; everything else is the node's own."""

    def __init__(self, ctx: Context[Any], swap: _Swap) -> None:
        self._ctx = ctx
        self._swap = swap

    async def complete(self, prompt: Any, *, tools: Any = (), **options: Any) -> Any:
        functions, servers = split_sources(tools)
        swapped = self._swap.swap((*build_tools(functions), *servers))
        return await cast("Any", self._ctx).complete(prompt, tools=swapped, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)
