"""`graphorch replay`: a run derived again from its records."""

from __future__ import annotations

from tests.cli.flows import (
    ASKING,
    finish_run,
    run_json,
    start_waiting_run,
)
from tests.cli.shell import Shell


def test_replay_prints_output_again(shell: Shell) -> None:
    """A replay prints the output again, and that no node ran."""
    run_id = finish_run(shell)
    ended = shell("replay", "ask.py", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (0, "1 words on tides, yes\n")
    assert ended.err.startswith(
        "replayed without a difference; no node ran and no model was called\n"
    )
    assert run_json(shell, "replay", "ask.py", run_id, "--db", "r.sqlite")["output"] == {
        "draft": "1 words on tides, yes"
    }


def test_diverging_replay_names_difference(shell: Shell) -> None:
    """A replay that diverges names the first difference."""
    loop = """
@node
def again(draft: Draft) -> Draft:
    return Draft(draft=draft.draft + "!")
g = Graph("loop", Essay, input=Topic, output=Draft).chain(write, again)
g.loop(again, back_to=again, while_=lambda s: s.draft.count("!") < 2, max_iterations=9)
flow = g.build()
"""
    shell.write("loop.py", loop)
    run_id = run_json(shell, "run", "loop.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    shell.write("other.py", loop.replace("< 2", "< 1"))
    ended = shell("replay", "other.py", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (1, "")
    assert "the route of 'again' went back to 'again', and now goes to its other edges" in ended.err


def test_replay_ends_as_run_did(shell: Shell) -> None:
    """A replay of a run that waits or failed has the exit code of that run."""
    run_id = start_waiting_run(shell)
    assert shell("replay", "ask.py", run_id, "--db", "r.sqlite").code == 4
    shell("runs", "cancel", run_id, "--db", "r.sqlite")
    ended = shell("replay", "ask.py", run_id, "--db", "r.sqlite")
    assert ended.code == 1
    assert ended.err.startswith("replayed without a difference")
    assert "(cancelled)" in ended.err
    assert "Resume with" not in ended.err


def test_flow_comes_before_run(shell: Shell) -> None:
    """RUN FLOW in place of FLOW RUN is refused with the right order."""
    shell.write("ask.py", ASKING)
    for command in ("replay", "rerun", "fork"):
        ended = shell(command, "abc", "ask.py")
        assert ended.code == 2
        assert f"`graphorch {command} ask.py abc`" in ended.err
