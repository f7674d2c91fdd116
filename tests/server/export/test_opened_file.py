"""The file of a run in a real browser, opened from the disk."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tests.server.export.exporting import check_alone, open_file, wait_for_run, write_file
from tests.server.page.browser import needs_browser
from tests.server.page.flows import MARKUP, Sums, crawling, hostile
from tests.server.page.test_page import HOSTILE, SHOP, TABS, keep_hostile, keep_shop
from tests.trace.flows import shop

pytestmark = [needs_browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("journal")
    keep_shop(folder)
    keep_hostile(folder)
    return folder


@pytest.fixture(scope="module")
def file(folder: Path) -> Path:
    return write_file(folder, SHOP, shop())


@pytest.fixture(scope="module")
def hostile_file(folder: Path) -> Path:
    return write_file(folder, HOSTILE, hostile())


def test_file_is_looked_into(browser: Any, file: Path) -> None:
    """Picture, timeline, selection, moments, heat and critical path work without a server."""
    with open_file(browser, file) as opened:
        page = opened.page
        assert "This is a copy of a run as of" in page.inner_text(".run-head")
        assert page.locator("header nav, .back, .run-actions button").count() == 0
        now = page.inner_html(".picture-stage")
        page.focus('[data-box="fulfilment/check"]')
        page.keyboard.press("o")  # folding is the server's
        assert "closed=" not in page.url
        page.click('[data-box="answer"]')
        page.wait_for_selector('.details-words h2:has-text("answer")')
        page.keyboard.press("[")
        page.wait_for_function(
            "before => document.querySelector('.picture-stage').innerHTML "
            "!== before && location.hash.includes('at=')",
            arg=now,
        )
        page.keyboard.press("c")
        page.wait_for_selector(".tl-row.is-critical, .is-critical")
        page.select_option(".heats", "visits")
        page.keyboard.press("Escape")
        page.wait_for_selector("h2:has-text('As copied')")
        check_alone(opened, file)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("tab", TABS)
def test_file_can_be_used_by_everybody(
    browser: Any, file: Path, tab: str, width: int, theme: str
) -> None:
    """axe-core finds nothing in either theme, and no page is wider than its window."""
    size = {"width": width, "height": 800}
    with open_file(browser, file, f"?tab={tab}", color_scheme=theme, viewport=size) as opened:
        opened.page.wait_for_timeout(400)  # what fades in is seen
        assert opened.find_axe_violations() == []
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.page.get_attribute("html", "data-theme") == theme
        check_alone(opened, file)


@pytest.mark.parametrize("tab", TABS)
def test_values_are_never_markup(browser: Any, hostile_file: Path, tab: str) -> None:
    """Names and values that look like markup are text: nothing runs, and nothing is asked for."""
    with open_file(browser, hostile_file, f"?tab={tab}") as opened:
        page = opened.page
        for _ in range(2):  # what is inside of an opened part opens, too
            page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
            page.wait_for_timeout(300)
        page.hover("main")
        assert MARKUP in page.inner_text("body")
        assert page.title().startswith(MARKUP)
        assert page.evaluate("window.hit") is None
        assert page.locator("main img, main iframe, main a[href^=java]").count() == 0
        check_alone(opened, hostile_file)


def test_long_text_is_shown_whole(browser: Any, hostile_file: Path) -> None:
    """A long text of a record opens to all of its parts."""
    with open_file(browser, hostile_file, "?tab=journal") as opened:
        page = opened.page
        page.click(".record >> nth=0")
        page.click(".record >> nth=0 >> text=Read all of it")
        page.wait_for_function(
            "() => [...document.querySelectorAll('.record pre.is-whole')]"
            ".some(pre => pre.textContent.length >= 1_000_000)"
        )
        check_alone(opened, hostile_file)


def test_other_places_lead_to_the_run(browser: Any, file: Path) -> None:
    """An address of another page of the server shows the one run that there is."""
    with open_file(browser, file) as opened:
        opened.page.evaluate("location.hash = '#/runs/other'")
        opened.page.wait_for_function(f"() => location.hash === '#/runs/{SHOP}'")
        opened.page.goto("about:blank")
        opened.page.goto(file.as_uri())  # as a reader opens it
        wait_for_run(opened)
        check_alone(opened, file)


def test_nothing_can_be_asked_for(browser: Any, file: Path) -> None:
    """The content policy stops requests and scripts, whatever gets into the page."""
    with open_file(browser, file) as opened:
        page = opened.page
        page.evaluate("""() => {
          const image = new Image();
          image.src = "https://elsewhere.example/track.png";
          const script = document.createElement("script");
          script.textContent = "window.hit = 1";
          document.body.append(image, script);
          fetch("https://elsewhere.example/").catch(() => {});
        }""")
        page.wait_for_function("() => window.violations.length >= 3")
        assert page.evaluate("window.hit") is None


def test_file_inside_of_another_page_works(browser: Any, file: Path, tmp_path: Path) -> None:
    """A viewer that keeps nothing for the file, as a sandboxed frame, shows it all the same."""
    frame = tmp_path / "viewer.html"
    frame.write_text(
        f'<!doctype html><iframe sandbox="allow-scripts" src="{file.as_uri()}" '
        'width="1200" height="700"></iframe>'
    )
    page = browser.new_page()
    page.goto(frame.as_uri())
    inner = page.frame_locator("iframe")
    inner.locator(".picture-stage svg").wait_for()
    inner.locator('[data-box="plan"]').click()
    inner.locator('.details-words h2:has-text("plan")').wait_for()
    page.close()


def test_large_run_opens_in_time(browser: Any, tmp_path: Path, record_property: Any) -> None:
    """10,000 activations: a file of some megabytes, which says what it lacks and opens at once."""
    flow = crawling()
    flow.run_sync(Sums(count=5_000), durable=str(tmp_path / "runs.sqlite"), run_id="large")
    file = write_file(tmp_path, "large", flow)
    began = time.perf_counter()
    with open_file(browser, file, "?at=9") as opened:
        seconds = time.perf_counter() - began
        page = opened.page
        megabytes = file.stat().st_size / 1e6
        record_property("megabytes", megabytes)
        record_property("opened_seconds", seconds)
        print(f"\n10,000 activations: {megabytes:.1f} MB, opened in {seconds:.2f} s")
        assert "What is not in it (3)" in page.inner_text(".copy-note")
        assert "As of the end" in page.inner_text(".picture-words")
        assert "has 9,999" in page.inner_text(".tab-panel")
        page.click(".tl-fold[data-fold]")
        page.wait_for_selector('.tl-row[aria-level="2"]')
        for tab in ("3", "5"):
            page.keyboard.press(tab)
            page.click(".tab-panel button:has-text('More')")
        assert megabytes < 30
        assert seconds < 10  # the machine may have other things to do
        check_alone(opened, file)
