"""The model that is none: readable answers out of the text, equal for equal requests, fast on huge documents, and honest about itself."""

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
from graphorch.models.structured_output import ask
from tests.models.documents import HARBOUR

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


def test_a_summary_is_a_headline_and_points_in_the_order_of_the_document() -> None:
    headline, *points = points_of(answer(f"Summarise this document:\n{HARBOUR}").text)
    text = " ".join(HARBOUR.split())
    places = [text.index(point) for point in points]
    assert headline in text
    assert 3 <= len(points) <= 12
    assert places == sorted(places)
    assert headline not in points


def test_nothing_is_said_twice_when_the_prompt_holds_it_twice() -> None:
    said = points_of(answer(f"Summarise.\n\nNotes:\n{HARBOUR}\n\nDocument:\n{HARBOUR}").text)
    assert len(said) == len(set(said)) >= 4


def test_the_instruction_and_the_system_message_are_not_part_of_the_answer() -> None:
    system = "You are an editor at a newspaper. Sentences about harbours and gauges must be short."
    prompt = f"You will be given a report. Summarise the report about the tide gauge in your own words:\n{HARBOUR}\n\nAnswer with points only."
    text = answer(prompt, system=system).text
    for word in ("editor", "own words", "points only", "will be given"):
        assert word not in text


@pytest.mark.parametrize(
    "wish, sentences", [("in one sentence", 1), ("in 3 sentences", 3), ("as five short bullets", 5)]
)
def test_the_length_that_is_asked_for_is_kept(wish: str, sentences: int) -> None:
    assert len(points_of(answer(f"Summarise this {wish}:\n{HARBOUR}").text)) == sentences


def test_a_limit_on_words_and_on_tokens_is_kept() -> None:
    assert (
        len(
            answer(f"Summarise this in at most 60 words:\n{HARBOUR}").text.replace("- ", "").split()
        )
        <= 60
    )
    assert len(answer(f"Summarise this:\n{HARBOUR}", max_tokens=100).text) <= 400


def test_a_question_is_answered_with_the_sentences_that_speak_of_it() -> None:
    text = answer(f"Question: What does the radar gauge cost?\n\n{HARBOUR}").text
    assert "The comparison adds 9,000 pounds to the cost of the radar gauge." in text
    assert "October" not in text


def test_a_topic_decides_what_matters() -> None:
    text = answer(f"Write two sentences.\n\nTopic: the sinking pier\n\n{HARBOUR}").text
    assert "sinking" in text
    assert "the sinking pier" not in text.split(".")[0].lower().removeprefix("the lifeboat")


def test_an_article_is_prose_and_notes_are_points() -> None:
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


def test_research_draft_and_review_make_sense_and_another_round_is_better() -> None:
    async def main() -> tuple[list[str], list[Verdict]]:
        client = OfflineClient()

        async def said(prompt: str, output: type[BaseModel]) -> BaseModel:
            return (await ask(client, Request(MODEL, to_messages(prompt)), output)).value

        research = await said(
            f"Research this document and note the key findings:\n{HARBOUR}", Research
        )
        assert isinstance(research, Research)
        drafts, verdicts = [""], [Verdict()]
        for _ in range(3):
            told = f"Draft:\n{drafts[-1]}\n\nFeedback:\n{verdicts[-1].feedback}"
            draft = await said(
                f"Write an article.\n\nNotes:\n{research.research}\n\nDocument:\n{HARBOUR}\n\n{told}",
                Draft,
            )
            assert isinstance(draft, Draft)
            verdict = await said(
                f"Score the draft against the document.\n\nDocument:\n{HARBOUR}\n\nDraft:\n{draft.draft}",
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
def test_an_empty_document_is_said_to_be_empty(prompt: str) -> None:
    assert "no text to work on" in answer(prompt).text


@pytest.mark.parametrize(
    "prompt", ["Research this topic thoroughly: tides", "Write a haiku about tides.", "tides"]
)
def test_a_topic_without_text_is_told_so_instead_of_inventing_one(prompt: str) -> None:
    text = answer(prompt).text
    assert "tides" in text
    assert "no source text was given" in text


# ---- strange text ------------------------------------------------------------------------------


def test_control_characters_and_terminal_sequences_do_not_get_through() -> None:
    dirty = "The gauge \x1b[31mis red\x1b[0m and\x00 it has \x07been so\u202e for years. \ud83dIt works well in all weathers, they say."
    text = answer(f"Summarise:\n{dirty}").text
    assert "The gauge is red and it has been so for years." in text
    text.encode()


def test_markup_is_text() -> None:
    assert (
        "<script>alert(1)</script>"
        in answer(
            "Summarise:\n<script>alert(1)</script> is what the page of the harbour says today."
        ).text
    )


def test_windows_line_ends_and_wrapped_lines_are_joined() -> None:
    assert (
        answer("Summarise:\r\nThe gauge hangs\r\nin the well of the pier.").text
        == "The gauge hangs in the well of the pier."
    )


def test_abbreviations_end_no_sentence() -> None:
    assert answer(
        "Summarise in one sentence:\nDr. Smith, i.e. the old one, measured 6.2 metres at the pier."
    ).text.endswith("at the pier.")


# ---- what it says of itself --------------------------------------------------------------------


def test_the_response_says_what_it_is_and_costs_nothing() -> None:
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


@pytest.mark.parametrize("output", [None, Verdict])
def test_the_pieces_of_a_stream_join_to_the_text(output: type[BaseModel] | None) -> None:
    pieces: list[str] = []
    request = Request(MODEL, to_messages(f"Summarise:\n{HARBOUR}"), schema=output)
    response = asyncio.run(OfflineClient().complete(request, pieces.append))
    assert "".join(pieces) == response.text
    assert response.first_token_seconds is not None
    assert len(pieces) > 3 or output is not None


def test_a_request_without_time_fails_at_once() -> None:
    with pytest.raises(TimedOut):
        answer("Summarise:\nThe gauge is old.", timeout=0.0)


def test_equal_requests_get_equal_answers_in_every_process() -> None:
    """Also where the order of sets differs, which the seed of Python's hashes decides."""
    program = (
        "import asyncio\n"
        "from tests.models.offline.test_client import HARBOUR, Verdict, answer\n"
        "print(answer(f'Summarise this:\\n{HARBOUR}').text, answer(f'Judge:\\n{HARBOUR}', schema=Verdict).text)"
    )
    told = {
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
    assert len(told) == 1


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
def test_ten_megabytes_take_less_than_three_seconds_and_what_was_left_out_is_said(
    kind: str,
) -> None:
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


def test_a_long_document_does_not_hold_up_the_event_loop() -> None:
    """The loop goes on turning while the text is worked on in a thread."""

    async def main() -> int:
        call = asyncio.create_task(
            OfflineClient().complete(Request(MODEL, to_messages(f"Summarise:\n{HARBOUR * 10}")))
        )
        turns = 0
        while not call.done():
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert asyncio.run(main()) > 20
