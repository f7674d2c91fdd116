"""The document of a file: data of any kind stays data."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from graphorch.server.export.document import write_data

NASTY = ["</script>", "<!--<script>", "\u2028\r\n\0", "&lt;/script&gt;", "\ud800", "__proto__"]
TEXTS = st.one_of(st.sampled_from(NASTY), st.text(max_size=20))


class DataParser(HTMLParser):
    """Collects the elements of data, as a browser delimits them."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, Any] = {}
        self._name = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        given = dict(attrs)
        self._name = given.get("data-answers") or given.get("id") or ""

    def handle_data(self, data: str) -> None:
        """Read the content of an element."""
        if self._name:
            self.found[self._name] = json.loads(data)
            self._name = ""


@given(st.dictionaries(TEXTS, TEXTS, max_size=4), TEXTS)
def test_data_comes_back_as_it_was(values: dict[str, str], words: str) -> None:
    """No text ends its element, in a key, a value, or what the file says of itself."""
    answers = {key: json.dumps({"text": value}).encode() for key, value in values.items()}
    parser = DataParser()
    parser.feed(write_data({"notes": [words]}, {"state": answers}))
    parser.close()
    assert parser.found == {
        "exported": {"notes": [words]},
        "state": {key: {"text": value} for key, value in values.items()},
    }
