"""`graphorch run --db`, `resume` and `answer`: a run outlives its process, and each command says what comes next."""

from __future__ import annotations

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.flows import ASKING, FLAKY, told, waiting
from tests.cli.shell import Shell, started


def test_a_run_that_waits_says_how_it_is_answered_and_the_answer_ends_it(shell: Shell) -> None:
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


def test_durable_uses_the_default_file_and_needs_no_name_afterwards(shell: Shell) -> None:
    shell.write("ask.py", ASKING)
    ended = shell("run", "ask.py", "--topic", "tides", "--durable")
    assert (shell.here / "graphorch.sqlite").exists()
    assert "--db" not in ended.err
    run_id = told(shell, "runs")["runs"][0]["run_id"]
    assert (
        shell("answer", "ask.py", run_id, "approve", "no", "--reason", "too dull", "-q").out
        == "1 words on tides, no too dull\n"
    )


def test_the_default_file_is_the_one_that_the_environment_names(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell.write("essay.py")
    monkeypatch.setenv("GRAPHORCH_DB", "kept.sqlite")
    assert shell("run", "essay.py", "--topic", "x", "--durable").code == 0
    assert len(told(shell, "runs")["runs"]) == 1
    assert (shell.here / "kept.sqlite").exists()


def test_a_run_in_memory_leaves_no_file_and_says_what_would_keep_it(shell: Shell) -> None:
    shell.write("ask.py", ASKING)
    ended = shell("run", "ask.py", "--topic", "tides")
    assert ended.code == 4
    assert (
        "this run was in memory and ends here. With --durable or --db PATH it is kept" in ended.err
    )
    assert sorted(path.name for path in shell.here.iterdir()) == ["ask.py"]


def test_a_failed_run_says_how_to_go_on_and_goes_on_where_it_stopped(shell: Shell) -> None:
    shell.write("flaky.py", FLAKY)
    ended = shell("run", "flaky.py", "--topic", "tides", "--db", "r.sqlite", "-q")
    assert ended.code == 1
    *_, hint = ended.err.splitlines()
    head, _, command = hint.partition(": ")
    assert head == "What was done is kept. Resume with"
    (shell.here / "repaired").touch()
    ended = shell(*command.removeprefix("graphorch ").split())
    assert (ended.code, ended.out) == (0, "1 words on tides!\n")
    assert "write started" not in ended.err
    # it is over, and only shown
    assert shell(*command.removeprefix("graphorch ").split(), "-q").out == "1 words on tides!\n"


def test_a_failed_run_in_memory_says_nothing_of_going_on(shell: Shell) -> None:
    shell.write("flaky.py", FLAKY)
    assert "Resume with" not in shell("run", "flaky.py", "--topic", "tides").err


def test_a_larger_limit_lets_a_run_go_on(shell: Shell) -> None:
    shell.write(
        "essay.py",
        'flow = Graph("essay", Essay, input=Topic, output=Draft).chain(write, write.named("again")).build()',
    )
    run_id = told(
        shell, "run", "essay.py", "--topic", "x", "--activations", "1", "--db", "r.sqlite"
    )["run_id"]
    again = told(shell, "resume", "essay.py", run_id, "--activations", "1", "--db", "r.sqlite")
    assert (again["status"], again["end_reason"]) == ("stopped", "limit:activations")
    assert (
        told(shell, "resume", "essay.py", run_id, "--activations", "9", "--db", "r.sqlite")[
            "status"
        ]
        == "succeeded"
    )


def test_resuming_a_run_that_waits_says_again_what_it_waits_for(shell: Shell) -> None:
    run_id = waiting(shell)
    ended = shell("resume", "ask.py", run_id, "--db", "r.sqlite")
    assert ended.code == 4
    assert f"graphorch answer ask.py {run_id} approve yes --db r.sqlite" in ended.err


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
def test_an_answer_is_a_word_json_a_file_or_options(
    shell: Shell, words: list[str], output: str
) -> None:
    (shell.here / "answer.json").write_text('{"approved": true, "reason": "read"}')
    run_id = waiting(shell)
    ended = shell("answer", "ask.py", run_id, "approve", *words, "--db", "r.sqlite", "-q")
    assert (ended.code, ended.out) == (0, f"1 words on tides, {output}\n")


@pytest.mark.parametrize(
    "words, says",
    [
        (["perhaps"], "'perhaps' is not an answer of type Ok. Write yes or no."),
        (["{"], "VALUE is not JSON"),
        (['{"aproved": true}'], "aproved: there is no such field. Did you mean 'approved'?"),
        (["yes", "--why", "x"], "--why: there is no such option"),
    ],
)
def test_a_wrong_answer_is_refused_and_the_question_stays_open(
    shell: Shell, words: list[str], says: str
) -> None:
    run_id = waiting(shell)
    before = told(shell, "runs", "show", run_id, "--db", "r.sqlite")
    ended = shell("answer", "ask.py", run_id, "approve", *words, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert told(shell, "runs", "show", run_id, "--db", "r.sqlite") == before
    assert shell("answer", "ask.py", run_id, "approve", "yes", "--db", "r.sqlite").code == 0


def test_a_question_that_is_not_open_is_named_with_those_that_are(shell: Shell) -> None:
    run_id = waiting(shell)
    ended = shell("answer", "ask.py", run_id, "aprove", "yes", "--db", "r.sqlite")
    assert ended.code == 2
    assert "Question 'aprove' is not open" in ended.err
    assert "Did you mean 'approve'?" in ended.err
    assert shell("answer", "ask.py", run_id, "approve", "yes", "--db", "r.sqlite").code == 0
    again = shell("answer", "ask.py", run_id, "approve", "yes", "--db", "r.sqlite")
    assert again.code == 2
    assert "None is: the run is succeeded." in again.err


@pytest.mark.parametrize(
    "arguments, says",
    [
        (
            ["resume", "abc"],
            "Write `graphorch resume FLOW RUN`, the flow first. A journal holds data and never says which code to run",
        ),
        (
            ["resume", "abc", "ask.py"],
            "'ask.py' is not the id of a run. The flow comes first: `graphorch resume ask.py abc`",
        ),
        (["resume", "abc", "flows:main"], "`graphorch resume flows:main abc`"),
        (
            ["answer", "ask.py", "abc"],
            "QUESTION is missing. Write `graphorch answer FLOW RUN QUESTION VALUE`",
        ),
        (
            ["resume", "ask.py", "abc", "--ambiguous", "maybe"],
            "--ambiguous maybe: not a valid value. Known: fail, repeat, stop.",
        ),
        (["resume", "ask.py", "abc"], "There is no journal"),
    ],
)
def test_wrong_usage_is_explained(shell: Shell, arguments: list[str], says: str) -> None:
    shell.write("ask.py", ASKING)
    ended = shell(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert says in ended.err
    assert sorted(path.name for path in shell.here.iterdir()) == ["ask.py"]


def test_a_next_turn_takes_over_what_the_flow_remembers(shell: Shell) -> None:
    shell.write(
        "chat.py",
        """
class Talk(BaseModel):
    talk: str = "nothing"
class Chat(Topic, Talk): ...
@node
def reply(topic: Topic, talk: Talk) -> Talk:
    return Talk(talk=f"{topic.topic} after {talk.talk}")
flow = Graph("chat", Chat, input=Topic, output=Talk, remember=[Talk]).chain(reply).build()
""",
    )
    first = told(shell, "run", "chat.py", "--topic", "a", "--durable")["run_id"]
    assert (
        shell("run", "chat.py", "--topic", "b", "--after", first, "-q").out
        == "b after a after nothing\n"
    )
    ended = shell("run", "chat.py", "--topic", "b", "--after", "nothing")
    assert ended.code == 2
    assert "The journal has no run 'nothing'" in ended.err


GATED = """
import asyncio

@node
async def gate(draft: Draft) -> Draft:
    await asyncio.get_running_loop().run_in_executor(None, input)
    return draft

@node
def last(draft: Draft) -> Draft:
    return Draft(draft=draft.draft + "!")

flow = Graph("gated", Essay, input=Topic, output=Draft).chain(write, gate, last).build()
"""


async def interrupted(here: Path) -> tuple[int, str]:
    process = await started(
        "run", "gated.py", "--topic", "x", "--events", "--db", "r.sqlite", here=here, hands_in=b""
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while True:
            event: dict[str, Any] = json.loads(await process.stdout.readline())
            if event["event"] == "started" and event["node"] == "gate":
                break
        process.send_signal(signal.SIGINT)
        while (line := await process.stderr.readline()) and not line.strip():
            pass
        assert line, "it ended without a word"
        process.stdin.write(b"go\n")
        _, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, err.decode()


def test_an_interrupted_run_says_how_to_go_on_and_repeats_nothing(shell: Shell) -> None:
    shell.write("gated.py", GATED)
    code, err = asyncio.run(interrupted(shell.here))
    assert code == 130
    command = err.splitlines()[-1].removeprefix("what was done is kept; resume with: graphorch ")
    assert command.startswith("resume gated.py ")
    ended = shell(*command.split())
    assert (ended.code, ended.out) == (0, "1 words on x!\n")
    assert "last started" in ended.err
    assert "gate started" not in ended.err


def test_a_run_may_be_named_by_the_beginning_of_its_id_or_as_the_last_one(shell: Shell) -> None:
    run_id = waiting(shell)
    assert shell("resume", "ask.py", run_id[:8], "--db", "r.sqlite").code == 4
    assert (
        shell("answer", "ask.py", "last", "approve", "yes", "--db", "r.sqlite", "-q").out
        == "1 words on tides, yes\n"
    )
    # for good, so by the whole id only
    assert shell("runs", "erase", "last", "--db", "r.sqlite").code == 2
