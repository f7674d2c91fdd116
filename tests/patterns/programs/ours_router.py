"""A router, as short as it goes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from graphorch import Graph, node


class Question(BaseModel): q: str
class Answer(BaseModel): a: str
class Sort(BaseModel): sort: Literal["math", "prose"]
class Desk(Question, Answer, Sort): ...
@node
def sort(q: Question) -> Sort: return Sort(sort="math" if q.q.isdigit() else "prose")
@node
def math(q: Question) -> Answer: return Answer(a="math")
@node
def prose(q: Question) -> Answer: return Answer(a="prose")
def sort_of(s: Sort) -> Literal["math", "prose"]: return s.sort
desk = Graph("router", Desk, input=Question, output=Answer).router(sort, sort_of, {"math": math}, default=prose)
print(desk.build().run_sync(Question(q="12")).output.a)
