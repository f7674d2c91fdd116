"""A flow for worker processes of tests that asks a weak model: with tools, consent and a schema."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import BaseModel

from graphorch import Context, Graph, agent, append, node, tool


class Complaint(BaseModel):
    """`name` is that of the run."""

    name: str = ""
    complaint: str = "The lamp A7 broke."


class Reply(BaseModel):
    reply: str = ""


class Verdict(BaseModel):
    score: int = 0
    why: str = ""


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class Desk(Complaint, Reply, Verdict, Done): ...


def log(what: str) -> None:
    """Add a line to the file of the test: what is done, and where."""
    with open(os.environ["WORKER_TEST_LOG"], "a", encoding="utf-8") as file:
        file.write(f"{what} - {os.getpid()}\n")


@tool(effect="pure", isolation="worker")
def look_up(order: str) -> str:
    """Find an order; any worker does it."""
    log(f"look-up-{order}")
    return f"{order} cost 250"


@tool(effect="once", approve=lambda amount: amount > 100)
def refund(order: str, amount: float) -> str:
    """Pay money back."""
    log(f"refund-{order}")
    return f"{amount:.2f} paid back for {order}"


@agent(output=Reply, tools=[look_up, refund], rounds=8)
def settle(complaint: Complaint) -> str:
    return f"Settle this for {complaint.name}. {complaint.complaint}"


@agent(output=Verdict)
def judge(complaint: Complaint, reply: Reply) -> str:
    return f"Judge this reply for {complaint.name}. {reply.reply}"


@node
def finish(ctx: Context[None], verdict: Verdict) -> Done:
    return Done(done=[f"score {verdict.score}"])


flow = Graph("desk", Desk, input=Complaint, output=Desk).chain(settle, judge, finish).build()
