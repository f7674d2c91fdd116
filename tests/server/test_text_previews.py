"""What a model is writing comes over the stream as it comes, in pieces that never pile up."""

from __future__ import annotations

import asyncio
from pathlib import Path

from graphorch.engine.events import Ended, ModelCalled, TextDelta
from graphorch.server.text_previews import TextPreviews
from graphorch.testing import ScriptedModel, when
from graphorch.views.reading.journal_changes import JournalChanges
from graphorch.views.reading.journal_reader import JournalReader
from graphorch.views.runs.run_events import TextPiece
from tests.debugger.test_prompts import Topic, flow
from tests.server.event_client import stream
from tests.server.serving import opened, running


def test_pieces_join_for_slow_listener(tmp_path: Path) -> None:
    """A listener that is slow gets what it missed as one piece, or the end of it if it is long."""

    async def main() -> None:
        async with opened(tmp_path) as context:
            changes = JournalChanges(JournalReader(context.store))
            previews = TextPreviews(changes)
            listener = changes.listen()
            first = asyncio.ensure_future(anext(listener))
            await asyncio.sleep(0)
            for text in ("The ", "moon"):
                previews.watch("r", TextDelta("a", "a", text))
            assert await first == TextPiece("r", "a", "The moon", is_new=True)
            previews.watch("r", TextDelta("a", "a", " is"))
            assert await anext(listener) == TextPiece("r", "a", " is", is_new=False)
            for _ in range(5):
                previews.watch("r", TextDelta("a", "a", "x" * 1_000))
            long = await anext(listener)
            assert long == TextPiece("r", "a", "…" + "x" * 4_000, is_new=True)
            await listener.aclose()

    asyncio.run(main())


def test_call_that_begins_anew_replaces(tmp_path: Path) -> None:
    """After the end of a call, or of its run, nothing is left, and the next piece is a new text."""

    async def main() -> None:
        async with opened(tmp_path) as context:
            changes = JournalChanges(JournalReader(context.store))
            previews = TextPreviews(changes)
            listener = changes.listen()
            following = asyncio.ensure_future(anext(listener))
            await asyncio.sleep(0)
            previews.watch("r", TextDelta("a", "a", "The mo"))
            previews.watch("r", ModelCalled("a", "a", "m", 1, 1, 0.0, "free", 0.1, "", "broken"))
            previews.watch("r", TextDelta("a", "a", "The moon"))
            assert await following == TextPiece("r", "a", "The moon", is_new=True)
            previews.watch("r", Ended("succeeded", "", "r", 0.0))
            assert await anext(listener) == TextPiece("r", "a", "", is_new=True)
            previews.watch("r", TextDelta("a", "a", "Again"))
            assert await anext(listener) == TextPiece("r", "a", "Again", is_new=True)
            await listener.aclose()

    asyncio.run(main())


def test_answer_comes_over_stream(tmp_path: Path) -> None:
    """Who listens to a server reads an answer before its record."""

    async def main() -> None:
        with ScriptedModel(when("Write", "A draft.", repeats=True)) as model:
            async with running(tmp_path, flow, options={"client": model}) as server:
                async with stream(server, "/api/events") as events:
                    server.context.runs.begin(flow, Topic(topic="a"), "one", {})
                    event = await anext(events)
                    while event.event != "text":
                        event = await anext(events)
        assert event.data == {"run_id": "one", "path": "write", "text": "A draft.", "is_new": True}

    asyncio.run(main())
