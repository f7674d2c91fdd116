"""The six patterns as typed calls: parameters are nodes, agents and flows, and what does not fit is a type error."""

from __future__ import annotations

from typing import Any, Literal, assert_type

from pydantic import BaseModel

from graphorch import Flow, Graph, agent, node
from graphorch.models import OfflineClient
from graphorch.patterns import Repeat


class Topic(BaseModel):
    topic: str


class Research(BaseModel):
    research: str = ""


class Draft(BaseModel):
    draft: str = ""


class Verdict(BaseModel):
    score: float = 0.0
    feedback: str = ""


class Kind(BaseModel):
    kind: Literal["math", "prose"] = "math"
    sure: float = 1.0


class Task(BaseModel):
    worker: Literal["web", "paper"]
    text: str


class Plan(BaseModel):
    tasks: list[Task] = []


class Report(BaseModel):
    text: str


class Notes(BaseModel):
    notes: list[str] = []


class Content(Topic, Research, Draft, Verdict, Kind, Plan, Notes): ...


@node
def research(t: Topic) -> Research:
    return Research(research=f"about {t.topic}")


@node
def write(t: Topic, r: Research, v: Verdict) -> Draft:
    return Draft(draft=f"{r.research}{v.feedback}")


@node
def judge(t: Topic, d: Draft) -> Verdict:
    return Verdict(score=len(d.draft), feedback="!")


@node
def classify(t: Topic) -> Kind:
    return Kind(kind="math", sure=0.9)


@agent(output=Kind, model="other/model")
def again(t: Topic) -> str:
    return t.topic


@node
def plan(t: Topic) -> Plan:
    return Plan(tasks=[Task(worker="web", text="a"), Task(worker="paper", text="b")])


@node
def dig(t: Task) -> Report:
    return Report(text=f"dug {t.text}")


@node
def sum_up(n: Notes) -> Draft:
    return Draft(draft="; ".join(n.notes))


@node
def audit(d: Draft) -> Notes:
    return Notes(notes=[d.draft])


class Reading(Task, Report): ...


reading = Graph("reading", Reading, input=Task, output=Report).chain(dig).build()


def has_text(d: Draft) -> bool | Repeat:
    return True if d.draft else Repeat("it is empty")


def accepted(v: Verdict) -> bool:
    return v.score > 12


def score_of(v: Verdict) -> float:
    return v.score


def kind_of(k: Kind) -> Literal["math", "prose"]:
    return k.kind


def sure_of(k: Kind) -> float:
    return k.sure


def tasks_of(p: Plan) -> list[Task]:
    return p.tasks


def worker_of(task: Task) -> Literal["web", "paper"]:
    return task.worker


def collect(found: list[Report]) -> Notes:
    return Notes(notes=[report.text for report in found])


def graph(name: str) -> Graph[Content, Topic, Draft]:
    return Graph(name, Content, input=Topic, output=Draft)


gated = graph("pipeline").pipeline(research, write, [judge, audit], gates={write: has_text}, attempts=3, timeout=60).build()
office = graph("supervisor").supervisor(
    plan, tasks=tasks_of, worker_of=worker_of, workers={"web": dig, "paper": dig.named("dig_paper")}, gather=collect, assemble=sum_up, max_tasks=8
)
house = graph("hierarchy")
team = house.sub("team", office.build(), enter=lambda s: Topic(topic=s.topic), leave=lambda d: Notes(notes=[d.draft]))
flows: list[Flow[Topic, Draft, Content]] = [
    gated,
    office.build(),
    graph("with a flow").supervisor(plan, tasks=tasks_of, worker_of=worker_of, workers={"web": reading, "paper": reading}, gather=collect, assemble=sum_up, max_tasks=8).build(),
    graph("fan-out").fan_out([research, classify], write, need=1, rest="finish", deadline=30, hedge_after=10).build(),
    graph("router").router(classify, kind_of, {"math": write, "prose": [audit, write]}, default=write, confidence=sure_of, threshold=0.5, second_opinion=again).build(),
    house.hierarchy(research, [team], sum_up, shares={team: 0.5}).build(),
    graph("loop").chain(research, write).evaluator_loop(write, judge, accept=accepted, score=score_of, scale=(0, 100), max_rounds=5, usd=0.5).build(),
]
assert_type(gated, Flow[Topic, Draft, Content])

ANSWER = ["about tides", "dug a; dug b", "dug a; dug b", None, "", "dug a; dug b", "about tides!"]


def main() -> list[Any]:
    found: list[Any] = [flow.run_sync(Topic(topic="tides"), client=OfflineClient()).output.draft for flow in flows]
    found[3] = None  # whether the research came first is a matter of timing
    return found
