"""The files of the page, without a browser: they find each other, and none makes markup of data."""

from __future__ import annotations

import posixpath
import re

import pytest

from graphorch.server.page import read_page

FILES = read_page()
SCRIPTS = sorted(name for name in FILES if name.endswith(".js"))
IMPORT = re.compile(r'^import (?:\{[^}]*\} from )?"([^"]+)";', re.MULTILINE)


def read(name: str) -> str:
    return FILES[name].content.decode()


@pytest.mark.parametrize("name", SCRIPTS)
def test_imports_name_what_is_exported(name: str) -> None:
    """Every import names a file of the page, and only names that it exports."""
    for match in re.finditer(r'^import \{([^}]*)\} from "([^"]+)";', read(name), re.MULTILINE):
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), match[2]))
        assert target in FILES, f"{name} imports {target}"
        wanted = {part.strip() for part in match[1].split(",") if part.strip()}
        assert wanted <= find_exports(read(target)), f"{name} imports from {target}"


def find_exports(script: str) -> set[str]:
    declared = re.findall(
        r"^export (?:async )?(?:class|function|const) (\w+)", script, re.MULTILINE
    )
    listed = re.search(r"^export \{([^}]*)\};", script, re.MULTILINE)
    return {*declared, *(part.strip() for part in (listed[1].split(",") if listed else ()))}


@pytest.mark.parametrize("name", SCRIPTS)
def test_scripts_make_no_markup(name: str) -> None:
    """No script parses text as HTML, runs text, or talks to the server beside `api.js`."""
    script = read(name)
    forbidden = "innerHTML outerHTML= insertAdjacentHTML document.write eval( Function( srcdoc"
    assert [word for word in forbidden.split() if word in script] == []
    talks = re.findall(r"\b(?:fetch\(|XMLHttpRequest|EventSource\(|WebSocket|sendBeacon)", script)
    assert not talks or name == "api.js"


def test_index_has_no_script_of_its_own() -> None:
    """Scripts and styles are files, and all that it names are there and of this server."""
    page = read("index.html")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page) == []
    named = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert [name for name in named if name.lstrip("/") not in FILES] == []
    styles = {name for name in FILES if name.endswith(".css")}
    assert styles == {name.lstrip("/") for name in named if name.endswith(".css")}
