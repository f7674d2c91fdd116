"""Contract of an `Engine`, as checks that run on any of them.

The tests of an engine parametrize a test with `every_scenario`, and give it a bench whose engines
are all on one queue, each in the place of a worker of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from graphorch.distributed.engine import MAX_PAYLOAD, Engine, Handler, Job
from graphorch.distributed.errors import EngineClosed, PayloadTooLarge
from graphorch.errors import InputError


@dataclass
class Bench:
    """A queue under test: `connect` makes one more engine on it.

    `timeout` is that of the engines; `moment` is longer than an engine takes to hand out a job. One
    that is not `is_exact` hands out jobs of one priority in any order, and may take a key of two
    processes twice if they put it at the same moment. One that `withdraws` takes back what a worker
    has. `many` is a number of jobs that it hands out within seconds.
    """

    connect: Callable[[], Awaitable[Engine]]
    timeout: float
    moment: float
    is_exact: bool = True
    withdraws: bool = True
    many: int = 2_500
    engines: list[Engine] = field(default_factory=list[Engine])

    async def open(self) -> Engine:
        """Return an engine that is closed at the end."""
        engine = await self.connect()
        self.engines.append(engine)
        return engine

    async def close(self) -> None:
        """Close all engines."""
        for engine in self.engines:
            await engine.close()


class Work:
    """A handler that notes what it did; while `gate` is closed, its jobs last."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.begun: list[Job] = []
        self.ended: list[str] = []
        self.at_once = self.most = 0
        self.gate = asyncio.Event()
        self._changed = asyncio.Event()
        if is_open:
            self.gate.set()

    async def __call__(self, job: Job) -> None:
        self.begun.append(job)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        self._changed.set()
        try:
            await self.gate.wait()
            self.ended.append(job.key)
        finally:
            self.at_once -= 1
            self._changed.set()

    @property
    def keys(self) -> list[str]:
        return [job.key for job in self.begun]

    async def until(self, is_met: Callable[[], bool]) -> None:
        """Wait for a condition, which is looked at after each change."""
        async with asyncio.timeout(20):
            while not is_met():
                self._changed.clear()
                await self._changed.wait()

    async def until_begun(self, count: int) -> None:
        await self.until(lambda: len(self.begun) >= count)

    async def until_ended(self, count: int) -> None:
        await self.until(lambda: len(self.ended) >= count)


def job(key: str, kind: str = "node:a", payload: bytes = b"x", **options: float) -> Job:
    return Job(kind, key, payload, int(options.get("priority", 0)), options.get("delay", 0.0))


def jobs(count: int, kind: str = "node:a") -> list[Job]:
    return [job(f"{kind}/{number}", kind) for number in range(count)]


@asynccontextmanager
async def serving(
    engine: Engine, handler: Handler, slots: int = 10, kinds: Sequence[str] = ("node:a",)
) -> AsyncIterator[asyncio.Task[None]]:
    """Serve while the block runs, and let the jobs under way end."""
    task = asyncio.ensure_future(engine.serve(kinds, slots, handler))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until_gone(engine: Engine, keys: Sequence[str]) -> None:
    """Wait until the queue knows that jobs are over."""
    for _ in range(1_000):
        if not await engine.list_alive(keys):
            return
        await asyncio.sleep(0.01)
    pytest.fail(f"Jobs are still alive: {await engine.list_alive(keys)}")


Scenario = Callable[[Bench], Awaitable[None]]
scenarios: list[Scenario] = []


def scenario(check: Scenario) -> Scenario:
    """Add a check to the contract."""
    scenarios.append(check)
    return check


async def run(check: Scenario, bench: Bench) -> None:
    """Run a check, and close its engines."""
    try:
        await check(bench)
    finally:
        await bench.close()


# ---------------------------------------------------------------- handing out


@scenario
async def waiting_job_is_handed_out(bench: Bench) -> None:
    """A job that waits is handed out once to who begins to serve, as it was put."""
    engine, work = await bench.open(), Work()
    await engine.put([Job("node:a", "k", bytes(range(256)), priority=3)])
    async with serving(engine, work):
        await work.until_ended(1)
        await asyncio.sleep(bench.moment)
    assert work.begun == [Job("node:a", "k", bytes(range(256)), priority=3)]


@scenario
async def new_job_wakes_worker(bench: Bench) -> None:
    """A worker that waits is handed a new job of another process at once."""
    engine, other, work = await bench.open(), await bench.open(), Work()
    async with serving(engine, work):
        await asyncio.sleep(bench.moment)
        await other.put([job("k")])
        await asyncio.sleep(bench.moment)
        assert work.ended == ["k"]


@scenario
async def other_kinds_stay(bench: Bench) -> None:
    """A worker is handed the kinds that it serves only."""
    engine, work = await bench.open(), Work()
    await engine.put([job("a"), job("b", "node:b"), job("c", "run:a")])
    async with serving(engine, work, kinds=["node:a", "run:a"]):
        await work.until_ended(2)
        await asyncio.sleep(bench.moment)
    assert sorted(work.ended) == ["a", "c"]
    assert await engine.list_alive(["a", "b", "c"]) == {"b"}


@scenario
async def slots_bound_jobs(bench: Bench) -> None:
    """A worker handles as many jobs at once as it has slots, and then the others."""
    engine, work = await bench.open(), Work(is_open=False)
    await engine.put(jobs(9))
    async with serving(engine, work, slots=4):
        await work.until_begun(4)
        await asyncio.sleep(bench.moment)
        assert len(work.begun) == 4
        work.gate.set()
        await work.until_ended(9)
    assert (work.most, len(set(work.keys))) == (4, 9)


@scenario
async def services_have_own_slots(bench: Bench) -> None:
    """Jobs of one call of `serve` that fill its slots do not block those of another."""
    engine, runs, nodes = await bench.open(), Work(is_open=False), Work()
    async with serving(engine, runs, slots=2, kinds=["run:a"]), serving(engine, nodes, slots=2):
        await engine.put([*jobs(5, "run:a"), *jobs(5)])
        await nodes.until_ended(5)
        await runs.until_begun(2)
        runs.gate.set()
        await runs.until_ended(5)


@scenario
async def workers_share_jobs(bench: Bench) -> None:
    """Two workers handle each job once between them."""
    first, second, work = await bench.open(), await bench.open(), Work()
    async with serving(first, work), serving(second, work):
        await first.put(jobs(100))
        await work.until_ended(100)
        await asyncio.sleep(bench.moment)
    assert Counter(work.keys) == Counter(job.key for job in jobs(100))


@scenario
async def greater_priority_comes_first(bench: Bench) -> None:
    """Of the jobs that wait, one with a greater priority is begun first, then the older one."""
    engine, work = await bench.open(), Work()
    await engine.put([job("old"), job("new"), job("last", priority=-5), job("first", priority=7)])
    async with serving(engine, work, slots=1):
        await work.until_ended(4)
    expected = ["first", "old", "new", "last"]
    assert work.keys == expected if bench.is_exact else set(work.keys) == set(expected)


@scenario
async def delayed_job_begins_later(bench: Bench) -> None:
    """A job with a delay begins when it has passed, and holds up no other job."""
    engine, work = await bench.open(), Work()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await engine.put([job("later", delay=3 * bench.moment, priority=9), job("now")])
    async with serving(engine, work):
        await work.until_ended(1)
        await asyncio.sleep(bench.moment)
        assert work.ended == ["now"]
        await work.until_ended(2)
    assert 3 * bench.moment <= loop.time() - began <= 5 * bench.moment


@scenario
async def many_jobs_are_put_at_once(bench: Bench) -> None:
    """Thousands of jobs can be put with one call, and all of them are handled."""
    engine, work = await bench.open(), Work()
    await engine.put(jobs(bench.many))
    async with serving(engine, work, slots=200):
        await work.until_ended(bench.many)
    assert len(set(work.ended)) == bench.many


@scenario
async def unusual_jobs_come_back_equal(bench: Bench) -> None:
    """Empty and large payloads, long keys and any letters come back as they were put."""
    engine, work = await bench.open(), Work()
    put = [
        job("empty", payload=b""),
        job("large", payload=bytes(range(256)) * 4_000),
        job("k" * 3_000),
        job("k" * 2_999 + "é"),
        job("'\"\\\n%s $1 é 🙂", "node:'é🙂:gpu@f%s"),
    ]
    await engine.put(put)
    async with serving(engine, work, kinds=["node:a", "node:'é🙂:gpu@f%s"]):
        await work.until_ended(len(put))
    assert sorted(work.begun, key=lambda job: job.key) == sorted(put, key=lambda job: job.key)
    await until_gone(engine, ["k" * 3_000])


@scenario
async def impossible_jobs_are_refused(bench: Bench) -> None:
    """A job that no engine can keep is refused where it is made."""
    with pytest.raises(PayloadTooLarge, match=r"'k' carries 8\.0 MB.*reference to it"):
        job("k", payload=bytes(MAX_PAYLOAD + 1))
    for wrong in ({"kind": ""}, {"kind": "a\0"}, {"kind": "a" * 501}, {"key": ""}, {"key": "\0"}):
        with pytest.raises(InputError, match="of a job"):
            Job(**{"kind": "a", "key": "k", "payload": b"", **wrong})
    for delay in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InputError, match="delay"):
            job("k", delay=delay)
    with pytest.raises(InputError, match="priority"):
        job("k", priority=2**31)


# ---------------------------------------------------------------- keys


@scenario
async def living_key_is_left_out(bench: Bench) -> None:
    """A job whose key waits or is handled is left out, also within one call; later it is new."""
    engine, work = await bench.open(), Work(is_open=False)
    await engine.put([job("k"), job("k"), job("k", "node:b")])
    await engine.put([job("k")])
    async with serving(engine, work):
        await work.until_begun(1)
        await engine.put([job("k"), job("other")])
        await work.until_begun(2)
        assert sorted(work.keys) == ["k", "other"]
        work.gate.set()
        await work.until_ended(2)
        await until_gone(engine, ["k"])
        await engine.put([job("k")])
        await work.until_ended(3)
    assert sorted(work.keys) == ["k", "k", "other"]


@scenario
async def racing_puts_add_key_once(bench: Bench) -> None:
    """Processes that put the same keys at the same time, in any order, add each once."""
    engines = [await bench.open() for _ in range(3)]
    await asyncio.gather(
        *(
            engine.put(part)
            for engine in engines
            for part in (jobs(200), jobs(200)[::-1], jobs(100))
        )
    )
    work = Work()
    async with serving(engines[0], work, slots=50):
        await work.until_ended(200)
        await asyncio.sleep(bench.moment)
    assert len(set(work.keys)) == 200
    assert len(work.keys) == 200 or not bench.is_exact


@scenario
async def job_is_held_until_it_is_withdrawn(bench: Bench) -> None:
    """A worker still has a job that it handles, and no longer once that is withdrawn."""
    engine, other, work = await bench.open(), await bench.open(), Work(is_open=False)
    await engine.put([job("k")])
    async with serving(engine, work):
        await work.until_begun(1)
        await asyncio.sleep(2 * bench.timeout)
        assert engine.is_held("k")
        assert await engine.keep("k")
        await other.forget(["k"])
        await asyncio.sleep(2 * bench.timeout)
        assert (engine.is_held("k"), await engine.keep("k")) == (not bench.withdraws,) * 2
        work.gate.set()


@scenario
async def living_keys_are_listed(bench: Bench) -> None:
    """A key is alive while its job waits or is handled, and not after it."""
    engine, work = await bench.open(), Work(is_open=False)
    assert await engine.list_alive([]) == frozenset()
    await engine.put([job("waits", "node:b"), job("runs"), job("later", "node:b", delay=60)])
    async with serving(engine, work):
        await work.until_begun(1)
        keys = ["waits", "runs", "later", "never was"]
        assert await engine.list_alive(keys) == {"waits", "runs", "later"}
        work.gate.set()
        await until_gone(engine, ["runs"])


@scenario
async def waiting_jobs_are_withdrawn(bench: Bench) -> None:
    """Cancelling withdraws what has not begun; what runs goes on."""
    engine, work = await bench.open(), Work(is_open=False)
    await engine.put([job("runs"), *jobs(2), job("later", delay=60), job("k" * 3_000)])
    async with serving(engine, work, slots=1):
        await work.until_begun(1)
        await engine.cancel(["runs", "node:a/0", "later", "k" * 3_000, "never was"])
        await engine.cancel([])
        work.gate.set()
        await work.until_ended(2)
        await asyncio.sleep(bench.moment)
    assert work.ended == ["runs", "node:a/1"]


@scenario
async def done_jobs_are_forgotten(bench: Bench) -> None:
    """A key is free once its job was forgotten, and its handler ends as any other does."""
    engine, work = await bench.open(), Work(is_open=False)
    await engine.put([job("runs"), *jobs(1)])
    async with serving(engine, work, slots=1):
        await work.until_begun(1)
        await engine.forget(["runs", "node:a/0", "never was"])
        alive = await engine.list_alive(["runs", "node:a/0"])
        assert alive == (frozenset() if bench.is_exact else {"runs"})
        work.gate.set()
        await work.until_ended(1)
        await asyncio.sleep(bench.moment)
    assert work.ended == ["runs"]


@scenario
async def health_counts_jobs(bench: Bench) -> None:
    """The health names each kind with its jobs, and how late the oldest is."""
    engine, work = await bench.open(), Work(is_open=False)
    assert list(await engine.read_health()) == []
    await engine.put([*jobs(3), job("b", "node:b"), job("later", "node:c", delay=60)])
    async with serving(engine, work, slots=2):
        await work.until_begun(2)
        await asyncio.sleep(bench.moment)
        first, second, third = await engine.read_health()
        assert (first.kind, first.waiting, first.handled) == ("node:a", 1, 2)
        assert (second.kind, second.waiting, second.handled) == ("node:b", 1, 0)
        assert bench.moment / 2 < second.lag < 5 * bench.moment
        assert (third.kind, third.waiting, third.handled, third.lag) == ("node:c", 1, 0, 0.0)
        work.gate.set()


# ---------------------------------------------------------------- ends


@scenario
async def failed_handler_ends_job(bench: Bench) -> None:
    """A handler that raises, or cancels itself, has ended its job; the others go on."""
    engine, work = await bench.open(), Work()

    async def handle(job: Job) -> None:
        await work(job)
        if job.key == "fails":
            raise ValueError("broken")
        if job.key == "stray":
            raise asyncio.CancelledError

    await engine.put([job("fails"), job("stray"), job("k")])
    async with serving(engine, handle):
        await work.until_ended(3)
        await until_gone(engine, ["fails", "stray", "k"])
        await asyncio.sleep(bench.moment)
    assert sorted(work.keys) == ["fails", "k", "stray"]


@scenario
async def long_job_is_kept(bench: Bench) -> None:
    """A job that lasts longer than the timeout stays with its worker."""
    first, second, work = await bench.open(), await bench.open(), Work(is_open=False)
    await first.put([job("k")])
    async with serving(first, work), serving(second, work):
        await work.until_begun(1)
        await asyncio.sleep(2.5 * bench.timeout)
        work.gate.set()
        await work.until_ended(1)
    assert work.keys == ["k"]


@scenario
async def cancelled_service_ends_its_jobs(bench: Bench) -> None:
    """A service that is cancelled begins no job, ends those under way, and leaves the others."""
    first, second, work = await bench.open(), await bench.open(), Work(is_open=False)
    await first.put(jobs(5))
    task = asyncio.ensure_future(first.serve(["node:a"], 2, work))
    await work.until_begun(2)
    task.cancel()
    await asyncio.sleep(bench.moment)
    assert not task.done()
    work.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(work.ended) == 2
    assert len(await second.list_alive([job.key for job in jobs(5)])) == 3
    async with serving(second, work):
        await work.until_ended(5)
    assert len(set(work.ended)) == 5


@scenario
async def second_cancellation_gives_back(bench: Bench) -> None:
    """A service that is cancelled twice cancels its handlers, and others get the jobs at once."""
    first, second, held, work = await bench.open(), await bench.open(), Work(is_open=False), Work()
    await first.put(jobs(3))
    task = asyncio.ensure_future(first.serve(["node:a"], 3, held))
    await held.until_begun(3)
    async with serving(second, work):
        task.cancel()
        await asyncio.sleep(bench.moment)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(bench.moment)
        assert (sorted(work.ended), held.ended) == ([job.key for job in jobs(3)], [])


@scenario
async def cancelled_handler_gives_job_back(bench: Bench) -> None:
    """A job whose task is cancelled is not over: it is handed out again."""
    engine, work = await bench.open(), Work(is_open=False)
    tasks: list[asyncio.Task[None]] = []

    async def handle(job: Job) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.append(task)
        await work(job)

    await engine.put([job("k")])
    async with serving(engine, handle):
        await work.until_begun(1)
        tasks[0].cancel()
        await work.until_begun(2)
        work.gate.set()
        await work.until_ended(1)


@scenario
async def closed_engine_refuses_calls(bench: Bench) -> None:
    """A closed engine ends its services with an error, refuses calls, and can be closed again."""
    engine, other, work = await bench.open(), await bench.open(), Work()
    serving = asyncio.ensure_future(engine.serve(["node:a"], 2, work))
    await asyncio.sleep(bench.moment)
    for _ in range(2):
        await engine.close()
    with pytest.raises(EngineClosed, match="closed"):
        await serving
    for call in (
        engine.put([job("k")]),
        engine.serve(["node:a"], 1, work),
        engine.cancel(["k"]),
        engine.list_alive(["k"]),
        engine.read_health(),
    ):
        with pytest.raises(EngineClosed, match="closed"):
            await call
    await other.put([job("k")])
    assert await other.list_alive(["k"]) == {"k"}


every_scenario = pytest.mark.parametrize(
    "check", [pytest.param(check, id=check.__name__) for check in scenarios]
)
