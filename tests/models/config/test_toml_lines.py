"""The line of a value in a TOML text."""

from __future__ import annotations

import tomllib

import pytest

from graphorch.models.config.toml_lines import find_line

EVERY_FORM = """\
a = 1 # [x]

[b] # a table
  c = "x = [1"
# d = 1
"c d".e = 2
text = '''
[no.table]
key = 1 '''
after = [ "]" ]
[[list]]
[[list]]
x = 1
many = [
  1, # ]
  2,
]
last = { inner = 1 }
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("a",), 1),
        (("b",), 3),
        (("b", "c"), 4),
        (("b", "c d", "e"), 6),
        (("b", "text"), 7),
        (("b", "after", 0), 10),
        (("list", 0), 11),
        (("list", 1, "x"), 13),
        (("list", 1, "many", 1), 14),
        (("list", 1, "last", "inner"), 18),
        (("no", "table"), None),
        (("key",), None),
    ],
)
def test_line_is_found_in_every_form(path: tuple[str | int, ...], line: int | None) -> None:
    """Find the line of a value in every form that TOML has."""
    tomllib.loads(EVERY_FORM)
    assert find_line(EVERY_FORM, path) == line
