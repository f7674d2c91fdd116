# type: ignore
"""An evaluator loop in LangGraph, as short as it goes."""

from __future__ import annotations

from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class Essays(TypedDict, total=False):
    essay: str
    score: int
def compose(s: Essays): return {"essay": s.get("essay", "") + "x"}
def grade(s: Essays): return {"score": len(s["essay"])}
def onward(s: Essays): return END if s["score"] >= 3 else "compose"
g = StateGraph(Essays).add_sequence([compose, grade]).add_edge(START, "compose")
g.add_conditional_edges("grade", onward, ["compose", END])
print(g.compile().invoke({})["essay"])
