"""Commands that analyse runs: what all of them refuse, and how they explain it."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest

from graphorch.journal.records import NewRun
from graphorch.journal.sqlite.store import SqliteStore
from tests.cli.flows import SHOP
from tests.cli.shell import Shell

COMMANDS = ("stats", "conversation", "why", "critical", "timeline", "heat")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_exit_codes(shell: Shell, command: str) -> None:
    """The help of each command says what its exit codes mean."""
    assert "Exit codes: 0" in " ".join(shell(command, "--help").out.split())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (("stats", "cost"), "no statistics of 'cost'"),
        (("stats", "--by", "model"), "need one topic"),
        (("stats", "calls", "--where", "model"), "not KEY=VALUE"),
        (("stats", "calls", "--since", "soon"), "not a time"),
        (("stats", "calls", "--since", "1h", "--until", "2020-01-01"), "is not after"),
        (("stats", "calls", "--compare"), "Give --since"),
        (("stats", "calls", "--format", "xml"), "--format xml"),
        (("stats", "runs", "--by", "model"), "Runs have no 'model'"),
        (("conversation", "nope"), "The journal has no run 'nope'"),
        (("conversation", "good", "far"), "--diff compares two runs"),
        (
            ("conversation", "good", "--follow", "--format", "json"),
            "--follow shows one run as text",
        ),
        (("conversation", "good", "--node", "nope"), "Nothing was said at 'nope'"),
        (("why", "good"), "FLOW is missing: 'good' is neither"),
        (("why", "shop.py", "good", "nope"), "has no node 'nope'"),
        (("why", "shop.py", "plan"), "'plan' is a node: write `graphorch why shop.py last plan`."),
        (("why", "shop.py", "count"), "'count' is a node: write"),
        (("answer", "shop.py"), "RUN is missing. Write `graphorch answer shop.py RUN …`"),
        (("why", "shop.py", "lst"), "no run 'lst'. Did you mean 'last'?"),
        (("why", "shop.py", "good", "plan#7"), "'plan' ran 1 time"),
        (("heat", "shop.py", "--against", "good"), "Name both"),
        (("timeline", "../../etc/passwd"), "The journal has no run"),
    ],
)
def test_wrong_use_is_explained(
    shop_shell: Shell, arguments: tuple[str, ...], message: str
) -> None:
    """Options, runs and nodes that do not fit are one message, without a traceback."""
    ended = shop_shell(*arguments)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err


def test_missing_and_empty_journal_are_explained(shell: Shell) -> None:
    """No command creates a journal that is missing; an empty one holds no runs."""
    shell.write("shop.py", SHOP, preamble="")
    for arguments in (
        ("stats",),
        ("conversation", "last"),
        ("why", "shop.py", "last"),
        ("timeline", "last"),
    ):
        ended = shell(*arguments)
        assert ended.code == 2
        assert "There is no journal" in ended.err
    assert not list(shell.here.glob("*.sqlite"))
    (shell.here / "graphorch.sqlite").touch()
    assert "nothing in this window" in shell("stats").err
    assert "holds no run yet" in shell("conversation", "last").err
    assert shell("heat", "shop.py").code == 0


def test_crashed_and_erased_runs_are_explained(shop_shell: Shell) -> None:
    """A crashed run is shown as far as it got; of an erased one there is nothing to show."""
    raw = sqlite3.connect(shop_shell.here / "graphorch.sqlite")

    async def crash() -> None:
        store = await SqliteStore.open(shop_shell.here / "graphorch.sqlite", sync="normal")
        records = (await store.load("good")).records
        head = (await store.load("good")).head
        await store.create(NewRun("half", head.flow, head.fingerprint, head.format))
        lease = await store.claim("half", "me", ttl=60)
        await store.append(lease, records[:1], expected_last_seq=0)
        await store.release(lease)
        await store.erase("far")
        await store.close()

    asyncio.run(crash())
    raw.close()
    assert "its process is gone; under way were plan" in shop_shell("why", "shop.py", "half").out
    assert "crashed" in shop_shell("conversation", "half").out
    assert "has crashed: its process is gone" in shop_shell("conversation", "half", "--follow").err
    assert shop_shell("timeline", "half").code == 0
    assert "was erased" in shop_shell("conversation", "far").err
    assert json.loads(shop_shell("stats", "runs", "--by", "status", "--format", "json").out)
