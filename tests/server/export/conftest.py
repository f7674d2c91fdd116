"""The browser of the tests of the page, for files."""

from tests.server.page.conftest import browser

__all__ = ["browser"]
