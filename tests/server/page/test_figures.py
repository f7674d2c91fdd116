"""The figures of many runs, and what the server is, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.server.page.browser import needs_browser, open_page, serve
from tests.server.page.flows import MARKUP, hostile
from tests.server.page.test_page import keep_hostile, keep_shop
from tests.server.serving import TOKEN
from tests.trace.flows import SilentModel, shop

pytestmark = needs_browser

TABLE = ".figures-scroll tbody tr"
HEAT = ".heat-table .heat-cell"
PLACES = ["/figures", "/figures?by=node&measure=errors", "/figures?by=tag", "/about"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server over runs that succeeded, failed, and hold markup."""
    folder: Path = tmp_path_factory.mktemp("journal")
    keep_shop(folder)
    keep_shop(folder, "failed-run", amount=50)
    keep_hostile(folder)
    with serve(folder, shop(), hostile()) as server:
        yield server.url


def test_figures_lead_to_their_runs(browser: Any, site: str) -> None:
    """Groups, order and measure are in the address, and a number leads to the runs that it sums."""
    with open_page(browser, site) as opened:
        page = opened.go("/figures", TABLE)
        page.wait_for_selector(HEAT)
        assert page.inner_text("tfoot th") == "All"
        page.click('.tab[data-name="node"]')
        page.wait_for_selector(f'{TABLE}:has-text("plan")')
        page.click('button.sort:has-text("Errors")')
        page.wait_for_selector('th[aria-sort="descending"]:has(button:has-text("Errors"))')
        page.click('.heat-measures button:has-text("Errors")')
        page.wait_for_url("**by=node&sort=errors&measure=errors*")
        page.reload()
        page.wait_for_selector(HEAT)
        # Two nodes failed as often; which of them stands first depends on the time they took.
        page.wait_for_selector(f'{TABLE}:first-child td[data-column="Errors"]:has-text("1")')
        page.wait_for_selector(f'{TABLE}:nth-child(-n+2):has-text("fulfilment/stock/count")')
        page.focus(f"{HEAT}[tabindex='0']")
        before = page.inner_text(".heat-readout")
        page.keyboard.press("ArrowDown")
        page.wait_for_function(
            "before => document.querySelector('.heat-readout').innerText !== before", arg=before
        )
        page.click('.tab[data-name="flow"]')
        page.click('.figures-scroll tbody th a:has-text("order")')
        page.wait_for_function("() => document.querySelectorAll('.runs tbody tr').length === 2")
        opened.check()


@pytest.mark.broad
def test_estimated_tokens_are_marked(browser: Any, tmp_path: Path) -> None:
    """Tokens that no endpoint reported have a sign in figures, list and run, with a legend."""
    keep_shop(tmp_path)
    keep_shop(tmp_path, "guessed", client=SilentModel())
    with serve(tmp_path, shop()) as server, open_page(browser, server.url) as opened:
        page = opened.go("/figures?by=agent", TABLE)
        assert page.inner_text('tfoot td[data-column="Tokens"]').startswith("≈ ")
        [legend] = page.locator(".figures-key").all_inner_texts()
        assert "estimated from the length of the texts in 2 calls" in legend
        page = opened.go("/runs", ".runs tbody .cell-tokens:has-text('≈')")
        cells = page.locator(".runs tbody .cell-tokens").all_inner_texts()
        assert sorted(cell.startswith("≈") for cell in cells) == [False, True]
        page = opened.go("/runs/guessed?tab=calls", ".call-facts")
        assert "≈ 100 in" in page.inner_text(".call-facts >> nth=0")
        opened.check()


def test_figures_are_text(browser: Any, site: str) -> None:
    """Names that look like markup are text in tables, charts and the heat map."""
    with open_page(browser, site) as opened:
        for by in ("flow", "agent", "model", "node", "tag"):
            page = opened.go(f"/figures?by={by}", TABLE)
            page.wait_for_selector(HEAT)
        assert MARKUP in page.inner_text(".heat-table") + page.content()
        assert page.evaluate("window.hit") is None
        opened.check()


def test_figures_of_nothing_say_so(browser: Any, tmp_path: Path) -> None:
    """An empty journal, and a window without runs, are said in words."""
    with serve(tmp_path, shop()) as server, open_page(browser, server.url) as opened:
        page = opened.go("/figures?since=all", ".state")
        assert "No runs yet" in page.inner_text("main")
        page = opened.go("/figures?flow=nobody", ".state")
        assert "Nothing in this window" in page.inner_text("main")
        page = opened.go("/figures?tag=wrong", ".state")
        assert "Write name=value" in page.inner_text("main")
        assert page.locator("button:has-text('Try again')").count() == 1


FIND_CUT = """() => {
    const nav = document.querySelector(".top nav").getBoundingClientRect();
    const links = [...document.querySelectorAll(".top nav a")];
    return links.filter((link) => {
        const place = link.getBoundingClientRect();
        return place.left < nav.left || place.right > nav.right || place.bottom > nav.bottom;
    }).map((link) => link.textContent);
}"""


def test_navigation_fits_narrowest_phone(browser: Any, site: str) -> None:
    """A phone shows all pages in the navigation, also with open questions in it."""
    with open_page(browser, site, viewport={"width": 320, "height": 640}) as opened:
        page = opened.go("/about", ".about-card")
        page.evaluate(
            """() => document.querySelector('.top nav a[href="#/inbox"]').insertAdjacentHTML(
                "beforeend", '<span class="count">99</span>')"""
        )
        assert page.evaluate(FIND_CUT) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        opened.check()


def test_token_is_shown_only_when_asked(browser: Any, site: str) -> None:
    """Settings of an MCP client hold the token once the reader wants to see it."""
    with open_page(browser, site) as opened:
        page = opened.go("/about", ".about-card .command")
        assert "/mcp" in page.inner_text("main")
        assert TOKEN not in page.content()
        page.check("text=Show the token")
        assert TOKEN in page.inner_text("main")
        opened.check()


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280, 2560])
@pytest.mark.parametrize("place", PLACES)
def test_figures_fit_and_can_be_used(
    browser: Any, site: str, place: str, width: int, theme: str
) -> None:
    """Every width holds the pages, and axe-core finds nothing to complain about in either theme."""
    options = {"viewport": {"width": width, "height": 800}, "color_scheme": theme}
    with open_page(browser, site, **options) as opened:
        page = opened.go(place, f"{HEAT}, .about-card")
        page.wait_for_timeout(400)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.find_axe_violations() == []
        opened.check()
