"""Conversations in the state: a list of messages that grows, whole or as long as a prompt allows.

Rules of this file:
1. A history is cut in whole turns: a message of the user and all that follows it up to the next
   one. A call of a tool and its answer are never parted.
2. A cut history says so in its first message, so models and people know that there was more.
3. Cutting is associative, as a reducer has to be: what comes before a cut history never returns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias

from graphorch.errors import InputError
from graphorch.graph.options import is_count
from graphorch.models.messages import Message
from graphorch.models.token_estimate import estimate_tokens
from graphorch.state.reducers import append
from graphorch.text import format_value

History: TypeAlias = Annotated[list[Message], append]
"""A field that holds a conversation: nodes write the new messages, and all are kept."""

LEFT_OUT: Final = Message(
    role="system", content="Earlier messages of this conversation are left out."
)
"""The first message of a history that was cut."""

_PER_MESSAGE = 4  # tokens of the role and the separators


@dataclass(frozen=True, slots=True)
class KeepRecent:
    """A reducer that appends messages, and keeps the last whole turns of about `tokens` tokens.

        class Chat(BaseModel):
            messages: Annotated[list[Message], KeepRecent(tokens=8_000)] = []

    The last turn stays whatever its size. A turn begins with a message of the user. Tokens are
    estimated from the texts. Raises `InputError` if `tokens` is not a whole number from 1 on.
    """

    tokens: int

    def __post_init__(self) -> None:
        if not is_count(self.tokens):
            raise InputError(
                f"KeepRecent(tokens={format_value(self.tokens)}): give a whole number from 1 on."
            )

    def __call__(self, old: list[Message], new: list[Message]) -> list[Message]:
        """Return the last turns of both lists."""
        if new and new[0] == LEFT_OUT:
            old = []
        is_cut = bool(old or new) and (old or new)[0] == LEFT_OUT
        messages = [message for message in (*old, *new) if message != LEFT_OUT]
        kept = _keep_turns(messages, self.tokens)
        is_cut = is_cut or len(kept) < len(messages)
        return [LEFT_OUT, *kept] if is_cut else kept


def _keep_turns(messages: Sequence[Message], tokens: int) -> list[Message]:
    """Return the longest end of a conversation that begins with a turn and fits, or the last."""
    left = float(tokens)
    first = len(messages)
    for place in range(len(messages) - 1, -1, -1):
        left -= _estimate(messages[place])
        is_last = first == len(messages)
        if left < 0 and not is_last:
            break
        if messages[place].role == "user" or place == 0:
            first = place
    return list(messages[first:])


def _estimate(message: Message) -> int:
    texts = [message.content, *(call.arguments for call in message.tool_calls)]
    return _PER_MESSAGE + math.ceil(sum(map(estimate_tokens, texts)))
