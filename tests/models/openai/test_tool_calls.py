"""Tool calls in every wrapper: not leaked, not cached, not lost, and counted as input."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import BaseModel

from graphorch.errors import InputError
from graphorch.models.guardrails.client import Guard, GuardedClient, GuardrailBlocked, personal_data
from graphorch.models.messages import (
    Message,
    Request,
    Response,
    ToolCall,
    ToolSpec,
    estimate_usage,
)
from graphorch.models.policies.policy import fallback
from graphorch.models.policies.target import Target
from graphorch.models.response_cache import CachingClient
from graphorch.models.token_count import bound_input_tokens
from tests.models.clients import Scripted, response_of

EMAIL = "anna@example.com"
TOOL = ToolSpec(
    name="send",
    description="Send a letter.",
    parameters={"type": "object", "properties": {"to": {"type": "string"}}},
)
CALLED = (
    Message(content=f"Write to {EMAIL}."),
    Message(
        role="assistant",
        content="",
        tool_calls=(ToolCall(id="c1", name="send", arguments=f'{{"to": "{EMAIL}"}}'),),
    ),
    Message(role="tool", content=f"sent to {EMAIL}", tool_call_id="c1"),
)


def calling(arguments: str, text: str = "", finish_reason: str = "tool_calls") -> Response:
    return replace(
        response_of(text),
        tool_calls=(ToolCall(id="c2", name="send", arguments=arguments),),
        finish_reason=finish_reason,
    )


def test_guard_masks_arguments_and_results() -> None:
    """Mask the arguments and the results of a tool behind a guard."""
    model = Scripted([lambda request: calling('{"to": "<EMAIL_1>"}')])
    client = GuardedClient(model, Guard(personal_data(), "pseudonymise"))
    response = asyncio.run(client.complete(Request("m", CALLED, tools=(TOOL,))))
    assert EMAIL not in str(model.asked[0].messages)
    assert model.asked[0].messages[1].tool_calls[0].arguments == '{"to": "<EMAIL_1>"}'
    assert response.tool_calls[0].arguments == f'{{"to": "{EMAIL}"}}'


def test_guard_checks_calls_of_model() -> None:
    """Guard the arguments that a model puts into a call."""
    model = Scripted([lambda request: calling('{"to": "bob@example.com"}')])
    request = Request("m", (Message(content="hi"),), tools=(TOOL,))
    masked = asyncio.run(GuardedClient(model, Guard(personal_data(), "mask")).complete(request))
    assert masked.tool_calls[0].arguments == '{"to": "[EMAIL REDACTED]"}'
    with pytest.raises(GuardrailBlocked):
        asyncio.run(GuardedClient(model, Guard(personal_data(), "block")).complete(request))


def test_cache_skips_tool_calls(tmp_path: Path) -> None:
    """Do not cache a tool call, and give requests with other tools other keys."""
    model = Scripted(
        [lambda request: calling("{}", text="let me see", finish_reason="stop"), "an answer"]
    )
    client = CachingClient(model, tmp_path / "cache.db", endpoint="x")

    async def main() -> list[str]:
        asked = Request("m", (Message(content="hi"),), tools=(TOOL,))
        requests = [
            asked,
            asked,
            asked,
            replace(asked, tools=(replace(TOOL, description="another"),)),
        ]
        texts = [(await client.complete(request)).text for request in requests]
        await client.aclose()
        return texts

    assert asyncio.run(main()) == ["let me see", "an answer", "an answer", "an answer"]
    assert len(model.asked) == 3


class Verdict(BaseModel):
    score: int


def test_policy_accepts_tool_call() -> None:
    """Do not take a tool call for an answer of the wrong shape."""
    first, second = Scripted([lambda request: calling("{}")]), Scripted(["not asked"])
    policy = fallback("p", [Target("a", first), Target("b", second)])
    response = asyncio.run(
        policy.complete(Request("m", (Message(content="hi"),), schema=Verdict, tools=(TOOL,)))
    )
    assert response.tool_calls
    assert second.asked == []


def test_tools_count_as_input() -> None:
    """Count tools and tool calls as input."""
    plain = Request("m", (Message(content="hi"),))
    offered = replace(plain, tools=(replace(TOOL, description="x" * 1_000),))
    called = replace(
        plain,
        messages=(
            *plain.messages,
            Message(role="assistant", content="", tool_calls=calling("y" * 2_000).tool_calls),
        ),
    )
    assert bound_input_tokens(offered) >= bound_input_tokens(plain) + 1_000
    assert bound_input_tokens(called) >= bound_input_tokens(plain) + 2_000
    assert estimate_usage(offered, "").input_tokens >= 250
    assert estimate_usage(called, "").input_tokens >= 500


def test_only_result_names_call() -> None:
    """Require the id of the call in results, and refuse it elsewhere."""
    with pytest.raises(InputError, match="tool_call_id"):
        Message(role="tool", content="1.5")
    with pytest.raises(InputError, match="tool_call_id"):
        Message(content="hi", tool_call_id="c1")
