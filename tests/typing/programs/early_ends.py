"""A map and a sub-flow that a signal or a deadline ends, with what was done until then."""

from __future__ import annotations

from pydantic import BaseModel

from graphorch import Graph, Withdrawn, node


class Topic(BaseModel):
    topic: str


class Topics(BaseModel):
    topics: list[Topic] = []


class Notes(BaseModel):
    notes: list[str] = []


class Report(BaseModel):
    report: str = ""


class Stop(BaseModel):
    reason: str = ""


class Research(Topic, Notes): ...


class State(Topic, Topics, Notes, Report): ...


@node
def read(t: Topic) -> Notes:
    return Notes(notes=[t.topic])


@node
def summarize(n: Notes) -> Report:
    return Report(report=", ".join(n.notes))


@node
def apologize(t: Topic) -> Report:
    return Report(report=f"nothing on {t.topic}")


def same(t: Topic) -> Topic:
    return t


def take(n: Notes) -> Notes:
    return n


def topics_of(t: Topics) -> list[Topic]:
    return t.topics


def gather(found: list[Notes]) -> Notes:
    return Notes(notes=[note for notes in found for note in notes.notes])


research = Graph("research", Research, input=Topic, output=Notes).chain(read).build()

graph = Graph("report", State, output=Report)
stop = graph.signal("stop", Stop)
halt = graph.signal("halt", Stop, keep=0, key=lambda s: s.topic)
each = graph.map(
    "each", read, over=topics_of, gather=gather, max_items=9, cancel_on=stop, deadline=60
)
kept = graph.sub("kept", research, enter=same, leave=take, cancel_on=halt, keep=take)
team = graph.sub("team", research, enter=same, leave=take, cancel_on=stop, deadline=9.5)
flow = graph.chain(each, kept, team, summarize).on_error(team, apologize, when=Withdrawn).build()

ANSWER = "tea"


def main() -> str:
    result = flow.run_sync(State(topic="tea", topics=[Topic(topic="milk")]))
    return result.output.report
