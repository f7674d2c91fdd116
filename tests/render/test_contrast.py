"""Words can be read on whatever lies below them, measured in a real browser in both themes."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from graphorch.debugger import to_html
from graphorch.graph.plan import Plan
from graphorch.render.heat_map import Heat, difference_map, heat_map
from graphorch.render.layout.engine import layout
from graphorch.render.page import draw_page
from graphorch.render.picture.model import Picture
from graphorch.render.plan_picture import draw_plan
from graphorch.render.svg.document import draw
from graphorch.render.timeline import Bar, timeline
from graphorch.trace.conversation.builder import Conversation
from graphorch.trace.conversation.html import format_page
from tests.debugger.notebook.test_export import evil
from tests.render.pictures import company, essay, overlay_of, supervisor, support
from tests.trace.running import conversation, ran

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LEAST = 4.5  # WCAG 2.2 AA for text

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (Debian: chromium)"),
]

MEASURE = Path(__file__).with_name("contrast.js").read_text("utf-8")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def draw_picture(plan: Plan) -> str:
    picture = draw_plan(plan)
    return draw(picture, layout(picture, "builtin"))


def draw_run(plan: Plan) -> str:
    picture = draw_plan(plan)
    overlay = overlay_of(picture)
    return draw(picture, layout(picture, "builtin", overlay=overlay), overlay=overlay)


def draw_picture_page(plan: Plan) -> str:
    return draw_page(draw_picture(plan), "essay")


def heat_all(picture: Picture, visits: int) -> dict[str, Heat]:
    boxes = [box.id for box in picture.boxes]
    return {id_: Heat(visits, 0.01 * at, 0.1, 0.2, 0.1 * at) for at, id_ in enumerate(boxes, 1)}


def draw_heat() -> str:
    picture = draw_plan(support())
    return heat_map(picture, heat_all(picture, 2), "cost", title="7 runs", engine="builtin")


def draw_difference() -> str:
    picture = draw_plan(support())
    before, after = heat_all(picture, 1), heat_all(picture, 2)
    for side, taken in ((before, slice(0, 6, 2)), (after, slice(1, 6, 2))):
        for id_ in list(side)[taken]:
            del side[id_]
    return difference_map(picture, before, after, title="a against b", engine="builtin")


def draw_bars() -> str:
    statuses = ("done", "running", "waiting", "failed", "not_reached")
    bars = [
        Bar(name, "", f"a bar that is {name}", at, at + 9.0, name)
        for at, name in enumerate(statuses)
    ]
    return timeline(bars, name="run", title="all kinds")


def write_session() -> str:
    with evil() as session:
        return to_html(session)


async def talk_about(amount: int) -> Conversation:
    return await conversation(await ran(amount=amount))


def write_conversation() -> str:
    # a thread of its own: the browser's driver has an event loop in this one
    with ThreadPoolExecutor(1) as thread:
        talk = thread.submit(asyncio.run, talk_about(3)).result()
    return format_page(talk.trace, talk.turns)


PAGES = {
    "graph": lambda: draw_picture(support()),
    "sub-flows": lambda: draw_picture(company()),
    "page": lambda: draw_picture_page(support()),
    "run": lambda: draw_run(essay()),
    "run of many": lambda: draw_run(supervisor()),
    "heat": draw_heat,
    "difference": draw_difference,
    "timeline": draw_bars,
    "session": write_session,
    "conversation": write_conversation,
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page_name", PAGES)
def test_words_can_be_read(browser: Any, page_name: str, scheme: str) -> None:
    """Every word of a picture or page has a contrast of at least 4.5 to what lies below it."""
    page = browser.new_page(color_scheme=scheme, viewport={"width": 1300, "height": 900})
    page.set_content(PAGES[page_name](), wait_until="load")
    measured = page.evaluate(MEASURE)
    page.close()
    assert len(measured) > 5
    assert [text for text in measured if text[1] < LEAST] == []


def test_unreadable_words_are_found(browser: Any) -> None:
    """The program that measures finds grey on red, through a half transparent shape."""
    page = browser.new_page(color_scheme="light")
    page.set_content(
        '<svg width="200" height="50"><rect width="200" height="50" fill="#fff"/>'
        '<rect width="200" height="50" fill="rgba(220,38,38,.55)"/>'
        '<text x="9" y="30" fill="#475569">hot</text></svg><p style="color:#999">pale</p>'
    )
    found = {text: round(ratio, 1) for text, ratio, *_ in page.evaluate(MEASURE)}
    page.close()
    assert found == {"hot": 3.0, "pale": 2.8}
