"""A browser for the tests of a module: its driver has a loop in this thread as long as it runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.server.page.browser import CHROMIUM, FLAGS


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()
