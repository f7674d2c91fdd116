"""An evaluator loop, as short as it goes."""

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
print(Graph("essay", Essays).evaluator_loop(compose, grade, accept=lambda s: s.score >= 3, max_rounds=5).build().run_sync(Essays()).output.essay)
