"""Context of a node whose function runs on another worker than its run."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from graphorch.clock import Clock
from graphorch.distributed.node_messages import (
    ANSWER,
    ASK,
    EMIT,
    NodeCall,
    decode_message,
    encode_message,
)
from graphorch.distributed.results import Note, Results
from graphorch.distributed.sent_requests import RequestNames, encode_request
from graphorch.engine.invocation.process_protocol import decode_error
from graphorch.engine.record_bodies import decode_response
from graphorch.errors import GraphorchError
from graphorch.graph.context import ROUNDS, ToolSource
from graphorch.graph.plan import Step
from graphorch.models import errors as model_errors
from graphorch.models.budgets.budget import Budget
from graphorch.models.client import OnText
from graphorch.models.messages import Message, Prompt, Request, Response, to_messages
from graphorch.models.structured_output import InvalidAnswer, ask_for_value
from graphorch.text import clean

_LONGEST_NOTE: Final = 500  # characters
_KNOWN: Final = [
    kind
    for kind in vars(model_errors).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
]


class NeedsOwner(GraphorchError):
    """A function has to run where its run is: it has a model call tools."""


class RemoteContext:
    """The context of one call on a worker; what only the owner of the run has, it asks for.

    `budget_left` is what was left when the call was sent, or at its last answer.
    """

    def __init__(
        self, call: NodeCall, step: Step, results: Results, resources: Any, clock: Clock
    ) -> None:
        self._call = call
        self._step = step
        self._results = results
        self._resources = resources
        self._clock = clock
        self._names = RequestNames()
        self._budget = call.context.budget
        self._end: float | None = None
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, asyncio.Future[bytes]] = {}
        self._early: dict[str, bytes] = {}  # answers that a worker before this one has asked for
        self._emitted = itertools.count(1)
        self._posts: set[asyncio.Task[Any]] = set()
        self.attempt = call.attempt
        self.asked = 0  # answers that were not kept from an earlier attempt
        self.notes: list[str] = []

    # ---- what came with the call -----------------------------------------------------------------
    @property
    def key(self) -> str:
        """Idempotency key: the id of the activation."""
        return self._call.activation

    @property
    def path(self) -> str:
        """Path of the activation in the run."""
        return self._call.path

    @property
    def consent(self) -> str:
        """What a person agreed to, of a call whose tool had asked for it."""
        return self._call.context.consent

    @property
    def time_left(self) -> float | None:
        """Seconds until the nearest deadline; None without one."""
        deadline, ends = self._call.context.deadline, list[float]()
        if deadline is not None:
            ends.append(deadline - self._clock())
        if self._end is not None:
            ends.append(self._end - self._loop.time())
        return max(0.0, min(ends)) if ends else None

    def limit_time(self, end: float | None) -> None:
        """Let the time of the attempt end then, in the event loop's time, if not before."""
        self._end = end

    @property
    def budget_left(self) -> Budget:
        """Budget that was left for the node when its owner was heard of last."""
        return Budget(**self._budget)  # pyright: ignore[reportArgumentType]

    @property
    def missing_branches(self) -> Mapping[str, str]:
        """Nodes before a join that brought nothing, each with the reason."""
        return self._call.context.missing

    @property
    def resources(self) -> Any:
        """Resources of this worker. Raises `Uncacheable` in a node with a cache."""
        if self._step.node.options.cache is not None:
            from graphorch.engine.node_cache import Uncacheable

            raise Uncacheable(
                f"'{self.path}' has a cache, and reads the resources of the run: another run with "
                "other resources would get the same result. Leave the cache out, or put what "
                "decides into the state."
            )
        return self._resources

    def has_room(self, condition: Callable[..., Any]) -> bool:
        """Return whether a loop with this condition may go back once more from this node."""
        exits = zip(self._step.exits, self._call.context.room, strict=True)
        return any(has_room for each, has_room in exits if each.condition.fn is condition)

    # ---- what goes back --------------------------------------------------------------------------
    def note(self, text: str) -> None:
        """Leave a remark for people, which is kept if the attempt succeeds."""
        self.notes.append(clean(" ".join(text.split()))[: 2 * _LONGEST_NOTE])

    def emit(self, event: BaseModel) -> None:
        """Send an event to the observers of the run, if it has any."""
        if not self._call.context.is_watched:
            return
        body = encode_message(
            {"type": type(event).__name__, "values": event.model_dump(mode="json")}
        )
        word = f"{EMIT}{next(self._emitted)}"
        self._loop.call_soon_threadsafe(self._post_later, word, body)  # perhaps it is on a thread

    def _post_later(self, word: str, body: bytes) -> None:
        task = self._loop.create_task(self._post(word, body))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _post(self, word: str, body: bytes) -> None:
        key = self._call.key
        await self._results.post(Note(key.run, key.run, key.name_note(word), body))

    async def finish(self) -> None:
        """Wait until what was emitted is on its way."""
        await asyncio.sleep(0)
        await asyncio.gather(*self._posts, return_exceptions=True)

    # ---- model calls -----------------------------------------------------------------------------
    async def complete(
        self,
        prompt: Prompt,
        *,
        output: type[BaseModel] | None = None,
        model: str = "default",
        instructions: str = "",
        tools: Sequence[Callable[..., Any] | ToolSource] = (),
        rounds: int = ROUNDS,
        keep_rounds: int | None = None,
        keep_tokens: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Any:
        """Ask a model through the owner of the run, and return text or an instance of `output`."""
        if tools:
            raise NeedsOwner(f"'{self.path}' has tools, which only its run can call.")
        messages = to_messages(prompt)
        if instructions:
            messages = (Message(role="system", content=instructions), *messages)
        request = Request(
            model=model, messages=messages, max_tokens=max_tokens, temperature=temperature
        )
        client = _OwnerClient(self)
        if output is None:
            return (await client.complete(request)).text
        while True:
            asked_before = self.asked
            try:
                return (await ask_for_value(client, request, output)).value
            except InvalidAnswer:
                # If all of it was kept from an earlier attempt, that one failed with it.
                if self.asked > asked_before:
                    raise
                client.is_repeated = True

    async def ask(self, request: Request, *, is_repeated: bool) -> Response:
        """Return the answer that the owner of the run gets. Raises what the call raised there."""
        body = {**encode_request(request), "is_repeated": is_repeated}
        name = self._names.name(body)
        header, _ = decode_message(self._early.pop(name, b"") or await self._wait(name, body))
        self._budget = header["budget"]
        if "error" in header:
            raise decode_error(header["error"], _KNOWN)
        self.asked += header["is_new"]
        return decode_response(header["response"])

    async def _wait(self, name: str, body: Mapping[str, Any]) -> bytes:
        waiting = self._waiting[name] = self._loop.create_future()
        try:
            await self._post(f"{ASK}{name}", encode_message({**body}))
            return await waiting
        finally:
            del self._waiting[name]

    def take_answer(self, note: Note) -> None:
        """Take the answer to a request of this call."""
        name = note.key.removeprefix(ANSWER)
        waiting = self._waiting.get(name)
        if waiting is None:
            self._early[name] = note.body
        elif not waiting.done():
            waiting.set_result(note.body)


class _OwnerClient:
    """The owner of a run as a model client."""

    def __init__(self, context: RemoteContext) -> None:
        self._context = context
        self.is_repeated = False

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        """Return the response to a request. The owner streams its text to the observers."""
        is_repeated, self.is_repeated = self.is_repeated, False
        return await self._context.ask(request, is_repeated=is_repeated)
