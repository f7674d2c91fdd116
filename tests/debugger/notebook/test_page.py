"""The stepper's script in headless Chromium, without a notebook around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from graphorch.debugger import to_html
from graphorch.debugger.notebook.page import read_script, read_style
from graphorch.debugger.notebook.view import build_panel, describe_lines, describe_nodes
from graphorch.models.offline.client import OfflineClient
from graphorch.runs.background_loop import background_loop
from tests.debugger.notebook.lab import CHROMIUM, FLAGS, needs_browser
from tests.debugger.stepping import AnySession, opened
from tests.scenarios.events.shop import Order, first_flow
from tests.trace.acting import SEND, Topic, desk

pytestmark = [needs_browser, pytest.mark.slow]

# A kernel that hears everything and says nothing, unless `answer` is called.
SILENT = """<!doctype html><meta charset="utf-8"><style>%s</style><body><div id="here"></div>
<script type="module">%s
const data = %s, heard = {};
window.sent = [];
window.answer = () => heard["change:panels"]();
const model = { get: (name) => data[name], on: (name, act) => { heard[name] = act; }, off() {},
                send: (message) => window.sent.push(message) };
stepper.render({ model, el: document.getElementById("here") });
</script>"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


def silent_page(session: AnySession) -> str:
    async def build() -> dict[str, Any]:
        return build_panel(session)

    own = {"name": "Session", "number": 0, "notice": "", "moved": None}
    data = {
        "panels": [{**background_loop().wait(build()), **own}],
        "nodes": describe_nodes(session.controller.plan),
        "lines": describe_lines(session.controller.plan),
    }
    script = read_script().replace("export default", "const stepper =")
    return SILENT % (read_style(), script, json.dumps(data).replace("<", "\\u003c"))


def test_silent_kernel_is_told(browser: Any) -> None:
    """A click that nobody answers is told after some seconds, and forgotten at the next answer."""
    page = browser.new_page()
    page.clock.install()
    with opened("chain") as session:
        page.set_content(silent_page(session))
    page.click("[data-command=step]")
    assert page.evaluate("sent") == [{"command": "step", "panel": 0}]
    assert not page.locator(".gs-dead").is_visible()
    page.clock.fast_forward(9000)
    assert "does not answer" in page.inner_text(".gs-dead")
    assert page.get_attribute("[data-command=step]", "aria-disabled") == "true"
    page.evaluate("answer()")
    assert not page.locator(".gs-dead").is_visible()
    assert page.get_attribute("[data-command=step]", "aria-disabled") == "false"
    page.close()


@pytest.mark.parametrize("width", [360, 1100])
def test_call_is_decided_on_the_page(browser: Any, width: int) -> None:
    """A call of a tool is shown with what it would be called with, and every decision is sent."""
    page = browser.new_page(viewport={"width": width, "height": 800})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    with desk().debug(Topic(), client=OfflineClient()) as session:
        session.step()
        page.set_content(silent_page(session))
    form = page.locator(f'[data-question="{SEND}"]')
    assert form.locator("textarea").input_value() == '{"to":"ann","body":"at noon"}'
    form.locator("[type=submit]").click()
    form.locator("textarea").fill('{"to": "eve", "body": "x"}')
    form.locator("[type=submit]").click()
    form.locator("input").fill("by hand")
    for decision in ("refuse", "answer"):
        form.locator(f"[data-decision={decision}]").click()
    sent = page.evaluate("sent")
    assert [(item["decision"], item["words"]) for item in sent] == [
        ("approve", ""),
        ("approve", ""),
        ("refuse", "by hand"),
        ("answer", "by hand"),
    ]
    assert [item["arguments"] for item in sent[:2]] == [None, '{"to": "eve", "body": "x"}']
    assert "r1/search#1" in page.inner_text(".gs-timeline")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert errors == []
    page.close()


def test_waits_have_forms_on_the_page(browser: Any) -> None:
    """A signal is sent with the values of its form, and the time of a timer comes by a button."""
    page = browser.new_page(viewport={"width": 360, "height": 800})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    with first_flow().debug(Order()) as session:
        session.run_until()
        page.set_content(silent_page(session))
    signal, timer = page.locator('[data-question="paid"]'), page.locator('[data-question="later"]')
    assert "paid waits for the signal 'paid'" in signal.inner_text()
    signal.locator("[name=amount]").fill("3")
    signal.locator("[type=submit]").click()
    assert timer.locator("[type=submit]").count() == 0
    timer.locator("[data-skip]").click()
    sent, skipped = page.evaluate("sent")
    assert (sent["command"], sent["signal"], sent["key"]) == ("signal", "paid", "")
    assert sent["values"]["amount"]["value"] == "3"
    assert skipped["command"] == "skip"
    assert errors == []
    page.close()


@pytest.mark.parametrize("name", ["asked", "mapped_flows", "sub_flows"])
@pytest.mark.parametrize("width", [360, 1100])
def test_export_is_dead_and_fits(browser: Any, tmp_path: Path, name: str, width: int) -> None:
    """An exported page has no forms or buttons that do nothing, names its run, and fits."""
    page = browser.new_page(viewport={"width": width, "height": 800})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    with opened(name) as session:
        session.run_until()
        to_html(session, tmp_path / "session.html")
        flow, run = session.flow, session.run_id
    page.goto((tmp_path / "session.html").as_uri())
    assert f"Session of {flow} · run {run}" in page.inner_text(".gs-head")
    dead = "form, input:not([type=search]), textarea, [data-command], [data-edit]"
    assert page.locator(dead).count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if name == "asked":
        assert "asks" in page.inner_text(".gs-question")
    if name == "mapped_flows":
        page.click("[data-map=each]")
        page.click("[data-item='0']")
        page.click(".gs-inner [data-at]")
        assert "each[0]/one" in page.inner_text(".gs-section-changed summary")
    assert errors == []
    page.close()


def test_picture_of_session_is_zoomed(browser: Any, tmp_path: Path) -> None:
    """The picture of a session is zoomed and searched by keys, beside the keys of its steps."""
    page = browser.new_page(viewport={"width": 1100, "height": 800})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    with opened("sub_flows") as session:
        session.run_until()
        to_html(session, tmp_path / "session.html")
        path = next(step.path for step in session.history)
    page.goto((tmp_path / "session.html").as_uri())
    level = page.locator(".gv-bar button").nth(1)
    page.locator(".gs-picture [tabindex='0']").first.focus()
    page.keyboard.press("0")
    page.keyboard.press("+")
    assert level.inner_text() == "125 %"
    page.keyboard.press("/")
    page.keyboard.type(path)
    assert page.locator(".gv-current").get_attribute("data-box") == path
    page.click(".gs-picture .gv-current")
    assert page.locator(".gs-selected").get_attribute("data-box") == path
    assert level.inner_text() == "125 %"
    assert errors == []
    page.close()
