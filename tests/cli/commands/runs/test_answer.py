"""`graphorch answer`: an answer to a waiting run."""

from __future__ import annotations

import pytest

from tests.cli.flows import (
    ASKING,
    DESK,
    run_json,
    start_desk,
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


INSIDE = """
class Ok(BaseModel):
    ok: str = ""

class Topics(BaseModel):
    topics: list[str] = ["a", "b"]

class Said(BaseModel):
    said: list[str] = []

class State(Topics, Said): ...
class Inner(Topic, Ok): ...

inner = Graph("inner", Inner, input=Topic, output=Ok)
inner = inner.chain(inner.ask("ask", question=lambda s: f"{s.topic}?", answer=Ok)).build()
g = Graph("outer", State, input=Topics, output=Said)
g.chain(
    g.map(
        "each",
        inner,
        over=lambda s: [Topic(topic=topic) for topic in s.topics],
        gather=lambda each: Said(said=[one.ok for one in each]),
        max_items=5,
    )
)
flow = g.build()
"""


def answer_inside(shell: Shell, place: str) -> tuple[int, str]:
    """Answer a question of a map; return the exit code and what was said of it."""
    ended = shell("answer", "inside.py", "last", place, "yes", "--db", "r.sqlite")
    return ended.code, ended.out or ended.err


def test_question_has_short_names(shell: Shell) -> None:
    """A question is named as `graphorch why` names nodes, if only one can be meant."""
    shell.write("inside.py", INSIDE)
    assert shell("run", "inside.py", "--input", "{}", "--db", "r.sqlite").code == 4
    for name in ("ask", "each/ask"):
        code, said = answer_inside(shell, name)
        assert code == 2
        assert f"'{name}' stands for 2 open questions: 'each[0]/ask', 'each[1]/ask'." in said
        assert "Give the path of one." in said
    assert answer_inside(shell, "ask#3")[0] == 2
    assert answer_inside(shell, "ask#2")[0] == 4
    assert answer_inside(shell, "ask")[0] == 0
    code, said = answer_inside(shell, "each/ask")
    assert code == 2
    assert "is not open: it was answered already, and the first answer counts." in said


def read_calls(shell: Shell) -> dict[str, str]:
    """Return the status of each letter that the desk sends, and of its run."""
    shown = run_json(shell, "runs", "show", "--db", "r.sqlite")
    steps = {step["path"]: step["status"] for step in shown["steps"] if step["tool"] == "send"}
    return {"run": shown["status"], **{path[-1]: status for path, status in steps.items()}}


def test_question_about_a_call_is_readable(shell: Shell) -> None:
    """What a tool would be called with is on lines of its own, with all ways to answer."""
    shell.write("desk.py", DESK, preamble="")
    ended = shell("run", "desk.py", "--db", "r.sqlite")
    assert ended.code == 4
    assert 'waiting: May \'write/r2/send#0\' call send with\n  {\n    "to": "ann",' in ended.err
    assert "no --reason TEXT or no --answer TEXT" in ended.err
    assert "1 step, 6 tool calls, 2 model calls" not in ended.err
    assert "1 step, 5 tool calls, 2 model calls" in ended.err


@pytest.mark.parametrize(
    "words, status, result",
    [
        (["yes"], "done", "sent to ann: at noon"),
        (["--arguments", '{"to": "eve", "body": "x"}'], "done", "sent to eve: x"),
        (["no", "--reason", "too late"], "refused", "The reason: too late"),
        (["--answer", "sent by hand"], "answered", "sent by hand"),
    ],
)
def test_call_takes_every_decision(
    shell: Shell, words: list[str], status: str, result: str
) -> None:
    """A call is approved, changed, refused, or answered instead of its tool."""
    start_desk(shell)
    answer = ("answer", "desk.py", "last", "write/r2/send#0", *words, "--db", "r.sqlite")
    assert shell(*answer).code == 4
    assert read_calls(shell) == {"run": "waiting", "0": status, "1": "waiting"}
    shown = run_json(shell, "runs", "show", "--db", "r.sqlite")
    call = next(step for step in shown["steps"] if step["path"] == "write/r2/send#0")
    assert call["result"].endswith(result)


@pytest.mark.parametrize("place", ["write", "write/r2", "send"])
def test_round_of_calls_is_answered_at_once(shell: Shell, place: str) -> None:
    """The path of an agent or of a round, or a tool, stands for all of its calls that ask."""
    start_desk(shell)
    ended = shell("answer", "desk.py", "last", place, "no", "--reason", "stop", "--db", "r.sqlite")
    assert ended.code == 0, ended.err
    assert read_calls(shell) == {"run": "succeeded", "0": "refused", "1": "refused"}


@pytest.mark.parametrize(
    "place, words, message",
    [
        ("write/r2", ["yes", "--arguments", "{}"], "stands for 2 calls of tools"),
        ("write/r2/send#0", ["yes", "--answer", "x"], "The answer contradicts itself."),
        ("write/r2/send#0", ["no", "--arguments", "{}"], "The answer contradicts itself."),
        ("write/r2/send#0", ["yes", "--arguments", "x"], "--arguments is not JSON"),
        ("write/r2/send#0", ["yes", "--arguments", '{"to": "x"}'], "body: Field required"),
        ("write/r3", ["yes"], "Question 'write/r3' is not open"),
        ("write/r1/search#0", ["yes"], "Question 'write/r1/search#0' is not open"),
    ],
)
def test_wrong_decision_leaves_call_open(
    shell: Shell, place: str, words: list[str], message: str
) -> None:
    """A decision that does not fit is refused with one message, and the call waits on."""
    start_desk(shell)
    ended = shell("answer", "desk.py", "last", place, *words, "--db", "r.sqlite")
    assert (ended.code, message in ended.err) == (2, True), ended.err
    assert read_calls(shell) == {"run": "waiting", "0": "waiting", "1": "waiting"}
