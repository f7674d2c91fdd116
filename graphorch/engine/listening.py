"""A model client that keeps what was asked beside what was answered, for those who look into a run while it goes."""

from __future__ import annotations

from dataclasses import dataclass

from graphorch.errors import ModelError
from graphorch.models.client import ModelClient, OnText
from graphorch.models.messages import Message, Request, Response


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a model, with the messages that were sent, and the response, or the error that came instead."""

    path: str
    activation: str
    model: str
    messages: tuple[Message, ...]
    response: Response | None
    error: str = ""


class Listening:
    """Passes requests on, and keeps each with its answer in `calls`."""

    def __init__(self, client: ModelClient) -> None:
        self._client = client
        self.calls: list[Call] = []

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """What the client answers."""
        try:
            response = await self._client.complete(request, on_text)
        except ModelError as error:
            self._keep(request, request.model, None, f"{type(error).__name__}: {error}")
            raise
        self._keep(request, response.model, response, "")
        return response

    def _keep(self, request: Request, model: str, response: Response | None, error: str) -> None:
        known = request.metadata
        self.calls.append(Call(known.get("path", ""), known.get("activation", ""), model, request.messages, response, error))
