"""A session as HTML: one self-contained file to share, and the static output of a cell.

Neither loads a script or makes a request.
"""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graphorch.debugger.notebook.page import read_script, read_style
from graphorch.debugger.notebook.timeline import describe_items, list_maps
from graphorch.debugger.notebook.view import (
    Json,
    build_panel,
    build_view,
    describe_lines,
    describe_nodes,
    describe_step,
    name_session,
)
from graphorch.debugger.session import Session
from graphorch.errors import InputError
from graphorch.render.notebook_picture import embed
from graphorch.runs.background_loop import background_loop
from graphorch.text import plural


def to_html(session: Session[Any, Any], path: str | Path | None = None) -> str:
    """Return the session as one HTML file that needs no kernel, and write it to `path` if given.

    It holds the picture, the timeline, and each step with its changes and calls. Raises
    `InputError` if the file cannot be written.
    """
    data = json.dumps(background_loop().wait(_collect_data(session)))
    script = read_script()
    page = _PAGE.format(
        policy=_CONTENT_POLICY,
        title=html.escape(f"{session.flow} · {session.run_id}"),
        css=read_style(),
        # `</` would end the element wherever it stands, also within a string.
        data=data.replace("<", "\\u003c"),
        script=script.replace("export default", "const stepper =").replace("</", "<\\/"),
    )
    if path is not None:
        _write(page, Path(path))
    return page


def _write(page: str, path: Path) -> None:
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise InputError(f"The session cannot be written to '{path}': {error.strerror}.") from error


async def _collect_data(session: Session[Any, Any]) -> Json:
    """Return everything that the stepper's script asks its kernel for."""
    plan, history = session.controller.plan, session.history
    own = {"name": name_session(session), "number": 0, "notice": "", "moved": None}
    return {
        "panels": [{**build_panel(session), **own}],
        "nodes": describe_nodes(plan),
        "lines": describe_lines(plan),
        "details": [describe_step(step, at) for at, step in enumerate(history)],
        "items": {
            first: describe_items(history, first, last) for first, last in list_maps(history)
        },
    }


def render_static_html(session: Session[Any, Any]) -> str:
    """Return picture, timeline and state as HTML that a notebook shows also without trust."""
    view = background_loop().wait(_view(session))
    heading = f"{name_session(session)} of {view['flow']}"
    facts = [f"run {view['run']}", view["origin"], view["status"]]
    facts.append(f"next is {view['next']}" if view["next"] else "")
    about = "".join(f" · {html.escape(fact)}" for fact in facts if fact)
    asked = [
        f"{question['path']} {'waits for' if question['waits'] else 'asks:'} {question['text']}"
        f"{' (until ' + question['until'] + ')' if question['until'] else ''}"
        for question in view["questions"]
    ]
    questions = "".join(f"<p>{html.escape(text)}</p>" for text in asked)
    picture = embed(session.svg(title=""), repr(session))
    steps = _render_table([_list_facts(row) for row in view["rows"]])
    state = _render_table([_list_value(field) for field in view["state"]])
    title = f"<p><b>{html.escape(heading)}</b>{about}</p>"
    return f"<div>{title}{questions}{picture}{steps}{state}</div>"


def _list_facts(row: Json) -> tuple[str, ...]:
    """Return the cells of a row of the timeline."""
    duration = f"{row['seconds'] * 1000:.0f} ms"
    if "map" in row:
        failed = f"{row['failed']} failed" if row["failed"] else ""
        return row["map"], plural(row["items"], "item"), duration, failed
    return row["path"], row["kind"], duration, row["error"]


def _list_value(field: Json) -> tuple[str, str]:
    return field["name"], field["value"] if field["set"] else "not assigned"


async def _view(session: Session[Any, Any]) -> Json:
    return build_view(session)


def _render_table(rows: Sequence[Sequence[str]]) -> str:
    return f"<table>{''.join(map(_render_row, rows))}</table>"


def _render_row(cells: Sequence[str]) -> str:
    """Return a row. Its style stands in each cell: a notebook takes other styles away."""
    style = "text-align:left;vertical-align:top"
    name, *others = map(html.escape, cells)
    shown = [f'<td style="{style}"><pre>{text}</pre></td>' for text in others if text]
    return f'<tr><th style="{style}">{name}</th>{"".join(shown)}</tr>'


_CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>{title}</title>
<style>{css}</style>
</head>
<body class="gs-page">
<div id="session"></div>
<script type="application/json" id="data">{data}</script>
<script type="module">
{script}
const data = JSON.parse(document.getElementById("data").textContent);
const get = (name) => data[name];
const model = {{ get, on() {{}}, off() {{}}, send() {{}}, record: data }};
stepper.render({{ model, el: document.getElementById("session") }});
</script>
</body>
</html>
"""
