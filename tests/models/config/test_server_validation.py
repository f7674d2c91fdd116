"""Problems of servers of tools in a configuration, all at once and without secrets."""

from __future__ import annotations

from typing import Any

import pytest

from graphorch import InputError
from graphorch.models.config.loader import parse_config
from graphorch.models.config.validation import find_doubts

KEY = "sk-proj-Zx8vQ2mN7pLr4TkW9sYb3HcJ6dFgA1eU"


@pytest.mark.parametrize(
    ("name", "table", "problem"),
    [
        ("a__b", {"command": "npx"}, "mcp.a__b: that cannot name a server. Use up to 32 letters"),
        ("files", {}, "mcp.files: nothing says where it is"),
        ("files", {"command": "npx", "url": "https://h/mcp"}, "it has a command and a url"),
        ("files", {"command": "npx", "bearer_env": "T"}, "bearer_env: it has no effect"),
        ("files", {"url": "https://h", "args": ["x"]}, "mcp.files.args: it has no effect"),
        ("files", {"command": "npx", "env_from": [KEY]}, "env_from.0: it is not the name"),
        ("files", {"command": "npx", "env": {"A B": "1"}}, "mcp.files.env: it is not the name"),
        ("files", {"url": "https://h", "bearer_env": KEY}, "bearer_env: it is not the name of an"),
        ("files", {"url": "https://h", "headers_env": {"X Y": "T"}}, "not the name of a header"),
        ("files", {"url": "https://h", "headers_env": {"X-Y": KEY}}, "it is not the name of"),
        ("files", {"url": "h/mcp"}, "mcp.files.url: it is not an address"),
        ("files", {"url": "http://h/mcp", "bearer_env": "T"}, "its key over plain http"),
        ("files", {"comand": "npx"}, "mcp.files.comand: there is no such key. Did you mean 'comm"),
        ("files", {"command": "npx", "limits": {"second": 1}}, "Did you mean 'seconds'"),
        ("files", {"command": "npx", "limits": {"seconds": "5"}}, "limits.seconds"),
    ],
)  # fmt: skip
def test_wrong_server_is_named(name: str, table: dict[str, Any], problem: str) -> None:
    """Each mistake is named with its place."""
    with pytest.raises(InputError) as caught:
        parse_config({"mcp": {name: table}})
    assert problem in str(caught.value)
    assert KEY not in str(caught.value)


def test_secret_in_file_is_doubted() -> None:
    """A key among the plain values of a program is a warning, which does not repeat it."""
    config = parse_config({"mcp": {"files": {"command": "npx", "env": {"KEY": KEY, "LEVEL": "1"}}}})
    (doubt,) = [text for loc, text in find_doubts(config) if loc == ("mcp", "files", "env", "KEY")]
    assert doubt.startswith("its value looks like a secret.")
    assert KEY not in doubt
