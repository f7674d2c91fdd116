"""`graphorch runs show`: one run as its records tell it."""

from __future__ import annotations

import asyncio
import json
import re

from tests.cli.flows import (
    DESK,
    FLAKY,
    copy_crashed_run,
    run_json,
    start_desk,
    start_waiting_run,
)
from tests.cli.shell import Shell
from tests.scenarios.events.test_long_pauses import State, build_alone


def test_run_shows_steps_and_questions(shell: Shell) -> None:
    """A run is shown with its steps, and with the questions that it waits for."""
    run_id = start_waiting_run(shell, "--tag", "team=ads")
    ended = shell("runs", "show", run_id, "--db", "r.sqlite")
    lines = ended.out.splitlines()
    assert lines[0] == f"run:         {run_id}"
    assert "status:      waiting" in lines
    assert "tags:        team=ads" in lines
    rows = [line.split() for line in lines if line.startswith(("write", "approve"))]
    assert [row[:2] for row in rows] == [["write", "done"], ["approve", "waiting"]]
    assert lines[-1] == "waiting: approve asks: Publish 1 words on tides?"
    assert (
        ended.err
        == f"answer with: graphorch answer FLOW {run_id[:8]} approve VALUE --db r.sqlite\n"
    )


def test_run_details_as_json(shell: Shell) -> None:
    """A program gets the run as one object, or each record as a line."""
    run_id = start_waiting_run(shell)
    shown = run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")
    assert (shown["status"], shown["is_under_way"], shown["last_seq"]) == ("waiting", False, 4)
    assert [(step["path"], step["status"]) for step in shown["steps"]] == [
        ("write", "done"),
        ("approve", "waiting"),
    ]
    assert [item["text"] for item in shown["questions"]] == ["Publish 1 words on tides?"]
    lines = [
        json.loads(line)
        for line in shell("runs", "show", run_id, "--db", "r.sqlite", "--records").out.splitlines()
    ]
    assert [line["kind"] for line in lines] == ["started", "commit", "asked", "ended"]


def test_run_shows_failure(shell: Shell) -> None:
    """The failure of a node is shown under the table."""
    shell.write("flaky.py", FLAKY)
    run_id = run_json(shell, "run", "flaky.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    out = shell("runs", "show", run_id, "--db", "r.sqlite").out
    assert "flaky: RuntimeError: it is broken" in out
    assert "status:      failed" in out


def test_tool_calls_lie_below_their_agent(shell: Shell) -> None:
    """Calls of tools are indented below their agent, in the order in which the model made them."""
    start_desk(shell)
    out = shell("runs", "show", "--db", "r.sqlite").out
    rows = [line for line in out.splitlines() if line.startswith(("write  ", "  r"))]
    assert [re.split(r"\s{2,}", row.strip())[:2] for row in rows] == [
        ["write", "waiting"],
        ["r1/search#0", "done"],
        ["r1/search#1", "error told"],
        ["r1/note#3", "done"],
        ["r2/send#0", "waiting"],
        ["r2/send#1", "waiting"],
        ["r2/search#2", "called"],
    ]
    assert "write/r1/search#1: Error: 'search' raised LookupError: no such shelf" in out
    shown = run_json(shell, "runs", "show", "--db", "r.sqlite")
    assert [item["path"] for item in shown["questions"]] == ["write/r2/send#0", "write/r2/send#1"]
    assert shown["steps"][1]["arguments"] == {"query": "tides"}
    assert shown["steps"][1]["result"] == "3 pages on tides"


def test_stored_text_is_sanitized(shell: Shell) -> None:
    """Control characters in stored text are shown, not obeyed."""
    shell.write("flaky.py", FLAKY.replace("it is broken", "\\x1b[2J\\u202e"))
    run_id = run_json(shell, "run", "flaky.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    out = shell("runs", "show", run_id, "--db", "r.sqlite").out
    assert "\\x1b[2J\\u202e" in out
    assert "\x1b" not in out


def test_secrets_of_calls_are_hidden(shell: Shell) -> None:
    """What a tool was called with and what it returned is shown without keys and passwords."""
    key = "sk-" + "abcdefghij0123456789" * 2
    shell.write("desk.py", DESK, preamble="")
    run_json(shell, "run", "desk.py", "--topic", key, "--db", "r.sqlite")
    shown = shell("runs", "show", "--db", "r.sqlite", "--json").out
    assert key not in shown
    assert "[api_key]" in shown


def test_lost_node_is_shown_as_lost(shell: Shell) -> None:
    """What a process that is gone had under way is lost, not running."""
    run_id = copy_crashed_run(shell)
    shown = run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")
    assert "lost" in {step["status"] for step in shown["steps"]}
    assert "running" not in {step["status"] for step in shown["steps"]}


def test_pause_before_retry_is_shown(shell: Shell) -> None:
    """A run that rests in a pause waits for the next attempt of a node, and was not stopped."""
    asyncio.run(build_alone().run(State(), run_id="r", durable="r.sqlite", resources=[]))
    shown = shell("runs", "show", "r", "--db", "r.sqlite")
    assert "waiting: fetch waits for its next attempt, until" in shown.out
    report = run_json(shell, "runs", "show", "r", "--db", "r.sqlite")
    [wait] = report["waits"]
    assert (wait["path"], wait["is_retry"], wait["due"]) == ("fetch", True, report["due"])
    assert "stops" not in shell("conversation", "r", "--db", "r.sqlite").out
