"""An answer comes out of a letter as it went in, or is refused before it is sent."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from graphorch import Approval, InputError
from graphorch.engine.waits.answer_codec import decode_answer, encode_answer


class Part(BaseModel):
    text: str = ""
    tags: set[str] = set()


class Answer(BaseModel):
    amount: Decimal = Decimal(0)
    due: datetime | None = None
    parts: list[Part] = []
    free: Any = None


def send(answer: BaseModel) -> BaseModel:
    """Return an answer after its way through a stored letter."""
    expected = type(answer)
    return decode_answer(
        "ask", json.loads(json.dumps(encode_answer("ask", answer, expected))), expected
    )


@pytest.mark.parametrize(
    "answer",
    [
        Approval(approved=False, reason="dull"),
        Answer(),
        Answer(amount=Decimal("1.10"), due=datetime(2026, 3, 1, tzinfo=UTC)),
        Answer(due=datetime(2026, 3, 1, 7, tzinfo=timezone(timedelta(hours=2)))),
        Answer(parts=[Part(tags={"b", "a"}), Part(text="x")]),
        Answer(free=(1, b"bytes")),
    ],
)
def test_answer_comes_back_as_it_was(answer: BaseModel) -> None:
    """Values keep their types and zones, and the answer the fields that were set."""
    received = send(answer)
    assert received == answer
    assert received.model_fields_set == answer.model_fields_set
    assert sorted(str(received)) == sorted(str(answer))  # the order of a set is its own


@given(
    st.builds(
        Part,
        text=st.text(st.characters(codec="utf-8")),
        tags=st.sets(st.text(max_size=3, alphabet="abc")),
    )
)
def test_any_part_comes_back(part: Part) -> None:
    """Any text and any set comes back."""
    assert send(part) == part


def test_lossy_answer_is_refused() -> None:
    """An answer that JSON cannot give back is refused with its place."""
    with pytest.raises(InputError, match="The answer to 'ask' cannot be sent to the process"):
        send(Answer(free=object()))


@pytest.mark.parametrize("stored", [7, {"amount": "much"}, None, []])
def test_answer_of_other_shape_is_refused(stored: object) -> None:
    """What does not fit the question is refused with what it asks for."""
    with pytest.raises(InputError, match=r"'ask' asks for a Answer, and the answer does not fit"):
        decode_answer("ask", {"answer": stored}, Answer)
