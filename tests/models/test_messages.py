"""The values of a model call: roles and prompts are checked where they are made."""

from __future__ import annotations

from typing import Any

import pytest

from graphorch.errors import InputError
from graphorch.models.messages import Message, Request, estimate_usage, to_messages


def test_a_string_is_one_message_of_the_user() -> None:
    assert to_messages("hi") == (Message(role="user", content="hi"),)


def test_messages_stay_as_they_are() -> None:
    prompt = [Message(role="system", content="be brief"), Message(content="hi")]
    assert to_messages(prompt) == tuple(prompt)


@pytest.mark.parametrize(
    "wrong, says",
    [
        ([], "got nothing"),
        ([1], "got int"),
        (7, "got int"),
        (None, "got NoneType"),
        (b"hi", "got int"),
        (Message(content="hi"), "got Message"),
    ],
)
def test_anything_else_is_refused_with_what_came(wrong: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        to_messages(wrong)


def test_a_misspelt_role_and_content_that_is_no_text_are_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'system'"):
        Message(role="sytem", content="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="got dict"):
        Message(content={})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_an_estimate_says_that_it_is_one() -> None:
    usage = estimate_usage(Request("m", to_messages("12345678")), "123")
    assert (usage.input_tokens, usage.output_tokens, usage.is_estimated) == (2, 1, True)
