"""`@tool`: a typed function that a model may call before it answers.

A call of a tool is an activation inside the agent that makes it: with an effect class, retries, a
timeout, a place to run, and an approval of its own. What the function returns becomes the text that
the model reads.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, TypedDict, Unpack, cast, overload

from graphorch.agents.tool_arguments import (
    ArgumentReader,
    build_tool_error,
    read_parameters,
)
from graphorch.agents.tool_results import collect_items, finish, write_result
from graphorch.callables import (
    discard,
    find_annotated,
    get_doc,
    get_name,
    is_async,
    is_function,
    read_verdict,
)
from graphorch.errors import GraphError, Problem, WrongOutput, did_you_mean
from graphorch.graph.checks.options import FORBIDDEN, check_process
from graphorch.graph.compiler import compile_tool
from graphorch.graph.node import Node
from graphorch.graph.options import (
    Effect,
    Isolation,
    NodeOptions,
    NodeSettings,
    Retry,
    is_count,
    options_from,
)
from graphorch.graph.payloads import ToolArguments, ToolOutcome
from graphorch.graph.plan import Plan, SubSpec
from graphorch.graph.signature import Read, Signature, inspect_callable
from graphorch.models.messages import ToolSpec
from graphorch.state.marks import Marks
from graphorch.text import format_value

Approve = bool | Callable[..., bool]
"""Whether a person approves each call of a tool, or a function of its arguments that says so."""

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_OWN_OPTIONS: Final = frozenset(
    {"approve", "tells", "max_calls", "concurrent", "untrusted", "undo"}
)


class ToolOptions(TypedDict, total=False):
    """Keyword arguments of `@tool(...)`."""

    name: str
    effect: Effect
    approve: Approve
    expires: float
    tells: type[Exception] | tuple[type[Exception], ...]
    max_calls: int
    concurrent: bool
    untrusted: bool
    retry: Retry
    timeout: float
    isolation: Isolation
    pool: str
    undo: Callable[..., object]


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """Validated options of a tool, beside those of its node.

    `max_calls` bounds its calls in one loop of an agent. A tool with effect `once` has its turn
    alone, in the order in which the model asks, unless it is `concurrent`. What an `untrusted` one
    returns comes from outside.
    """

    approve: Approve = False
    max_calls: int | None = None
    concurrent: bool = False
    untrusted: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Tool:
    """A function with its description for models; callable like the function itself.

    `node` runs one call: from `ToolArguments` to a `ToolOutcome`. A tool that is a flow has `sub`.
    """

    fn: Callable[..., Any]
    spec: ToolSpec
    arguments: ArgumentReader
    node: Node[Any]
    settings: ToolSettings = field(default_factory=ToolSettings)
    sub: SubSpec | None = None
    _plans: dict[int, Plan] = field(default_factory=dict[int, Plan], repr=False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self.fn(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<tool {self.name}>"

    @property
    def name(self) -> str:
        """Name by which a model calls it."""
        return self.spec.name

    @property
    def effect(self) -> Effect:
        """What calling it twice would do."""
        return self.node.options.effect

    @property
    def approve(self) -> Approve:
        """Whether a person approves each call, or the function that says so."""
        return self.settings.approve

    @property
    def tells(self) -> tuple[type[Exception], ...]:
        """Exceptions whose messages the model reads."""
        return self.node.options.tells

    @property
    def max_calls(self) -> int | None:
        """Most calls in one loop of an agent; None without a bound."""
        return self.settings.max_calls

    @property
    def untrusted(self) -> bool:
        """Whether what it returns comes from outside."""
        return self.settings.untrusted

    @property
    def declares_untrusted(self) -> bool:
        """Whether what it returns comes from outside, by what its author says."""
        return self.settings.untrusted

    def list_untrusted(self) -> tuple[str, ...]:
        """Return its name if what it returns comes from outside."""
        return (self.name,) if self.untrusted else ()

    def list_acting(self) -> tuple[str, ...]:
        """Return its name if it acts and no person approves each call.

        A function that decides about approval does not count: it reads arguments that a model
        wrote.
        """
        return (self.name,) if self.effect != "pure" and self.approve is not True else ()

    @property
    def is_barrier(self) -> bool:
        """Whether it is called alone, in the order in which the model asks."""
        return self.effect == "once" and not self.settings.concurrent

    def read_arguments(self, written: str) -> dict[str, Any]:
        """Return what the tool is called with, as plain JSON, of what a model wrote.

        Raises `WrongArguments` with a text for the model.
        """
        return self.arguments.read(self.name, written)

    def needs_approval(self, arguments: Mapping[str, Any]) -> bool:
        """Return whether a person has to approve a call with these arguments.

        Raises `WrongOutput`, and what the function raises that decides it.
        """
        approve = self.settings.approve
        if isinstance(approve, bool):
            return approve
        values = self.arguments.bind(arguments)
        names = inspect_callable(approve).parameters
        verdict = approve(**{name: values[name] for name in names})
        decided = read_verdict(verdict)
        if decided is None:
            discard(verdict)
            raise WrongOutput(
                f"It returned {format_value(verdict)}, which is neither True nor False. "
                "Return whether a person has to approve the call."
            )
        return decided

    def compile(self, index: int) -> Plan:
        """Return the plan of one call, which is number `index` of its round."""
        plan = self._plans.get(index)
        if plan is None:
            plan = self._plans[index] = compile_tool(self.node, f"{self.name}#{index}", self.sub)
        return plan


class ToolDecorator(Protocol):
    """Result of `tool(...)`: makes a tool of a function."""

    def __call__(self, fn: Callable[..., Any], /) -> Tool:
        """Return the tool of a function. Raises `GraphError`."""
        ...


@overload
def tool(fn: Callable[..., Any], /) -> Tool: ...
@overload
def tool(**options: Unpack[ToolOptions]) -> ToolDecorator: ...
def tool(fn: Any = None, /, **options: Unpack[ToolOptions]) -> Any:
    """Make a tool of a typed function, plain or async.

    The model reads its name, its docstring and its parameters; a first parameter annotated as a
    `Context` is not the model's, and gives the key of the call, its time and the resources of the
    run. The function returns anything that JSON can express, or a pydantic model.

        @tool(effect="once", approve=lambda amount: amount > 100, tells=NotFound)
        async def refund(ctx: Context[Shop], order: str, amount: float) -> Receipt: ...

    Options: `effect` says what calling it twice would do ("once", unless you say that it is "pure"
    or "idempotent"); `approve`, whether a person approves each call, or a function of its arguments
    that says so, and `expires`, the seconds after which an unanswered call is refused; `tells`,
    exceptions that the model reads, while any other fails the agent; `max_calls` in one loop;
    `concurrent`, whether a tool with effect "once" may run beside others; `untrusted`, whether what
    it returns comes from outside, as a return type with a mark says too (`-> Untrusted[str]`);
    `undo`, a function that takes back what a call did, by the arguments of the tool that it names,
    and `result`, the text that the model read; `retry`, `timeout` in seconds, `isolation` and
    `pool` as for nodes; `name`, if not that of the function.

    Raises `GraphError` with code `TOOL` if the function or an option is wrong.
    """
    if fn is None:

        def decorate(fn: Callable[..., Any], /) -> Tool:
            return _build_tool(fn, sys._getframe(1).f_locals, options)  # pyright: ignore[reportPrivateUsage]

        return decorate
    return _build_tool(fn, sys._getframe(1).f_locals, options)  # pyright: ignore[reportPrivateUsage]


def build_tools(
    functions: Sequence[Callable[..., Any]], local: Mapping[str, Any] | None = None
) -> tuple[Tool, ...]:
    """Return the tools of some functions; a `Tool` among them stays as it is.

    `local` holds names for annotations beside the globals of the functions. Raises `GraphError`
    with code `TOOL`, all problems at once.
    """
    tools: list[Tool] = []
    problems: list[Problem] = []
    for fn in functions:
        try:
            tools.append(fn if isinstance(fn, Tool) else _build_tool(fn, local or {}, {}))
        except GraphError as error:
            problems += error.problems
    counts = Counter(tool.name for tool in tools)
    for name, count in counts.items():
        if count > 1:
            what, fix = f"{count} tools have this name", "rename one: a model calls them by it"
            problems.append(Problem("TOOL", f"tool '{name}'", what, fix))
    if problems:
        raise GraphError(problems[0].where, problems, problems[0].where)
    return tuple(tools)


def make_tool(
    call: Callable[..., Any],
    spec: ToolSpec,
    arguments: ArgumentReader,
    options: ToolOptions,
    *,
    has_context: bool = False,
    resources: type | None = None,
    fn: Callable[..., Any] | None = None,
) -> Tool:
    """Return a tool that a function does not describe by its parameters.

    `call` gets a `Context` if it `has_context`, then the values of the arguments by name; `fn` is
    what the tool is called as, if that is another function. Raises `GraphError` with code `TOOL`.
    """
    name = spec.name
    settings, node_settings = read_options(name, options, arguments)
    _check_effect(name, node_settings)
    signature = Signature(
        reads=(Read(ToolArguments),),
        writes=(ToolOutcome,),
        has_context=has_context,
        resources=resources,
        may_skip=False,
        is_async=is_async(call),
    )
    runner = (_AsyncCall if signature.is_async else _PlainCall)(call, name, arguments)
    node = Node[Any](runner, signature, name=name, kind="tool", options=node_settings)
    if node_settings.isolation == "process":
        for problem in check_process(node, name):
            fix = "use a plain function of its arguments, at the top level of a module"
            raise build_tool_error(name, problem.what, fix)
    return Tool(fn or call, spec, arguments, node, settings)


def _build_tool(fn: Any, local: Mapping[str, Any], options: ToolOptions) -> Tool:
    """Return the tool of a function. Raises `GraphError`."""
    if not is_function(fn) or isinstance(fn, Tool | type):
        what = f"{fn!r:.80} is not a function"
        fix = "give a function with annotated parameters"
        name = fn if isinstance(fn, str) else get_name(fn)
        if isinstance(fn, type):
            what, fix = f"{name} is a class", "give a function, or an object that can be called"
        if hasattr(fn, "as_tool"):
            fix = f"give it as a tool: tools=[{name}.as_tool()]"
        if isinstance(fn, Node):
            fix = "give its function: .fn of a @node; the model of an agent calls no other agent"
            name = fn.name
        if isinstance(fn, Tool):
            what, fix, name = "it is a tool already", "drop the second decorator", fn.name
        raise build_tool_error(name, what, fix)
    name = options.get("name", _find_tool_name(fn))
    require_name(name)
    check_expires(name, options)
    arguments = read_parameters(fn, name, local)
    spec = ToolSpec(name=name, description=get_doc(fn), parameters=arguments.schema)
    made = make_tool(
        fn,
        spec,
        arguments,
        add_marks(name, arguments.marks, options),
        has_context=arguments.has_context,
        resources=arguments.resources,
    )
    undo = options.get("undo")
    return made if undo is None else _add_undo(made, undo, local)


def _add_undo(tool: Tool, undo: Callable[..., object], local: Mapping[str, Any]) -> Tool:
    """Return a tool with its undo; one that is a tool itself brings its options.

    Raises `GraphError`.
    """
    from graphorch.agents.tool_undo import build_tool_undo

    if tool.effect == "pure":
        what = 'effect="pure" leaves nothing to undo'
        raise build_tool_error(tool.name, what, "leave undo out, or declare its effect")
    settings = NodeSettings(effect="once")
    if isinstance(undo, Tool):
        if undo.approve is not False:
            what = "its undo asks a person, and would keep the others from running"
            raise build_tool_error(tool.name, what, "leave approve out of the undo")
        undo, settings = undo.fn, _strip_undo(undo.node.options)
    made = build_tool_undo(tool.name, undo, settings, tool.arguments.schema, local)
    node = copy(tool.node)
    node.options = replace(node.options, undo=made)
    return replace(tool, node=node, _plans={})


def _strip_undo(options: NodeSettings) -> NodeSettings:
    """Return the options of a tool that an undo has: it runs in the process of the run."""
    return replace(options, isolation="thread", pool=None, tells=())


def require_name(name: object) -> None:
    """Raise `GraphError` for what is not a name that models can call a tool by."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        shown = f"'{name}'" if isinstance(name, str) else repr(name)
        raise build_tool_error(
            str(name),
            f"{shown} is not a name that a model can call",
            "give a function defined with `def`, with letters of ASCII, digits and '_'",
        )


def _find_tool_name(fn: Callable[..., Any]) -> str:
    """Return the name of a function; of an object without one its class in the same spelling."""
    name = get_name(fn)
    return name if hasattr(fn, "__name__") else re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def add_marks(name: str, marks: Marks, options: ToolOptions) -> ToolOptions:
    """Return the options of a tool with what its return type says about its results.

    Raises `GraphError` if the two do not fit, or a model would read a secret.
    """
    if "secret" in marks:
        fix = "leave it out of the result, and drop the mark"
        raise build_tool_error(name, "it returns a secret, which its model would read", fix)
    if "untrusted" not in marks:
        return options
    if options.get("untrusted") is False:
        what = "untrusted=False, but its return type is marked as Untrusted"
        raise build_tool_error(name, what, "drop one of the two")
    return {**options, "untrusted": True}


# ---- options -------------------------------------------------------------------------------------
def check_expires(name: str, options: ToolOptions) -> None:
    """Raise `GraphError` for a time to approve of a tool that asks no person."""
    if "expires" in options and options.get("approve", False) is False:
        what = f"expires={options['expires']!r:.80} means nothing: no person approves its calls"
        raise build_tool_error(name, what, "add approve=True, or leave expires out")


def read_options(
    name: str, options: ToolOptions, arguments: ArgumentReader
) -> tuple[ToolSettings, NodeSettings]:
    """Return the options of a tool, and those of its node. Raises `GraphError` with all faults."""
    require_name(name)
    values = cast("Mapping[str, Any]", options)
    of_node = {option: value for option, value in values.items() if option not in _OWN_OPTIONS}
    problems = list(_check_own_options(name, values))
    node_settings = NodeSettings()
    known = {"effect", "retry", "timeout", "isolation", "pool", "name", "expires"}
    unknown = [option for option in of_node if option not in known]
    for option in unknown:
        what, fix = f"there is no option '{option}'", did_you_mean(option, _list_options())
        problems.append(Problem("TOOL", f"tool '{name}'", what, fix))
        del of_node[option]
    try:
        node_settings = options_from(name, cast("NodeOptions", {"effect": "once", **of_node}))
    except GraphError as error:
        problems += [
            Problem("TOOL", f"tool '{name}'", item.what, item.fix) for item in error.problems
        ]
    if problems:
        raise GraphError(problems[0].where, problems, problems[0].where)
    settings = ToolSettings(
        approve=values.get("approve", False),
        max_calls=values.get("max_calls"),
        concurrent=values.get("concurrent", False),
        untrusted=values.get("untrusted", False),
    )
    if callable(settings.approve):
        _check_approve(name, settings.approve, arguments)
    return settings, replace(node_settings, tells=_list_told(values))


def _list_told(values: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the exceptions that a model reads; a single class need not be in a tuple."""
    tells = values.get("tells", ())
    return cast("tuple[Any, ...]", tells) if isinstance(tells, tuple) else (tells,)


def _list_options() -> list[str]:
    return list(ToolOptions.__annotations__)


def _check_own_options(name: str, values: Mapping[str, Any]) -> list[Problem]:
    approve = values.get("approve", False)
    faults: list[tuple[str, str]] = []
    if not isinstance(approve, bool) and not is_function(approve):
        faults.append(("approve", "give True, or a function of the tool's arguments"))
    if not all(
        isinstance(kind, type) and issubclass(kind, Exception) for kind in _list_told(values)
    ):
        faults.append(("tells", "give exception classes, such as (NotFound,)"))
    if values.get("max_calls") is not None and not is_count(values["max_calls"]):
        faults.append(("max_calls", "give a whole number from 1 on, or leave it out"))
    for option in ("concurrent", "untrusted"):
        if not isinstance(values.get(option, False), bool):
            faults.append((option, "give True or False"))
    return [
        Problem("TOOL", f"tool '{name}'", f"{option}={values[option]!r:.80} is not possible", fix)
        for option, fix in faults
    ]


def _check_effect(name: str, settings: NodeSettings) -> None:
    for option, why in FORBIDDEN[settings.effect].items():
        if getattr(settings, option) is not None:
            raise build_tool_error(
                name,
                f'effect="{settings.effect}" forbids {option}: {why}',
                f"leave {option} out, or declare another effect if that is what the tool has",
            )


def _check_approve(name: str, approve: Callable[..., bool], arguments: ArgumentReader) -> None:
    """Raise `GraphError` for a function that does not take arguments of the tool by their names."""
    known = cast("Mapping[str, object]", arguments.schema.get("properties", {}))
    parameters = inspect_callable(approve).parameters.values()
    unknown = [item.name for item in parameters if item.name not in known]
    by_position = [item.name for item in parameters if item.kind is item.POSITIONAL_ONLY]
    if is_async(approve):
        raise build_tool_error(name, "approve is async", "give a plain function: it only decides")
    if unknown or by_position:
        raise build_tool_error(
            name,
            f"approve reads {', '.join([*unknown, *by_position])}, which is no argument of it",
            f"name arguments of the tool: {', '.join(known) or 'it has none'}",
        )


# ---- one call ------------------------------------------------------------------------------------
class _Call:
    """What a tool's node runs: the function, with the values of arguments, as a `ToolOutcome`."""

    def __init__(self, fn: Callable[..., Any], name: str, arguments: ArgumentReader) -> None:
        self.fn = fn
        self.name = name
        self.arguments = arguments
        # Where another process finds the tool.
        self.__module__ = str(getattr(find_annotated(fn), "__module__", ""))
        self.__qualname__ = str(getattr(fn, "__qualname__", "<no name>"))

    def _bind(self, given: tuple[Any, ...]) -> tuple[list[Any], dict[str, Any]]:
        *context, arguments = given
        return context, self.arguments.bind(arguments.arguments)

    def _write(self, result: object) -> ToolOutcome:
        try:
            return ToolOutcome(text=write_result(result))
        except ValueError as error:
            text = (
                f"Error: '{self.name}' has run, and its result cannot be written as JSON: {error}"
            )
            return ToolOutcome(outcome="failed", text=text)


class _AsyncCall(_Call):
    async def __call__(self, *given: Any) -> ToolOutcome:
        context, values = self._bind(given)
        return self._write(await finish(self.fn(*context, **values)))


class _PlainCall(_Call):
    def __call__(self, *given: Any) -> Any:
        context, values = self._bind(given)
        result = collect_items(self.fn(*context, **values))
        if inspect.isawaitable(result) or inspect.isasyncgen(result):
            return self._finish(result)
        return self._write(result)

    async def _finish(self, result: object) -> ToolOutcome:
        return self._write(await finish(result))
