"""What a model was asked, as plain JSON for the journal: bounded, and of a conversation that goes on only what is new.

A prompt is kept for people who read a run afterwards; nothing is ever computed from it. So a very long one is cut, and characters that
JSON cannot hold are replaced, instead of failing the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graphorch.models.messages import Message, Request

LONGEST = 100_000  # characters of one message
MOST = 400  # messages of one request; the first and the last are kept


class PromptLog:
    """Describes the requests that one conversation makes, one after the other."""

    def __init__(self) -> None:
        self._before: tuple[Message, ...] = ()

    def described(self, request: Request) -> dict[str, Any]:
        """The request; `shared` is how many of its messages the one before it had too, which are left out."""
        shared = len(self._before) if self._before and request.messages[: len(self._before)] == self._before else 0
        self._before = request.messages
        new = request.messages[shared:]
        left_out = max(0, len(new) - MOST)
        if left_out:
            new = (*new[: MOST // 2], *new[-MOST // 2 :])
        return {
            "model": clean(request.model),
            "messages": [_message(each) for each in new],
            "shared": shared,
            "left_out": left_out,
            "tools": [clean(tool.name) for tool in request.tools],
            "output": None if request.schema is None else request.schema.__name__,
        }


def clean(text: str, longest: int = LONGEST) -> str:
    """The text without halves of characters, cut if it is very long."""
    if len(text) > longest:
        text = f"{text[:longest]}… ({len(text) - longest:,} more characters)"
    return text.encode("utf-8", "replace").decode("utf-8") if not text.isascii() else text


def _message(message: Message) -> Mapping[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": clean(message.content)}
    if message.tool_calls:
        told["calls"] = [{"id": clean(one.id), "name": clean(one.name), "arguments": clean(one.arguments)} for one in message.tool_calls]
    if message.tool_call_id:
        told["answers"] = clean(message.tool_call_id)
    return told
