"""`graphorch answer`: an answer to a waiting run."""

from __future__ import annotations

import pytest

from tests.cli.flows import (
    ASKING,
    run_json,
    start_waiting_run,
)
from tests.cli.shell import Shell


def test_waiting_run_prints_answer_command(shell: Shell) -> None:
    """A waiting run prints the command that answers it; running that command ends the run."""
    shell.write("ask.py", ASKING)
    ended = shell("run", "ask.py", "--topic", "tides", "--db", "my runs.sqlite")
    assert (ended.code, ended.out) == (4, "")
    (command,) = [
        line.strip() for line in ended.err.splitlines() if line.startswith("  graphorch answer")
    ]
    run_id = ended.err.splitlines()[-1].rpartition("; run ")[2]
    assert command == f"graphorch answer ask.py {run_id} approve yes --db 'my runs.sqlite'"
    ended = shell("answer", "ask.py", run_id, "approve", "yes", "--db", "my runs.sqlite")
    assert (ended.code, ended.out) == (0, "1 words on tides, yes\n")
    assert "write" not in [
        line.split()[2] for line in ended.err.splitlines() if line.startswith("    ")
    ]


@pytest.mark.parametrize(
    "words, output",
    [
        (["yes"], "yes"),
        (["NO", "--reason", "dull"], "no dull"),
        (['{"approved": true, "reason": "fine"}'], "yes fine"),
        (["@answer.json"], "yes read"),
        (["--approved", "--reason=by option"], "yes by option"),
    ],
)
def test_answer_takes_every_form(shell: Shell, words: list[str], output: str) -> None:
    """An answer is a word, JSON, a file, or options."""
    (shell.here / "answer.json").write_text('{"approved": true, "reason": "read"}')
    run_id = start_waiting_run(shell)
    ended = shell("answer", "ask.py", run_id, "approve", *words, "--db", "r.sqlite", "-q")
    assert (ended.code, ended.out) == (0, f"1 words on tides, {output}\n")


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "VALUE, the answer of type Ok, is missing. Write yes or no."),
        (["perhaps"], "'perhaps' is not an answer of type Ok. Write yes or no."),
        (["{"], "VALUE is not JSON"),
        (['{"aproved": true}'], "aproved: there is no such field. Did you mean 'approved'?"),
        (["yes", "--why", "x"], "--why: there is no such option"),
    ],
)
def test_wrong_answer_leaves_question_open(shell: Shell, words: list[str], message: str) -> None:
    """A wrong answer is refused, and the question can still be answered."""
    run_id = start_waiting_run(shell)
    before = run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")
    ended = shell("answer", "ask.py", run_id, "approve", *words, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite") == before
    assert shell("answer", "ask.py", run_id, "approve", "yes", "--db", "r.sqlite").code == 0


def test_unknown_question_is_explained(shell: Shell) -> None:
    """A question that is not open is refused with the names of those that are."""
    run_id = start_waiting_run(shell)
    ended = shell("answer", "ask.py", run_id, "aprove", "yes", "--db", "r.sqlite")
    assert ended.code == 2
    assert "Question 'aprove' is not open" in ended.err
    assert "Did you mean 'approve'?" in ended.err
    assert shell("answer", "ask.py", run_id, "approve", "yes", "--db", "r.sqlite").code == 0
    again = shell("answer", "ask.py", run_id, "approve", "yes", "--db", "r.sqlite")
    assert again.code == 2
    assert "it was answered already, and the first answer counts" in again.err
