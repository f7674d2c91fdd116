"""`graphorch runs`: the list of runs, filtered and in pages."""

from __future__ import annotations

import pytest

from tests.cli.flows import (
    FLAKY,
    finish_run,
    list_run_ids,
    run_json,
    start_waiting_run,
)
from tests.cli.shell import Shell


def test_runs_are_filtered(shell: Shell) -> None:
    """Runs are listed the newest first, by status, flow, tag and time."""
    first = finish_run(shell, "--tag", "team=search", "--tag", "kind=test")
    second = start_waiting_run(shell, "--tag", "team=ads")
    shell.write("flaky.py", FLAKY)
    third = run_json(shell, "run", "flaky.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    assert list_run_ids(shell) == [third, second, first]
    assert list_run_ids(shell, "--status", "waiting") == [second]
    assert list_run_ids(shell, "--flow", "flaky") == [third]
    assert list_run_ids(shell, "--tag", "team=search") == [first]
    assert list_run_ids(shell, "--since", "1h") == [third, second, first]
    assert list_run_ids(shell, "--until", "1h") == []
    assert list_run_ids(shell, "--since", "2001-01-01", "--until", "2001-01-02T12:00") == []
    table = shell("runs", "--db", "r.sqlite").out.splitlines()
    assert table[0].split() == ["RUN", "STATUS", "FLOW", "BEGUN", "CHANGED", "RECORDS", "TAGS"]
    assert table[3].startswith(f"{first[:8]}  succeeded  asking  ")
    assert table[3].endswith("team=search, kind=test")


def test_long_list_comes_in_pages(shell: Shell) -> None:
    """A page names the place at which the next one begins."""
    ids = [start_waiting_run(shell) for _ in range(3)][::-1]
    ended = shell("runs", "--db", "r.sqlite", "--limit", "2")
    assert [line.split()[0] for line in ended.out.splitlines()[1:]] == [
        run_id[:8] for run_id in ids[:2]
    ]
    place = ended.err.strip().removeprefix("there are more: --after ")
    assert list_run_ids(shell, "--after", place) == ids[2:]
    page = run_json(shell, "runs", "--db", "r.sqlite", "--limit", "2")
    assert page["next"] == place
    assert run_json(shell, "runs", "--db", "r.sqlite")["next"] is None


def test_empty_list_is_not_an_error(shell: Shell) -> None:
    """A list without runs says so, with exit code 0."""
    start_waiting_run(shell)
    ended = shell("runs", "--db", "r.sqlite", "--status", "failed")
    assert (ended.code, ended.out) == (0, "no runs\n")


@pytest.mark.parametrize(
    "options, message",
    [
        (["--status", "faild"], "--status faild: not a valid value. Did you mean 'failed'?"),
        (["--tag", "team"], "--tag team: not KEY=VALUE. Write --tag team=search."),
        (["--since", "yesterday"], "--since yesterday: not a time. Write 2026-03-31"),
        (["--limit", "0"], "--limit 0: not a number of runs"),
        (["--after", "there"], "--after there: not a place in the list"),
        (["--after", "1.5:../x"], "is not a run id"),
    ],
)
def test_wrong_filter_is_explained(shell: Shell, options: list[str], message: str) -> None:
    """Filters that cannot be read are one message."""
    start_waiting_run(shell)
    ended = shell("runs", "--db", "r.sqlite", *options)
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_journal_option_before_or_after_command(shell: Shell) -> None:
    """`--db` may stand before the subcommand or after it."""
    run_id = start_waiting_run(shell)
    assert (
        shell("runs", "--db", "r.sqlite", "show", run_id).out
        == shell("runs", "show", run_id, "--db", "r.sqlite").out
    )
