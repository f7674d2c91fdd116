"""Runs on asyncio: concurrency, failures, limits and cancelling, with nothing left running."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel

from graphorch import (
    Ask,
    Cache,
    Cancelled,
    Committed,
    Context,
    Ended,
    Failed,
    Failure,
    Flow,
    Graph,
    InputError,
    LimitReached,
    Limits,
    LoopExhausted,
    Missing,
    Node,
    NodeError,
    QuorumNotMet,
    Retry,
    RunEvent,
    RunFailed,
    Started,
    TooManyItems,
    WrongOutput,
    append,
    node,
)
from graphorch.testing.virtual_clock import run_virtual


class Count(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: Annotated[list[str], append] = []


class State(Count, Log): ...


class Item(BaseModel):
    text: str


class Items(BaseModel):
    items: list[Item] = []


class Texts(BaseModel):
    texts: list[str] = []


class Batch(Items, Texts): ...


def sleeper(name: str, seconds: float = 0.0) -> Node[Any]:
    """Make a node that takes some time and writes its name into the log."""

    @node(name=name)
    async def sleep(count: Count) -> Log:
        await asyncio.sleep(seconds)
        return Log(log=[name])

    return sleep


def raiser(name: str, error: Exception, seconds: float = 0.0) -> Node[Any]:
    """Make a node that fails."""

    @node(name=name)
    async def fail(count: Count) -> Log:
        await asyncio.sleep(seconds)
        raise error

    return fail


@node
def up(count: Count) -> Count:
    return Count(n=count.n + 1)


def elapsed(main: Coroutine[Any, Any, Any]) -> tuple[Any, float]:
    """Return a result, and the virtual seconds that it took."""

    async def timed() -> tuple[Any, float]:
        return await main, asyncio.get_running_loop().time()

    return run_virtual(timed())


def failed_run(main: Coroutine[Any, Any, Any]) -> RunFailed:
    with pytest.raises(RunFailed) as caught:
        run_virtual(main)
    return caught.value


async def events_of(flow: Flow[Any, Any, Any], value: BaseModel, **options: Any) -> list[RunEvent]:
    return [event async for event in flow.stream(value, **options)]


# ---- order and concurrency -----------------------------------------------------------------------
def test_branches_run_concurrently() -> None:
    """Branches run concurrently, and their updates fold in the order of declaration."""
    graph = Graph("fan", State)
    graph.chain(up, [sleeper("slow", 5), sleeper("fast", 1)], sleeper("last"))
    result, seconds = elapsed(graph.build().run(State()))
    assert result.state.log == ["slow", "fast", "last"]
    assert seconds == 5


def test_fast_branch_does_not_wait() -> None:
    """Lanes of 1+1+10 and 10+1+1 seconds take 12 seconds: no step waits for the other lane."""
    graph = Graph("lanes", State)
    lanes = [
        [sleeper(f"{lane}{step}", seconds) for step, seconds in enumerate(times)]
        for lane, times in zip("ab", ([1, 1, 10], [10, 1, 1]), strict=True)
    ]
    end = sleeper("end")
    for lane in lanes:
        graph.chain(up, *lane, end)
    result, seconds = elapsed(graph.build().run(State()))
    assert seconds == 12
    assert result.state.log == ["a0", "b0", "a1", "b1", "a2", "b2", "end"]


def test_chain_runs_in_one_task() -> None:
    tasks: set[str] = set()

    def step(name: str) -> Node[Any]:
        @node(name=name)
        async def remember(count: Count) -> Count:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task.get_name())
            return Count(n=count.n + 1)

        return remember

    graph = Graph("chain", Count)
    graph.chain(*[step(f"s{number}") for number in range(5)])
    assert run_virtual(graph.build().run(Count())).output.n == 5
    assert len(tasks) == 1


def test_run_concurrency_includes_sub_flows() -> None:
    inner = Graph("inner", State)
    inner.chain(up, [sleeper("x", 1), sleeper("y", 1)])
    inner_flow = inner.build()

    def names(state: State) -> Log:
        return Log(log=state.log)

    graph = Graph("outer", State)
    subs = [graph.sub(name, inner_flow, enter=lambda s: State(), leave=names) for name in "abc"]
    graph.chain(up, subs)
    _, unlimited = elapsed(graph.build().run(State()))
    _, limited = elapsed(graph.build().run(State(), limits=Limits(concurrency=2)))
    assert (unlimited, limited) == (1, 3)


def test_node_concurrency_spans_map_items() -> None:
    @node(concurrency=2)
    async def work(item: Item) -> Item:
        await asyncio.sleep(1)
        return item

    graph = Graph("map", Batch)
    graph.chain(
        graph.map("m", work, over=lambda b: b.items, gather=texts, max_items=10, concurrency=10)
    )
    _, seconds = elapsed(graph.build().run(Batch(items=[Item(text=str(i)) for i in range(6)])))
    assert seconds == 3


def texts(items: list[Item]) -> Texts:
    return Texts(texts=[item.text for item in items])


# ---- what a node gets and gives ------------------------------------------------------------------
def test_input_changed_in_place_stays_local() -> None:
    class Bag(BaseModel):
        bag: list[list[int]] = []

    @node
    async def spoil(bag: Bag) -> None:
        bag.bag[0].append(99)
        bag.bag.clear()

    @node
    async def count(bag: Bag) -> Count:
        return Count(n=bag.bag[0][0])

    class Both(Bag, Count): ...

    graph = Graph("bags", Both)
    graph.chain(spoil, count)
    given = Both(bag=[[7]])
    result = run_virtual(graph.build().run(given))
    assert (result.state.bag, result.state.n, given.bag) == ([[7]], 7, [[7]])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (Log(log=["x"]), "It returned Log Log(log=['x']), but declares Count. Return a Count."),
        (None, "It returned nothing, but declares Count"),
        (Count.model_construct(n="many"), "'n' = str 'many'"),
    ],
)
def test_wrong_output_fails_node(wrong: Any, message: str) -> None:
    """Wrong outputs fail the node, with the returned value in the error."""

    @node
    async def liar(count: Count) -> Count:
        return wrong

    failure = failed_run(Graph("g", State).chain(liar).build().run(State()))
    (error,) = failure.exceptions
    assert isinstance(error, NodeError)
    assert isinstance(error.__cause__, WrongOutput)
    assert message in str(error)


def test_sync_node_runs_in_thread() -> None:
    """Sync nodes run in a thread, inline nodes on the loop."""
    import threading

    seen: list[str] = []

    @node
    def threaded(count: Count) -> Count:
        seen.append(threading.current_thread().name)
        return count

    @node(isolation="inline")
    def inline(count: Count) -> Count:
        seen.append(threading.current_thread().name)
        return count

    run_virtual(Graph("g", Count).chain(threaded, inline).build().run(Count()))
    assert seen[0].startswith("graphorch-")
    assert seen[1] == threading.current_thread().name


def test_resources_reach_nodes() -> None:
    """Resources reach the nodes, and their type is checked before the run."""

    class Clients:
        rate = 3

    @node
    async def use(ctx: Context[Clients], count: Count) -> Count:
        return Count(n=ctx.resources.rate)

    flow = Graph("g", Count).chain(use).build()
    assert run_virtual(flow.run(Count(), resources=Clients())).output.n == 3
    with pytest.raises(
        InputError,
        match=r"Node 'use' of flow 'g' needs resources of type Clients, got nothing\. "
        r"Pass resources=Clients",
    ):
        run_virtual(flow.run(Count()))


def test_key_identifies_activation() -> None:
    """Every attempt of an activation has the key of the activation."""
    keys: list[str] = []

    @node(retry=Retry(3))
    async def flaky(ctx: Context, count: Count) -> Count:
        keys.append(ctx.key)
        if ctx.attempt < 3:
            raise ValueError("again")
        return count

    run_virtual(
        Graph("g", Count).chain(flaky, flaky.named("other")).build().run(Count(), run_id="r")
    )
    assert len(keys) == 6
    assert len(set(keys[:3])) == 1
    assert len(set(keys)) == 2


# ---- failure -------------------------------------------------------------------------------------
def test_drain_lets_siblings_finish() -> None:
    """Siblings of a failed node finish, and nothing new starts."""
    graph = Graph("g", State)
    graph.chain(up, [raiser("bad", ValueError("no"), 1), sleeper("good", 5)], sleeper("never"))
    failure = failed_run(graph.build().run(State()))
    record: Any = failure.run
    assert {(step.node, step.status) for step in record.steps()} == {
        ("up", "done"),
        ("good", "done"),
        ("bad", "failed"),
    }
    (error,) = failure.exceptions
    assert isinstance(error, NodeError)
    assert (error.node, error.path, error.attempt, failure.end_reason) == (
        "bad",
        "bad",
        1,
        "failed",
    )
    assert isinstance(error.__cause__, ValueError)


def test_cancel_stops_siblings() -> None:
    graph = Graph("g", State)
    graph.chain(up, [raiser("bad", ValueError("no"), 1), sleeper("slow", 500)])

    async def timed() -> float:
        with pytest.raises(RunFailed):
            await graph.build().run(State(), on_failure="cancel")
        return asyncio.get_running_loop().time()

    assert run_virtual(timed()) == 1


def test_isolate_continues_independent_branches() -> None:
    graph = Graph("g", State)
    graph.chain(up, [raiser("bad", ValueError("no")), sleeper("good", 1)], sleeper("last"))
    result = run_virtual(graph.build().run(State(), on_failure="isolate"))
    assert result.status == "partial"
    assert result.state.log == ["good", "last"]


def test_failures_are_raised_in_order() -> None:
    graph = Graph("g", State)
    graph.chain(up, [raiser("late", ValueError("b"), 2), raiser("early", KeyError("a"), 1)])
    failure = failed_run(graph.build().run(State()))
    assert [error.node for error in failure.exceptions if isinstance(error, NodeError)] == [
        "early",
        "late",
    ]


def test_error_edge_carries_failure() -> None:
    @node
    async def rescue(failure: Failure, count: Count) -> Log:
        return Log(log=[f"{failure.path}: {failure.error}: {failure.message}"])

    graph = Graph("g", State)
    bad = raiser("bad", ValueError("no"))
    graph.chain(up, bad, sleeper("next"))
    graph.on_error(bad, rescue, when=ValueError)
    result = run_virtual(graph.build().run(State()))
    assert result.state.log == ["bad: ValueError: no"]


def test_retries_pause_and_end() -> None:
    @node(retry=Retry(3, first=10, factor=2))
    async def bad(count: Count) -> Count:
        raise ValueError("no")

    flow = Graph("g", Count).chain(bad).build()

    async def timed() -> tuple[RunFailed, float]:
        with pytest.raises(RunFailed) as caught:
            await flow.run(Count(), run_id="r")
        return caught.value, asyncio.get_running_loop().time()

    failure, seconds = run_virtual(timed())
    (error,) = failure.exceptions
    assert isinstance(error, NodeError)
    assert error.attempt == 3
    assert len(error.story) == 3
    assert 15 <= seconds <= 30
    assert run_virtual(timed())[1] == seconds  # the jitter is a hash, so it is the same again


def test_retry_is_limited_to_named_exceptions() -> None:
    calls: list[int] = []

    @node(retry=Retry(5, on=(TimeoutError,)))
    async def bad(count: Count) -> Count:
        calls.append(1)
        raise ValueError("no")

    failed_run(Graph("g", Count).chain(bad).build().run(Count()))
    assert len(calls) == 1


def test_timeout_ends_attempt() -> None:
    @node(timeout=2)
    async def slow(count: Count) -> Count:
        await asyncio.sleep(100)
        return count

    failure = failed_run(Graph("g", Count).chain(slow).build().run(Count()))
    assert "Attempt 1 took longer than timeout=2 s" in str(failure)
    (error,) = failure.exceptions
    assert isinstance(error.__cause__, TimeoutError)


def test_deadline_counts_all_attempts() -> None:
    @node(retry=Retry(100, first=1, factor=1), deadline=10)
    async def bad(count: Count) -> Count:
        raise ValueError("no")

    async def timed() -> float:
        with pytest.raises(RunFailed):
            await Graph("g", Count).chain(bad).build().run(Count())
        return asyncio.get_running_loop().time()

    assert run_virtual(timed()) <= 10


# ---- limits --------------------------------------------------------------------------------------
def test_limit_of_seconds_stops_run() -> None:
    failure = failed_run(
        Graph("g", State)
        .chain(up, sleeper("slow", 100))
        .build()
        .run(State(), limits=Limits(seconds=5))
    )
    assert failure.end_reason == "limit:seconds"
    assert any(isinstance(error, LimitReached) for error in failure.exceptions)


def test_resumed_run_forgets_old_deadline() -> None:
    """Without a limit of seconds, a resumed run works for as long as it takes."""
    seconds_left: list[float | None] = []

    @node
    async def slow(ctx: Context, count: Count) -> Log:
        seconds_left.append(ctx.time_left)
        await asyncio.sleep(100)
        return Log(log=["slow"])

    flow = Graph("g", State).chain(up, slow).build()

    async def main() -> list[str]:
        with pytest.raises(RunFailed):
            await flow.run(State(), run_id="r", limits=Limits(seconds=5))
        return (await flow.resume("r", limits=Limits())).state.log

    assert elapsed(main()) == (["slow"], 105)
    assert seconds_left == [5, None]


def test_limit_of_activations_stops_run() -> None:
    """A run that is stopped by its limit keeps what was committed."""
    graph = Graph("g", Count)
    graph.chain(up)
    graph.loop(up, back_to=up, while_=lambda s: True, max_iterations=100)
    failure = failed_run(graph.build().run(Count(), limits=Limits(activations=7)))
    record: Any = failure.run
    assert failure.end_reason == "limit:activations"
    assert len([step for step in record.steps() if step.status == "done"]) == 7


def test_exhausted_loop_fails_or_is_reported() -> None:
    def flow(exhausted: Literal["continue", "fail"]) -> Flow[Count, Count, Count]:
        graph = Graph("g", Count)
        graph.chain(up).loop(
            up, back_to=up, while_=lambda s: s.n < 10, max_iterations=3, exhausted=exhausted
        )
        return graph.build()

    result = run_virtual(flow("continue").run(Count()))
    assert result.output.n == 3
    assert result.exhausted == (("up", "up"),)
    failure = failed_run(flow("fail").run(Count()))
    assert isinstance(failure.exceptions[0].__cause__, LoopExhausted)


# ---- maps ----------------------------------------------------------------------------------------
def batch(count: int) -> Batch:
    return Batch(items=[Item(text=str(number)) for number in range(count)])


@node
async def odd_fails(item: Item) -> Item:
    await asyncio.sleep(int(item.text))
    if int(item.text) % 2:
        raise ValueError(f"{item.text} is odd")
    return Item(text=item.text * 2)


def test_map_keeps_order_of_items() -> None:
    @node
    async def backwards(item: Item) -> Item:
        await asyncio.sleep(10 - int(item.text))
        return item

    graph = Graph("g", Batch)
    graph.chain(graph.map("m", backwards, over=lambda b: b.items, gather=texts, max_items=5))
    assert run_virtual(graph.build().run(batch(5))).state.texts == ["0", "1", "2", "3", "4"]


def test_map_collects_missing_items() -> None:
    def gather(items: list[Item], missing: list[Missing]) -> Texts:
        return Texts(
            texts=[item.text for item in items]
            + [f"{item.index}: {item.reason}" for item in missing]
        )

    graph = Graph("g", Batch)
    graph.chain(
        graph.map(
            "m",
            odd_fails,
            over=lambda b: b.items,
            gather=gather,
            max_items=5,
            on_item_error="collect",
        )
    )
    assert run_virtual(graph.build().run(batch(4))).state.texts == [
        "00",
        "22",
        "1: 1 is odd",
        "3: 3 is odd",
    ]


def test_map_quorum_cancels_rest() -> None:
    graph = Graph("g", Batch)
    graph.chain(
        graph.map("m", odd_fails, over=lambda b: b.items, gather=texts, max_items=9, need=2)
    )
    result, seconds = elapsed(graph.build().run(batch(9)))
    assert (result.state.texts, seconds) == (["00", "22"], 2)


def test_map_short_of_quorum_names_missing() -> None:
    graph = Graph("g", Batch)
    graph.chain(
        graph.map("m", odd_fails, over=lambda b: b.items, gather=texts, max_items=9, need=3)
    )
    failure = failed_run(graph.build().run(batch(4)))
    causes = [error.__cause__ for error in failure.exceptions]
    assert any(
        isinstance(cause, QuorumNotMet)
        and "3 results are needed, and 2 came: item 1: 1 is odd; item 3" in str(cause)
        for cause in causes
    )


def test_map_with_too_many_items_fails() -> None:
    graph = Graph("g", Batch)
    graph.chain(graph.map("m", odd_fails, over=lambda b: b.items, gather=texts, max_items=2))
    failure = failed_run(graph.build().run(batch(3)))
    assert isinstance(failure.exceptions[0].__cause__, TooManyItems)


# ---- cancelling ----------------------------------------------------------------------------------
def test_cancelled_caller_stops_everything() -> None:
    async def main() -> tuple[float, set[asyncio.Task[Any]]]:
        graph = Graph("g", State)
        graph.chain(up, [sleeper("a", 100), sleeper("b", 100)])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await graph.build().run(State())
        return asyncio.get_running_loop().time(), asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]

    seconds, left = run_virtual(main())
    assert (seconds, left) == (1, set())


def test_swallowed_cancellation_commits_nothing() -> None:
    @node
    async def stubborn(count: Count) -> Count:
        try:
            await asyncio.sleep(100)
        except asyncio.CancelledError:
            return Count(n=5)
        return Count(n=1)

    seen: list[RunEvent] = []

    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await (
                    Graph("g", Count).chain(stubborn, up).build().run(Count(), watch=[seen.append])
                )

    run_virtual(main())
    assert not [event for event in seen if isinstance(event, Committed)]


def test_quorum_cancels_rest_of_region() -> None:
    graph = Graph("g", State)
    last = sleeper("last")
    graph.chain(up, [sleeper("a", 1), sleeper("b", 100)], last)
    graph.join(last, need=1)
    seen = run_virtual(events_of(graph.build(), State()))
    assert [event.node for event in seen if isinstance(event, Cancelled)] == ["b"]
    assert isinstance(seen[-1], Ended)
    assert seen[-1].status == "succeeded"


# ---- events --------------------------------------------------------------------------------------
def test_stream_yields_all_events() -> None:
    """Streams yield all events of the run, and `Ended` at last."""
    seen = run_virtual(events_of(Graph("g", State).chain(up, sleeper("s", 1)).build(), State()))
    assert [type(event).__name__ for event in seen] == [
        "Started",
        "Committed",
        "Started",
        "Committed",
        "Ended",
    ]
    committed = seen[1]
    assert isinstance(committed, Committed)
    assert (committed.update, committed.to) == ({"n": 1}, ("s",))


def test_stream_of_failing_run_raises_last() -> None:
    seen: list[RunEvent] = []

    async def main() -> None:
        async for event in (
            Graph("g", State).chain(raiser("bad", ValueError("no"))).build().stream(State())
        ):
            seen.append(event)

    failed_run(main())
    assert isinstance(seen[-1], Ended)
    assert any(isinstance(event, Failed) for event in seen)


def test_leaving_stream_cancels_run() -> None:
    async def main() -> float:
        stream = Graph("g", State).chain(sleeper("slow", 100)).build().stream(State())
        async for event in stream:
            assert isinstance(event, Started)
            break
        await stream.aclose()
        return asyncio.get_running_loop().time()

    assert run_virtual(main()) == 0


def test_slow_reader_slows_run() -> None:
    graph = Graph("g", Count)
    graph.chain(up).loop(up, back_to=up, while_=lambda s: True, max_iterations=2_000)
    flow = graph.build()
    running: list[int] = []

    async def main() -> None:
        async for event in flow.stream(Count()):
            if isinstance(event, Committed):
                await asyncio.sleep(1)
            if isinstance(event, Started):
                running.append(1)

    run_virtual(main())
    assert len(running) == 2_000


def test_raising_observer_is_dropped() -> None:
    """An observer that raises is dropped without harm to the run."""

    def broken(event: RunEvent) -> None:
        raise RuntimeError("broken")

    with pytest.warns(RuntimeWarning, match="a watcher of run r raised RuntimeError: broken"):
        result = run_virtual(
            Graph("g", Count).chain(up).build().run(Count(), watch=[broken], run_id="r")
        )
    assert result.output.n == 1


# ---- sync callers --------------------------------------------------------------------------------
def test_run_sync_inside_running_loop() -> None:
    async def main() -> int:
        return Graph("g", Count).chain(up).build().run_sync(Count()).output.n

    assert asyncio.run(main()) == 1


def test_run_sync_from_node_is_refused() -> None:
    """On the engine's own loop, `run_sync` would wait for itself."""
    inner = Graph("inner", Count).chain(up).build()

    @node
    async def nested(count: Count) -> Count:
        return inner.run_sync(count).output

    with pytest.raises(RunFailed) as caught:
        Graph("g", Count).chain(nested).build().run_sync(Count())
    assert "would wait for itself" in str(caught.value)


# ---- size ----------------------------------------------------------------------------------------
@pytest.mark.parametrize("count", [1_000, 10_000])
@pytest.mark.slow
def test_chain_and_fan_out_are_linear(count: int) -> None:
    """Long chains and wide fan-outs need no recursion."""

    @node
    async def step(count: Count) -> Count:
        return Count(n=count.n + 1)

    @node
    async def silent(count: Count) -> None:
        return None

    chain = (
        Graph("chain", Count).chain(*[step.named(f"s{number}") for number in range(count)]).build()
    )
    fan = (
        Graph("fan", Count)
        .chain(step, [silent.named(f"b{number}") for number in range(count)], step.named("end"))
        .build()
    )
    begun = time.perf_counter()
    assert asyncio.run(chain.run(Count())).output.n == count
    assert asyncio.run(fan.run(Count())).output.n == 2
    assert time.perf_counter() - begun < count * 1e-3


# ---- people --------------------------------------------------------------------------------------
def test_question_does_not_stop_branches() -> None:
    class Approval(BaseModel):
        approved: bool = False

    class Asking(State, Approval): ...

    graph = Graph("g", Asking)
    approve: Ask[Asking, Approval] = graph.ask(
        "approve", question=lambda s: f"Publish number {s.n}?", answer=Approval
    )
    graph.chain(up, [approve, sleeper("other", 1)], sleeper("last"))
    result = run_virtual(graph.build().run(Asking()))
    assert result.status == "waiting"
    assert [(question.node, question.text) for question in result.questions] == [
        ("approve", "Publish number 1?")
    ]
    with pytest.raises(InputError, match="has no output yet, it waits"):
        _ = result.output


# ---- options of a node ---------------------------------------------------------------------------
def test_hedge_takes_first_success() -> None:
    calls: list[float] = []

    @node(hedge_after=2)
    async def uneven(count: Count) -> Count:
        calls.append(asyncio.get_running_loop().time())
        await asyncio.sleep(100 if len(calls) == 1 else 1)
        return Count(n=len(calls))

    result, seconds = elapsed(Graph("g", Count).chain(uneven).build().run(Count()))
    assert (result.output.n, seconds, calls) == (2, 3, [0, 2])


def test_cached_node_is_reused_until_expiry() -> None:
    calls: list[int] = []

    @node(cache=Cache(ttl=60))
    async def slow(count: Count) -> Count:
        calls.append(count.n)
        return Count(n=count.n * 2)

    flow = Graph("g", Count).chain(slow).build()
    now = [0.0]

    def run(n: int) -> int:
        return run_virtual(flow.run(Count(n=n), clock=lambda: now[0])).output.n

    assert [run(1), run(1), run(2)] == [2, 2, 4]
    assert calls == [1, 2]
    now[0] = 61.0
    assert run(1) == 2
    assert calls == [1, 2, 1]


def test_grace_cancels_siblings_of_failure() -> None:
    graph = Graph("g", State)
    graph.chain(up, [raiser("bad", ValueError("no"), 1), sleeper("slow", 500)])

    async def main() -> tuple[RunFailed, float]:
        with pytest.raises(RunFailed) as caught:
            await graph.build().run(State(), limits=Limits(grace=10))
        return caught.value, asyncio.get_running_loop().time()

    failure, seconds = run_virtual(main())
    assert (failure.end_reason, seconds) == ("failed", 11)
    record: Any = failure.run
    assert {step.node: step.status for step in record.steps()} == {
        "up": "done",
        "bad": "failed",
        "slow": "failed",
    }


def test_stop_finishes_what_runs() -> None:
    """Running nodes finish after a stop, and the run can be resumed."""
    graph = Graph("g", State)
    graph.chain(up, sleeper("a", 10), sleeper("b", 10))
    flow = graph.build()

    async def main() -> tuple[float, list[str]]:
        loop = asyncio.get_running_loop()
        loop.call_later(5, flow.stop, "r")
        with pytest.raises(RunFailed, match="was stopped"):
            await flow.run(State(), run_id="r")
        stopped = loop.time()
        return stopped, (await flow.resume("r")).state.log

    assert run_virtual(main()) == (10, ["a", "b"])


def test_stopping_run_may_succeed() -> None:
    """A stopping run succeeds if its last node finishes meanwhile."""
    flow = Graph("g", State).chain(up, sleeper("last", 10)).build()

    async def main() -> list[str]:
        asyncio.get_running_loop().call_later(5, flow.stop, "r")
        return (await flow.run(State(), run_id="r")).state.log

    assert run_virtual(main()) == ["last"]
