"""What a flow remembers is a part of its state that has a value before the first turn."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, GraphError, node


class Question(BaseModel):
    question: str


class Answer(BaseModel):
    answer: str = ""


class Talk(BaseModel):
    talk: list[str] = []


class Mood(BaseModel):
    mood: str
    depth: int = 0


class Elsewhere(BaseModel):
    far: str = ""


class State(Question, Answer, Talk, Mood): ...


@node
def reply(question: Question) -> tuple[Answer, Talk]:
    return Answer(answer="yes"), Talk(talk=[question.question])


def problems(*remember: Any) -> list[tuple[str, str, str]]:
    graph = Graph("chat", State, input=Question, output=Answer, remember=remember).chain(reply)
    with pytest.raises(GraphError) as caught:
        graph.build()
    return [(problem.code, problem.what, problem.fix) for problem in caught.value.problems]


def test_remembered_field_needs_default() -> None:
    """A remembered field needs a default."""
    ((code, what, fix),) = problems(Mood, Talk)
    assert code == "REMEMBER_DEFAULT"
    assert what == "'Mood.mood' has no default, and the first turn has nothing to remember"
    assert "mood: … = …" in fix


def test_remembered_slice_must_be_in_state() -> None:
    """Only slices of the state can be remembered."""
    ((code, what, fix),) = problems(Elsewhere)
    assert (code, what) == ("REMEMBER_SLICE", "Elsewhere is not a slice of the state State")
    assert "Known: Answer, Mood, Question, State, Talk" in fix


def test_remembered_non_model_is_refused() -> None:
    """A remembered value that is not a model is refused at once."""
    nothing: Any = "Talk"
    with pytest.raises(GraphError, match=r"remember of graph 'chat'.*not a pydantic model"):
        Graph("chat", State, remember=[nothing])


def test_remembered_field_counts_as_read() -> None:
    """A remembered field is read by the next turn, so its write is not unused."""
    flow = Graph("chat", State, input=Question, output=Answer, remember=[Talk]).chain(reply).build()
    assert flow.warnings == ()
    forgetful = Graph("chat", State, input=Question, output=Answer).chain(reply).build()
    assert [problem.code for problem in forgetful.warnings] == ["UNREAD_WRITE"]
