"""Contract of a `Store`, as checks that run on any of them.

The tests of a store parametrize a test with `every_scenario`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from graphorch.errors import JournalError
from graphorch.journal.errors import (
    AppendConflict,
    InvalidName,
    InvalidRecord,
    JournalDamaged,
    LeaseExpired,
    LeaseHeld,
    LeaseLost,
    RunErased,
    RunExists,
    RunNotFound,
    StoreClosed,
)
from graphorch.journal.records import (
    Lease,
    Letter,
    NewLetter,
    NewRun,
    Outcome,
    Pruned,
    Record,
    RunQuery,
    Settlement,
    Snapshot,
)
from graphorch.journal.store import Store

NEW = NewRun("run-1", "content", "f1", 1, tags={"team": "red"})
ADVERSARIAL: list[Any] = [
    None, True, False, 0, -1, 2**64, -(2**4095), 0.1, -0.0, 1e300, 5e-324, "",
    "é\u2028\u0000\U0001f600", [], {}, [[[]]], {"": {"": [None]}},
    {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {"command": "true"}},
    {"__reduce__": "x", "py/object": "os.system"},
    {"b": 1, "a": {"d": 1, "c": 2}}, {"1": 1}, [1, 1.0, True], "NaN", {"$ref": "#/x", "@type": "T"},
]  # fmt: skip


class FakeClock:
    """Clock that only moves when a test sets it."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Bench:
    """Store under test with its clock, and the usual steps."""

    store: Store
    clock: FakeClock = field(default_factory=FakeClock)

    async def begin(self, run_id: str = "run-1", owner: str = "me", ttl: float = 60) -> Lease:
        """Create a run, and claim it."""
        await self.store.create(replace(NEW, run_id=run_id))
        return await self.store.claim(run_id, owner, ttl=ttl)

    async def add(
        self, lease: Lease, *bodies: Any, after: int = 0, status: str | None = None
    ) -> None:
        """Append records of kind "commit"."""
        await self.store.append(
            lease, entries(*bodies, after=after), expected_last_seq=after, status=status
        )

    async def bodies(self, run_id: str = "run-1", after: int = 0) -> list[Any]:
        """Return the bodies that load."""
        return [record.body for record in (await self.store.load(run_id, after_seq=after)).records]


def entries(*bodies: Any, after: int = 0) -> list[Record]:
    """Return records of kind "commit", numbered in order."""
    return [Record(seq, "commit", body) for seq, body in enumerate(bodies, after + 1)]


Making = Callable[[FakeClock], Awaitable[Store]]
Scenario = Callable[[Bench], Awaitable[None]]
SCENARIOS: list[Scenario] = []


def scenario(check: Scenario) -> Scenario:
    """Add a check to the contract."""
    SCENARIOS.append(check)
    return check


def run(check: Scenario, make: Making, clock: FakeClock | None = None) -> None:
    """Run a check on a fresh store, by a clock of its own unless one is given."""
    clock = clock or FakeClock()

    async def checked() -> None:
        store = await make(clock)
        try:
            await check(Bench(store, clock))
        finally:
            await store.close()

    asyncio.run(checked())


def every_scenario(test: Callable[..., None]) -> Callable[..., None]:
    """Parametrize the test of a store with the whole contract."""
    return pytest.mark.parametrize("check", SCENARIOS, ids=lambda check: check.__name__)(test)


# ---------------------------------------------------------------- creating


@scenario
async def new_run_keeps_its_header(bench: Bench) -> None:
    """A new run has the values that it was created with."""
    head = await bench.store.create(replace(NEW, parent="run-0", status="queued"))
    assert (head.run_id, head.flow, head.fingerprint, head.format) == ("run-1", "content", "f1", 1)
    assert (head.status, head.tags, head.parent, head.last_seq, head.lease) == (
        "queued",
        {"team": "red"},
        "run-0",
        0,
        None,
    )
    assert (head.created_at, head.updated_at) == (bench.clock.now, bench.clock.now)
    assert (await bench.store.load("run-1")).head == head


@scenario
async def create_again_returns_existing_run(bench: Bench) -> None:
    """Creating a run again returns it as it is."""
    await bench.add(await bench.begin(), "a", status="waiting")
    bench.clock.now += 5
    again = await bench.store.create(NEW)
    assert (again.last_seq, again.status, again.created_at) == (1, "waiting", bench.clock.now - 5)


@scenario
async def create_refuses_other_run_of_same_id(bench: Bench) -> None:
    """Another run of an existing id is refused with the difference."""
    await bench.begin()
    for other in (
        replace(NEW, flow="other"), replace(NEW, fingerprint="f2"), replace(NEW, format=2),
        replace(NEW, parent="run-0"), replace(NEW, tags={}),
    ):  # fmt: skip
        with pytest.raises(
            RunExists, match=r"is different: (flow|fingerprint|format|parent|tags) is"
        ):
            await bench.store.create(other)


@scenario
async def wrong_run_id_is_refused_everywhere(bench: Bench) -> None:
    """All calls refuse a run id that is not valid."""
    store = bench.store
    for wrong in (
        "../x",
        "",
        "a/b",
        "a\\b",
        "x" * 201,
        "a b",
        "run\n",
        "%2e%2e",
        "\0",
        "é",
        "C:x",
        ".",
        ".x",
        "-x",
        7,
    ):
        lease = Lease(wrong, "me", 1, 0)  # type: ignore[arg-type]
        calls: list[Awaitable[Any]] = [
            store.create(replace(NEW, run_id=wrong)),  # type: ignore[arg-type]
            store.create(replace(NEW, parent=wrong)),  # type: ignore[arg-type]
            store.claim(wrong, "me", ttl=1),  # type: ignore[arg-type]
            store.load(wrong), store.load_snapshot(wrong),  # type: ignore[arg-type]
            store.read_head(wrong), store.erase(wrong), store.renew(lease, ttl=1),  # type: ignore[arg-type]
            store.release(lease),  # type: ignore[arg-type]
            store.append(lease, entries(1), expected_last_seq=0),
            store.save_snapshot(lease, Snapshot(1, 1)),
            store.post(NewLetter(wrong, "l", "stop", {})),  # type: ignore[arg-type]
            store.list_letters(wrong), store.release_unless_mail(lease),  # type: ignore[arg-type]
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(InvalidName, match="is not a run id"):
                await call


@scenario
async def missing_run_is_named(bench: Bench) -> None:
    """A run that does not exist is named."""
    lease = Lease("run-9", "me", 1, 0)
    store = bench.store
    for call in (
        store.claim("run-9", "me", ttl=1), store.load("run-9"), store.load_snapshot("run-9"),
        store.read_head("run-9"), store.erase("run-9"), store.renew(lease, ttl=1),
        store.release(lease), store.append(lease, entries(1), expected_last_seq=0),
        store.save_snapshot(lease, Snapshot(1, 1)), store.list_letters("run-9"),
        store.post(NewLetter("run-9", "l", "stop", {})), store.release_unless_mail(lease),
    ):  # fmt: skip
        with pytest.raises(RunNotFound, match="no run 'run-9'") as caught:
            await call
        assert caught.value.run_id == "run-9"


@scenario
async def wrong_values_store_nothing(bench: Bench) -> None:
    """Names and numbers are checked before anything is stored."""
    store = bench.store
    lease = await bench.begin()
    wrong: list[Awaitable[Any]] = [
        store.create(replace(NEW, run_id="x", flow="")),
        store.create(replace(NEW, run_id="x", fingerprint="a\nb")),
        store.create(replace(NEW, run_id="x", format=-1)),
        store.create(replace(NEW, run_id="x", format=True)),
        store.create(replace(NEW, run_id="x", tags={"a": ""})),
        store.create(replace(NEW, run_id="x", tags={"a\ud800": "b"})),
        store.create(replace(NEW, run_id="x", status="s" * 201)),
        store.claim("run-1", "", ttl=1), store.claim("run-1", "me", ttl=0),
        store.claim("run-1", "me", ttl=float("nan")), store.renew(lease, ttl=float("inf")),
        store.load("run-1", after_seq=-1),
        store.load("run-1", after_seq=2**63), store.append(lease, entries(1), expected_last_seq=-1),
        store.append(lease, [Record(1, "", 1)], expected_last_seq=0),
        store.append(lease, entries(1), expected_last_seq=0, status="\n"),
        store.save_snapshot(lease, Snapshot(0, 1)), store.list_runs(RunQuery(limit=0)),
        store.list_runs(RunQuery(tag=("a", ""))),
        store.list_runs(RunQuery(after=(1.0, "../x"))),
        store.list_runs(RunQuery(created_from=float("nan"))),
        store.prune(before=float("inf"), statuses=["x"]), store.prune(before=1, statuses=[""]),
        store.post(NewLetter("run-1", "", "stop", {})), store.list_letters("run-1", after=-1),
        store.post(NewLetter("run-1", "l", "st\nop", {})),
        store.append(lease, [], expected_last_seq=0, settled=[Settlement(0, Outcome())]),
    ]  # fmt: skip
    for call in wrong:
        with pytest.raises(InvalidName, match=" is not a "):
            await call
    assert [head.run_id for head in (await store.list_runs()).runs] == ["run-1"]
    assert await bench.bodies() == []


# ---------------------------------------------------------------- appending and loading


@scenario
async def appended_records_load_in_order(bench: Bench) -> None:
    """Appended records load in order, with the status and the time of the last append."""
    lease = await bench.begin()
    await bench.add(lease, {"n": 1}, {"n": 2})
    bench.clock.now += 3
    await bench.store.append(
        lease, [Record(3, "ended", [])], expected_last_seq=2, status="succeeded"
    )
    log = await bench.store.load("run-1")
    assert log.records == (
        Record(1, "commit", {"n": 1}),
        Record(2, "commit", {"n": 2}),
        Record(3, "ended", []),
    )
    assert (log.head.last_seq, log.head.status, log.head.updated_at) == (
        3,
        "succeeded",
        bench.clock.now,
    )
    assert log.head.lease == lease


@scenario
async def head_alone_is_that_of_load(bench: Bench) -> None:
    """A head that is read alone is the one that comes with the records, at every moment."""
    assert await bench.store.create(NEW) == await bench.store.read_head("run-1")
    lease = await bench.begin()
    for number in range(1, 3):
        await bench.add(lease, number, after=number - 1)
        bench.clock.now += 1
        head = await bench.store.read_head("run-1")
        assert (head.last_seq, head.is_under_way) == (number, True)
        assert head == (await bench.store.load("run-1")).head
    bench.clock.now += 1_000
    assert not (await bench.store.read_head("run-1")).is_under_way
    await bench.store.erase("run-1")
    assert (await bench.store.read_head("run-1")).is_erased


@scenario
async def load_starts_after_given_record(bench: Bench) -> None:
    """Loading starts after a given record."""
    await bench.add(await bench.begin(), *"abcde")
    assert [await bench.bodies(after=after) for after in range(6)] == [
        list("abcde"[after:]) for after in range(6)
    ]


@scenario
async def load_misses_record_beyond_end(bench: Bench) -> None:
    """A caller that knows of a later record has seen more than the store still holds."""
    await bench.add(await bench.begin(), "a")
    with pytest.raises(JournalDamaged, match="record 2: it is missing") as caught:
        await bench.store.load("run-1", after_seq=2)
    assert caught.value.seq == 2


@scenario
async def plain_values_keep_their_types(bench: Bench) -> None:
    """Plain values come back equal and of their types."""
    lease = await bench.begin()
    await bench.add(lease, *ADVERSARIAL)
    assert [repr(body) for body in await bench.bodies()] == [repr(body) for body in ADVERSARIAL]


@scenario
async def lossy_values_are_refused(bench: Bench) -> None:
    """A value that would not come back equal is refused, and nothing is stored."""
    lease = await bench.begin()
    for wrong in (
        (1,),
        {1: 1},
        {1},
        b"x",
        float("nan"),
        float("-inf"),
        "\ud800",
        {"\udfff": 1},
        1j,
        object(),
        [{"a": (1,)}],
        2**4096,
    ):
        with pytest.raises(InvalidRecord, match="body"):
            await bench.add(lease, "good", wrong)
    assert await bench.bodies() == []


@scenario
async def body_is_copied_at_the_call(bench: Bench) -> None:
    """A body may change after the call began."""
    lease, body = await bench.begin(), {"items": [1]}
    appended = asyncio.ensure_future(bench.add(lease, body))
    await asyncio.sleep(0)
    body["items"].append(2)
    await appended
    loaded = await bench.bodies()
    loaded[0]["items"].append(3)
    assert await bench.bodies() == [{"items": [1]}]


@scenario
async def repeated_append_adds_nothing(bench: Bench) -> None:
    """An append that is repeated adds nothing."""
    lease = await bench.begin()
    for _ in range(2):
        await bench.add(lease, "a", "b", status="waiting")
    await bench.add(lease, "c", after=2, status="succeeded")
    await bench.add(lease, "a", "b", status="waiting")
    log = await bench.store.load("run-1")
    assert [record.body for record in log.records] == ["a", "b", "c"]
    assert log.head.status == "succeeded"


@scenario
async def other_content_conflicts(bench: Bench) -> None:
    """An append of other content in the place of existing records is a conflict."""
    lease = await bench.begin()
    await bench.add(lease, "a", "b")
    for bodies in (("x",), ("a", "x"), ("a", "b", "c"), (True,)):
        with pytest.raises(AppendConflict) as caught:
            await bench.add(lease, *bodies)
        assert caught.value.last_seq == 2
    with pytest.raises(AppendConflict, match="record 1 exists already"):
        await bench.store.append(lease, [Record(1, "other", "a")], expected_last_seq=0)
    with pytest.raises(AppendConflict, match="expects it to end at record 5, it ends at 2"):
        await bench.add(lease, "f", after=5)
    assert await bench.bodies() == ["a", "b"]


@scenario
async def status_alone_needs_expected_end(bench: Bench) -> None:
    """A status without records is set only if the run ends where the caller expects it to."""
    lease = await bench.begin()
    await bench.add(lease, "a")
    await bench.add(lease, after=1, status="waiting")
    with pytest.raises(AppendConflict):
        await bench.add(lease, after=0, status="failed")
    with pytest.raises(InvalidRecord, match="nothing to append"):
        await bench.add(lease, after=1)
    log = await bench.store.load("run-1")
    assert (log.head.status, log.head.last_seq) == ("waiting", 1)


@scenario
async def wrongly_numbered_records_are_refused(bench: Bench) -> None:
    """Records with wrong numbers are refused."""
    lease = await bench.begin()
    for records in (
        [Record(2, "commit", 1)],
        [Record(1, "commit", 1), Record(3, "commit", 1)],
        [Record(1, "commit", None, is_erased=True)],
    ):
        with pytest.raises(InvalidRecord, match=r"in the place of record ."):
            await bench.store.append(lease, records, expected_last_seq=0)
    assert await bench.bodies() == []


@scenario
async def concurrent_appends_fail_alone(bench: Bench) -> None:
    """Appends to many runs at once succeed or fail on their own."""
    leases = [await bench.begin(f"run-{number}") for number in range(12)]
    stale = [
        replace(lease, epoch=0) if number % 3 == 0 else lease for number, lease in enumerate(leases)
    ]
    after = [7 if number % 3 == 1 else 0 for number in range(12)]
    outcomes = await asyncio.gather(
        *(
            bench.add(lease, {"run": number}, after=after[number])
            for number, lease in enumerate(stale)
        ),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [LeaseLost, AppendConflict, type(None)] * 4
    assert [await bench.bodies(f"run-{number}") for number in range(12)] == [
        [{"run": n}] if n % 3 == 2 else [] for n in range(12)
    ]


@scenario
async def concurrent_appends_to_one_place_conflict(bench: Bench) -> None:
    """Of several appends at once to one place, a single one succeeds."""
    lease = await bench.begin()
    outcomes = await asyncio.gather(
        *(bench.add(lease, number) for number in range(5)), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["AppendConflict"] * 4 + [
        "NoneType"
    ]
    assert await bench.bodies() == [
        next(number for number, outcome in enumerate(outcomes) if outcome is None)
    ]


@scenario
async def cancelled_append_stores_all_or_nothing(bench: Bench) -> None:
    """An append whose caller is cancelled stores all of its records or none."""
    lease = await bench.begin()
    task = asyncio.ensure_future(bench.add(lease, "a", "b"))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await bench.add(lease, "a", "b")
    assert await bench.bodies() == ["a", "b"]


# ---------------------------------------------------------------- leases


@scenario
async def run_has_single_owner(bench: Bench) -> None:
    """A run has one owner at a time."""
    lease = await bench.begin(owner="first", ttl=10)
    with pytest.raises(
        LeaseHeld, match=r"belongs to 'first' for another 10\.0 s\. Stop that"
    ) as caught:
        await bench.store.claim("run-1", "second", ttl=10)
    assert (caught.value.owner, caught.value.expires_at) == ("first", lease.expires_at)
    bench.clock.now += 10
    assert (await bench.store.claim("run-1", "second", ttl=10)).epoch == lease.epoch + 1


@scenario
async def replaced_owner_commits_nothing(bench: Bench) -> None:
    """An owner that was replaced commits nothing."""
    first = await bench.begin(owner="first", ttl=10)
    await bench.add(first, "a")
    bench.clock.now += 11
    second = await bench.store.claim("run-1", "second", ttl=10)
    for call in (
        bench.add(first, "b", after=1), bench.add(first, "a"),
        bench.add(first, after=1, status="failed"), bench.store.renew(first, ttl=10),
        bench.store.save_snapshot(first, Snapshot(1, {})),
    ):  # fmt: skip
        with pytest.raises(
            LeaseLost, match="'first' had it in epoch 1, now 'second' has it in epoch 2"
        ) as caught:
            await call
        assert not isinstance(caught.value, LeaseExpired)
    await bench.store.release(first)
    await bench.add(second, "c", after=1)
    assert await bench.bodies() == ["a", "c"]
    assert await bench.store.load_snapshot("run-1") is None


@scenario
async def expired_lease_needs_renewal(bench: Bench) -> None:
    """An expired lease commits nothing until it is renewed."""
    lease = await bench.begin(ttl=10)
    bench.clock.now += 10
    for call in (bench.add(lease, "a"), bench.store.save_snapshot(lease, Snapshot(1, 1))):
        with pytest.raises(LeaseExpired, match=r"ran out 0\.0 s ago\. Renew it"):
            await call
    renewed = await bench.store.renew(lease, ttl=10)
    assert renewed == replace(lease, expires_at=bench.clock.now + 10)
    await bench.add(lease, "a")  # the epoch is what counts, and it is the same
    assert await bench.bodies() == ["a"]


@scenario
async def repeated_claim_ends_lost_lease(bench: Bench) -> None:
    """A repeated claim ends the lease whose reply was lost."""
    lost = await bench.begin()
    lease = await bench.store.claim("run-1", "me", ttl=60)
    with pytest.raises(LeaseLost):
        await bench.add(lost, "a")
    await bench.add(lease, "a")


@scenario
async def region_holds_one_run(bench: Bench) -> None:
    """Of several runs one is in an exclusive region, until it leaves it."""
    one, two = await bench.begin("run-1"), await bench.begin("run-2")
    assert await bench.store.enter_regions(one, ["db"])
    assert await bench.store.enter_regions(one, ["db"])  # a run may enter it again
    assert not await bench.store.enter_regions(two, ["db"])
    assert await bench.store.enter_regions(two, ["disk"])
    await bench.store.leave_regions(two, ["db"])  # which it is not in
    assert not await bench.store.enter_regions(two, ["db"])
    await bench.store.leave_regions(one, ["db"])
    assert await bench.store.enter_regions(two, ["db"])


@scenario
async def regions_are_entered_at_once(bench: Bench) -> None:
    """A run enters all of several regions, or none."""
    one, two = await bench.begin("run-1"), await bench.begin("run-2")
    assert await bench.store.enter_regions(one, ["b"])
    assert not await bench.store.enter_regions(two, ["a", "b"])
    assert await bench.store.enter_regions(one, ["b"])
    assert not await bench.store.enter_regions(two, ["a", "b"])
    await bench.store.leave_regions(one, ["b"])
    assert await bench.store.enter_regions(two, ["a", "b"])


@scenario
async def region_ends_with_lease(bench: Bench) -> None:
    """A region is free once the lease of its run has ended, been released or been replaced."""
    one, two = await bench.begin("run-1", ttl=10), await bench.begin("run-2", ttl=1000)
    assert await bench.store.enter_regions(one, ["db"])
    bench.clock.now += 9
    one = await bench.store.renew(one, ttl=10)
    bench.clock.now += 9
    assert not await bench.store.enter_regions(two, ["db"])
    bench.clock.now += 2
    assert await bench.store.enter_regions(two, ["db"])
    await bench.store.leave_regions(one, ["db"])  # too late: it is not its own any more
    one = await bench.store.claim("run-1", "other", ttl=100)
    assert not await bench.store.enter_regions(one, ["db"])
    await bench.store.release(two)
    assert await bench.store.enter_regions(one, ["db"])
    await bench.store.claim("run-1", "other", ttl=100)  # in another epoch
    two = await bench.store.claim("run-2", "me", ttl=100)
    assert await bench.store.enter_regions(two, ["db"])


@scenario
async def regions_are_entered_in_order(bench: Bench) -> None:
    """Runs enter a region in the order in which they first asked, however often they ask again."""
    one, two, three = [await bench.begin(f"run-{number}") for number in (1, 2, 3)]
    assert await bench.store.enter_regions(one, ["db"])
    for _ in range(2):
        assert not await bench.store.enter_regions(two, ["db"])
        assert not await bench.store.enter_regions(three, ["db"])
    await bench.store.leave_regions(one, ["db"])
    assert not await bench.store.enter_regions(three, ["db"])
    assert not await bench.store.enter_regions(one, ["db"])  # it is behind the others now
    assert await bench.store.enter_regions(two, ["db"])
    await bench.store.leave_regions(two, ["db"])
    assert not await bench.store.enter_regions(one, ["db"])
    assert await bench.store.enter_regions(three, ["db"])


@scenario
async def waiting_for_several_regions_starves_nobody(bench: Bench) -> None:
    """A run that waits for two regions has its turn, though others use them one by one."""
    one, two, three = [await bench.begin(f"run-{number}") for number in (1, 2, 3)]
    assert await bench.store.enter_regions(one, ["a"])
    assert await bench.store.enter_regions(two, ["b"])
    assert not await bench.store.enter_regions(three, ["a", "b"])
    await bench.store.leave_regions(one, ["a"])
    assert not await bench.store.enter_regions(one, ["a"])
    assert await bench.store.enter_regions(two, ["b"])  # it has not left
    await bench.store.leave_regions(two, ["b"])
    assert not await bench.store.enter_regions(two, ["b"])
    assert await bench.store.enter_regions(three, ["a", "b"])
    await bench.store.leave_regions(three, ["a", "b"])
    assert await bench.store.enter_regions(one, ["a"])
    assert await bench.store.enter_regions(two, ["b"])


@scenario
async def place_in_queue_ends_with_lease(bench: Bench) -> None:
    """A run whose owner is gone, or that gave up, blocks nobody behind it."""
    one, two, three = [await bench.begin(f"run-{n}", ttl=[100, 10, 100][n - 1]) for n in (1, 2, 3)]
    assert await bench.store.enter_regions(one, ["db"])
    assert not await bench.store.enter_regions(two, ["db"])
    assert not await bench.store.enter_regions(three, ["db"])
    await bench.store.leave_regions(one, ["db"])
    assert not await bench.store.enter_regions(three, ["db"])
    bench.clock.now += 11  # the process of run 2 is gone
    assert await bench.store.enter_regions(three, ["db"])
    two = await bench.store.claim("run-2", "me", ttl=100)
    assert not await bench.store.enter_regions(two, ["db"])
    assert not await bench.store.enter_regions(one, ["db"])
    await bench.store.leave_regions(two, ["db"])  # it gives up
    await bench.store.leave_regions(three, ["db"])
    assert await bench.store.enter_regions(one, ["db"])


@scenario
async def nested_region_waits_for_no_queue(bench: Bench) -> None:
    """What runs inside of a region is let in before those who wait for that region as well."""
    one, two = await bench.begin("run-1"), await bench.begin("run-2")
    assert await bench.store.enter_regions(one, ["outer"])
    assert not await bench.store.enter_regions(two, ["inner", "outer"])
    assert not await bench.store.enter_regions(one, ["inner"])
    assert await bench.store.enter_regions(one, ["inner"], is_nested=True)
    await bench.store.leave_regions(one, ["inner"])
    assert not await bench.store.enter_regions(two, ["inner", "outer"])
    await bench.store.leave_regions(one, ["outer"])
    assert await bench.store.enter_regions(two, ["inner", "outer"])


@scenario
async def turn_in_region_is_announced(bench: Bench) -> None:
    """The first in the queue of a region hears that it was left, or that who was first gave up."""
    one, two, three = [await bench.begin(f"run-{number}") for number in (1, 2, 3)]
    assert await bench.store.enter_regions(one, ["db"])
    assert not await bench.store.enter_regions(two, ["db"])
    assert not await bench.store.enter_regions(three, ["db"])
    for lease, hears in ((one, "run-2"), (two, "run-3")):
        woken = asyncio.Event()
        end = bench.store.watch_regions(hears, woken.set)
        await bench.store.leave_regions(lease, ["db"])
        async with asyncio.timeout(10):
            await woken.wait()
        end()
    assert await bench.store.enter_regions(three, ["db"])


@scenario
async def region_needs_current_lease(bench: Bench) -> None:
    """Only the owner of a run enters a region for it, and a region has a name."""
    lost = await bench.begin(ttl=10)
    lease = await bench.store.claim("run-1", "me", ttl=10)
    with pytest.raises(LeaseLost):
        await bench.store.enter_regions(lost, ["db"])
    with pytest.raises(InvalidName, match="name of a region"):
        await bench.store.enter_regions(lease, [""])
    bench.clock.now += 10
    with pytest.raises(LeaseExpired):
        await bench.store.enter_regions(lease, ["db"])


@scenario
async def region_of_deleted_run_is_free(bench: Bench) -> None:
    """A run that was deleted is in no region."""
    one, two = await bench.begin("run-1"), await bench.begin("run-2")
    assert await bench.store.enter_regions(one, ["db"])
    await bench.add(one, "a", status="succeeded")
    await bench.store.release(one)
    await bench.store.prune(before=bench.clock.now + 1, statuses=["succeeded"])
    assert await bench.store.enter_regions(two, ["db"])


@scenario
async def released_run_can_be_claimed(
    bench: Bench,
) -> None:
    """A released run can be claimed at once, and releasing it again does nothing."""
    first = await bench.begin(owner="first")
    for _ in range(2):
        await bench.store.release(first)
    assert (await bench.store.load("run-1")).head.lease is None
    with pytest.raises(LeaseLost, match="now it was released"):
        await bench.add(first, "a")
    second = await bench.store.claim("run-1", "second", ttl=1)
    await bench.store.release(first)
    assert (await bench.store.load("run-1")).head.lease == second


@scenario
async def jumping_clock_keeps_single_owner(bench: Bench) -> None:
    """A clock that jumps never lets two owners commit."""
    first = await bench.begin(owner="first", ttl=10)
    for jump in (3600, -7200, 3.2e8, -6.4e8):
        bench.clock.now += jump
        try:
            second = await bench.store.claim("run-1", "second", ttl=10)
        except LeaseHeld:
            continue
        with pytest.raises(LeaseLost):
            await bench.add(first, "a")
        first = await bench.store.claim("run-1", "second", ttl=10)
        assert first.epoch > second.epoch


# ---------------------------------------------------------------- snapshots


@scenario
async def lease_of_clock_far_ahead_keeps_nobody_out(bench: Bench) -> None:
    """A lease that ends in a day was never claimed for so long, and locks nobody out."""
    for ahead in (61.0, 3_600.0, 86_400.0, 1e9):
        run_id, store, clock = f"run-{int(ahead)}", bench.store, bench.clock
        clock.now += ahead
        lost = await bench.begin(run_id, owner="ahead", ttl=30)
        clock.now -= ahead
        lease = await store.claim(run_id, "me", ttl=30)
        assert lease.epoch == 2
        with pytest.raises(LeaseLost):
            await bench.add(lost, "a")
        await bench.add(lease, "b")
        await store.release(lease)


@scenario
async def lease_of_clock_little_ahead_ends_in_time(bench: Bench) -> None:
    """A lease from a clock that was some seconds ahead holds others up for its own length."""
    store, clock = bench.store, bench.clock
    clock.now += 25
    await bench.begin(owner="ahead", ttl=30)
    clock.now -= 25
    # It is not taken at once: its owner may be alive, and will renew it by its corrected clock.
    for call in (store.claim("run-1", "me", ttl=30), store.erase("run-1")):
        with pytest.raises(LeaseHeld, match=r"another 30\.0 s"):
            await call
    clock.now += 29
    with pytest.raises(LeaseHeld, match=r"another 1\.0 s"):
        await store.claim("run-1", "me", ttl=30)
    clock.now += 2
    assert (await store.claim("run-1", "me", ttl=30)).epoch == 2


@scenario
async def living_owner_with_clock_ahead_keeps_run(bench: Bench) -> None:
    """An owner that renews its lease keeps the run, although its clock is somewhat ahead."""
    store, clock, ahead = bench.store, bench.clock, 25.0
    clock.now += ahead
    lease = await bench.begin(ttl=30)
    for last in range(5):
        clock.now -= ahead
        for _ in range(2):
            with pytest.raises(LeaseHeld):
                await store.claim("run-1", "other", ttl=30)
        clock.now += ahead + 10
        lease = await store.renew(lease, ttl=30)
        await bench.add(lease, last, after=last)
    assert await bench.bodies() == [0, 1, 2, 3, 4]


@scenario
async def lease_of_clock_ahead_stops_no_erasing_and_pruning(bench: Bench) -> None:
    """A finished run whose lease ends in a day can be erased and pruned."""
    store, clock = bench.store, bench.clock
    for run_id in ("run-1", "run-2"):
        clock.now += 86_400
        await bench.add(await bench.begin(run_id, ttl=30), "a", status="succeeded")
        clock.now -= 86_400
    await store.erase("run-1")
    assert (await store.prune(before=clock.now + 1e6, statuses=["succeeded"])).count == 2


@scenario
async def renewed_lease_has_length_of_renewal(bench: Bench) -> None:
    """The length of a lease is that of its last renewal."""
    store, clock = bench.store, bench.clock
    lease = await bench.begin(ttl=30)
    clock.now += 4
    assert (await store.renew(lease, ttl=5)).seconds == 5
    clock.now -= 4
    with pytest.raises(LeaseHeld, match=r"another 5\.0 s"):
        await store.claim("run-1", "other", ttl=30)
    clock.now += 6
    await store.claim("run-1", "other", ttl=30)


@scenario
async def latest_snapshot_is_kept(bench: Bench) -> None:
    """The latest snapshot is kept."""
    lease = await bench.begin()
    await bench.add(lease, *"abc")
    assert await bench.store.load_snapshot("run-1") is None
    for seq, body in ((1, "one"), (3, {"three": []}), (3, {"three": []}), (2, "late")):
        await bench.store.save_snapshot(lease, Snapshot(seq, body))
    snapshot = await bench.store.load_snapshot("run-1")
    assert snapshot == Snapshot(3, {"three": []})
    assert await bench.bodies(after=3) == []


@scenario
async def snapshot_of_missing_record_is_refused(bench: Bench) -> None:
    """A snapshot of a record that does not exist is refused."""
    lease = await bench.begin()
    await bench.add(lease, "a")
    with pytest.raises(InvalidRecord, match="has no record 2"):
        await bench.store.save_snapshot(lease, Snapshot(2, {}))
    with pytest.raises(InvalidRecord, match="body"):
        await bench.store.save_snapshot(lease, Snapshot(1, float("nan")))
    assert await bench.store.load_snapshot("run-1") is None


# ---------------------------------------------------------------- lists


async def _ten_runs(bench: Bench) -> None:
    for number in range(10):
        bench.clock.now = 100 + number // 2  # two of each age
        run = NewRun(
            f"run-{number}",
            f"flow-{number % 2}",
            "f",
            1,
            f"status-{number % 3}",
            {"n": str(number), "team": "red' OR 1=1"},
        )
        await bench.store.create(run)


async def _listed(bench: Bench, **query: Any) -> list[str]:
    return [head.run_id for head in (await bench.store.list_runs(RunQuery(**query))).runs]


@scenario
async def list_pages_newest_first(bench: Bench) -> None:
    """Runs are listed page by page, the newest first."""
    await _ten_runs(bench)
    everything = [f"run-{number}" for number in range(9, -1, -1)]
    assert [head.run_id for head in (await bench.store.list_runs()).runs] == everything
    for limit in (1, 3, 5, 10):
        query, seen = RunQuery(limit=limit), list[str]()
        while True:
            page = await bench.store.list_runs(query)
            assert 0 < len(page.runs) <= limit
            seen += [head.run_id for head in page.runs]
            if page.next is None:
                break
            query = replace(query, after=page.next)
        assert seen == everything


@scenario
async def list_filters_runs(bench: Bench) -> None:
    """Runs are filtered by status, flow, tag and time."""
    await _ten_runs(bench)
    assert await _listed(bench, status="status-0") == ["run-9", "run-6", "run-3", "run-0"]
    assert await _listed(bench, status="status-0", flow="flow-0") == ["run-6", "run-0"]
    assert await _listed(bench, flow="flow-1", created_from=103) == ["run-9", "run-7"]
    assert await _listed(bench, created_from=101, created_until=102) == ["run-3", "run-2"]
    assert await _listed(bench, tag=("n", "4")) == ["run-4"]
    assert await _listed(bench, status="status-0", after=(103.0, "run-6")) == ["run-3", "run-0"]
    assert await _listed(bench, status="status-2", tag=("n", "4")) == []


@scenario
async def list_filter_cannot_inject_sql(bench: Bench) -> None:
    """A filter is a value, and never a part of a query."""
    await _ten_runs(bench)
    for text in ("' OR 1=1 --", "%", "_", "*", "$.n", 'x") OR ("1"="1', "status-0' UNION SELECT 1"):
        for query in (
            {"status": text},
            {"flow": text},
            {"tag": (text, "red")},
            {"tag": ("n", text)},
        ):
            assert await _listed(bench, **query) == []
    assert len(await _listed(bench, tag=("team", "red' OR 1=1"))) == 10


# ---------------------------------------------------------------- deleting


@scenario
async def erased_run_keeps_chain(bench: Bench) -> None:
    """An erased run keeps its chain, and cannot go on."""
    lease = await bench.begin()
    await bench.add(lease, "a", "b", status="succeeded")
    await bench.store.save_snapshot(lease, Snapshot(2, "s"))
    await bench.store.release(lease)
    for _ in range(2):
        await bench.store.erase("run-1")
    log = await bench.store.load("run-1")
    assert log.records == (
        Record(1, "commit", None, is_erased=True),
        Record(2, "commit", None, is_erased=True),
    )
    assert (log.head.is_erased, log.head.status, log.head.last_seq) == (True, "succeeded", 2)
    assert (await bench.store.load("run-1", after_seq=1)).records == log.records[1:]
    assert await bench.store.load_snapshot("run-1") is None
    for call in (
        bench.store.claim("run-1", "me", ttl=1),
        bench.store.renew(lease, ttl=1),
        bench.add(lease, "c", after=2),
    ):
        with pytest.raises(RunErased, match="was erased"):
            await call


@scenario
async def leased_run_is_not_erased(bench: Bench) -> None:
    """A run with a current lease is not erased."""
    await bench.add(await bench.begin(ttl=10), "a")
    with pytest.raises(LeaseHeld):
        await bench.store.erase("run-1")
    assert await bench.bodies() == ["a"]
    bench.clock.now += 10
    await bench.store.erase("run-1")
    assert await bench.bodies() == [None]


@scenario
async def prune_deletes_old_free_runs(bench: Bench) -> None:
    """Pruning deletes old runs of the named statuses without a current lease."""
    for number, status in enumerate(["succeeded", "failed", "running", "succeeded", "succeeded"]):
        lease = await bench.begin(f"run-{number}", ttl=10 if number != 3 else 1000)
        await bench.add(lease, number, status=status)
        bench.clock.now += 100 if number != 3 else 200
    statuses = ["succeeded", "failed"]
    assert await bench.store.prune(before=bench.clock.now - 100, statuses=statuses) == Pruned(2)
    assert await _listed(bench) == ["run-4", "run-3", "run-2"]
    assert await bench.store.prune(before=bench.clock.now, statuses=[]) == Pruned(0)
    for call in (bench.store.load("run-0"), bench.store.claim("run-0", "me", ttl=1)):
        with pytest.raises(RunNotFound):
            await call
    assert [await bench.bodies(f"run-{number}") for number in (2, 3, 4)] == [[2], [3], [4]]


@scenario
async def prune_deletes_many_runs(bench: Bench) -> None:
    """Pruning deletes more runs than fit into one batch."""
    await asyncio.gather(
        *(bench.store.create(replace(NEW, run_id=f"run-{number}")) for number in range(230))
    )
    bench.clock.now += 1
    assert (await bench.store.prune(before=bench.clock.now, statuses=["running"])).count == 230
    assert (await bench.store.list_runs()).runs == ()


@scenario
async def lease_of_pruned_run_is_lost(bench: Bench) -> None:
    """The lease of a pruned run is lost, even if another run has its id."""
    old = await bench.begin(ttl=1)
    bench.clock.now += 2
    await bench.store.prune(before=bench.clock.now, statuses=["running"])
    await bench.begin(owner="other")
    with pytest.raises(LeaseLost):
        await bench.add(old, "a")


# ---------------------------------------------------------------- the mailbox


async def _post(bench: Bench, letter_id: str, kind: str = "stop", body: Any = None) -> Letter:
    return await bench.store.post(NewLetter("run-1", letter_id, kind, body))


async def _settle(bench: Bench, lease: Lease, letter: Letter, error: str = "") -> None:
    settlement = Settlement(letter.number, Outcome(error, error and "why"))
    last = (await bench.store.load("run-1")).head.last_seq
    await bench.store.append(lease, [], expected_last_seq=last, settled=[settlement])


async def _mail(bench: Bench) -> list[str]:
    """Return the ids of the letters without an outcome, in order."""
    return [item.letter_id for item in await bench.store.list_letters("run-1") if not item.outcome]


@scenario
async def letters_are_read_in_order(bench: Bench) -> None:
    """Letters are listed in the order in which they were posted, whoever has the lease."""
    await bench.begin()
    await bench.begin("run-2")
    bench.clock.now += 5
    first = await _post(bench, "z", "answer", {"a": [1, None]})
    await bench.store.post(NewLetter("run-2", "other", "stop", None))
    second = await _post(bench, "a")
    assert first == Letter("run-1", "z", first.number, "answer", {"a": [1, None]}, bench.clock.now)
    assert await bench.store.list_letters("run-1") == (first, second)
    assert await bench.store.list_letters("run-1", after=first.number) == (second,)
    assert await bench.store.list_letters("run-1", after=second.number) == ()


@scenario
async def repeated_post_adds_no_letter(bench: Bench) -> None:
    """A letter that is posted again, after a lost reply, is there once; a settled one stays so."""
    lease = await bench.begin()
    letter = await _post(bench, "l", body={"x": 1})
    assert await _post(bench, "l", body={"x": 1}) == letter
    await _settle(bench, lease, letter)
    assert (await _post(bench, "l", body={"x": 1})).outcome == Outcome()
    assert len(await bench.store.list_letters("run-1")) == 1


@scenario
async def lossy_letters_are_refused(bench: Bench) -> None:
    """A letter whose body would not come back is refused."""
    await bench.begin()
    with pytest.raises(InvalidRecord):
        await _post(bench, "l", body={"x": float("nan")})
    assert await _mail(bench) == []


@scenario
async def letter_is_settled_with_its_records(bench: Bench) -> None:
    """Records and the outcomes of letters are stored together, or neither; the body is dropped."""
    lease = await bench.begin()
    letter, other = await _post(bench, "l", body="secret"), await _post(bench, "m", body="kept")
    settled = [Settlement(letter.number, Outcome("InputError", "too late"))]
    for wrong in (
        bench.store.append(lease, entries("a"), expected_last_seq=7, settled=settled),
        bench.store.append(
            lease, entries("a"), expected_last_seq=0, settled=[*settled, Settlement(99, Outcome())]
        ),
        bench.store.append(
            replace(lease, epoch=9), entries("a"), expected_last_seq=0, settled=settled
        ),
    ):
        with pytest.raises(JournalError):
            await wrong
        assert await _mail(bench) == ["l", "m"]
        assert await bench.bodies() == []
    for _ in range(2):  # the second time as after a lost reply
        await bench.store.append(lease, entries("a"), expected_last_seq=0, settled=settled)
    assert await bench.bodies() == ["a"]
    outcome = Outcome("InputError", "too late")
    assert await bench.store.list_letters("run-1") == (
        replace(letter, body=None, outcome=outcome),
        other,
    )


@scenario
async def settled_letter_keeps_its_outcome(bench: Bench) -> None:
    """The first outcome of a letter counts."""
    lease = await bench.begin()
    letter = await _post(bench, "l")
    await _settle(bench, lease, letter)
    await _settle(bench, lease, letter, "InputError")
    assert (await bench.store.list_letters("run-1"))[0].outcome == Outcome()


@scenario
async def letter_of_other_run_is_not_settled(bench: Bench) -> None:
    """An owner settles the letters of its run alone."""
    await bench.begin()
    lease = await bench.begin("run-2")
    letter = await _post(bench, "l")
    settled = [Settlement(letter.number, Outcome())]
    with pytest.raises(InvalidRecord, match=f"has no letter {letter.number} to settle"):
        await bench.store.append(lease, [], expected_last_seq=0, settled=settled)
    assert await _mail(bench) == ["l"]


@scenario
async def run_with_mail_is_not_released(bench: Bench) -> None:
    """An owner that ends keeps its lease while there is a letter that it has not taken in."""
    lease = await bench.begin()
    letter = await _post(bench, "l")
    assert not await bench.store.release_unless_mail(lease)
    await bench.add(lease, "a")
    await _settle(bench, lease, letter, "InputError")
    assert await bench.store.release_unless_mail(lease)
    assert (await bench.store.load("run-1")).head.lease is None
    other = await bench.store.claim("run-1", "other", ttl=60)
    await _post(bench, "m")
    assert await bench.store.release_unless_mail(lease)  # it was lost long ago
    assert (await bench.store.load("run-1")).head.lease == other
    await bench.store.release(other)  # its letters stay for the next owner
    assert await _mail(bench) == ["m"]


@scenario
async def posted_letter_wakes_watchers(bench: Bench) -> None:
    """Whoever watches the mailbox of a run is woken by a letter, and no more when it ended that."""
    await bench.begin()
    await bench.begin("run-2")
    woken = asyncio.Event()
    end = bench.store.watch_mail("run-1", woken.set)
    await asyncio.sleep(0.1)
    woken.clear()
    await asyncio.to_thread(asyncio.run, _post(bench, "from another thread and loop"))
    await asyncio.wait_for(woken.wait(), 5)
    end()
    await asyncio.sleep(0)
    woken.clear()
    await _post(bench, "later")
    await asyncio.sleep(0.1)
    assert not woken.is_set()


@scenario
async def erased_and_pruned_runs_lose_letters(bench: Bench) -> None:
    """What letters say goes with the content of their run; an erased run takes no more."""
    lease = await bench.begin(ttl=1)
    await bench.add(lease, "a", status="waiting")
    await _post(bench, "l", body="secret")
    bench.clock.now += 10
    await bench.store.erase("run-1")
    assert await bench.store.list_letters("run-1") == ()
    with pytest.raises(RunErased):
        await _post(bench, "m")
    await bench.begin("run-2", ttl=1)
    last = await bench.store.post(NewLetter("run-2", "l", "stop", None))
    bench.clock.now += 10
    assert await bench.store.prune(before=bench.clock.now, statuses=["running"]) == Pruned(1)
    await bench.begin("run-2")
    assert await bench.store.list_letters("run-2") == ()
    assert (await bench.store.post(NewLetter("run-2", "l", "stop", None))).number > last.number


# ---------------------------------------------------------------- closing


@scenario
async def closed_store_refuses_calls(bench: Bench) -> None:
    """A closed store refuses calls, and can be closed again."""
    lease = await bench.begin()
    for _ in range(2):
        await bench.store.close()
    for call in (
        bench.store.create(NEW),
        bench.store.load("run-1"),
        bench.add(lease, "a"),
        bench.store.list_runs(),
    ):
        with pytest.raises(StoreClosed, match="was closed"):
            await call


@scenario
async def close_waits_for_earlier_calls(bench: Bench) -> None:
    """Closing waits for the calls before it."""
    lease = await bench.begin()
    task = asyncio.ensure_future(bench.add(lease, "a"))
    await asyncio.sleep(0)
    await bench.store.close()
    assert await task is None


@scenario
async def store_errors_are_journal_errors(bench: Bench) -> None:
    """Errors of a store are journal errors."""
    with pytest.raises(JournalError):
        await bench.store.load("nothing-here")
