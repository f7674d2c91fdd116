"""From FLOW on the command line to a flow, or to one message."""

from __future__ import annotations

import importlib

import pytest

from graphorch.cli.flow_loader import load_flow, load_flows
from graphorch.errors import GraphError, InputError
from tests.cli.shell import FLOW, Shell

TWO = """
one = Graph("one", Essay, input=Topic, output=Draft).chain(write).build()
two = Graph("two", Essay, input=Topic, output=Draft).chain(write)
two = two.build()
"""


def test_only_flow_is_found(shell: Shell) -> None:
    """The only flow of a file needs no name."""
    shell.write("essay.py", FLOW.replace("flow =", "anything ="))
    loaded = load_flow("essay.py")
    assert (loaded.flow.name, loaded.reference, loaded.sample) == (
        "essay",
        "essay.py:anything",
        None,
    )


def test_flow_with_two_names_is_one(shell: Shell) -> None:
    """A flow with two names counts once."""
    shell.write("essay.py", f"{FLOW}\nsame = flow")
    assert load_flow("essay.py").reference == "essay.py:flow"
    assert len(load_flows("essay.py")) == 1


def test_name_flow_is_default(shell: Shell) -> None:
    """Of several flows the one called `flow` is meant."""
    shell.write("essay.py", TWO + FLOW)
    assert load_flow("essay.py").flow.name == "essay"
    assert [loaded.flow.name for loaded in load_flows("essay.py")] == ["one", "two", "essay"]


def test_several_flows_are_listed(shell: Shell) -> None:
    """Several flows without a default are listed."""
    shell.write("essay.py", TWO)
    with pytest.raises(InputError, match=r"defines 2 flows.*\n  essay\.py:one\n  essay\.py:two$"):
        load_flow("essay.py")


def test_flow_is_found_by_name(shell: Shell) -> None:
    """A flow is found by its name, in a file and in a module."""
    shell.write("essay.py", TWO)
    assert load_flow("essay.py:two").flow.name == "two"
    assert load_flow("essay:two").flow.name == "two"


def test_unbuilt_graph_is_built(shell: Shell) -> None:
    """A graph that was not built is built."""
    shell.write("essay.py", 'g = Graph("essay", Essay, input=Topic, output=Draft).chain(write)')
    assert load_flow("essay.py").flow.name == "essay"


def test_graph_beside_flow_is_ignored(shell: Shell) -> None:
    """A graph beside its flow does not count as a second flow."""
    shell.write(
        "essay.py",
        'g = Graph("essay", Essay, input=Topic, output=Draft).chain(write)\nbuilt = g.build()',
    )
    assert load_flow("essay.py").reference == "essay.py:built"


def test_sample_is_found_if_input(shell: Shell) -> None:
    """The sample beside a flow is found if it is an input of it."""
    shell.write("essay.py", f"{FLOW}\nsample = Topic(topic='tides')")
    shell.write("other.py", f"{FLOW}\nsample = Draft(draft='tides')")
    sample = load_flow("essay.py").sample
    assert sample is not None
    assert sample.model_dump() == {"topic": "tides", "count": 1}
    assert load_flow("other.py").sample is None


def test_file_imports_its_neighbours(shell: Shell) -> None:
    """A file can import what lies beside it."""
    shell.write("parts.py", "")
    shell.write("essay.py", FLOW, preamble="from parts import *\n")
    assert load_flow("essay.py").flow.name == "essay"


def test_file_does_not_shadow_module(shell: Shell) -> None:
    """A file with the name of a known module does not shadow it."""
    shell.write("json.py")
    assert load_flow("json.py").flow.name == "essay"
    assert importlib.import_module("json").loads("1") == 1


def test_prints_of_file_are_not_output(shell: Shell) -> None:
    """What a file prints while it is loaded is not output."""
    shell.write("essay.py", f"print('hello')\n{FLOW}")
    load_flow("essay.py")
    captured = shell.capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


@pytest.mark.parametrize(
    "body, message",
    [
        ("def f(:\n    pass", r"bad\.py:1 is not valid Python: invalid syntax\.\n    def f\(:"),
        ("x = 1\ny = x / 0", r"bad\.py:2, in `y = x / 0`: ZeroDivisionError: division by zero"),
        (
            "import not_there",
            r"bad\.py:1, in `import not_there`: ModuleNotFoundError: No module named 'not_there'",
        ),
        (
            "import sys\nsys.exit(3)",
            r"bad\.py ended the program while it was loaded \(sys\.exit\(3\)\)",
        ),
        (
            "async def run(): ...\nprint(run().output)",
            r"bad\.py:2, in `print\(run\(\)\.output\)`: AttributeError: 'coroutine' object has no "
            r"attribute 'output'; write `await` before the call that made it, or `run_sync`",
        ),
        (
            "'text'.output",
            r"AttributeError: 'str' object has no attribute 'output'\n  Correct it there",
        ),
        ("x = 1", r"bad\.py defines no flow\. Write `flow = graph\.build\(\)`"),
    ],
)
def test_unusable_file_is_explained(shell: Shell, body: str, message: str) -> None:
    """A file that fails to load, or has no flow, is explained with the place."""
    shell.write("bad.py", body, preamble="")
    with pytest.raises(InputError, match=message):
        load_flow("bad.py")


@pytest.mark.parametrize(
    "reference, message",
    [
        ("esay.py", r"esay\.py does not exist\. Did you mean 'essay\.py'\?"),
        ("sub/essay.py", r"There is no directory 'sub'"),
        ("folder.py", r"folder\.py is a directory"),
        ("essay.py:flwo", r"essay\.py has no flow 'flwo'\. Did you mean 'flow'\?"),
        ("essay.py:write", r"'write' in essay\.py is a Node1, not a flow"),
        (
            "not_there:flow",
            r"There is no module 'not_there', neither in .* nor installed\. .* not_there\.py",
        ),
        ("--topic", r"'--topic' is not a FLOW\..*Options of the flow come after it"),
        ("essay.txt", r"'essay\.txt' is not a Python file"),
    ],
)
def test_wrong_reference_is_explained(shell: Shell, reference: str, message: str) -> None:
    """A reference that leads nowhere is explained with what is near."""
    shell.write("essay.py")
    (shell.here / "folder.py").mkdir()
    (shell.here / "essay.txt").touch()
    with pytest.raises(InputError, match=message):
        load_flow(reference)


def test_broken_graph_raises_graph_error(shell: Shell) -> None:
    """A graph that does not build raises its own error."""
    shell.write("essay.py", 'g = Graph("essay", Draft).chain(write)')
    with pytest.raises(GraphError, match="SLICE_MISSING"):
        load_flow("essay.py")


def test_graph_error_has_line(shell: Shell) -> None:
    """A graph error while the file is loaded names the line of the user's code."""
    shell.write(
        "signature.py",
        "def f(x: int) -> int: return x\nnode(f)",
        preamble="from graphorch import node\n",
    )
    ended = shell("check", "signature.py")
    assert ended.code == 3
    assert "signature.py:3, in `node(f)`" in ended.err
    shell.write("option.py", "Retry(0)", preamble="from graphorch import Retry\n")
    ended = shell("check", "option.py")
    assert ended.code == 2
    assert "option.py:2, in `Retry(0)`: InputError: Retry(attempts=0) is not a bound." in ended.err
