"""Patterns that cannot work: who says so."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from graphorch import Graph, agent, node


class Topic(BaseModel):
    topic: str


class Draft(BaseModel):
    draft: str = ""


class Verdict(BaseModel):
    score: float = 0.0


class Kind(BaseModel):
    kind: Literal["math", "prose"] = "math"


class Small(Topic, Draft): ...


class Whole(Topic, Draft, Verdict, Kind): ...


@node
def write(t: Topic) -> Draft:
    return Draft(draft=t.topic)


@node
def judge(d: Draft) -> Verdict:
    return Verdict(score=1)


@node
def classify(t: Topic) -> Kind:
    return Kind()


@agent(output=Draft, model="vendor/one")
def compose(t: Topic, d: Draft, v: Verdict) -> str:
    return t.topic


@agent(output=Verdict, model="vendor/one")
def grade(d: Draft) -> str:
    return d.draft


def good(v: Verdict) -> bool:
    return v.score > 3


def kind_of(k: Kind) -> Literal["math", "prose"]:
    return k.kind


# Q01: [pyright mypy build:SLICE_MISSING] a step writes a slice that the state lacks
def q01() -> None:
    Graph("small", Small).pipeline(write, judge).build()  # wrong


# Q02: [pyright mypy build:SLICE_MISSING] acceptance reads a slice that the state lacks
def q02() -> None:
    Graph("small", Small).evaluator_loop(write, write.named("again"), accept=good, max_rounds=3).build()  # wrong


# Q03: [build:EVALUATOR_MODEL] generator and evaluator ask one model
def q03() -> None:
    Graph("whole", Whole).evaluator_loop(compose, grade, accept=good, max_rounds=3).build()


# Q04: [pyright mypy build:NOT_A_NODE] a branch is a plain function
def q04() -> None:
    Graph("whole", Whole).fan_out([good], judge).build()  # wrong


# Q05: [build:FAN_OUT_NEED] more branches are needed than there are
def q05() -> None:
    Graph("whole", Whole).fan_out([write, classify], judge, need=3).build()


# Q06: [build:EVALUATOR_BOUND build:LOOP_BOUND] a loop without a bound
def q06() -> None:
    Graph("whole", Whole).evaluator_loop(write, judge, accept=good, max_rounds=0).build()


unused: Any = kind_of
