"""Exported files for the tests, and a browser that opens them without any server."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from graphorch.server.export.exporting import ExportedRun, export_run
from graphorch.server.served_flow import AnyFlow
from tests.server.page.browser import Opened, open_page
from tests.server.serving import journal_in, serve_flows

_GROUP = re.compile(r'<script type="application/json" data-answers="([^"]+)">(.*?)</script>', re.S)
_ABOUT = re.compile(r'<script type="application/json" id="exported">(.*?)</script>', re.S)


def export(folder: Path, run_id: str, *flows: AnyFlow, **options: Any) -> ExportedRun:
    """Export a run of the journal in a folder; the browser's driver has a loop in this thread."""

    def run() -> ExportedRun:
        exporting = export_run(journal_in(folder), run_id, serve_flows(*flows), **options)
        return asyncio.run(exporting)

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def write_file(folder: Path, run_id: str, *flows: AnyFlow, **options: Any) -> Path:
    """Export a run into a file."""
    path = folder / f"{run_id}.html"
    path.write_text(export(folder, run_id, *flows, **options).content, "utf-8")
    return path


def read_groups(content: str) -> dict[str, dict[str, Any]]:
    """Return the answers in a file, by group and key."""
    return {name: json.loads(text) for name, text in _GROUP.findall(content)}


def read_about(content: str) -> dict[str, Any]:
    """Return what a file says of itself."""
    found = _ABOUT.search(content)
    assert found is not None
    return json.loads(found[1])


@contextmanager
def open_file(browser: Any, path: Path, place: str = "", **options: Any) -> Iterator[Opened]:
    """Open a file, at a place of its run such as `?tab=why`, and wait until all is shown."""
    with open_page(browser, path.as_uri(), **options) as opened:
        opened.page.goto(f"{path.as_uri()}#/runs/{path.stem}{place}")
        wait_for_run(opened)
        yield opened


def wait_for_run(opened: Opened) -> None:
    """Wait until the page of a run shows all of its parts."""
    opened.page.wait_for_selector(".run-head h1")
    opened.page.wait_for_selector(".picture-stage svg")
    opened.page.wait_for_selector(".panel:not(:has(.loading)):not(.is-late) > *")


def check_alone(opened: Opened, path: Path) -> None:
    """Assert that nothing went wrong, and that nothing but the file itself was asked for."""
    opened.check()
    asked = {url.partition("#")[0] for url in opened.requests if not url.startswith("data:")}
    assert asked <= {path.as_uri()}
