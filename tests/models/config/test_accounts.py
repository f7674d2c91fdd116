"""The accounts of a run, as its configuration asks for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from graphorch.clock import Runtime
from graphorch.errors import JournalError
from graphorch.models.budgets.budget import Alert, Amount, Budget, CapReached
from graphorch.models.config.accounts import AccountFactory, utc_day
from graphorch.models.config.loader import parse_config
from graphorch.models.config.router import Router
from tests.models.virtual import run

CONFIG = parse_config(
    {
        "budgets": {
            "run": {"usd": 5, "at_cap": "route"},
            "node": {"usd": 2},
            "day": {"usd": 6},
            "tags": {"blog": {"calls": 3}},
        },
        "alerts": {"shares": [0.5]},
    }
)


def test_runs_share_budget_of_day() -> None:
    """Share the budget of a day between its runs, beside a budget for each run."""

    async def main(runtime: Runtime) -> None:
        alerts: list[Alert] = []
        bank = AccountFactory(config=CONFIG, clock=runtime.clock)
        first = bank.open_run("r1", on_alert=alerts.append)
        second = bank.open_run("r2")
        (await first.reserve(Amount(4))).settle(Amount(4))
        with pytest.raises(CapReached) as caught:
            await second.reserve(Amount(3))
        assert (caught.value.level, caught.value.at_cap) == ("day", "fail")
        assert [(alert.level, alert.share) for alert in alerts] == [("r1", 0.5), ("day", 0.5)]

    run(main)


def test_tag_counts_across_runs() -> None:
    """Count a tag in all runs that have it, and ignore unknown tags."""

    async def main(runtime: Runtime) -> None:
        bank = AccountFactory(config=CONFIG, clock=runtime.clock)
        for name in ("r1", "r2", "r3"):
            (await bank.open_run(name, tags=["blog", "other"]).reserve(Amount(0.1))).settle(
                Amount(0.1)
            )
        with pytest.raises(CapReached, match="'tag blog'"):
            await bank.open_run("r4", tags=["blog"]).reserve(Amount(0.1))
        (await bank.open_run("r5").reserve(Amount(0.1))).release()

    run(main)


def test_budget_of_caller_precedes_file() -> None:
    """Prefer the budget of the caller to that of the file; nodes have their own."""

    async def main(runtime: Runtime) -> None:
        bank = AccountFactory(config=CONFIG, clock=runtime.clock)
        account = bank.open_run("r", Budget(usd=3))
        assert account.left == Budget(usd=3)
        node = bank.open_node(account, "draft")
        assert node.left == Budget(usd=2)
        (await node.reserve(Amount(2))).settle(Amount(1.5))
        assert (node.left.usd, account.left.usd) == (0.5, 1.5)
        free = AccountFactory(config=parse_config({}))
        outer = free.open_run("free")
        assert bank.open_node(outer, "draft").left == Budget(usd=2)
        assert free.open_node(outer, "draft") is outer

    run(main)


def test_run_over_midnight_uses_new_day() -> None:
    """Charge a run over midnight to the budget of the new day."""

    async def main(runtime: Runtime) -> None:
        today = ["2026-11-25"]
        bank = AccountFactory(config=CONFIG, today=lambda: today[0], clock=runtime.clock)
        (await bank.open_run("r1").reserve(Amount(5))).settle(Amount(5))
        account = bank.open_run("r2")
        today[0] = "2026-11-26"
        (await account.reserve(Amount(4))).settle(Amount(4))

    run(main)


def test_utc_day_is_date() -> None:
    """Name the day by its date."""
    assert len(utc_day().split("-")) == 3


SPEND = """
import asyncio
from pathlib import Path
from graphorch.models.budgets.budget import Amount, CapReached
from graphorch.models.config.loader import read_config
from graphorch.models.config.router import Router

async def main():
    account = Router(read_config(Path("graphorch.toml"))).accounts.open_run("r")
    try:
        (await account.reserve(Amount(0.6))).settle(Amount(0.5))
        print("spent")
    except CapReached as error:
        print(error.level)

asyncio.run(main())
"""


def test_spending_is_kept_in_configured_file(
    tmp_path: Path,
) -> None:
    """Keep the spending of a day between processes, in the configured file."""

    def spend() -> str:
        return subprocess.run(
            [sys.executable, "-c", SPEND], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    file = tmp_path / "graphorch.toml"
    file.write_text("[budgets]\nkept = 'spend.db'\n[budgets.day]\nusd = 1.0\n", "utf-8")
    assert [spend(), spend()] == ["spent", "day"]
    file.write_text("[budgets.day]\nusd = 1.0\n", "utf-8")
    assert spend() == "spent", "without a file every process has a day of its own"


def test_invalid_spending_file_is_named(tmp_path: Path) -> None:
    """Name a file of spending that is not a database."""
    (tmp_path / "spend.db").write_text(
        "no database at all, and long enough to be read as one" * 40, "utf-8"
    )
    with pytest.raises(JournalError, match=r"spend\.db' cannot be kept"):
        _ = Router(
            parse_config({"budgets": {"kept": str(tmp_path / "spend.db"), "day": {"usd": 1}}})
        ).accounts
