"""`graphorch replay`: a run derived again from its records."""

from __future__ import annotations

from tests.cli.flows import (
    ASKING,
    finish_run,
    run_json,
    start_waiting_run,
)
from tests.cli.shell import Shell


def test_a_replay_gives_the_output_again_and_says_that_nothing_ran(shell: Shell) -> None:
    run_id = finish_run(shell)
    ended = shell("replay", "ask.py", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (0, "1 words on tides, yes\n")
    assert ended.err.startswith(
        "replayed without a difference; no node ran and no model was called\n"
    )
    assert run_json(shell, "replay", "ask.py", run_id, "--db", "r.sqlite")["output"] == {
        "draft": "1 words on tides, yes"
    }


def test_a_replay_that_diverges_names_the_first_difference(shell: Shell) -> None:
    loop = """
@node
def again(draft: Draft) -> Draft:
    return Draft(draft=draft.draft + "!")
g = Graph("loop", Essay, input=Topic, output=Draft).chain(write, again)
flow = g.loop(again, back_to=again, while_=lambda s: s.draft.count("!") < 2, max_iterations=9).build()
"""
    shell.write("loop.py", loop)
    run_id = run_json(shell, "run", "loop.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    shell.write("other.py", loop.replace("< 2", "< 1"))
    ended = shell("replay", "other.py", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (1, "")
    assert "the route of 'again' went back to 'again', and now goes to its other edges" in ended.err


def test_a_replay_of_a_run_that_waits_or_failed_ends_as_the_run_did(shell: Shell) -> None:
    run_id = start_waiting_run(shell)
    assert shell("replay", "ask.py", run_id, "--db", "r.sqlite").code == 4
    shell("runs", "cancel", run_id, "--db", "r.sqlite")
    ended = shell("replay", "ask.py", run_id, "--db", "r.sqlite")
    assert ended.code == 1
    assert ended.err.startswith("replayed without a difference")
    assert "(cancelled)" in ended.err
    assert "Resume with" not in ended.err


def test_the_flow_comes_first_in_every_command(shell: Shell) -> None:
    shell.write("ask.py", ASKING)
    for command in ("replay", "rerun", "fork"):
        ended = shell(command, "abc", "ask.py")
        assert ended.code == 2
        assert f"`graphorch {command} ask.py abc`" in ended.err
