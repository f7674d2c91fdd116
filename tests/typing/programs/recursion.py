"""A graph that runs itself: as its own sub-flow, and for each item of its own map; with lambdas, too."""

from __future__ import annotations

from typing import Literal, assert_type

from pydantic import BaseModel

from graphorch import Graph, Missing, RecursionLimit, node
from graphorch.graph.node import Node1


class Task(BaseModel):
    task: str


class Result(BaseModel):
    result: str = ""


class Half(BaseModel):
    half: str = ""


class Work(Task, Result, Half): ...


@node
def look(task: Task) -> None: ...


@node
def solve(task: Task) -> Result:
    return Result(result=task.task.upper())


@node
def wrap(half: Half) -> Result:
    return Result(result=f"({half.half})")


def size(task: Task) -> Literal["small", "medium", "large"]:
    return "small" if len(task.task) < 2 else "medium" if len(task.task) < 4 else "large"


def parts_of(task: Task) -> list[Task]:
    return [Task(task=letter) for letter in task.task]


def joined(results: list[Result], missing: list[Missing]) -> Result:
    return Result(result="+".join(result.result for result in results))


graph = Graph("work", Work, input=Task, output=Result)
deeper = graph.sub("deeper", graph.itself(max_depth=3), enter=lambda work: Task(task=work.task[1:]), leave=lambda result: Half(half=result.result))
parts = graph.map("parts", graph.itself(max_depth=4), over=parts_of, gather=joined, max_items=9)
assert_type(deeper, Node1[Work, Half])
assert_type(parts, Node1[Work, Result])
graph.route(look, size).when("small", solve).when("medium", parts).when("large", deeper).exhaustive()
graph.chain(deeper, wrap).on_error(deeper, solve, when=RecursionLimit)
flow = graph.build()

ANSWER = ["X", "A+B", "((C+D+E))"]


def main() -> list[str]:
    return [flow.run_sync(Task(task=task)).output.result for task in ("x", "ab", "abcde")]
