"""Names of servers of tools."""

from __future__ import annotations

import pytest

from graphorch.models.config.server_names import is_server_name


@pytest.mark.parametrize(
    ("name", "is_name"),
    [
        ("files", True),
        ("my-files_2", True),
        ("f", True),
        ("a" * 32, True),
        ("a" * 33, False),
        ("", False),
        ("a__b", False),
        ("a_", False),
        ("_a", False),
        ("a b", False),
        ("a.b", False),
        ("ä", False),
        (7, False),
        ("a\n", False),
    ],
)
def test_server_name_leaves_room(name: object, is_name: bool) -> None:
    """A server's name leaves no doubt where the name of a tool begins."""
    assert is_server_name(name) is is_name
