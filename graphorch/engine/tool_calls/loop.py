"""The loop of a model and its tools within an attempt: ask, have tools called, and ask again.

What the model is asked and what may be called is decided by the conversation, which does no work
itself. Each request is a model call of the activation; each round of calls is a round of
activations inside it. An attempt that runs again comes to the same rounds, since it is served the
answers that led to them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graphorch.agents.tool_conversation import (
    Finished,
    HistoryLimits,
    PlannedCall,
    Round,
    ToolConversation,
)
from graphorch.core.tree import Activation, ToolCalled, ToolRound, ToolScope, ToolScopes
from graphorch.engine.calls.kept_answers import compute_key
from graphorch.engine.tool_calls.call_plans import build_call
from graphorch.text import blame

if TYPE_CHECKING:
    from pydantic import BaseModel

    from graphorch.agents.tool import Tool
    from graphorch.engine.tool_calls.rounds import ToolRounds
    from graphorch.models.client import ModelClient, OnText
    from graphorch.models.messages import Request


class ToolLoop:
    """A loop of one attempt of `activation`; its `key` tells it from all others there.

    `opened` are the keys of all loops that the attempt has opened by now.
    """

    def __init__(
        self,
        rounds: ToolRounds,
        activation: Activation,
        client: ModelClient,
        tools: Sequence[Tool],
        request: Request,
        key: str,
        limits: HistoryLimits,
        opened: Sequence[str],
    ) -> None:
        self._rounds = rounds
        self._activation = activation
        self._client = client
        self._tools = {tool.name: tool for tool in tools}
        self._request = request
        self._key = key
        self._limits = limits
        self._opened = opened

    async def run(self, *, output: type[BaseModel] | None, on_text: OnText | None) -> Any:
        """Return the text or the value that the model answers after its last call of a tool.

        Raises what the client raises, `InnerFailed` for a tool that fails, and the errors of
        `ToolConversation`.
        """
        conversation = ToolConversation[Any](
            self._request, self._tools, output=output, limits=self._limits
        )
        while True:
            response = await self._client.complete(conversation.next_request(), on_text)
            step = conversation.take(response)
            if isinstance(step, Finished):
                return step.response.text if output is None else step.value
            if isinstance(step, Round):
                conversation.add_outcomes(await self._call(step))

    async def _call(self, round: Round) -> list[str]:
        """Return a text for each call of a round: what it returned, or why it was not made."""
        texts = [call.text for call in round.calls]
        to_run = [call for call in round.calls if call.text is None]
        if to_run:
            key = _compute_round_key(self._key, round.number, to_run)
            if self._rounds.find(self._activation, key) is None:
                calls = [self._build_call(call) for call in to_run]
                label = self._choose_label(round.number)
                abandons = self._list_abandoned(round.number)
                outcomes = await self._rounds.start(self._activation, key, label, calls, abandons)
            else:
                outcomes = await self._rounds.take_up(self._activation, key, self._tools)
            for call, outcome in zip(to_run, outcomes, strict=True):
                texts[call.index] = outcome.text
        return [text or "" for text in texts]

    def _build_call(self, call: PlannedCall) -> ToolCalled:
        tool, arguments = self._tools[call.name], call.arguments
        assert arguments is not None
        try:
            asks = tool.needs_approval(arguments)
        except Exception as error:
            blame(error, f"approve of tool '{tool.name}'")
            raise
        return build_call(tool, call.index, arguments, asks=asks)

    def _list_abandoned(self, number: int) -> list[ToolRound]:
        """Return the rounds that this attempt does not come to, now that it begins a new one.

        An attempt before it asked something else: it has opened none of their loops, or has gone
        another way in its own one.
        """
        children = self._activation.children
        abandoned: list[ToolRound] = []
        for key, round in children.rounds.items() if isinstance(children, ToolScopes) else ():
            loop, _, rest = key.partition(":")
            is_replaced = loop == self._key and int(rest.partition(":")[0]) >= number
            if is_replaced or loop not in self._opened:
                abandoned.append(round)
        return abandoned

    def _choose_label(self, number: int) -> str:
        """Return the name of a round in paths: `r2`, or `3.r2` in the third loop of a node."""
        children = self._activation.children
        rounds = children.rounds if isinstance(children, ToolScopes) else {}
        loops = list(dict.fromkeys(key.partition(":")[0] for key in rounds))
        loop = loops.index(self._key) if self._key in loops else len(loops)
        label = f"r{number}" if loop == 0 else f"{loop + 1}.r{number}"
        scopes = children.scopes if isinstance(children, ToolScopes) else []
        taken = {scope.round.label for scope in scopes if isinstance(scope, ToolScope)}
        # The model was asked anew, and wants other calls than before.
        while label in taken:
            label = f"{label}'"
        return label


def compute_loop_key(request: Request, earlier: list[str]) -> str:
    """Return what tells a loop from all others of its attempt, and add it to the `earlier` ones.

    It follows from what is asked first, so that another attempt comes to the same key.
    """
    asked = compute_key(request)
    equal = [key for key in earlier if key.partition(".")[0] == asked]
    key = f"{asked}.{len(equal) + 1}"
    earlier.append(key)
    return key


def _compute_round_key(loop_key: str, number: int, calls: Sequence[PlannedCall]) -> str:
    """Return what tells a round from all others of its activation, in every process."""
    parts = [(call.index, call.name, call.written) for call in calls]
    content = repr(parts).encode("utf-8", "surrogatepass")
    return f"{loop_key}:{number}:{hashlib.blake2b(content, digest_size=8).hexdigest()}"
