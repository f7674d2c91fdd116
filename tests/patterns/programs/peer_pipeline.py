# type: ignore
"""A pipeline in LangGraph, as short as it goes."""

from __future__ import annotations

from typing import TypedDict

from langgraph.graph import START, StateGraph


class Text(TypedDict): text: str
def outline(s: Text): return {"text": s["text"] + " draft"}
def edit(s: Text): return {"text": s["text"] + " edited"}
g = StateGraph(Text).add_sequence([outline, edit])
g.add_edge(START, "outline")
print(g.compile().invoke({"text": "x"})["text"])
