"""A session as one HTML file, and the static output of a cell."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from graphorch import Graph, InputError, node
from graphorch.debugger import to_html
from graphorch.debugger.notebook.display import NotebookSession, build_bundle
from graphorch.debugger.session import Session
from tests.scenarios.flows import Log, Note, Number, State

EVIL = "</script><img src=x onerror=alert(1)>"


def evil() -> Session[Any, Any]:
    @node(name="writes")
    async def writes(number: Number) -> Note:
        return Note(note=EVIL)

    @node(name="fails")
    async def fails(note: Note) -> Log:
        raise ValueError(EVIL)

    session = Graph("g", State).chain(writes, fails).build().debug(State())
    session.run_until()
    return session


def test_export_makes_no_request(tmp_path: Path) -> None:
    """An export is one file that needs no network."""
    with evil() as session:
        page = to_html(session, tmp_path / "session.html")
    assert (tmp_path / "session.html").read_text(encoding="utf-8") == page
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", page)
    assert "http://" not in page.replace("http://www.w3.org/", "")
    assert "default-src 'none'" in page


def test_values_are_never_markup() -> None:
    """Values and errors are escaped in the export and in the static output."""
    with evil() as session:
        page, static = to_html(session), build_bundle(session)[0]["text/html"]
    assert EVIL not in page
    assert "<img" not in page
    assert page.count("</script>") == 2  # its own two
    assert EVIL not in static
    assert re.findall('<img [^"]*', static) == ["<img alt="]  # its picture
    assert "&lt;img src=x onerror=alert(1)&gt;" in static


def test_bundle_without_kernel_is_static() -> None:
    """A session is shown as text, picture and tables."""
    with evil() as session:
        assert isinstance(session, NotebookSession)
        bundle, _ = session._repr_mimebundle_()
    assert {*bundle, "image/png"} == {"text/plain", "image/svg+xml", "text/html", "image/png"}
    assert "<svg" not in bundle["text/html"]  # an untrusted notebook would show its bare words
    assert bundle["text/plain"].startswith("<failed session")


def test_unwritable_file_is_named(tmp_path: Path) -> None:
    """The error holds the path and the reason."""
    with (
        evil() as session,
        pytest.raises(
            InputError, match=r"cannot be written to '.*nowhere/s.html': No such file or directory"
        ),
    ):
        to_html(session, tmp_path / "nowhere" / "s.html")
