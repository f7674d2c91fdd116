"""`graphorch conversation`: runs as conversations, and their difference."""

from __future__ import annotations

import asyncio
import json

from graphorch.journal.records import NewRun
from graphorch.journal.sqlite.store import SqliteStore
from tests.cli.shell import Shell, run_program
from tests.trace.running import ran


def test_conversation_in_every_format(shop_shell: Shell) -> None:
    """Text, JSON, HTML, the difference of two runs, and one node only."""
    assert (
        "plan → openai/gpt-5" in shop_shell("conversation", "last").out
        or "plan → openai/gpt-5" in shop_shell("conversation", "good").out
    )
    assert (
        len(json.loads(shop_shell("conversation", "good", "--format", "json").out)["turns"]) == 13
    )
    assert shop_shell("conversation", "good", "--format", "html", "-o", "talk.html").code == 0
    assert (shop_shell.here / "talk.html").read_text().startswith("<!doctype html>")
    assert "+→ fulfilment/stock/reorder" in shop_shell("conversation", "good", "far", "--diff").out
    assert "ended" in shop_shell("conversation", "good", "--follow").out
    only = shop_shell("conversation", "good", "--node", "fulfilment/stock").out
    assert "look" in only
    assert "gpt-5" not in only


def test_follow_ends_with_run(shop_shell: Shell) -> None:
    """`--follow` prints turns of a run that another process executes, until it ends."""

    async def main() -> None:
        path = shop_shell.here / "live.db"
        store = await SqliteStore.open(path, sync="normal")
        await store.create(NewRun("live", "order", "x", 1))
        await store.claim("live", "me", ttl=60)
        follower = asyncio.create_task(
            run_program("conversation", "live", "--follow", "--db", "live.db", here=shop_shell.here)
        )
        other = await ran("other", store=store)
        lease = await store.claim("live", "me", ttl=60)
        await store.append(
            lease, (await other.load("other")).records, expected_last_seq=0, status="succeeded"
        )
        ended = await follower
        await store.close()
        assert ended.code == 0
        assert "plan → openai/gpt-5" in ended.out
        assert "run live of 'order': succeeded" in ended.out

    asyncio.run(main())
