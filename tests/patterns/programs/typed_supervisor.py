"""A supervisor, with every function annotated."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from graphorch import Graph, node


class Job(BaseModel): worker: Literal["research", "write"]
class Jobs(BaseModel): jobs: list[Job] = []
class Log(BaseModel): log: list[str] = []
class Desk(Jobs, Log): ...
@node
def assign(g: Log) -> Jobs: return Jobs(jobs=[Job(worker="research"), Job(worker="write")])
@node
def look(j: Job) -> Log: return Log(log=["facts"])
@node
def pen(j: Job) -> Log: return Log(log=["text"])
def jobs_of(j: Jobs) -> list[Job]: return j.jobs
def who(j: Job) -> Literal["research", "write"]: return j.worker
def all_of(logs: list[Log]) -> Log: return Log(log=[line for one in logs for line in one.log])
desk = Graph("desk", Desk).supervisor(assign, tasks=jobs_of, worker_of=who, workers={"research": look, "write": pen}, gather=all_of, max_tasks=4)
flow = desk.build()
result = flow.run_sync(Desk())
