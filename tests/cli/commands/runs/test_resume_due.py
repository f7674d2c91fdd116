"""`graphorch resume --due`: runs whose time has come go on, all at once."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest

from graphorch.journal.due_times import find_due_runs
from graphorch.journal.sqlite.store import SqliteStore
from tests.cli.commands.runs.signal_flows import SIGNALS, start_old_run, start_signal_run
from tests.cli.flows import run_json
from tests.cli.shell import Shell


def resume(shell: Shell, flow: str, *options: str) -> tuple[int, list[str], str]:
    ended = shell("resume", flow, "--due", "--db", "r.sqlite", *options)
    return ended.code, ended.out.splitlines(), ended.err


def test_due_runs_are_resumed(shell: Shell) -> None:
    """Runs whose timer is over go on, with a line for each; those of later times wait."""
    old = [start_old_run(shell, f"old-{number}") for number in range(2)]
    new = start_signal_run(shell, flow="paid.py:later")
    code, lines, err = resume(shell, "paid.py:later")
    assert (code, sorted(lines), err) == (0, [f"run {run} succeeded" for run in old], "")
    assert run_json(shell, "runs", "show", new, "--db", "r.sqlite")["status"] == "waiting"
    code, lines, err = resume(shell, "paid.py:later")
    assert (code, lines) == (0, [])
    assert err.startswith("no run of 'later' is due; the next is due at 20")


def test_late_signal_expires_when_due(shell: Shell) -> None:
    """A signal that is not waited for any more makes its run due as well."""
    start_old_run(shell, "old", "paid.py:flow")
    code, lines, _ = resume(shell, "paid.py:flow")
    assert (code, lines) == (0, ["run old succeeded"])
    shown = run_json(shell, "runs", "show", "old", "--db", "r.sqlite")
    assert {step["path"]: step["status"] for step in shown["steps"]}["remind"] == "done"


def test_failed_run_keeps_no_other_back(shell: Shell) -> None:
    """A run that fails is named with its error, the others go on, and the exit code is 1."""
    start_old_run(shell, "bad", "paid.py:fails", "bad")
    start_old_run(shell, "good", "paid.py:fails")
    start_old_run(shell, "other", "paid.py:flow")
    code, lines, _ = resume(shell, "paid.py:fails", "--json")
    report = json.loads(lines[0])
    status = {run["run_id"]: run["status"] for run in report["runs"]}
    assert (code, status) == (1, {"bad": "failed", "good": "succeeded"})
    assert any("it is broken" in run["error"] for run in report["runs"])
    assert report["next"] is None


def test_run_of_changed_graph_is_named(shell: Shell) -> None:
    """A run that the flow cannot continue any more is named with the reason."""
    start_old_run(shell, "old")
    shell.write("changed.py", SIGNALS.replace('"pause", after', '"rest", after'))
    code, lines, _ = resume(shell, "changed.py:later")
    assert code == 1
    assert lines[0].startswith("run old cannot be continued: ")


def test_driven_run_is_left_to_its_owner(shell: Shell) -> None:
    """A run that another process drives is left to it, and nothing failed."""
    start_old_run(shell, "old")
    set_owner(shell, "other process")
    assert resume(shell, "paid.py:later")[:2] == (0, ["run old is driven by another process"])


def test_damaged_run_hides_no_other(shell: Shell) -> None:
    """A run whose last record was altered is named, and the others go on."""
    for run in ("old", "torn"):
        start_old_run(shell, run)
    with sqlite3.connect(shell.here / "r.sqlite") as connection:
        connection.execute("UPDATE runs SET status = 'waiting', seal = x'00' WHERE run_id = 'torn'")
    connection.close()
    code, lines, err = resume(shell, "paid.py:later")
    assert (code, lines) == (1, ["run old succeeded"])
    assert "note: run torn cannot be read: its head is not what was written" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["last", "--due"], "--due resumes every run of paid.py that is due, so RUN ('last') has"),
        (["--due", "-o", "x.txt"], "-o is for one run, and --due may resume many"),
        (["--due", "--events"], "--events is for one run, and --due may resume many"),
        (["--due", "--db", "none.sqlite"], "There is no journal 'none.sqlite'"),
    ],
    ids=["run", "output", "events", "no journal"],
)
def test_options_of_one_run_are_refused(shell: Shell, words: list[str], message: str) -> None:
    """What makes sense for one run only is refused with one message."""
    shell.write("paid.py", SIGNALS)
    ended = shell("resume", "paid.py", *words)
    assert ended.code == 2
    assert message in ended.err


def test_runs_show_what_they_wait_for(shell: Shell) -> None:
    """`runs` and `runs show` say until when a run waits, for which signal, and with which key."""
    run_id = start_signal_run(shell)
    listed = shell("runs", "--db", "r.sqlite").out
    assert "waiting until 20" in listed
    shown = shell("runs", "show", run_id, "--db", "r.sqlite")
    assert "status:      waiting until 20" in shown.out
    assert "waiting: paid waits for the signal 'paid' with key 'tea', until 20" in shown.out
    assert shown.err == (
        f"send it with: graphorch send FLOW {run_id[:8]} paid VALUE --key tea --db r.sqlite\n"
    )
    described = run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")
    (wait,) = described["waits"]
    assert (wait["signal"], wait["key"], wait["due"]) == ("paid", "tea", described["due"])
    (head,) = run_json(shell, "runs", "--db", "r.sqlite")["runs"]
    assert head["due"] == described["due"]


def set_owner(shell: Shell, owner: str) -> None:
    """Give the runs of `r.sqlite` to an owner for a while."""
    with sqlite3.connect(shell.here / "r.sqlite") as connection:
        connection.execute(
            "UPDATE runs SET owner = ?, expires_at = unixepoch() + 20, lease_seconds = 30", (owner,)
        )
    connection.close()


def test_due_runs_come_in_pages(shell: Shell) -> None:
    """The runs that are due are found in order of their times, whatever the size of a page."""
    for number in (2, 0, 1):
        start_old_run(shell, f"old-{number}")

    async def check() -> None:
        store = await SqliteStore.open(shell.here / "r.sqlite")
        due = await find_due_runs(store, "later", 4e9)
        assert [head.run_id for head in due.runs] == ["old-2", "old-0", "old-1"]
        none = await find_due_runs(store, "later", 1.0)
        assert (none.runs, none.unreadable) == ((), {})
        assert none.next is not None
        await store.close()

    asyncio.run(check())
