"""The HTML file of a run: one script, one style, and data that cannot end its element.

The content policy names script and style by their hashes, and allows no request to anywhere.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from graphorch.server.export.modules import join_modules
from graphorch.server.page import PageFile, read_page
from graphorch.text import escape_surrogates

_ENTRY: Final = "copy.js"
_STYLE: Final = re.compile(r'<link rel="stylesheet" href="/([^"]+)">')


def write_document(
    title: str, about: Mapping[str, Any], groups: Mapping[str, Mapping[str, bytes]]
) -> str:
    """Return the file. `about` says what it is a copy of, and `groups` are answers as JSON."""
    page = read_page()
    style = _join_styles(page)
    script = join_modules(
        {path: file.content.decode() for path, file in page.items() if path.endswith(".js")}, _ENTRY
    )
    icon = base64.b64encode(page["icon.svg"].content).decode()
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    head = _HEAD.format(
        policy=policy, title=html.escape(escape_surrogates(title)), icon=icon, style=style
    )
    return "".join([head, write_data(about, groups), _FOOT.format(script=script)])


def _join_styles(page: Mapping[str, PageFile]) -> str:
    """Return all style sheets in the order of the page."""
    paths = _STYLE.findall(page["index.html"].content.decode())
    return "".join(page[path].content.decode() for path in paths)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def write_data(about: Mapping[str, Any], groups: Mapping[str, Mapping[str, bytes]]) -> str:
    """Return elements of data, each of which the page parses when it needs it."""
    elements = [_write_element('id="exported"', json.dumps(about).encode())]
    for name, answers in groups.items():
        members = [json.dumps(key).encode() + b":" + answer for key, answer in answers.items()]
        content = b"{" + b",\n".join(members) + b"}"
        elements.append(_write_element(f'data-answers="{name}"', content))
    return b"".join(elements).decode()


def _write_element(attribute: str, content: bytes) -> bytes:
    # In JSON "<" stands in texts only, and without it neither a tag nor a comment begins.
    escaped = content.replace(b"<", b"\\u003c")
    return b'<script type="application/json" %s>%s</script>\n' % (attribute.encode(), escaped)


_HEAD: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<link rel="icon" href="data:image/svg+xml;base64,{icon}" type="image/svg+xml">
<style>{style}</style>
</head>
<body>
<noscript><p class="without-script">This copy of a run is drawn by a script in this file. \
Allow scripts to see it.</p></noscript>
"""

_FOOT: Final = """<script type="module">{script}</script>
</body>
</html>
"""
