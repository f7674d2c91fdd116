# type: ignore
"""A fan-out over a list in LangGraph, as short as it goes."""

from __future__ import annotations

import operator
from typing import Annotated, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Send


class Library(TypedDict):
    docs: list[str]
    out: Annotated[list[str], operator.add]
class Doc(TypedDict): doc: str
def spread(s: Library): return [Send("shout", {"doc": doc}) for doc in s["docs"]]
def shout(s: Doc): return {"out": [s["doc"].upper()]}
def count(s: Library): return {"out": [f"n={len(s['out'])}"]}
g = StateGraph(Library).add_node(shout).add_node(count)
g.add_conditional_edges(START, spread, ["shout"])
g.add_edge("shout", "count")
print(g.compile().invoke({"docs": ["a", "b"], "out": []})["out"])
