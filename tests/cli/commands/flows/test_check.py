"""`graphorch check`: everything that is wrong, at once, and an exit code for scripts."""

from __future__ import annotations

import json

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


def test_a_flow_that_builds_is_ok(shell: Shell) -> None:
    shell.write("essay.py")
    ended = shell("check", "essay.py")
    assert (ended.code, ended.out, ended.err) == (
        0,
        "ok: essay.py:flow: 'essay' (Topic → Draft, 1 node)\n",
        "",
    )


def test_a_graph_with_many_mistakes_shows_all_of_them(shell: Shell) -> None:
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


def test_run_says_the_same(shell: Shell) -> None:
    shell.write("ten.py", TEN)
    ended = shell("run", "ten.py", "--topic", "x")
    assert ended.code == 3
    assert f"ten.py: {ended.err}" == shell("check", "ten.py").err


def test_several_files_are_checked_to_the_end_and_the_worst_decides(shell: Shell) -> None:
    shell.write("essay.py")
    shell.write("ten.py", TEN)
    ended = shell("check", "ten.py", "none.py", "essay.py")
    assert ended.code == 3
    assert ended.out.startswith("ok: essay.py:flow")
    assert "none.py: error: none.py does not exist" in ended.err
    assert shell("check", "none.py", "essay.py").code == 2


def test_a_program_gets_each_problem_with_its_code(shell: Shell) -> None:
    shell.write("ten.py", TEN)
    shell.write("essay.py")
    told = json.loads(shell("check", "essay.py", "ten.py", "--json").out)
    assert told["ok"] is False
    good, bad = told["checked"]
    assert (good["reference"], good["exit_code"], good["flows"][0]["name"]) == (
        "essay.py",
        0,
        "essay",
    )
    assert {"code", "where", "message", "fix"} <= set(bad["errors"][0])


def test_warnings_are_shown_and_count_only_if_they_should(shell: Shell) -> None:
    shell.write("warned.py", WARNED)
    ended = shell("check", "warned.py")
    assert ended.code == 0
    assert "1 warning)" in ended.out
    assert "  warning: " in ended.err
    assert shell("check", "warned.py", "--strict").code == 3
