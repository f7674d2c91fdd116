"""Tests of flows that wait: virtual days, and checks under many schedules."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import InputError, Limits, Wait
from graphorch.runs.result import Question, Result
from graphorch.testing import check_flow, run_virtual, virtual_now
from tests.scenarios.events.shop import (
    Order,
    Orders,
    Payment,
    Verdict,
    first_flow,
    loop_flow,
    map_flow,
    paid_flow,
    timer_flow,
)

DAY = 86_400.0


def pay(wait: Wait) -> BaseModel:
    return Payment(amount=len(wait.key))


def agree(question: Question) -> BaseModel:
    return Verdict(approved=True)


def test_days_pass_in_three_lines() -> None:
    """A timer of three days fires at once by the clock of the virtual loop."""
    options: dict[str, Any] = {"clock": virtual_now, "limits": Limits(waiting=None)}
    result = run_virtual(timer_flow(3 * DAY).run(Order(), **options))
    assert result.output.done == ["reminded of tea"]
    assert result.seconds == pytest.approx(3 * DAY, abs=1.0)


def test_run_that_returns_is_resumed_later() -> None:
    """A run that also waits for people returns, and goes on when its time has come."""
    flow = first_flow()

    async def wait_for_days() -> Result[Any, Any]:
        waiting = await flow.run(Order(), clock=virtual_now)
        assert waiting.due == pytest.approx(virtual_now() + 3 * DAY, abs=1.0)
        await asyncio.sleep(3 * DAY)
        return await flow.resume(waiting.run_id, clock=virtual_now)

    assert run_virtual(wait_for_days()).output.done == ["reminded of tea"]


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "journal"])
def test_checked_flow_gets_signals(durable: bool) -> None:
    """Signals reach each item of a map under many schedules, failures and cancellations."""
    orders = Orders(orders=[Order(order="tea"), Order(order="jam")])
    report = check_flow(map_flow(), orders, runs=20, signals=pay, durable=durable)
    assert report.is_confluent
    assert report.resumed > 0


def test_checked_first_takes_any_event() -> None:
    """Of several events any may come first, so the result is not compared, the promises are."""
    report = check_flow(first_flow(), Order(), runs=20, signals=pay, answers=agree)
    assert not report.is_confluent


def test_checked_timer_fires() -> None:
    """A timer fires by the virtual clock, however far away it is."""
    assert check_flow(timer_flow(9 * DAY), Order(), runs=12).is_confluent
    assert check_flow(loop_flow(2), Order(), runs=12, signals=lambda wait: Payment()).is_confluent


def test_missing_signals_are_explained() -> None:
    """Without a function for signals the message says what waits, and what to give."""
    with pytest.raises(InputError, match=r"'paid' waits for the signal 'paid'\. Give check_flow"):
        check_flow(paid_flow(), Order(), runs=1)
