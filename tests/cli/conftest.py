"""Each test has a directory of its own, no endpoint, and leaves no module and no path behind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphorch.journal.sqlite.store import SqliteStore
from graphorch.models.config.sources import VARIABLES
from graphorch.runs.stores import VARIABLE
from tests.cli.flows import SHOP
from tests.cli.shell import Shell
from tests.trace.running import ran


@pytest.fixture
def shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Shell]:
    monkeypatch.chdir(tmp_path)
    for name in (*VARIABLES, VARIABLE, "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    path, modules = list(sys.path), set(sys.modules)
    yield Shell(tmp_path, capsys)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def shop_shell(shell: Shell) -> Shell:
    """A shell with `shop.py`, and three runs of it in the default journal: good, bad, far."""
    shell.write("shop.py", SHOP, preamble="")
    asyncio.run(write_shop_journal(shell.here / "graphorch.sqlite"))
    return shell


async def write_shop_journal(path: Path) -> None:
    store = await SqliteStore.open(path, sync="normal")
    await ran("good", 3, store=store, tags={"user": "ann"})
    await ran("bad", 12, store=store, tags={"user": "bob"})
    await ran("far", 200, store=store, tags={"user": "ann"})
    await store.close()
