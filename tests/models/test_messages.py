"""The values of a model call: roles and prompts are checked where they are made."""

from __future__ import annotations

from typing import Any

import pytest

from graphorch.errors import InputError
from graphorch.models.messages import Message, Request, estimate_usage, to_messages


def test_string_becomes_user_message() -> None:
    """Turn a string into a single message of the user."""
    assert to_messages("hi") == (Message(role="user", content="hi"),)


def test_messages_stay_unchanged() -> None:
    """Return a list of messages as an equal tuple."""
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
def test_prompt_of_other_type_is_refused(wrong: Any, says: str) -> None:
    """Refuse any other prompt and name the type that was given."""
    with pytest.raises(InputError, match=says):
        to_messages(wrong)


def test_message_checks_role_and_content() -> None:
    """Refuse a misspelt role, and content that is not text."""
    with pytest.raises(InputError, match="Did you mean 'system'"):
        Message(role="sytem", content="x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="got dict"):
        Message(content={})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_estimated_usage_is_marked() -> None:
    """Mark an estimated usage as an estimate."""
    usage = estimate_usage(Request("m", to_messages("12345678")), "123")
    assert (usage.input_tokens, usage.output_tokens, usage.is_estimated) == (2, 1, True)
