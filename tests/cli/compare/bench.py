"""Flows, cases and score functions for the tests of comparisons."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tests.cli.shell import Shell

FLOWS = """
class Query(BaseModel):
    n: int
class Answer(BaseModel):
    answer: int
class State(Query, Answer): ...
class Other(BaseModel):
    topic: str
class OtherState(Other, Answer): ...

@node(isolation="inline")
def careful(query: Query) -> Answer:
    return Answer(answer=query.n * 2)
@node(isolation="inline")
def hasty(query: Query) -> Answer:
    if query.n % 5 == 4:
        raise ValueError(f"too hasty for {query.n}")
    return Answer(answer=query.n * 2 + (query.n % 3 == 0))
@node(isolation="inline")
def doomed(query: Query) -> Answer:
    raise ValueError("never")
@node(isolation="inline")
def talk(other: Other) -> Answer:
    return Answer(answer=1)

def flow_of(step, state=State, input=Query):
    return Graph(step.name, state, input=input, output=Answer).chain(step).build()

a, b, c, d = flow_of(careful), flow_of(hasty), flow_of(doomed), flow_of(talk, OtherState, Other)

def right(query: Query, answer: Answer) -> float:
    return float(answer.answer == 2 * query.n)
def as_wanted(query: Query, answer: Answer, line: dict) -> bool:
    return answer.answer == line["want"]
def raises(query: Query, answer: Answer) -> float:
    raise KeyError("no such thing")
def wordy(query: Query, answer: Answer) -> str:
    return "good"
def endless(query: Query, answer: Answer) -> float:
    return float("inf")
async def late(query: Query, answer: Answer) -> float:
    return 1.0
def lonely(query: Query) -> float:
    return 1.0
"""
CASES = [{"input": {"n": n}, "want": 2 * n} for n in range(20)]


def write_cases(shell: Shell, cases: Iterable[Any]) -> None:
    """Write `cases.jsonl`: a text as it is, everything else as JSON."""
    lines = [case if isinstance(case, str) else json.dumps(case) for case in cases]
    text = "".join(f"{line}\n" for line in lines)
    shell.here.joinpath("cases.jsonl").write_text(text, "utf-8")


def compare_json(shell: Shell, *arguments: str) -> dict[str, Any]:
    """Compare on the cases of `cases.jsonl`, and return the object for programs."""
    ended = shell("compare", *arguments, "--inputs", "cases.jsonl", "--json")
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def find_row(comparison: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the row of a figure."""
    return next(row for row in comparison["figures"] if row["name"] == name)
