"""A supervisor: it looks at what is there and sends the work to one worker after the other, at most six times."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from graphorch import END, Graph, node


class Case(BaseModel):
    case: str


class Turn(BaseModel):
    turn: Literal["look_up", "reply", "done"] = "look_up"


class Facts(BaseModel):
    facts: str = ""


class Reply(BaseModel):
    reply: str = ""


class Desk(Case, Turn, Facts, Reply): ...


@node
def lead(f: Facts, r: Reply) -> Turn:
    return Turn(turn="done" if r.reply else "reply" if f.facts else "look_up")


@node
def look_up(c: Case) -> Facts:
    return Facts(facts=f"file of {c.case}")


@node
def write_reply(c: Case, f: Facts) -> Reply:
    return Reply(reply=f"{c.case}: see the {f.facts}")


def turn_of(t: Turn) -> Literal["look_up", "reply", "done"]:
    return t.turn


def is_open(t: Turn) -> bool:
    return t.turn != "done"


desk = Graph("desk", Desk, input=Case, output=Reply)
desk.route(lead, turn_of).when("look_up", look_up).when("reply", write_reply).when("done", END).exhaustive()
desk.loop([look_up, write_reply], back_to=lead, while_=is_open, max_iterations=6, exhausted="fail")
flow = desk.build()

ANSWER = ("Ada: see the file of Ada", ["lead", "look_up", "lead", "write_reply", "lead"])


def main() -> tuple[str, list[str]]:
    result = flow.run_sync(Case(case="Ada"))
    return result.output.reply, [step.node for step in result.steps]
