"""The inbox in a real browser: questions are answered where they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from graphorch.models.offline.client import OfflineClient
from tests.server.asking import Topic, build_letters
from tests.server.page.asking import Order, build_orders
from tests.server.page.browser import needs_browser, open_page, serve
from tests.server.page.flows import MARKUP
from tests.trace.acting import Topic as DeskTopic
from tests.trace.acting import desk

pytestmark = needs_browser
PLACE = "/inbox"


def keep_order(folder: Path, run_id: str = "order") -> None:
    build_orders().run_sync(
        Order(title="tides"), durable=str(folder / "runs.sqlite"), run_id=run_id
    )


def keep_desk(folder: Path) -> None:
    desk().run_sync(
        DeskTopic(), durable=str(folder / "runs.sqlite"), run_id="desk", client=OfflineClient()
    )


def test_question_is_answered_in_the_inbox(browser: Any, tmp_path: Path) -> None:
    """A typed answer is sent; mistakes stand at their fields, and the run goes on."""
    keep_order(tmp_path)
    with serve(tmp_path, build_orders()) as server, open_page(browser, server.url) as opened:
        page = opened.go(PLACE, ".question")
        page.wait_for_selector("nav .count")
        page.click("text=Send this answer")
        page.wait_for_selector('[data-place="/approved"] .field-problem:not([hidden])')
        page.select_option('[data-place="/approved"] select', label="true")
        page.click("text=Send this answer")
        page.wait_for_selector(".question-over")
        assert "goes on" in page.inner_text(".question-over")
        page.wait_for_selector("text=Approve and run post")  # the gate of the node that acts
        opened.check()


@pytest.mark.slow
def test_second_answer_is_told_who_was_first(browser: Any, tmp_path: Path) -> None:
    """Of two tabs that answer at once, one goes on, and the other learns when the first came."""
    keep_order(tmp_path)
    with (
        serve(tmp_path, build_orders()) as server,
        open_page(browser, server.url) as first,
        open_page(browser, server.url) as second,
    ):
        for opened in (first, second):
            opened.go(PLACE, ".question")
            opened.page.select_option('[data-place="/approved"] select', label="true")
        for opened in (first, second):
            opened.page.evaluate("document.querySelector('.question-buttons .primary').click()")
        words = []
        for opened in (first, second):
            opened.page.wait_for_selector(".question-over")
            words.append(opened.page.inner_text(".question-over"))
        assert sum("goes on" in each for each in words) == 1
        assert sum("answered" in each and "first" in each for each in words) == 1


@pytest.mark.slow
def test_approval_shows_what_will_run(browser: Any, tmp_path: Path) -> None:
    """A call of a tool shows its arguments, which may be changed first, and its effect."""
    keep_desk(tmp_path)
    with serve(tmp_path, desk()) as server, open_page(browser, server.url) as opened:
        page = opened.go("/runs/desk", ".run-questions .question")
        card = page.locator(".question").first
        assert "once" in card.inner_text()
        assert '"to":"ann"' in card.locator(".will-run-arguments").inner_text()
        card.locator(".will-run-editor summary").click()
        card.locator(".json-text").fill('{"to": "ann", "body": "at one"')
        card.locator("text=Approve and run send").click()
        assert card.locator(".form-words").inner_text().startswith("A comma or }")
        card.locator(".json-text").fill('{"to": "ann", "body": "at one"}')
        card.locator("text=Approve and run send with your arguments").click()
        card.locator(".question-over").wait_for()
        refused = page.locator(".question").nth(1)
        refused.locator("textarea").last.fill("not to bob")
        refused.locator("text=Refuse").click()
        refused.locator(".question-over").wait_for()
        opened.check()


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280, 2560])
def test_inbox_can_be_used_by_everybody(
    browser: Any, tmp_path: Path, theme: str, width: int
) -> None:
    """axe-core finds nothing to complain about, and nothing is wider than the window."""
    keep_order(tmp_path)
    keep_desk(tmp_path)
    size = {"width": width, "height": 800}
    with (
        serve(tmp_path, build_orders(), desk()) as server,
        open_page(browser, server.url, color_scheme=theme, viewport=size) as opened,
    ):
        page = opened.go(PLACE, ".question")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.find_axe_violations() == []


@pytest.mark.slow
def test_values_of_a_question_are_never_markup(browser: Any, tmp_path: Path) -> None:
    """What is asked is shown as text; a question whose time is over cannot be answered any more."""
    flow = build_letters(expires=3.0)
    flow.run_sync(Topic(topic=MARKUP), durable=str(tmp_path / "runs.sqlite"))
    with serve(tmp_path, flow) as server, open_page(browser, server.url) as opened:
        page = opened.go(PLACE, ".question")
        assert MARKUP in page.inner_text(".question-text")
        page.select_option('[data-place="/approved"] select', label="true")
        page.wait_for_selector("text=expired")
        if page.locator("text=Send this answer").count():
            page.click("text=Send this answer")
        page.wait_for_selector(".question-over")
        assert page.evaluate("window.hit") is None
        opened.check()
