"""What a server says of itself."""

from __future__ import annotations

import asyncio
from pathlib import Path

from graphorch.journal.address import parse_address
from graphorch.journal.postgres import setup
from graphorch.models.config.loader import read_config
from graphorch.models.config.router import Router
from graphorch.runs.clients import share_router
from graphorch.server.app import build_app
from graphorch.server.context import open_context
from tests.server.serving import Client, application, make_settings
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
            "endpoints": [],
            "policies": [],
        }

    asyncio.run(main())


def test_about_hides_password_of_database(database: str) -> None:
    """A journal in a database is named without its password."""
    setup.initialize(database)
    address = parse_address(database.replace("@", ":secret@", 1))
    assert address.has_password

    async def main() -> None:
        settings = make_settings(is_read_only=True)
        async with open_context(settings, address) as context:
            about = (await Client(build_app(context))("GET", "/api/about")).value
        assert about["journal_bytes"] is None
        assert about["journal"] == address.shown
        assert "secret" not in str(about)

    asyncio.run(main())


def test_about_names_endpoints_without_keys(tmp_path: Path) -> None:
    """Endpoints and policies are named, and neither an address nor a key is."""
    text = """
        [endpoints.desk]
        base_url = "https://desk.example/v1"
        key_env = "DESK_KEY"

        [policies.careful]
        kind = "fallback"
        targets = ["desk/small", "desk/large"]
    """
    config = tmp_path / "graphorch.toml"
    config.write_text(text)
    client = share_router(Router(read_config(config), environment={"DESK_KEY": "s3cret"}))

    async def main() -> None:
        async with application(tmp_path, shop(), options={"client": client}) as ask:
            answer = await ask("GET", "/api/about")
        assert answer.value["endpoints"] == ["desk"]
        assert answer.value["policies"] == ["careful"]
        assert b"s3cret" not in answer.body
        assert b"desk.example" not in answer.body

    asyncio.run(main())


def test_about_says_that_server_only_reads(tmp_path: Path) -> None:
    """A server without flows says that it only reads."""

    async def main() -> None:
        settings = make_settings(is_read_only=True)
        async with application(tmp_path, settings=settings) as ask:
            about = (await ask("GET", "/api/about")).value
        assert (about["read_only"], about["flows"]) == (True, [])

    asyncio.run(main())
