"""The server as a program, over real pipes: streams, restarts, signals, clients that leave."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from graphorch.journal.records import RunHead
from graphorch.runs.stores import open_store
from tests.cli.shell import PROGRAM
from tests.mcp_server.serving import run
from tests.workers.processes import prepare_database

FLOWS = '''
"""Write a letter and send it, after a person agreed."""
import asyncio, os, subprocess, sys
from pathlib import Path
from pydantic import BaseModel
from graphorch import Graph, node

print("printed while it is loaded")
os.write(1, b"written to the descriptor while it is loaded\\n")

class Topic(BaseModel): topic: str
class Letter(BaseModel): letter: str = ""
class Verdict(BaseModel): approved: bool = False
class State(Topic, Letter, Verdict): ...

@node
def write(topic: Topic) -> Letter:
    print("printed by a node")
    os.write(1, b"written by a node\\n")
    subprocess.run([sys.executable, "-c", "print('printed by a program', input())"], input=None)
    return Letter(letter=f"A letter on {topic.topic}")

@node(effect="once")
def send(letter: Letter, verdict: Verdict) -> Letter:
    with open("sent.txt", "a") as file:
        file.write(letter.letter + "\\n")
    return Letter(letter=f"{letter.letter}: {'sent' if verdict.approved else 'kept'}")

@node
async def wait(letter: Letter) -> Letter:
    while not Path("go.txt").exists():
        await asyncio.sleep(0.02)
    return Letter(letter=f"{letter.letter}, late")

graph = Graph("letters", State, input=Topic, output=Letter)
approve = graph.ask("approve", question=lambda s: f"Send '{s.letter}'?", answer=Verdict)
letters = graph.chain(write, approve, send).build()
slow = Graph("slow", State, input=Topic, output=Letter).chain(wait, send).build()
'''
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {"form": {}}},
}


class Program:
    """A server that runs as a program, and what a client writes to it line by line."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._last_id = 0

    async def send(self, method: str, **params: Any) -> int:
        """Send a request; return its id."""
        self._last_id += 1
        await self._write({"id": self._last_id, "method": method, "params": params})
        return self._last_id

    async def notify(self, method: str, **params: Any) -> None:
        """Send a notification."""
        await self._write({"method": method, "params": params})

    async def _write(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        await self.process.stdin.drain()

    async def read(self) -> dict[str, Any]:
        """Return the next message; a line that is none fails the test."""
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        return json.loads(line)

    async def call(self, tool: str = "letters", **params: Any) -> dict[str, Any]:
        """Send one leg of a call, and return its result."""
        await self.send("tools/call", name=tool, arguments={"topic": "tides"}, _meta=META, **params)
        return (await self.read())["result"]

    async def answer(self, leg: dict[str, Any], **content: Any) -> dict[str, Any]:
        """Answer the question of a leg, and return the result of the next one."""
        filled = {"action": "accept", "content": content}
        responses = dict.fromkeys(leg["inputRequests"], filled)
        return await self.call(inputResponses=responses, requestState=leg["requestState"])

    async def leave(self) -> tuple[int, str]:
        """Close standard input; return the exit code and what standard error holds."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.wait()

    async def wait(self) -> tuple[int, str]:
        """Return the exit code and what standard error holds."""
        out, err = await self.process.communicate()
        assert out == b""
        assert self.process.returncode is not None
        return self.process.returncode, err.decode()


@asynccontextmanager
async def started(here: Path, *options: str) -> AsyncGenerator[Program]:
    """Start a server of both flows in a folder, and end it."""
    here.joinpath("flows.py").write_text(FLOWS, "utf-8")
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        *("mcp", "flows.py:letters", "flows.py:slow", "--db", "runs.sqlite", *options),
        cwd=here,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def find_runs(here: Path) -> list[RunHead]:
    """Return the heads of all runs."""
    async with open_store(str(here / "runs.sqlite")) as store:
        return list((await store.list_runs()).runs)


async def wait_for_run(here: Path, condition: Callable[[RunHead], bool]) -> None:
    """Wait until the only run is as it should be."""
    heads: list[RunHead] = []
    for _ in range(500):
        heads = await find_runs(here)
        if heads and condition(heads[0]):
            return
        await asyncio.sleep(0.02)
    raise AssertionError(heads)


def read_sent(here: Path) -> list[str]:
    """Return what the flows sent."""
    file = here / "sent.txt"
    return file.read_text().splitlines() if file.exists() else []


def read_letter(result: dict[str, Any]) -> str:
    """Return the output of a run."""
    assert result["resultType"] == "complete", result
    assert not result.get("isError"), result
    return result["structuredContent"]["letter"]


def test_output_of_flows_stays_off_the_wire(tmp_path: Path) -> None:
    """Whatever flows print, write or start, the client reads messages only."""

    async def main() -> None:
        async with started(tmp_path) as program:
            leg = await program.call()
            assert read_letter(await program.answer(leg, approved=True)).endswith("sent")
            code, err = await program.leave()
        assert code == 0
        for text in (
            "printed while it is loaded",
            "written to the descriptor while it is loaded",
            "printed by a node",
            "written by a node",
            "serving over MCP: letters, slow; runs are kept in",
        ):
            assert text in err

    run(main)


@pytest.mark.slow
def test_description_is_docstring_of_file(tmp_path: Path) -> None:
    """A tool says what its flow is for, and which values it takes and gives."""

    async def main() -> None:
        async with started(tmp_path) as program:
            await program.send("tools/list", _meta=META)
            tools = (await program.read())["result"]["tools"]
        assert [tool["name"] for tool in tools] == ["letters", "slow"]
        assert tools[0]["description"].startswith("Write a letter and send it, after a person")
        assert tools[0]["inputSchema"]["required"] == ["topic"]
        assert tools[0]["outputSchema"]["properties"]["letter"]["type"] == "string"

    run(main)


def test_killed_server_is_followed_by_next(tmp_path: Path) -> None:
    """After kill -9 between two legs, the next server takes the answer, and acts once."""

    async def main() -> None:
        async with started(tmp_path) as program:
            leg = await program.call()
            program.process.kill()
            await program.process.wait()
        async with started(tmp_path) as program:
            for _ in range(3):
                assert read_letter(await program.answer(leg, approved=True)).endswith("sent")

    run(main)
    assert read_sent(tmp_path) == ["A letter on tides"]
    assert len(asyncio.run(find_runs(tmp_path))) == 1


def test_runs_are_kept_in_database(database: str, tmp_path: Path) -> None:
    """With a URL, the next server knows the calls of one that was killed; no file is made here."""
    prepare_database(database)
    db = ("--db", database.replace("postgres@", "postgres:s3cret@"))

    async def main() -> str:
        async with started(tmp_path, *db) as program:
            leg = await program.call()
            program.process.kill()
            await program.process.wait()
        async with started(tmp_path, *db) as program:
            assert read_letter(await program.answer(leg, approved=True)).endswith("sent")
            return (await program.leave())[1]

    printed: list[str] = []

    async def keep() -> None:
        printed.append(await main())

    run(keep)
    assert f"runs are kept in {database}" in printed[0]
    assert "s3cret" not in printed[0]
    assert not list(tmp_path.glob("*sqlite*"))


@pytest.mark.slow
def test_run_outlives_its_client(tmp_path: Path) -> None:
    """A client that leaves ends no run: the server waits for it, then ends."""

    async def main() -> None:
        async with started(tmp_path, "--leg", "0.05") as program:
            leg = await program.call("slow")
            assert leg["resultType"] == "input_required"
            assert "inputRequests" not in leg
            assert program.process.stdin is not None
            program.process.stdin.close()
            await asyncio.sleep(0.3)
            assert program.process.returncode is None
            tmp_path.joinpath("go.txt").touch()
            assert (await program.wait())[0] == 0
        assert [head.status for head in await find_runs(tmp_path)] == ["succeeded"]
        async with started(tmp_path) as program:
            result = await program.call("slow", requestState=leg["requestState"])
            assert read_letter(result).startswith(", late")

    run(main)
    assert len(read_sent(tmp_path)) == 1


@pytest.mark.slow
def test_terminated_server_leaves_run_to_next(tmp_path: Path) -> None:
    """A signal stops the runs in the journal at once, and the next leg lets them go on."""

    async def main() -> None:
        async with started(tmp_path, "--leg", "0.05") as program:
            leg = await program.call("slow")
            program.process.send_signal(signal.SIGTERM)
            assert (await program.wait())[0] == 128 + signal.SIGTERM
        (head,) = await find_runs(tmp_path)
        assert (head.status, head.lease) == ("stopped", None)
        tmp_path.joinpath("go.txt").touch()
        async with started(tmp_path) as program:
            result = await program.call("slow", requestState=leg["requestState"])
            assert read_letter(result).startswith(", late")

    run(main)
    assert len(read_sent(tmp_path)) == 1


def test_cancelled_call_stops_its_run(tmp_path: Path) -> None:
    """A cancellation, as the protocol has it, stops the run, and no response follows."""

    async def main() -> None:
        async with started(tmp_path) as program:
            number = await program.send(
                "tools/call", name="slow", arguments={"topic": "tides"}, _meta=META
            )
            await wait_for_run(tmp_path, lambda head: head.last_seq >= 1)
            await program.notify("notifications/cancelled", requestId=number, reason="enough")
            await program.send("tools/list", _meta=META)
            assert "tools" in (await program.read())["result"]
            tmp_path.joinpath("go.txt").touch()
            await wait_for_run(tmp_path, lambda head: head.status == "stopped")

    run(main)
    assert read_sent(tmp_path) == []


@pytest.mark.slow
def test_lines_that_are_no_messages_are_survived(tmp_path: Path) -> None:
    """Garbage, half messages and wrong parameters leave the server serving."""

    async def main() -> None:
        async with started(tmp_path) as program:
            assert program.process.stdin is not None
            for line in (b"", b"{", b"\xff\xfe", b"[]", b'{"jsonrpc":"2.0","id":null}', b"null"):
                program.process.stdin.write(line + b"\n")
            await program.send("tools/call", name="letters", arguments=[1], _meta=META)
            number = await program.send("tools/list", _meta=META)
            while (message := await program.read()).get("id") != number:
                assert "error" in message
            assert len(message["result"]["tools"]) == 2

    run(main)


@pytest.mark.slow
@pytest.mark.parametrize(
    "closed, message",
    [
        ("<&-", "Standard input is closed"),
        ("</dev/null >&-", "Standard output is closed"),
    ],
)
def test_closed_stream_is_named(tmp_path: Path, closed: str, message: str) -> None:
    """Without its two streams the server does not start, instead of talking into a file."""
    tmp_path.joinpath("flows.py").write_text(FLOWS, "utf-8")
    command = f"{PROGRAM[0]} -c '{PROGRAM[2]}' mcp flows.py:slow --db runs.sqlite {closed}"
    ended = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.slow
def test_client_that_stops_reading_ends_no_run(tmp_path: Path) -> None:
    """A response that cannot be written is no reason to leave a run in the middle."""
    tmp_path.joinpath("flows.py").write_text(FLOWS, "utf-8")
    call = {"name": "slow", "arguments": {"topic": "tides"}, "_meta": META}
    messages = [
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": call},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {"_meta": META}},
    ]
    tmp_path.joinpath("in.txt").write_text("".join(json.dumps(each) + "\n" for each in messages))
    script = (
        "(cat in.txt; sleep 2; touch go.txt) | "
        f"{PROGRAM[0]} -c '{PROGRAM[2]}' mcp flows.py:slow --db runs.sqlite >/dev/full"
    )
    ended = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    assert "The client does not read any more" in ended.stderr
    assert [head.status for head in asyncio.run(find_runs(tmp_path))] == ["succeeded"]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_client_of_package_drives_program(tmp_path: Path, mode: str) -> None:
    """The package's own client starts the program, calls a tool and answers its question."""
    from mcp.client.client import Client
    from mcp.client.stdio import StdioServerParameters, stdio_client
    from mcp_types import ElicitResult

    tmp_path.joinpath("flows.py").write_text(FLOWS, "utf-8")

    async def answer(context: Any, params: Any) -> ElicitResult:
        return ElicitResult(action="accept", content={"approved": True})

    async def main() -> None:
        parameters = StdioServerParameters(
            command=PROGRAM[0],
            args=[*PROGRAM[1:], "mcp", "flows.py:letters", "--db", "runs.sqlite"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            cwd=tmp_path,
        )
        transport = stdio_client(parameters, errlog=quiet)
        async with Client(transport, mode=mode, elicitation_callback=answer) as client:
            result = await client.call_tool("letters", {"topic": "tides"})
        assert result.structured_content == {"letter": "A letter on tides: sent"}

    with open(os.devnull, "w") as quiet:
        run(main)
    assert read_sent(tmp_path) == ["A letter on tides"]
