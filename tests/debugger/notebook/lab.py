"""Real JupyterLab in headless Chromium: started here, driven by the tests, closed with them."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[3]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
MISSING = [
    name
    for name in ("jupyterlab", "nbformat", "anywidget", "playwright")
    if find_spec(name) is None
] + ([] if CHROMIUM else ["chromium"])
needs_browser = pytest.mark.skipif(
    bool(MISSING), reason=f"drives JupyterLab in Chromium; missing here: {', '.join(MISSING)}"
)

FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
_TOKEN = "t"


@dataclass(slots=True)
class Lab:
    """A running JupyterLab and a page of a browser in it."""

    url: str
    folder: Path
    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def show(self, path: Path) -> None:
        """Open a copy of a notebook as a fresh clone has it: not trusted, and not run."""
        shutil.copy(path, self.folder / path.name)
        self.show_again(path.stem)

    def show_again(self, name: str) -> None:
        """Open a notebook of the folder without running it."""
        self.page.goto(f"{self.url}/lab/tree/{name}.ipynb?token={_TOKEN}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)

    def open(self, name: str, *cells: str) -> None:
        """Make a notebook of these cells, open it, and run all of it."""
        import nbformat

        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell) for cell in cells]
        )
        notebook.metadata["kernelspec"] = {
            "name": "python3",
            "display_name": "Python 3",
            "language": "python",
        }
        nbformat.write(notebook, self.folder / f"{name}.ipynb")
        self.page.goto(f"{self.url}/lab/tree/{name}.ipynb?token={_TOKEN}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self.page.wait_for_function(
            "window.jupyterapp && window.jupyterapp.commands.hasCommand('notebook:run-all-cells')",
            timeout=60_000,
        )
        self.page.wait_for_function(
            "window.jupyterapp.shell.currentWidget"
            "?.sessionContext?.session?.kernel?.status === 'idle'",
            timeout=60_000,
        )
        self.run_all()

    def run_all(self) -> None:
        """Run every cell; does not wait for it."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")

    def theme(self, name: str) -> None:
        """Switch the theme, and wait until its colours are there."""
        colour = "getComputedStyle(document.body).getPropertyValue('--jp-layout-color1')"
        before = self.page.evaluate(colour)
        self.page.evaluate(
            "window.jupyterapp.commands.execute("
            f"'apputils:change-theme', {{theme: 'JupyterLab {name}'}})"
        )
        self.page.wait_for_selector(
            f"body[data-jp-theme-light='{str(name == 'Light').lower()}']", state="attached"
        )
        self.page.wait_for_function(f"before => {colour} && {colour} !== before", arg=before)
        # Lab fails if another theme comes before it is gone
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def strangers(self) -> list[str]:
        """Requests that left the machine."""
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme in ("http", "https", "ws", "wss")
            and urlsplit(url).hostname != "127.0.0.1"
        ]


@contextmanager
def lab(folder: Path) -> Generator[Lab]:
    """JupyterLab over a folder, and a page that writes down its errors and requests."""
    from playwright.sync_api import sync_playwright

    port = _free_port()
    home = folder / "home"
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(home),
        "JUPYTER_DATA_DIR": str(home),
        "JUPYTER_RUNTIME_DIR": str(home),
        "IPYTHONDIR": str(home),
    }
    environment["PYTHONPATH"] = str(ROOT)
    options = (
        f"--no-browser --allow-root --ip=127.0.0.1 --port={port} --ServerApp.token={_TOKEN} "
        "--LabApp.expose_app_in_browser=True --LabApp.news_url=None"
    )
    never = "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        *options.split(),
        f"--ServerApp.root_dir={folder}",
        never,
    ]
    log = (folder / "lab.log").open("wb")
    with (
        log,
        subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log) as server,
    ):
        try:
            _wait_for(f"http://127.0.0.1:{port}/api/status?token={_TOKEN}", folder / "lab.log")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                page = browser.new_page(viewport={"width": 1400, "height": 1300})
                opened = Lab(f"http://127.0.0.1:{port}", folder, page)
                page.on(
                    "console",
                    lambda message: (
                        opened.errors.append(message.text) if message.type == "error" else None
                    ),
                )
                page.on("pageerror", lambda error: opened.errors.append(f"{error} {error.stack}"))
                page.on("request", lambda request: opened.requests.append(request.url))
                yield opened
                browser.close()
        finally:
            server.terminate()
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()  # its kernels end with it


def _wait_for(url: str, log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                json.load(answer)
                return
        except OSError:
            time.sleep(0.1)  # another program starts, and says nothing when it has
    raise AssertionError(f"JupyterLab did not start: {log.read_text(errors='replace')[-2000:]}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
