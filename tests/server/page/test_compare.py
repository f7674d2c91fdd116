"""The page of two runs beside each other, in a real browser."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.server.page.browser import Opened, needs_browser, open_page, serve
from tests.server.page.flows import MARKUP, hostile
from tests.server.page.test_page import keep_hostile, keep_shop
from tests.trace.flows import Model, shop

pytestmark = needs_browser

ROWS = ".compare-table tbody tr"
PLACES = {
    "differences": "/compare?a=shop-run&b=far-run",
    "activation": "/compare?a=shop-run&b=far-run&path=answer",
    "rerun": "/compare?a=shop-run&b=again&only=all",
    "nothing differs": "/compare?a=shop-run&b=again",
    "failure": "/compare?a=shop-run&b=failed-run&path=fulfilment%2Fstock%2Fcount",
    "two flows": "/compare?a=shop-run&b=hostile-run",
    "no run": "/compare?a=shop-run&b=nobody",
    "nothing chosen": "/compare",
}


async def rerun_shop(folder: Path) -> None:
    options: Any = {"durable": str(folder / "runs.sqlite"), "client": Model()}
    await shop().rerun("shop-run", start="answer", run_id="again", **options)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server over runs that succeeded, failed, were rerun, and hold markup."""
    folder: Path = tmp_path_factory.mktemp("journal")
    keep_shop(folder)
    keep_shop(folder, "far-run", amount=500)
    keep_shop(folder, "failed-run", amount=50)
    with ThreadPoolExecutor() as threads:  # this one has the loop of the browser's driver
        threads.submit(asyncio.run, rerun_shop(folder)).result()
    keep_hostile(folder)
    with serve(folder, shop(), hostile()) as server:
        yield server.url


def settle(opened: Opened, place: str) -> Any:
    """Open a comparison, and wait until it shows all of its parts."""
    page = opened.go(place, ".compare-runs, .state")
    if "nobody" not in place and "a=" in place:
        page.wait_for_selector(".picture-stage svg")
        page.wait_for_selector(".compare-detail .panel > *")
    return page


def test_two_selected_runs_are_compared(browser: Any, site: str) -> None:
    """Two runs of the list lead to what differs; a row, a box and a key choose the same thing."""
    with open_page(browser, site) as opened:
        page = opened.go("/runs", ".runs tbody tr")
        for run_id in ("shop-run", "far-run"):
            page.check(f'.runs tbody tr:has(a[title="{run_id}"]) input[type="checkbox"]')
        page.click('.selection button:has-text("Compare")')
        page.wait_for_url("**#/compare?a=shop-run&b=far-run")  # the older one is A
        page.wait_for_selector(ROWS)
        assert page.locator(ROWS).count() == 6
        assert "500" in page.inner_text(".compare-detail")
        page.click(f'{ROWS} button:has-text("answer")')
        page.wait_for_selector(".compare-detail .compare-call")
        page.wait_for_url("**path=answer*")
        page.wait_for_selector('[data-box="answer"].is-selected')
        page.click('[data-box="fulfilment/stock/count"]')
        page.wait_for_selector(f'{ROWS}.is-chosen:has-text("count")')
        page.keyboard.press("j")
        page.wait_for_selector(f'{ROWS}.is-chosen:has-text("answer")')
        page.keyboard.press("d")
        page.wait_for_selector(f'{ROWS}:has-text("plan")')
        page.keyboard.press("x")
        page.wait_for_url("**a=far-run&b=shop-run*")
        page.wait_for_selector('.compare-runs tbody tr:first-child:has-text("far-run")')
        opened.check()


def test_rerun_leads_to_its_comparison(browser: Any, site: str) -> None:
    """The page of a rerun has a link to what it changed, and that says what was taken over."""
    with open_page(browser, site) as opened:
        page = opened.go("/runs/again", ".run-head")
        page.click('.facts a:has-text("compare")')
        page.wait_for_selector('.note:has-text("took over 6 activations")')
        page.wait_for_selector('.state:has-text("No differences")')
        opened.check()


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PLACES)
def test_comparison_can_be_used_by_everybody(
    browser: Any, site: str, theme: str, name: str
) -> None:
    """axe-core finds nothing to complain about, whatever there is to compare."""
    with open_page(browser, site, color_scheme=theme) as opened:
        settle(opened, PLACES[name])
        opened.page.wait_for_timeout(400)  # what fades in is seen
        assert opened.find_axe_violations() == []
        opened.check()


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
def test_comparison_fits_every_width(browser: Any, site: str, width: int) -> None:
    """No comparison is wider than its window."""
    with open_page(browser, site, viewport={"width": width, "height": 800}) as opened:
        for place in PLACES.values():
            page = settle(opened, place)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, place


@pytest.mark.slow
def test_markup_in_comparison_is_text(browser: Any, site: str) -> None:
    """Names and values that look like markup are text."""
    with open_page(browser, site) as opened:
        page = settle(opened, PLACES["two flows"])
        assert MARKUP in page.inner_text(".compare-runs")
        for row in page.locator(f"{ROWS} button").all():
            row.click()
            page.wait_for_selector(".compare-detail .panel > *")
        assert page.evaluate("window.hit") is None
        opened.check()
