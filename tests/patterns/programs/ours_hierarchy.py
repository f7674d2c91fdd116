"""A hierarchy, as short as it goes."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Graph, node


class Order(BaseModel): task: str
class Done(BaseModel): result: str
class Results(BaseModel): results: list[str] = []
class Team(Order, Done): ...
class Top(Order, Results): ...
@node
def stress(o: Order) -> Order: return Order(task=o.task + "!")
@node
def do(o: Order) -> Done: return Done(result=o.task.upper())
@node
def report(r: Results) -> Results: return Results(results=[*r.results, f"report of {len(r.results)}"])
crew = Graph("team", Team, input=Order, output=Done).chain(stress, do).build()
top = Graph("top", Top, input=Order, output=Results)
team = top.sub("team", crew, enter=lambda s: Order(task=s.task), leave=lambda d: Results(results=[d.result]))
print(top.chain(team, report).build().run_sync(Order(task="a")).output.results)
