"""Prompts of a fork beside those of the session that it comes from."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from graphorch import Graph, InputError, agent, node
from graphorch.testing import ScriptedModel, when


class Topic(BaseModel):
    topic: str = ""


class Draft(BaseModel):
    draft: str = ""


class Essay(Topic, Draft): ...


@node
def choose(t: Topic) -> Topic:
    return Topic(topic=t.topic.upper())


@agent(output=Draft)
def write(t: Topic) -> str:
    return f"Write about {t.topic}."


flow = Graph("essay", Essay, input=Topic).chain(choose, write).build()


def test_changed_prompts_name_call_and_texts() -> None:
    """A prompt that another value changed is shown in both forms; what is the same is left out."""
    with ScriptedModel(when("Write", "A draft.", repeats=True)) as model:
        with flow.debug(Topic(topic="a"), client=model) as session:
            session.step()
            fork = session.fork()
            assert fork.changed_prompts == []
            fork.edit({"topic": "B"})
            fork.step()
            assert fork.changed_prompts == []  # the session has not come to that call
            session.step()
            (changed,) = fork.changed_prompts
            assert (changed.call, changed.old, changed.new) == (
                "write",
                "user: Write about A.",
                "user: Write about B.",
            )
            same = session.rerun()
            assert same.changed_prompts == []
            same.close()
            fork.close()


def test_changed_prompts_need_fork() -> None:
    """A session that is no fork has nothing to compare with."""
    with flow.debug(Topic(topic="a")) as session:
        assert session.controller.origin == ""
        with pytest.raises(InputError, match="This session is not a fork"):
            _ = session.changed_prompts


def test_origin_names_session_and_step() -> None:
    """A fork and a rerun say what they were made of."""
    with flow.debug(Topic(topic="a"), run_id="0123456789") as session:
        first = session.fork()
        session.step()
        second, third = session.fork(), session.rerun("choose", output=Topic(topic="x"))
        assert [made.controller.origin for made in (first, second, third)] == [
            "fork of 01234567 before its first step",
            "fork of 01234567 after step 1 ('choose')",
            "rerun of 01234567: 'choose' again with another output",
        ]
        for made in (first, second, third):
            made.close()


def test_rerun_refuses_missing_model() -> None:
    """A model that has no endpoint is named before a second session is opened."""
    with flow.debug(Topic(topic="a")) as session:
        session.run_until()
        with pytest.raises(InputError, match="Model 'gpt-nope' has no endpoint"):
            session.rerun("write", model="gpt-nope")
