"""FLOW on the command line leads to a flow, or to one message that says why not."""

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


def test_the_only_flow_of_a_file_is_found(shell: Shell) -> None:
    shell.write("essay.py", FLOW.replace("flow =", "anything ="))
    found = load_flow("essay.py")
    assert (found.flow.name, found.reference, found.sample) == ("essay", "essay.py:anything", None)


def test_a_flow_with_two_names_is_one_flow(shell: Shell) -> None:
    shell.write("essay.py", f"{FLOW}\nsame = flow")
    assert load_flow("essay.py").reference == "essay.py:flow"
    assert len(load_flows("essay.py")) == 1


def test_of_several_flows_the_one_called_flow_is_meant(shell: Shell) -> None:
    shell.write("essay.py", TWO + FLOW)
    assert load_flow("essay.py").flow.name == "essay"
    assert [found.flow.name for found in load_flows("essay.py")] == ["one", "two", "essay"]


def test_several_flows_without_a_name_are_listed(shell: Shell) -> None:
    shell.write("essay.py", TWO)
    with pytest.raises(InputError, match=r"defines 2 flows.*\n  essay\.py:one\n  essay\.py:two$"):
        load_flow("essay.py")


def test_a_flow_is_found_by_its_name_in_a_file_and_in_a_module(shell: Shell) -> None:
    shell.write("essay.py", TWO)
    assert load_flow("essay.py:two").flow.name == "two"
    assert load_flow("essay:two").flow.name == "two"


def test_a_graph_that_nobody_built_is_built(shell: Shell) -> None:
    shell.write("essay.py", 'g = Graph("essay", Essay, input=Topic, output=Draft).chain(write)')
    assert load_flow("essay.py").flow.name == "essay"


def test_a_graph_beside_its_flow_is_no_second_flow(shell: Shell) -> None:
    shell.write(
        "essay.py",
        'g = Graph("essay", Essay, input=Topic, output=Draft).chain(write)\nbuilt = g.build()',
    )
    assert load_flow("essay.py").reference == "essay.py:built"


def test_the_sample_beside_a_flow_is_found_if_it_is_its_input(shell: Shell) -> None:
    shell.write("essay.py", f"{FLOW}\nsample = Topic(topic='tides')")
    shell.write("other.py", f"{FLOW}\nsample = Draft(draft='tides')")
    sample = load_flow("essay.py").sample
    assert sample is not None
    assert sample.model_dump() == {"topic": "tides", "count": 1}
    assert load_flow("other.py").sample is None


def test_what_lies_beside_a_file_can_be_imported_by_it(shell: Shell) -> None:
    shell.write("parts.py", "")
    shell.write("essay.py", FLOW, preamble="from parts import *\n")
    assert load_flow("essay.py").flow.name == "essay"


def test_a_file_that_is_called_like_a_known_module_does_not_shadow_it(shell: Shell) -> None:
    shell.write("json.py")
    assert load_flow("json.py").flow.name == "essay"
    assert importlib.import_module("json").loads("1") == 1


def test_what_a_file_prints_is_no_result(shell: Shell) -> None:
    shell.write("essay.py", f"print('hello')\n{FLOW}")
    load_flow("essay.py")
    said = shell.capsys.readouterr()
    assert (said.out, said.err) == ("", "hello\n")


@pytest.mark.parametrize(
    "body, says",
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
        ("x = 1", r"bad\.py defines no flow\. Write `flow = graph\.build\(\)`"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(shell: Shell, body: str, says: str) -> None:
    shell.write("bad.py", body, preamble="")
    with pytest.raises(InputError, match=says):
        load_flow("bad.py")


@pytest.mark.parametrize(
    "reference, says",
    [
        ("esay.py", r"esay\.py does not exist\. Did you mean 'essay\.py'\?"),
        ("sub/essay.py", r"There is no directory 'sub'"),
        ("folder.py", r"folder\.py is a directory"),
        ("essay.py:flwo", r"essay\.py has no 'flwo'\. Flows in it: Did you mean 'flow'\?"),
        ("essay.py:write", r"'write' in essay\.py is a Node1, not a flow"),
        (
            "not_there:flow",
            r"There is no module 'not_there', neither in .* nor installed\. .* not_there\.py",
        ),
        ("--topic", r"'--topic' is not a FLOW\..*Options of the flow come after it"),
        ("essay.txt", r"'essay\.txt' is not a Python file"),
    ],
)
def test_a_reference_that_leads_nowhere_is_explained(
    shell: Shell, reference: str, says: str
) -> None:
    shell.write("essay.py")
    (shell.here / "folder.py").mkdir()
    (shell.here / "essay.txt").touch()
    with pytest.raises(InputError, match=says):
        load_flow(reference)


def test_a_graph_that_does_not_build_is_the_authors_error(shell: Shell) -> None:
    shell.write("essay.py", 'g = Graph("essay", Draft).chain(write)')
    with pytest.raises(GraphError, match="SLICE_MISSING"):
        load_flow("essay.py")


def test_a_mistake_that_shows_while_the_file_is_loaded_is_told_with_its_line(shell: Shell) -> None:
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
