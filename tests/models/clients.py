"""A scripted model client for tests, which records its requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from graphorch.errors import ModelError
from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response, Usage


@dataclass
class Scripted:
    """Model client that plays its steps in turn and then repeats the last one.

    A step is a text, an error, or a function of the request.
    """

    steps: list[str | ModelError | Callable[[Request], Response]]
    asked: list[Request] = field(default_factory=list[Request])

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        step = self.steps[min(len(self.asked), len(self.steps) - 1)]
        self.asked.append(request)
        if isinstance(step, ModelError):
            raise step
        response = (
            response_of(step, model=request.model) if isinstance(step, str) else step(request)
        )
        if on_text is not None:
            on_text(response.text)
        return response


def response_of(
    text: str,
    *,
    model: str = "m",
    usage: Usage = Usage(10, 5),  # noqa: B008  (a frozen value)
    usd: float = 0.25,
    seconds: float = 1.0,
) -> Response:
    return Response(text, model, usage, usd, "table", "stop", 1, seconds, None)
