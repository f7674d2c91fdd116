"""What is suspicious about a graph is logged where it is built, so that a plain script shows it."""

from __future__ import annotations

import logging

import pytest
from pydantic import BaseModel

from graphorch import Graph, node


class Topic(BaseModel):
    topic: str = ""


class Draft(BaseModel):
    draft: str = ""


class Review(BaseModel):
    score: int = 0


class State(Topic, Draft, Review): ...


@node
def write(topic: Topic, review: Review) -> Draft:
    return Draft(draft=topic.topic)


@node
def judge(draft: Draft) -> Review:
    return Review(score=1)


def test_warnings_are_logged_at_build(caplog: pytest.LogCaptureFixture) -> None:
    """Each warning is logged once, with its graph, code, place and fix."""
    flow = Graph("essay", State, input=Topic, output=Draft).chain(write, judge).build()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    (warning,) = flow.warnings
    assert caplog.messages == [f"warning: graph 'essay': {warning}"]
    assert warning.code == "READ_BEFORE_WRITE"


def test_clean_graph_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A graph without a doubt is built in silence."""
    graph = Graph("essay", State, input=Topic, output=Draft).chain(write, judge)
    graph.loop(judge, back_to=write, while_=lambda state: False, max_iterations=2)
    assert graph.build().warnings == ()
    assert caplog.messages == []
