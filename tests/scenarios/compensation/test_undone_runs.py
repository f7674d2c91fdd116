"""Runs whose work is undone: in memory and in a journal, replayed, forked and cancelled."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import Graph, InputError, Limits, NotUndone, RunFailed, Secret, node
from graphorch.engine.replay import rebuild, verify
from graphorch.runs.durable import cancel as cancel_in_store
from graphorch.testing import check_flow, run_virtual
from tests.scenarios.compensation.trips import (
    Booking,
    Ledger,
    Receipt,
    Seat,
    State,
    Trip,
    TripFlow,
    build_outer,
    build_trip,
)
from tests.scenarios.crashed_copies import copy_run

FORWARD = ["book", "hold", "pay"]
BACK = ["release", "cancel"]


def options_of(ledger: Ledger, *, durable: bool = True) -> Any:
    return {"resources": ledger, "durable": ledger.store if durable else False}


async def fail(flow: TripFlow, ledger: Ledger, broken: str = "pay", **options: Any) -> RunFailed:
    """Run a flow that fails, and return its error."""
    given = {**options_of(ledger), "run_id": "r", **options}
    with pytest.raises(RunFailed) as failed:
        await flow.run(Trip(broken=broken), **given)
    return failed.value


def check(main: Callable[[Ledger], Awaitable[None]]) -> None:
    async def run() -> None:
        await main(Ledger())

    run_virtual(run())


async def status_of(ledger: Ledger) -> str:
    return (await ledger.store.load("r")).head.status


# ---- failures ------------------------------------------------------------------------------------
@pytest.mark.parametrize("durable", [False, True])
def test_failed_run_is_undone(durable: bool) -> None:
    """A failure that nothing handles undoes what was committed, and ends the run for good."""

    async def main(ledger: Ledger) -> None:
        error = await fail(build_trip(), ledger, **options_of(ledger, durable=durable))
        assert ledger.did == FORWARD + BACK
        assert error.end_reason == "compensated after 'pay' failed: ValueError: no pay"
        assert "was cancelled (compensated after 'pay' failed: ValueError: no pay)" in str(error)
        report: Any = error.run
        steps = [(step.path, step.status) for step in report.steps()]
        assert steps[-2:] == [("hold/undo", "done"), ("book/undo", "done")]
        if durable:
            assert await status_of(ledger) == "cancelled"
            with pytest.raises(InputError, match="was cancelled for good"):
                await build_trip().resume("r", **options_of(ledger))

    check(main)


def test_run_without_option_is_resumed() -> None:
    """A run whose graph does not say `compensate=True` stays resumable when it fails."""

    async def main(ledger: Ledger) -> None:
        flow = build_trip(compensate=False)
        await fail(flow, ledger)
        assert ledger.did == FORWARD
        assert await status_of(ledger) == "failed"
        assert await flow.cancel("r", durable=ledger.store, resources=ledger) == []
        assert ledger.did == FORWARD + BACK
        assert await status_of(ledger) == "cancelled"

    check(main)


def test_undo_that_fails_is_in_the_error() -> None:
    """An undo that fails for good is in the error with its place, and the others run."""

    async def main(ledger: Ledger) -> None:
        error = await fail(build_trip(), ledger, "pay release")
        assert ledger.did == [*FORWARD, "release", "release", "cancel"]
        (not_undone,) = [item for item in error.exceptions if isinstance(item, NotUndone)]
        assert not_undone.path == "hold"
        assert str(not_undone).startswith(
            "What 'hold' committed is not undone: its undo failed after 2 attempts: ValueError: "
            "no release. Undo it by hand (key "
        )
        replayed = await raised(build_trip().replay("r", durable=ledger.store))
        assert [str(item) for item in replayed.exceptions][1:] == [str(not_undone)]

    check(main)


async def raised(work: Awaitable[object]) -> RunFailed:
    with pytest.raises(RunFailed) as failed:
        await work
    return failed.value


@pytest.mark.parametrize("policy", ["cancel", "isolate"])
def test_policies_undo(policy: Any) -> None:
    """What a policy does about a failure changes nothing about what is undone."""

    async def main(ledger: Ledger) -> None:
        await fail(build_trip(), ledger, on_failure=policy)
        assert ledger.did == FORWARD + BACK

    check(main)


def test_limits_do_not_hold_undos() -> None:
    """Undos run beyond the limits on activations and on the time of the run."""

    async def main(ledger: Ledger) -> None:
        await fail(build_trip(), ledger, limits=Limits(activations=3, seconds=0.5))
        assert ledger.did == FORWARD + BACK
        slow = Ledger()
        error = await fail(build_trip(), slow, "pay release", limits=Limits(seconds=0.5))
        assert error.end_reason.startswith("compensated after 'pay' failed")
        assert slow.did == [*FORWARD, "release", "release", "cancel"]

    check(main)


def test_limit_is_no_failure() -> None:
    """A run that a limit stops is not undone: it can be resumed under a larger limit."""

    async def main(ledger: Ledger) -> None:
        error = await fail(build_trip(), ledger, limits=Limits(activations=2))
        assert (error.end_reason, ledger.did) == ("limit:activations", ["book", "hold"])

    check(main)


def test_undone_run_is_drawn() -> None:
    """The picture of an undone run has its undos, with what became of them."""

    async def main(ledger: Ledger) -> None:
        error = await fail(build_trip(), ledger, "pay release")
        picture = error.svg(theme="light", engine="builtin")
        for name in ("cancel_booking", "release_seat", "undone by"):
            assert name in picture

    check(main)


# ---- regions -------------------------------------------------------------------------------------
@pytest.mark.parametrize("durable", [False, True])
def test_region_is_undone_before_handler(durable: bool) -> None:
    """A region is undone first, then its failure takes the error edge."""

    async def main(ledger: Ledger) -> None:
        result = await build_outer().run(Trip(), run_id="r", **options_of(ledger, durable=durable))
        assert result.output == Receipt(receipt="at home")
        assert ledger.did == [*FORWARD, *BACK, "stay"]
        if durable:
            replayed = await build_outer().replay("r", durable=ledger.store)
            assert replayed.output == result.output
            assert ledger.did == [*FORWARD, *BACK, "stay"]

    check(main)


def test_compensating_flow_is_region() -> None:
    """A flow that says `compensate=True` is undone as well where another graph runs it."""

    async def main(ledger: Ledger) -> None:
        flow = build_outer(compensate=False, inner=True)
        result = await flow.run(Trip(), run_id="r", **options_of(ledger))
        assert result.output == Receipt(receipt="at home")
        assert ledger.did == [*FORWARD, *BACK, "stay"]

    check(main)


def test_undo_waits_for_interrupted_nodes() -> None:
    """What is interrupted has ended before the first undo begins."""
    log: list[str] = []

    async def take_back(booking: Booking) -> None:
        log.append("undone")

    @node(effect="once", undo=take_back)
    async def book(trip: Trip) -> Booking:
        return Booking(booking=trip.trip)

    @node
    async def linger(booking: Booking) -> Receipt:
        try:
            await asyncio.sleep(100)
        finally:
            await asyncio.sleep(1)
            log.append("ended")
        return Receipt(receipt="")

    async def main(ledger: Ledger) -> None:
        flow = Graph("slow", State, input=Trip, output=Receipt).chain(book, linger).build()
        task = asyncio.create_task(flow.run(Trip(), run_id="r"))
        await asyncio.sleep(1)
        await flow.cancel("r")
        await raised(task)
        assert log == ["ended", "undone"]

    check(main)


def test_undo_has_timeout() -> None:
    """An undo that takes longer than its timeout has failed, and the others run."""

    @node(effect="idempotent", timeout=1.0)
    async def hang(booking: Booking) -> None:
        await asyncio.sleep(100)

    @node(effect="once", undo=hang)
    async def book(trip: Trip) -> Booking:
        return Booking(booking=trip.trip)

    @node
    async def fail_after(booking: Booking) -> Receipt:
        raise ValueError(booking.booking)

    async def main(ledger: Ledger) -> None:
        graph = Graph("slow", State, input=Trip, output=Receipt, compensate=True)
        error = await fail(graph.chain(book, fail_after).build(), ledger)
        (not_undone,) = [item for item in error.exceptions if isinstance(item, NotUndone)]
        assert "took longer than timeout=1 s" in str(not_undone)

    check(main)


def take_back_elsewhere(booking: Booking) -> None:
    raise ValueError(f"process {os.getpid()} cannot cancel {booking.booking}")


def test_undo_runs_in_worker_process() -> None:
    """An undo may run in a worker process."""
    undo = node(effect="idempotent", isolation="process")(take_back_elsewhere)

    @node(effect="once", undo=undo)
    async def book(trip: Trip) -> Booking:
        return Booking(booking=trip.trip)

    @node
    async def fail_after(booking: Booking) -> Receipt:
        raise ValueError(booking.booking)

    graph = Graph("elsewhere", State, input=Trip, output=Receipt, compensate=True)
    with pytest.raises(RunFailed) as failed:
        graph.chain(book, fail_after).build().run_sync(Trip())
    (not_undone,) = [item for item in failed.value.exceptions if isinstance(item, NotUndone)]
    assert "cannot cancel Oslo" in str(not_undone)
    assert f"process {os.getpid()} " not in str(not_undone)


def test_undone_region_begins_anew() -> None:
    """A region that was undone begins anew when the run is resumed, with other keys."""

    async def main(ledger: Ledger) -> None:
        flow = build_outer(handled=False)
        await fail(flow, ledger)
        assert await status_of(ledger) == "failed"
        await raised(flow.resume("r", **options_of(ledger)))
        assert ledger.did == [*FORWARD, *BACK, *FORWARD, *BACK]
        assert len(set(ledger.lines)) == len(ledger.lines)

    check(main)


def test_workers_of_map_are_undone() -> None:
    """The undo of a map's worker reads its item and its result, the last item first."""
    undone: list[str] = []

    def take_back(seat: Seat, trip: Trip) -> None:
        undone.append(f"{trip.trip} {seat.seat}")

    @node(effect="once", undo=take_back)
    async def reserve(trip: Trip) -> Seat:
        return Seat(seat=trip.trip[0])

    @node
    async def fail_after(seat: Seat) -> Receipt:
        raise ValueError(seat.seat)

    def list_trips(trip: Trip) -> list[Trip]:
        return [Trip(trip=name) for name in ("Oslo", "Rome", "Bern")]

    def collect(seats: list[Seat]) -> Seat:
        return Seat(seat="".join(seat.seat for seat in seats))

    async def main(ledger: Ledger) -> None:
        graph = Graph("trips", State, input=Trip, output=Receipt, compensate=True)
        each = graph.map("each", reserve, over=list_trips, gather=collect, max_items=3)
        flow = graph.chain(each, fail_after).build()
        await fail(flow, ledger)
        assert undone == ["Bern B", "Rome R", "Oslo O"]
        verify(flow.plan, "r", (await ledger.store.load("r")).records)

    check(main)


# ---- cancelling ----------------------------------------------------------------------------------
@pytest.mark.parametrize("durable", [False, True])
def test_run_under_way_is_undone(durable: bool) -> None:
    """A run under way that is cancelled undoes what it committed, after what it interrupts."""

    async def main(ledger: Ledger) -> None:
        flow = build_trip()
        options = options_of(ledger, durable=durable)
        task = asyncio.create_task(flow.run(Trip(broken="wait"), run_id="r", **options))
        await asyncio.sleep(1)
        assert await flow.cancel("r", durable=options["durable"]) == []
        assert ledger.did == FORWARD + BACK
        assert (await raised(task)).end_reason == "cancelled"

    check(main)


def test_cancellation_may_leave_work() -> None:
    """A run that is cancelled with `undo=False` says what it leaves committed."""

    async def main(ledger: Ledger) -> None:
        flow = build_trip(compensate=False)
        await fail(flow, ledger)
        left = await flow.cancel("r", durable=ledger.store, resources=ledger, undo=False)
        assert (left, ledger.did) == (["hold", "book"], FORWARD)
        error = await raised(flow.replay("r", durable=ledger.store))
        assert [item.path for item in error.exceptions if isinstance(item, NotUndone)] == left

    check(main)


def test_cancellation_tells_what_failed() -> None:
    """A cancellation raises what could not be undone; the run is cancelled all the same."""

    async def main(ledger: Ledger) -> None:
        flow = build_trip(compensate=False)
        await fail(flow, ledger, "pay cancel")
        error = await raised(flow.cancel("r", durable=ledger.store, resources=ledger))
        assert any(isinstance(item, NotUndone) for item in error.exceptions)
        assert await status_of(ledger) == "cancelled"

    check(main)


def test_undos_need_resources() -> None:
    """A cancellation without the resources that undos need is refused, and changes nothing."""

    async def main(ledger: Ledger) -> None:
        flow = build_trip(compensate=False)
        await fail(flow, ledger)
        with pytest.raises(InputError, match="resources"):
            await flow.cancel("r", durable=ledger.store)
        assert await status_of(ledger) == "failed"

    check(main)


def test_store_alone_undoes_nothing() -> None:
    """Without its flow, a run that may have work to undo is cancelled only if that is to stay."""

    async def main(ledger: Ledger) -> None:
        await fail(build_trip(compensate=False), ledger)
        with pytest.raises(InputError, match="only its flow can do that"):
            await cancel_in_store(ledger.store, "r", 0.0)
        await cancel_in_store(ledger.store, "r", 0.0, undo=False)
        assert await status_of(ledger) == "cancelled"

    check(main)


# ---- records -------------------------------------------------------------------------------------
@pytest.mark.parametrize("case", ["run", "region", "failing undo"])
def test_every_prefix_ends_alike(case: str) -> None:
    """A run whose process died after any record is resumed: nothing acts once more than before."""

    async def main(ledger: Ledger) -> None:
        flow = build_outer() if case == "region" else build_trip()
        broken = "pay release" if case == "failing undo" else "pay"
        options = options_of(ledger)
        try:
            await flow.run(Trip(broken=broken), run_id="r", **options)
        except RunFailed:
            assert case != "region"
        log = await ledger.store.load("r")
        verify(flow.plan, "r", log.records)
        wanted = len({"release", "cancel"} - set(broken.split()))
        for length in range(1, len(log.records)):
            await resume_prefix(flow, log, length, wanted)

    check(main)


async def resume_prefix(flow: TripFlow, log: Any, length: int, wanted: int) -> None:
    """Resume the first records of a run, and compare what was done before and after."""
    records, resumed = log.records[:length], Ledger()
    before = rebuild(flow.plan, "r", records)
    committed = {item.id for item in before.run.history if item.update is not None}
    await copy_run(log.head, records, resumed.store)
    with contextlib.suppress(RunFailed, InputError):  # its undos may be over, and it is cancelled
        await flow.resume("r", resources=resumed, durable=resumed.store, ambiguous="repeat")
    after = await resumed.store.load("r")
    assert after.head.status in ("cancelled", "succeeded")
    assert {line.split()[1] for line in resumed.lines}.isdisjoint(committed), length
    rebuilt = verify(flow.plan, "r", after.records)
    done = [item.step.name for item in rebuilt.run.history if item.update is not None]
    assert done.count("undo") == wanted, length


def test_stop_and_resume_while_undoing() -> None:
    """A run that is stopped while it undoes goes on with it when it is resumed."""

    async def main(ledger: Ledger) -> None:
        flow = build_trip()
        task = asyncio.create_task(
            flow.run(Trip(broken="pay release"), run_id="r", **options_of(ledger))
        )
        await asyncio.sleep(0.2)  # the undo of `hold` waits for its second attempt
        assert ledger.did == [*FORWARD, "release"]
        flow.stop("r", now=True, reason="enough")
        assert (await raised(task)).end_reason == "enough"
        assert await status_of(ledger) == "stopped"
        error = await raised(flow.resume("r", **options_of(ledger)))
        assert error.end_reason.startswith("compensated after")
        assert ledger.did[-1] == "cancel"
        assert await status_of(ledger) == "cancelled"

    check(main)


def test_fork_undoes_its_own_work() -> None:
    """A fork does not undo what it took over from another run."""

    async def main(ledger: Ledger) -> None:
        flow = build_trip(compensate=False)
        await fail(flow, ledger)
        fork = await flow.fork("r", start="hold", durable=ledger.store)
        ledger.clear()
        await raised(flow.resume(fork, **options_of(ledger)))
        await flow.cancel(fork, durable=ledger.store, resources=ledger)
        assert ledger.did == ["hold", "pay", "release"]

    check(main)


@pytest.mark.parametrize(
    ("start", "did"), [("book", FORWARD + BACK), ("hold", ["hold", "pay", "release"])]
)
def test_fork_of_undone_run_runs_again(start: str, did: list[str]) -> None:
    """A run that was undone can be forked: its undos are not part of the fork."""

    async def main(ledger: Ledger) -> None:
        flow = build_trip()
        await fail(flow, ledger)
        fork = await flow.fork("r", start=start, durable=ledger.store)
        ledger.clear()
        await raised(flow.resume(fork, **options_of(ledger)))
        assert ledger.did == did

    check(main)


def test_fork_behind_undone_region() -> None:
    """A fork that starts behind a region that was undone takes over how that failed."""

    async def main(ledger: Ledger) -> None:
        flow = build_outer()
        await flow.run(Trip(), run_id="r", **options_of(ledger))
        ledger.clear()
        fork = await flow.fork("r", start="stay", durable=ledger.store)
        await flow.resume(fork, **options_of(ledger))
        assert ledger.did == ["stay"]

    check(main)


def test_served_effect_is_not_undone() -> None:
    """An effect that a rerun serves from the record is not undone by it."""

    async def main(ledger: Ledger) -> None:
        flow = build_outer()
        await flow.run(Trip(broken=""), run_id="r", **options_of(ledger))
        ledger.clear()
        rerun = await flow.rerun(
            "r", start="trip/book", effects="serve", durable=ledger.store, resources=ledger
        )
        assert "hold" not in ledger.did
        assert rerun.result.output == Receipt(receipt="paid")

    check(main)


def test_old_journal_is_not_undone() -> None:
    """A run that began before its graph had undos undoes nothing by itself when it is replayed."""

    async def main(ledger: Ledger) -> None:
        flow = build_outer()
        await flow.run(Trip(), run_id="r", **options_of(ledger))
        log = await ledger.store.load("r")
        replayed = rebuild(flow.plan, "r", log.records)
        assert replayed.run.undoes
        body = {key: value for key, value in log.records[0].body.items() if key != "undoes"}
        first = type(log.records[0])(1, "started", body)
        assert not rebuild(flow.plan, "r", [first]).run.undoes

    check(main)


class Login(BaseModel):
    token: Secret[str] = ""


class Account(Login, Booking): ...


@pytest.mark.parametrize("inside", [False, True])
def test_undo_hides_secrets(inside: bool) -> None:
    """What an undo raises is told without the secrets that it read."""

    def take_back(login: Login, booking: Booking) -> None:
        raise ValueError(f"token {login.token} is too old")

    @node(effect="once", undo=take_back, declassify="it has no token")
    async def book(login: Login) -> Booking:
        return Booking(booking="room")

    @node
    async def fail_after(booking: Booking) -> Booking:
        raise ValueError("no")

    def give(login: Login) -> Login:
        return login

    def give_back(booking: Booking) -> Booking:
        return booking

    async def main(ledger: Ledger) -> None:
        graph = Graph("account", Account, input=Login, output=Booking, compensate=not inside)
        flow = graph.chain(book, fail_after).build()
        if inside:
            outer = Graph("outer", Account, input=Login, output=Booking, compensate=True)
            flow = outer.chain(outer.sub("account", flow, enter=give, leave=give_back)).build()
        with pytest.raises(RunFailed) as failed:
            await flow.run(Login(token="s3cr3t-key"), run_id="r", durable=ledger.store)
        told = "\n".join(map(str, failed.value.exceptions))
        assert "token [hidden] is too old" in told
        assert "s3cr3t-key" not in told
        records = (await ledger.store.load("r")).records
        messages = [str(record.body) for record in records if record.kind == "failed"]
        assert not any("s3cr3t-key" in message for message in messages)

    check(main)


@pytest.mark.parametrize("durable", [False, True])
def test_undoing_flow_keeps_promises(durable: bool) -> None:
    """A flow with undos keeps the promises of every flow, whatever fails or is cancelled."""
    flow = build_trip() if durable else build_outer(handled=False)
    report = check_flow(flow, Trip(broken=""), resources=Ledger, runs=20, durable=durable)
    assert report.runs["failure"] > 2


def test_debugged_run_is_undone() -> None:
    """A session steps through the undos of a run that failed."""
    ledger = Ledger()
    with build_trip().debug(Trip(), resources=ledger) as session:
        paths: list[str] = []
        with contextlib.suppress(RunFailed, InputError):
            for _ in range(10):
                paths.append(session.step().path)
        assert ledger.did == FORWARD + BACK
        assert session.status == "cancelled"
    assert paths == [*FORWARD, "hold/undo", "book/undo"]
