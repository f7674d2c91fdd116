"""Schemathesis against a running server: what the document says is what the server does."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from graphorch.journal.sqlite.store import SqliteStore
from tests.mcp_server.serving import build_letters, build_plain, write
from tests.server.serving import TOKEN, journal_in, running
from tests.trace.flows import shop
from tests.trace.running import ran

# A value may fit its schema and still mean nothing: a node that the flow lacks, a cursor of another
# list. That is a problem with a status of its own, and is not a fault of the server.
CONFIGURATION = """
[checks]
use_after_free.enabled = false  # DELETE erases what a run holds; its hashes stay, and are shown
positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409", "410", "422", "429"]
"""


async def run_schemathesis(folder: Path, url: str, *options: str) -> tuple[int, str]:
    """Test a server by its document; return the exit code and what is printed."""
    configuration = folder / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(configuration),
        "run",
        f"{url}api/openapi.json",
        "--header",
        f"Authorization: Bearer {TOKEN}",
        "--seed",
        "1",
        "--no-color",
        *options,
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode()


STREAMS = ("--exclude-path-regex", "events$")  # they do not end by themselves


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["coverage", "fuzzing", "stateful"])
def test_server_does_as_documented(tmp_path: Path, phase: str) -> None:
    """All checks of schemathesis hold: statuses, types, schemas, headers, methods, no failures."""

    async def main() -> None:
        store = await SqliteStore.open(Path(journal_in(tmp_path).text), sync="normal")
        await ran("good", 3, store=store, tags={"user": "ann"})
        await ran("bad", 12, store=store, tags={"user": "bob"})
        await store.close()
        flows = [shop(), build_letters([]), build_plain(write)]
        async with running(tmp_path, *flows) as server:
            options = ("--phases", phase, "--max-examples", "20", *STREAMS)
            code, out = await run_schemathesis(tmp_path, server.url, *options)
            assert code == 0, out

    asyncio.run(main())
