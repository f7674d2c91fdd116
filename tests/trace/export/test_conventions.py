"""Names and values that are sent, beside the package of OpenTelemetry's conventions."""

from __future__ import annotations

import asyncio
import json
from types import ModuleType
from typing import Any

import pytest

from graphorch import Graph, agent
from graphorch.journal.memory import MemoryStore
from graphorch.models.openai.client import OpenAIClient
from graphorch.trace.export import conventions
from graphorch.trace.export.exporter import Otlp
from graphorch.trace.export.recorder import Recorder
from graphorch.trace.spans.redaction import Redaction
from tests.models.servers import completion, replies, serve
from tests.trace.collector import Collector, attributes, collecting
from tests.trace.flows import Model, Order, Reply, Shop

SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"


def list_values(*modules: ModuleType) -> set[str]:
    """Return the names that a module of the conventions defines."""
    return {
        value for module in modules for value in vars(module).values() if isinstance(value, str)
    }


def test_names_are_those_of_conventions() -> None:
    """Every name outside of our own space is one of the conventions, and none is deprecated."""
    gen_ai = pytest.importorskip("opentelemetry.semconv._incubating.attributes.gen_ai_attributes")
    from opentelemetry.semconv._incubating.attributes import (  # pyright: ignore
        error_attributes,
        exception_attributes,
        server_attributes,
        session_attributes,
        user_attributes,
    )
    from opentelemetry.semconv._incubating.metrics import gen_ai_metrics  # pyright: ignore

    known = list_values(
        gen_ai,
        error_attributes,
        exception_attributes,
        server_attributes,
        session_attributes,
        user_attributes,
    )
    ours = {
        value
        for name, value in vars(conventions).items()
        if name.isupper() and isinstance(value, str) and "." in value
    }
    foreign = {name for name in ours if not name.startswith(("graphorch.", "openinference."))}
    assert foreign <= known
    assert not foreign & {
        "gen_ai.system",
        "gen_ai.prompt",
        "gen_ai.completion",
        "gen_ai.usage.prompt_tokens",
        "gen_ai.usage.completion_tokens",
    }
    operations = {item.value for item in gen_ai.GenAiOperationNameValues}
    assert {conventions.CHAT, conventions.INVOKE_AGENT, conventions.EXECUTE_TOOL} <= operations
    metrics = {name for name in conventions.METRICS if name.startswith("gen_ai.client")}
    assert metrics <= list_values(gen_ai_metrics)


def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word}: {SECRET}"


@agent(output=Reply, model="m", tools=[look_up], instructions="Be brief.", max_tokens=77)
def ask(order: Order) -> str:
    return f"Look up tides with {SECRET}"


def export(collector: Collector, client: Any, **options: Any) -> dict[str, dict[str, Any]]:
    """Run an agent with a tool, and return the attributes of its spans by name of the span."""
    sink = Otlp(collector.url, environment={}, interval=0.0, **options)

    async def main() -> None:
        recorder = Recorder(MemoryStore(), sink)
        flow = Graph("tools", Shop, input=Order, output=Reply).chain(ask).build()
        tags = {"session": f"s {SECRET}", "team": SECRET, "plain": "blue"}
        await flow.run(Order(), run_id="one", durable=recorder, client=client, tags=tags)
        await recorder.close()

    asyncio.run(main())
    return {f"{span['name']} {number}": span for number, span in enumerate(collector.spans())}


def find_attributes(spans: dict[str, dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [attributes(span) for key, span in spans.items() if key.startswith(name)]


def test_tool_calls_are_parts_of_messages() -> None:
    """Messages have parts for texts, tool calls and their results; instructions are apart."""
    with collecting() as collector:
        spans = export(collector, Model(tool="look_up"), content=True)
    first, second = find_attributes(spans, "chat m")
    (tool,) = find_attributes(spans, "execute_tool look_up")
    call = {"type": "tool_call", "id": "c1", "name": "look_up", "arguments": {"word": "tides"}}
    asked = {"role": "user", "parts": [{"type": "text", "content": "Look up tides with [api_key]"}]}
    response = {"type": "tool_call_response", "id": "c1", "response": "tides: [api_key]"}
    assert json.loads(first["gen_ai.input.messages"]) == [asked]
    assert json.loads(first["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [call], "finish_reason": "stop"}
    ]
    assert json.loads(second["gen_ai.input.messages"]) == [
        asked,
        {"role": "assistant", "parts": [call]},
        {"role": "tool", "parts": [response]},
    ]
    assert "Be brief." in json.loads(first["gen_ai.system_instructions"])[0]["content"]
    assert (tool["gen_ai.tool.call.id"], tool["gen_ai.tool.type"]) == ("c1", "function")
    assert tool["gen_ai.tool.call.arguments"] == '{"word": "tides"}'
    assert tool["gen_ai.tool.call.result"] == "tides: [api_key]"


@pytest.mark.parametrize("options", [{}, {"content": True}], ids=["default", "content"])
def test_secret_leaves_in_no_signal(options: dict[str, Any]) -> None:
    """No rule of redaction has a way around it: tags, prompts, results, sessions, errors."""
    with collecting() as collector:
        spans = export(collector, Model(tool="look_up"), **options)
        sent = b"".join(collector.raw)
    (tool,) = find_attributes(spans, "execute_tool look_up")
    assert ("gen_ai.tool.call.arguments" in tool) == bool(options)
    (run,) = find_attributes(spans, "invoke_workflow")
    assert SECRET.encode() not in sent
    assert (run["graphorch.tag.team"], run["graphorch.tag.plain"]) == ("[api_key]", "blue")
    assert run["session.id"] == run["gen_ai.conversation.id"] == "s [api_key]"


def test_fields_are_hidden_in_arguments_and_tags() -> None:
    """Fields that are hidden by name are hidden in tool calls and tags, too."""
    with collecting() as collector:
        redaction = Redaction(fields=frozenset({"word", "plain"}))
        spans = export(collector, Model(tool="look_up"), content=True, redaction=redaction)
    first, _ = find_attributes(spans, "chat m")
    (part,) = json.loads(first["gen_ai.output.messages"])[0]["parts"]
    (run,) = find_attributes(spans, "invoke_workflow")
    assert part["arguments"] == {"word": "[hidden]"}
    (tool,) = find_attributes(spans, "execute_tool look_up")
    assert tool["gen_ai.tool.call.arguments"] == '{"word": "[hidden]"}'
    assert run["graphorch.tag.plain"] == "[hidden]"


def test_content_can_be_hidden_whole() -> None:
    """`Redaction(content=False)` leaves no text of people, models or errors, whatever is asked."""
    with collecting() as collector:
        redaction = Redaction(content=False)
        export(collector, Model(tool="look_up"), content=True, redaction=redaction)
        sent = b"".join(collector.raw)
    assert not [text for text in (b"tides", b"blue", b"Be brief", b"Look up") if text in sent]


def test_call_tells_request_and_response() -> None:
    """A call of a real server has address, limits, finish reason, models and first chunk."""

    async def main(collector: Collector) -> int:
        async with serve(replies(completion('{"reply": "done"}'))) as server:
            sink = Otlp(collector.url, environment={}, interval=0.0)
            recorder = Recorder(MemoryStore(), sink)
            client = OpenAIClient(server.url, "none")
            flow = Graph("tools", Shop, input=Order, output=Reply).chain(ask).build()
            await flow.run(Order(), run_id="one", durable=recorder, client=client)
            await client.aclose()
            await recorder.close()
            return int(server.url.rsplit(":", 1)[1].partition("/")[0])

    with collecting() as collector:
        port = asyncio.run(main(collector))
        spans = {span["name"]: span for span in collector.spans()}
        resource = attributes(collector.bodies["/v1/traces"][0]["resourceSpans"][0]["resource"])
    call = next(attributes(span) for name, span in spans.items() if name.startswith("chat"))
    assert (call["server.address"], call["server.port"]) == ("127.0.0.1", str(port))
    assert call["gen_ai.request.model"] == "m"
    assert call["gen_ai.request.max_tokens"] == "77"
    assert call["gen_ai.output.type"] == "text"
    assert call["gen_ai.response.finish_reasons"]["values"] == [{"stringValue": "stop"}]
    assert resource["service.instance.id"]
    assert resource["service.name"] == "graphorch"


def test_failed_call_names_its_server() -> None:
    """A call that failed has the address that was asked, and no model that answered."""

    async def main(collector: Collector) -> None:
        async with serve(replies("no", 400)) as server:
            sink = Otlp(collector.url, environment={}, interval=0.0)
            recorder = Recorder(MemoryStore(), sink)
            client = OpenAIClient(server.url, "none")
            flow = Graph("tools", Shop, input=Order, output=Reply).chain(ask).build()
            with pytest.raises(ExceptionGroup):
                await flow.run(Order(), run_id="one", durable=recorder, client=client)
            await client.aclose()
            await recorder.close()

    with collecting() as collector:
        asyncio.run(main(collector))
        (call,) = [attributes(span) for span in collector.spans() if span["name"] == "chat m"]
    assert call["server.address"] == "127.0.0.1"
    assert call["error.type"]
    assert "gen_ai.response.model" not in call
