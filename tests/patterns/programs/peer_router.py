# type: ignore
"""A router in LangGraph, as short as it goes."""

from __future__ import annotations

from typing import Literal, TypedDict

from langgraph.graph import START, StateGraph


class Desk(TypedDict, total=False):
    q: str
    a: str
def sort(s: Desk) -> Literal["math", "prose"]: return "math" if s["q"].isdigit() else "prose"
def math(s: Desk): return {"a": "math"}
def prose(s: Desk): return {"a": "prose"}
g = StateGraph(Desk).add_node(math).add_node(prose).add_conditional_edges(START, sort)
print(g.compile().invoke({"q": "12"})["a"])
