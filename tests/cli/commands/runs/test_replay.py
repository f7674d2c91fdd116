"""`graphorch replay`, `rerun` and `fork`."""

from __future__ import annotations

import pytest

from tests.cli.flows import ASKING, finished, told, waiting
from tests.cli.shell import Shell


def test_a_replay_gives_the_output_again_and_says_that_nothing_ran(shell: Shell) -> None:
    run_id = finished(shell)
    ended = shell("replay", "ask.py", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (0, "1 words on tides, yes\n")
    assert ended.err.startswith(
        "replayed without a difference; no node ran and no model was called\n"
    )
    assert told(shell, "replay", "ask.py", run_id, "--db", "r.sqlite")["output"] == {
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
    run_id = told(shell, "run", "loop.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    shell.write("other.py", loop.replace("< 2", "< 1"))
    ended = shell("replay", "other.py", run_id, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (1, "")
    assert "the route of 'again' went back to 'again', and now goes to its other edges" in ended.err


def test_a_replay_of_a_run_that_waits_or_failed_ends_as_the_run_did(shell: Shell) -> None:
    run_id = waiting(shell)
    assert shell("replay", "ask.py", run_id, "--db", "r.sqlite").code == 4
    shell("runs", "cancel", run_id, "--db", "r.sqlite")
    ended = shell("replay", "ask.py", run_id, "--db", "r.sqlite")
    assert ended.code == 1
    assert ended.err.startswith("replayed without a difference")
    assert "(cancelled)" in ended.err
    assert "Resume with" not in ended.err


def test_a_rerun_with_another_value_shows_the_difference(shell: Shell) -> None:
    run_id = finished(shell)
    ended = shell(
        "rerun",
        "ask.py",
        run_id,
        "--from",
        "approve",
        "--set",
        "approved=false",
        "--set",
        "reason=dull",
        "--db",
        "r.sqlite",
    )
    assert (ended.code, ended.out) == (0, "1 words on tides, no dull\n")
    assert f"beside {run_id}: ran again: approve, end" in ended.err
    assert "approved: True → False" in ended.err
    assert "draft: '1 words on tides, yes' → '1 words on tides, no dull'" in ended.err
    assert "cost +0.0000 $, time " in ended.err
    assert shell("replay", "ask.py", run_id, "--db", "r.sqlite").out == "1 words on tides, yes\n"


def test_a_program_gets_result_and_difference_as_one_object(shell: Shell) -> None:
    run_id = finished(shell)
    again = told(shell, "rerun", "ask.py", run_id, "--from", "end", "--db", "r.sqlite")
    assert (again["status"], again["difference"]["ran"], again["difference"]["fields"]) == (
        "succeeded",
        ["end"],
        {},
    )
    assert told(shell, "runs", "show", again["run_id"], "--db", "r.sqlite")["parent"] == run_id


def test_a_rerun_with_another_model_asks_that_one(shell: Shell) -> None:
    agent = """
@agent(output=Draft, model="house/small")
def ask_one(topic: Topic) -> str:
    return f"Summarise: {topic.topic}"
flow = Graph("asking", Essay, input=Topic, output=Draft).chain(ask_one).build()
"""
    shell.write("asks.py", agent)
    run_id = told(
        shell, "run", "asks.py", "--topic", "The tide rises. The Moon pulls.", "--db", "r.sqlite"
    )["run_id"]
    ended = shell(
        "rerun",
        "asks.py",
        run_id,
        "--from",
        "ask_one",
        "--model",
        "house/large",
        "--db",
        "r.sqlite",
    )
    assert ended.code == 0
    assert "ran again: ask_one" in ended.err


def test_a_rerun_that_comes_to_a_question_waits_as_a_run_of_its_own(shell: Shell) -> None:
    run_id = finished(shell)
    ended = shell(
        "rerun",
        "ask.py",
        run_id,
        "--from",
        "write",
        "--set",
        "draft=another one",
        "--db",
        "r.sqlite",
    )
    assert ended.code == 4
    (command,) = [
        line.strip() for line in ended.err.splitlines() if line.startswith("  graphorch answer")
    ]
    assert run_id not in command
    assert shell(*command.removeprefix("graphorch ").split(), "-q").out == "another one, yes\n"


def test_effects_that_would_happen_again_are_refused_unless_they_are_wanted(shell: Shell) -> None:
    shell.write(
        "acts.py",
        """
@node(effect="once")
def act(draft: Draft) -> Draft:
    with open("acts.txt", "a") as acts:
        acts.write("x")
    return Draft(draft="acted")
flow = Graph("acts", Essay, input=Topic, output=Draft).chain(write, act).build()
""",
    )
    run_id = told(shell, "run", "acts.py", "--topic", "x", "--db", "r.sqlite")["run_id"]
    ended = shell("rerun", "acts.py", run_id, "--from", "write", "--db", "r.sqlite")
    assert ended.code == 2
    assert "would repeat effects under new keys: 'act' (once)" in ended.err
    for effects, times in (("serve", "x"), ("repeat", "xx")):
        assert (
            shell(
                "rerun",
                "acts.py",
                run_id,
                "--from",
                "write",
                "--effects",
                effects,
                "--db",
                "r.sqlite",
            ).code
            == 0
        )
        assert (shell.here / "acts.txt").read_text() == times


def test_a_fork_is_a_new_run_that_stands_before_its_node(shell: Shell) -> None:
    run_id = finished(shell)
    ended = shell("fork", "ask.py", run_id, "--from", "end", "--db", "r.sqlite")
    new_id = ended.out.strip()
    assert (
        ended.err
        == f"a copy of run {run_id} up to 'end'; resume with: graphorch resume ask.py {new_id} --db r.sqlite\n"
    )
    assert (
        shell("resume", "ask.py", new_id, "--db", "r.sqlite", "-q").out == "1 words on tides, yes\n"
    )
    assert (
        told(shell, "fork", "ask.py", run_id, "--from", "end", "--db", "r.sqlite")["parent"]
        == run_id
    )


@pytest.mark.parametrize(
    "options, says",
    [
        ([], "--from is missing. Name the node to start from"),
        (["--from", "ende"], "'ende' was not done in run"),
        (["--from", "end#3"], "'end' was done 1 times"),
        (
            ["--from", "end", "--set", "drft=x"],
            "--set drft=x: there is no field 'drft'. Did you mean 'draft'?",
        ),
        (["--from", "end", "--set", "draft"], "--set draft: write FIELD=VALUE"),
        (
            ["--from", "approve", "--set", "approved=maybe"],
            "--set: the output of 'approve' (Ok) would not fit:\n  - approved: Input should be a valid boolean",
        ),
        (["--from", "end", "--set", "draft=x", "--model", "m"], "Give only one of them."),
        (["--from", "end", "--effects", "all"], "--effects all: not a valid value"),
    ],
)
def test_a_rerun_that_cannot_be_is_explained_and_leaves_no_run_behind(
    shell: Shell, options: list[str], says: str
) -> None:
    run_id = finished(shell)
    ended = shell("rerun", "ask.py", run_id, *options, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert len(told(shell, "runs", "--db", "r.sqlite")["runs"]) == 1


def test_the_flow_comes_first_in_every_command(shell: Shell) -> None:
    shell.write("ask.py", ASKING)
    for command in ("replay", "rerun", "fork"):
        ended = shell(command, "abc", "ask.py")
        assert ended.code == 2
        assert f"`graphorch {command} ask.py abc`" in ended.err
