"""`graphorch runs`: listed, filtered, paged, shown, cancelled, deleted, without any flow."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.flows import FLAKY, finished, told, waiting
from tests.cli.shell import Shell


def listed(shell: Shell, *options: str) -> list[str]:
    return [item["run_id"] for item in told(shell, "runs", "--db", "r.sqlite", *options)["runs"]]


def test_runs_are_listed_the_newest_first_and_filtered(shell: Shell) -> None:
    first = finished(shell, "--tag", "team=search", "--tag", "kind=test")
    second = waiting(shell, "--tag", "team=ads")
    shell.write("flaky.py", FLAKY)
    third = told(shell, "run", "flaky.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    assert listed(shell) == [third, second, first]
    assert listed(shell, "--status", "waiting") == [second]
    assert listed(shell, "--flow", "flaky") == [third]
    assert listed(shell, "--tag", "team=search") == [first]
    assert listed(shell, "--since", "1h") == [third, second, first]
    assert listed(shell, "--until", "1h") == []
    assert listed(shell, "--since", "2001-01-01", "--until", "2001-01-02T12:00") == []
    table = shell("runs", "--db", "r.sqlite").out.splitlines()
    assert table[0].split() == ["RUN", "STATUS", "FLOW", "BEGUN", "CHANGED", "RECORDS", "TAGS"]
    assert table[3].startswith(f"{first}  succeeded  asking  ")
    assert table[3].endswith("team=search, kind=test")


def test_a_long_list_comes_in_pages(shell: Shell) -> None:
    ids = [waiting(shell) for _ in range(3)][::-1]
    ended = shell("runs", "--db", "r.sqlite", "--limit", "2")
    assert [line.split()[0] for line in ended.out.splitlines()[1:]] == ids[:2]
    place = ended.err.strip().removeprefix("there are more: --after ")
    assert listed(shell, "--after", place) == ids[2:]
    page = told(shell, "runs", "--db", "r.sqlite", "--limit", "2")
    assert page["next"] == place
    assert told(shell, "runs", "--db", "r.sqlite")["next"] is None


def test_nothing_found_is_said(shell: Shell) -> None:
    waiting(shell)
    ended = shell("runs", "--db", "r.sqlite", "--status", "failed")
    assert (ended.code, ended.out) == (0, "no runs\n")


@pytest.mark.parametrize(
    "options, says",
    [
        (["--status", "faild"], "--status faild: not a valid value. Did you mean 'failed'?"),
        (["--tag", "team"], "--tag team: not KEY=VALUE. Write --tag team=search."),
        (["--since", "yesterday"], "--since yesterday: not a time. Write 2026-03-31"),
        (["--limit", "0"], "--limit 0: not a number of runs"),
        (["--after", "there"], "--after there: not a place in the list"),
        (["--after", "1.5:../x"], "is no run id"),
    ],
)
def test_a_wrong_filter_is_explained(shell: Shell, options: list[str], says: str) -> None:
    waiting(shell)
    ended = shell("runs", "--db", "r.sqlite", *options)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err


def test_a_run_is_shown_with_its_steps_and_what_it_waits_for(shell: Shell) -> None:
    run_id = waiting(shell, "--tag", "team=ads")
    ended = shell("runs", "show", run_id, "--db", "r.sqlite")
    lines = ended.out.splitlines()
    assert lines[0] == f"run:         {run_id}"
    assert "status:      waiting" in lines
    assert "tags:        team=ads" in lines
    rows = [line.split() for line in lines if line.startswith(("write", "approve"))]
    assert [row[:2] for row in rows] == [["write", "done"], ["approve", "waiting"]]
    assert lines[-1] == "waiting: approve asks: Publish 1 words on tides?"
    assert ended.err == f"answer with: graphorch answer FLOW {run_id} approve VALUE --db r.sqlite\n"


def test_a_program_gets_the_run_as_one_object_and_each_record_as_a_line(shell: Shell) -> None:
    run_id = waiting(shell)
    shown = told(shell, "runs", "show", run_id, "--db", "r.sqlite")
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


def test_the_failure_of_a_run_is_shown(shell: Shell) -> None:
    shell.write("flaky.py", FLAKY)
    run_id = told(shell, "run", "flaky.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    out = shell("runs", "show", run_id, "--db", "r.sqlite").out
    assert "flaky: RuntimeError: it is broken" in out
    assert "status:      failed" in out


def test_what_a_node_wrote_is_shown_and_not_obeyed(shell: Shell) -> None:
    shell.write("flaky.py", FLAKY.replace("it is broken", "\\x1b[2J\\u202e"))
    run_id = told(shell, "run", "flaky.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    out = shell("runs", "show", run_id, "--db", "r.sqlite").out
    assert "\\x1b[2J\\u202e" in out
    assert "\x1b" not in out


def test_a_cancelled_run_takes_no_answer(shell: Shell) -> None:
    run_id = waiting(shell)
    ended = shell("runs", "cancel", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.err) == (0, f"run {run_id} was waiting, and is cancelled now\n")
    assert told(shell, "runs", "show", run_id, "--db", "r.sqlite")["questions"] == []
    for command in (
        ["answer", "ask.py", run_id, "approve", "yes"],
        ["resume", "ask.py", run_id],
        ["runs", "cancel", run_id],
    ):
        ended = shell(*command, "--db", "r.sqlite")
        assert (ended.code, ended.out) == (2, "")
        assert "cancel" in ended.err


def test_a_run_can_be_cancelled_by_its_flow_too(shell: Shell) -> None:
    run_id = waiting(shell)
    assert shell("runs", "cancel", run_id, "--flow", "ask.py", "--db", "r.sqlite").code == 0
    assert told(shell, "runs", "show", run_id, "--db", "r.sqlite")["status"] == "cancelled"


def test_old_runs_are_deleted_and_those_that_could_go_on_only_by_name(shell: Shell) -> None:
    done, waits = finished(shell), waiting(shell)
    assert (
        shell("runs", "prune", "--older-than", "1h", "--db", "r.sqlite").err
        == "deleted 0 runs (succeeded, partial, cancelled; older than 1h)\n"
    )
    assert shell("runs", "prune", "--older-than", "0s", "--db", "r.sqlite").err.startswith(
        "deleted 1 run ("
    )
    assert listed(shell) == [waits]
    assert done != waits
    assert shell(
        "runs", "prune", "--older-than", "0s", "--status", "waiting", "--db", "r.sqlite"
    ).err.startswith("deleted 1 run (waiting;")
    assert listed(shell) == []


@pytest.mark.parametrize("age", ["30", "d", "-3d", "soon", "1y"])
def test_an_age_that_is_none_deletes_nothing(shell: Shell, age: str) -> None:
    finished(shell)
    ended = shell("runs", "prune", f"--older-than={age}", "--db", "r.sqlite")
    assert ended.code == 2
    assert "not an age. Write a number and a unit" in ended.err
    assert len(listed(shell)) == 1


def test_an_erased_run_keeps_its_place_and_nothing_else(shell: Shell) -> None:
    run_id = finished(shell)
    assert b"words on tides" in (shell.here / "r.sqlite").read_bytes()
    assert shell("runs", "erase", run_id, "--db", "r.sqlite").code == 0
    assert b"words on tides" not in b"".join(
        path.read_bytes() for path in shell.here.glob("r.sqlite*")
    )
    shown = told(shell, "runs", "show", run_id, "--db", "r.sqlite")
    assert (shown["is_erased"], shown["steps"]) == (True, [])
    assert "erased, the hashes are left" in shell("runs", "show", run_id, "--db", "r.sqlite").out
    ended = shell("replay", "ask.py", run_id, "--db", "r.sqlite")
    assert ended.code == 2
    assert "was erased; only its hashes are left" in ended.err


def test_the_journal_may_be_named_before_the_command_or_after_it(shell: Shell) -> None:
    run_id = waiting(shell)
    assert (
        shell("runs", "--db", "r.sqlite", "show", run_id).out
        == shell("runs", "show", run_id, "--db", "r.sqlite").out
    )


def crashed(shell: Shell) -> str:
    """A journal whose process was killed, and a file with its flow."""
    folder = Path(__file__).parents[3] / "golden" / "format_1"
    shutil.copyfile(folder / "crashed.golden", shell.here / "r.sqlite")
    shell.write(
        "crashing.py", "from tests.golden.flows import crashing\nflow = crashing()\n", preamble=""
    )
    return "crashed"


def test_a_run_whose_process_was_killed_is_shown_as_crashed_and_goes_on(shell: Shell) -> None:
    run_id = crashed(shell)
    assert shell("runs", "--db", "r.sqlite").out.splitlines()[1].split()[:3] == [
        run_id,
        "crashed",
        "crashing",
    ]
    ended = shell("resume", "crashing.py", run_id, "--db", "r.sqlite")
    assert ended.code == 0
    assert "split started" not in ended.err
    assert shell("runs", "--db", "r.sqlite").out.splitlines()[1].split()[1] == "succeeded"


def test_a_crashed_run_is_cancelled_by_its_flow_only(shell: Shell) -> None:
    run_id = crashed(shell)
    ended = shell("runs", "cancel", run_id, "--db", "r.sqlite")
    assert ended.code == 2
    assert "Only its flow can cancel it: flow.cancel(…), or name it with --flow." in ended.err
    assert shell("runs", "cancel", run_id, "--flow", "crashing.py", "--db", "r.sqlite").code == 0
    assert shell("runs", "--db", "r.sqlite").out.splitlines()[1].split()[1] == "cancelled"
