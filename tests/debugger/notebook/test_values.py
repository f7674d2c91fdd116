"""Values as text for a page, and back."""

from __future__ import annotations

import pytest

from graphorch.debugger.notebook.values import MAX_SHOWN, format_value, parse_value
from graphorch.errors import GraphorchError


def test_format_value_takes_any_value() -> None:
    """Long values are cut, and values that are not JSON are shown by their repr."""
    assert format_value("x" * (MAX_SHOWN + 5)).endswith("… (5 more characters)")
    assert format_value([1, 2]) == "[1,2]"
    assert format_value(object()).startswith("<object object")


def test_parse_value_reads_json_or_text() -> None:
    """A field that holds text takes text as it is, any other takes JSON."""
    assert parse_value("3", plain=False) == 3
    assert parse_value("3", plain=True) == "3"
    with pytest.raises(GraphorchError, match="That is not JSON: Expecting value at character 1"):
        parse_value("much", plain=False)
