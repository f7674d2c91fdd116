"""Thoughts in front of an answer: left out whole and streamed, and nothing else with them."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphorch.models.errors import Empty
from graphorch.models.reasoning import ReasoningFilter, strip_reasoning
from tests.models.openai.calls import ask, expect_failure
from tests.models.servers import completion, pieces_of, replies, streams

THOUGHTS = [
    "<think>hm</think>answer",
    "<think>\nhm {4} <b>\n</think>\n\nanswer",
    "  <THINK>hm</Think> answer",
    "<thinking>hm</thinking>answer",
    "<thought>hm</thought>\nanswer",
    "<think></think>answer",
    "<think>a</think>\n<think>b</think>answer",
    "[THINK]hm[/THINK]answer",
    "◁think▷hm◁/think▷answer",
    "<|START_THINKING|>hm<|END_THINKING|>answer",
]
CLOSED_ONLY = ["hm</think>answer", "so 2+2\nis 4\n</think>\n\nanswer", "hm[/THINK]answer"]
CHANNELS = [
    "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>answer",
    "<|channel|>final<|message|>answer<|return|>",
    "<|channel|>final <|constrain|>json<|message|>answer",
]
PLAIN = [
    "answer",
    "",
    "<thin ice>",
    "<reasoning>asked for</reasoning><answer>7</answer>",
    "the tag `</think>` ends it, and `<think>` begins it",
    'it says "</think>"',
    '{"text": "a </think> b"}',
    "first <think> then </think> last",
    "2 < 3",
    "<",
]


@pytest.mark.parametrize("text", [*THOUGHTS, *CLOSED_ONLY, *CHANNELS])
def test_thoughts_are_left_out(text: str) -> None:
    """Return only the answer behind thoughts of every form."""
    assert strip_reasoning(text) == "answer"


@pytest.mark.parametrize("text", PLAIN)
def test_other_text_is_kept(text: str) -> None:
    """Keep text that begins with no thought, also if it is about such marks."""
    assert strip_reasoning(text) == text


@pytest.mark.parametrize(
    "text", ["<think>hm", "<think>hm</think>", "<|channel|>analysis<|message|>hm"]
)
def test_thoughts_alone_are_no_answer(text: str) -> None:
    """Raise Empty for an answer that is nothing but thoughts."""
    assert strip_reasoning(text) == ""
    failure = expect_failure(replies(completion(text)))
    assert type(failure) is Empty
    assert failure.retryable
    assert "thoughts and no answer" in str(failure)


@given(st.sampled_from([*THOUGHTS, *PLAIN, "<think>hm"]), st.lists(st.integers(0, 40), max_size=8))
def test_filter_agrees_with_stripping(text: str, places: list[int]) -> None:
    """Show the same text in pieces as whole, wherever it is cut."""
    cuts = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    thoughts = ReasoningFilter()
    shown = "".join(thoughts.add(text[begin:end]) for begin, end in pairwise(cuts))
    assert shown + thoughts.finish() == strip_reasoning(text)


def test_answer_has_no_thoughts() -> None:
    """Leave thoughts out of an answer, and out of what is streamed of it."""
    assert ask(replies(completion(THOUGHTS[1]))).text == "answer"
    response = ask(streams(pieces_of("<thi", "nk>hm</th", "ink>\n", "\nan", "swer")), streamed=True)
    assert response.text == "answer"
