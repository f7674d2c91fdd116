"""Hierarchy: a deep fault is named by its path, and a team keeps to its share."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Budget, Failed, Flow, Graph, Limits, NodeError, Request, RunEvent, agent, node
from graphorch.testing.virtual_clock import run_virtual
from tests.patterns.helpers import Models, codes, failure, metered


class Order(BaseModel):
    order: str


class Finding(BaseModel):
    finding: str = ""


class Other(BaseModel):
    other: str = ""


class Report(BaseModel):
    report: str = ""


class Level(Order, Finding, Other, Report): ...


@agent(output=Finding, model="vendor/count", max_tokens=50)
def count(o: Order) -> str:
    return f"Count {o.order}"


@node
def lead(o: Order) -> None: ...


@node
def sum_up(f: Finding, o: Other) -> Report:
    return Report(report=f"{f.finding}/{o.other}")


@node
def broken(o: Order) -> Other:
    raise RuntimeError("the shelf is empty")


@node
def fine(o: Order) -> Other:
    return Other(other="fine")


def house(worst: Any, *, shares: dict[str, float] | None = None) -> Flow[Order, Report, Level]:
    """Build three levels, with `worst` beside an agent in the innermost team.

    The house has the team `fulfilment`, which has the team `stock`.
    """

    def level(name: str) -> Graph[Level, Order, Report]:
        return Graph(name, Level, input=Order, output=Report)

    def to_order(o: Order) -> Order:
        return o

    stock = level("stock").hierarchy(lead, [count, worst], sum_up).build()
    middle = level("fulfilment")
    shelf = middle.sub("stock", stock, enter=to_order, leave=as_other)
    fulfilment = middle.hierarchy(lead, [count, shelf], sum_up).build()
    top = level("order")
    sales = top.sub("sales", stock_of_agents(), enter=to_order, leave=as_finding)
    work = top.sub("fulfilment", fulfilment, enter=to_order, leave=as_other)
    given = {sales: shares["sales"], work: shares["fulfilment"]} if shares else None
    return top.hierarchy(lead, [sales, work], sum_up, shares=given).build()


def as_other(r: Report) -> Other:
    return Other(other=r.report)


def as_finding(r: Report) -> Finding:
    return Finding(finding=r.report)


def stock_of_agents() -> Flow[Order, Report, Level]:
    return (
        Graph("agents", Level, input=Order, output=Report)
        .hierarchy(lead, [count, fine], sum_up)
        .build()
    )


def answer_one(request: Request) -> str:
    return "1"


def test_deep_fault_names_its_path() -> None:
    """A fault three levels deep names its path, where nested calls do not."""
    inner = Graph("inner", Level, input=Order, output=Report).chain(broken, sum_up).build()

    @node
    async def by_hand(o: Order) -> Other:
        return Other(other=(await inner.run(o)).output.report)

    plain = Graph("plain", Level, input=Order, output=Other).chain(by_hand).build()
    plain_error = failure(plain.run(Order(order="x"))).exceptions[0]
    assert isinstance(plain_error, NodeError)
    assert plain_error.path == "by_hand"
    events: list[RunEvent] = []
    failed = failure(
        house(broken).run(
            Order(order="x"),
            client=Models(answer_one),
            watch=[events.append],
            limits=Limits(grace=1),
        )
    )
    error = failed.exceptions[0]
    assert isinstance(error, NodeError)
    assert error.path == "fulfilment/stock/broken"
    assert len(failed.exceptions) == 1
    assert "fulfilment/stock/broken" in str(failed)
    assert "the shelf is empty" in str(failed)
    assert (
        next(event.path for event in events if isinstance(event, Failed))
        == "fulfilment/stock/broken"
    )


def test_calls_carry_level_and_department() -> None:
    """Every call has its level, department and parent, and the run id of the whole."""
    models = Models(answer_one)
    result = run_virtual(house(fine).run(Order(order="x"), client=models))
    assert result.output.report == "1/fine/1/1/fine"
    metadata = {request.metadata["path"]: request.metadata for request in models.requests}
    assert {path: (data["level"], data["department"]) for path, data in metadata.items()} == {
        "sales/count": ("2", "sales"),
        "fulfilment/count": ("2", "fulfilment"),
        "fulfilment/stock/count": ("3", "fulfilment/stock"),
    }
    assert {data["run_id"] for data in metadata.values()} == {result.run_id}
    steps = {step.path: step.activation for step in result.steps}
    assert metadata["fulfilment/stock/count"]["parent"] == steps["fulfilment/stock"]


@pytest.mark.parametrize("share", [0.2, 0.4, 0.6])
def test_team_keeps_to_its_share(share: float) -> None:
    """A team spends no more than its share of the budget."""

    @agent(output=Finding, model="vendor/loop", max_tokens=50)
    def more(o: Order) -> str:
        return "more"

    busy = Graph("busy", Level, input=Order, output=Report).chain(more, sum_up)
    busy.loop(sum_up, back_to=more, while_=lambda s: True, max_iterations=1000)
    top = Graph("order", Level, input=Order, output=Report)
    team = top.sub("busy", busy.build(), enter=lambda s: Order(order=s.order), leave=as_finding)
    flow = top.hierarchy(lead, [team, fine], sum_up, shares={team: share}).build()
    models = Models(answer_one, tokens=50)
    failed = failure(flow.run(Order(order="x"), client=metered(models), budget=Budget(usd=1.0)))
    spent = len(models.requests) * 51e-4
    assert failed.end_reason == "limit:usd"
    assert share - 0.05 <= spent <= share
    assert "The budget of 'team 'busy'' does not cover this call" in str(failed)


def test_nested_shares_multiply() -> None:
    """Shares of nested teams are parts of parts."""
    flow = house(fine, shares={"sales": 0.5, "fulfilment": 0.5})
    models = Models(answer_one)
    result = run_virtual(flow.run(Order(order="x"), client=metered(models), budget=Budget(usd=10)))
    assert {
        request.metadata["path"]: request.payer.name
        for request in models.requests
        if request.payer is not None
    } == {
        "sales/count": "team 'sales'",
        "fulfilment/count": "team 'fulfilment'",
        "fulfilment/stock/count": "team 'fulfilment'",
    }
    assert 0 < result.cost < 10


def test_shares_without_budget() -> None:
    """Without a budget, shares limit nothing."""
    models = Models(answer_one)
    run_virtual(
        house(fine, shares={"sales": 0.5, "fulfilment": 0.5}).run(Order(order="x"), client=models)
    )
    assert all(request.payer is None for request in models.requests)


def test_shares_are_checked() -> None:
    def graph() -> Graph[Level, Order, Report]:
        return Graph("order", Level, input=Order, output=Report)

    assert codes(
        graph().hierarchy(lead, [count, fine], sum_up, shares={count: 0.8, fine: 0.5}).build
    ) == {"HIERARCHY_SHARES"}
    assert codes(graph().hierarchy(lead, [count, fine], sum_up, shares={count: 0.0}).build) == {
        "HIERARCHY_SHARES"
    }
    assert "HIERARCHY_SHARES" in codes(
        graph().hierarchy(lead, [count], sum_up, shares={fine: 0.5}).build
    )


def test_hierarchy_builds_and_draws() -> None:
    """The hierarchy builds without a warning and can be drawn to every depth."""
    flow = house(fine)
    assert flow.warnings == ()
    assert flow.svg().count("stock") >= 1
    assert "stock" not in flow.svg(depth=0)
