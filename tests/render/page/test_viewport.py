"""Zoom, fit, search and the map of a picture, in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from graphorch.render.layout.engine import layout
from graphorch.render.page import draw_page
from graphorch.render.picture.model import Picture
from graphorch.render.svg.document import draw
from tests.render.pictures import workflow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: chromium)"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that opens a picture's page, and fails if it raises an error."""
    errors: list[str] = []
    opened: list[Any] = []

    def opens(picture: Picture, width: int = 900) -> Any:
        file = tmp_path / "page.html"
        drawn = draw(picture, layout(picture, "builtin"))
        file.write_text(draw_page(drawn, picture.name), encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 600})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(file.as_uri())
        opened.append(page)
        return page

    yield opens
    for page in opened:
        page.close()
    assert errors == []


def zoom_of(page: Any) -> int:
    return int(page.locator(".gv-bar button").nth(1).inner_text().removesuffix(" %"))


def is_in_view(page: Any, box: str) -> bool:
    at = page.locator(f'[data-box="{box}"]').bounding_box()
    room = page.locator(".gv-stage").bounding_box()
    return (
        room["x"] <= at["x"] <= room["x"] + room["width"] - at["width"]
        and room["y"] <= at["y"] <= room["y"] + room["height"] - at["height"]
    )


def test_keys_zoom_and_fit(open_page: Callable[..., Any]) -> None:
    """Keys zoom, fit and restore the original size; Ctrl and the wheel zoom at the pointer."""
    page = open_page(workflow(8))
    assert zoom_of(page) == 100
    page.keyboard.press("a")
    fitted = zoom_of(page)
    assert fitted < 40
    assert is_in_view(page, "START")
    assert is_in_view(page, "END")
    page.keyboard.press("+")
    assert zoom_of(page) == pytest.approx(fitted * 1.25, abs=1)
    page.keyboard.press("0")
    assert zoom_of(page) == 100
    page.mouse.move(400, 300)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.wait_for_function("document.querySelectorAll('.gv-bar button')[1].textContent != '100 %'")
    assert zoom_of(page) > 100


@pytest.mark.parametrize("width", [900, 360])
def test_search_goes_to_boxes(open_page: Callable[..., Any], width: int) -> None:
    """A search marks the boxes that it finds, goes to them by Enter, or says there is none."""
    page = open_page(workflow(8), width)
    page.keyboard.press("/")
    page.keyboard.type("merge_")
    assert page.locator("output").inner_text() == "1 of 8"
    for _ in range(7):
        page.keyboard.press("Enter")
    assert page.locator("output").inner_text() == "8 of 8"
    assert is_in_view(page, "team_7/merge")
    page.keyboard.press("Enter")
    assert page.locator("output").inner_text() == "1 of 8"
    page.keyboard.press("Shift+Enter")
    assert page.locator(".gv-current").get_attribute("data-box") == "team_7/merge"
    page.keyboard.type("x")
    assert page.locator("output").inner_text() == "no box"
    page.keyboard.press("Escape")
    assert page.locator(".gv-hit").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_map_leads_through_picture(open_page: Callable[..., Any]) -> None:
    """The map shows what is seen and goes where it is pressed; it is away where all is seen."""
    page = open_page(workflow(8))
    room = page.locator(".gv-map").bounding_box()
    before = page.locator(".gv-seen").get_attribute("y")
    assert page.locator(".gv-box").count() == len(workflow(8).boxes)
    page.mouse.click(room["x"] + room["width"] / 2, room["y"] + room["height"] - 2)
    page.wait_for_function(f"document.querySelector('.gv-seen').getAttribute('y') != {before!r}")
    page.mouse.move(300, 300)
    page.mouse.down()
    page.mouse.move(300, 450)
    page.mouse.up()
    dragged = page.locator(".gv-stage").evaluate("stage => stage.scrollTop")
    assert dragged > 1000
    page.keyboard.press("a")
    assert not page.locator(".gv-map").is_visible()
