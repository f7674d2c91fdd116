"""Answers as they arrive: kept while their call runs, gone when the step has them."""

from __future__ import annotations

from graphorch.debugger.live_text import LiveText
from graphorch.engine.events import Ended, Started, TextDelta
from graphorch.testing import ScriptedModel, when
from tests.debugger.test_prompts import Topic, flow


def test_pieces_join_until_call_ends() -> None:
    """Pieces are joined by node; another event of the node, or the end of the run, drops them."""
    told: list[str] = []
    live = LiveText(lambda: told.append("x"))
    live(TextDelta("a", "a", "The "))
    live(TextDelta("a", "a", "moon"))
    live(TextDelta("b", "b", "x" * 5000))
    assert live.texts["a"] == "The moon"
    assert len(live.texts["b"]) == 4000
    assert len(told) == 3
    live(Started("a", "a", 2, 0.0))
    assert set(live.texts) == {"b"}
    live(Ended("succeeded", "", "r", 0.0))
    assert live.texts == {}


def test_watched_session_hears_pieces() -> None:
    """A watcher of a session gets the pieces also after the session went back, and no fork's."""
    pieces: list[str] = []
    with ScriptedModel(when("Write", "A draft.", repeats=True)) as model:
        with flow.debug(Topic(topic="a"), client=model) as session:
            session.controller.watch(
                lambda event: pieces.append(event.text) if isinstance(event, TextDelta) else None
            )
            session.run_until()
            assert pieces == ["A draft."]
            session.step_back()
            fork = session.fork()
            fork.step()
            assert pieces == ["A draft."]
            session.step()
            assert pieces == ["A draft."] * 2
            fork.close()
