"""A pipeline, with every function annotated."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Graph, node


class Text(BaseModel): text: str
@node
def outline(t: Text) -> Text: return Text(text=t.text + " draft")
@node
def edit(t: Text) -> Text: return Text(text=t.text + " edited")
flow = Graph("pipeline", Text).chain(outline, edit).build()
result = flow.run_sync(Text(text="x"))
