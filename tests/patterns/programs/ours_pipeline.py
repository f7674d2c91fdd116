"""A pipeline, as short as it goes."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Graph, node


class Text(BaseModel): text: str
@node
def outline(t: Text) -> Text: return Text(text=t.text + " draft")
@node
def edit(t: Text) -> Text: return Text(text=t.text + " edited")
print(Graph("pipeline", Text).pipeline(outline, edit).build().run_sync(Text(text="x")).output.text)
