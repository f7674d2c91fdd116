"""The page while something happens: runs that begin and go on, a server that goes and returns."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from graphorch.models.client import OnText
from graphorch.models.messages import Request, Response
from graphorch.runs.stores import open_store
from graphorch.server.listening import Reachability
from graphorch.testing import ScriptedModel
from tests.server.page.browser import Opened, needs_browser, open_page, serve
from tests.server.page.flows import MARKUP, State, letter, waiting_flow
from tests.server.page.test_page import keep_shop
from tests.server.serving import TOKEN, Running
from tests.trace.flows import shop

pytestmark = [needs_browser, pytest.mark.slow]

LINE = ".line-live"


@contextmanager
def started(folder: Path, steps: list[threading.Event], run_id: str) -> Iterator[None]:
    """Drive a run beside the server, whose nodes wait for one event each."""
    options: Any = {"durable": str(folder / "runs.sqlite"), "run_id": run_id}
    thread = threading.Thread(
        target=waiting_flow(steps).run_sync, args=[State(text="tides")], kwargs=options
    )
    thread.start()
    try:
        yield
    finally:
        for step in steps:
            step.set()
        thread.join()


def count_streams(pages: list[Opened]) -> int:
    return sum(url.endswith("/api/events") for opened in pages for url in opened.requests)


def test_new_runs_wait_behind_the_bar(browser: Any, tmp_path: Path) -> None:
    """A run that begins moves no row: a bar counts it, and shows it when it is pressed."""
    keep_shop(tmp_path, "first")
    with serve(tmp_path, shop()) as server, open_page(browser, server.url) as opened:
        page = opened.go("/runs", ".runs tbody tr")
        page.wait_for_selector(LINE)
        place = "document.querySelector('[data-run=first]').getBoundingClientRect().top"
        before = page.evaluate(place)
        keep_shop(tmp_path, "second")
        page.wait_for_selector(".fresh:has-text('1 new run')")
        assert page.evaluate(place) == before
        assert page.locator("[data-run=second]").count() == 0
        page.click(".fresh")
        page.wait_for_selector("[data-run=second]")
        assert page.locator(".runs tbody tr").first.get_attribute("data-run") == "second"
        opened.check()


def test_run_is_followed_as_it_goes_on(browser: Any, tmp_path: Path) -> None:
    """Picture, timeline, figures and state of a run of another driver follow it to its end."""
    steps = [threading.Event() for _ in range(3)]
    with (
        serve(tmp_path, waiting_flow(steps)) as server,
        open_page(browser, server.url) as opened,
        started(tmp_path, steps, "followed"),
    ):
        page = opened.go("/runs", f"{LINE}")
        page.wait_for_selector("[data-run=followed], .fresh:not([hidden])")
        opened.go("/runs/followed?tab=journal", ".run-head .chip[data-status=running]")
        page.wait_for_selector('[data-box="one"].go_is_running')
        for step, (box, following) in zip(steps, [("one", "two"), ("two", "three")], strict=False):
            step.set()
            page.wait_for_selector(f'[data-box="{box}"].go_is_done')
            page.wait_for_selector(f'[data-box="{following}"].go_is_running')
            page.wait_for_selector(f'.tl-row[aria-label*="{box}"]')
        steps[2].set()
        page.wait_for_selector(".run-head .chip[data-status=succeeded]")
        page.wait_for_selector(".records .record-kind:has-text('ended')")
        opened.check()


def test_lost_server_comes_back(browser: Any, tmp_path: Path) -> None:
    """A page says that its server is away, and goes on when it is back; nothing is loaded anew."""
    keep_shop(tmp_path, "first")
    with open_page(browser, "") as opened:
        page = opened.page
        with serve(tmp_path, shop()) as server:
            port, opened.url = server.port, server.url
            opened.go("/runs", LINE)
        page.wait_for_selector(".banner:has-text('does not answer')")
        page.evaluate("window.isTheSame = true")
        keep_shop(tmp_path, "second")
        with serve(tmp_path, shop(), reach=Reachability(port=port)):
            page.click(".banner button")
            page.wait_for_selector(LINE)
            page.wait_for_selector(".banner", state="hidden")
            page.wait_for_selector(".fresh:has-text('1 new run')")
        assert page.evaluate("window.isTheSame")


def test_seven_tabs_share_one_stream(browser: Any, tmp_path: Path) -> None:
    """Seven tabs are all live with one stream, and another tab reads when its reader closes."""
    keep_shop(tmp_path, "first")
    with serve(tmp_path, shop()) as server, open_page(browser, server.url) as opened:
        opened.go("/runs", LINE)
        tabs = [opened]
        for _ in range(6):
            tab = Opened(opened.page.context.new_page(), server.url)
            tab.page.on("request", lambda request, tab=tab: tab.requests.append(request.url))
            tab.page.goto(f"{server.url}#/runs")
            tab.page.wait_for_selector(LINE)
            tabs.append(tab)
        assert count_streams(tabs) == 1
        keep_shop(tmp_path, "second")
        for tab in tabs:
            tab.page.wait_for_selector(".fresh:has-text('1 new run')")
        opened.page.close()
        keep_shop(tmp_path, "third")
        for tab in tabs[1:]:
            tab.page.wait_for_selector(".fresh:has-text('2 new runs')")
        assert count_streams(tabs) == 2


class Hesitant(ScriptedModel):
    """A model that writes a piece whenever a test lets it."""

    def __init__(self, answer: str, pieces: Sequence[str]) -> None:
        super().__init__(answer)
        self.pieces = pieces
        self.allowed = [threading.Event() for _ in [*pieces, "the end"]]

    async def complete(self, request: Request, on_text: OnText | None = None) -> Response:
        for piece, is_allowed in zip([*self.pieces, ""], self.allowed, strict=True):
            await asyncio.to_thread(is_allowed.wait)
            if on_text is not None and piece:
                on_text(piece)
        return await super().complete(request, on_text)


def begin(server: Running, flow: str, input: object) -> str:
    """Have the server begin a run; return its id."""
    request = urllib.request.Request(
        f"{server.url}api/flows/{flow}/runs",
        json.dumps({"input": input}).encode(),
        {"authorization": f"Bearer {TOKEN}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["run_id"]


def test_answer_is_seen_while_it_is_written(browser: Any, tmp_path: Path) -> None:
    """Pieces of an answer are shown as text, and go when the record of the call has come."""
    pieces = ["The moon ", MARKUP, " pulls."]
    model = Hesitant('{"draft": "done"}', pieces)
    flow = letter()
    options = {"client": model}
    with serve(tmp_path, flow, options=options) as server, open_page(browser, server.url) as opened:
        run_id = begin(server, "letter", {"text": "tides"})
        page = opened.go(f"/runs/{run_id}", ".run-line h1")
        page.wait_for_selector(LINE)
        writing = page.locator(".writing")
        assert writing.is_hidden()
        for shown, is_allowed in zip(["The moon ", MARKUP, "pulls."], model.allowed, strict=False):
            is_allowed.set()
            page.wait_for_function(
                "text => document.querySelector('.writing pre')?.textContent.includes(text)",
                arg=shown,
            )
        assert page.locator(".writing pre").text_content() == "".join(pieces)
        assert opened.find_axe_violations() == []
        model.allowed[-1].set()
        page.wait_for_selector(".run-line .chip:has-text('succeeded')")
        assert writing.is_hidden()
        opened.check()


STATUS = ".run-line .chip:has-text('{}')"


def read_status(folder: Path, run_id: str) -> str:
    """Return the status of a run in the journal, without the server."""

    async def main() -> str:
        async with open_store(folder / "runs.sqlite") as store:
            return (await store.read_head(run_id)).status

    with ThreadPoolExecutor(1) as threads:  # the browser's driver has a loop in this one
        return threads.submit(asyncio.run, main()).result()


def test_run_is_stopped_and_resumed(browser: Any, tmp_path: Path) -> None:
    """Stop lets what runs finish and begins nothing new; Resume goes on with the next node."""
    steps = [threading.Event() for _ in range(3)]
    flow = waiting_flow(steps)
    with serve(tmp_path, flow) as server, open_page(browser, server.url) as opened:
        run_id = begin(server, "waiting", {"text": "tides"})
        page = opened.go(f"/runs/{run_id}", STATUS.format("running"))
        with page.expect_response("**/stop"):
            page.click("button:has-text('Stop')")
        steps[0].set()  # and the second one, which may have begun before the run heard of it
        steps[1].set()
        page.wait_for_selector(STATUS.format("stopped"))
        assert read_status(tmp_path, run_id) == "stopped"
        page.click("button:has-text('Resume')")
        page.wait_for_selector(STATUS.format("running"))
        steps[2].set()
        page.wait_for_selector(STATUS.format("succeeded"))
        assert page.locator(".run-actions button").count() == 0
        opened.check()
    assert read_status(tmp_path, run_id) == "succeeded"


def test_cancelling_is_asked_about(browser: Any, tmp_path: Path) -> None:
    """Cancel ends a run for good, once the reader has agreed."""
    steps = [threading.Event() for _ in range(3)]
    with (
        serve(tmp_path, waiting_flow(steps)) as server,
        open_page(browser, server.url) as opened,
    ):
        run_id = begin(server, "waiting", {"text": "tides"})
        page = opened.go(f"/runs/{run_id}", STATUS.format("running"))
        page.click("button:has-text('Cancel')")
        page.click(".dialog .button:text-is('Cancel')")
        assert read_status(tmp_path, run_id) == "running"
        page.click(".run-actions button:has-text('Cancel')")
        with page.expect_response("**/cancel"):
            page.click(".dialog .danger")
        steps[0].set()
        page.wait_for_selector(STATUS.format("cancelled"))
        opened.check()
    assert read_status(tmp_path, run_id) == "cancelled"


def test_erased_run_keeps_its_row(browser: Any, tmp_path: Path) -> None:
    """Erase takes what a run holds out of the journal, once the reader has agreed."""
    keep_shop(tmp_path, "first")
    keep_shop(tmp_path, "second")
    with serve(tmp_path, shop()) as server, open_page(browser, server.url) as opened:
        page = opened.go("/runs", ".runs tbody tr")
        page.check("[data-run=first] input[type=checkbox]")
        page.click("button:has-text('Erase')")
        page.click(".dialog .danger")
        page.wait_for_selector("[data-run=first]:has-text('erased')")
        assert page.locator("[data-run=second]:has-text('erased')").count() == 0
        opened.check()
