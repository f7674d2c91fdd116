"""The port to a model: a request in, a response out.

Everything that can be added to a model call (retry, policy, budget, cache, guardrail) wraps a `ModelClient` and is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias, runtime_checkable

if TYPE_CHECKING:
    from graphorch.models.messages import Request, Response

OnText: TypeAlias = Callable[[str], None]


class ModelClient(Protocol):
    """Anything that answers a request."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """The complete answer; its text also goes to `on_text` piece by piece while it arrives.

        What is streamed is a preview; only the text of the response counts. The pieces of one attempt join to that text (except that a
        code fence around JSON is taken off the response), but a call that starts over after a failure streams from the beginning again.

        Raises `ModelError` for everything that can go wrong between here and the model, never half an answer.
        """
        ...


@runtime_checkable
class Closable(Protocol):
    """A client that holds connections. Closing twice is fine, and so is using it again afterwards."""

    async def aclose(self) -> None:
        """Close what was opened in the running event loop; calls in flight finish first."""
        ...


async def close(client: ModelClient) -> None:
    """Close a client if there is something to close: the last line of whoever opened it."""
    if isinstance(client, Closable):
        await client.aclose()
