"""What-if in a real browser: what would happen is read before anything does."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from graphorch.graph.approval import Approval
from tests.server.page.asking import Order, Verdict, build_orders
from tests.server.page.browser import needs_browser, open_page, serve

pytestmark = [needs_browser, pytest.mark.slow]
RUN = "/runs/order"


def keep_posted(folder: Path) -> None:
    """Keep a run whose letter was posted."""
    journal = str(folder / "runs.sqlite")

    async def main() -> None:
        flow = build_orders()
        await flow.run(Order(title="tides"), durable=journal, run_id="order")
        await flow.answer("order", "approve", Verdict(approved=True), durable=journal)
        result = await flow.answer("order", "post", Approval(approved=True), durable=journal)
        assert result.status == "succeeded"

    with ThreadPoolExecutor(1) as pool:  # this thread has the loop of the browser's driver
        pool.submit(asyncio.run, main()).result()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_effects_are_repeated_only_if_chosen(
    browser: Any, tmp_path: Path, theme: str, width: int
) -> None:
    """From a changed output what follows runs anew; what would act again is refused until then."""
    keep_posted(tmp_path)
    size = {"width": width, "height": 800}
    with (
        serve(tmp_path, build_orders()) as server,
        open_page(browser, server.url, color_scheme=theme, viewport=size) as opened,
    ):
        page = opened.go(RUN, ".run-head")
        page.wait_for_selector(".tl-row")
        page.click('[data-box="write"]')
        page.click("text=What if …")
        page.click("text=Another output")
        page.fill('[data-place="/letter"] textarea', "another letter")
        page.wait_for_selector("text=would act again")
        button = page.locator(".start-go .button")
        assert button.get_attribute("aria-disabled") == "true"
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.find_axe_violations() == []
        page.click("text=Use what they returned")
        page.wait_for_selector(".start-go [aria-disabled=false]")
        button.click()
        page.wait_for_selector(".what-if", state="detached")
        page.click("text=Runs")
        page.wait_for_selector(".runs tbody tr >> nth=1")
        opened.check()
