"""What a server says of itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.server.serving import application, make_settings
from tests.trace.flows import shop


def test_about_names_journal_and_flows(tmp_path: Path) -> None:
    """The page learns which journal and flows it shows, and whether it may change anything."""

    async def main() -> None:
        async with application(tmp_path, shop()) as ask:
            answer = await ask("GET", "/api/about")
        assert answer.status == 200
        about = answer.value
        assert about.pop("journal_bytes") > 0
        assert about.pop("version")
        assert about == {
            "journal": str(tmp_path / "runs.sqlite"),
            "flows": ["order"],
            "read_only": False,
            "model": "",
        }

    asyncio.run(main())


def test_about_says_that_server_only_reads(tmp_path: Path) -> None:
    """A server without flows says that it only reads."""

    async def main() -> None:
        settings = make_settings(is_read_only=True)
        async with application(tmp_path, settings=settings) as ask:
            about = (await ask("GET", "/api/about")).value
        assert (about["read_only"], about["flows"]) == (True, [])

    asyncio.run(main())
