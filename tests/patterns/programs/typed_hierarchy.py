"""A hierarchy, with every function annotated."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Graph, node


class Order(BaseModel): task: str
class Done(BaseModel): result: str
class Team(Order, Done): ...
class Tasks(BaseModel): tasks: list[str]
class Results(BaseModel): results: list[str] = []
class Top(Tasks, Results): ...
@node
def stress(o: Order) -> Order: return Order(task=o.task + "!")
@node
def do(o: Order) -> Done: return Done(result=o.task.upper())
@node
def report(r: Results) -> Results: return Results(results=[*r.results, f"report of {len(r.results)}"])
crew = Graph("team", Team, input=Order, output=Done).chain(stress, do).build()
top = Graph("top", Top, input=Tasks, output=Results)
call = top.sub("team", crew, enter=lambda s: Order(task=s.tasks[0]), leave=lambda d: Results(results=[d.result]))
top.chain(call, report)
flow = top.build()
result = flow.run_sync(Tasks(tasks=["a"]))
