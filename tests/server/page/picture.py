"""The picture of the page in the README: `python -m tests.server.page.picture`.

An example flow runs offline into a journal of its own, `graphorch serve` shows it, and Chromium
takes the picture. Run it after a change that is seen, look at the result, and commit it.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from graphs.content_production import flow as content_production
from graphs.content_production import sample
from tests.server.page.browser import CHROMIUM, FLAGS, open_page, serve

ROOT = Path(__file__).parents[3]
PICTURE = ROOT / "graphs" / "page.png"
SIZE = {"width": 1280, "height": 860}
RUN = "harbour-article"


def keep_run(folder: Path) -> None:
    """Keep a run of an example flow, whose models the embedded tool stands for."""
    durable = str(folder / "runs.sqlite")
    content_production.run_sync(sample, durable=durable, run_id=RUN, tags={"desk": "news"})


def take_picture(path: Path) -> None:
    """Show a run in the page, and write what is seen as a PNG."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keep_run(folder)
        with serve(folder, content_production) as server, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            with open_page(browser, server.url, viewport=SIZE, color_scheme="light") as opened:
                page = opened.go(f"/runs/{RUN}?tab=conversation", ".run-head")
                page.wait_for_selector(".picture-stage svg")
                page.click('[data-box="review"]')
                page.wait_for_selector(".panel:not(:has(.loading)):not(.is-late) > *")
                page.wait_for_timeout(500)  # what fades in is seen
                page.screenshot(path=str(path))
            browser.close()


if __name__ == "__main__":
    take_picture(PICTURE)
    print(f"written: {PICTURE.relative_to(ROOT)}")
