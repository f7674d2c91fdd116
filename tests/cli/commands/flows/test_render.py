"""`graphorch render`: a picture as a file, and whether it is up to date."""

from __future__ import annotations

import pytest

from tests.cli.shell import FLOW, Shell


@pytest.mark.parametrize(
    "name, begins",
    [
        ("t.svg", "<svg"),
        ("t.html", "<!doctype html>"),
        ("t.dot", "digraph"),
        ("t.gv", "digraph"),
        ("t.mmd", "flowchart"),
    ],
)
def test_suffix_selects_picture_format(shell: Shell, name: str, begins: str) -> None:
    """The suffix of the file decides what is drawn."""
    shell.write("essay.py")
    ended = shell("render", "essay.py", "-o", name, "--engine", "builtin")
    assert (ended.code, ended.out, ended.err) == (0, "", f"written to {name}\n")
    assert begins in (shell.here / name).read_text("utf-8")[:200]


def test_render_prints_svg_without_file(shell: Shell) -> None:
    """Without a file, SVG goes to standard output."""
    shell.write("essay.py")
    assert "<svg" in shell("render", "essay.py", "--engine", "builtin", "--theme", "dark").out


@pytest.mark.parametrize(
    "name, words", [("t.dot", "rankdir=LR"), ("t.mmd", "flowchart LR"), ("t.svg", "<svg")]
)
def test_direction_is_left_to_right(shell: Shell, name: str, words: str) -> None:
    """`--direction LR` draws every format from left to right."""
    shell.write("essay.py")
    command = ("render", "essay.py", "-o", name, "--engine", "builtin")
    shell(*command)
    down = (shell.here / name).read_text("utf-8")
    assert shell(*command, "--direction", "LR").code == 0
    right = (shell.here / name).read_text("utf-8")
    assert words in right
    assert right != down
    assert shell(*command, "--direction", "RL").code == 2


def test_label_is_not_markup(shell: Shell) -> None:
    """Names in the picture are neither markup nor escape sequences."""
    shell.write("essay.py", FLOW.replace('"essay"', '"<script>alert(1)</script>\\x1b[2J"'))
    drawn = shell("render", "essay.py", "--engine", "builtin").out
    assert "<script" not in drawn
    assert "\x1b" not in drawn


def test_check_option_writes_nothing(shell: Shell) -> None:
    """`--check` compares with the file, and leaves it as it is."""
    shell.write("essay.py")
    command = ("render", "essay.py", "-o", "t.svg", "--engine", "builtin")
    shell(*command)
    assert shell(*command, "--check").code == 0
    shell.write("essay.py", FLOW.replace("chain(write)", 'chain(write, write.named("rewrite"))'))
    (shell.here / "t.svg").write_text("old")
    ended = shell(*command, "--check")
    assert ended.code == 1
    assert ended.err.startswith("t.svg is out of date")
    assert (shell.here / "t.svg").read_text() == "old"


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (
            ["-o", "t.png"],
            2,
            "'t.png' ends in '.png', which is not a format of pictures. "
            "Use .svg, .html, .dot or .mmd.",
        ),
        (["-o", "nowhere/t.svg"], 2, "Cannot write 'nowhere/t.svg': no such file or directory"),
        (["--check"], 2, "--check compares with a file. Name it with -o."),
        (["-o", "none.svg", "--check"], 2, "-o: file 'none.svg' cannot be read: no such file"),
        (["--theme", "pink"], 2, "pink"),
    ],
)
def test_wrong_usage_is_explained(
    shell: Shell, arguments: list[str], code: int, message: str
) -> None:
    """Files and options that do not fit are one message."""
    shell.write("essay.py")
    ended = shell("render", "essay.py", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err


def test_broken_graph_leaves_no_file(shell: Shell) -> None:
    """A graph that does not build leaves no file behind."""
    shell.write("wrong.py", 'flow = Graph("wrong", Draft).chain(write).build()')
    assert shell("render", "wrong.py", "-o", "t.svg").code == 3
    assert not (shell.here / "t.svg").exists()


BROKEN = """
from pydantic import BaseModel
from graphorch import Graph, node

class Topic(BaseModel): topic: str = ""
class Draft(BaseModel): draft: str = ""
class State(Topic, Draft): ...

@node
def write(topic: Topic) -> Draft:
    raise OSError("the disk is full")

@node
def send(draft: Draft) -> Draft:
    return draft

flow = Graph("letters", State, input=Topic, output=Draft).chain(write, send).build()
"""


def test_render_draws_a_run(shell: Shell) -> None:
    """A run is drawn with what failed and what was not reached, by the beginning of its id too."""
    shell.write("broken.py", BROKEN)
    assert shell("run", "broken.py", "--topic", "tides", "--db", "r.sqlite").code == 1
    ended = shell("render", "broken.py", "--run", "last", "--db", "r.sqlite", "-o", "run.svg")
    assert (ended.code, ended.err) == (0, "written to run.svg\n")
    svg = (shell.here / "run.svg").read_text()
    assert "write failed: OSError: the disk is full" in svg
    assert "not reached: send" in svg
    again = shell(
        "render", "broken.py", "--run", "last", "--db", "r.sqlite", "-o", "run.svg", "--check"
    )
    assert again.code == 0


@pytest.mark.parametrize(
    "options, message",
    [
        (("--run", "nosuch"), "The journal has no run 'nosuch'"),
        (("--run", "last", "-o", "run.dot"), "--run draws SVG or a page, and 'run.dot' is none."),
    ],
)
def test_render_refuses_wrong_run(shell: Shell, options: tuple[str, ...], message: str) -> None:
    """A run that is not there, or a format that has no runs, is a wrong use."""
    shell.write("broken.py", BROKEN)
    shell("run", "broken.py", "--topic", "tides", "--db", "r.sqlite")
    ended = shell("render", "broken.py", *options, "--db", "r.sqlite")
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_render_refuses_run_of_another_graph(shell: Shell) -> None:
    """A run of a graph that has changed is refused, with what changed."""
    shell.write("broken.py", BROKEN)
    shell("run", "broken.py", "--topic", "tides", "--db", "r.sqlite")
    shell.write("changed.py", BROKEN.replace("chain(write, send)", "chain(write)"))
    ended = shell("render", "changed.py", "--run", "last", "--db", "r.sqlite")
    assert ended.code == 2
    assert "send" in ended.err
