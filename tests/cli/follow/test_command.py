"""`graphorch follow`: a run of the journal is watched, and reported like a run of this process."""

from __future__ import annotations

import asyncio
import json
import re
import signal
from typing import Any

import pytest

from tests.cli.flows import (
    ASKING,
    FLAKY,
    copy_crashed_run,
    finish_run,
    run_json,
    start_waiting_run,
)
from tests.cli.shell import Shell, start_program

DB = ("--db", "r.sqlite")

SLOW = """
import pathlib, time

@node
def wait(draft: Draft) -> Draft:
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    return Draft(draft=draft.draft + "!")

flow = Graph("slow", Essay, input=Topic, output=Draft).chain(write, wait).build()
"""


def lines_of(text: str) -> list[str]:
    """Return the lines of a progress without times and ids."""
    return [
        re.sub(r"\d+(\.\d+)? m?s|[0-9a-f]{8,32}", "T", line.strip()) for line in text.splitlines()
    ]


def events_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_follow_prints_what_run_printed(shell: Shell) -> None:
    """Of a run that is over, progress, output and summary are those of its process."""
    shell.write("a.py")
    run = shell("run", "a.py", "--topic", "tides", *DB)
    followed = shell("follow", "a.py", *DB)
    assert (followed.code, followed.out) == (0, run.out)
    assert lines_of(followed.err) == lines_of(run.err)
    assert shell("follow", "a.py", "last", *DB, "-q").err == ""


def test_follow_for_programs_is_that_of_run(shell: Shell) -> None:
    """`--json` prints the object of the run; `--events` its events, with numbers of records."""
    shell.write("a.py")
    ran = events_of(shell("run", "a.py", "--topic", "tides", *DB, "--events").out)
    followed = events_of(shell("follow", "a.py", *DB, "--events").out)
    report = run_json(shell, "follow", "a.py", *DB)
    assert report == followed[-1] == ran[-1] | {"seconds": report["seconds"]}
    numbers = [event.pop("seq") for event in followed[:-1]]
    assert numbers == sorted(numbers)
    assert [event["event"] for event in followed[:-1]] == [event["event"] for event in ran[:-1]]
    after = events_of(shell("follow", "a.py", *DB, "--events", "--after", str(numbers[-1] - 1)).out)
    assert [event.get("event") for event in after] == ["ended", None]


def test_follow_ends_where_run_waits(shell: Shell) -> None:
    """The open question is shown, with the command that answers it."""
    run_id = start_waiting_run(shell)
    followed = shell("follow", "ask.py", run_id, *DB)
    assert (followed.code, followed.out) == (4, "")
    assert "waiting: approve asks (Ok): Publish 1 words on tides?" in followed.err
    assert f"graphorch answer ask.py {run_id[:8]}" in followed.err
    assert "--db r.sqlite" in followed.err


def test_follow_reports_failed_run(shell: Shell) -> None:
    """The failure is the message and the exit code, and how to resume is said."""
    shell.write("flaky.py", FLAKY)
    run_id = run_json(shell, "run", "flaky.py", "--topic", "x", *DB)["run_id"]
    followed = shell("follow", "flaky.py", run_id, *DB)
    assert (followed.code, followed.out) == (1, "")
    assert "it is broken" in followed.err
    assert "Resume with: graphorch resume flaky.py" in followed.err
    assert run_json(shell, "follow", "flaky.py", run_id, *DB)["status"] == "failed"


def test_follow_writes_output(shell: Shell) -> None:
    """The output of a run elsewhere goes into a file here."""
    run_id = finish_run(shell)
    followed = shell("follow", "ask.py", run_id, *DB, "-o", "out.txt")
    assert (followed.code, followed.out) == (0, "")
    assert (shell.here / "out.txt").read_text() == "1 words on tides, yes\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("follow", "ask.py", "nowhere", *DB), "The journal has no run 'nowhere'"),
        (("follow", "ask.py", "last", "--db", "missing.sqlite"), "There is no journal"),
        (("follow", "other.py", "last", *DB), "belongs to flow 'asking'"),
        (("follow", "ask.py", "last", *DB, "--after", "-1"), "--after"),
        (("follow", "last", "ask.py", *DB), "The flow comes first"),
    ],
)
def test_follow_names_wrong_input(shell: Shell, arguments: tuple[str, ...], message: str) -> None:
    """What cannot be followed is one message."""
    shell.write("ask.py", ASKING)
    shell.write("other.py")
    start_waiting_run(shell)
    ended = shell(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_follow_of_erased_run_is_refused(shell: Shell) -> None:
    """Nothing is left to follow."""
    run_id = finish_run(shell)
    assert shell("runs", "erase", run_id, *DB).code == 0
    ended = shell("follow", "ask.py", run_id, *DB)
    assert (ended.code, ended.out) == (2, "")
    assert "was erased" in ended.err


async def begin_slow(shell: Shell) -> asyncio.subprocess.Process:
    """Start a process whose run stands in its second node."""
    shell.write("slow.py", SLOW)
    process = await start_program(
        "run", "slow.py", "--topic", "x", "--events", *DB, here=shell.here
    )
    assert process.stdout is not None
    while json.loads(await process.stdout.readline()).get("path") != "wait":
        pass
    return process


async def read_until(process: asyncio.subprocess.Process, text: bytes) -> bytes:
    assert process.stderr is not None
    seen = b""
    while text not in seen:
        line = await process.stderr.readline()
        assert line, seen.decode()
        seen += line
    return seen


def test_follow_shows_run_of_other_process(shell: Shell) -> None:
    """Events come while another process works; Ctrl-C ends the watching, not the run."""

    async def main() -> tuple[bytes, bytes]:
        async with asyncio.timeout(60):
            process = await begin_slow(shell)
            left = await start_program("follow", "slow.py", *DB, here=shell.here)
            follower = await start_program("follow", "slow.py", *DB, here=shell.here)
            for each in (left, follower):
                await read_until(each, b"wait started")
            left.send_signal(signal.SIGINT)
            farewell = (await left.communicate())[1]
            assert left.returncode == 130
            (shell.here / "go").touch()
            out, _ = await follower.communicate()
            assert follower.returncode == 0
            await process.communicate()
            assert process.returncode == 0
            return farewell, out

    farewell, out = asyncio.run(main())
    assert (
        b"is not watched any more, and goes on; watch it with: graphorch follow slow.py" in farewell
    )
    assert b"Traceback" not in farewell
    assert out == b"1 words on x!\n"


def test_follow_ends_with_its_reader(shell: Shell) -> None:
    """When nobody reads the events any more, the watching ends, and the run goes on."""

    async def main() -> None:
        async with asyncio.timeout(60):
            process = await begin_slow(shell)
            follower = await start_program("follow", "slow.py", *DB, "--events", here=shell.here)
            assert follower.stdout is not None
            await follower.stdout.readline()
            follower.stdout._transport.close()  # pyright: ignore
            (shell.here / "go").touch()
            await follower.wait()
            await process.communicate()
            assert process.returncode == 0

    asyncio.run(main())


@pytest.mark.slow
def test_follow_says_that_nobody_drives_run(shell: Shell) -> None:
    """Of a run whose process is gone, it is said once how to go on, and the watching goes on."""
    copy_crashed_run(shell)

    async def main() -> bytes:
        async with asyncio.timeout(60):
            process = await start_program("follow", "crashing.py", *DB, here=shell.here)
            seen = await read_until(process, b"no process drives run")
            process.send_signal(signal.SIGINT)
            rest = (await process.communicate())[1]
            assert process.returncode == 130
            return seen.splitlines()[-1] + rest

    said = asyncio.run(main())
    assert said.count(b"no process drives run") == 1
    assert b"or with: graphorch resume crashing.py crashed --db r.sqlite" in said
