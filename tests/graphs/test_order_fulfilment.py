"""The order book: three levels, computed figures, and failures that name their whole path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graphorch.cli.flow_loader import load_flow
from graphorch.testing.models import ScriptedModel, when

loaded = load_flow(str(Path(__file__).parents[2] / "graphs" / "order_fulfilment.py") + ":flow")
flow: Any = loaded.flow
sample: Any = loaded.sample


def book(**changes: Any) -> Any:
    return flow.plan.input(**{**sample.model_dump(), **changes})


def run(given: Any) -> tuple[Any, ScriptedModel]:
    model = ScriptedModel(when("Terms:", "Thank you.", repeats=True))
    return flow.run_sync(given, client=model), model


def test_order_passes_every_station() -> None:
    """Every order is picked, shipped, charged and answered."""
    result, model = run(sample)
    lines = result.output.day.splitlines()
    assert (
        lines[1]
        == "- 7001 Ines Aalto: 1 × tent-2, 2 × mat (parcel to FI, 3.8 kg); invoice EUR 427.00"
    )
    assert lines[2] == "  Thank you."
    assert len(model.requests) == len(sample.orders)


def test_stock_is_promised_once() -> None:
    """Missing pieces are named."""
    result, _ = run(sample)
    assert "1 × tent-4, 12 × mat, 8 × lamp; later 3 × tent-4, 4 × mat" in result.output.day
    for article, count in sample.stock.items():
        assert (
            sum(case.reserved.get(article, 0) for case in result.state.cases)
            + result.state.left[article]
            == count
        )


def test_failing_order_leaves_others() -> None:
    """It is reported."""
    orders = [order.model_dump() for order in sample.orders[:3]]
    orders[1]["lines"] = {"unicorn": 1}
    result, _ = run(book(orders=orders))
    assert (
        "- order 2 of the book FAILED: fulfilment/release: order 7002 has unknown articles: unicorn"
        in result.output.day
    )
    assert "- 7003 Tomas Ruiz" in result.output.day


def test_paths_name_all_three_levels() -> None:
    result, model = run(book(orders=[order.model_dump() for order in sample.orders[:2]]))
    paths = {step.path for step in result.steps}
    assert {
        "orders",
        "orders[0]/fulfilment",
        "orders[1]/fulfilment/stock",
        "orders[0]/fulfilment/carrier",
        "orders[1]/billing",
    } <= paths
    assert {request.metadata["path"] for request in model.requests} == {
        "orders[0]/care",
        "orders[1]/care",
    }


def test_low_stock_is_ordered() -> None:
    result, _ = run(book(orders=[sample.orders[0].model_dump()]))
    assert result.output.day.endswith(
        "To be ordered\n- tent-4: 1 left\n- pan: 0 left\n- ".removesuffix("\n- ")
    )


def test_offline_answers_quote_terms() -> None:
    day = flow.run_sync(sample).output.day
    assert "A gift or present travels without prices in the parcel." in day
