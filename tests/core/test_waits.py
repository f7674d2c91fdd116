"""Signals and times reach what waits for them, in the order in which they come."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from graphorch import START, Flow, Graph
from graphorch.core.events import (
    NodeFailed,
    NodeSucceeded,
    Resumed,
    SignalReceived,
    StopRequested,
    WaitBegan,
    WaitUntil,
)
from graphorch.core.tree import Activation, EventWait, Status
from graphorch.core.waits import list_waits
from tests.core.drill import Drill, Log, State, step


def wait_flow(*, keep: int = 1, first: bool = False) -> Flow[Any, Any, Any]:
    """Build a flow that waits for a signal and a timer, of which perhaps the first counts."""
    graph = Graph("waits", State)
    paid = graph.signal("paid", Log, keep=keep)
    later = graph.timer("later", after=timedelta(hours=1))
    ship: Any = step("ship")
    remind: Any = step("remind")
    if first:
        graph.chain(START, graph.first("decided", {paid: ship, later: remind}))
    else:
        graph.chain(START, [paid, later])
        graph.chain(paid, ship).chain(later, remind)
    return graph.build()


def begin(flow: Flow[Any, Any, Any], **options: Any) -> Drill:
    drill = Drill(flow.plan, **options)
    if "decided" in drill.running:
        job = drill.activation("decided")
        drill.jobs.remove(job)
        drill.tell(NodeSucceeded(job, {}))
    return drill


def wait(drill: Drill, path: str, due: float | None = None) -> Activation:
    """Have a node begin to wait, as its attempt does."""
    activation = drill.activation(path)
    drill.jobs.remove(activation)
    signal = "" if path == "later" else activation.step.name
    drill.tell(WaitBegan(activation, EventWait(signal, "", due)))
    return activation


def take(drill: Drill, path: str) -> None:
    """End a node that was given a signal, as its attempt does."""
    activation = drill.activation(path)
    drill.jobs.remove(activation)
    assert activation.received is not None
    update = activation.step.writes[0].update(activation.received[0])
    drill.tell(NodeSucceeded(activation, update))


def test_signal_wakes_what_waits_for_it() -> None:
    """A signal makes the activation run that waits for it, and its value is committed."""
    drill = begin(wait_flow())
    paid = wait(drill, "paid")
    assert paid.status is Status.AWAITING_EVENT
    drill.tell(SignalReceived("paid", "", Log(log=["money"])))
    take(drill, "paid")
    drill.finish("ship")
    assert drill.done == ["paid", "ship"]


def test_run_rests_where_only_events_are_left() -> None:
    """A run in which everything waits is waiting, and goes on with what comes."""
    drill = begin(wait_flow())
    wait(drill, "paid")
    later = wait(drill, "later", 5.0)
    assert drill.ends == ["waiting"]
    drill.tell(NodeSucceeded(later, {}, 5.0))
    assert drill.running == ["remind"]
    assert drill.run.status == "running"


def test_wait_tells_driver_its_time() -> None:
    """The driver learns until when something waits."""
    drill = begin(wait_flow())
    later = drill.activation("later")
    commands = drill.tell(WaitBegan(later, EventWait(due=5.0)))
    assert commands == [WaitUntil(later, 5.0)]


def test_early_signal_is_kept_in_order() -> None:
    """Signals that come before their node are given to it, the oldest first."""
    drill = begin(wait_flow(keep=2))
    for text in ("first", "second"):
        drill.tell(SignalReceived("paid", "", Log(log=[text])))
    wait(drill, "paid")
    take(drill, "paid")
    assert drill.run.kept_signals == {("paid", ""): [Log(log=["second"])]}


def test_first_event_withdraws_others() -> None:
    """The first event to come counts; the others are cancelled by name."""
    drill = begin(wait_flow(first=True))
    wait(drill, "paid")
    later = wait(drill, "later", 5.0)
    drill.tell(SignalReceived("paid", "", Log(log=["money"])))
    assert later.status is Status.CANCELLED
    assert later.story == ["cancelled: 'paid' came first"]
    take(drill, "paid")
    assert drill.finish_all().ends[-1] == "succeeded"
    assert drill.tell(NodeSucceeded(later, {})) == []


def test_kept_signal_wins_before_others_wait() -> None:
    """A signal that was kept is the first event, though the others have not begun to wait."""
    drill = begin(wait_flow(first=True))
    drill.tell(SignalReceived("paid", "", Log(log=["money"])))
    wait(drill, "paid")
    assert drill.running == ["paid"]


def test_timer_withdraws_signal() -> None:
    """A timer that fires is the first event, and the signal is withdrawn."""
    drill = begin(wait_flow(first=True))
    paid = wait(drill, "paid")
    later = wait(drill, "later", 5.0)
    drill.tell(NodeSucceeded(later, {}, 5.0))
    assert paid.status is Status.CANCELLED
    assert drill.finish_all().ends[-1] == "succeeded"


def test_signal_to_stopped_run_acts_on_resume() -> None:
    """A signal that comes to a stopped run is given at once, and committed when it is resumed."""
    drill = begin(wait_flow(first=True))
    wait(drill, "paid")
    later = wait(drill, "later", 5.0)
    drill.tell(StopRequested("asked to"))
    drill.tell(SignalReceived("paid", "", Log(log=["money"])))
    assert later.status is Status.CANCELLED
    assert drill.running == []
    drill.tell(Resumed())
    take(drill, "paid")
    assert drill.finish_all().ends[-1] == "succeeded"


def test_patience_that_is_over_fails_wait() -> None:
    """An expired wait is a failure like any other."""
    drill = begin(wait_flow())
    paid = wait(drill, "paid", 3.0)
    drill.tell(NodeFailed(paid, 1, TimeoutError("late"), at=3.0))
    assert paid.status is Status.FAILED


@pytest.mark.parametrize("first", [False, True])
def test_order_of_events_alone_decides(first: bool) -> None:
    """Whenever nodes begin to wait, the same order of events gives the same run."""
    for seed in range(50):
        outcomes = {_run_at_random(first, seed, moments) for moments in range(6)}
        assert len(outcomes) == 1, seed


def _run_at_random(first: bool, seed: int, moments: int) -> tuple[Any, ...]:
    """Give a random order of events to a run whose nodes begin to wait at other moments."""
    order = random.Random(seed).sample(["signal", "timer"], 2)
    chance = random.Random(moments)
    drill = begin(wait_flow(first=first))
    for event in order:
        for path in chance.sample(["paid", "later"], 2):
            # A timer can only fire once it is waited for, and events of a first begin together.
            must_wait = first or (path == "later" and event == "timer")
            if path in drill.running and (must_wait or chance.random() < 0.5):
                wait(drill, path, 5.0 if path == "later" else None)
        later = [each for each in list_waits(drill.run.root) if each.step.name == "later"]
        if event == "signal":
            _send_if_expected(drill)
        elif later:
            drill.tell(NodeSucceeded(later[0], {}, 5.0))
        _take_given(drill)
    for path in ("paid", "later"):
        if path in drill.running:
            wait(drill, path, 5.0)
        _take_given(drill)
    while rest := [path for path in drill.running if path in ("ship", "remind")]:
        drill.finish(min(rest))
    return drill.run.status, tuple(sorted(drill.done)), str(sorted(drill.ids().items()))


def _send_if_expected(drill: Drill) -> None:
    """Send the signal unless its node is over, where the driver refuses it."""
    over = [each for each in drill.run.history if each.step.name == "paid"]
    if not over:
        drill.tell(SignalReceived("paid", "", Log(log=["money"])))


def _take_given(drill: Drill) -> None:
    paths = [path for path in drill.running if path == "paid"]
    if paths and drill.activation("paid").received is not None:
        take(drill, "paid")


def shared_flow() -> Flow[Any, Any, Any]:
    """Build a flow whose handler also handles what fails while an event waits."""
    graph = Graph("shared", State)
    paid = graph.signal("paid", Log)
    asked = graph.signal("asked", Log, expires=60.0)
    ship, risky, tidy = step("ship"), step("risky"), step("tidy")
    graph.chain(START, graph.first("decided", {paid: ship, asked: ship}))
    graph.chain(START, risky, tidy)
    graph.on_error(asked, tidy, when=TimeoutError)
    return graph.build()


def test_withdrawal_lets_join_start() -> None:
    """A join that only waited for an event starts when that is withdrawn, not when another ends."""
    drill = begin(shared_flow())
    wait(drill, "paid")
    wait(drill, "asked", 60.0)
    drill.finish("risky")
    assert drill.running == []
    drill.tell(SignalReceived("paid", "", Log(log=["money"])))
    assert sorted(drill.running) == ["paid", "tidy"]


def test_withdrawal_gives_region_back() -> None:
    """An event that is withdrawn gives its exclusive region to what waits for it."""
    graph = Graph("region", State)
    paid, asked = graph.signal("paid", Log), graph.signal("asked", Log)
    ship, other = step("ship"), step("other")
    graph.chain(START, graph.first("decided", {asked: ship, paid: ship}))
    graph.chain(START, step("before"), other)
    graph.exclusive("till", [asked, other])
    drill = begin(graph.build())
    wait(drill, "asked")
    wait(drill, "paid")
    drill.finish("before")
    assert drill.running == []
    drill.tell(SignalReceived("paid", "", Log(log=["money"])))
    assert sorted(drill.running) == ["other", "paid"]
