# type: ignore
"""A hierarchy in LangGraph, as short as it goes."""

from __future__ import annotations

from typing import TypedDict

from langgraph.graph import START, StateGraph


class Team(TypedDict, total=False):
    task: str
    result: str
class Top(TypedDict, total=False):
    task: str
    results: list[str]
def stress(s: Team): return {"task": s["task"] + "!"}
def do(s: Team): return {"result": s["task"].upper()}
crew = StateGraph(Team).add_sequence([stress, do]).add_edge(START, "stress").compile()
def team(s: Top): return {"results": [crew.invoke({"task": s["task"]})["result"]]}
def report(s: Top): return {"results": [*s["results"], f"report of {len(s['results'])}"]}
g = StateGraph(Top).add_sequence([team, report])
g.add_edge(START, "team")
print(g.compile().invoke({"task": "a"})["results"])
