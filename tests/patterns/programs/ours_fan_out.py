"""A fan-out over a list, as short as it goes."""

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
def found(docs: list[Doc]) -> Found: return Found(out=[d.doc for d in docs])
lib = Graph("library", Library, input=Docs, output=Found)
shouts = lib.map("workers", shout, over=lambda s: s.docs, gather=found, max_items=9)
print(lib.chain(shouts, count).build().run_sync(Docs(docs=[Doc(doc="a"), Doc(doc="b")])).output.out)
