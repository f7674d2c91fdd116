"""The context of a running node: the implementation of the `Context` protocol.

Modules that only a model call needs are loaded by the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel

from graphorch.core.tree import Activation
from graphorch.engine.attempts.missing_branches import find_missing_branches
from graphorch.engine.prompt_log import clean
from graphorch.errors import InputError
from graphorch.graph.context import ROUNDS

if TYPE_CHECKING:
    from graphorch.agents.tool import Tool
    from graphorch.agents.tool_conversation import HistoryLimits
    from graphorch.engine.calls.kept_answers import AttemptCalls
    from graphorch.engine.run_services import RunServices
    from graphorch.engine.tool_calls.loop import ToolLoop
    from graphorch.graph.context import ToolSource
    from graphorch.models.budgets.budget import Budget
    from graphorch.models.client import ModelClient
    from graphorch.models.messages import Prompt, Request, Response


class ElsewhereAnswer(NamedTuple):
    """Answer for a function on another worker, and whether a model was asked for it just now."""

    response: Response
    is_new: bool


class NodeContext:
    """The context of one attempt. `deadline` is in the event loop's time."""

    __slots__ = ("_activation", "_calls", "_loops", "_services", "attempt", "deadline")

    def __init__(
        self, services: RunServices, activation: Activation, deadline: float | None
    ) -> None:
        self._services = services
        self._activation = activation
        self._calls: AttemptCalls | None = None  # made by the first of them
        self._loops: list[str] = []  # of tools, by their keys
        self.attempt = activation.attempt
        self.deadline = deadline

    @property
    def key(self) -> str:
        """Idempotency key: the id of the activation."""
        return self._activation.id

    @property
    def path(self) -> str:
        """Path of the activation in the run."""
        return self._activation.path

    @property
    def consent(self) -> str:
        """What a person agreed to, of a call whose tool had asked for it (`NeedsConsent`)."""
        return self._activation.consent

    @property
    def time_left(self) -> float | None:
        """Seconds until the nearest deadline; None without one."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - self._services.time())

    @property
    def budget_left(self) -> Budget:
        """Budget that is left for the node; without a limit, an empty one."""
        from graphorch.models.budgets.budget import Budget

        account = self._services.account_for(self._activation)
        return account.left if account is not None else Budget()

    @property
    def missing_branches(self) -> Mapping[str, str]:
        """Nodes before a join that brought nothing, each with the reason, for prompts of joins."""
        return find_missing_branches(self._activation, self._services.run.history)

    @property
    def resources(self) -> Any:
        """Resources that the caller of `run` passed in.

        Raises `Uncacheable` in a node with a cache, which would serve them to other callers.
        """
        if self._activation.step.node.options.cache is not None:
            from graphorch.engine.node_cache import Uncacheable

            raise Uncacheable(
                f"'{self.path}' has a cache, and reads the resources of the run: another run with "
                "other resources would get the same result. Leave the cache out, or put what "
                "decides into the state."
            )
        return self._services.settings.resources

    def has_room(self, condition: Callable[..., Any]) -> bool:
        """Return whether a loop with this condition may go back once more from this node."""
        activation = self._activation
        return any(
            loop_exit.condition.fn is condition
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
        tools: Sequence[Callable[..., Any] | ToolSource] = (),
        rounds: int = ROUNDS,
        keep_rounds: int | None = None,
        keep_tokens: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
    ) -> Any:
        """Ask a model, and return its text or a validated instance of `output`."""
        if self._activation.step.node.kind == "undo":
            raise InputError(
                f"'{self.path}' asks a model, and an undo may not: it has to run when the budget "
                "is used up, too. Let a node before write what it needs into the state."
            )
        request = self._build_request(prompt, model, instructions, max_tokens, temperature)
        if self._services.run.root.plan.marked is not None:
            from graphorch.engine.attempts.marked_calls import check_prompt

            check_prompt(self._activation, request)
        # Loaded at the first call: many runs ask no model.
        from graphorch.engine.attempts.model_calls import RecordedClient

        calls = self._open_calls()
        recorded = RecordedClient(self._services, self._activation, calls)
        on_text = self._on_text if self._services.is_watched else None
        if output is None and not tools:
            return (await recorded.complete(request, on_text)).text
        from graphorch.models.structured_output import InvalidAnswer, ask_for_value

        loop = None
        if tools:
            from graphorch.agents.tool_conversation import HistoryLimits

            limits = HistoryLimits(rounds, keep_rounds, keep_tokens)
            loop = await self._open_loop(recorded, tools, request, limits)
        while True:
            asked_before = calls.asked
            try:
                if loop is not None:
                    return await loop.run(output=output, on_text=on_text)
                assert output is not None
                return (await ask_for_value(recorded, request, output, on_text)).value
            except InvalidAnswer:
                # If all of it was served, an earlier attempt failed with it: ask the model now.
                if calls.asked > asked_before:
                    raise
                calls.serve_rounds_again()

    # ---- for a function that runs on another worker ----------------------------------------------
    @property
    def ends_at(self) -> float | None:
        """When the nearest deadline is, in seconds since the epoch; None without one."""
        return None if self.deadline is None else self.deadline + self._services.epoch

    def limit_time(self, end: float) -> None:
        """Let the time of the attempt end then, in the event loop's time, if not before."""
        self.deadline = end if self.deadline is None else min(self.deadline, end)

    @property
    def is_watched(self) -> bool:
        """Whether anybody gets the events that the node emits."""
        return self._services.is_watched

    def list_room(self) -> list[bool]:
        """Return for each loop that may go back from the node whether it has room."""
        activation = self._activation
        exits = activation.step.exits
        return [activation.iteration(each.loop) < each.bound for each in exits]

    async def complete_elsewhere(self, request: Request, *, is_repeated: bool) -> ElsewhereAnswer:
        """Make a model call for the node's function, which runs on another worker.

        `is_repeated` after an answer of an earlier attempt that did not fit: the model is asked.
        """
        asked = self._build_request(
            request.messages, request.model, "", request.max_tokens, request.temperature
        )
        asked = replace(asked, schema=request.schema)
        if self._services.run.root.plan.marked is not None:
            from graphorch.engine.attempts.marked_calls import check_prompt

            check_prompt(self._activation, asked)
        from graphorch.engine.attempts.model_calls import RecordedClient

        calls = self._open_calls()
        if is_repeated:
            calls.serve_rounds_again()
        asked_before = calls.asked
        recorded = RecordedClient(self._services, self._activation, calls)
        on_text = self._on_text if self._services.is_watched else None
        response = await recorded.complete(asked, on_text)
        return ElsewhereAnswer(response, calls.asked > asked_before)

    # ---- model calls -----------------------------------------------------------------------------
    async def _open_loop(
        self,
        client: ModelClient,
        sources: Sequence[Callable[..., Any] | ToolSource],
        request: Request,
        limits: HistoryLimits,
    ) -> ToolLoop:
        """Return a loop in which the model may call tools before it answers.

        They are functions, and the tools of servers.
        """
        from graphorch.agents.tool import build_tools
        from graphorch.agents.tool_sources import check_tool_names, split_sources
        from graphorch.engine.tool_calls.call_plans import require_declared
        from graphorch.engine.tool_calls.loop import ToolLoop, compute_loop_key

        key = compute_loop_key(request, self._loops)
        functions, servers = split_sources(sources)
        tools = build_tools(functions)
        for tool in tools:
            if tool.sub is not None:
                require_declared(self._activation, tool)
        self._check_options(acts=bool(servers) or any(tool.effect != "pure" for tool in tools))
        if servers:
            tools = (*tools, *await self._services.open_tools(servers))
            check_tool_names([tool.name for tool in tools])
        if self._services.run.root.plan.marked is not None:
            from graphorch.engine.attempts.marked_calls import check_tools

            check_tools(self._activation, tools)
        self._check_questions(tools)
        rounds = self._services.tool_rounds
        assert rounds is not None
        return ToolLoop(rounds, self._activation, client, tools, request, key, limits, self._loops)

    def _check_options(self, *, acts: bool) -> None:
        """Raise `InputError` if the node may be run twice, or not at all, for the tools it has."""
        options = self._activation.step.node.options
        why = "two copies of the node would call its tools"
        option = "hedge_after" if options.hedge_after is not None else ""
        if options.goes_out:
            option = "isolation" if options.pool is None else "pool"
            why = "it may run on another worker, and the run calls the tools"
        if not option and acts and options.cache is not None:
            option, why = "cache", "a result from the cache would leave out what its tools do"
        if option:
            raise InputError(f"'{self.path}' has tools and {option}: {why}. Leave {option} out.")

    def _check_questions(self, tools: Sequence[Tool]) -> None:
        """Raise `InputError` for a node that must not run again, but would after an approval."""
        node = self._activation.step.node
        asking = [tool.name for tool in tools if tool.approve is not False]
        if asking and node.options.effect == "once" and node.kind != "agent":
            raise InputError(
                f"'{self.path}' has effect once, and would run again after a person approved a "
                f"call of {', '.join(asking)}. Make it an @agent, or a tool of what acts in it."
            )

    def _open_calls(self) -> AttemptCalls:
        """Return the calls of this attempt, with the answers that earlier attempts got."""
        if self._calls is None:
            from graphorch.engine.calls.kept_answers import AttemptCalls

            kept = self._services.kept_answers.setdefault(self._activation, [])
            self._calls = AttemptCalls(kept, self._services.format)
        return self._calls

    def _build_request(
        self,
        prompt: Prompt,
        model: str,
        instructions: str,
        max_tokens: int | None,
        temperature: float | None,
    ) -> Request:
        from graphorch.engine.attempts.model_calls import build_call_metadata
        from graphorch.models.messages import Message, Request, to_messages

        services, activation = self._services, self._activation
        settings = services.settings
        messages = to_messages(prompt)
        if instructions:
            messages = (Message(role="system", content=instructions), *messages)
        return Request(
            model=settings.models.get(activation.path) or settings.model or model,
            messages=messages,
            max_tokens=max_tokens,
            temperature=temperature,
            timeout=self.time_left,
            metadata=build_call_metadata(activation, services.run, settings.tags),
            payer=services.account_for(activation),
        )

    def emit(self, event: BaseModel) -> None:
        """Send a copy of an event to the observers of the run."""
        from graphorch.engine.events import Emitted

        copy = event.model_copy(deep=True)
        self._services.publish(Emitted(self._activation.path, self._activation.step.name, copy))

    def note(self, text: str) -> None:
        """Leave a remark for people, which is kept if the attempt succeeds."""
        if self._services.run.root.plan.marked is not None:
            from graphorch.engine.invocation.secret_values import hide_secrets

            text = hide_secrets(self._activation, text)
        self._services.report.add_note(self._activation, clean(" ".join(text.split()), 500))

    def _on_text(self, text: str) -> None:
        from graphorch.engine.events import TextDelta

        self._services.publish(TextDelta(self._activation.path, self._activation.step.name, text))


# Python names a coroutine that is not awaited by this: authors know the protocol alone.
NodeContext.complete.__qualname__ = "Context.complete"
