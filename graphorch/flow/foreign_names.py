"""Names that other frameworks have for what a graph, a flow or a result does under another name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Never

from graphorch.errors import NoSuchName

_BUILD_FIRST = "A graph is built before it runs: graph.build().run_sync(…)"
_RUN = "Write flow.run_sync(…), or await flow.run(…)"

GRAPH_NAMES: Mapping[str, str] = {
    "add_node": "A node is part of a graph once it is connected: graph.chain(first, second)",
    "add_edge": "Write graph.chain(first, second)",
    "add_sequence": "Write graph.chain(first, second)",
    "add_conditional_edges": "Write graph.route(node, selector).when(label, target).exhaustive()",
    "add_subgraph": "Write graph.sub(name, flow, enter=…, leave=…)",
    "set_entry_point": "Nodes without an edge into them come first; graph.chain(START, first)",
    "set_finish_point": "Nodes without an edge out of them come last; graph.chain(last, END)",
    "compile": "Write graph.build()",
    **dict.fromkeys(
        (
            *("run", "run_sync", "stream", "debug", "resume", "answer", "replay", "estimate"),
            *("invoke", "ainvoke", "kickoff", "svg", "to_dot", "to_mermaid"),
        ),
        _BUILD_FIRST,
    ),
    "svg": "A graph is built before it is drawn: graph.build().svg()",
    "to_dot": "A graph is built before it is drawn: graph.build().to_dot()",
    "to_mermaid": "A graph is built before it is drawn: graph.build().to_mermaid()",
    "estimate": "A graph is built before it is estimated: graph.build().estimate()",
}
FLOW_NAMES: Mapping[str, str] = {
    **dict.fromkeys(("invoke", "ainvoke", "kickoff", "arun", "execute", "start"), _RUN),
    **dict.fromkeys(("astream", "run_stream"), "Write async for event in flow.stream(…)"),
    **dict.fromkeys(
        (
            *("build", "compile", "chain", "route", "loop"),
            *("map", "sub", "ask", "signal", "timer", "first"),
        ),
        "A flow is built and stays as it is: change the graph, and build() that again",
    ),
    "draw": "Write flow.svg()",
    "get_graph": "Write flow.svg(), flow.to_mermaid() or flow.to_networkx()",
}


def refuse_name(owner: object, name: str, known: Mapping[str, str]) -> Never:
    """Raise `AttributeError` for a name that an object lacks; for a `known` one with what to write.

    A call of this is the end of a `__getattr__`, which type checkers may not see: they would let
    every name pass.
    """
    kind = type(owner).__name__
    if name in known:
        raise NoSuchName(f"A {kind.lower()} has no '{name}'. {known[name]}.")
    raise AttributeError(f"'{kind}' object has no attribute '{name}'", name=name, obj=owner)
