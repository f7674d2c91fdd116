"""Offline model: readable answers, equal for equal requests, fast on huge documents."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

from graphorch.models.errors import TimedOut
from graphorch.models.messages import Message, Request, Response, to_messages
from graphorch.models.offline.client import MODEL, OfflineClient
from graphorch.models.structured_output import ask_for_value
from tests.models.offline.documents import HARBOUR

ROOT = Path(__file__).parents[3]


def answer(prompt: str, *, system: str = "", **more: object) -> Response:
    messages = (
        *((Message(role="system", content=system),) if system else ()),
        *to_messages(prompt),
    )
    return asyncio.run(OfflineClient().complete(Request("any", messages, **more)))  # pyright: ignore[reportArgumentType]


def points_of(text: str) -> list[str]:
    return [line.removeprefix("- ") for line in text.splitlines() if line]


# ---- summaries ---------------------------------------------------------------------------------


def test_summary_has_headline_and_points() -> None:
    """A summary is a headline and points in the order of the document."""
    headline, *points = points_of(answer(f"Summarise this document:\n{HARBOUR}").text)
    text = " ".join(HARBOUR.split())
    places = [text.index(point) for point in points]
    assert headline in text
    assert 3 <= len(points) <= 12
    assert places == sorted(places)
    assert headline not in points


def test_summary_repeats_nothing() -> None:
    """A text that the prompt holds twice is not quoted twice."""
    points = points_of(answer(f"Summarise.\n\nNotes:\n{HARBOUR}\n\nDocument:\n{HARBOUR}").text)
    assert len(points) == len(set(points)) >= 4


def test_answer_leaves_out_instructions() -> None:
    """Neither the instructions nor the system message are part of the answer."""
    system = "You are an editor at a newspaper. Sentences about harbours and gauges must be short."
    prompt = (
        "You will be given a report. Summarise the report about the tide gauge in your own words:\n"
        f"{HARBOUR}\n\nAnswer with points only."
    )
    text = answer(prompt, system=system).text
    for word in ("editor", "own words", "points only", "will be given"):
        assert word not in text


@pytest.mark.parametrize(
    "wish, sentences", [("in one sentence", 1), ("in 3 sentences", 3), ("as five short bullets", 5)]
)
def test_summary_keeps_requested_length(wish: str, sentences: int) -> None:
    """The answer has as many sentences as the prompt asks for."""
    assert len(points_of(answer(f"Summarise this {wish}:\n{HARBOUR}").text)) == sentences


def test_summary_keeps_limits() -> None:
    """Limits on words and on tokens hold."""
    assert (
        len(
            answer(f"Summarise this in at most 60 words:\n{HARBOUR}").text.replace("- ", "").split()
        )
        <= 60
    )
    assert len(answer(f"Summarise this:\n{HARBOUR}", max_tokens=100).text) <= 400


def test_question_selects_its_sentences() -> None:
    """A question is answered with the sentences that speak of it."""
    text = answer(f"Question: What does the radar gauge cost?\n\n{HARBOUR}").text
    assert "The comparison adds 9,000 pounds to the cost of the radar gauge." in text
    assert "October" not in text


def test_topic_decides_importance() -> None:
    """A topic decides which sentences matter."""
    text = answer(f"Write two sentences.\n\nTopic: the sinking pier\n\n{HARBOUR}").text
    assert "sinking" in text
    assert "the sinking pier" not in text.split(".")[0].lower().removeprefix("the lifeboat")


def test_article_is_prose() -> None:
    """An article is prose, and notes are points."""
    assert "\n- " not in answer(f"Write an article from these notes:\n{HARBOUR}").text
    assert "\n- " in answer(f"Take notes:\n{HARBOUR}").text


# ---- research, draft, review -------------------------------------------------------------------


class Research(BaseModel):
    research: str


class Draft(BaseModel):
    draft: str


class Verdict(BaseModel):
    score: float = 0
    feedback: str = ""
    decision: Literal["publish", "revise"] = "revise"


def test_review_rounds_improve_draft() -> None:
    """Research, draft and review make sense, and each round is better."""

    async def main() -> tuple[list[str], list[Verdict]]:
        client = OfflineClient()

        async def reply(prompt: str, output: type[BaseModel]) -> BaseModel:
            return (await ask_for_value(client, Request(MODEL, to_messages(prompt)), output)).value

        research = await reply(
            f"Research this document and note the key findings:\n{HARBOUR}", Research
        )
        assert isinstance(research, Research)
        drafts, verdicts = [""], [Verdict()]
        for _ in range(3):
            revision = f"Draft:\n{drafts[-1]}\n\nFeedback:\n{verdicts[-1].feedback}"
            draft = await reply(
                f"Write an article.\n\nNotes:\n{research.research}\n\n"
                f"Document:\n{HARBOUR}\n\n{revision}",
                Draft,
            )
            assert isinstance(draft, Draft)
            verdict = await reply(
                "Score the draft against the document.\n\n"
                f"Document:\n{HARBOUR}\n\nDraft:\n{draft.draft}",
                Verdict,
            )
            assert isinstance(verdict, Verdict)
            drafts.append(draft.draft)
            verdicts.append(verdict)
        return drafts[1:], verdicts[1:]

    drafts, verdicts = asyncio.run(main())
    assert verdicts[0].score < verdicts[1].score < verdicts[2].score
    assert [len(draft) for draft in drafts] == sorted(len(draft) for draft in drafts)
    assert "Feedback" not in drafts[-1]
    assert "key terms" not in drafts[-1]  # the words of the reviewer stay out of the text
    assert "words in" in verdicts[0].feedback


# ---- nothing to work on ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    ["", " \n\t ", "\x00\x07", "Summarise this document:\n", "Summarise this document:\n\n  \n"],
)
def test_empty_document_is_reported(prompt: str) -> None:
    """The answer to an empty document says that it is empty."""
    assert "no text to work on" in answer(prompt).text


@pytest.mark.parametrize(
    "prompt", ["Research this topic thoroughly: tides", "Write a haiku about tides.", "tides"]
)
def test_topic_without_text_is_reported(prompt: str) -> None:
    """A topic without a text gets no invented one."""
    text = answer(prompt).text
    assert "tides" in text
    assert "no source text was given" in text


# ---- strange text ------------------------------------------------------------------------------


def test_control_characters_are_removed() -> None:
    """Control characters and terminal sequences do not get through."""
    dirty = (
        "The gauge \x1b[31mis red\x1b[0m and\x00 it has \x07been so\u202e for years. "
        "\ud83dIt works well in all weathers, they say."
    )
    text = answer(f"Summarise:\n{dirty}").text
    assert "The gauge is red and it has been so for years." in text
    text.encode()


def test_markup_is_kept_as_text() -> None:
    """Markup is text like any other."""
    assert (
        "<script>alert(1)</script>"
        in answer(
            "Summarise:\n<script>alert(1)</script> is what the page of the harbour says today."
        ).text
    )


def test_wrapped_lines_are_joined() -> None:
    """Windows line ends and wrapped lines are joined."""
    assert (
        answer("Summarise:\r\nThe gauge hangs\r\nin the well of the pier.").text
        == "The gauge hangs in the well of the pier."
    )


def test_abbreviation_does_not_end_sentence() -> None:
    """A full stop behind an abbreviation does not end a sentence."""
    assert answer(
        "Summarise in one sentence:\nDr. Smith, i.e. the old one, measured 6.2 metres at the pier."
    ).text.endswith("at the pier.")


# ---- what it says of itself --------------------------------------------------------------------


def test_response_names_offline_model() -> None:
    """The response names its model, says that it is not a language model, and costs nothing."""
    response = answer(f"Summarise:\n{HARBOUR}")
    assert (response.model, response.usd, response.usd_source, response.finish_reason) == (
        "offline/extractive",
        0.0,
        "free",
        "stop",
    )
    assert response.usage.is_estimated
    assert "no language model was used" in response.note
    assert "left out" not in response.note
    one = answer("Summarise:\nHigh water comes every 12 hours and 25 minutes.").note
    assert one.startswith("extracted from 1 sentence of the prompt; ")


@pytest.mark.parametrize("output", [None, Verdict])
def test_stream_joins_to_text(output: type[BaseModel] | None) -> None:
    """The pieces of a stream join to the text."""
    pieces: list[str] = []
    request = Request(MODEL, to_messages(f"Summarise:\n{HARBOUR}"), schema=output)
    response = asyncio.run(OfflineClient().complete(request, pieces.append))
    assert "".join(pieces) == response.text
    assert response.first_token_seconds is not None
    assert len(pieces) > 3 or output is not None


def test_request_without_time_fails() -> None:
    """A request without time fails before any work."""
    with pytest.raises(TimedOut):
        answer("Summarise:\nThe gauge is old.", timeout=0.0)


def test_answers_are_deterministic() -> None:
    """Equal requests get equal answers in processes whose sets have different orders."""
    program = (
        "import asyncio\n"
        "from tests.models.offline.test_client import HARBOUR, Verdict, answer\n"
        "print(answer(f'Summarise this:\\n{HARBOUR}').text, "
        "answer(f'Judge:\\n{HARBOUR}', schema=Verdict).text)"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        "one document again and again",
        "all sentences different",
        "no sentence at all",
        "one character a sentence",
    ],
)
def test_ten_megabytes_take_three_seconds(
    kind: str,
) -> None:
    """Ten megabytes take less than three seconds, and the note says how much was left out."""
    text = {
        "one document again and again": HARBOUR * 2_800,
        "all sentences different": "".join(
            f"Gauge {n} at place {n * 7} shows {n * 13} metres of water over mark {n * 17}.\n"
            for n in range(160_000)
        ),
        "no sentence at all": "tide " * 2_000_000,
        "one character a sentence": "a. " * 3_400_000,
    }[kind]
    assert len(text) > 9_900_000
    began = time.perf_counter()
    response = answer(f"Summarise this:\n{text}")
    assert time.perf_counter() - began < 3
    assert "characters of a very long text were left out" in response.note
    assert len(response.text) < 5_000


def test_long_document_spares_event_loop() -> None:
    """The loop goes on turning while a thread works on the text."""

    async def main() -> int:
        call = asyncio.create_task(
            OfflineClient().complete(Request(MODEL, to_messages(f"Summarise:\n{HARBOUR * 40}")))
        )
        turns = 0
        while not call.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(main()) > 20
