"""`graphorch send`: a signal to a run, from the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.commands.runs.signal_flows import SIGNALS, start_old_run, start_signal_run
from tests.cli.commands.runs.test_owned_runs import wait_until
from tests.cli.flows import run_json
from tests.cli.shell import PROGRAM, Shell


def send(shell: Shell, run: str, *words: str) -> tuple[int, str, str]:
    ended = shell("send", "paid.py", run, *words, "--db", "r.sqlite", "-q")
    return ended.code, ended.out, ended.err


def test_waiting_run_prints_send_command(shell: Shell) -> None:
    """A run that waits for a signal prints the command that sends it, and that continues it."""
    shell.write("paid.py", SIGNALS)
    ended = shell("run", "paid.py", "--topic", "green tea", "--db", "r.sqlite")
    assert (ended.code, ended.out) == (4, "")
    assert "waiting: paid waits for a signal (Payment) with key 'green tea', until 20" in ended.err
    assert "it goes on with: graphorch resume paid.py --due --db r.sqlite" in ended.err
    run_id = ended.err.splitlines()[-1].rpartition("; run ")[2]
    command = f"graphorch send paid.py {run_id} paid "
    (line,) = [line.strip() for line in ended.err.splitlines() if command in line]
    assert line == (
        """graphorch send paid.py """
        f"""{run_id} paid '{{"amount": 1, "id": "…"}}' --key 'green tea' --db r.sqlite"""
    )


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (['{"amount": 3}'], "tea for 3\n"),
        (["--amount", "4"], "tea for 4\n"),
        (["@payment.json"], "tea for 5x\n"),
        (["--amount=6", "--id", "event-1"], "tea for 6\n"),
    ],
    ids=["json", "option", "file", "id"],
)
def test_signal_takes_every_form(shell: Shell, words: list[str], output: str) -> None:
    """The value is JSON, a file, or options; `--id` is that of the signal, not of its value."""
    (shell.here / "payment.json").write_text('{"amount": 5, "id": "x"}')
    run_id = start_signal_run(shell)
    assert send(shell, run_id, "paid", *words, "--key", "tea") == (0, output, "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "SIGNAL is missing. Write `graphorch send paid.py last SIGNAL VALUE`"),
        (["payd", "1"], "declares no signal 'payd'. Did you mean 'paid'?"),
        (["paid"], "VALUE, the value of 'paid' of type Payment, is missing."),
        (["paid", "x"], "'x' is not a value of 'paid' of type Payment. Write '{\"amount\": 1,"),
        (["paid", '{"amount": "x"}'], "amount"),
        (["paid", "--amount", "1", "--key", "x" * 201], "A key is a text of at most 200"),
        (["paid", "--amount", "1", "-o", "x.txt", "--no-wait"], "-o x.txt has no effect"),
    ],
    ids=["no signal", "unknown", "no value", "no JSON", "wrong type", "long key", "output"],
)
def test_wrong_signal_changes_nothing(shell: Shell, words: list[str], message: str) -> None:
    """A signal that does not fit is refused with one message, and the run waits on."""
    run_id = start_signal_run(shell)
    before = run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")
    code, out, err = send(shell, "last", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert "Traceback" not in err
    assert run_json(shell, "runs", "show", run_id, "--db", "r.sqlite") == before


def test_stored_signal_acts_on_resume(shell: Shell) -> None:
    """A signal that is stored for a run at rest acts when it is resumed; a late one is refused."""
    run_id = start_old_run(shell, "old", "paid.py:early")
    words = ("send", "paid.py:early", run_id, "paid", "--db", "r.sqlite")
    assert shell(*words, "--amount=1", "--no-wait").code == 0
    resumed = shell("resume", "paid.py:early", run_id, "--db", "r.sqlite", "-q")
    assert (resumed.code, resumed.out) == (0, "tea for 1\n")
    shown = run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")
    assert (shown["status"], shown["kept_signals"]) == ("succeeded", [])
    ended = shell(*words, "--amount=3")
    assert (ended.code, "succeeded" in ended.err, "Traceback" in ended.err) == (2, True, False)


def test_early_signal_is_shown_as_kept(shell: Shell) -> None:
    """A signal that nothing waits for yet is shown as kept; a second one is refused."""
    run_id = start_signal_run(shell, flow="paid.py:early")
    words = ("send", "paid.py:early", run_id, "paid", "--db", "r.sqlite")
    assert shell(*words, "--amount=1").code == 4
    ended = shell(*words, "--amount=2")
    assert (ended.code, "1 such signal is kept already (keep=1)" in ended.err) == (2, True)
    shown = shell("runs", "show", run_id, "--db", "r.sqlite").out
    assert "kept: 1 signal 'paid', not waited for yet" in shown
    assert "letter: signal, sent " in shown


def test_signal_of_other_key_is_refused(shell: Shell) -> None:
    """A signal with a key that no node will wait for is refused with the reason."""
    run_id = start_signal_run(shell)
    code, _, err = send(shell, run_id, "paid", "--amount=1", "--key", "jam")
    assert (code, "Signal 'paid' with key 'jam' is not waited for" in err) == (2, True)


def test_same_id_counts_once(shell: Shell) -> None:
    """A signal that is sent again with its id changes nothing."""
    run_id = start_signal_run(shell)
    for _ in range(2):
        words = ("paid", "--amount=1", "--key", "jam", "--id", "event-1", "--no-wait")
        assert send(shell, run_id, *words)[0] == 0
    letters = run_json(shell, "runs", "show", run_id, "--db", "r.sqlite")["letters"]
    assert [letter["kind"] for letter in letters] == ["signal"]
    shown = shell("runs", "show", run_id, "--db", "r.sqlite").out
    assert "letter: signal 'paid' with key 'jam', sent " in shown


def test_signal_reaches_other_process(shell: Shell) -> None:
    """A signal acts in the process that drives the run, which prints what comes of it."""
    start_owner = (*PROGRAM, "run", "beside.py", "--topic", "tea", "--db", "r.sqlite", "-q")
    shell.write("beside.py", SIGNALS + BESIDE)
    pipe = subprocess.PIPE
    owner = subprocess.Popen(start_owner, cwd=shell.here, stdout=pipe, stderr=pipe, text=True)
    try:
        wait_until(lambda: is_waiting(shell, shell.here / "r.sqlite"))
        words = ("send", "beside.py", "last", "paid", "--amount=7", "--db", "r.sqlite")
        ended = shell(*words, "--json")
        assert ended.code == 0, ended.err
        sent = json.loads(ended.out)
        assert (sent["signal"], sent["key"], sent["is_taken_in"]) == ("paid", "", True)
        ended = shell(*words)
        assert (ended.code, "'paid' has got it already" in ended.err) == (2, True)
        (shell.here / "go").touch()
        out, err = owner.communicate(timeout=20)
        assert (owner.returncode, out) == (0, "tea for 7\n"), err
    finally:
        owner.kill()
        owner.wait()
        for stream in (owner.stdout, owner.stderr):
            assert stream is not None
            stream.close()


BESIDE = """
import asyncio, pathlib

@node
async def slow(topic: Topic) -> None:
    while not pathlib.Path("go").exists():
        await asyncio.sleep(0.01)

g = Graph("beside", State, input=Topic, output=Draft)
g.chain(START, [slow, g.signal("paid", Payment, keep=0)], ship)
flow = g.build()
"""


def is_waiting(shell: Shell, journal: Path) -> bool:
    """Return whether the newest run of a journal waits for a signal."""
    if not journal.exists():
        return False
    shown = shell("runs", "show", "last", "--db", "r.sqlite", "--json")
    return not shown.code and bool(json.loads(shown.out).get("waits"))
