"""Article from a source document: research, draft, and a review that may send the draft back.

    graphorch run graphs/content_production.py
    graphorch run graphs/content_production.py --document @report.md \\
        --topic "What the report means for small ports"

The loop is bounded: after three drafts the article goes out, with what the reviewer still missed.
The remarks of the reviewer reach the writer together with the notes and the draft that they are
about.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from graphorch import Graph, agent, node

GOOD_ENOUGH = 8.0


class Brief(BaseModel):
    document: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="the source, all facts come from it"
    )
    topic: str = Field(default="The main points", description="what the article is about")


class Notes(BaseModel):
    notes: str


class Draft(BaseModel):
    draft: str = ""


class Review(BaseModel):
    score: float = Field(
        default=0, ge=0, le=10, description="10: nothing is missing, nothing is unclear"
    )
    feedback: str = Field(default="", description="what is missing or unclear, and what to change")


class Article(BaseModel):
    article: str


class Content(Brief, Notes, Draft, Review, Article):
    """State of a run: everything that the nodes read and write."""


@agent(
    output=Notes,
    instructions=(
        "You research for a writer. You use the source only, and keep numbers, names and causes."
    ),
)
def research(brief: Brief) -> str:
    return (
        "Collect 20 sentences from the source that matter for this topic.\n\n"
        f"Topic: {brief.topic}\n\nSource:\n{brief.document}"
    )


@agent(
    output=Draft,
    instructions=(
        "You write for busy readers: the main point first, short paragraphs, "
        "nothing that the notes do not hold."
    ),
)
def write(brief: Brief, notes: Notes, draft: Draft, review: Review) -> str:
    given = f"Topic: {brief.topic}\n\nNotes:\n{notes.notes}"
    if not draft.draft:
        return f"Write the first draft of an article, in six sentences.\n\n{given}"
    return (
        "Revise the draft of an article: keep what is good, add what is missing.\n\n"
        f"{given}\n\nDraft:\n{draft.draft}\n\nFeedback:\n{review.feedback}"
    )


@agent(output=Review, instructions="You are a strict editor. You compare the draft with the notes.")
def review(brief: Brief, notes: Notes, draft: Draft) -> str:
    return (
        "Review the draft.\n\n"
        f"Topic: {brief.topic}\n\nNotes:\n{notes.notes}\n\nDraft:\n{draft.draft}"
    )


@node
def publish(brief: Brief, draft: Draft, review: Review) -> Article:
    remark = ""
    if is_weak(review):
        remark = f"\n\nThe editor's score was {review.score:g} of 10. {review.feedback}"
    return Article(article=f"# {brief.topic}\n\n{draft.draft}{remark}")


def is_weak(review: Review) -> bool:
    return review.score < GOOD_ENOUGH


graph = Graph("content_production", Content, input=Brief, output=Article)
graph.chain(research, write, review, publish)
graph.loop(review, back_to=write, while_=is_weak, max_iterations=3)
flow = graph.build()

sample = Brief(
    topic="How a harbour works with the tide",
    document=Path(__file__).with_name("samples").joinpath("tides.md").read_text("utf-8"),
)


if __name__ == "__main__":
    print(f"Run this flow with: graphorch run {__file__}")
