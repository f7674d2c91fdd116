"""The article workflow: what goes to whom, and a loop that ends."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from graphorch import ModelClient, Request, Response, Usage
from graphorch.cli.flow_loader import load_flow
from graphorch.models.client import OnText

GRAPH = Path(__file__).parents[2] / "graphs" / "content_production.py"
DOCUMENT = (
    "The tide rises twice a day. The Moon pulls the water. "
    "Boats wait for high water before they cross the bar."
)


class Editor(ModelClient):
    """Model that answers as researcher, writer and reviewer, with the scores of a list."""

    def __init__(self, scores: Sequence[float]) -> None:
        self.scores = list(scores)
        self.prompts: list[str] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        prompt = request.messages[-1].content
        self.prompts.append(prompt)
        text = self._answer(prompt)
        return Response(text, "fake", Usage(1, 1), 0.0, "free", "stop", 1, 0.0, None)

    def _answer(self, prompt: str) -> str:
        if prompt.startswith("Review"):
            return json.dumps(
                {"score": self.scores.pop(0), "feedback": f"remark {len(self.scores)}"}
            )
        return f"text {len(self.prompts)}"


def run(scores: Sequence[float]) -> tuple[Any, Editor]:
    loaded = load_flow(str(GRAPH))
    editor = Editor(scores)
    brief = loaded.flow.plan.input(document=DOCUMENT, topic="Tides")
    return loaded.flow.run_sync(brief, client=editor), editor


def test_good_draft_goes_out_at_once() -> None:
    result, editor = run([9])
    assert [step.node for step in result.steps] == ["research", "write", "review", "publish"]
    assert result.output.article == "# Tides\n\ntext 2"
    assert DOCUMENT in editor.prompts[0]
    assert DOCUMENT not in editor.prompts[1]


def test_weak_draft_goes_back_with_remarks() -> None:
    """The notes and the draft go with the remarks."""
    result, editor = run([5, 9])
    assert result.output.article == "# Tides\n\ntext 4"
    revision = editor.prompts[3]
    for given in ("Topic: Tides", "Notes:\ntext 1", "Draft:\ntext 2", "Feedback:\nremark 1"):
        assert given in revision


def test_third_draft_goes_out_with_gaps() -> None:
    """After three drafts the article goes out with a list of what is missing."""
    result, editor = run([5, 6, 7.5])
    assert result.exhausted == (("review", "write"),)
    assert editor.scores == []
    assert (
        result.output.article == "# Tides\n\ntext 6\n\nThe editor's score was 7.5 of 10. remark 0"
    )


def test_empty_document_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 character"):
        load_flow(str(GRAPH)).flow.plan.input(document=" \n")


def test_offline_draft_quotes_document() -> None:
    """The embedded model writes whole sentences of the document about its topic."""
    loaded = load_flow(str(GRAPH))
    sample: Any = loaded.sample
    article = loaded.flow.run_sync(sample).output.article
    title, *paragraphs = article.split("\n\n")
    assert title == f"# {sample.topic}"
    sentences = [
        part for paragraph in paragraphs for part in paragraph.replace(". ", ".\n").split("\n")
    ]
    assert 6 <= len(sentences) <= 24
    assert all(sentence in sample.document for sentence in sentences)
    assert sum("tide" in sentence.lower() for sentence in sentences) >= len(sentences) / 2
