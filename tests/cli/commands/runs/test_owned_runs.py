"""Commands that reach a run which another process drives."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.flows import run_json, start_waiting_run
from tests.cli.shell import PROGRAM, Shell

BESIDE = """
import asyncio, pathlib

class Ok(BaseModel):
    approved: bool = False
    reason: str = ""

class State(Topic, Draft, Ok): ...

@node
async def slow(topic: Topic) -> Draft:
    while not pathlib.Path("go").exists():
        await asyncio.sleep(0.01)
    return Draft(draft="draft")

@node
def act(ok: Ok) -> Ok:
    pathlib.Path("acted").write_text(str(ok.approved))
    return ok

@node
def end(draft: Draft, ok: Ok) -> Draft:
    return Draft(draft=f"{draft.draft} {ok.approved}")

g = Graph("beside", State, input=Topic, output=Draft)
g.chain(g.ask("approve", question=lambda s: f"Publish {s.topic}?", answer=Ok), act, end)
g.chain(slow, end)
flow = g.build()
"""

Owner = subprocess.Popen[str]


def wait_until(is_true: Callable[[], bool]) -> None:
    """Return once something is true, or fail after half a minute."""
    end = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def owner(shell: Shell) -> Iterator[Owner]:
    """Start a process that drives a run with an open question, in `r.sqlite`."""
    shell.write("beside.py", BESIDE)
    command = (*PROGRAM, "run", "beside.py", "--topic", "tides", "--db", "r.sqlite", "-q")
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=shell.here, stdout=pipe, stderr=pipe, text=True)

    def has_asked() -> bool:
        shown = shell("runs", "show", "last", "--db", "r.sqlite", "--json")
        return not shown.code and bool(json.loads(shown.out).get("questions"))

    try:
        wait_until(lambda: (shell.here / "r.sqlite").exists())
        wait_until(has_asked)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout and process.stdout.close()  # type: ignore[func-returns-value]
        process.stderr and process.stderr.close()  # type: ignore[func-returns-value]


def answer(shell: Shell, *words: str) -> tuple[int, str, str]:
    ended = shell("answer", "beside.py", "last", "approve", *words, "--db", "r.sqlite")
    return ended.code, ended.out, ended.err.splitlines()[-1] if ended.err else ""


def end(owner: Owner, here: Path) -> tuple[int, str, str]:
    """Let the slow node end; return how the owner ended."""
    (here / "go").touch()
    out, err = owner.communicate(timeout=20)
    return owner.returncode, out, err


def test_answer_reaches_other_process(owner: Owner, shell: Shell) -> None:
    """An answer acts in the process that drives the run; a second one is refused by name."""
    code, out, err = answer(shell, "yes")
    assert (code, out) == (0, "")
    assert "the process that drives run" in err
    assert err.endswith("took in the answer to 'approve'")
    wait_until(lambda: (shell.here / "acted").exists())
    code, out, err = answer(shell, "no")
    assert (code, out) == (2, "")
    assert "The question of 'approve' is not open: it was answered already" in err
    assert end(owner, shell.here) == (0, "draft True\n", "")


@pytest.mark.slow
def test_answer_to_other_process_speaks_json(owner: Owner, shell: Shell) -> None:
    """With --json the command prints an object, and refuses what only an owner can do."""
    code, _, err = answer(shell, "yes", "-o", "out.txt")
    assert code == 2
    assert "-o out.txt has no effect on a run that another process drives" in err
    ended = shell("answer", "beside.py", "last", "approve", "yes", "--db", "r.sqlite", "--json")
    sent = json.loads(ended.out)
    assert (sent["question"], sent["is_taken_in"], ended.code) == ("approve", True, 0)
    assert end(owner, shell.here)[:2] == (0, "draft True\n")


@pytest.mark.slow
def test_answer_without_waiting(owner: Owner, shell: Shell) -> None:
    """With --no-wait the answer is stored, and acts soon afterwards."""
    code, _, err = answer(shell, "yes", "--no-wait")
    assert code == 0
    assert err.startswith("the answer to 'approve' is stored; the owner of run")
    wait_until(lambda: (shell.here / "acted").exists())
    assert end(owner, shell.here)[:2] == (0, "draft True\n")


def test_letters_are_shown(shell: Shell) -> None:
    """`runs show` tells of an answer that waits for the next owner, and of a refused one."""
    run_id = start_waiting_run(shell)
    words = ("answer", "ask.py", run_id, "approve", "yes", "--db", "r.sqlite", "--no-wait")
    assert [shell(*words).code for _ in range(2)] == [0, 0]
    shown = shell("runs", "show", run_id, "--db", "r.sqlite").out.splitlines()
    waiting = [line for line in shown if line.startswith("letter: answer to 'approve', sent ")]
    assert [line.endswith("is not taken in yet") for line in waiting] == [True, True]
    assert shell("resume", "ask.py", run_id, "--db", "r.sqlite", "-q").code == 0
    (line,) = [
        line
        for line in shell("runs", "show", run_id, "--db", "r.sqlite").out.splitlines()
        if line.startswith("letter")
    ]
    assert "was refused: The question of 'approve' is not open: it was answered already" in line
    letters = run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")["letters"]
    assert [letter["outcome"] for letter in letters] == ["taken", "refused"]
    assert [letter["error"] for letter in letters] == ["", "QuestionClosed"]


def test_killed_owner_leaves_answer_to_next(owner: Owner, shell: Shell) -> None:
    """An answer that a killed process did not take in is taken in by `resume`."""
    owner.send_signal(19)  # it is stopped, and reads nothing any more
    assert answer(shell, "yes", "--no-wait")[0] == 0
    owner.kill()
    owner.wait()
    (shell.here / "go").touch()
    resumed = shell("resume", "beside.py", "last", "--db", "r.sqlite")
    assert resumed.code == 2
    assert "Stop that process, or the run with `graphorch runs stop`" in resumed.err
    expire_leases(shell.here / "r.sqlite")
    resumed = shell("resume", "beside.py", "last", "--db", "r.sqlite", "-q")
    assert (resumed.code, resumed.out) == (0, "draft True\n")


def expire_leases(path: Path) -> None:
    """Let the leases in a journal run out, as half a minute would."""
    import sqlite3

    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE runs SET expires_at = 1.0")
    connection.close()


def test_stop_reaches_other_process(owner: Owner, shell: Shell) -> None:
    """A run is stopped in the process that drives it, with the given reason."""
    ended = shell("runs", "stop", "last", "--now", "--reason", "lunch", "--db", "r.sqlite")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("run ")
    assert ended.err.endswith(" stops\n")
    _, err = owner.communicate(timeout=20)
    assert owner.returncode == 1
    assert "was stopped (lunch)" in err
    again = shell("runs", "stop", "last", "--db", "r.sqlite")
    assert again.code == 2
    assert "is not under way: there is nothing to stop" in again.err


@pytest.mark.parametrize(
    "options", [[], pytest.param(["--flow", "beside.py"], marks=pytest.mark.slow)]
)
def test_cancel_reaches_other_process(owner: Owner, shell: Shell, options: list[str]) -> None:
    """A run is cancelled for good in the process that drives it."""
    ended = shell("runs", "cancel", "last", *options, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (0, "")
    assert "cancelled" in ended.err
    owner.communicate(timeout=20)
    assert owner.returncode == 1
    shown = shell("runs", "show", "last", "--db", "r.sqlite", "--json")
    assert json.loads(shown.out)["status"] == "cancelled"
