# type: ignore
"""A supervisor in LangGraph, as short as it goes."""

from __future__ import annotations

import operator
from typing import Annotated, Literal, TypedDict

from langgraph.graph import START, StateGraph
from langgraph.types import Command


class Desk(TypedDict): log: Annotated[list, operator.add]
def assign(s: Desk) -> Command[Literal["research", "write", "__end__"]]: return Command(goto=["research", "write", "__end__"][len(s["log"])])
def research(s: Desk) -> Command[Literal["assign"]]: return Command(goto="assign", update={"log": ["facts"]})
def write(s: Desk) -> Command[Literal["assign"]]: return Command(goto="assign", update={"log": ["text"]})
g = StateGraph(Desk).add_node(assign).add_node(research).add_node(write)
g.add_edge(START, "assign")
print(g.compile().invoke({"log": []})["log"])
