"""A session tells the hook of its run what becomes of questions, step by step."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.engine.questions.asking_flows import YES, Case, Heard, build_ask

FLOW = build_ask()


def wait_for(heard: Heard, count: int) -> list[str]:
    """Return what was heard once it is so much."""
    until = time.monotonic() + 5
    while len(heard.events) < count and time.monotonic() < until:
        time.sleep(0.005)
    return heard.lines


def test_session_tells_hook() -> None:
    """A question that is stepped to is opened, and its answer is told."""
    heard = Heard()
    session = FLOW.debug(Case(), run_id="r", on_question=heard)
    session.step()
    assert wait_for(heard, 1) == ["ask opened"]
    session.answer(YES)
    session.run_until()
    assert wait_for(heard, 2) == ["ask opened", "ask answered"]
    assert session.result.output.done == ["act yes"]
    session.close()


def test_repeated_step_tells_again() -> None:
    """A question that is taken back is not told; it is opened again when it is asked again."""
    heard = Heard()
    session = FLOW.debug(Case(), run_id="r", on_question=heard)
    session.step()
    wait_for(heard, 1)
    session.step_back()
    session.step()
    assert wait_for(heard, 2) == ["ask opened", "ask opened"]
    session.close()


@pytest.mark.parametrize("way", ["fork", "rerun"])
def test_copies_tell_in_their_own_name(way: str) -> None:
    """A fork of a session tells of its answer, a rerun of the question that it asks again."""
    heard = Heard()
    session = FLOW.debug(Case(), run_id="r", on_question=heard)
    session.step()
    copy: Any
    if way == "fork":
        copy = session.fork()
        copy.answer(YES)
    else:
        session.answer(YES)
        copy = session.rerun("ask")
    wait_for(heard, 2 if way == "fork" else 3)
    assert [event.kind for event in heard.events if event.run_id != "r"] == [
        "answered" if way == "fork" else "opened"
    ]
    copy.close()
    session.close()
