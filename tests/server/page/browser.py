"""The page in a real browser: Chromium that is installed, on a real server over a real journal.

Every page that is opened here writes down what must never happen: errors, breaches of the content
policy, and requests to another host.
"""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from graphorch.server.served_flow import AnyFlow
from tests.server.serving import TOKEN, Running, running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""
MISSING = [name for name in ("playwright", "axe_playwright_python") if find_spec(name) is None] + (
    [] if CHROMIUM else ["chromium"]
)
needs_browser = pytest.mark.skipif(
    bool(MISSING), reason=f"drives the page in Chromium; missing here: {', '.join(MISSING)}"
)
FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
).split()
_RECORD_VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


@dataclass(slots=True)
class Opened:
    """A page of the browser, and what went wrong on it."""

    page: Any
    url: str
    errors: list[str] = field(default_factory=list[str])
    requests: list[str] = field(default_factory=list[str])

    def go(self, place: str, until: str = "main h1") -> Any:
        """Open a place such as `/runs`, with the token, and wait for a selector."""
        self.page.goto("about:blank")  # another fragment alone would load nothing
        self.page.goto(f"{self.url}#token={TOKEN}&{place}")
        self.page.wait_for_selector(until)
        return self.page

    def strangers(self) -> list[str]:
        """Requests that left the server of the page."""
        own = urlsplit(self.url).netloc
        return [
            url
            for url in self.requests
            if urlsplit(url).scheme not in ("data", "about") and urlsplit(url).netloc != own
        ]

    def check(self) -> None:
        """Assert that nothing went wrong."""
        assert self.page.evaluate("window.violations") == []
        assert self.errors == []
        assert self.strangers() == []

    def find_axe_violations(self) -> list[str]:
        """Return what axe-core finds on the page as it is, each with its first element."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        return [f"{item['id']}: {item['nodes'][0]['html'][:200]}" for item in found]


@contextmanager
def open_page(browser: Any, url: str, **options: Any) -> Iterator[Opened]:
    """Open a page of its own, with nothing stored, that writes down what goes wrong."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.add_init_script(_RECORD_VIOLATIONS)
    opened = Opened(context.new_page(), url)
    watch(opened)
    try:
        yield opened
    finally:
        context.close()


def watch(opened: Opened) -> None:
    """Write down errors and requests of a page.

    A response with a status above 399 is no error of the page, which shows what it says.
    """
    page, errors = opened.page, opened.errors

    def write_down(message: Any) -> None:
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            errors.append(message.text)

    page.on("pageerror", lambda error: errors.append(f"{error}\n{error.stack}"))
    page.on("console", write_down)
    page.on("request", lambda request: opened.requests.append(request.url))


@contextmanager
def serve(folder: Path, *flows: AnyFlow, **options: Any) -> Iterator[Running]:
    """Run a server in a thread of its own: the browser's driver has a loop already."""
    started: list[Running] = []
    is_ready, ends = threading.Event(), []

    async def main() -> None:
        end = asyncio.Event()
        ends.append((asyncio.get_running_loop(), end))
        async with running(folder, *flows, **options) as server:
            started.append(server)
            is_ready.set()
            await end.wait()

    def run() -> None:
        try:
            asyncio.run(main())
        finally:
            is_ready.set()

    thread = threading.Thread(target=run)
    thread.start()
    is_ready.wait()
    try:
        assert started, "the server did not start"
        yield started[0]
    finally:
        for loop, end in ends:
            loop.call_soon_threadsafe(end.set)
        thread.join()
