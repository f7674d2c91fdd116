"""`graphorch check`: everything that is wrong, at once, and an exit code for scripts."""

from __future__ import annotations

import json

import pytest

from tests.cli.shell import Shell

TEN = """
class Other(BaseModel):
    other: str
@node
def edit(draft: Draft) -> Draft: ...
@node
def grade(other: Other) -> Other: ...
def kind_of(topic: Topic) -> Literal["a", "b"]: ...
g = Graph("ten <script>\\x1b[2J", Essay, input=Topic, output=Other)
g.chain(write, edit, grade)
g.chain(edit, write)
g.route(edit, kind_of).when("z", grade).when("a", write)
g.loop(grade, back_to=edit, while_=lambda state: True, max_iterations=0)
g.join(grade, need=7)
"""
WARNED = """
class Remark(BaseModel):
    remark: str = ""
class Remarked(Essay, Remark): ...
@node
def remark(topic: Topic) -> Remark:
    return Remark(remark="nobody reads it")

flow = Graph("warned", Remarked, input=Topic, output=Draft).chain(write, remark).build()
"""


def test_check_accepts_flow(shell: Shell) -> None:
    """A flow that builds is listed with its input, output and size."""
    shell.write("essay.py")
    ended = shell("check", "essay.py")
    assert (ended.code, ended.out, ended.err) == (
        0,
        "ok: essay.py:flow: 'essay' (Topic → Draft, 1 node)\n",
        "",
    )


def test_check_shows_all_problems(shell: Shell) -> None:
    """All problems of a graph are shown at once, each with its fix."""
    shell.write("ten.py", TEN)
    ended = shell("check", "ten.py")
    assert (ended.code, ended.out) == (3, "")
    assert "ten.py: error: graph 'ten <script>\\x1b[2J' does not build: " in ended.err
    assert "\x1b" not in ended.err
    numbered = [line for line in ended.err.splitlines() if line.split(".")[0].strip().isdigit()]
    assert len(numbered) >= 8
    assert ended.err.count("fix: ") == len(numbered)
    for code in (
        "SLICE_MISSING",
        "UNDECLARED_CYCLE",
        "ROUTE_LABEL",
        "ROUTE_OPEN",
        "LOOP_BOUND",
        "JOIN_NEED",
    ):
        assert code in ended.err


def test_run_shows_same_problems(shell: Shell) -> None:
    """`graphorch run` refuses such a graph with the same problems."""
    shell.write("ten.py", TEN)
    ended = shell("run", "ten.py", "--topic", "x")
    assert ended.code == 3
    assert f"ten.py: {ended.err}" == shell("check", "ten.py").err


def test_worst_file_decides_exit_code(shell: Shell) -> None:
    """Several files are all checked; the worst one decides the exit code."""
    shell.write("essay.py")
    shell.write("ten.py", TEN)
    ended = shell("check", "ten.py", "none.py", "essay.py")
    assert ended.code == 3
    assert ended.out.startswith("ok: essay.py:flow")
    assert "none.py: error: none.py does not exist" in ended.err
    assert shell("check", "none.py", "essay.py").code == 2


def test_check_json_has_problem_codes(shell: Shell) -> None:
    """A program gets each problem with its code."""
    shell.write("ten.py", TEN)
    shell.write("essay.py")
    report = json.loads(shell("check", "essay.py", "ten.py", "--json").out)
    assert report["ok"] is False
    good, bad = report["checked"]
    assert (good["reference"], good["exit_code"], good["flows"][0]["name"]) == (
        "essay.py",
        0,
        "essay",
    )
    assert {"code", "where", "message", "fix"} <= set(bad["errors"][0])


def test_warnings_fail_only_if_strict(shell: Shell, caplog: pytest.LogCaptureFixture) -> None:
    """Warnings are shown; only with `--strict` they change the exit code."""
    shell.write("warned.py", WARNED)
    ended = shell("check", "warned.py")
    assert ended.code == 0
    assert "1 warning)" in ended.out
    assert ended.err.count("warning: ") == ended.err.count("UNREAD_WRITE") == 1
    assert caplog.messages == []
    assert shell("check", "warned.py", "--strict").code == 3
