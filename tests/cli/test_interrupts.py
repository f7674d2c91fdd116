"""Ctrl-C, sent to a real process: the first stops it gently, the second at once."""

from __future__ import annotations

import asyncio
import json
import signal

import pytest

from tests.cli.shell import Ended, Shell, start_program

SLOW = """
import asyncio

@node
async def gate(draft: Draft) -> Draft:
    await asyncio.get_running_loop().run_in_executor(None, input)
    return Draft(draft="through the gate")

@node
async def forever(draft: Draft) -> Draft:
    await asyncio.Event().wait()
    return draft

@node
async def stubborn(draft: Draft) -> Draft:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

@node
def last(draft: Draft) -> Draft:
    return draft

def flow_of(node):
    return Graph("slow", Essay, input=Topic, output=Draft).chain(write, node, last).build()

gated, endless, stuck = flow_of(gate), flow_of(forever), flow_of(stubborn)
"""


async def interrupted(shell: Shell, name: str, *, times: int, then: bytes = b"") -> Ended:
    """Run until the second node has started, then press Ctrl-C, again after each answer to it."""
    process = await start_program(
        "run", f"slow.py:{name}", "--topic", "x", "--events", here=shell.here, stdin_data=b""
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while True:
            event = json.loads(await process.stdout.readline())
            if event["event"] == "started" and event["node"] != "write":
                break
        heard = b""
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            while not heard:
                line = await process.stderr.readline()
                assert line, "it ended without a word"
                heard = line.strip()
        process.stdin.write(then)
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ended(process.returncode, out.decode(), heard.decode() + "\n" + err.decode())


def test_first_interrupt_stops_gently(shell: Shell) -> None:
    """The first Ctrl-C lets running nodes finish, and starts no others."""
    shell.write("slow.py", SLOW)
    ended = asyncio.run(interrupted(shell, "gated", times=1, then=b"go\n"))
    report = json.loads(ended.out.splitlines()[-1])
    assert (ended.code, report["status"], report["end_reason"]) == (130, "stopped", "interrupted")
    assert [(step["path"], step["status"]) for step in report["steps"]] == [
        ("write", "done"),
        ("gate", "done"),
    ]
    assert "2 steps done (write, gate)" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("name", ["endless", "stuck"])
def test_second_interrupt_leaves_at_once(shell: Shell, name: str) -> None:
    """The second Ctrl-C leaves at once, even if a node cannot be stopped."""
    shell.write("slow.py", SLOW)
    ended = asyncio.run(interrupted(shell, name, times=2))
    assert ended.code == 130
    assert "running nodes may finish, no others start" in ended.err
    assert "Traceback" not in ended.err
