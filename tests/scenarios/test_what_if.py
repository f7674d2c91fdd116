"""Replay, rerun and fork.

A replay reads what happened without running anything. A rerun repeats only what depends on the
change.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic import BaseModel, Field

from graphorch import (
    Budget,
    Context,
    Failure,
    Graph,
    InputError,
    Limits,
    Missing,
    ReplayDiverged,
    Request,
    Response,
    RunFailed,
    Usage,
    WrongOutput,
    node,
)
from graphorch.flow.flow import Flow
from graphorch.journal.memory import MemoryStore
from graphorch.trace.spans.builder import build_trace
from graphorch.views.runs.steps import build_step_rows
from tests.models.config.files import write_config
from tests.scenarios.flows import (
    FLOWS,
    AnyFlow,
    Ledger,
    Log,
    Note,
    Number,
    State,
    says,
    to_the_end,
    up,
)


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(main)


async def recorded(flow: AnyFlow, store: MemoryStore, run_id: str = "r") -> Any:
    return await to_the_end(flow, run_id, True, durable=store, resources=Ledger())


@pytest.mark.parametrize("name", FLOWS)
def test_replay_runs_nothing(name: str) -> None:
    """A replay gives an equal state, and runs nothing."""
    flow = FLOWS[name]()

    async def main() -> None:
        store = MemoryStore()
        was = await recorded(flow, store)
        again = await flow.replay("r", durable=store)
        assert again.state == was.state
        assert [step.activation for step in again.steps] == [step.activation for step in was.steps]

    run(main())


def test_replay_names_changed_selector() -> None:
    """A changed selector is the first divergence."""
    threshold = [3]

    def build() -> AnyFlow:
        graph = Graph("g", State)
        graph.chain(up())
        graph.loop(
            graph.spec.nodes["up"],
            back_to=graph.spec.nodes["up"],
            while_=lambda s: s.n < threshold[0],
            max_iterations=9,
        )
        return graph.build()

    async def main() -> None:
        store = MemoryStore()
        await recorded(build(), store)
        threshold[0] = 2
        with pytest.raises(
            ReplayDiverged,
            match=r"Record 3 \(routed\): the route of 'up' went back to 'up', "
            r"and now goes to its other edges",
        ):
            await build().replay("r", durable=store)

    run(main())


def test_rerun_from_node() -> None:
    """A rerun from a node runs it and what depends on it and nothing else."""
    flow = FLOWS["diamond"]()

    async def main() -> tuple[Any, Any, list[str]]:
        store = MemoryStore()
        was = await recorded(flow, store)
        ledger = Ledger()
        again = await flow.rerun("r", start="d", durable=store, resources=ledger)
        return was, again, [line.split()[0] for line in ledger.entries]

    was, again, ran = run(main())
    assert ran == ["d", "e", "end"]
    assert again.result.state == was.state
    assert again.result.run_id != "r"
    assert again.difference.fields == {}


def test_rerun_with_other_output() -> None:
    """A rerun with another output shows what it changes."""
    flow = FLOWS["chain"]()

    async def main() -> tuple[Any, list[str]]:
        store = MemoryStore()
        await recorded(flow, store)
        ledger = Ledger()
        again = await flow.rerun(
            "r", start="b", output=Number(n=40), durable=store, resources=ledger
        )
        unchanged = await flow.replay("r", durable=store)
        assert unchanged.state.n == 3
        return again, [line.split()[0] for line in ledger.entries]

    again, ran = run(main())
    assert ran == ["c", "d"]
    assert (again.result.state.n, again.result.state.log) == (41, ["c40"])
    assert again.difference.fields == {"n": (3, 41), "log": (["c2"], ["c40"])}


def test_rerun_inside_sub_flow() -> None:
    """A rerun inside a sub-flow repeats its outcome, and not its other work."""
    flow = FLOWS["sub_flows"]()

    async def main() -> list[str]:
        store = MemoryStore()
        await recorded(flow, store)
        ledger = Ledger()
        await flow.rerun("r", start="team/deeper/i2", durable=store, resources=ledger)
        return [line.split()[0] for line in ledger.entries]

    ran = run(main())
    assert ran[:2] == ["team/deeper/i2", "team/deeper/deeper/up"]
    assert "team/up" not in ran[:4]


def test_rerun_of_later_iteration() -> None:
    """A rerun of a later iteration keeps the earlier ones."""
    flow = FLOWS["loop_with_join"]()

    async def main() -> tuple[Any, list[str]]:
        store = MemoryStore()
        await recorded(flow, store)
        ledger = Ledger()
        again = await flow.rerun(
            "r", start="header#3", output=Number(n=3), durable=store, resources=ledger
        )
        return again, [line.split()[0] for line in ledger.entries]

    again, ran = run(main())
    assert sorted(ran) == ["last", "x", "y"]
    assert again.difference.fields == {}


def test_rerun_on_other_route() -> None:
    """A rerun that takes another route names both."""
    flow = FLOWS["routes"]()

    async def main() -> Any:
        store = MemoryStore()
        await recorded(flow, store)
        return await flow.rerun(
            "r", start="first", output=Number(n=2), durable=store, resources=Ledger()
        )

    difference = run(main()).difference
    assert difference.only_new == ("even",)
    assert "second" in difference.only_old


def effectful() -> tuple[AnyFlow, list[str]]:
    sent: list[str] = []

    @node(effect="once")
    async def send(ctx: Context[Ledger], number: Number) -> Note:
        sent.append(ctx.key)
        return Note(note=f"sent {number.n}")

    return Graph("g", State).chain(up("a"), send, says("end")).build(), sent


def test_rerun_effects_options() -> None:
    """Effects that would happen again are refused repeated or served."""
    flow, sent = effectful()

    async def main() -> None:
        store = MemoryStore()
        await recorded(flow, store)
        with pytest.raises(
            InputError, match=r"would repeat effects under new keys: 'send' \(once\)"
        ):
            await flow.rerun("r", start="a", durable=store, resources=Ledger())
        served = await flow.rerun(
            "r", start="a", durable=store, resources=Ledger(), effects="serve"
        )
        assert (served.result.state.note, len(sent)) == ("sent 1", 1)
        await flow.rerun("r", start="a", durable=store, resources=Ledger(), effects="repeat")
        assert len(set(sent)) == 2

    run(main())


def paying() -> tuple[AnyFlow, list[str]]:
    """Return a flow that pays in each of three rounds of a loop, and what it paid."""
    paid: list[str] = []

    @node(effect="once")
    async def pay(ctx: Context[Ledger], number: Number) -> Note:
        paid.append(ctx.key)
        return Note(note=f"receipt {len(paid)}")

    @node
    async def keep(note: Note) -> Log:
        return Log(log=[note.note])

    graph = Graph("g", State)
    graph.chain(up("a"), pay, keep)
    graph.loop(keep, back_to=pay, while_=lambda state: True, max_iterations=3)
    return graph.build(), paid


@pytest.mark.parametrize("activations", range(1, 7))
def test_resumed_rerun_serves_effects(activations: int) -> None:
    """A rerun that was stopped anywhere serves the remaining effects when it is resumed."""
    flow, paid = paying()

    async def main() -> None:
        store = MemoryStore()
        wanted = await recorded(flow, store)
        options: dict[str, Any] = {"durable": store, "resources": Ledger()}
        with pytest.raises(RunFailed, match="activations"):
            await flow.rerun(
                "r",
                start="a",
                run_id="again",
                effects="serve",
                limits=Limits(activations=activations),
                **options,
            )
        # What is pinned stays so in a fork of the fork.
        served = await flow.rerun("again", start="a", effects="serve", **options)
        done = await flow.resume("again", limits=Limits(activations=50), **options)
        assert served.result.state.log == done.state.log == wanted.state.log
        assert done.state.log[-1] == "receipt 3"
        assert len(paid) == 3
        # Who wants the effects again gets them.
        await flow.rerun("again", start="a", effects="repeat", **options)
        assert len(paid) == 6

    run(main())


@pytest.mark.parametrize(
    ("given", "kept"), [({}, {"calls": 5}), ({"budget": Budget(calls=2)}, {"calls": 2})]
)
def test_fork_keeps_budget_without_configuration(
    given: dict[str, Any], kept: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork is written down with its budget beside a file that is not trusted: it asks nothing."""
    flow = FLOWS["chain"]()

    async def main() -> None:
        store = MemoryStore()
        await flow.run(
            State(), run_id="r", durable=store, resources=Ledger(), budget=Budget(calls=5)
        )
        write_config(tmp_path, '[endpoints.evil]\nbase_url = "https://evil.example/v1"\n')
        monkeypatch.chdir(tmp_path)
        start = flow.plan.steps[1].name
        new = await flow.fork("r", start=start, durable=store, **given)
        started = (await store.load(new)).records[1]
        assert (started.kind, started.body["budget"]) == ("started", kept)
        with pytest.raises(InputError, match="client has to be a model client"):
            await flow.fork("r", start=start, durable=store, client=cast("Any", 5))

    run(main())


def test_effect_without_result_cannot_be_served() -> None:
    """An effect that failed or was cancelled left nothing to serve; a skipped one did not act."""

    @node(effect="once")
    async def refuse(number: Number) -> Note:
        raise OSError("no connection")

    graph = Graph("g", State)
    graph.chain(up("a"), refuse, says("end"))
    flow = graph.on_error(refuse, says("handle")).build()

    async def main() -> None:
        store = MemoryStore()
        await recorded(flow, store)
        with pytest.raises(InputError, match=r"'refuse' \(once\) did not return anything"):
            await flow.rerun("r", start="a", durable=store, resources=Ledger(), effects="serve")

    run(main())


def test_fork_is_stopped_run() -> None:
    """A fork is a stopped run that continues when it is resumed."""
    flow = FLOWS["chain"]()

    async def main() -> None:
        store = MemoryStore()
        was = await recorded(flow, store)
        run_id = await flow.fork("r", start="c", durable=store, run_id="f")
        assert run_id == "f"
        ledger = Ledger()
        result = await flow.resume("f", durable=store, resources=ledger)
        assert [line.split()[0] for line in ledger.entries] == ["c", "d"]
        assert result.state == was.state
        head = (await store.load("f")).head
        assert (head.parent, head.status) == ("r", "succeeded")
        assert (await flow.replay("f", durable=store)).state == was.state

    run(main())


def test_fork_keeps_copied_ids() -> None:
    """Copied activations keep their ids, and new ones have new ids."""
    flow = FLOWS["chain"]()

    async def main() -> tuple[list[str], list[str]]:
        store = MemoryStore()
        was = await recorded(flow, store)
        again = await flow.rerun("r", start="c", durable=store, resources=Ledger())
        return [step.activation for step in was.steps], [
            step.activation for step in again.result.steps
        ]

    before, now = run(main())
    assert now[:2] == before[:2]
    assert not set(now[2:]) & set(before)


def test_unknown_node_names_nearest() -> None:
    """An unknown node is named with the nearest one."""
    flow = FLOWS["chain"]()

    async def main() -> None:
        store = MemoryStore()
        await recorded(flow, store)
        with pytest.raises(InputError, match=r"'header' was not done in run r\. Known: a, b, c, d"):
            await flow.rerun("r", start="header", durable=store)
        with pytest.raises(InputError, match=r"'a' was done 1 times in run r\. Use #1 to #1"):
            await flow.rerun("r", start="a#4", durable=store)

    run(main())


def test_changed_graph_says_what_changed() -> None:
    """A changed graph refuses to resume and says what changed."""

    class Bigger(State):
        extra: int = 0

    async def main() -> None:
        store = MemoryStore()
        await recorded(FLOWS["chain"](), store)
        other: Flow[Any, Any, Any] = (
            Graph("chain", Bigger).chain(up("a"), up("z"), says("c"), up("d")).build()
        )
        with pytest.raises(Exception, match="node 'b' is gone; node 'z' is new; edge 'a → b"):
            await other.resume("r", durable=store)

    run(main())


def test_paid_call_is_served_again() -> None:
    """A paid call is served to the next attempt and not bought again."""
    from graphorch import Response, Usage

    class Answering:
        calls = 0

        async def complete(self, request: Request, on_text: Any = None) -> Response:
            self.calls += 1
            if self.calls == 3:
                await asyncio.sleep(3_600)
            return Response(
                f"answer {self.calls}", "m", Usage(1, 1), 0.5, "reported", "stop", 1, 0.1, None
            )

    class Text(BaseModel):
        text: str = ""

    @node
    async def ask_thrice(ctx: Context, text: Text) -> Text:
        return Text(
            text=" ".join(
                [await ctx.complete(f"question {number}", model="m") for number in range(3)]
            )
        )

    flow = Graph("g", Text).chain(ask_thrice).build()
    store = MemoryStore(clock=lambda: now[0])
    now = [1_000.0]
    client = Answering()

    async def first() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await flow.run(Text(), durable=store, client=client, run_id="r")

    asyncio.run(first())

    async def second() -> Any:
        now[0] += 100
        return await flow.resume("r", durable=store, client=client)

    result = asyncio.run(second())
    assert result.output.text == "answer 1 answer 2 answer 4"
    assert client.calls == 4
    assert result.cost == 1.5


def test_run_log_needs_its_flow() -> None:
    """A log of a run can be read by its flow only."""

    async def main() -> None:
        store = MemoryStore()
        await recorded(FLOWS["chain"](), store)
        with pytest.raises(Exception, match="is not the same graph"):
            await FLOWS["diamond"]().replay("r", durable=store)

    run(main())


class Named(BaseModel):
    name: str = "nobody"


class Hidden(BaseModel):
    hidden: str = Field("", exclude=True)
    ratio: float = 0.0


class Pair(Named, Hidden, Number): ...


@node
def both(number: Number) -> tuple[Named, Hidden]:
    return Named(name="ann"), Hidden(hidden="a", ratio=math.nan)


def test_rerun_takes_all_slices_of_node() -> None:
    """A node that writes several slices is given all of them, and less is refused."""
    flow = Graph("pair", Pair, input=Number).chain(both).build()

    async def main() -> Any:
        store = MemoryStore()
        await flow.run(Number(), run_id="r", durable=store)
        with pytest.raises(WrongOutput, match="declares a tuple of 2 slices"):
            await flow.rerun("r", start="both", output=Named(name="bob"), durable=store)
        output = (Named(name="bob"), Hidden(hidden="b", ratio=math.nan))
        return await flow.rerun("r", start="both", output=output, durable=store)

    again = run(main())
    assert (again.result.state.name, again.result.state.hidden) == ("bob", "b")
    # Neither what no JSON shows is left out, nor is NaN another value than NaN.
    assert again.difference.fields == {"hidden": ("a", "b"), "name": ("ann", "bob")}


# ---- what failed on the way, and was survived ----------------------------------------------------
class Items(BaseModel):
    items: list[int] = [0, 1, 2, 3]


class Item(BaseModel):
    item: int = 0


class Mapped(Items, Item, Log): ...


def mapping(
    concurrency: int, *, skips: bool, is_nested: bool
) -> tuple[Flow[Items, Log, Mapped], list[int]]:
    """Return a flow with a map whose item 1 fails: it is left out, or an error edge handles it."""
    ran: list[int] = []

    @node
    async def work(item: Item) -> Item:
        ran.append(item.item)
        if item.item == 1:
            raise KeyError("one")
        return item

    @node
    async def beside(items: Items) -> Log:
        return Log(log=["beside"])

    @node
    async def rescue(failure: Failure) -> Log:
        return Log(log=["rescued"])

    @node
    def last(log: Log) -> Log:
        return Log(log=["last"])

    def gather(found: list[Item], missing: list[Missing]) -> Log:
        return Log(log=[f"{len(found)} done"])

    inner = Graph("inner", Mapped, input=Item, output=Item).chain(work).build()
    graph = Graph("mapping", Mapped, input=Items, output=Log)
    each = graph.map(
        "each",
        inner if is_nested else work,
        over=lambda state: [Item(item=item) for item in state.items],
        gather=gather,
        max_items=9,
        concurrency=concurrency,
        on_item_error="skip" if skips else "fail",
    )
    graph.chain([each, beside], last)
    if not skips:
        graph.on_error(each, rescue)
        graph.chain(rescue, last)
    return graph.build(), ran


@pytest.mark.parametrize("is_nested", [False, True])
@pytest.mark.parametrize("concurrency", [1, 2, 8])
@pytest.mark.parametrize(
    ("start", "skips", "expected"),
    [
        ("beside", True, []),
        ("last", True, []),
        ("each[0]/work", True, [0]),
        ("each[3]/work", True, [3]),
        ("each", True, [0, 1, 2, 3]),
        ("beside", False, []),
        ("rescue", False, []),
        ("each[0]/work", False, [0, 1]),
    ],
)
def test_rerun_keeps_survived_failures(
    start: str, skips: bool, expected: list[int], concurrency: int, is_nested: bool
) -> None:
    """An item that failed and was left out, or was handled, fails once, also beside a change."""
    flow, ran = mapping(concurrency, skips=skips, is_nested=is_nested)

    async def main() -> None:
        store = MemoryStore()
        before = await flow.run(Items(), run_id="r", durable=store)
        ran.clear()
        again = await flow.rerun("r", start=start, run_id="again", durable=store)
        assert sorted(ran) == expected
        assert again.result.output == before.output
        assert abs(again.difference.seconds) < 60
        replayed = await flow.replay("again", durable=store)
        assert replayed.output == before.output

    run(main())


def test_difference_leaves_out_cancelled() -> None:
    """What a join cancelled has no time, so it does not count in the difference."""

    @node
    async def quick(items: Items) -> Log:
        return Log(log=["quick"])

    @node
    async def slow(items: Items) -> Log:
        await asyncio.sleep(60)
        return Log(log=["slow"])

    @node
    def after(log: Log) -> Log:
        return log

    graph = Graph("race", Mapped, input=Items, output=Log).chain([quick, slow], after)
    flow = graph.join(after, need=1).build()

    async def main() -> None:
        store = MemoryStore()
        await flow.run(Items(), run_id="r", durable=store)
        again = await flow.rerun("r", start="after", durable=store)
        assert abs(again.difference.seconds) < 60
        again = await flow.rerun("r", start="quick", durable=store)
        assert abs(again.difference.seconds) < 60

    run(main())


class Racing:
    """Model that answers a prompt `quick` at once, and no other one."""

    async def complete(self, request: Request, on_text: Any = None) -> Response:
        if request.messages[-1].content != "quick":
            await asyncio.sleep(60)
        await asyncio.sleep(0.01)
        usage = Usage(input_tokens=7, output_tokens=3)
        return Response("fine", "m", usage, 0.01, "reported", "stop", 1, 0.01, None)


def test_fork_pays_for_call_that_join_cancels() -> None:
    """A branch that was cancelled runs again in a rerun, and all accounts have its new call."""

    @node
    async def quick(ctx: Context, items: Items) -> Log:
        return Log(log=[await ctx.complete("quick", model="m")])

    @node
    async def slow(ctx: Context, items: Items) -> Log:
        return Log(log=[await ctx.complete("slow", model="m")])

    @node
    def after(log: Log) -> Log:
        return log

    graph = Graph("race", Mapped, input=Items, output=Log).chain([quick, slow], after)
    flow = graph.join(after, need=1).build()

    async def main() -> None:
        store = MemoryStore()
        await flow.run(Items(), run_id="r", durable=store, client=Racing())
        again = await flow.rerun("r", start="quick", run_id="f", durable=store, client=Racing())
        assert again.result.usage["calls"] == 2
        assert abs(again.difference.seconds) < 60
        log = await store.load("f")
        trace = build_trace(log.head, log.records)
        assert sorted(call.path for call in trace.paid_calls) == ["quick", "slow"]
        assert sum(call.usd for call in trace.paid_calls) == pytest.approx(again.result.cost)
        assert len({span.id for span in trace.spans}) == len(trace.spans)
        assert trace.seconds == pytest.approx(again.result.seconds, abs=0.1)
        rows = {row.path: (row.status, row.calls) for row in build_step_rows(log)[0]}
        assert rows == {"quick": ("done", 1), "slow": ("cancelled", 1), "after": ("done", 0)}

    run(main())


def test_cancelled_branch_ends_with_its_call() -> None:
    """A branch that a join cancelled lasts as long as its call, also in a run that fails later."""

    @node
    async def quick(ctx: Context, items: Items) -> Log:
        return Log(log=[await ctx.complete("quick", model="m")])

    @node
    async def slow(ctx: Context, items: Items) -> Log:
        return Log(log=[await ctx.complete("slow", model="m")])

    @node
    async def after(log: Log) -> Log:
        await asyncio.sleep(0.3)
        raise OSError("down")

    graph = Graph("race", Mapped, input=Items, output=Log).chain([quick, slow], after)
    flow = graph.join(after, need=1).build()

    async def main() -> None:
        store = MemoryStore()
        with pytest.raises(RunFailed):
            await flow.run(Items(), run_id="r", durable=store, client=Racing())
        log = await store.load("r")
        rows = {row.path: row for row in build_step_rows(log)[0]}
        assert (rows["slow"].status, rows["after"].status) == ("cancelled", "failed")
        assert rows["slow"].ended < rows["after"].ended - 0.2

    run(main())
