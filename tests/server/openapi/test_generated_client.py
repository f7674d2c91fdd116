"""A client that a generator makes of the document: it begins, follows, answers and reads a run."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.mcp_server.serving import build_letters, build_plain, write
from tests.server.serving import TOKEN, application, running

PACKAGE = "client_of_letters"


async def generate(folder: Path) -> str:
    """Generate the package of a client into a folder, and return what the generator says."""
    flows = [build_letters([]), build_plain(write)]
    async with application(folder, *flows) as ask:
        document = (await ask("GET", "/api/openapi.json")).body
    (folder / "openapi.json").write_bytes(document)
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("openapi-python-client")),
        "generate",
        "--path",
        "openapi.json",
        "--output-path",
        PACKAGE,
        "--meta",
        "none",
        cwd=folder,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    return out.decode()


def use(name: str) -> Any:
    """Import a module of the generated package."""
    return import_module(f"{PACKAGE}.{name}")


def read_events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Yield the events of a stream: their ids, names and data."""
    event: dict[str, Any] = {}
    for line in lines:
        if not line and event:
            yield event
            event = {}
        name, _, value = line.partition(": ")
        if name:
            event[name] = value


def drive(url: str) -> tuple[list[int], str, Any]:
    """Begin a run, answer its question, and return the numbers streamed, its status and output."""
    client = use("client").AuthenticatedClient(
        base_url=url.rstrip("/"), token=TOKEN, raise_on_unexpected_status=True
    )
    body = use("models").BeginFlowLettersBeginBodyLetters.from_dict({"input": {"topic": "tides"}})
    with client:
        begun = use("api.flows.begin_flow_letters").sync(client=client, body=body)
        numbers = follow_and_answer(client, begun.run_id)
        page = use("api.runs.describe_run").sync(begun.run_id, client=client)
        return numbers, page.row.status, page.to_dict()["output"]


def follow_and_answer(client: Any, run_id: str) -> list[int]:
    """Follow a run to its end, answer what it asks, and return the numbers of its records."""
    options = use("api.runs.follow")._get_kwargs(run_id, after=0)
    numbers: list[int] = []
    has_answered = False
    with client.get_httpx_client().stream(**options) as stream:
        assert stream.status_code == 200
        for event in read_events(stream.iter_lines()):
            if "id" in event:
                numbers.append(int(event["id"]))
            if event.get("event") == "ended":
                break
            has_answered = has_answered or answer_open_question(client)
    return numbers


def answer_open_question(client: Any) -> bool:
    """Answer the open question if there is one already."""
    inbox = use("api.inbox.list_open_questions").sync(client=client)
    if not inbox.questions:
        return False
    (row,) = inbox.questions
    assert row.can_answer
    asked = row.question
    values = {"question": asked.id, "digest": asked.digest, "answer": {"approved": True}}
    body = use("models").AnswerBody.from_dict(values)
    receipt = use("api.runs.answer_question").sync(row.run_id, client=client, body=body)
    assert receipt.run_id == row.run_id
    return True


@pytest.mark.slow
def test_generated_client_drives_flow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The generated client begins a run with typed values, follows its records, and answers it."""
    sent: list[str] = []
    monkeypatch.syspath_prepend(tmp_path)

    async def main() -> None:
        said = await generate(tmp_path)
        assert "Unable to parse" not in said
        flows = [build_letters(sent), build_plain(write)]
        async with running(tmp_path, *flows) as server:
            numbers, status, output = await asyncio.to_thread(drive, server.url)
        assert numbers == list(range(1, len(numbers) + 1))
        assert status == "succeeded"
        assert output == {"letter": "A letter on tides: sent"}
        assert sent == ["A letter on tides"]

    asyncio.run(main())
