"""`graphorch resume`: a run outlives its process."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.flows import (
    ASKING,
    FLAKY,
    run_json,
    start_waiting_run,
)
from tests.cli.shell import FLOW, Shell, run_program, start_program
from tests.models.servers import pieces_of, replies, serve, streams


def test_failed_run_resumes_where_it_stopped(shell: Shell) -> None:
    """A failed run prints the command that resumes it, and nothing committed runs again."""
    shell.write("flaky.py", FLAKY)
    ended = shell("run", "flaky.py", "--topic", "tides", "--db", "r.sqlite", "-q")
    assert ended.code == 1
    *_, hint = ended.err.splitlines()
    head, _, command = hint.partition(": ")
    assert head == "What was done is kept. Resume with"
    (shell.here / "repaired").touch()
    ended = shell(*command.removeprefix("graphorch ").split())
    assert (ended.code, ended.out) == (0, "1 words on tides!\n")
    assert "write started" not in ended.err
    # it is over, and only shown
    assert shell(*command.removeprefix("graphorch ").split(), "-q").out == "1 words on tides!\n"


def test_larger_limit_continues_run(shell: Shell) -> None:
    """A run that reached a limit continues under a larger one."""
    shell.write(
        "essay.py",
        FLOW.replace("chain(write)", 'chain(write, write.named("again"))'),
    )
    run_id = run_json(
        shell, "run", "essay.py", "--topic", "x", "--activations", "1", "--db", "r.sqlite"
    )["run_id"]
    again = run_json(shell, "resume", "essay.py", run_id, "--activations", "1", "--db", "r.sqlite")
    assert (again["status"], again["end_reason"]) == ("stopped", "limit:activations")
    assert (
        run_json(shell, "resume", "essay.py", run_id, "--activations", "9", "--db", "r.sqlite")[
            "status"
        ]
        == "succeeded"
    )


def test_resumed_waiting_run_asks_again(shell: Shell) -> None:
    """Resuming a waiting run prints its questions again."""
    run_id = start_waiting_run(shell)
    ended = shell("resume", "ask.py", run_id, "--db", "r.sqlite")
    assert ended.code == 4
    assert f"graphorch answer ask.py {run_id[:8]} approve yes --db r.sqlite" in ended.err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            ["resume", "abc"],
            "Write `graphorch resume FLOW RUN`, the flow first. A journal holds data and "
            "never says which code to run",
        ),
        (
            ["resume", "abc", "ask.py"],
            "'ask.py' is not the id of a run. The flow comes first: `graphorch resume ask.py abc`",
        ),
        (["resume", "abc", "flows:main"], "`graphorch resume flows:main abc`"),
        (
            ["answer", "ask.py", "abc"],
            "QUESTION is missing. Write `graphorch answer ask.py abc QUESTION VALUE`",
        ),
        (
            ["resume", "ask.py", "abc", "--ambiguous", "maybe"],
            "--ambiguous maybe: not a valid value. Known: fail, repeat, stop.",
        ),
        (["resume", "ask.py", "abc"], "There is no journal"),
    ],
)
def test_wrong_usage_is_explained(shell: Shell, arguments: list[str], message: str) -> None:
    """Missing, swapped and wrong arguments are one message, and create no file."""
    shell.write("ask.py", ASKING)
    ended = shell(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert shell.list_files() == ["ask.py"]


GATED = """
import asyncio

@node
async def gate(draft: Draft) -> Draft:
    await asyncio.get_running_loop().run_in_executor(None, input)
    return draft

@node
def last(draft: Draft) -> Draft:
    return Draft(draft=draft.draft + "!")

flow = Graph("gated", Essay, input=Topic, output=Draft).chain(write, gate, last).build()
"""


async def interrupted(here: Path) -> tuple[int, str]:
    process = await start_program(
        "run", "gated.py", "--topic", "x", "--events", "--db", "r.sqlite", here=here, stdin_data=b""
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while True:
            event: dict[str, Any] = json.loads(await process.stdout.readline())
            if event["event"] == "started" and event["node"] == "gate":
                break
        process.send_signal(signal.SIGINT)
        while (line := await process.stderr.readline()) and not line.strip():
            pass
        assert line, "it ended without a word"
        process.stdin.write(b"go\n")
        _, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, err.decode()


def test_interrupted_run_can_be_resumed(shell: Shell) -> None:
    """An interrupted run prints the command that resumes it, and nothing done is repeated."""
    shell.write("gated.py", GATED)
    code, err = asyncio.run(interrupted(shell.here))
    assert code == 130
    command = err.splitlines()[-1].removeprefix("what was done is kept; resume with: graphorch ")
    assert command.startswith("resume gated.py ")
    ended = shell(*command.split())
    assert (ended.code, ended.out) == (0, "1 words on x!\n")
    assert "last started" in ended.err
    assert "gate started" not in ended.err


def test_run_is_found_by_prefix_or_last(shell: Shell) -> None:
    """A run may be named by a prefix of its id or as `last`, but not where it is deleted."""
    run_id = start_waiting_run(shell)
    assert shell("resume", "ask.py", run_id[:8], "--db", "r.sqlite").code == 4
    assert (
        shell("answer", "ask.py", "last", "approve", "yes", "--db", "r.sqlite", "-q").out
        == "1 words on tides, yes\n"
    )
    # for good, so by the whole id only
    assert shell("runs", "erase", "last", "--db", "r.sqlite").code == 2


def test_resumed_run_keeps_model_and_endpoint(shell: Shell) -> None:
    """The printed command names model and configuration; without them the model is still kept."""
    shell.write(
        "asks.py",
        """
@agent(output=Draft, model="house/small")
def ask_one(topic: Topic) -> str:
    return topic.topic
flow = Graph("asking", Essay, input=Topic, output=Draft).chain(ask_one).build()
""",
    )

    async def main() -> None:
        refused = replies({"error": {"message": "no"}}, 400)
        async with serve(refused, refused, streams(pieces_of("Done."))) as server:
            config = f'''
[endpoints.main]
base_url = "http://127.0.0.1:9/v1"
[endpoints.big]
base_url = "{server.url}"
[policies.big]
kind = "fallback"
rounds = 1
targets = [{{ model = "house/big", endpoint = "big" }}]
'''
            (shell.here / "my models.toml").write_text(config)
            run = ("run", "asks.py", "--topic", "tides", "--db", "r.sqlite")
            given = ("--config", "my models.toml")
            ended = await run_program(*run, "--model", "policy/big", *given, here=shell.here)
            assert ended.code == 1
            command = ended.err.partition("Resume with: graphorch ")[2]
            assert "--model policy/big --config 'my models.toml'" in command
            for arguments in (
                shlex.split(command),
                ("resume", "asks.py", "last", *given, *run[-2:]),
            ):
                ended = await run_program(*arguments, here=shell.here)
                assert ended.err.startswith(f"endpoint: big {server.url} (no key)\n")
            assert (ended.code, ended.out) == (0, "Done.\n")
            assert [body["model"] for body in server.bodies] == ["house/big"] * 3

    asyncio.run(main())
