"""What a running node sees of its run: the implementation of the `Context` protocol.

What only a model call needs is loaded by the first one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from graphorch.core.tree import Activation
from graphorch.engine.events import Emitted, ModelCalled, TextDelta
from graphorch.engine.missing_branches import find_missing_branches
from graphorch.engine.model_calls import PromptLog, build_call_metadata
from graphorch.engine.report import CallReport
from graphorch.errors import ModelError

if TYPE_CHECKING:
    from graphorch.engine.run_journal import CallDescription
    from graphorch.engine.scheduler import Scheduler
    from graphorch.models.budgets.budget import Budget
    from graphorch.models.client import ModelClient, OnText
    from graphorch.models.messages import Prompt, Request, Response


class NodeContext:
    """The context of one attempt. Once the attempt is over, nothing that is asked of it reaches the run."""

    __slots__ = ("_activation", "_asked", "_scheduler", "attempt", "deadline")

    def __init__(
        self, scheduler: Scheduler, activation: Activation, deadline: float | None
    ) -> None:
        self._scheduler = scheduler
        self._activation = activation
        self._asked: dict[str, int] = {}  # how often each request was made in this attempt
        self.attempt = activation.attempt
        self.deadline = deadline  # in the event loop's time

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self._activation.id

    @property
    def path(self) -> str:
        """Where in the run this is."""
        return self._activation.path

    @property
    def time_left(self) -> float | None:
        """Seconds until the nearest deadline."""
        return (
            None if self.deadline is None else max(0.0, self.deadline - self._scheduler.monotonic())
        )

    @property
    def budget_left(self) -> Budget:
        """What the run may still spend."""
        from graphorch.models.budgets.budget import Budget

        account = self._scheduler.account_for(self._activation)
        return account.left if account is not None else Budget()

    @property
    def missing_branches(self) -> Mapping[str, str]:
        """For a node that is a join: which nodes before it brought nothing, and why. Patterns tell people with it."""
        return find_missing_branches(self._activation, self._scheduler.run.history)

    @property
    def resources(self) -> Any:
        """What the caller of `run` gave as resources."""
        return self._scheduler.settings.resources

    def has_room(self, condition: Callable[..., Any]) -> bool:
        """Whether a loop with this condition may go back once more from this node."""
        activation = self._activation
        return any(
            loop_exit.view.fn is condition
            and activation.iteration(loop_exit.loop) < loop_exit.bound
            for loop_exit in activation.step.exits
        )

    async def complete(
        self,
        prompt: Prompt,
        *,
        output: type[BaseModel] | None = None,
        model: str = "default",
        instructions: str = "",
        tools: Sequence[Callable[..., Any]] = (),
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Any:
        """Ask a model, and get text or a validated instance of `output`."""
        from graphorch.models.messages import Message, Request, to_messages

        scheduler, activation = self._scheduler, self._activation
        messages = to_messages(prompt)
        request = Request(
            model=scheduler.settings.models.get(activation.path)
            or scheduler.settings.model
            or model,
            messages=(Message(role="system", content=instructions), *messages)
            if instructions
            else messages,
            max_tokens=max_tokens,
            temperature=temperature,
            timeout=self.time_left,
            metadata=build_call_metadata(activation, scheduler.run, scheduler.settings.tags),
            payer=scheduler.account_for(activation),
        )
        recorded = RecordedClient(scheduler, activation, self._asked)
        client = _with_tools(recorded, tools) if tools else recorded
        on_text = self._on_text if scheduler.is_watched else None
        if output is None:
            return (await client.complete(request, on_text)).text
        from graphorch.models.structured_output import ask

        return (await ask(client, request, output, on_text)).value

    def emit(self, event: BaseModel) -> None:
        """Send an event to whoever watches the run."""
        self._scheduler.publish(
            Emitted(self._activation.path, self._activation.step.name, event.model_copy(deep=True))
        )

    def _on_text(self, text: str) -> None:
        self._scheduler.publish(TextDelta(self._activation.path, self._activation.step.name, text))


def _with_tools(client: ModelClient, tools: Sequence[Callable[..., Any]]) -> ModelClient:
    from graphorch.agents.tools import ToolClient

    return ToolClient(client, tools)


class RecordedClient:
    """The run's model client, with every request that goes through it written down."""

    def __init__(self, scheduler: Scheduler, activation: Activation, asked: dict[str, int]) -> None:
        self._scheduler = scheduler
        self._activation = activation
        self._asked = asked
        self._log = PromptLog()
        self._client: ModelClient = scheduler.settings.client

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        activation, scheduler = self._activation, self._scheduler
        key = self._key(request) if scheduler.journal is not None else ""
        if key and (kept := scheduler.recorded_response(activation, key)) is not None:
            return kept
        began = scheduler.now()
        try:
            response = await self._client.complete(request, on_text)
        except ModelError as error:
            scheduler.report.add_call(
                activation, CallReport(activation.path, request.model, None, str(error))
            )
            if key:
                scheduler.record_failed_call(activation, error, self._asking(request, began))
            raise
        scheduler.report.add_call(activation, CallReport(activation.path, response.model, response))
        if key:
            await scheduler.record_call(activation, key, response, self._asking(request, began))
        if scheduler.is_watched:
            usage = response.usage
            tokens = (usage.input_tokens, usage.output_tokens)
            priced = (response.usd, response.usd_source)
            scheduler.publish(
                ModelCalled(
                    activation.path,
                    activation.step.name,
                    response.model,
                    *tokens,
                    *priced,
                    response.seconds,
                    response.note,
                )
            )
        return response

    def _asking(self, request: Request, began: float) -> CallDescription:
        """What the journal is told of a call that has ended."""
        from graphorch.engine.run_journal import CallDescription

        return CallDescription(began, self._scheduler.now(), self._log.describe(request))

    def _key(self, request: Request) -> str:
        """What identifies a request in its activation: what is asked, and the how-manieth equal one it is; never its place in the order."""
        schema = request.schema.model_json_schema() if request.schema is not None else None
        said = [(message.role, message.content) for message in request.messages]
        told = repr(
            (request.model, said, schema, request.max_tokens, request.temperature, request.tools)
        )
        digest = hashlib.blake2b(told.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        self._asked[digest] = self._asked.get(digest, 0) + 1
        return f"{digest}:{self._asked[digest]}"
