"""A loop of tools against endpoints that are as strict as real ones, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from graphorch.agents.tool_conversation import Finished, Round, ToolConversation, most_calls
from graphorch.agents.tool_guards import TooManyToolRounds
from graphorch.models.client import ModelClient
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.structured_output import InvalidAnswer
from tests.agents.conversations import answer_round, ask, converse, offer
from tests.agents.strict_endpoint import ANSWER, Kind, StrictEndpoint
from tests.models.servers import serve


class Depth(BaseModel):
    metres: float
    place: str


class Remark(BaseModel):
    text: str


def look_up(place: str, hour: int) -> str:
    """Return the depth of the water."""
    return f"{place} at {hour}"


async def converse_with(
    client: ModelClient, conversation: ToolConversation[Any], *, streamed: bool
) -> tuple[Finished[Any], list[str]]:
    """Return the end of a conversation, and what its tools were called with, in order."""
    ran: list[str] = []

    def run(name: str, arguments: Any) -> str:
        ran.append(f"{arguments['place']} {arguments['hour']}")
        return "1.5"

    while True:
        on_text = [].append if streamed else None
        step = conversation.take(await client.complete(conversation.next_request(), on_text))
        if isinstance(step, Finished):
            return step, ran
        if isinstance(step, Round):
            conversation.add_outcomes(answer_round(step, run))


def hold(
    endpoint: StrictEndpoint,
    output: type[BaseModel] | None,
    *,
    streamed: bool = False,
    rounds: int = 4,
) -> tuple[Finished[Any], list[str]]:
    async def main() -> tuple[Finished[Any], list[str]]:
        async with asyncio.timeout(30), serve(endpoint) as server:
            client = OpenAIClient(server.url, "key")
            conversation = converse(
                offer(look_up, effect="pure"), output=output, rounds=rounds, request=ask()
            )
            try:
                return await converse_with(client, conversation, streamed=streamed)
            finally:
                await client.aclose()

    return asyncio.run(main())


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", get_args(Kind))
def test_strict_endpoint_lets_tools_be_called(kind: Kind, streamed: bool) -> None:
    """Tools are called in order, an object comes of it, and calls stay within the estimate."""
    endpoint = StrictEndpoint(kind)
    finished, ran = hold(endpoint, Depth, streamed=streamed, rounds=2)
    assert finished.value == Depth.model_validate(ANSWER)
    assert ran == ["north 0", "south 0", "north 1", "south 1"]
    assert len(finished.responses) <= most_calls(2, Depth, has_tools=True)
    assert len(endpoint.bodies) == len(finished.responses)
    for body in endpoint.bodies:
        is_free = bool(body.get("tools")) and body.get("tool_choice") != "none"
        assert not (is_free and "response_format" in body)


def test_answer_that_fits_saves_a_call() -> None:
    """A model that follows the instructions answers beside its tools, and nothing else is asked."""
    endpoint = StrictEndpoint("vllm", says='{"metres": 1.5, "place": "Northcliff"}')
    finished, ran = hold(endpoint, Depth)
    assert (len(finished.responses), len(ran)) == (3, 4)
    assert all("response_format" not in body for body in endpoint.bodies)


def test_text_needs_no_further_call() -> None:
    endpoint = StrictEndpoint("vllm")
    finished, _ = hold(endpoint, Remark)
    assert finished.value == Remark(text="It is 1.5 metres deep.")
    assert len(finished.responses) == 3


def test_stubborn_model_stays_within_estimate() -> None:
    """A model that calls tools for ever, and one that never gives what fits, end as announced."""
    endpoint = StrictEndpoint("vllm", is_stubborn=True)
    with pytest.raises(TooManyToolRounds):
        hold(endpoint, Depth, rounds=3)
    assert len(endpoint.bodies) == 4 <= most_calls(3, Depth, has_tools=True)
    endpoint = StrictEndpoint("vllm", answer={})
    with pytest.raises(InvalidAnswer):
        hold(endpoint, Depth, rounds=2)
    assert len(endpoint.bodies) == 5 == most_calls(2, Depth, has_tools=True)
