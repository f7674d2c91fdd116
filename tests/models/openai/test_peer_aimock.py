"""The client with an independent server: aimock (npm `@copilotkit/aimock`, MIT).

It plays OpenAI's endpoints from fixtures.

To run it, in any folder, with Node 20.15 or later:

    npm i --prefix /tmp/aimock @copilotkit/aimock
    AIMOCK=/tmp/aimock/node_modules/.bin/llmock python -m pytest -m peer tests/models
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from graphorch import Graph, agent
from graphorch.errors import ModelError
from graphorch.models.errors import Unreachable
from graphorch.models.messages import Request, Response, Usage, to_messages
from graphorch.models.openai.client import OpenAIClient
from graphorch.models.retry import Backoff, RetryingClient
from graphorch.models.structured_output import ask_for_value


class Asked(BaseModel):
    question: str = "how deep?"


class Depth(BaseModel):
    depth: str = ""


class Measured(Asked, Depth): ...


AIMOCK = os.environ.get("AIMOCK", "")

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        not AIMOCK,
        reason="AIMOCK does not name the llmock program of @copilotkit/aimock; "
        "see the docstring of the module",
    ),
]

FIXTURES = [
    {
        "match": {"model": "good"},
        "response": {
            "content": "good answer",
            "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        },
    },
    {"match": {"model": "json"}, "response": {"content": '{"score": 8, "why": "fine"}'}},
    {
        "match": {"model": "tool", "hasToolResult": True},
        "response": {"content": "it is 1.5 metres deep"},
    },
    {
        "match": {"model": "tool"},
        "response": {"toolCalls": [{"name": "depth", "arguments": {"harbour": "Northcliff"}}]},
    },
    {
        "match": {"model": "slow"},
        "response": {"content": "one two three four five six seven eight nine ten"},
        "chunkSize": 5,
    },
    {
        "match": {"model": "cut"},
        "response": {"content": "this stream is cut in the middle"},
        "chunkSize": 5,
        "truncateAfterChunks": 3,
    },
    {
        "match": {"model": "bad-500"},
        "response": {"error": {"message": "boom", "type": "server_error"}, "status": 500},
    },
    {
        "match": {"model": "bad-429"},
        "response": {"error": {"message": "slow down", "type": "rate_limit_error"}, "status": 429},
    },
    {
        "match": {"model": "flaky", "sequenceIndex": 0},
        "response": {"error": {"message": "first fails", "type": "server_error"}, "status": 503},
    },
    {"match": {"model": "flaky", "sequenceIndex": 1}, "response": {"content": "recovered"}},
]


class Score(BaseModel):
    score: int
    why: str


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run the server for the module and yield its address."""
    fixtures = tmp_path_factory.mktemp("aimock") / "fixtures.json"
    fixtures.write_text(json.dumps({"fixtures": FIXTURES}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(Path(AIMOCK)),
        "-p",
        str(port),
        "-h",
        "127.0.0.1",
        "-f",
        str(fixtures),
        "--log-level",
        "silent",
        "--strict",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for(port, server)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"{AIMOCK} did not begin to listen")


def answer(url: str, model: str, pieces: list[str] | None = None, *, attempts: int = 1) -> Response:
    async def main() -> Response:
        client = RetryingClient(
            OpenAIClient(url, "sk-test"), Backoff(attempts=attempts, first=0.01)
        )
        try:
            return await client.complete(
                Request(model, to_messages("hi")), None if pieces is None else pieces.append
            )
        finally:
            await client.aclose()

    return asyncio.run(main())


def test_plain_answer_is_read(url: str) -> None:
    """Read a whole answer with its usage."""
    response = answer(url, "good")
    assert (response.text, response.usage, response.finish_reason) == (
        "good answer",
        Usage(10, 5),
        "stop",
    )


def test_stream_is_read(url: str) -> None:
    """Read a stream piece by piece."""
    pieces: list[str] = []
    response = answer(url, "slow", pieces)
    assert response.text == "".join(pieces) == "one two three four five six seven eight nine ten"
    assert len(pieces) > 5


def test_structured_output_is_read(url: str) -> None:
    """Read an answer as a value."""

    async def main() -> Score:
        client = OpenAIClient(url, "sk-test")
        try:
            return (await ask_for_value(client, Request("json", to_messages("judge")), Score)).value
        finally:
            await client.aclose()

    assert asyncio.run(main()) == Score(score=8, why="fine")


@pytest.mark.parametrize("streamed", [False, True])
def test_tool_is_called(url: str, streamed: bool) -> None:
    """Call a tool that the model asks for."""
    asked: list[str] = []

    def depth(harbour: str) -> float:
        asked.append(harbour)
        return 1.5

    @agent(output=Depth, tools=[depth])
    def measure(asked: Asked) -> str:
        return asked.question

    flow = Graph("depth", Measured, input=Asked, output=Depth).chain(measure).build()

    async def main() -> Depth:
        client = OpenAIClient(url, "sk-test")
        watchers = [lambda event: None] if streamed else []
        try:
            return (await flow.run(Asked(), client=client, model="tool", watch=watchers)).output
        finally:
            await client.aclose()

    assert (asyncio.run(main()).depth, asked) == ("it is 1.5 metres deep", ["Northcliff"])


@pytest.mark.parametrize("streamed", [False, True])
def test_server_errors_are_typed(url: str, streamed: bool) -> None:
    """Raise typed errors for the failures of the server."""
    with pytest.raises(ModelError, match="boom") as failed:
        answer(url, "bad-500", [] if streamed else None)
    assert (failed.value.status, failed.value.retryable) == (500, True)
    with pytest.raises(ModelError, match="slow down") as limited:
        answer(url, "bad-429", [] if streamed else None)
    assert (limited.value.status, limited.value.retryable, limited.value.retry_after) == (
        429,
        True,
        1.0,
    )
    with pytest.raises(ModelError) as unknown:
        answer(url, "nobody-knows-this-model", [] if streamed else None)
    assert unknown.value.status == 503


def test_cut_stream_raises(url: str) -> None:
    """Raise an error for a stream that is cut."""
    with pytest.raises(Unreachable):
        answer(url, "cut", [])


def test_retry_recovers_from_failure(url: str) -> None:
    """Recover from a failure by asking again."""
    response = answer(url, "flaky", attempts=3)
    assert (response.text, response.attempts) == ("recovered", 2)


def test_call_takes_milliseconds(url: str) -> None:
    """Guard against seconds a call, without a promise; `-rP` prints the figure."""

    async def main() -> list[float]:
        client = OpenAIClient(url, "sk-test")
        request = Request("good", to_messages("hi"))
        await client.complete(request)
        seconds = sorted([(await client.complete(request)).seconds for _ in range(200)])
        await client.aclose()
        return seconds

    seconds = asyncio.run(main())
    print(
        f"plain call: median {seconds[100] * 1000:.1f} ms, "
        f"95th percentile {seconds[190] * 1000:.1f} ms"
    )
    assert seconds[100] < 0.5
