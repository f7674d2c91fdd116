"""The page in a real browser, over journals of real runs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from graphorch import RunFailed
from graphorch.models.client import ModelClient
from graphorch.models.errors import Unreachable
from graphorch.models.messages import Request, Response
from graphorch.models.policies.policy import fallback
from graphorch.models.policies.target import Target
from tests.server.page.browser import Opened, needs_browser, open_page, serve
from tests.server.page.flows import MARKUP, State, Sums, crawling, hostile
from tests.trace.flows import Model, Order, shop

pytestmark = needs_browser

TABS = ("state", "calls", "conversation", "why", "journal", "result")
SHOP = "shop-run"
HOSTILE = "hostile-run"


class MarkupModel(Model):
    """A model whose answers would be markup."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        """Answer with markup in every field."""
        answer = await super().complete(request, on_text)
        return dataclasses.replace(answer, text=json.dumps({"draft": MARKUP}))


def keep_shop(
    folder: Path, run_id: str = SHOP, amount: int = 3, client: ModelClient | None = None
) -> None:
    with suppress(RunFailed):
        shop().run_sync(
            Order(order="tides", amount=amount),
            client=client or Model(),
            durable=str(folder / "runs.sqlite"),
            run_id=run_id,
        )


def keep_hostile(folder: Path) -> None:
    with pytest.raises(RunFailed):
        hostile().run_sync(
            State(text="x" * 1_000_000),
            client=MarkupModel(),
            durable=str(folder / "runs.sqlite"),
            run_id=HOSTILE,
            tags={"<b>": MARKUP},
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a server over runs that succeeded, failed, and hold markup."""
    folder: Path = tmp_path_factory.mktemp("journal")
    keep_shop(folder)
    keep_shop(folder, "failed-run", amount=50)
    keep_hostile(folder)
    with serve(folder, shop(), hostile()) as server:
        yield server.url


def settle(opened: Opened) -> None:
    """Wait until the page of a run shows all of its parts."""
    page = opened.page
    page.wait_for_selector(".picture-stage svg")
    page.wait_for_selector(".tl-row")
    page.wait_for_selector(".panel:not(:has(.loading)):not(.is-late) > *")


def test_run_is_found_and_looked_into(browser: Any, tmp_path: Path) -> None:
    """A run of the list opens to its picture and timeline; a choice there is in the address."""
    keep_shop(tmp_path)
    with serve(tmp_path, shop()) as server, open_page(browser, server.url) as opened:
        page = opened.go("/runs", ".runs tbody tr")
        assert "token" not in page.url
        page.click(".run-link")
        settle(opened)
        page.click('[data-box="answer"]')
        page.wait_for_selector('.details-words h2:has-text("answer")')
        page.wait_for_url("**at=*")
        opened.check()


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("place", ["/runs", "/runs?status=queued", *TABS])
def test_page_can_be_used_by_everybody(browser: Any, site: str, theme: str, place: str) -> None:
    """axe-core finds nothing to complain about, on any page and in both themes."""
    with open_page(browser, site, color_scheme=theme) as opened:
        if place in TABS:
            opened.go(f"/runs/{SHOP}?tab={place}", ".run-head")
            settle(opened)
        else:
            opened.go(place, ".runs tbody tr, .state")
        opened.page.wait_for_timeout(400)  # what fades in is seen
        assert opened.find_axe_violations() == []


@pytest.mark.slow
@pytest.mark.parametrize("place", ["/runs", f"/runs/{HOSTILE}"])
def test_phone_can_be_used_by_everybody(browser: Any, site: str, place: str) -> None:
    """axe-core finds nothing to complain about on a narrow page either."""
    with open_page(browser, site, viewport={"width": 360, "height": 740}) as opened:
        opened.go(place, ".runs tbody tr, .picture-stage svg")
        opened.page.wait_for_timeout(800)
        assert opened.find_axe_violations() == []


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 768, 1280, 2560])
def test_pages_fit_every_width(browser: Any, site: str, width: int) -> None:
    """No page is wider than its window."""
    with open_page(browser, site, viewport={"width": width, "height": 800}) as opened:
        opened.go("/runs", ".runs tbody tr")
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        for run in (SHOP, HOSTILE):
            opened.go(f"/runs/{run}", ".run-head")
            settle(opened)
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.slow
@pytest.mark.parametrize("tab", TABS)
def test_values_are_never_markup(browser: Any, site: str, tab: str) -> None:
    """Names and values that look like markup are text: nothing runs, and nothing is asked for."""
    with open_page(browser, site) as opened:
        page = opened.go("/runs", ".runs tbody tr")
        assert MARKUP in page.inner_text(".runs")
        opened.go(f"/runs/{HOSTILE}?tab={tab}", ".run-head")
        settle(opened)
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.wait_for_timeout(300)
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        page.hover("main")
        assert MARKUP in page.inner_text("body")
        assert page.evaluate("window.hit") is None
        assert page.locator("main img, main script, main iframe, main a[href^=java]").count() == 0
        opened.check()


@pytest.mark.slow
def test_direction_of_text_is_shown(browser: Any, site: str) -> None:
    """A character that would turn the direction of what follows is shown as what it is."""
    with open_page(browser, site) as opened:
        page = opened.go(f"/runs/{HOSTILE}?tab=journal", ".run-head")
        settle(opened)
        assert "\u202e" not in page.inner_text("body")
        assert "\\u202e" in page.inner_text(".run-reason")


@pytest.mark.slow
def test_address_holds_the_view(browser: Any, site: str) -> None:
    """A copied address shows the same selection and tab, and the back button leaves the run."""
    with open_page(browser, site) as opened:
        page = opened.go("/runs", ".runs tbody tr")
        page.click(f'[data-run="{SHOP}"] .run-link')
        settle(opened)
        page.keyboard.press("2")
        page.click('[data-box="plan"]')
        page.wait_for_selector('.details-words h2:has-text("plan")')
        place = page.evaluate("location.hash").removeprefix("#")
        page.go_back()
        page.wait_for_selector(".runs tbody tr")
        opened.go(place, ".run-head")
        page.wait_for_selector('.details-words h2:has-text("plan")')
        assert page.get_attribute(".tab[aria-selected=true]", "data-name") == "calls"
        assert "Plan: tides" in page.inner_text(".tab-panel")


@pytest.mark.slow
def test_picture_shows_figures_and_the_past(browser: Any, site: str) -> None:
    """The picture shows a figure by colour, and the run as it was after the chosen record."""
    with open_page(browser, site) as opened:
        page = opened.go(f"/runs/{SHOP}", ".run-head")
        settle(opened)
        assert page.locator('[data-box="answer"].go_is_done').count() == 1
        page.click('[data-box="plan"]')
        page.wait_for_selector('[data-box="answer"].go_is_not_reached')
        page.keyboard.press("Escape")
        page.wait_for_selector('[data-box="answer"].go_is_done')
        fill = "getComputedStyle(document.querySelector('[data-box=plan] .go_shape')).fill"
        before = page.evaluate(fill)
        page.select_option(".heats", "visits")
        page.wait_for_function(f"before => {fill} !== before", arg=before)
        opened.check()


@pytest.mark.slow
def test_sub_flows_are_closed_and_opened(browser: Any, site: str) -> None:
    """Sub-flows close to a box and open again, by button and key; the address holds it."""
    with open_page(browser, site) as opened:
        page = opened.go(f"/runs/{SHOP}", ".run-head")
        settle(opened)
        inner = page.locator('[data-box="fulfilment/check"]')
        page.click("button:has-text('Fold')")
        inner.wait_for(state="detached")
        page.focus('[data-box="fulfilment"]')
        page.keyboard.press("o")
        inner.wait_for()
        page.focus('[data-box="fulfilment/stock/look"]')
        page.keyboard.press("o")
        page.wait_for_selector('[data-box="fulfilment/stock"]')
        place = page.evaluate("location.hash").removeprefix("#")
        opened.go(place, '[data-box="fulfilment/stock"]')
        opened.check()


@pytest.mark.slow
def test_keyboard_reaches_everything(browser: Any, site: str) -> None:
    """Rows, moments, timeline and tabs are reached without a pointer."""
    with open_page(browser, site) as opened:
        page = opened.go("/runs", ".runs tbody tr")
        page.keyboard.press("j")
        page.keyboard.press("x")
        assert page.inner_text(".selection-words") == "1 selected"
        page.keyboard.press("j")
        page.keyboard.press("x")
        page.keyboard.press("?")
        page.wait_for_selector(".keys[open]")
        page.keyboard.press("Escape")
        opened.go(f"/runs/{SHOP}", ".run-head")
        settle(opened)
        page.keyboard.press("]")
        page.keyboard.press("]")
        page.wait_for_function("() => location.hash.includes('at=')")
        page.keyboard.press("g")
        page.keyboard.press("ArrowDown")
        page.wait_for_selector('.tl-row[aria-selected="true"]')
        page.wait_for_selector(".details-words :has-text(' of ')")  # a moment, by its record
        assert "at=" in page.url
        page.keyboard.press("Escape")
        page.wait_for_function("() => !location.hash.includes('at=')")
        opened.check()


@pytest.mark.slow
def test_missing_code_is_said(browser: Any, tmp_path: Path) -> None:
    """A run whose flow is not loaded is read, and what needs its code names the command."""
    keep_shop(tmp_path)
    with serve(tmp_path, is_read_only=True) as server, open_page(browser, server.url) as opened:
        page = opened.go(f"/runs/{SHOP}?tab=why", ".run-head")
        settle(opened)
        assert "graphorch serve" in page.inner_text(".tab-panel")
        assert page.is_visible(".read-only")
        page.keyboard.press("2")
        page.wait_for_selector(".calls")


@pytest.mark.slow
def test_page_without_token_says_so(browser: Any, site: str) -> None:
    """Without the link of the server nothing is shown but what to do."""
    with open_page(browser, site) as opened:
        opened.page.goto(f"{site}#/runs")
        opened.page.wait_for_selector(".state")
        assert "graphorch serve" in opened.page.inner_text(".state")


@pytest.mark.slow
def test_second_tab_borrows_the_token(browser: Any, site: str) -> None:
    """A tab that is opened beside another one needs no link of its own."""
    with open_page(browser, site) as opened:
        opened.go("/runs", ".runs tbody tr")
        second = opened.page.context.new_page()
        second.goto(f"{site}#/runs/{SHOP}")
        second.wait_for_selector(".run-head h1")


@pytest.mark.slow
def test_large_run_is_shown_in_time(browser: Any, tmp_path: Path, record_property: Any) -> None:
    """10,000 activations: the browser needs little more for the picture than the server does."""
    flow = crawling()
    flow.run_sync(Sums(count=5_000), durable=str(tmp_path / "runs.sqlite"), run_id="large")
    with serve(tmp_path, flow) as server, open_page(browser, server.url) as opened:
        page = opened.go("/runs/large", ".run-head")
        settle(opened)  # the server has read the run once
        opened.go("/runs", ".runs tbody tr")
        page.evaluate("window.began = performance.now(); location.hash = '#/runs/large'")
        page.wait_for_selector(".picture-stage svg")
        seconds = page.evaluate("(performance.now() - window.began) / 1000")
        settle(opened)
        assert page.locator(".tl-row").count() < 100
        page.click(".tl-fold[data-fold]")
        page.wait_for_selector('.tl-row[aria-level="2"]')
        assert page.locator(".tl-row").count() < 100
        record_property("first_picture_seconds", seconds)
        print(f"\n10,000 activations: the picture came after {seconds:.2f} s")
        assert seconds < 5  # the machine may have other things to do
        opened.check()


@pytest.mark.slow
@pytest.mark.parametrize("is_long", [False, True])
def test_result_is_input_and_output(browser: Any, tmp_path: Path, is_long: bool) -> None:
    """A tab shows what went in and what came out, also of a run whose output comes by itself."""

    def leave_out(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, json=answer.json() | {"output_left_out": is_long})

    keep_shop(tmp_path)
    keep_shop(tmp_path, "failed-run", amount=50)
    with serve(tmp_path, shop()) as server, open_page(browser, server.url) as opened:
        opened.page.route(f"**/api/runs/{SHOP}", leave_out)
        page = opened.go(f"/runs/{SHOP}?tab=result", ".panel-section")
        output, given = page.locator(".panel-section").all_inner_texts()
        assert "reply" in output
        assert "tides" in given
        assert any(url.endswith("/output") for url in opened.requests) == is_long
        page = opened.go("/runs/failed-run?tab=result", ".panel-section")
        assert page.inner_text(".run-reason") in page.inner_text(".panel-section")
        opened.check()


class Down(Model):
    """A model that is away."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        """Fail as an endpoint that is away does."""
        raise Unreachable("it is down", model=request.model)


def test_decision_of_policy_is_shown(browser: Any, tmp_path: Path) -> None:
    """A call that a policy made says which targets there were, who was asked, and what came."""
    inner = fallback("the rest", [Target("steady", Model(), model="m")])
    policy = fallback("cheap first", [Target("cheap", Down(), model="m"), inner])
    keep_shop(tmp_path, client=policy)
    with serve(tmp_path, shop()) as server, open_page(browser, server.url) as opened:
        page = opened.go(f"/runs/{SHOP}?tab=calls", ".call")
        page.click(".decision summary >> nth=0")
        shown = page.inner_text(".decision-body >> nth=0")
        for words in ("cheap first", "cheap", "it is down", "the rest", "steady"):
            assert words in shown
        opened.check()
