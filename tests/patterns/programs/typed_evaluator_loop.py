"""An evaluator loop, with every function annotated."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Graph, node


class Essay(BaseModel): essay: str = ""
class Score(BaseModel): score: int = 0
class Essays(Essay, Score): ...
@node
def compose(e: Essay) -> Essay: return Essay(essay=e.essay + "x")
@node
def grade(e: Essay) -> Score: return Score(score=len(e.essay))
def good(s: Score) -> bool: return s.score >= 3
flow = Graph("essay", Essays).evaluator_loop(compose, grade, accept=good, max_rounds=5).build()
result = flow.run_sync(Essays())
