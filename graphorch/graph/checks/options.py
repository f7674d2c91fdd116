"""The options of a node fit its effect class, its kind, and each other; so do pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from graphorch.errors import Problem
from graphorch.graph.checks.annotations import format_hint, is_clash, read_return
from graphorch.graph.checks.checked_graph import CheckedGraph
from graphorch.graph.node import Node
from graphorch.graph.options import Effect, NodeSettings

FORBIDDEN: dict[Effect, dict[str, str]] = {
    "pure": {},
    "idempotent": {
        "cache": "a result from the cache would leave the effect out",
        "hedge_after": "two attempts at once could both take effect",
    },
    "once": {
        "retry": "a second attempt would repeat the effect",
        "cache": "a result from the cache would leave the effect out",
        "hedge_after": "two attempts at once would repeat the effect",
    },
}
NESTING = {"map": "map", "sub": "sub-flow"}
INSIDE: dict[str, str] = {
    "cache": "what runs inside has its own options",
    "hedge_after": "it would run everything inside twice",
}


def check(graph: CheckedGraph) -> Iterator[Problem]:
    """`OPTION_EFFECT`, `_NESTED`, `_TIMES`, `_CACHE`, `_DECLASSIFY`, `_PROCESS` and `_WORKER`.

    Those of map workers, too.
    """
    for node in graph.nodes:
        yield from _check_node(node, node.name, NESTING.get(node.kind, ""))
    for name, spec in graph.spec.maps.items():
        if spec.worker is not None:
            yield from _check_node(spec.worker, f"{name}/{spec.worker.name}", "")


def check_returns(graph: CheckedGraph) -> Iterator[Problem]:
    """`PURE_RETURN`: conditions of loops, gates, and what patterns ask for verdicts and scores."""
    for expected in graph.spec.returns:
        hint = read_return(expected.function.fn)
        if is_clash(hint, *expected.wanted):
            what = f"'{expected.function.name}' is annotated to return {format_hint(hint)}"
            yield Problem("PURE_RETURN", expected.where, what, expected.fix)


def _check_node(node: Node[Any], path: str, nesting: str) -> Iterator[Problem]:
    where, options = f"node '{path}'", node.options
    for option, why in FORBIDDEN[options.effect].items():
        if getattr(options, option) is not None:
            fix = f"leave {option} out, or declare another effect if that is what the node has"
            yield Problem(
                "OPTION_EFFECT", where, f'effect="{options.effect}" forbids {option}: {why}', fix
            )
    for option, why in INSIDE.items() if nesting else ():
        if getattr(options, option) is not None:
            yield Problem(
                "OPTION_NESTED",
                where,
                f"a {nesting} cannot have {option}: {why}",
                f"give {option} to a node inside",
            )
    yield from _check_tools(node, where)
    if options.declassify is not None and node.kind == "agent":
        what = "a model cannot be a check: the text that it reads may talk it into any answer"
        fix = "declare declassify on a @node whose code checks the agent's answer"
        yield Problem("OPTION_DECLASSIFY", where, what, fix)
    yield from _check_times(node, where)
    if options.expires is not None and options.gate is None:
        what = f"expires={options.expires:g} means nothing: without a gate no person is asked"
        yield Problem("OPTION_TIMES", where, what, 'add gate="before" or "after", or leave it out')
    if options.cache is not None and node.signature.resources is not None:
        name = node.signature.resources.__name__
        yield Problem(
            "OPTION_CACHE",
            where,
            f"it has a cache and reads resources ({name}), which other runs bring others of",
            "leave cache out, or put what decides into the state",
        )
    if options.isolation == "process":
        yield from check_process(node, where)
    if options.goes_out and node.kind == "agent":
        what = f"an agent cannot have {name_place(options)}: its run asks the model, not a worker"
        fix = "give the option to its tools, which may run on other workers"
        yield Problem("OPTION_WORKER", where, what, fix)


def name_place(options: NodeSettings) -> str:
    """Return the option that makes a node run on other workers, as it is written."""
    return 'isolation="worker"' if options.pool is None else f'pool="{options.pool}"'


def _check_tools(node: Node[Any], where: str) -> Iterator[Problem]:
    """What may be done twice, or left out, with an agent may be so with the tools that it has."""
    tools = getattr(node.fn, "tools", ()) if node.kind == "agent" else ()
    acts = any(getattr(tool, "effect", "once") != "pure" for tool in tools)
    forbidden = {
        "cache": "a result from the cache would leave out what its tools do" if acts else "",
        "hedge_after": "two copies of it would call its tools" if tools else "",
    }
    for option, why in forbidden.items():
        if why and getattr(node.options, option) is not None:
            what = f"an agent with such tools cannot have {option}: {why}"
            yield Problem("OPTION_NESTED", where, what, f"leave {option} out")


def check_process(node: Node[Any], where: str) -> Iterator[Problem]:
    """`OPTION_PROCESS`: another process can import a node, and call it with what it reads alone."""
    if node.signature.is_async or node.signature.has_context:
        what = "an async function" if node.signature.is_async else "a Context"
        yield Problem(
            "OPTION_PROCESS",
            where,
            f'isolation="process" cannot carry {what} into another process',
            "use a plain function of slices",
        )
        return
    # The qualified name of a lambda or of a local function contains "<lambda>" or "<locals>".
    name = getattr(node.fn, "__qualname__", "<no name>")
    if "<" in name:
        what = (
            'isolation="process" needs a function that another process can import, and '
            f"{name} is not one"
        )
        fix = "define it with `def` at the top level of a module"
        yield Problem("OPTION_PROCESS", where, what, fix)


def _check_times(node: Node[Any], where: str) -> Iterator[Problem]:
    options = node.options
    # A hedge starts within an attempt, which the timeout ends before the deadline does.
    whole_attempt = "timeout" if options.timeout is not None else "deadline"
    for option, whole in (("timeout", "deadline"), ("hedge_after", whole_attempt)):
        short, long = getattr(options, option), getattr(options, whole)
        if short is not None and long is not None and short >= long:
            what = f"{option}={short:g} is not less than {whole}={long:g}, so it would never matter"
            yield Problem(
                "OPTION_TIMES", where, what, f"give a {option} below {long:g}, or a longer {whole}"
            )
