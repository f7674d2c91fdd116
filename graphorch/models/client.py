"""The port to a model: a request in, a response out.

Everything that can be added to a model call (retry, policy, budget, cache, guardrail) wraps a
`ModelClient` and is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeAlias

from typing_extensions import TypeIs

from graphorch.errors import InputError

if TYPE_CHECKING:
    from graphorch.models.messages import Request, Response

_DEEPEST = 100  # clients around clients
OnText: TypeAlias = Callable[[str], None]


class ModelClient(Protocol):
    """Client that answers requests."""

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the complete answer; its text also goes to `on_text` in pieces while it arrives.

        The stream is a preview; only the text of the response counts. The pieces of one attempt
        join to that text, except that a code fence around JSON is taken off the response, and so
        are thoughts of which only the end is marked. A call that starts over after a failure
        streams from the beginning again.

        Raises `ModelError` for every failure between here and the model; never half an answer.
        """
        ...


class Wrapper(Protocol):
    """Client around another one, such as a retry, a cache or a guard."""

    @property
    def inner(self) -> ModelClient:
        """The client that this one is around."""
        ...


class Closable(Protocol):
    """Client that holds connections.

    Closing it twice is fine, and so is using it again afterwards.
    """

    async def aclose(self) -> None:
        """Close the connections of the running event loop; calls in flight finish first."""
        ...


def unwrap(client: ModelClient) -> Iterator[ModelClient]:
    """Yield a client, the one that it is around, and so on to the innermost.

    Raises `InputError` for a chain without end.
    """
    outermost = client
    for _ in range(_DEEPEST):
        yield client
        if not _is_wrapper(client):
            return
        client = client.inner
    raise InputError(
        f"client={outermost!r:.80}: its `inner` leads on to more than {_DEEPEST} clients. A client "
        "around itself never answers, and a mock has every attribute: give it "
        "`spec=ModelClient`, or write a class with `complete`."
    )


class Preparable(Protocol):
    """Client whose first call would have to load much."""

    async def prepare(self) -> None:
        """Load what calls in the running event loop need, without holding the loop up.

        Preparing it twice is fine, and so is not preparing it.
        """
        ...


async def prepare(client: ModelClient) -> None:
    """Prepare a client and those that it is around, so that the time of no call pays for it."""
    for inner in unwrap(client):
        if _is_preparable(inner):
            await inner.prepare()


async def close(client: ModelClient) -> None:
    """Close a client if it can be closed; the code that opened a client calls this last."""
    if _is_closable(client):
        await client.aclose()


# A client may pass on what it does not change to the one that it is around (`__getattr__`). From
# Python 3.12 on, `isinstance` with a protocol does not see that; these look at the client itself.
def _is_wrapper(client: object) -> TypeIs[Wrapper]:
    return hasattr(client, "inner")


def _is_preparable(client: object) -> TypeIs[Preparable]:
    return hasattr(client, "prepare")


def _is_closable(client: object) -> TypeIs[Closable]:
    return hasattr(client, "aclose")
