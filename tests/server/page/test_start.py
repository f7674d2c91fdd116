"""Runs that begin on the page, in a real browser."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.server.page.asking import build_orders
from tests.server.page.browser import needs_browser, open_page, serve

pytestmark = [needs_browser, pytest.mark.slow]
PLACE, READY = "/start/orders", ".start-go"


def test_double_click_starts_one_run(browser: Any, tmp_path: Path) -> None:
    """A mistake stands at its field; a double click begins one run, whose page opens."""
    with serve(tmp_path, build_orders()) as server, open_page(browser, server.url) as opened:
        page = opened.go(PLACE, READY)
        page.click("text=Start the run")
        page.wait_for_selector('[data-place="/title"] .field-problem:not([hidden])')
        page.fill('[data-place="/title"] textarea', "tides")
        page.dblclick("text=Start the run")
        page.wait_for_selector(".run-head")
        page.click("text=Runs")
        page.wait_for_selector(".runs tbody tr")
        assert page.locator(".runs tbody tr").count() == 1
        opened.check()


def test_form_and_json_are_the_same_value(browser: Any, tmp_path: Path) -> None:
    """What is typed in the form stands in the JSON and the other way round, without loss."""
    given = {
        "title": "tides",
        "copies": 1,
        "number": 123456789012345678901234567890,
        "price": "2.50",
        "due": None,
        "pet": {"kind": "dog", "name": "Rex"},
        "labels": {"__proto__": 1, "b": 2},
        "notes": ["", "two\nlines", "\u202eback"],
        "tree": {"label": "a", "children": [{"label": "b", "children": []}]},
    }
    with serve(tmp_path, build_orders()) as server, open_page(browser, server.url) as opened:
        page = opened.go(PLACE, READY)
        page.click("[data-mode=json]")
        page.fill(".json-text", json.dumps(given))
        page.click("[data-mode=fields]")
        page.fill('[data-place="/title"] textarea', "moon")
        page.select_option('[data-place="/pet"] select', label="Cat")
        page.select_option('[data-place="/pet"] select', label="Dog")
        assert page.input_value('[data-place="/pet/name"] textarea') == "Rex"
        page.click("[data-mode=json]")
        assert json.loads(page.input_value(".json-text")) == {**given, "title": "moon"}
        opened.check()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 2560])
@pytest.mark.parametrize(("place", "until"), [("/start", ".flow-card"), (PLACE, READY)])
def test_start_can_be_used_by_everybody(
    browser: Any, tmp_path: Path, theme: str, width: int, place: str, until: str
) -> None:
    """axe-core finds nothing to complain about, and nothing is wider than the window."""
    size = {"width": width, "height": 800}
    with (
        serve(tmp_path, build_orders()) as server,
        open_page(browser, server.url, color_scheme=theme, viewport=size) as opened,
    ):
        page = opened.go(place, until)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.find_axe_violations() == []
