"""Names of tools: what every model and client accepts, the same in every process."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, strategies

from graphorch.errors import InputError
from graphorch.mcp_server.tool_names import build_tool_name, check_unique


@given(strategies.text(max_size=200))
def test_name_of_any_flow_is_accepted(flow: str) -> None:
    """Every name of a flow gives up to 64 letters, digits, `_` and `-`, always the same."""
    name = build_tool_name(flow)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)
    assert build_tool_name(flow) == name


@pytest.mark.parametrize(
    "flow, name",
    [
        ("letters", "letters"),
        ("letters-2", "letters-2"),
        ("send a letter!", "send_a_letter"),
        ("手紙", "flow_41729494"),
        ("x" * 64, "x" * 64),
        ("x" * 65, "x" * 55 + "_9537c5fd"),
    ],
)
def test_name_keeps_plain_characters(flow: str, name: str) -> None:
    """A plain name stays as it is; others get `_`, or a hash where nothing or too much is left."""
    assert build_tool_name(flow) == name


def test_long_names_differ_by_hash() -> None:
    """Two long names with one beginning are two tools."""
    assert build_tool_name("x" * 70) != build_tool_name("x" * 71)


def test_flows_of_one_name_are_refused() -> None:
    """Flows that would be one tool are named both, with what to do."""
    with pytest.raises(InputError, match=r"'a b' of x\.py and flow 'a_b' of y\.py would both be"):
        check_unique([("a b", "x.py"), ("c", "z.py"), ("a_b", "y.py")])
    with pytest.raises(InputError, match=r"x\.py is named twice"):
        check_unique([("a", "x.py"), ("a", "x.py")])
