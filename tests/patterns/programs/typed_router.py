"""A router, with every function annotated."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from graphorch import Graph, node


class Question(BaseModel): q: str
class Answer(BaseModel): a: str
class Sort(BaseModel): sort: Literal["math", "prose"]
class Desk2(Question, Answer, Sort): ...
@node
def sort(q: Question) -> Sort: return Sort(sort="math" if q.q.isdigit() else "prose")
@node
def math(q: Question) -> Answer: return Answer(a="math")
@node
def prose(q: Question) -> Answer: return Answer(a="prose")
def sort_of(s: Sort) -> Literal["math", "prose"]: return s.sort
d2 = Graph("router", Desk2, input=Question, output=Answer)
d2.route(sort, sort_of).when("math", math).when("prose", prose).exhaustive()
flow = d2.build()
result = flow.run_sync(Question(q="12"))
