"""What a tool says about the origin of its results: by a mark of its return type, or an option."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import GraphError, Secret, Untrusted
from graphorch.agents.tool import build_tools, tool


class Page(BaseModel):
    title: str
    text: Untrusted[str]


def search(query: str) -> list[Untrusted[str]]: ...
def fetch(url: str) -> Page | None: ...
def count(text: str) -> int: ...


@pytest.mark.parametrize(("fn", "is_untrusted"), [(search, True), (fetch, True), (count, False)])
def test_return_type_says_whether_results_are_untrusted(fn: Any, is_untrusted: bool) -> None:
    """A mark anywhere in the return type marks what a tool returns, also of a plain function."""
    assert [made.untrusted for made in (*build_tools([fn]), tool(fn))] == [is_untrusted] * 2


def test_option_marks_results() -> None:
    """A tool whose return type says nothing can be declared untrusted."""
    assert tool(untrusted=True, effect="pure")(count).untrusted
    assert not tool(untrusted=False)(count).untrusted


@pytest.mark.parametrize(
    ("options", "fn", "what"),
    [
        ({"untrusted": False}, search, "its return type is marked as Untrusted"),
        ({"untrusted": "yes"}, count, "untrusted='yes' is not possible"),
    ],
)
def test_contradiction_is_refused(options: Any, fn: Any, what: str) -> None:
    """Two declarations that contradict each other, and what is no answer, make no tool."""
    with pytest.raises(GraphError, match=what):
        tool(**options)(fn)


def test_secret_result_is_refused() -> None:
    """A model reads what a tool returns, so it cannot be a secret."""

    def read_key(name: str) -> Secret[str]: ...

    with pytest.raises(GraphError, match="returns a secret, which its model would read"):
        tool(read_key)
