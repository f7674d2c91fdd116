"""What a model call is told it belongs to: for traces, gateways and bills.

What a model was asked, as plain JSON for the journal: bounded, and of a conversation that goes on only what is new.

A prompt is kept for people who read a run afterwards; nothing is ever computed from it. So a very long one is cut, and characters that
JSON cannot hold are replaced, instead of failing the run.

A model client that keeps what was asked beside what was answered, for those who look into a run while it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphorch.core.run import Run
from graphorch.core.tree import Activation
from graphorch.errors import ModelError
from graphorch.models.client import ModelClient, OnText
from graphorch.models.messages import Message, Request, Response

if TYPE_CHECKING:
    from graphorch.models.messages import Message, Request


def build_call_metadata(
    activation: Activation, run: Run, tags: Mapping[str, str]
) -> Mapping[str, str]:
    """The run, the flow, the node and the levels around it, with the tags of the run and of the graphs."""
    above = activation.scope.parent
    return {
        **tags,
        **_tags_around(activation),
        "tags": ",".join(
            [
                run.plan.name,
                activation.step.name,
                *(f"{key}={value}" for key, value in tags.items()),
            ]
        ),
        "trace_id": run.run_id,
        "run": run.run_id,
        "flow": run.plan.name,
        "run_id": run.run_id,
        "path": activation.path,
        "node": activation.step.name,
        "activation": activation.id,
        "parent": above.id if above is not None else run.run_id,
        "level": str(activation.path.count("/") + 1),
        "department": activation.path.rpartition("/")[0],
        "attempt": str(activation.attempt),
    }


def _tags_around(activation: Activation) -> dict[str, str]:
    """What the graphs around an activation say about it, the innermost last."""
    found: dict[str, str] = {}
    around: Activation | None = activation
    while around is not None:
        for name, view in around.scope.plan.tags:
            if name not in found and around.version is not None and view.can_read(around.version):
                found[name] = str(view(around.version))
        around = around.scope.parent
    return found


LONGEST = 100_000  # characters of one message
MOST = 400  # messages of one request; the first and the last are kept


class PromptLog:
    """Describes the requests that one conversation makes, one after the other."""

    def __init__(self) -> None:
        self._before: tuple[Message, ...] = ()

    def describe(self, request: Request) -> dict[str, Any]:
        """The request; `shared` is how many of its messages the one before it had too, which are left out."""
        shared = (
            len(self._before)
            if self._before and request.messages[: len(self._before)] == self._before
            else 0
        )
        self._before = request.messages
        new = request.messages[shared:]
        left_out = max(0, len(new) - MOST)
        if left_out:
            new = (*new[: MOST // 2], *new[-MOST // 2 :])
        return {
            "model": clean(request.model),
            "messages": [_message(message) for message in new],
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
        told["calls"] = [
            {"id": clean(call.id), "name": clean(call.name), "arguments": clean(call.arguments)}
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        told["answers"] = clean(message.tool_call_id)
    return told


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One request to a model, with the messages that were sent, and the response, or the error that came instead."""

    path: str
    activation: str
    model: str
    messages: tuple[Message, ...]
    response: Response | None
    error: str = ""


class RecordingClient:
    """Passes requests on, and keeps each with its answer in `calls`."""

    def __init__(self, client: ModelClient) -> None:
        self._client = client
        self.calls: list[RecordedCall] = []

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
        self.calls.append(
            RecordedCall(
                known.get("path", ""),
                known.get("activation", ""),
                model,
                request.messages,
                response,
                error,
            )
        )
