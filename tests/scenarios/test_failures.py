"""A failure is the same wherever it is read: live, after a resume, in a replay, rerun and fork."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from graphorch import BudgetExceeded, Failure, Flow, Graph, Missing, Retry, RunFailed, node
from graphorch.text import LONGEST_ERROR
from tests.scenarios.crashed_copies import copy_run


class Count(BaseModel):
    n: int = 0


class Log(BaseModel):
    log: str = ""


class Counts(BaseModel):
    counts: list[int] = []


class State(Count, Log, Counts): ...


class Odd(LookupError):
    """Cannot be made of its `args`, and so not be pickled."""

    def __init__(self, text: str, *, code: int) -> None:
        super().__init__(text)
        self.code = code


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


def make_local() -> Exception:
    class Hidden(KeyError): ...

    return Hidden("x")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "key": lambda: KeyError("x"),
    "empty": lambda: RuntimeError(),
    "odd": lambda: Odd("too many", code=3),
    "local": make_local,
    "wordless": lambda: Wordless(),
    "group": lambda: ExceptionGroup("two", [KeyError("x"), Odd("y", code=1)]),
    "long": lambda: ValueError("x" * (LONGEST_ERROR + 12_345)),
    "surrogates": lambda: ValueError("\ud83d" * (LONGEST_ERROR - 1)),
    "exit": lambda: SystemExit(3),
}


class Watch:
    """What handlers saw, as JSON, and whether they raise."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.is_broken = True

    def take(self, failure: Failure) -> Log:
        self.seen.append(failure.model_dump_json())
        if self.is_broken:
            raise OSError("the handler failed")
        return Log(log=f"{failure.error}: {failure.message[:20]}")


def build_flow(watch: Watch, error: Callable[[], BaseException], **options: Any) -> Flow[Any, Any]:
    @node(**options)
    def fail(count: Count) -> Log:
        raise error()

    return build_handled(watch, fail)


def build_handled(watch: Watch, source: Any, **when: Any) -> Flow[Any, Any]:
    @node
    def handle(count: Count, failure: Failure) -> Log:
        return watch.take(failure)

    graph = Graph("failing", State, input=Count, output=Log).chain(source)
    return graph.on_error(source, handle, **when).build()


async def fail_everywhere(flow: Flow[Any, Any], watch: Watch, db: str) -> tuple[str, str]:
    """Run a flow whose handler fails, live, and resumed; then mend it, and resume, rerun and fork.

    Return what the run that failed said, and what a replay of it says.
    """
    with pytest.raises(RunFailed) as live:
        await flow.run(Count(), run_id="r", durable=db)
    with pytest.raises(RunFailed) as replayed:
        await flow.replay("r", durable=db)
    with pytest.raises(RunFailed):
        await flow.resume("r", durable=db)
    watch.is_broken = False
    await flow.resume("r", durable=db)
    await flow.rerun("r", start="handle", durable=db)
    fork = await flow.fork("r", start="handle", durable=db)
    await flow.resume(fork, durable=db)
    return str(live.value), str(replayed.value)


@pytest.mark.parametrize("kind", ERRORS)
def test_handler_sees_same_failure(kind: str, tmp_path: Path) -> None:
    """A handler gets the same name and text, bit for bit, however often the run is read again."""
    watch = Watch()
    flow = build_flow(watch, ERRORS[kind])
    live, replayed = asyncio.run(fail_everywhere(flow, watch, str(tmp_path / "db")))
    assert len(watch.seen) == 5
    assert len(set(watch.seen)) == 1
    assert replayed == live
    assert "attempt 1 failed after" in live


def test_replay_tells_story_of_all_attempts(tmp_path: Path) -> None:
    """The error of a replay is that of the run, with each attempt and what it took."""
    db, watch = str(tmp_path / "db"), Watch()
    retry = Retry(attempts=3, first=0.001, on=(LookupError,))

    @node(retry=retry)
    def fail(count: Count) -> Log:
        raise KeyError("x")

    flow = Graph("failing", State, input=Count, output=Log).chain(fail).build()
    with pytest.raises(RunFailed) as live:
        asyncio.run(flow.run(Count(), run_id="r", durable=db))
    with pytest.raises(RunFailed) as replayed:
        asyncio.run(flow.replay("r", durable=db))
    assert str(replayed.value) == str(live.value)
    assert str(live.value).count("failed after") == 3
    assert not watch.seen


def test_replay_keeps_error_of_limit(tmp_path: Path) -> None:
    """A run that ended at a budget raises that limit's error, also when it is read again."""
    db = str(tmp_path / "db")

    @node
    def spend(count: Count) -> Log:
        raise BudgetExceeded("The budget of the run is used up.", limit="run")

    flow = Graph("spending", State, input=Count, output=Log).chain(spend).build()
    errors: list[BudgetExceeded] = []
    for work in (
        lambda: flow.run(Count(), run_id="r", durable=db),
        lambda: flow.replay("r", durable=db),
    ):
        with pytest.raises(RunFailed) as failed:
            asyncio.run(work())
        (error,) = failed.value.exceptions
        assert isinstance(error, BudgetExceeded)
        errors.append(error)
    live, replayed = errors
    assert (str(replayed), replayed.limit) == (str(live), live.limit)
    assert replayed.__notes__ == live.__notes__


def test_failure_in_sub_flow_fits_edge() -> None:
    """A failed sub-flow fits an error edge by what failed inside it, and names that."""
    watch = Watch()
    watch.is_broken = False

    @node
    def fail(count: Count) -> Log:
        raise Odd("too many", code=3)

    inner = Graph("inner", State, input=Count, output=Log).chain(fail).build()
    middle = Graph("middle", State, input=Count, output=Log)
    middle.chain(middle.sub("deep", inner, enter=count_of, leave=same))
    graph = Graph("outer", State, input=Count, output=Log)
    part = graph.sub("part", middle.build(), enter=count_of, leave=same)

    @node
    def handle(count: Count, failure: Failure) -> Log:
        return watch.take(failure)

    @node
    def handle_other(count: Count, failure: Failure) -> Log:
        return Log(log="other")

    graph.chain(part)
    graph.on_error(part, handle_other, when=(KeyError, OSError))
    flow = graph.on_error(part, handle, when=LookupError).build()
    result = flow.run_sync(Count())
    assert result.output.log.startswith("InnerFailed")
    assert "part/deep/fail: Odd: too many" in watch.seen[0]


def count_of(state: State) -> Count:
    return Count(n=state.n)


def same(log: Log) -> Log:
    return log


def build_mapped(error: Callable[[], BaseException], **options: Any) -> Flow[Any, Any]:
    @node
    def split(count: Count) -> Counts:
        return Counts(counts=[0, 1, 2])

    @node
    def work(count: Count) -> Log:
        if count.n == 1:
            raise error()
        return Log(log=str(count.n))

    def gather(logs: list[Log], missing: list[Missing]) -> Log:
        return Log(log="; ".join(f"{item.index}: {item.reason}" for item in missing))

    graph = Graph("mapped", State, input=Count, output=Log)
    each = graph.map(
        "each",
        work,
        over=lambda state: [Count(n=n) for n in state.counts],
        gather=gather,
        max_items=5,
        **options,
    )

    @node
    def handle(failure: Failure) -> Log:
        return Log(log=failure.message)

    graph.chain(split, each)
    if not options:
        graph.on_error(each, handle, when=KeyError)
    return graph.build()


def test_failed_item_fits_edge_of_map() -> None:
    """A map that fails with an item fits an error edge by what failed in the item."""
    output = build_mapped(ERRORS["local"]).run_sync(Count()).output
    assert output.log == "1 of 3 items did not finish: each[1]/work: Hidden: 'x'"


def test_reason_of_missing_item_survives_crash(tmp_path: Path) -> None:
    """What `gather` learns of a failed item is the same if the process ended in between."""
    from graphorch.journal import MemoryStore

    async def run() -> tuple[str, str]:
        flow = build_mapped(ERRORS["long"], on_item_error="skip")
        live = (await flow.run(Count())).output.log
        store = MemoryStore()
        await flow.run(Count(), run_id="r", durable=store)
        log = await store.load("r")
        last = next(record.seq for record in log.records if record.kind == "failed")
        cut = MemoryStore()
        await copy_run(log.head, [r for r in log.records if r.seq <= last], cut)
        return live, (await flow.resume("r", durable=cut)).output.log

    live, resumed = asyncio.run(run())
    assert resumed == live
    assert "(12,345 more characters)" in live


@node(isolation="process")
def fail_in_process(count: Count) -> Log:
    raise Odd("too many", code=3)


@node(isolation="process")
def fail_wordless(count: Count) -> Log:
    raise Wordless


@node(isolation="process")
def fail_local(count: Count) -> Log:
    raise make_local()


@pytest.mark.skipif(sys.platform == "win32", reason="worker processes are on POSIX only")
@pytest.mark.parametrize(
    "source, when, error",
    [
        (fail_in_process, LookupError, "Odd"),
        (fail_in_process, Odd, "Odd"),
        (fail_wordless, Wordless, "Wordless"),
        (fail_local, LookupError, "Hidden"),
    ],
    ids=["base", "class", "without text", "local class"],
)
def test_failure_in_process_fits_edge(
    source: Any, when: type[Exception], error: str, tmp_path: Path
) -> None:
    """An exception of a worker process fits by its classes, though nobody can build it here."""
    watch = Watch()
    flow = build_handled(watch, source, when=when)
    live, replayed = asyncio.run(fail_everywhere(flow, watch, str(tmp_path / "db")))
    assert len(set(watch.seen)) == 1
    assert f'"error":"{error}"' in watch.seen[0]
    assert replayed == live
