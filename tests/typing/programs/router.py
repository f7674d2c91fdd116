"""A router: labels of a `Literal`, of an enum, and several labels at once, each with its targets."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Literal

from pydantic import BaseModel

from graphorch import END, START, Graph, append, node


class Mood(Enum):
    CALM = "calm"
    ANGRY = "angry"


class Mail(BaseModel):
    mail: str


class Sorted(BaseModel):
    topics: set[Literal["money", "parcel"]] = set()
    mood: Mood = Mood.CALM
    size: Literal["short", "long"] = "short"


class Done(BaseModel):
    done: Annotated[list[str], append] = []


class Office(Mail, Sorted, Done): ...


@node
def sort(m: Mail) -> Sorted:
    topics: set[Literal["money", "parcel"]] = set()
    if "refund" in m.mail.lower():
        topics.add("money")
    if "parcel" in m.mail:
        topics.add("parcel")
    return Sorted(topics=topics, mood=Mood.ANGRY if m.mail.isupper() else Mood.CALM, size="long" if len(m.mail) > 20 else "short")


@node
def pay(m: Mail) -> Done:
    return Done(done=["paid"])


@node
def send(m: Mail) -> Done:
    return Done(done=["sent"])


@node
def judge_mood(s: Sorted) -> None: ...


@node
def soothe(m: Mail) -> Done:
    return Done(done=["soothed"])


@node
def measure(m: Mail) -> None: ...


@node
def condense(m: Mail) -> Done:
    return Done(done=["condensed"])


def topics_of(s: Sorted) -> set[Literal["money", "parcel"]]:
    return s.topics


def mood_of(s: Sorted) -> Mood:
    return s.mood


def size_of(s: Sorted, m: Mail) -> Literal["short", "long"]:
    return "long" if len(m.mail) > 1000 else s.size


office = Graph("office", Office, input=Mail, output=Done)
office.chain(START, sort)
office.route(sort, topics_of).when("money", pay).when("parcel", send).exhaustive().chain([pay, send], judge_mood)
office.route(judge_mood, mood_of).when(Mood.CALM, measure).when(Mood.ANGRY, [soothe, measure]).exhaustive()
flow = office.route(measure, size_of).when("long", condense).otherwise(END).chain([condense, soothe], END).build()

ANSWER = {"a refund": ["paid"], "REFUND NOW": ["paid", "soothed"], "a refund, and the parcel": ["paid", "sent", "condensed"]}


def main() -> dict[str, list[str]]:
    return {mail: flow.run_sync(Mail(mail=mail)).output.done for mail in ANSWER}
