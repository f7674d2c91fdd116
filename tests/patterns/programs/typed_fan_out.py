"""A fan-out over a list, with every function annotated."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Graph, node


class Doc(BaseModel): doc: str
class Docs(BaseModel): docs: list[Doc] = []
class Found(BaseModel): out: list[str] = []
class Library(Docs, Found): ...
@node
def shout(d: Doc) -> Doc: return Doc(doc=d.doc.upper())
@node
def count(f: Found) -> Found: return Found(out=[*f.out, f"n={len(f.out)}"])
def docs_of(d: Docs) -> list[Doc]: return d.docs
def found(docs: list[Doc]) -> Found: return Found(out=[d.doc for d in docs])
lib = Graph("library", Library, input=Docs, output=Found)
shouts = lib.map("workers", shout, over=docs_of, gather=found, max_items=9)
lib.chain(shouts, count)
flow = lib.build()
result = flow.run_sync(Docs(docs=[Doc(doc="a"), Doc(doc="b")]))
