"""A session as HTML: one self-contained file to share, and the static output of a cell. No script from elsewhere, no request to anywhere."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

from graphorch.debugger.notebook.view import Json, detail, lines_of, nodes_of, view_of
from graphorch.debugger.session import Session
from graphorch.engine.background_loop import background_loop
from graphorch.errors import InputError

_HERE = Path(__file__).parent


def to_html(session: Session[Any, Any], path: str | Path | None = None) -> str:
    """The session as one HTML file, to be looked at without a kernel: the picture, the timeline, each step with its changes and calls.

    Written to `path` if one is given. Raises `InputError` if it cannot be written.
    """
    data = background_loop().wait(_collected(session))
    script = (_HERE / "stepper.js").read_text(encoding="utf-8")
    page = _PAGE.format(
        title=html.escape(f"{session.flow} · {session.run_id}"),
        css=(_HERE / "stepper.css").read_text(encoding="utf-8"),
        # `</` would end the element wherever it stands, also within a string
        data=json.dumps(data).replace("<", "\\u003c"),
        script=script.replace("export default", "const stepper =").replace("</", "<\\/"),
    )
    if path is not None:
        try:
            Path(path).write_text(page, encoding="utf-8")
        except OSError as error:
            raise InputError(
                f"The session cannot be written to '{path}': {error.strerror}."
            ) from error
    return page


def static_html(session: Session[Any, Any]) -> str:
    """What is shown where nothing runs: the picture, what was done, and the state, all as text."""
    view = background_loop().wait(_viewed(session))
    rows = "".join(
        _row(item["path"], item["kind"], f"{item['seconds'] * 1000:.0f} ms", item["error"])
        for item in view["moments"]
    )
    state = "".join(
        _row(item["name"], item["value"] if item["set"] else "not assigned")
        for item in view["state"]
    )
    heading = f"{view['flow']}: {view['status']}" + (
        f", next is {view['next']}" if view["next"] else ""
    )
    return f"<div><p>{html.escape(heading)}</p>{session.svg()}<table>{rows}</table><table>{state}</table></div>"


async def _collected(session: Session[Any, Any]) -> Json:
    plan = session.stepping.plan
    panel: Json = {
        **view_of(session),
        "svg": session.untitled_svg(()),
        "groups": [],
        "told": "",
        "number": 0,
    }
    return {
        "panels": [panel],
        "nodes": nodes_of(plan),
        "lines": lines_of(plan),
        "details": [detail(moment) for moment in session.history],
    }


async def _viewed(session: Session[Any, Any]) -> Json:
    return view_of(session)


def _row(*cells: str) -> str:
    shown = [
        f'<td><pre style="white-space:pre-wrap;margin:0">{html.escape(cell)}</pre></td>'
        for cell in cells
        if cell
    ]
    return f"<tr>{''.join(shown)}</tr>"


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>{title}</title>
<style>{css}</style>
</head>
<body class="gs-page">
<div id="session"></div>
<script type="application/json" id="data">{data}</script>
<script type="module">
{script}
const data = JSON.parse(document.getElementById("data").textContent);
const model = {{ get: (name) => data[name], on() {{}}, off() {{}}, send() {{}}, details: data.details }};
stepper.render({{ model, el: document.getElementById("session") }});
</script>
</body>
</html>
"""
