"""`graphorch run`: what goes where, what it exits with, and what a program gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.shell import FLOW, PREAMBLE, Shell

AGENT = """
@agent(output=Draft)
def ask_one(topic: Topic) -> str:
    return f"Summarise:\\n\\n{topic.topic}"

flow = Graph("asking", Essay, input=Topic, output=Draft).chain(ask_one).build()
"""
BROKEN = """
@node
def broken(topic: Topic) -> Draft:
    return "no draft"

flow = Graph("broken", Essay, input=Topic, output=Draft).chain(broken).build()
"""
EVIL = """
@node
def evil(topic: Topic) -> Draft:
    return Draft(draft="<script>alert(1)</script> \\x1b[31m[bold]red[/bold] \\u202e")

flow = Graph("evil", Essay, input=Topic, output=Draft).chain(evil).build()
"""
ASKING = """
g = Graph("asking", Essay, input=Topic, output=Draft)
g.chain(g.ask("approve", question=lambda state: f"Write about {state.topic}?", answer=Draft))
flow = g.build()
"""


def test_output_goes_to_standard_output(shell: Shell) -> None:
    """The output goes to standard output, everything else to standard error."""
    shell.write("essay.py")
    ended = shell("run", "essay.py", "--topic", "tides", "--count", "5")
    assert (ended.code, ended.out) == (0, "5 words on tides\n")
    assert "s  write started\n" in ended.err
    assert "s  write done in" in ended.err
    assert "succeeded: 'essay' in" in ended.err
    assert "1 step, 0 model calls" in ended.err


def test_quiet_prints_only_output(shell: Shell) -> None:
    """`--quiet` prints the output and nothing else."""
    shell.write("essay.py")
    ended = shell("run", "essay.py", "--topic", "tides", "-q")
    assert (ended.out, ended.err) == ("1 words on tides\n", "")


def test_several_fields_print_as_json(shell: Shell) -> None:
    """An output of several fields is printed as JSON."""
    shell.write("essay.py", FLOW.replace(", output=Draft", ""))
    ended = shell("run", "essay.py", "--topic", "größe", "-q")
    assert '"größe"' in ended.out
    assert json.loads(ended.out) == {"topic": "größe", "count": 1, "draft": "1 words on größe"}


def test_node_prints_go_to_standard_error(shell: Shell) -> None:
    """What a node prints is not the output."""
    shell.write(
        "essay.py",
        BROKEN.replace('return "no draft"', 'print("hello"); return Draft(draft="done")'),
    )
    ended = shell("run", "essay.py", "--topic", "x", "--json")
    assert json.loads(ended.out)["output"] == {"draft": "done"}
    assert "hello" in ended.err


def test_sample_is_used_without_input(shell: Shell) -> None:
    """Without an input the sample is used, with a note."""
    shell.write("essay.py", f"{FLOW}\nsample = Topic(topic='moons')")
    ended = shell("run", "essay.py")
    assert ended.out == "1 words on moons\n"
    assert (
        "note: no input was given, so the sample in essay.py is used; give --topic, "
        "--count or --input for another.\n" in ended.err
    )
    assert shell("run", "essay.py", "--count", "2").code == 2  # some input is no sample


def test_optional_input_may_be_omitted(shell: Shell) -> None:
    """An input without required fields need not be given."""
    shell.write("essay.py", FLOW, PREAMBLE.replace("topic: str", 'topic: str = "nothing"'))
    assert shell("run", "essay.py", "-q").out == "1 words on nothing\n"


def test_offline_model_is_announced(shell: Shell) -> None:
    """A note says that the embedded model answers, only for flows that call one."""
    shell.write("essay.py")
    shell.write("asks.py", AGENT)
    assert "offline/extractive" not in shell("run", "essay.py", "--topic", "x").err
    ended = shell(
        "run",
        "asks.py",
        "--topic",
        "The tide rises twice a day. The tide is caused by the Moon. Boats like it.",
    )
    assert ended.code == 0
    notice = ended.err.splitlines()[0]
    assert (
        "no model endpoint is configured (OPENAI_BASE_URL, OPENAI_API_KEY), so the "
        "embedded offline/extractive answers." in notice
    )
    assert "It is not a language model" in notice


def test_offline_note_looks_inside_sub_flows(shell: Shell) -> None:
    """An agent inside a sub-flow or map counts too."""
    shell.write(
        "asks.py",
        AGENT
        + """
class Topics(BaseModel):
    topics: list[Topic] = []
class All(Topics, Draft): ...
g = Graph("mapped", All, input=Topics, output=Draft)
def join(drafts):
    return Draft(draft="|".join(d.draft for d in drafts))
mapped = g.chain(g.map("each", flow, over=lambda s: s.topics, gather=join, max_items=3)).build()
h = Graph("single", All, input=Topics, output=Draft)
single = h.chain(h.map("each", ask_one, over=lambda s: s.topics, gather=join, max_items=3)).build()
""",
    )
    for name in ("mapped", "single"):
        ended = shell("run", f"asks.py:{name}", "--topics", '{"topic": "One tide. Two tides."}')
        assert ended.code == 0
        assert "It is not a language model" in ended.err


def test_json_prints_one_object(shell: Shell) -> None:
    """`--json` prints the result as one object."""
    shell.write("asks.py", AGENT)
    ended = shell("run", "asks.py", "--topic", "The tide rises. The Möon pulls.", "--json")
    assert ended.out.count("\n") == 1
    assert ended.out.isascii()
    report: dict[str, Any] = json.loads(ended.out)
    assert report["status"] == "succeeded"
    assert set(report) == set(
        "status end_reason flow run_id output cost unpriced usage seconds exhausted steps "
        "questions waits due notes booked_cost".split()
    )
    assert report["usage"]["calls"] == 1
    assert [step["path"] for step in report["steps"]] == ["ask_one"]


def test_events_end_with_result(shell: Shell) -> None:
    """`--events` prints each event as a line, and the result last."""
    shell.write("asks.py", AGENT)
    ended = shell("run", "asks.py", "--topic", "The tide rises. The Moon pulls.", "--events")
    lines: list[dict[str, Any]] = [json.loads(line) for line in ended.out.splitlines()]
    kinds = [line.get("event") for line in lines]
    assert kinds[0] == "started"
    assert kinds[-2:] == ["ended", None]
    assert {"text_delta", "model_called", "committed"} <= set(kinds)
    assert lines[-1]["run_id"] == lines[-2]["run_id"]


def test_failed_run_exits_with_1(shell: Shell) -> None:
    """A failed run is one message and exit code 1."""
    shell.write("broken.py", BROKEN)
    ended = shell("run", "broken.py", "--topic", "x", "-q")
    assert (ended.code, ended.out) == (1, "")
    lines = ended.err.splitlines()
    assert lines[0].startswith("error: Run ")
    assert (
        lines[1] == "  - Node 'broken' failed: WrongOutput: It returned str 'no draft', but "
        "declares Draft. Return a Draft. (at broken, attempt 1)"
    )
    assert len(lines) == 2


def test_json_describes_failure(shell: Shell) -> None:
    """A program gets the failure as an object."""
    shell.write("broken.py", BROKEN)
    ended = shell("run", "broken.py", "--topic", "x", "--json")
    report = json.loads(ended.out)
    assert (ended.code, report["status"], report["output"]) == (1, "failed", None)
    assert [(item["type"], item["path"], item["attempt"]) for item in report["errors"]] == [
        ("WrongOutput", "broken", 1)
    ]


@pytest.mark.parametrize(
    "arguments, code", [(["none.py"], 2), (["essay.py"], 2), (["wrong.py"], 3)]
)
def test_json_describes_refused_run(shell: Shell, arguments: list[str], code: int) -> None:
    """A program also gets an object for a run that never began."""
    shell.write("essay.py")
    shell.write("wrong.py", 'flow = Graph("wrong", Draft).chain(write).build()')
    ended = shell("run", *arguments, "--json")
    report = json.loads(ended.out)
    assert (ended.code, report["status"]) == (code, "error")
    assert all(item["message"] for item in report["errors"])


def test_output_file_replaces_standard_output(shell: Shell) -> None:
    """With `-o` the file gets the output, and standard output nothing."""
    shell.write("essay.py")
    ended = shell("run", "essay.py", "--topic", "tides", "-o", "out.txt")
    assert (ended.code, ended.out) == (0, "")
    assert "written to out.txt" in ended.err
    assert (shell.here / "out.txt").read_text() == "1 words on tides\n"


def test_json_file_gets_json(shell: Shell) -> None:
    """A file that ends in .json gets JSON."""
    shell.write("essay.py")
    shell("run", "essay.py", "--topic", "tides", "-o", "out.json")
    assert json.loads((shell.here / "out.json").read_text()) == {"draft": "1 words on tides"}


def test_unwritable_file_is_refused_before_run(shell: Shell) -> None:
    """A file that cannot be written is refused before anything runs."""
    shell.write("essay.py")
    ended = shell("run", "essay.py", "--topic", "tides", "-o", "nowhere/out.txt")
    assert ended.code == 2
    assert ended.err.startswith("error: Cannot write 'nowhere/out.txt': no such file or directory.")
    assert "started" not in ended.err


def test_output_is_printed_if_writing_fails(shell: Shell) -> None:
    """An output whose file cannot be written any more is printed instead."""
    (shell.here / "out").mkdir()
    shell.write(
        "essay.py",
        BROKEN.replace(
            'return "no draft"', 'import os; os.rmdir("out"); return Draft(draft="done")'
        ),
    )
    ended = shell("run", "essay.py", "--topic", "x", "-o", "out/draft.txt")
    assert (ended.code, ended.out) == (2, "done\n")
    assert ended.err.splitlines()[-1].startswith(
        "error: Cannot write 'out/draft.txt': no such file or directory."
    )
    assert "written to" not in ended.err


def test_failed_run_leaves_old_file(shell: Shell) -> None:
    """A failed run leaves the old file as it was."""
    shell.write("broken.py", BROKEN)
    (shell.here / "out.txt").write_text("old")
    assert shell("run", "broken.py", "--topic", "x", "-o", "out.txt").code == 1
    assert shell.list_files() == ["broken.py", "out.txt"]
    assert (shell.here / "out.txt").read_text() == "old"


def test_model_text_is_sanitized(shell: Shell) -> None:
    """Control characters that a model wrote are shown, not obeyed."""
    shell.write("evil.py", EVIL)
    ended = shell("run", "evil.py", "--topic", "x")
    assert ended.out == "<script>alert(1)</script> \\x1b[31m[bold]red[/bold] \\u202e\n"
    assert "\x1b" not in ended.err
    assert json.loads(shell("run", "evil.py", "--topic", "x", "--json").out)["output"][
        "draft"
    ].endswith("\u202e")


def test_file_gets_raw_text(shell: Shell) -> None:
    """A file gets the text of the model as it is."""
    shell.write("evil.py", EVIL)
    shell("run", "evil.py", "--topic", "x", "-o", "out.txt")
    assert "\x1b[31m" in (shell.here / "out.txt").read_text()


def test_waiting_run_exits_with_4(
    shell: Shell,
) -> None:
    """A run that waits for people prints its questions and exits with 4."""
    shell.write("asking.py", ASKING)
    ended = shell("run", "asking.py", "--topic", "tides")
    assert (ended.code, ended.out) == (4, "")
    assert "waiting: approve asks (Draft): Write about tides?" in ended.err
    report = json.loads(shell("run", "asking.py", "--topic", "tides", "--json").out)
    assert (report["status"], report["output"]) == ("waiting", None)
    assert [
        (item["path"], item["text"], item["answer"]["title"]) for item in report["questions"]
    ] == [("approve", "Write about tides?", "Draft")]


LOOP = """
@node
def again(draft: Draft) -> Draft:
    return Draft(draft=draft.draft + "!")

g = Graph("loop", Essay, input=Topic, output=Draft).chain(write, again)
flow = g.loop(again, back_to=again, while_=lambda s: True, max_iterations=3).build()
"""


def test_exhausted_loop_is_noted(shell: Shell) -> None:
    """A loop that reached its bound is a note."""
    shell.write("loop.py", LOOP)
    ended = shell("run", "loop.py", "--topic", "tides")
    assert ended.out == "1 words on tides!!!\n"
    assert "note: again: 3 of 3 rounds, not accepted" in ended.err


def test_activation_limit_ends_run(shell: Shell) -> None:
    """`--activations` ends the run."""
    shell.write("loop.py", LOOP)
    ended = shell("run", "loop.py", "--topic", "tides", "--activations", "2", "-q")
    assert ended.code == 1
    assert "(limit:activations)" in ended.err
    assert "This run was in memory and ends here." in ended.err
    assert "Resume with" not in ended.err


FAILING = """
def divide(text):
    return 1 / len(text)

@node
def fail(topic: Topic) -> Draft:
    return Draft(draft=str(divide("")))

flow = Graph("failing", Essay, input=Topic, output=Draft).chain(fail).build()
"""


def test_failure_names_line_of_user(shell: Shell) -> None:
    """What a node raised is shown with the user's line, also to programs; `--debug` shows all."""
    shell.write("failing.py", FAILING)
    ended = shell("run", "failing.py", "--topic", "tides")
    lines = shell.here.joinpath("failing.py").read_text().splitlines()
    place = f"failing.py:{lines.index('    return 1 / len(text)') + 1}, in `return 1 / len(text)`"
    assert f"{place}\n--debug shows the whole traceback." in ended.err
    assert "(at fail, attempt 1)\n      raised at /" in ended.err
    report = json.loads(shell("run", "failing.py", "--topic", "tides", "--json").out)
    assert report["errors"][0]["message"].endswith(place)


def test_failure_of_graphorch_names_no_line(shell: Shell) -> None:
    """An error that graphorch raised says what is wrong, and names no line of the user."""
    shell.write("failing.py", FAILING.replace('Draft(draft=str(divide("")))', "topic"))
    ended = shell("run", "failing.py", "--topic", "tides")
    assert ended.code == 1
    assert "WrongOutput" in ended.err
    assert "raised at" not in ended.err
    assert "--debug" not in ended.err


@pytest.mark.parametrize("option", ["--usd=-1", "--seconds=0", "--activations=0"])
def test_wrong_limit_exits_with_2(shell: Shell, option: str) -> None:
    """A limit that is not positive is wrong usage."""
    shell.write("essay.py")
    ended = shell("run", "essay.py", "--topic", "x", option)
    assert ended.code == 2
    assert ended.err.startswith("error: ")


def test_only_debug_shows_traceback(shell: Shell) -> None:
    """The traceback is shown with `--debug` only."""
    shell.write("bad.py", "x = 1 / 0", preamble="")
    assert "Traceback" not in shell("run", "bad.py").err
    ended = shell("run", "bad.py", "--debug")
    assert "Traceback" in ended.err
    assert "ZeroDivisionError" in ended.err
    assert ended.code == 2
