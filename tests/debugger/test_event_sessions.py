"""Sessions over flows that wait for signals and times: sent, skipped, refused, taken back."""

from __future__ import annotations

from datetime import timedelta

import pytest

from graphorch import START, Expired, Graph, InputError
from graphorch.debugger.notebook.view import build_view
from tests.scenarios.events.shop import (
    Done,
    Order,
    Orders,
    Payment,
    State,
    first_flow,
    map_flow,
    paid_flow,
    remind,
    ship_paid,
    timer_flow,
)


def test_session_sends_signal() -> None:
    """A signal is taken by what waits for it, which is the next step; its rivals are withdrawn."""
    with first_flow().debug(Order()) as session:
        session.run_until()
        assert session.status == "waiting"
        assert [(wait.path, wait.signal) for wait in session.waits] == [
            ("paid", "paid"),
            ("later", ""),
        ]
        session.send("paid", Payment(amount=3))
        assert session.next == "paid"
        assert {(step.path, step.kind) for step in session.history[-2:]} == {
            ("approve", "cancelled"),
            ("later", "cancelled"),
        }
        session.run_until()
        assert session.result.output.done == ["shipped for 3"]


def test_session_skips_wait() -> None:
    """A timer fires when a person says so, however far away it is."""
    with first_flow().debug(Order()) as session:
        session.run_until()
        step = session.skip_wait("later")
        assert step is not None
        assert (step.path, step.kind, step.to) == ("later", "done", ("remind",))
        session.run_until()
        assert session.result.output.done == ["reminded of tea"]


def test_close_timer_waits_for_person() -> None:
    """No time passes by itself in a session: a timer that is over at once waits, too."""
    with timer_flow(0.001).debug(Order()) as session:
        step = session.step()
        assert (step.path, step.kind, session.status) == ("later", "waits", "waiting")
        session.skip_wait()
        session.run_until()
        assert session.status == "succeeded"


def test_skipped_signal_expires() -> None:
    """A signal that is not waited for forever expires when its wait is skipped."""
    with paid_flow(expires=60.0).debug(Order()) as session:
        session.run_until()
        step = session.skip_wait()
        assert step is not None
        assert (step.kind, type(step.failure)) == ("handled", Expired)
        session.run_until()
        assert session.result.output.done == ["reminded of tea"]


def test_wait_is_taken_back() -> None:
    """A step back undoes what a signal did, and another one may come."""
    with paid_flow().debug(Order()) as session:
        session.run_until()
        session.send("paid", {"amount": 3})
        session.step_back()
        assert session.status == "waiting"
        session.send("paid", Payment(amount=4))
        session.run_until()
        assert session.result.output.done == ["shipped for 4"]


def test_key_chooses_item() -> None:
    """Inside a map the key says which item takes the signal."""
    orders = Orders(orders=[Order(order="tea"), Order(order="jam")])
    with map_flow().debug(orders) as session:
        session.run_until()
        session.send("paid", Payment(amount=2), key="jam")
        assert session.next == "each[1]/paid"
        with pytest.raises(InputError, match="is not waited for any more"):
            session.send("paid", Payment(amount=2), key="plum")


def test_what_waits_is_explained() -> None:
    """A step that cannot be made says what is waited for, and which commands there are."""
    graph = Graph("both", State, input=Order, output=Done)
    paid = graph.signal("paid", Payment)
    later = graph.timer("later", after=timedelta(days=3))
    graph.chain(START, graph.first("decided", {paid: ship_paid, later: remind}))
    with graph.build().debug(Order()) as session:
        session.run_until()
        with pytest.raises(InputError) as caught:
            session.step()
        assert "'paid' waits for the signal 'paid'; 'later' waits for its time, 20" in str(
            caught.value
        )
        assert "Use send(…) or skip_wait(…)." in str(caught.value)
        with pytest.raises(InputError, match="Nothing at 'paid' waits for a time"):
            session.skip_wait("paid")
        with pytest.raises(InputError, match="Did you mean 'paid'"):
            session.send("payd", Payment())
        assert "it waits for 'paid', 'later'" in repr(session)


def test_page_has_forms_for_waits() -> None:
    """The page shows the fields of a signal, and that the time of a timer can come."""
    with first_flow().debug(Order()) as session:
        session.run_until()
        waits = [item for item in build_view(session)["questions"] if item["waits"]]
    signal, timer = waits
    assert (signal["path"], signal["signal"], signal["is_timed"]) == ("paid", "paid", False)
    assert [field["name"] for field in signal["fields"]] == ["amount"]
    assert (timer["path"], timer["is_timed"], timer["fields"]) == ("later", True, [])
    assert timer["text"].startswith("its time, 20")
