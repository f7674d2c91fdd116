"""Models that need no network, for the tests of what wraps a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response, Usage


def answer(text: str, *, usd: float = 0.001, finish_reason: str = "stop") -> Response:
    return Response(
        text=text, model="m", usage=Usage(10, 5), usd=usd, usd_source="reported",
        finish_reason=finish_reason, attempts=1, seconds=0.1,
        first_token_seconds=None,
    )  # fmt: skip


def in_pieces(text: str, sizes: Sequence[int]) -> list[str]:
    """Return the text in pieces of these sizes, over and over."""
    pieces: list[str] = []
    turn = 0
    while text:
        size = max(1, sizes[turn % len(sizes)])
        pieces.append(text[:size])
        text, turn = text[size:], turn + 1
    return pieces


@dataclass
class Parrot:
    """Model that answers what `reply` makes of the last message (by default that message).

    A streamed answer comes in pieces of `sizes`.
    """

    reply: Callable[[str], str] = str
    sizes: Sequence[int] = (7,)
    heard: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    is_closed: bool = False

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        self.requests.append(request)
        self.heard.append(request.messages[-1].content)
        text = self.reply(self.heard[-1])
        for piece in in_pieces(text, self.sizes) if on_text else ():
            on_text(piece)  # type: ignore[misc]
        return answer(text)

    async def aclose(self) -> None:
        self.is_closed = True
