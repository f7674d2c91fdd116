"""The order of tickets waits, reminds, asks, and takes back what it did."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from graphorch import Approval, InputError
from graphorch.cli.flow_loader import load_flow
from graphorch.journal.memory import MemoryStore

GRAPH = Path(__file__).parents[2] / "graphs" / "ticket_order.py"
DAY = 86_400.0
YES = Approval(approved=True)


class Box:
    """A run of the example on a clock of its own, and the lines of its box office."""

    def __init__(self, folder: Path) -> None:
        self.loaded = load_flow(str(GRAPH))
        self.flow, self.now = self.loaded.flow, 1_000.0
        self.store, self._lines = MemoryStore(), folder / "box_office.txt"
        self.options: dict[str, Any] = {"durable": self.store, "clock": lambda: self.now}

    async def order(self) -> Any:
        return await self.flow.run(self.loaded.sample, run_id="r", **self.options)

    async def pay(self, amount: float) -> Any:
        payment = self.flow.plan.signals["paid"].value(amount=amount)
        return await self.flow.send("r", "paid", payment, **self.options)

    async def let_pass(self, days: float) -> Any:
        self.now += days * DAY + 60.0
        return await self.flow.resume("r", **self.options)

    def read_lines(self) -> list[str]:
        """Return what happened outside, without its keys."""
        return [line.partition("  [")[0] for line in self._lines.read_text().splitlines()]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    monkeypatch.setenv("BOX_OFFICE", str(tmp_path / "box_office.txt"))
    return Box(tmp_path)


def test_paid_order_is_issued_after_approval(box: Box) -> None:
    """A payment before any reminder leads to a person, and then to the tickets."""

    async def main() -> None:
        waiting = await box.order()
        assert [wait.path for wait in waiting.waits] == ["paid", "later"]
        assert waiting.due == pytest.approx(box.now + 3 * DAY, abs=60.0)
        asked = await box.pay(90)
        assert asked.questions[0].expires == pytest.approx(box.now + 2 * DAY, abs=60.0)
        done = await box.flow.answer("r", "issue", YES, **box.options)
        assert done.output.outcome.startswith("tickets for 2 seats for Ada, 90.00 of 90.00")
        assert (await box.flow.replay("r", durable=box.store)).output == done.output

    asyncio.run(main())
    assert box.read_lines() == [
        "Ada: 2 seats reserved",
        "Ada: 90.00 received",
        "tickets issued: 2 seats for Ada",
    ]


def test_unpaid_order_is_given_back(box: Box) -> None:
    """Two reminders, three days apart, and then the seats are free; a payment is too late then."""

    async def main() -> None:
        await box.order()
        assert (await box.let_pass(3)).status == "waiting"
        done = await box.let_pass(3)
        assert done.output.outcome == "not paid in time: 2 seats for Ada given back"
        with pytest.raises(InputError):
            await box.pay(90)

    asyncio.run(main())
    assert box.read_lines()[1:] == [
        "Ada: reminder 1 of 2",
        "Ada: reminder 2 of 2",
        "Ada: 2 seats are free again",
    ]


def test_reminded_customer_pays(box: Box) -> None:
    """A payment after the first reminder counts as well."""

    async def main() -> None:
        await box.order()
        await box.let_pass(3)
        await box.pay(90)
        done = await box.flow.answer("r", "issue", YES, **box.options)
        assert done.state.reminders == 1
        assert done.status == "succeeded"

    asyncio.run(main())


@pytest.mark.parametrize("by", ["refusal", "silence"])
def test_unapproved_order_is_paid_back(box: Box, by: str) -> None:
    """Whoever refuses the tickets, or does not answer in two days, has the money paid back."""

    async def main() -> None:
        await box.order()
        await box.pay(90)
        if by == "refusal":
            no = Approval(approved=False, reason="known fraud")
            done = await box.flow.answer("r", "issue", no, **box.options)
        else:
            done = await box.let_pass(2)
        kind = "Rejected" if by == "refusal" else "Expired"
        assert done.output.outcome == f"90.00 paid back ({kind})"

    asyncio.run(main())
    assert box.read_lines()[2:] == ["Ada: 2 seats are free again", "Ada: 90.00 paid back"]


def test_cancelled_order_is_taken_back(box: Box) -> None:
    """A cancellation takes back what was done, the last first, each once."""

    async def main() -> None:
        await box.order()
        await box.pay(90)
        await box.flow.cancel("r", durable=box.store)
        assert (await box.store.read_head("r")).status == "cancelled"

    asyncio.run(main())
    assert box.read_lines()[2:] == ["Ada: 90.00 paid back", "Ada: 2 seats are free again"]
